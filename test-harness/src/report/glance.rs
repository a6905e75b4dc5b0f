//! A run in a line: what two runs are compared by, and what a reader wants to know first.

use serde::Serialize;

use super::measures::{Create, Spread, creates};
use crate::model::{End, Expand, Run};

/// A run in a line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Glance {
    pub(super) policy: Expand,
    /// Creates of which a sample is known.
    pub(super) creates: usize,
    /// Most creates that were under way on one thread.
    pub(super) deepest: u32,
    /// The least stack left at any sample, and at which depth.
    pub(super) lowest: Option<(u64, u32)>,
    /// Least stack left where an inspection started.
    pub(super) lowest_inside: Option<u64>,
    /// What one nested create adds to the stack in use, in the middle.
    pub(super) per_create: Option<u64>,
    /// What drivers' own frames took of the listed stack, for each create under way on it.
    pub(super) driver_per_create: Option<u64>,
    /// Inspections of which the expansion was refused.
    pub(super) refused: usize,
    /// Creates that were not inspected for want of stack.
    pub(super) low_stack: usize,
    /// Opens that returned something else than they had to.
    pub(super) wrong_opens: usize,
    /// Records lost, where that is known.
    pub(super) lost: Option<u64>,
    /// What ended it, where it did not end well.
    pub(super) died: Option<String>,
}

impl Glance {
    pub(super) fn of(run: &Run) -> Self {
        let creates = creates(run);
        let deepest = creates.iter().map(|create| create.depth).max().unwrap_or(0);
        let count = |wanted: fn(&str, &str) -> bool| {
            run.records
                .iter()
                .filter(|record| wanted(&record.outcome, &record.flags))
                .count()
        };
        Self {
            policy: run.expand,
            creates: creates.len(),
            deepest,
            lowest: creates
                .iter()
                .map(|create| (create.lowest, create.depth))
                .min(),
            lowest_inside: creates.iter().filter_map(|create| create.samples[1]).min(),
            per_create: per_create(&creates),
            driver_per_create: driver_per_create(run, deepest),
            refused: count(|outcome, _| matches!(outcome, "failed" | "worker")),
            low_stack: count(|_, flags| flags.contains("skipped: low stack")),
            wrong_opens: run
                .opens
                .iter()
                .filter(|open| open.status.is_some_and(|status| status != open.expected))
                .count(),
            lost: run
                .losses
                .map(|losses| losses.overwritten + losses.skipped + losses.skipped_low_stack),
            died: match &run.end {
                End::Completed => None,
                End::BugCheck(check) => Some(format!(
                    "bug check {:#04X} ({:X}) at depth {deepest}",
                    check.code, check.parameters[0]
                )),
            },
        }
    }
}

/// The middle of what creates nested directly in each other, on one thread and one segment, lie apart.
fn per_create(creates: &[Create]) -> Option<u64> {
    let arrived = |create: &Create| {
        // A segment grows downwards: its high end and what is in use of it stay comparable.
        let [low, high] = create.caller;
        let used = high.checked_sub(low)?.checked_sub(create.samples[0]?)?;
        Some((create.thread_id, create.depth, high, used))
    };
    let mut places: Vec<_> = creates.iter().filter_map(arrived).collect();
    places.sort_unstable();
    places.dedup_by_key(|place| (place.0, place.1));
    let apart = places.windows(2).filter_map(|pair| {
        let [
            (thread, depth, high, used),
            (next_thread, next_depth, next_high, next_used),
        ] = *pair
        else {
            return None;
        };
        let nested =
            thread == next_thread && depth.checked_add(1) == Some(next_depth) && high == next_high;
        nested.then(|| next_used.checked_sub(used)).flatten()
    });
    Spread::of(apart).map(|spread| spread.middle)
}

fn driver_per_create(run: &Run, deepest: u32) -> Option<u64> {
    let bytes: u64 = run
        .told_stack()?
        .frames
        .iter()
        .filter(|frame| frame.real)
        .filter_map(|frame| frame.bytes_to_older)
        .sum();
    (bytes > 0).then(|| bytes / u64::from(deepest.max(1)))
}
