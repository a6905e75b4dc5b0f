//! A filter that keeps contexts with instances, streams and opens.

mod model;

use model::{Bench, bug_check, compile, lines, rules};
use ntbench::NtStatus;
use ntbench::wire::CreateFile;

fn deep() -> CreateFile {
    CreateFile {
        name: "\\??\\UNC\\fs\\data\\Docs\\Deep".to_owned(),
        ..CreateFile::default()
    }
}

#[test]
fn contexts_live_as_long_as_what_they_are_linked_to() {
    tracked(&[]);
}

#[test]
fn the_lists_that_a_filter_registers_are_copied() {
    tracked(&["LENT"]);
}

#[test]
fn contexts_in_paged_pool_are_contexts_too() {
    tracked(&["PAGED=1"]);
}

#[test]
fn a_context_in_paged_pool_is_not_touched_at_dispatch_level() {
    let bench = Bench::new();
    bench.load(compile("tracker", &["PAGED=2"]));
    let (code, _, text) = bug_check(bench.thread.create_file(&deep()));
    assert_eq!(code, 0xD1, "{text}");
    assert!(text.contains("which is paged pool, at IRQL 2"), "{text}");
}

#[test]
fn a_context_in_paged_pool_is_not_released_at_dispatch_level() {
    let bench = Bench::new();
    bench.load(compile("tracker", &["PAGED=3"]));
    bench.thread.create_file(&deep()).unwrap();
    assert_eq!(
        bench.machine.unload_driver("tracker").unwrap(),
        NtStatus::SUCCESS
    );
    // A work item has cleaned it up before the filter was gone.
    let trace = bench.trace();
    assert!(
        lines(&trace).contains(&"cleanup type=10 number=2"),
        "{trace:?}"
    );
    assert_eq!(rules(&bench.end()), ["irql"]);
}

fn tracked(defines: &[&str]) {
    let bench = Bench::new();
    assert_eq!(bench.load(compile("tracker", defines)), NtStatus::SUCCESS);
    assert_eq!(
        lines(&bench.trace()),
        ["set instance 00000000", "unregistered c01c0016"]
    );
    let first = bench.thread.create_file(&deep()).unwrap();
    let second = bench.thread.create_file(&deep()).unwrap();
    assert_eq!(
        lines(&bench.trace()),
        [
            "before the create c00000bb 1 1",
            "set handle 00000000 number=2",
            "set stream 00000000 old=0",
            "before the create c00000bb 1 1",
            "set handle 00000000 number=4",
            // The stream has a context since the first open.
            "set stream c01c0002 old=3",
            "cleanup type=8 number=5",
        ]
    );
    bench.thread.close(first.handle).unwrap();
    assert_eq!(
        lines(&bench.trace()),
        ["closing number=2", "cleanup type=10 number=2"]
    );
    bench.thread.close(second.handle).unwrap();
    let trace = bench.trace();
    let mut last = lines(&trace);
    last.sort_unstable();
    assert_eq!(
        last,
        [
            "cleanup type=10 number=4",
            "cleanup type=8 number=3",
            "closing number=4"
        ]
    );
    let open = bench.thread.create_file(&deep()).unwrap();
    bench.trace();
    assert_eq!(
        bench.machine.unload_driver("tracker").unwrap(),
        NtStatus::SUCCESS
    );
    let trace = bench.trace();
    let mut gone = lines(&trace);
    gone.sort_unstable();
    assert_eq!(
        gone,
        [
            "cleanup type=10 number=6",
            "cleanup type=2 number=1",
            "cleanup type=8 number=7"
        ]
    );
    assert_eq!(
        bench.thread.close(open.handle).unwrap().status,
        NtStatus::SUCCESS
    );
    let report = bench.end();
    assert!(report.findings.is_empty(), "{:?}", report.findings);
}

#[test]
fn a_context_that_is_kept_is_found_and_one_released_too_often_ends_the_machine() {
    let bench = Bench::new();
    bench.load(compile("tracker", &["LEAK=1"]));
    assert_eq!(bench.open("\\Docs"), NtStatus::SUCCESS);
    assert_eq!(
        bench.machine.unload_driver("tracker").unwrap(),
        NtStatus::SUCCESS
    );
    assert_eq!(rules(&bench.end()), ["fltmgr-leak"]);

    let bench = Bench::new();
    bench.load(compile("tracker", &["LEAK=2"]));
    let (code, first, text) = bug_check(bench.thread.create_file(&deep()));
    assert_eq!((code, first), (0xF5, 0x6D), "{text}");
}

#[test]
fn a_context_is_linked_once() {
    let bench = Bench::new();
    bench.load(compile("tracker", &["LEAK=3"]));
    assert_eq!(bench.open("\\Docs"), NtStatus::SUCCESS);
    let trace = bench.trace();
    assert!(
        lines(&trace).contains(&"twice c01c001c"),
        "{:?}",
        lines(&trace)
    );
}
