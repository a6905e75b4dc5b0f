//! A strict bench for Windows file-system minifilters, on Linux.
//!
//! The driver's own machine code runs in a process of this host: its imports are bound to functions with the Windows
//! ABI, its stacks are kernel stacks of 24 KB with guard pages, and what Windows would answer with a bug check ends
//! the machine with a report. One simulated machine is one child process ([`Machine::boot`]), so that a bug check
//! costs nothing but the machine.
//!
//! Outside, in the process that asks: `client`, and `wire` for what crosses. Inside, in the machine's process: `machine`
//! (main loop, threads, images), `loader` (PE), `gate` (calls between host and driver, each on its own stack), `stack`
//! (segments, modelled frames, expansion, listings), `cpu` (GS, CR8, faults), `unwind` and `seh` (exceptions
//! and their handlers), `user` (a program's memory), `bugcheck`, `symbols`, `trace`, `verifier`,
//! `faults` and `schedule` (who runs next, where a seed says so); on these stand the models: `abi` (structures), `ntos`
//! (the executive), `fltmgr` and `namespace`.
//! `export` is how a model offers a function to drivers, and
//! `coverage` lists what is offered.
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
mod cng;
mod coverage;
mod cpu;
mod debugger;
mod faults;
mod fltmgr;
mod gate;
mod loader;
mod machine;
mod maps;
mod namespace;
mod ntos;
mod schedule;
mod seh;
mod stack;
mod symbols;
mod thread;
mod trace;
mod unwind;
mod user;
mod verifier;

pub use client::{
    DirectoryChange, DirectoryEntry, Failure, Failures, Machine, MachineError, Port, Progress,
    ReparsePoint, Thread, each_failure, each_failure_with,
};
pub use status::NtStatus;

/// Set in the environment of a process that is to be a machine.
const MACHINE_MARKER: &str = "NTBENCH_MACHINE";

/// One import of a driver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Import {
    /// The DLL it comes from, as the image spells it.
    pub dll: String,
    /// Its name, or `#` and its ordinal.
    pub name: String,
    /// Whether the bench has it.
    pub known: bool,
}

/// What a driver imports, in the image's order, without loading it.
///
/// # Errors
/// Says what is wrong with the image.
pub fn imports(image: &std::path::Path) -> Result<Vec<Import>, wire::Refusal> {
    loader::imports(image).map_err(|error| wire::Refusal::Image(error.to_string()))
}

/// What the bench offers drivers and what it leaves out, as a page of Markdown.
#[must_use]
pub fn coverage() -> String {
    coverage::markdown()
}

/// The names of the rules that findings are about ([`wire::Finding::rule`]).
pub fn rules() -> impl Iterator<Item = &'static str> {
    verifier::rules::names()
}

/// Whether drivers can import a function or variable of that name.
#[must_use]
pub fn is_export(name: &str) -> bool {
    export::all().any(|export| export.name == name)
}

/// The bug checks whose parameters the bench knows: codes and names.
pub fn bug_checks() -> impl Iterator<Item = (u32, &'static str)> {
    bugcheck::code::all()
}

/// Whether a function of that name can be made to fail ([`wire::FaultRule`]).
#[must_use]
pub fn can_fail(name: &str) -> bool {
    faults::can_fail(name)
}

/// Whether a function that can fail answers NULL then, whatever status is asked for.
#[must_use]
pub fn fails_with_null(name: &str) -> bool {
    faults::fails_with_null(name)
}

/// The .pdb that lies beside an image under its name, where it is of another build: no names and lines come from it.
#[must_use]
pub fn stale_pdb(image: &std::path::Path) -> Option<std::path::PathBuf> {
    loader::stale_pdb(image)
}

/// Checks and maps an image, unwinds out of its functions, runs none of them, and unmaps it again: for fuzzers.
///
/// # Errors
/// Says what is wrong with the image.
pub fn map_image(data: &[u8]) -> Result<(), wire::Refusal> {
    loader::try_map(data)
        .map(|image| unwind::probe(&image))
        .map_err(|fact| wire::Refusal::Image(fact.to_string()))
}

/// How many symbols a .pdb names, read as for a driver's reports; `None`: it cannot be read. For fuzzers.
#[must_use]
pub fn read_symbols(pdb: &std::path::Path) -> Option<usize> {
    symbols::probe(pdb)
}

/// Becomes a simulated machine if this process was started as one, and then never returns.
///
/// Must be the first thing in `main` of an executable that boots machines from itself.
pub fn host_main() {
    if std::env::var_os(MACHINE_MARKER).is_some() {
        machine::run();
    }
}
