use std::sync::Arc;

use super::charge::touch;
use super::*;
use crate::cost::{chain, server2008_dfs};
use crate::thread::{self, Process};
use crate::wire::FrameKind;

/// Runs `f` on a host thread made a simulated one.
fn simulated<R: Send>(kind: StackKind, f: impl FnOnce() -> R + Send) -> R {
    std::thread::scope(|scope| {
        let run = || {
            let process = Process::new(8, "test.exe", true);
            let thread = thread::adopt(12, Arc::new(process));
            pcr::install(thread.object).expect("a processor region");
            install(kind).expect("a stack");
            f()
        };
        scope.spawn(run).join().expect("the thread's result")
    })
}

#[test]
fn a_system_call_begins_where_the_listing_has_it() {
    let child_sp = simulated(StackKind::Ordinary, || {
        system_call(|| pcr::block().kernel_sp.get())
    });
    let listed = server2008_dfs().last().expect("the oldest row").child_sp;
    assert_eq!(child_sp as u64 & 0xFFF, listed & 0xFFF);
}

#[test]
fn charged_frames_lie_as_far_apart_as_in_the_listing() {
    let listing = simulated(StackKind::Large, || {
        system_call(|| {
            with_frames(chain("query_attributes"), || {
                with_frames(chain("mup.dfs"), || listing("now", Context::Host))
            })
        })
    });
    assert!(
        listing
            .frames
            .iter()
            .all(|frame| frame.kind == FrameKind::Modelled)
    );
    let outer: Vec<_> = server2008_dfs()
        .iter()
        .filter(|row| row.create == "outer")
        .collect();
    let mut compared = 0;
    for pair in listing.frames.windows(2) {
        let rows = outer.windows(2).find(|rows| {
            rows[0].frame.symbol == pair[0].symbol && rows[1].frame.symbol == pair[1].symbol
        });
        let Some(rows) = rows else { continue };
        assert_eq!(
            pair[0].bytes_to_older,
            Some(rows[1].child_sp - rows[0].child_sp),
            "{}",
            pair[0].symbol
        );
        compared += 1;
    }
    assert!(compared > 15, "{compared} pairs compared");
}

#[test]
fn an_expansion_is_direct_then_grown_then_switched() {
    let (before, direct, grown, switched, after) = simulated(StackKind::Large, || {
        system_call(|| {
            let before = limits();
            let direct = expand(0x1000, false, limits).expect("runs");
            let grown = expand(0x6000, false, limits).expect("runs");
            let deep = || expand(0x1_1800, false, || (limits(), remaining())).expect("runs");
            let switched = with_frames(chain("mup.dfs"), deep);
            (before, direct, grown, switched, limits())
        })
    });
    assert_eq!(direct, before);
    assert_eq!((grown.high, grown.low < before.low), (before.high, true));
    assert_ne!(switched.0.high, before.high);
    assert!(switched.1 >= 0x1_1800, "{:#x}", switched.1);
    assert_eq!(after, grown, "what was grown stays");
}

#[test]
fn a_reused_segment_is_like_a_new_one() {
    let (first, second) = simulated(StackKind::Ordinary, || {
        system_call(|| {
            let inner = || expand(0x8000, false, limits).expect("runs");
            let first = expand(0x6000, false, || (limits(), inner())).expect("runs");
            let second = expand(0x6000, false, limits).expect("runs");
            (first, second)
        })
    });
    assert!(first.1.low < first.0.low, "the inner one grew it");
    assert_eq!(second, first.0, "and it is small again");
}

#[test]
fn what_lies_on_another_segment_is_told_apart() {
    let (inner, outer) = simulated(StackKind::Ordinary, || {
        system_call(|| {
            let outer = Measure::begin();
            let inner = Measure::begin();
            let deep = || with_frames(chain("mup.provider"), || ());
            expand(0x6000, false, deep).expect("runs");
            let inner = inner.end();
            (inner, outer.end())
        })
    });
    let provider: u64 = chain("mup.provider")
        .iter()
        .map(|frame| u64::from(frame.bytes))
        .sum();
    assert!(inner.elsewhere > provider, "{inner:#x?}");
    assert_eq!(
        outer.elsewhere, inner.elsewhere,
        "the outer callback was there as well"
    );
}

#[test]
fn the_lowest_stack_pointer_nests() {
    let (inner, outer, bottom) = simulated(StackKind::Ordinary, || {
        system_call(|| {
            let outer = Measure::begin();
            let (inner, bottom) = with_frames(chain("create"), || {
                let inner = Measure::begin();
                let bottom = with_frames(chain("mup.provider"), || {
                    pcr::block().kernel_sp.get() as u64
                });
                (inner.end(), bottom)
            });
            (inner, outer.end(), bottom)
        })
    });
    assert_eq!(inner.lowest, Some(bottom));
    assert_eq!(outer.lowest, Some(bottom));
    assert_eq!((inner.own, outer.own), (0, 0), "all of it was the kernel's");
}

#[test]
fn what_is_written_between_two_calls_is_seen() {
    usage::configure(true);
    let (inner, outer) = simulated(StackKind::Ordinary, || {
        system_call(|| {
            let outer = Measure::begin();
            let inner = with_frames(chain("create"), || {
                let inner = Measure::begin();
                let sp = pcr::block().kernel_sp.get();
                touch(sp - 0x1000);
                inner.end()
            });
            (inner, outer.end())
        })
    });
    usage::configure(false);
    assert_eq!((inner.own, inner.whole), (0x1000, 0x1000));
    assert_eq!(inner.deepest, Deepest::Unknown);
    assert_eq!(outer.own, 0, "the inner one's is not the outer one's own");
    assert!(outer.whole > 0x1000);
}
