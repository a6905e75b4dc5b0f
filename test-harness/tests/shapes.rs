//! Tables, pictures and data from made-up runs, held against golden files. What a machine shows is in the other tests.

mod made_up;

use headroom_harness::model::{End, Expand, Frame, Listing, Run};
use headroom_harness::{listing, table, verdict};
use made_up::{always, never, open, plan, report};
use protocol::NtStatus;

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

/// A path and a process's name are whatever somebody chose: on the page they are text and nothing else.
#[test]
fn a_name_stays_a_name_on_the_page() {
    let mut report = report(8);
    let hostile = r#"\\s\x"><script>alert(1)</script><b a='"#;
    let run = &mut report.runs[1];
    run.records[0].path = hostile.to_owned();
    run.records[0].process = hostile.to_owned();
    run.opens[0].name = hostile.to_owned();
    let mut listing = Listing::default();
    listing.by_module.push((hostile.to_owned(), 1));
    listing.frames.push(Frame {
        child_sp: 0x1000,
        bytes_to_older: Some(0x100),
        symbol: format!("{hostile}!f"),
        source: None,
        real: true,
        segment: 0,
    });
    run.listings.push(listing);
    for text in [report.page().unwrap(), report.picture().unwrap()] {
        assert!(text.contains("alert(1)"), "it is there");
        assert!(!text.contains("<script") && !text.contains("<b a="));
        assert!(!text.contains("x\">"), "it ends no attribute");
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
