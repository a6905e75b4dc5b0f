//! Loading the installed driver.

use winuser::{Wide, filter};

use super::{Failure, Loaded, Verdict};
use crate::verbs::unload::{SERVICE, system};

/// What follows the help.
pub const HELP: &str = "The driver has to be installed (`headroom install`), and the prompt has to be an administrator's.";

/// How to tell it.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

impl Args {
    /// Loads it.
    ///
    /// # Errors
    /// [`Failure`]: it is not installed, not accepted, or loaded already.
    pub fn run(&self) -> Result<Verdict, Failure> {
        let service = Wide::new(SERVICE).map_err(|error| system(&error))?;
        filter::load(&service).map_err(|error| system(&error))?;
        let loaded = Loaded {
            driver: SERVICE.to_owned(),
            share: None,
            pid: None,
        };
        loaded.say(self.json, "Loaded the driver `headroom`.\n")
    }
}
