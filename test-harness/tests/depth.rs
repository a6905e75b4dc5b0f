//! What ends a nest: what `docs/depth.md` says, and the rules that every search is held to.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod common;

use std::path::PathBuf;

use common::{headroom, sys};
use headroom_harness::model::{Expand, Sweep, SweepEnd, SweepRow};
use headroom_harness::verdict::{SUFFICES, judge_sweep, passed};
use protocol::NtStatus;
use serde_json::Value;

/// The rows of a table of the page: policy, reservation and what ended the next nest.
fn documented(title: &str) -> Vec<[String; 3]> {
    let page = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/depth.md");
    let page = std::fs::read_to_string(page).unwrap();
    let section = page
        .split("\n## ")
        .find(|section| section.starts_with(&format!("{title}\n")))
        .unwrap_or_else(|| panic!("docs/depth.md has no section {title}"));
    let rows = section.lines().filter_map(|line| {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [policy, reserved, _, _, _, end] = cells[..] else {
            return None;
        };
        Some([policy, reserved, end.trim_matches('*')].map(str::to_owned))
    });
    // The first two lines are the table's head.
    rows.skip(2).collect()
}

/// Searches down to `depth`, and returns the same of what was found.
fn found(depth: &str, arguments: &[&str]) -> Vec<[String; 3]> {
    let sys = sys();
    let nested = [
        "run",
        "nested",
        "--until-it-breaks",
        "--depth",
        depth,
        "--driver",
    ];
    let arguments = [&nested[..], &[sys.to_str().unwrap()], arguments].concat();
    let (output, folder) = headroom(&arguments);
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{text}");
    let data = std::fs::read_to_string(folder.path().join("sweep.json")).unwrap();
    let data: Value = serde_json::from_str(&data).unwrap();
    let sweep: Sweep = serde_json::from_value(data["sweep"].clone()).unwrap();
    let row = |row: &SweepRow| {
        let reserved = match row.reservation_bytes {
            0 => "\u{2013}".to_owned(),
            bytes => format!("{bytes:#x}"),
        };
        [row.expand.name().to_owned(), reserved, row.end.to_string()]
    };
    sweep.rows.iter().map(row).collect()
}

/// Depths move with each change of the driver's frames; what ends a nest does not.
#[test]
fn each_nest_ends_as_the_page_says() {
    for (title, depth, arguments) in [
        (
            "On a 24 KB stack",
            "48",
            &[
                "--policy",
                "all",
                "--reservation",
                "0x1000,0x2000,0x6000,0x11800",
            ][..],
        ),
        (
            "On a 72 KB stack, of which 24 KB are committed at first",
            "48",
            &[
                "--policy",
                "all",
                "--reservation",
                "0x1000,0x6000",
                "--stack",
                "large",
            ],
        ),
        (
            "Where the machine has 8 extra segments, OnExpandFailure Deny",
            // Eight segments are used up before.
            "180",
            &[
                "--policy",
                "all",
                "--reservation",
                "0x2000,0x6000",
                "--segments",
                "8",
                "--set",
                "OnExpandFailure=Deny",
            ],
        ),
        (
            "With MinimumStackBytes 0x2000",
            "48",
            &[
                "--policy",
                "all",
                "--reservation",
                "0x6000",
                "--set",
                "MinimumStackBytes=0x2000",
            ],
        ),
    ] {
        let page = documented(title);
        for row in found(depth, arguments) {
            assert!(
                page.contains(&row),
                "{title}: {row:?} is not what the page says"
            );
        }
    }
}

/// The page has a row for every page of reservation and every policy.
#[test]
fn the_page_is_whole() {
    for title in [
        "On a 24 KB stack",
        "On a 72 KB stack, of which 24 KB are committed at first",
    ] {
        let page = documented(title);
        let pages = (0x1000..=0x1_1000).step_by(0x1000).chain([0x1_1800]);
        for (reserved, policy) in pages.flat_map(|bytes| [(bytes, "RedZone"), (bytes, "Always")]) {
            let reserved = format!("{reserved:#x}");
            let there = page
                .iter()
                .any(|row| row[0] == policy && row[1] == reserved);
            assert!(there, "{title}: {policy} {reserved}");
        }
        assert!(page.iter().any(|row| row[0] == "Never"), "{title}");
    }
}

