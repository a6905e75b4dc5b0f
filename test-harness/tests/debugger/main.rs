//! `debugger/headroom.js` against what the Rust side says of the same memory: the script runs unmodified in Node, on a host
//! that offers WinDbg's documented object model (`debugger/tests`), over what the real driver wrote in ntbench.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

#[path = "../common/mod.rs"]
mod common;
mod dump;
mod layout;
mod natvis;
mod node;
mod overflow;
mod records;
