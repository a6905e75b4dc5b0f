//! What the kernel keeps for drivers by handles and by threads, asked by a driver.

mod model;

use model::{Bench, bug_check, compile, lines, rules, spec};
use ntbench::{MachineError, NtStatus};

#[test]
fn handles_tokens_memory_and_versions_are_as_documented() {
    let bench = Bench::new();
    assert_eq!(bench.load(compile("holder", &[])), NtStatus::SUCCESS);
    assert_eq!(lines(&bench.trace()), ["85 checks"]);
    assert_eq!(
        bench.machine.unload_driver("holder").unwrap(),
        NtStatus::SUCCESS
    );
    let report = bench.end();
    assert!(report.findings.is_empty(), "{:?}", report.findings);
}

#[test]
fn what_is_left_behind_is_named() {
    for (defect, rule) in [
        (1, "handle-leak"),
        (2, "object-reference-leak"),
        (7, "notify-left"),
    ] {
        let bench = Bench::new();
        let image = compile("holder", &[&format!("DEFECT={defect}")]);
        assert_eq!(bench.load(image), NtStatus::SUCCESS);
        let unloaded = bench.machine.unload_driver("holder").unwrap();
        assert_eq!(unloaded, NtStatus::SUCCESS);
        let report = bench.end();
        assert!(
            rules(&report).contains(&rule),
            "defect {defect}: {:?}",
            report.findings
        );
    }
}

#[test]
fn a_work_space_that_is_too_small_is_found() {
    let bench = Bench::new();
    let image = compile("holder", &["DEFECT=3"]);
    let (code, _, text) = bug_check(bench.machine.load_driver(spec(image, "370000")));
    assert_eq!(code, 0xD6, "{text}");
}

#[test]
fn a_bug_check_calls_what_is_registered_for_it() {
    let called = [
        "secondary: reason 2, 1, 48 bytes, at most 65536",
        "last: 16 bytes at 1",
    ];
    for (defect, wrong) in [
        (4, ""),
        (
            5,
            "the bug check callback of holder (holder) ended in bug check",
        ),
        (6, "hands over 0x100000 bytes of secondary data"),
    ] {
        let bench = Bench::new();
        let image = compile("holder", &[&format!("DEFECT={defect}")]);
        let Err(MachineError::BugCheck(report)) = bench.machine.load_driver(spec(image, "370000"))
        else {
            panic!("no bug check");
        };
        assert_eq!(report.code, 0xDEAD_DEAD);
        assert_eq!(lines(&report.trace), called);
        assert!(report.text.contains(wrong), "{}", report.text);
        assert_eq!(report.text.contains("bug check callback"), defect != 4);
    }
}
