//! The executive as a driver built against the DDK's headers finds it.

mod model;

use model::{Bench, bug_check, compile_ddk, lines, spec};
use ntbench::NtStatus;

#[test]
fn locks_waits_lists_and_tables_work_as_documented() {
    let bench = Bench::new();
    assert_eq!(bench.load(compile_ddk("executive", &[])), NtStatus::SUCCESS);
    assert_eq!(lines(&bench.trace()), ["79 checks"]);
    assert_eq!(
        bench.machine.unload_driver("executive").unwrap(),
        NtStatus::SUCCESS
    );
    let report = bench.end();
    assert!(report.findings.is_empty(), "{:?}", report.findings);
}

#[test]
fn the_libraries_work_as_documented() {
    let bench = Bench::new();
    assert_eq!(bench.load(compile_ddk("library", &[])), NtStatus::SUCCESS);
    assert_eq!(lines(&bench.trace()), ["36 checks"]);
    assert_eq!(
        bench.machine.unload_driver("library").unwrap(),
        NtStatus::SUCCESS
    );
    let report = bench.end();
    assert!(report.findings.is_empty(), "{:?}", report.findings);
}

#[test]
fn what_the_libraries_are_not_to_be_given_is_named() {
    for defect in 1..=5 {
        let bench = Bench::new();
        let image = compile_ddk("library", &[&format!("DEFECT={defect}")]);
        assert_eq!(bench.load(image), NtStatus::SUCCESS);
        assert_eq!(lines(&bench.trace()), ["37 checks"], "defect {defect}");
        let report = bench.end();
        let rules: Vec<&str> = report
            .findings
            .iter()
            .map(|finding| finding.rule.as_str())
            .collect();
        assert_eq!(rules, ["crt-invalid-parameter"], "defect {defect}");
    }
    // One character more than there is.
    let bench = Bench::new();
    let image = compile_ddk("library", &["DEFECT=6"]);
    let (found, _, text) = bug_check(bench.machine.load_driver(spec(image, "370000")));
    assert_eq!(found, 0xD6, "{text}");
}

#[test]
fn what_is_misused_is_named() {
    for (defect, rule) in [
        (1, "lookaside-not-deleted"),
        (4, "lock-order"),
        (9, "resource-not-deleted"),
    ] {
        let bench = Bench::new();
        let image = compile_ddk("executive", &[&format!("DEFECT={defect}")]);
        assert_eq!(bench.load(image), NtStatus::SUCCESS);
        assert_eq!(
            bench.machine.unload_driver("executive").unwrap(),
            NtStatus::SUCCESS
        );
        let report = bench.end();
        let rules: Vec<&str> = report
            .findings
            .iter()
            .map(|finding| finding.rule.as_str())
            .collect();
        assert!(
            rules.contains(&rule),
            "defect {defect}: {:?}",
            report.findings
        );
    }
}

#[test]
fn what_no_kernel_survives_ends_the_machine() {
    for (defect, code, first) in [
        (2, 0xE3, None),
        (5, 0xC4, Some(0x17)),
        (6, 0xA, Some(8)),
        (7, 0xC4, Some(0x1000)),
        (8, 0x50, Some(0xFFFF_F780_0000_026C)),
        (10, 0xD6, None),
        (11, 0xD1, None),
        (12, 0xD1, None),
    ] {
        let bench = Bench::new();
        let image = compile_ddk("executive", &[&format!("DEFECT={defect}")]);
        let (found, parameter, text) = bug_check(bench.machine.load_driver(spec(image, "370000")));
        assert_eq!(found, code, "defect {defect}: {text}");
        if let Some(first) = first {
            assert_eq!(parameter, first, "defect {defect}: {text}");
        }
    }
}

#[test]
fn a_timer_that_outlives_its_driver_ends_the_machine() {
    let bench = Bench::new();
    assert_eq!(
        bench.load(compile_ddk("executive", &["DEFECT=3"])),
        NtStatus::SUCCESS
    );
    let (code, first, text) = bug_check(bench.machine.unload_driver("executive"));
    assert_eq!((code, first), (0xC7, 0), "{text}");
}
