//! Measure the kernel stack, and move deep work off it.
//!
//! A thread in the Windows kernel has 24 KB of stack on x64, shared by every driver that a request passes through. A
//! file-system filter that does deep work there (opens other files, walks a path) may be the one that runs it over, and
//! then the machine stops with `UNEXPECTED_KERNEL_MODE_TRAP`, parameter 8, a double fault. The remedy that Windows
//! offers is `KeExpandKernelStackAndCalloutEx`, and this crate is that function as Rust would have it:
//!
//! * `with_reservation` runs a closure with so many bytes of stack guaranteed, and returns its result. Nothing is
//!   allocated by this crate; where Windows refuses, [`ExpandError`] says for which of the documented reasons, and the
//!   closure has not run.
//! * `maybe_grow` does that only where less than a *red zone* is left, in the manner of the `stacker` crate.
//! * `remaining` and `limits` measure; [`Outcome::classify`] tells from two measurements whether the work ran on the
//!   caller's segment, on the same segment grown downwards, or on another one.
//!
//! The rules (sizes, classification, errors, the red-zone decision) know no kernel and are tested on any machine. The
//! functions that touch the stack exist on Windows only, and link to `ntoskrnl.exe`: they are for drivers.
//!
//! ```
//! # #[cfg(windows)]
//! fn scan(path: &[u16]) -> Result<bool, kstack::ExpandError> {
//!     use kstack::{Reservation, Wait, with_reservation};
//!
//!     // An error means that nothing was scanned, and says why; the caller decides what to do then.
//!     with_reservation(Reservation::KERNEL_STACK, Wait::Never, || deep_scan(path))
//! }
//! # fn deep_scan(_: &[u16]) -> bool { true }
//! ```
//!
//! # No panic crosses the callout
//!
//! An exception that leaves a callout stops the machine (bug check 0x1E). A kernel driver in Rust is built with
//! `panic = "abort"`: a panic never unwinds, it ends in the panic handler on the very frame that panicked (with
//! `wdk-panic`, bug check `RPNC`). Where something is built to unwind all the same, the callout is an `extern "C"`
//! function, and Rust lets no panic leave such a function: it ends in the handler too. The callout's own glue has no
//! operation that can panic.
#![no_std]

mod error;
mod limits;
mod reservation;

#[cfg(windows)]
mod expand;
#[cfg(windows)]
mod measure;

pub use error::ExpandError;
#[cfg(windows)]
pub use expand::{Wait, maybe_grow, with_reservation};
pub use limits::{Limits, Outcome, RedZone};
#[cfg(windows)]
pub use measure::{limits, remaining, stack_pointer};
pub use reservation::{MAXIMUM_EXPANSION_SIZE, Reservation, ReservationTooLarge};
