//! `headroom attach`: attaches the driver to a volume.

use protocol::NtStatus;
use serde::Serialize;

use super::{Failure, Verdict, say, say_json};
use crate::link::{self, LinkError};

/// What follows the help.
pub const HELP: &str = r"Volumes have a device's name or a drive letter:
  headroom attach \Device\Mup       network files (UNC paths)
  headroom attach C:";

/// Where to attach.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The volume: \Device\Mup, \Device\HarddiskVolume1, C:, …
    pub volume: String,

    /// The instance's name, as the driver's service key has it; without it, the default instance.
    #[arg(long, default_value = "")]
    pub instance: String,

    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// What was done.
#[derive(Debug, Serialize)]
pub(super) struct Done<'a> {
    pub(super) volume: &'a str,
    pub(super) attached: bool,
}

impl Args {
    /// Attaches.
    ///
    /// # Errors
    /// [`Failure`]: no driver answers, or the Filter Manager refuses.
    pub fn run(&self) -> Result<Verdict, Failure> {
        let volume = &self.volume;
        link::connect()?
            .attach(volume, &self.instance)
            .map_err(|error| explained(error, volume))?;
        if self.json {
            say_json(&Done {
                volume,
                attached: true,
            })?;
        } else {
            say(&format!("Attached to {volume}.\n"))?;
        }
        Ok(Verdict::Holds)
    }
}

/// A refusal, with what it means for this volume.
pub(super) fn explained(error: LinkError, volume: &str) -> Failure {
    let LinkError::Refused { status, .. } = error else {
        return error.into();
    };
    Failure::Volume {
        volume: volume.to_owned(),
        why: match status {
            // STATUS_FLT_VOLUME_NOT_FOUND, STATUS_OBJECT_NAME_NOT_FOUND, STATUS_OBJECT_PATH_NOT_FOUND
            NtStatus(0xc01c_0014 | 0xc000_0034 | 0xc000_003a) => {
                "there is no such volume, or no such instance in the service key; `headroom instances` lists the volumes that \
                 the driver is attached to"
            }
            // STATUS_OBJECT_NAME_INVALID, STATUS_OBJECT_PATH_SYNTAX_BAD, STATUS_INVALID_PARAMETER
            NtStatus(0xc000_0033 | 0xc000_003b | 0xc000_000d) => {
                r"that is no volume's name: name a device such as \Device\Mup, or a drive letter such as C:"
            }
            // STATUS_FLT_INSTANCE_NAME_COLLISION, STATUS_FLT_INSTANCE_ALTITUDE_COLLISION
            NtStatus(0xc01c_0012 | 0xc01c_0011) => "the driver is attached to it already",
            // STATUS_FLT_DO_NOT_ATTACH
            NtStatus(0xc01c_000f) => "the driver declines it",
            // STATUS_FLT_INSTANCE_NOT_FOUND
            NtStatus(0xc01c_0015) => "the driver is not attached to it",
            // STATUS_FLT_DO_NOT_DETACH
            NtStatus(0xc01c_0010) => "the driver does not detach from it",
            _ => "the Filter Manager refused",
        },
        status,
    }
}
