//! `headroom detach`: detaches the driver from a volume.

use super::attach::{Done, explained};
use super::{Failure, Verdict, say, say_json};
use crate::link;

/// Where to detach.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The volume: \Device\Mup, \Device\HarddiskVolume1, C:, …
    pub volume: String,

    /// The instance's name; without it, the default instance.
    #[arg(long, default_value = "")]
    pub instance: String,

    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

impl Args {
    /// Detaches.
    ///
    /// # Errors
    /// [`Failure`]: no driver answers, or the Filter Manager refuses.
    pub fn run(&self) -> Result<Verdict, Failure> {
        let volume = &self.volume;
        link::connect()?
            .detach(volume, &self.instance)
            .map_err(|error| explained(error, volume))?;
        if self.json {
            say_json(&Done {
                volume,
                attached: false,
            })?;
        } else {
            say(&format!("Detached from {volume}.\n"))?;
        }
        Ok(Verdict::Holds)
    }
}
