//! `headroom load`: the installed driver on Windows; on Linux a machine of its own, in the background.

use super::{Failure, Verdict};

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod bench;
#[cfg(windows)]
mod windows;

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
pub use bench::{Args, HELP, serve};
#[cfg(windows)]
pub use windows::{Args, HELP};

/// What follows the help.
#[cfg(not(any(windows, all(target_os = "linux", target_arch = "x86_64"))))]
pub const HELP: &str = "";

/// Nothing: there is no driver to load here.
#[cfg(not(any(windows, all(target_os = "linux", target_arch = "x86_64"))))]
#[derive(Debug, clap::Args)]
pub struct Args {}

#[cfg(not(any(windows, all(target_os = "linux", target_arch = "x86_64"))))]
impl Args {
    /// Says so.
    ///
    /// # Errors
    /// Always.
    pub fn run(&self) -> Result<Verdict, Failure> {
        Err(crate::link::LinkError::NoMachine.into())
    }
}

/// What was loaded.
#[derive(Debug, serde::Serialize)]
struct Loaded {
    driver: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    share: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pid: Option<u32>,
}

impl Loaded {
    fn say(&self, json: bool, text: &str) -> Result<Verdict, Failure> {
        if json {
            super::say_json(self)?;
        } else {
            super::say(text)?;
        }
        Ok(Verdict::Holds)
    }
}
