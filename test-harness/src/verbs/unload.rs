//! `headroom unload`: unloads the driver; on Linux the machine ends with it.

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod bench;
#[cfg(windows)]
mod windows;

#[cfg(windows)]
pub(super) use windows::{SERVICE, system};

use super::{Failure, Verdict};

/// How to tell it.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

impl Args {
    /// Unloads it.
    ///
    /// # Errors
    /// [`Failure`]: there is none, or it refuses.
    pub fn run(&self) -> Result<Verdict, Failure> {
        #[cfg(windows)]
        return windows::run(self.json);
        #[cfg(all(target_os = "linux", target_arch = "x86_64"))]
        return bench::run(self.json);
        #[cfg(not(any(windows, all(target_os = "linux", target_arch = "x86_64"))))]
        Err(crate::link::LinkError::NoMachine.into())
    }
}