fn row(expand: Expand, reservation_bytes: u32, end: SweepEnd) -> SweepRow {
    SweepRow {
        expand,
        reservation_bytes,
        red_zone_bytes: (expand == Expand::RedZone).then_some(0x3000),
        deepest: 30,
        end,
        lowest_inside: Some(0x1000),
        segments: 3,
        machines: 4,
    }
}

fn sweep(rows: Vec<SweepRow>) -> Sweep {
    Sweep {
        large_stack: false,
        bound: 512,
        segment_limit: 1024,
        settings: Vec::new(),
        rows,
        interrupted: false,
    }
}

fn overflow() -> SweepEnd {
    SweepEnd::BugCheck {
        code: 0x7f,
        parameter: 8,
        name: "UNEXPECTED_KERNEL_MODE_TRAP".to_owned(),
    }
}

fn refused(status: u32) -> SweepEnd {
    SweepEnd::Fallback {
        status: NtStatus(status),
    }
}

fn holds(sweep: &Sweep) -> bool {
    let checks = judge_sweep(sweep);
    assert!(!checks.is_empty(), "nothing was held to anything");
    passed(&checks)
}

#[test]
fn every_rule_about_ends_can_be_broken() {
    use Expand::{Always, Never, RedZone};
    let page_fault = || SweepEnd::BugCheck {
        code: 0x50,
        parameter: 0,
        name: "PAGE_FAULT_IN_NONPAGED_AREA".to_owned(),
    };
    let few_segments = |end| Sweep {
        segment_limit: 8,
        ..sweep(vec![row(Always, 0x6000, end)])
    };
    let minimum = |expand, end| Sweep {
        settings: vec![("MinimumStackBytes".to_owned(), SUFFICES)],
        ..sweep(vec![row(expand, 0x6000, end)])
    };
    let one = |expand, reserved, end| sweep(vec![row(expand, reserved, end)]);
    let narrow = |end| {
        let mut row = row(RedZone, 0x6000, end);
        row.red_zone_bytes = Some(0x1000);
        sweep(vec![row])
    };
    let two = |first, second| {
        sweep(vec![
            row(Always, 0x1000, first),
            row(Always, 0x1200, second),
        ])
    };
    for (what, good, bad) in [
        (
            "without expansion the stack overflows",
            one(Never, 0, overflow()),
            one(Never, 0, SweepEnd::Bound),
        ),
        (
            "enough is enough",
            one(Always, SUFFICES, SweepEnd::Bound),
            one(Always, SUFFICES, overflow()),
        ),
        (
            "also with a red zone",
            one(RedZone, 0x3000, SweepEnd::Bound),
            one(RedZone, 0x3000, overflow()),
        ),
        (
            "too little ends in an overflow alone",
            one(Always, 0x1000, overflow()),
            one(Always, 0x1000, page_fault()),
        ),
        (
            "so does too narrow a zone",
            narrow(overflow()),
            narrow(page_fault()),
        ),
        (
            "more is no worse",
            two(overflow(), SweepEnd::Bound),
            two(SweepEnd::Bound, overflow()),
        ),
        (
            "segments run out with one status",
            few_segments(refused(0xc000_00fd)),
            few_segments(refused(0xc000_0017)),
        ),
        (
            "they do not run out where there are enough",
            few_segments(refused(0xc000_00fd)),
            one(Always, 0x6000, refused(0xc000_00fd)),
        ),
        (
            "the minimum ends a nest before the machine",
            minimum(Never, SweepEnd::Minimum),
            minimum(Never, overflow()),
        ),
        (
            "it ends none unless it was set",
            minimum(Always, SweepEnd::Minimum),
            one(Always, 0x6000, SweepEnd::Minimum),
        ),
    ] {
        assert!(holds(&good), "{what}: {:?}", judge_sweep(&good));
        assert!(!holds(&bad), "{what}: {:?}", judge_sweep(&bad));
    }
}
