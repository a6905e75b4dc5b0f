//! Following the driver's records as they come.

use std::time::{Duration, Instant};

use protocol::Record;
use protocol::port::StatusReply;

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
    /// Numbers of records that were passed unseen. Some of them no record ever carried.
    passed: u64,
    /// How the driver stood in the beginning; `None`: it is too old to tell.
    begun: Option<StatusReply>,
    /// Records read that were written since then.
    read: u64,
    lost: u64,
}

impl Follower {
    /// From the oldest record that is kept; or, if `new`, from the next one that will be written.
    ///
    /// # Errors
    /// [`Failure`]: no driver answers.
    pub fn start(mut client: Client, new: bool) -> Result<Self, Failure> {
        let begun = client.status()?;
        let next = if new {
            client.drain(u64::MAX)?.head.saturating_add(1)
        } else {
            0
        };
        Ok(Self {
            client,
            next,
            passed: 0,
            begun,
            read: 0,
            lost: 0,
        })
    }

    /// Ticks a second of the clock in the records; `None`: the driver is too old to tell.
    #[must_use]
    pub fn frequency(&self) -> Option<u64> {
        self.begun.map(|status| status.qpc_frequency)
    }

    /// Records that were gone before they could be read: no fewer than that is certain to be none.
    #[must_use]
    pub const fn lost(&self) -> u64 {
        self.lost
    }

    /// The records that there are by now, at most as many as a drain brings; empty: none are left.
    ///
    /// # Errors
    /// [`Failure`]: the driver does not answer any more.
    pub fn read(&mut self) -> Result<Vec<Record>, Failure> {
        let drained = self.client.drain(self.next)?;
        self.next = drained.next;
        let head = self.begun.map_or(0, |status| status.head);
        let new = |record: &&Record| record.sequence > head;
        self.read += drained.records.iter().filter(new).count() as u64;
        if drained.lost > 0 {
            self.passed += drained.lost;
            self.lost = self.count_lost()?;
        }
        Ok(drained.records)
    }

    /// Of the numbers passed, those that can have been records: no more than were written and not read.
    fn count_lost(&mut self) -> Result<u64, Failure> {
        let (Some(begun), Some(now)) = (self.begun, self.client.status()?) else {
            return Ok(self.passed);
        };
        let unread = now.written.saturating_sub(begun.written + self.read);
        Ok(self.passed.min(unread).max(self.lost))
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
