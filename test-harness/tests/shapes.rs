//! Tables, pictures and data from made-up runs, held against golden files.
//!
//! The runs are made by arithmetic, not by a machine: 0x7c0 bytes for each nested create, the kernel's own sizes for the
//! segments. What a machine shows is in the other tests.

use headroom_harness::model::{
    Arrival, BugCheck, End, Expand, Frame, Listing, Losses, Open, RecordView, Run,
};
use headroom_harness::report::Report;
use headroom_harness::scenario::{Kind, Plan};
use headroom_harness::{listing, table, verdict};
use protocol::{Flags, NtStatus, Outcome, Policy, Record};

const NEST_BYTES: u64 = 0x7c0;
const STACK: [u64; 2] = [0xffff_f880_0100_0000, 0xffff_f880_0100_6000];

fn plan(depth: u32) -> Plan {
    Plan {
        scenario: Kind::Nested,
        depth,
        driver: "headroom.sys".into(),
        large_stack: false,
        reservation_bytes: None,
    }
}

fn path(depth: u32, deepest: u32) -> String {
    // The outermost create has the longest path.
    (1..=deepest - depth).fold(r"\Device\Mup\server\share".to_owned(), |path, level| {
        format!(r"{path}\d{level:02}")
    })
}

/// What `depth` nested creates record when each expansion of 0x6000 bytes runs where there is room for it.
fn always(depth: u32) -> Run {
    let mut segment = STACK;
    let mut sp = STACK[1] - 0x640;
    let mut records = Vec::new();
    let mut arrivals = Vec::new();
    for nest in 1..=depth {
        let path = path(nest, depth);
        arrivals.push(Arrival {
            depth: nest,
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
        expand: Expand::Always,
        opens: vec![open(Some(NtStatus::SUCCESS))],
        arrivals,
        losses: Some(Losses {
            written: depth.into(),
            ..Losses::default()
        }),
        records,
        listings: Vec::new(),
        findings: Vec::new(),
        end: End::Completed,
    }
}

/// The same creates on 24 KB and nothing else.
fn never(depth: u32) -> Run {
    let mut arrivals = Vec::new();
    let mut sp = STACK[1] - 0x640;
    for nest in 1..=depth {
        if sp < STACK[0] + 0x200 {
            break;
        }
        arrivals.push(Arrival {
            depth: nest,
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
        stack,
    };
    Run {
        expand: Expand::Never,
        opens: vec![open(None)],
        arrivals,
        records: Vec::new(),
        losses: None,
        listings: Vec::new(),
        findings: Vec::new(),
        end: End::BugCheck(Box::new(bug_check)),
    }
}

fn open(status: Option<NtStatus>) -> Open {
    Open {
        name: path(1, 64),
        status,
        expected: NtStatus::SUCCESS,
    }
}

fn report(depth: u32) -> Report {
    let plan = plan(depth);
    let runs = vec![never(depth), always(depth)];
    let without_driver = vec![open(Some(NtStatus::SUCCESS))];
    let checks = verdict::judge(&plan, &runs, &without_driver);
    Report {
        plan,
        without_driver,
        runs,
        checks,
    }
}

/// Without the escapes that colour it.
fn plain(text: &str) -> String {
    anstream::adapter::strip_str(text).to_string()
}

#[test]
fn the_table_of_a_run_that_completes() {
    insta::assert_snapshot!(plain(&table::creates(&plan(64), &always(64))));
}

#[test]
fn the_table_of_a_run_that_dies() {
    insta::assert_snapshot!(plain(&table::creates(&plan(64), &never(64))));
}

#[test]
fn a_long_stack_is_folded() {
    let End::BugCheck(bug_check) = never(64).end else {
        panic!("it dies")
    };
    insta::assert_snapshot!(plain(&listing::folded(&bug_check.stack, 8, 4, "stack.txt")));
    insta::assert_snapshot!(plain(&table::modules(&bug_check.stack.by_module)));
}

#[test]
fn the_picture() {
    insta::assert_snapshot!(report(64).picture().unwrap());
}

#[test]
fn the_data_of_two_creates() {
    insta::assert_snapshot!(report(2).json().unwrap());
}

#[test]
fn the_page_is_whole_and_needs_nothing_else() {
    let page = report(64).page().unwrap();
    assert!(page.contains("<svg") && page.contains("bug check 0x7F (8) at depth 10"));
    for outside in ["http:", "https:", "src=", "@import", "url("] {
        let found = page.matches(outside).count()
            - page.matches("http://www.w3.org/2000/svg").count() * usize::from(outside == "http:");
        assert_eq!(found, 0, "the page refers to {outside}");
    }
}

#[test]
fn what_had_to_be_seen_was_seen() {
    let report = report(64);
    assert!(verdict::passed(&report.checks), "{:#?}", report.checks);
}

#[test]
fn a_run_that_misses_something_fails() {
    let judge = |runs: &[Run]| {
        verdict::passed(&verdict::judge(
            &plan(64),
            runs,
            &[open(Some(NtStatus::SUCCESS))],
        ))
    };
    assert!(judge(&[always(64)]) && judge(&[never(64)]));

    let mut leaks = always(64);
    leaks.findings.push("leaked pool".to_owned());
    assert!(!judge(&[leaks]), "a finding");

    let mut lost = always(64);
    lost.records.remove(10);
    assert!(!judge(&[lost]), "a record is missing");

    let mut short = always(64);
    short.records[5].inside = Some(0x1000);
    assert!(
        !judge(&[short]),
        "an inspection that got less than it asked for"
    );

    let mut off = always(64);
    off.records[5].before = off.records[5].before.map(|before| before + 0x10);
    assert!(
        !judge(&[off]),
        "a sample that says there is more stack than there is"
    );

    let mut failed = always(64);
    failed.records[5].create_status = Some(NtStatus(0xc000_0034));
    assert!(!judge(&[failed]), "a nested create failed");

    let mut other = always(64);
    other.opens[0].status = Some(NtStatus(0xc000_009a));
    assert!(!judge(&[other]), "the driver changed what the caller sees");

    let mut elsewhere = never(64);
    if let End::BugCheck(bug_check) = &mut elsewhere.end {
        bug_check.code = 0x50;
    }
    assert!(!judge(&[elsewhere]), "another bug check");

    let survived = Run {
        expand: Expand::Never,
        ..always(64)
    };
    assert!(!judge(&[survived]), "no overflow where one has to come");
}
