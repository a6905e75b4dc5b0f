//! `cargo xtask soak`: random scenarios on a minifilter in ntbench, with everything going wrong at once.
//!
//! A *round* has a machine with the driver and a twin without. The same seeded programs run on both; on the first, settings are
//! changed meanwhile, calls fail, the driver is unloaded and loaded, volumes are attached to and detached from, and clients of its
//! port drain, send rubbish, hang and die. After each *stretch* of a round everybody stops, and the invariants are checked:
//! `ledger` has them. Rounds with one program do one thing after the other; of those with several, in which everything is done at once,
//! every other one is run by ntbench's seeded schedule. Both are the same in each replay. In the others threads of the host run as they
//! come: there the seed decides what is done and not when.

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod actor;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod args;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod at_once;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod certain;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod defect;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod ledger;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod place;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod play;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod port;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod resident;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod round;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod seed;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod settings;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod stage;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod tally;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod trouble;

use std::process::ExitCode;

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
fn main() -> ExitCode {
    // The machines are processes that this executable starts from itself.
    ntbench::host_main();
    play::main()
}

#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
fn main() -> ExitCode {
    eprintln!("soak: the soak runs drivers in ntbench, which is there on 64-bit x86 Linux only");
    ExitCode::from(2)
}
