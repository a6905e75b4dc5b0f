//! Following the driver's records as they come.

use std::time::{Duration, Instant};

use protocol::Record;

use super::Failure;
use crate::interrupt;
use crate::link::Client;

/// The longest that a wait lasts, so that Ctrl-C is heeded soon.
const STEP: Duration = Duration::from_millis(200);

/// A connection that reads the records one after the other.
pub struct Follower {
    /// The connection.
    pub client: Client,
    next: u64,
    /// Records that were gone before they could be read.
    pub lost: u64,
}

impl Follower {
    /// From the oldest record that is kept; or, if `new`, from the next one that will be written.
    ///
    /// # Errors
    /// [`Failure`]: no driver answers.
    pub fn start(mut client: Client, new: bool) -> Result<Self, Failure> {
        let next = if new {
            client.drain(u64::MAX)?.head.saturating_add(1)
        } else {
            0
        };
        Ok(Self {
            client,
            next,
            lost: 0,
        })
    }

    /// The records that there are by now, at most as many as a drain brings; empty: none are left.
    ///
    /// # Errors
    /// [`Failure`]: the driver does not answer any more.
    pub fn read(&mut self) -> Result<Vec<Record>, Failure> {
        let drained = self.client.drain(self.next)?;
        self.next = drained.next;
        self.lost += drained.lost;
        Ok(drained.records)
    }

    /// Waits until the driver says that there is more, until `deadline`, or until the user wants it to end.
    ///
    /// # Errors
    /// [`Failure`]: the driver does not answer any more.
    pub fn wait(&mut self, deadline: Option<Instant>) -> Result<(), Failure> {
        let left = |deadline: Instant| deadline.saturating_duration_since(Instant::now());
        let mut limit = deadline.map_or(STEP, |deadline| left(deadline).min(STEP));
        if interrupt::asked() {
            limit = Duration::ZERO;
        }
        self.client.wait(limit).map(drop).map_err(Failure::from)
    }
}
