//! Raw bindings to the Windows Filter Manager: what `fltKernel.h` declares, as far as this workspace uses it.
//!
//! The windows-drivers-rs crates have no Filter Manager bindings. There were two ways to get some:
//!
//! * **bindgen over `fltKernel.h`** needs the WDK on every machine that builds, a work-round for that header's
//!   `initguid.h`, and `fltMgr.lib` at link time. No free header of that kind exists, so a build without the WDK would
//!   need a header of our own, written from the documentation, and would be no nearer to the truth.
//! * **Declarations by hand**, the way taken here: one source on every system. `raw-dylib` binds the functions to
//!   `FLTMGR.SYS` with no import library. What a generator would guarantee is guaranteed by checks instead:
//!   [`layout`] states size, alignment and offsets once; the compiler holds the types against it on the Windows target;
//!   a test holds it against Microsoft's metadata (the `windows-sys` crate, with a list of where that is known to be
//!   wrong), and where a WDK is installed another test has a C compiler hold it against the real `fltKernel.h`.
//!
//! Kernel types that are not the Filter Manager's own come from `wdk-sys`. Types and functions exist on Windows only;
//! [`layout`] and the constants build anywhere.
//!
//! Everything is written from the public documentation of the WDK, 64-bit only.
#![no_std]

#[cfg(not(target_pointer_width = "64"))]
compile_error!("these layouts are those of 64-bit Windows");

mod constants;
pub mod layout;

#[cfg(windows)]
mod functions;
#[cfg(windows)]
mod types;
#[cfg(test)]
mod witness;

pub use constants::*;
#[cfg(windows)]
pub use functions::*;
#[cfg(windows)]
pub use types::*;
