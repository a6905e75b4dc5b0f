//! What the picture draws, in creates and bytes: no pixels yet.

use crate::model::{End, Expand, RecordView, Run};
use crate::scenario::Kind;

/// Stack in use when a create arrived, and where its inspection ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Point {
    /// The create: its depth, or its number where creates do not nest.
    pub(super) at: u32,
    /// Bytes in use on the segment.
    pub(super) used: u64,
    /// Bytes in use on every segment of the thread.
    pub(super) total: u64,
    /// Bytes of the segment that may be used at this point: it grows in place.
    pub(super) committed: u64,
}

/// A stack segment, and the creates that it carried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Segment {
    /// Its size: 24 KB, or 72 KB reserved.
    pub(super) bytes: u64,
    /// In order; the first is the inspection that switched to it.
    pub(super) points: Vec<Point>,
}

/// One policy's run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Series {
    pub(super) expand: Expand,
    pub(super) segments: Vec<Segment>,
    /// What the expansions asked for, where they all asked for the same.
    pub(super) reservation: Option<u64>,
    /// The depth at which the machine died, and its bug check.
    pub(super) died: Option<(u32, String)>,
}

impl Series {
    pub(super) fn of(run: &Run, kind: Kind, large_stack: bool) -> Self {
        let nested = kind == Kind::Nested;
        let first_bytes = if large_stack {
            crate::model::LARGE_STACK_BYTES
        } else {
            crate::model::KERNEL_STACK_BYTES
        };
        let mut segments = Segments {
            list: Vec::new(),
            below: 0,
            first_bytes,
        };
        let mut records: Vec<&RecordView> = run.records.iter().collect();
        if nested {
            records.sort_by_key(|record| record.depth);
        }
        for (number, record) in (1..).zip(&records) {
            let at = if nested { record.depth } else { number };
            if let Some(before) = record.before {
                let used = used(record.caller_segment, before.into());
                segments.point(record.caller_segment, at, used);
                let switched = record.inside_segment[1] != 0
                    && record.inside_segment[1] != record.caller_segment[1];
                if let (true, true, Some(inside)) = (nested, switched, record.inside) {
                    segments.below = segments.below.saturating_add(used);
                    let used = self::used(record.inside_segment, inside.into());
                    segments.point(record.inside_segment, at, used);
                }
            }
        }
        if records.is_empty() {
            for (number, arrival) in (1..).zip(&run.arrivals) {
                let at = if nested { arrival.depth } else { number };
                let used = used(
                    [arrival.segment_low, arrival.segment_high],
                    arrival.remaining,
                );
                segments.point([arrival.segment_low, arrival.segment_high], at, used);
            }
        }
        let died = match &run.end {
            End::Completed => None,
            End::BugCheck(bug_check) => {
                let depth = run
                    .arrivals
                    .iter()
                    .map(|arrival| arrival.depth)
                    .max()
                    .unwrap_or(0);
                Some((
                    depth,
                    format!(
                        "bug check {:#04X} ({:X})",
                        bug_check.code, bug_check.parameters[0]
                    ),
                ))
            }
        };
        let mut asked = run
            .records
            .iter()
            .map(|record| u64::from(record.reservation_bytes))
            .filter(|&bytes| bytes != 0);
        let reservation = asked
            .next()
            .filter(|&first| asked.all(|bytes| bytes == first));
        let segments = segments
            .list
            .into_iter()
            .map(|(_, segment)| segment)
            .collect();
        Self {
            expand: run.expand,
            segments,
            reservation,
            died,
        }
    }

    pub(super) fn points(&self) -> impl Iterator<Item = Point> + '_ {
        self.segments
            .iter()
            .flat_map(|segment| segment.points.iter().copied())
    }
}

/// Bytes above the stack pointer. The segment's low end moves as it grows, the sum does not.
fn used(segment: [u64; 2], remaining: u64) -> u64 {
    let [low, high] = segment;
    high.saturating_sub(low.saturating_add(remaining))
}

struct Segments {
    /// By their high ends, which do not move.
    list: Vec<(u64, Segment)>,
    /// Bytes in use on the segments below the present one.
    below: u64,
    first_bytes: u64,
}

impl Segments {
    fn point(&mut self, [low, high]: [u64; 2], at: u32, used: u64) {
        let point = Point {
            at,
            used,
            total: self.below.saturating_add(used),
            committed: high.saturating_sub(low),
        };
        match self.list.iter_mut().find(|(known, _)| *known == high) {
            Some((_, segment)) => segment.points.push(point),
            None => {
                let bytes = if self.list.is_empty() {
                    self.first_bytes
                } else {
                    crate::model::LARGE_STACK_BYTES
                };
                self.list.push((
                    high,
                    Segment {
                        bytes,
                        points: vec![point],
                    },
                ));
            }
        }
    }
}
