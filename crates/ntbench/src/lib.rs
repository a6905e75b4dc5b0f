//! A strict bench for Windows file-system minifilters, on Linux.
//!
//! The driver's own machine code runs in a process of this host: its imports are bound to functions with the Windows
//! ABI, its stacks are kernel stacks of 24 KB with guard pages, and what Windows would answer with a bug check ends
//! the machine with a report. One simulated machine is one child process ([`Machine::boot`]), so that a bug check
//! costs nothing but the machine.
//!
//! An executable that boots machines from itself calls [`host_main`] first thing in its `main`.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

pub mod cost;
pub mod status;
pub mod wire;

#[macro_use]
mod export;

mod abi;
mod bugcheck;
mod client;
mod cpu;
mod faults;
mod fltmgr;
mod gate;
mod loader;
mod machine;
mod namespace;
mod ntos;
mod stack;
mod symbols;
mod thread;
mod trace;
mod verifier;

pub use client::{Machine, MachineError, Thread};
pub use status::NtStatus;

/// Set in the environment of a process that is to be a machine.
const MACHINE_MARKER: &str = "NTBENCH_MACHINE";

/// Becomes a simulated machine if this process was started as one, and then never returns.
///
/// Must be the first thing in `main` of an executable that boots machines from itself.
pub fn host_main() {
    if std::env::var_os(MACHINE_MARKER).is_some() {
        machine::run();
    }
}
