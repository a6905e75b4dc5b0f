//! What the program can be told to do: one module a verb, with its arguments and its work.

pub mod attach;
pub mod compare;
pub mod completions;
pub mod config;
pub mod detach;
pub mod doctor;
pub mod dump;
pub mod follow;
pub mod install;
pub mod instances;
pub mod load;
pub mod log;
pub mod report;
pub mod reset;
pub mod run;
pub mod stats;
pub mod status;
pub mod uninstall;
pub mod unload;
pub mod watch;

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use protocol::NtStatus;
use serde::Serialize;
use thiserror::Error;

use crate::backend::Environment;
use crate::link::LinkError;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
use crate::machine::MachineError;
use crate::report::compare::NotComparable;
use crate::report::saved::Unreadable;

/// What a verb that could be tried came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// What had to be seen was seen.
    Holds,
    /// It was not.
    Fails,
    /// Ctrl-C ended it before all could be seen; what was seen holds.
    Interrupted,
}

/// The exit status of what Ctrl-C has ended: 128 and the signal's number, as shells have it.
pub const INTERRUPTED: u8 = 130;

impl Verdict {
    /// From whether every check holds.
    #[must_use]
    pub const fn from_checks(hold: bool) -> Self {
        if hold { Self::Holds } else { Self::Fails }
    }
}

impl From<Verdict> for ExitCode {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Holds => Self::SUCCESS,
            Verdict::Fails => Self::from(1),
            Verdict::Interrupted => Self::from(INTERRUPTED),
        }
    }
}

/// Why a verb could not be tried; each says what to do about it. The program then ends with status 2.
#[derive(Debug, Error)]
pub enum Failure {
    /// The machine, the driver's image or the host's files.
    #[error(transparent)]
    Environment(#[from] Environment),
    /// The crash dump.
    #[error(transparent)]
    Dump(#[from] crashdump::Error),
    /// A saved file.
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
    /// Two of them.
    #[error(transparent)]
    NotComparable(#[from] NotComparable),
    /// The driver does not answer.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// The machine in the background.
    #[cfg(all(target_os = "linux", target_arch = "x86_64"))]
    #[error(transparent)]
    Machine(#[from] MachineError),
    /// A volume was not attached to or detached from.
    #[error("`{volume}`: {why} ({status})")]
    Volume {
        /// The volume, as it was named.
        volume: String,
        /// What it means.
        why: &'static str,
        /// What the Filter Manager said.
        status: NtStatus,
    },
    /// A setting's name or value makes no sense.
    #[error("{0}")]
    Setting(String),
    /// A file cannot be written.
    #[error("writing {path}: {error}")]
    File {
        /// The file.
        path: PathBuf,
        /// The host's error.
        error: io::Error,
    },
    /// A file is there already.
    #[error("{0} exists already: name another file, or let it grow with --append")]
    Exists(PathBuf),
    /// Standard output cannot be written to.
    #[error("writing to standard output: {0}")]
    Output(io::Error),
    /// Windows refused.
    #[error("{what}: {advice}")]
    System {
        /// Which call, and its code.
        what: String,
        /// What to do.
        advice: &'static str,
    },
}

impl Failure {
    /// Whether it says that the driver has gone meanwhile, in an orderly way.
    #[must_use]
    pub fn is_over(&self) -> bool {
        match self {
            Self::Link(error) => error.is_over(),
            _ => false,
        }
    }
}

/// Prints text, in colour where that is wanted; `false`: the reader has seen enough (`| head`).
///
/// # Errors
/// [`Failure::Output`].
pub fn say(text: &str) -> Result<bool, Failure> {
    let mut output = anstream::stdout().lock();
    match output
        .write_all(text.as_bytes())
        .and_then(|()| output.flush())
    {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(Failure::Output(error)),
    }
}

/// Prints one JSON value, for people and programs.
///
/// # Errors
/// [`Failure::Output`].
pub fn say_json(value: &impl Serialize) -> Result<bool, Failure> {
    let text = serde_json::to_string_pretty(value).map_err(io::Error::from);
    say(&(text.map_err(Failure::Output)? + "\n"))
}

/// Prints one JSON value on a line of its own, for programs that read line by line.
///
/// # Errors
/// [`Failure::Output`].
pub fn say_json_line(value: &impl Serialize) -> Result<bool, Failure> {
    let text = serde_json::to_string(value).map_err(io::Error::from);
    say(&(text.map_err(Failure::Output)? + "\n"))
}
