//! What is done many times over, by the machine's own clock: what crosses to the machine and back is no part of it.

use serde::{Deserialize, Serialize};

use super::config::CreateFile;
use super::port::PortMessage;
use crate::status::NtStatus;

/// Something to do many times on a thread.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Measure {
    /// What.
    pub what: Measured,
    /// How often.
    pub times: u64,
}

/// What is done.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Measured {
    /// `NtCreateFile`. The handles are closed in between, which is timed apart.
    Create(CreateFile),
    /// A call of a driver's function that takes these arguments.
    Routine {
        /// Its address ([`Machine::symbol`](crate::Machine::symbol)).
        address: u64,
        /// Its arguments.
        arguments: Vec<u64>,
    },
    /// `FilterSendMessage`, each of these in turn.
    Send(Vec<PortMessage>),
}

/// How long it took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timing {
    /// How often it was done.
    pub times: u64,
    /// Nanoseconds of all of them.
    pub nanoseconds: u64,
    /// Of creates: nanoseconds of closing what they opened.
    pub closing: u64,
    /// The first status that was no success; else the last one.
    pub status: NtStatus,
    /// What the last call of a routine returned.
    pub value: u64,
}
