//! Why there is no machine to talk to, and what to do about it.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use super::place::PLACE_VARIABLE;
use crate::model::BugCheck;

/// Why the machine in the background does not do what was asked.
#[derive(Debug, Error)]
pub enum MachineError {
    /// There is none.
    #[error(
        "no driver is loaded: no machine runs in the background. Start one with `headroom load`"
    )]
    None,
    /// There is one already.
    #[error(
        "a machine runs already, as process {0}: end it with `headroom unload`, or give the new one another folder in {PLACE_VARIABLE}"
    )]
    Already(u32),
    /// Another is being started there.
    #[error(
        "another machine is just being started or ended in {0}: wait a moment, or give the new one another folder in {PLACE_VARIABLE}"
    )]
    Taken(PathBuf),
    /// There was one, and its process is gone.
    #[error(
        "the machine in the background has ended without `headroom unload`; its last words, if any, are in {0}. Start another with \
         `headroom load`"
    )]
    Ended(PathBuf),
    /// It ended while it was talked to.
    #[error("the machine was unloaded meanwhile")]
    Over,
    /// It bug-checked.
    #[error(
        "the machine has stopped with bug check {:#04X} {}: {}. `headroom unload` shows its stack and clears it away",
        .0.code, .0.name, .0.text.trim_end_matches('.')
    )]
    BugCheck(Box<BugCheck>),
    /// It did not come up.
    #[error("{0}")]
    Start(String),
    /// The folder belongs to somebody else.
    #[error(
        "{path} belongs to user {owner}, and a machine's folder has to be one's own: name another in {PLACE_VARIABLE}"
    )]
    Foreign {
        /// The folder.
        path: PathBuf,
        /// Its owner.
        owner: u32,
    },
    /// Others can get at the folder.
    #[error(
        "others can get at {path} (mode {mode:o}), and who can reach a machine's socket commands it: chmod 700 {path}, or name another \
         folder in {PLACE_VARIABLE}"
    )]
    Exposed {
        /// The folder.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// The socket's path does not fit.
    #[error(
        "{0} is too long for a socket's path: name a folder with a shorter one in {PLACE_VARIABLE}"
    )]
    TooLong(PathBuf),
    /// A driver refused to unload.
    #[error("the driver refused to unload: {0}. It stays loaded")]
    Unload(String),
    /// The host's files.
    #[error("{doing} {path}: {error}")]
    Files {
        /// What was being done.
        doing: &'static str,
        /// To what.
        path: PathBuf,
        /// The host's error.
        error: io::Error,
    },
    /// The machine in the background is another build's.
    #[error(
        "the machine in the background does not understand this program ({0}): it was started by another build. End it with the one that \
         started it"
    )]
    Wire(String),
    /// ntbench.
    #[error("{0}")]
    Bench(String),
}

impl MachineError {
    pub(super) fn files(
        doing: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |error| Self::Files { doing, path, error }
    }
}
