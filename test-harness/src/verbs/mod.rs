//! What the program can be told to do: one module a verb, with its arguments and its work.

pub mod run;

use std::process::ExitCode;

use thiserror::Error;

use crate::backend::Environment;

/// What a verb that could be tried came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// What had to be seen was seen.
    Holds,
    /// It was not.
    Fails,
}

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
        }
    }
}

/// Why a verb could not be tried; each says what to do about it. The program then ends with status 2.
#[derive(Debug, Error)]
pub enum Failure {
    /// The machine, the driver's image or the host's files.
    #[error(transparent)]
    Environment(#[from] Environment),
}
