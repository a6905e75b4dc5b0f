//! The current thread's stack from its oldest frame on, link by link: what a crash dump has to tell an unwinder.

use super::{Context, Record, STATE};
use crate::cpu::fault::Registers;
use crate::cpu::pcr;
use crate::gate::{self, CallSite, Import};
use crate::wire::SegmentInfo;

/// One link.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Link {
    /// A modelled frame.
    Frame {
        /// Its call site, as a debugger names it.
        symbol: &'static str,
        /// Its Child-SP.
        child_sp: usize,
        /// The stack pointer that its caller called it with.
        top: usize,
    },
    /// The driver's frames, which its own unwind data describe.
    Driver {
        /// The stack pointer that the driver was called with: the return address lies below.
        sp: usize,
        /// The import that the driver called and is in; `None`: it runs, or was interrupted.
        import: Option<CallSite>,
    },
    /// The driver was interrupted there.
    Interrupted(Registers),
    /// What follows lies on the next segment.
    Switch,
}

/// A stack.
#[derive(Clone, Debug, Default)]
pub(crate) struct Chain {
    /// Its links, oldest first.
    pub(crate) links: Vec<Link>,
    /// Its segments, oldest first.
    pub(crate) segments: Vec<SegmentInfo>,
}

/// The current thread's, with the frame that did not fit, where that is why it is asked for.
pub(crate) fn chain(context: Context) -> Chain {
    let walked = STATE.try_with(|state| {
        let state = state.try_borrow().ok()?;
        let mut links = links(&state.records);
        if let (Context::Overflow { symbol, child_sp }, Some(block)) = (context, pcr::try_block()) {
            let top = block.kernel_sp.get();
            // Where not even the return address fits, the caller is the newest.
            if top >= block.low.get() + 8 {
                links.push(Link::Frame {
                    symbol,
                    child_sp,
                    top,
                });
            }
        }
        Some(Chain {
            links,
            segments: state
                .segments
                .iter()
                .map(super::segment::Segment::info)
                .collect(),
        })
    });
    walked.ok().flatten().unwrap_or_default()
}

fn links(records: &[Record]) -> Vec<Link> {
    let current = pcr::try_block().map_or(Import::default(), pcr::Block::import);
    let mut links = Vec::with_capacity(records.len());
    for (index, record) in records.iter().enumerate() {
        links.push(match record {
            Record::Frame {
                symbol,
                child_sp,
                top,
            } => Link::Frame {
                symbol,
                child_sp: *child_sp,
                top: *top,
            },
            Record::Call { sp, .. } => {
                // What the driver called then was written down by the next call into it.
                let later = records.get(index + 1..).unwrap_or_default();
                let inside = later.iter().find_map(|record| match record {
                    Record::Call { import, .. } => Some(*import),
                    _ => None,
                });
                Link::Driver {
                    sp: *sp,
                    import: gate::site(inside.unwrap_or(current)),
                }
            }
            Record::Interrupted(registers) => Link::Interrupted(**registers),
            Record::Switch => Link::Switch,
        });
    }
    links
}
