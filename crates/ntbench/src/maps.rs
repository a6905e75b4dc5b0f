//! Maps for what is looked up several times in each operation: by an address, a number or a name of the bench's own.
//!
//! The standard hasher withstands keys that somebody chose to collide, and takes longer for it than most of the lookups do.
//! No key here is of that kind: the worst that a driver can do by its choice of addresses is to slow its own machine down.

/// A map with a quick hasher.
pub(crate) type HashMap<K, V> = rustc_hash::FxHashMap<K, V>;
