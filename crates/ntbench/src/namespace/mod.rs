//! What can be opened: MUP with a redirector and a DFS client, local volumes.
