//! Why a machine did not do what it was asked.

use std::time::Duration;

use crate::wire::{BugCheckReport, Finding, Refusal, StackListing};

/// Why a machine did not do what it was asked.
#[derive(Debug, Clone, thiserror::Error)]
pub enum MachineError {
    /// The machine's process could not be started.
    #[error("the machine could not be started from {path}: {error}")]
    Start {
        /// The executable.
        path: String,
        /// The host's error.
        error: String,
    },
    /// The machine bug-checked; it is dead.
    #[error("bug check {:#04X} {}: {}", .0.code, .0.name, .0.text)]
    BugCheck(Box<BugCheckReport>),
    /// The bench itself failed: a defect of the bench, not a verdict on the driver.
    #[error("the bench failed, not the driver: {0}")]
    HostFault(String),
    /// No reply came in time; the machine was stopped.
    #[error(
        "no answer to {request} within {limit:?}: the machine was stopped; {}",
        whereabouts(stacks)
    )]
    TimeLimit {
        /// What was asked.
        request: String,
        /// The limit.
        limit: Duration,
        /// Where the machine's busy threads were, as far as they could still tell.
        stacks: Vec<StackListing>,
        /// What the verifier had found.
        findings: Vec<Finding>,
    },
    /// The process ended without a word.
    #[error("the machine's process ended without a report ({0})")]
    Died(String),
    /// The request was refused; the machine lives.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The reply was not one that the request has: two versions of the bench talk to each other.
    #[error("the machine's reply to {request} made no sense: {reply}")]
    Protocol {
        /// What was asked.
        request: String,
        /// What came.
        reply: String,
    },
}

fn whereabouts(stacks: &[StackListing]) -> String {
    let newest = |listing: &StackListing| {
        let frame = listing.frames.first().map_or_else(
            || "no frame".to_owned(),
            |frame| match &frame.source {
                Some(source) => format!("{} [{source}]", frame.symbol),
                None => frame.symbol.clone(),
            },
        );
        format!("thread {:#x} was in {frame}", listing.tid)
    };
    match stacks {
        [] => "no thread could tell where it was".to_owned(),
        stacks => stacks.iter().map(newest).collect::<Vec<_>>().join(", "),
    }
}
