//! What an interval brought.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use protocol::Record;
use protocol::port::StatusReply;
use serde::Serialize;

use super::super::follow::Follower;
use super::super::log::Entry;
use super::super::stats;
use super::Failure;
use crate::interrupt;
use crate::model::KERNEL_STACK_BYTES;
use crate::report::stats::Stats;

/// The last events that are kept.
const EVENTS: usize = 200;

/// An interval, and the watermarks at its end.
#[derive(Clone, Debug, Serialize)]
pub struct Snapshot {
    /// When it ended: RFC 3339, UTC.
    pub time: String,
    /// How long it was.
    pub seconds: f64,
    /// Records that it brought.
    pub records: u64,
    /// The record with the least stack left, of those.
    pub lowest_now: Option<Lowest>,
    /// Records by where their inspections ran.
    pub outcomes: Vec<(String, u64)>,
    /// Records lost since the watching began.
    pub lost: u64,
    /// The watermarks, and what became of the records since the driver was loaded.
    pub since_reset: Stats,
}

/// The record of an interval that came closest to the end of its stack.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Lowest {
    /// Bytes left where the create arrived.
    pub before: u32,
    /// Size of the stack segment that it arrived on.
    pub segment: u64,
    /// The process's image name.
    pub process: String,
    /// How many creates were under way.
    pub depth: u32,
    /// The path's end.
    pub path: String,
}

/// Watches the driver.
pub(super) struct Watcher {
    follower: Follower,
    frequency: Option<u64>,
    /// The last records, newest first.
    pub(super) events: VecDeque<Entry>,
}

impl Watcher {
    pub(super) fn new(follower: Follower) -> Self {
        Self {
            frequency: follower.frequency(),
            follower,
            events: VecDeque::new(),
        }
    }

    /// How the driver stands.
    pub(super) fn status(&mut self) -> Result<Option<StatusReply>, Failure> {
        Ok(self.follower.client.status()?)
    }

    /// The policy in force, in a word.
    pub(super) fn policy(&mut self) -> Result<String, Failure> {
        Ok(self.follower.client.config()?.expand_policy.to_string())
    }

    /// Starts the watermarks afresh.
    pub(super) fn reset(&mut self) -> Result<(), Failure> {
        Ok(self.follower.client.reset()?)
    }

    /// Watches for an interval, or until `end`; `None`: the user wants it to end.
    pub(super) fn interval(
        &mut self,
        interval: Duration,
        end: Option<Instant>,
    ) -> Result<Option<Snapshot>, Failure> {
        let mut gathered = Gathered::new();
        let mut deadline = gathered.begun + interval;
        if let Some(end) = end {
            deadline = deadline.min(end);
        }
        while Instant::now() < deadline {
            self.gather(&mut gathered, deadline)?;
            if interrupt::asked() {
                return Ok(None);
            }
        }
        self.close(gathered).map(Some)
    }

    /// Takes the records that there are; waits a moment where there is none.
    pub(super) fn gather(
        &mut self,
        gathered: &mut Gathered,
        deadline: Instant,
    ) -> Result<(), Failure> {
        let records = self.follower.read()?;
        if records.is_empty() {
            return self.follower.wait(Some(deadline));
        }
        for record in records {
            gathered.add(&record);
            self.events.push_front(Entry::new(&record, self.frequency));
        }
        self.events.truncate(EVENTS);
        Ok(())
    }

    /// Ends an interval.
    pub(super) fn close(&mut self, gathered: Gathered) -> Result<Snapshot, Failure> {
        let since_reset = stats::read(&mut self.follower.client)?;
        let now = humantime::format_rfc3339_millis(std::time::SystemTime::now());
        Ok(Snapshot {
            time: now.to_string(),
            seconds: (gathered.begun.elapsed().as_secs_f64() * 1000.0).round() / 1000.0,
            records: gathered.records,
            lowest_now: gathered.lowest,
            outcomes: gathered.outcomes,
            lost: self.follower.lost(),
            since_reset,
        })
    }
}

/// What an interval has brought so far.
pub(super) struct Gathered {
    pub(super) begun: Instant,
    records: u64,
    lowest: Option<Lowest>,
    outcomes: Vec<(String, u64)>,
}

impl Gathered {
    pub(super) fn new() -> Self {
        Self {
            begun: Instant::now(),
            records: 0,
            lowest: None,
            outcomes: Vec::new(),
        }
    }

    fn add(&mut self, record: &Record) {
        self.records += 1;
        let outcome = record.outcome.to_string();
        match self
            .outcomes
            .iter_mut()
            .find(|(known, _)| *known == outcome)
        {
            Some((_, count)) => *count += 1,
            None => self.outcomes.push((outcome, 1)),
        }
        let sampled = record.flags.contains(protocol::Flags::BEFORE_SAMPLED);
        let lower = self
            .lowest
            .as_ref()
            .is_none_or(|lowest| record.before_remaining < lowest.before);
        if sampled && lower {
            self.lowest = Some(Lowest::of(record));
        }
    }
}

impl Lowest {
    fn of(record: &Record) -> Self {
        let segment = record.before_high.saturating_sub(record.before_low);
        let tail = String::from_utf16_lossy(record.tail());
        Self {
            before: record.before_remaining,
            segment: segment.max(KERNEL_STACK_BYTES),
            process: String::from_utf8_lossy(record.image()).into_owned(),
            depth: record.nest_depth + 1,
            path: if record.path_is_whole() {
                tail
            } else {
                format!("…{tail}")
            },
        }
    }
}
