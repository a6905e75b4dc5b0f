//! What a simulated machine tells of a run, in the model's words.

use ntbench::wire::{BugCheckReport, DumpOutcome, StackListing, Trace, TraceEvent};

use super::{SERVICE, Told};
use crate::model::{Arrival, BugCheck, Frame, Listing};

impl Told {
    pub(super) fn tell(&mut self, trace: &Trace) {
        self.arrivals_dropped += trace.dropped;
        for event in &trace.events {
            match event {
                TraceEvent::Callback(callback)
                    if callback.phase == "pre"
                        && callback.operation == "IRP_MJ_CREATE"
                        && callback.filter.eq_ignore_ascii_case(SERVICE) =>
                {
                    self.arrivals.push(Arrival {
                        depth: callback.nest,
                        thread_id: callback.tid,
                        path: callback.path.clone(),
                        remaining: callback.remaining,
                        segment_low: callback.segment_low,
                        segment_high: callback.segment_high,
                    });
                }
                TraceEvent::Snapshot(listing) => self.listings.push(Listing::from(&**listing)),
                _ => {}
            }
        }
    }
}

/// What became of a crash dump, in a line.
fn told(dump: &DumpOutcome) -> String {
    match dump {
        DumpOutcome::Written { path, bytes } => format!(
            "crash dump: {} ({} KB); `headroom dump` reads it",
            path.display(),
            bytes / 1024
        ),
        DumpOutcome::Failed { path, why } => {
            format!("crash dump: {} was not written: {why}", path.display())
        }
    }
}

impl From<&BugCheckReport> for BugCheck {
    fn from(report: &BugCheckReport) -> Self {
        Self {
            code: report.code,
            name: report.name.clone(),
            parameters: report.parameters,
            text: report.text.clone(),
            crash_dump: report.dump.as_ref().map(told),
            stack: Listing::from(&report.stack),
        }
    }
}

impl From<&StackListing> for Listing {
    fn from(listing: &StackListing) -> Self {
        Self {
            taken_at: listing.taken_at.clone(),
            frames: listing
                .frames
                .iter()
                .map(|frame| Frame {
                    child_sp: frame.child_sp,
                    bytes_to_older: frame.bytes_to_older,
                    symbol: frame.symbol.clone(),
                    source: frame.source.clone(),
                    real: frame.kind == ntbench::wire::FrameKind::Driver,
                    segment: frame.segment,
                })
                .collect(),
            segments: listing
                .segments
                .iter()
                .map(|segment| [segment.low, segment.high])
                .collect(),
            by_module: listing.by_module.clone(),
        }
    }
}
