//! Runs made by arithmetic, not by a machine: 0x7c0 bytes for each nested create, the kernel's own sizes for the segments.

#![allow(dead_code, reason = "each test uses its own part")]

use headroom_harness::model::{
    Arrival, BugCheck, End, Expand, Frame, Listing, Losses, Open, RecordView, Run,
};
use headroom_harness::report::{Origin, Report};
use headroom_harness::scenario::{Kind, Plan};
use headroom_harness::verdict;
use protocol::{Flags, NtStatus, Outcome, Policy, Record};

pub(crate) const NEST_BYTES: u64 = 0x7c0;
pub(crate) const STACK: [u64; 2] = [0xffff_f880_0100_0000, 0xffff_f880_0100_6000];

pub(crate) fn plan(depth: u32) -> Plan {
    Plan {
        depth,
        ..Plan::new(Kind::Nested, "headroom.sys".into())
    }
}

pub(crate) fn path(depth: u32, deepest: u32) -> String {
    // The outermost create has the longest path.
    (1..=deepest - depth).fold(r"\Device\Mup\server\share".to_owned(), |path, level| {
        format!(r"{path}\d{level:02}")
    })
}

/// What `depth` nested creates record when each expansion of 0x6000 bytes runs where there is room for it.
pub(crate) fn always(depth: u32) -> Run {
    let mut segment = STACK;
    let mut sp = STACK[1] - 0x640;
    let mut records = Vec::new();
    let mut arrivals = Vec::new();
    for nest in 1..=depth {
        let path = path(nest, depth);
        arrivals.push(Arrival {
            depth: nest,
            thread_id: 0,
            path: path.clone(),
            remaining: sp - segment[0],
            segment_low: segment[0],
            segment_high: segment[1],
        });
        let mut record = Record::EMPTY;
        record.set_path(&path.encode_utf16().collect::<Vec<u16>>());
        record.set_image_name(b"headroom.exe");
        record.sequence = u64::from(depth - nest + 1);
        record.nest_depth = nest - 1;
        record.policy = Policy::ALWAYS;
        record.flags = Flags::BEFORE_SAMPLED
            .with(Flags::INSIDE_SAMPLED)
            .with(Flags::AFTER_SAMPLED);
        record.flags = record
            .flags
            .with(Flags::CREATE_STATUS_KNOWN)
            .with(Flags::UNC);
        record.reservation_bytes = 0x6000;
        [record.before_low, record.before_high] = segment;
        record.after_low = segment[0];
        record.before_remaining = u32::try_from(sp - segment[0]).unwrap();
        record.after_remaining = record.before_remaining;
        if sp - segment[0] < 0x6000 {
            let base = segment[1] + 0x10_0000;
            segment = [base, base + 0x12000];
            sp = segment[1];
            record.outcome = Outcome::SWITCHED;
        } else {
            record.outcome = Outcome::DIRECT;
        }
        sp -= 0x120;
        [record.inside_low, record.inside_high] = segment;
        record.inside_remaining = u32::try_from(sp - segment[0]).unwrap();
        records.push(RecordView::from(&record));
        sp -= NEST_BYTES;
    }
    records.reverse();
    Run {
        opens: vec![open(Some(NtStatus::SUCCESS))],
        arrivals,
        losses: Some(Losses {
            written: depth.into(),
            ..Losses::default()
        }),
        records,
        ..Run::new(Expand::Always)
    }
}

/// The same creates on 24 KB and nothing else.
pub(crate) fn never(depth: u32) -> Run {
    let mut arrivals = Vec::new();
    let mut sp = STACK[1] - 0x640;
    for nest in 1..=depth {
        if sp < STACK[0] + 0x200 {
            break;
        }
        arrivals.push(Arrival {
            depth: nest,
            thread_id: 0,
            path: path(nest, depth),
            remaining: sp - STACK[0],
            segment_low: STACK[0],
            segment_high: STACK[1],
        });
        sp -= NEST_BYTES + 0x120;
    }
    let frame = |child_sp, bytes, symbol: &str, real: bool| Frame {
        child_sp,
        bytes_to_older: bytes,
        symbol: symbol.to_owned(),
        source: real.then(|| "driver/inspect.rs:42".to_owned()),
        real,
        segment: 0,
    };
    let frames = (0..100).flat_map(|cycle| {
        let sp = STACK[0] + 0x40 + cycle * 0xf0;
        [
            frame(
                sp,
                Some(0x90),
                "headroom!headroom::inspect::open_parent+0x5c",
                true,
            ),
            frame(sp + 0x90, Some(0x60), "fltmgr!FltCreateFileEx2", false),
        ]
    });
    let stack = Listing {
        taken_at: "bug check".to_owned(),
        frames: frames.collect(),
        segments: vec![STACK],
        by_module: vec![
            ("headroom".to_owned(), 14_400),
            ("fltmgr".to_owned(), 9_600),
        ],
    };
    let bug_check = BugCheck {
        code: 0x7f,
        name: "UNEXPECTED_KERNEL_MODE_TRAP".to_owned(),
        parameters: [8, STACK[0], 0, 0],
        text: "a push ran into the guard page below the kernel stack".to_owned(),
        crash_dump: None,
        stack,
    };
    Run {
        opens: vec![open(None)],
        arrivals,
        end: End::BugCheck(Box::new(bug_check)),
        ..Run::new(Expand::Never)
    }
}

pub(crate) fn open(status: Option<NtStatus>) -> Open {
    Open::new(path(1, 64), status, NtStatus::SUCCESS)
}

pub(crate) fn report(depth: u32) -> Report {
    let plan = plan(depth);
    let runs = vec![never(depth), always(depth)];
    let without_driver = vec![open(Some(NtStatus::SUCCESS))];
    let checks = verdict::judge(&plan, &runs, &without_driver);
    Report {
        origin: Origin {
            headroom: "0.0.0".to_owned(),
            taken_at: "2026-01-31T12:00:00Z".to_owned(),
            host: "linux x86_64".to_owned(),
            machine: "ntbench".to_owned(),
            driver_bytes: Some(65_536),
        },
        plan,
        without_driver,
        runs,
        checks,
    }
}
