//! The kernel's smaller kits, asked by a driver.

mod model;

use model::{Bench, bug_check, compile, lines, rules, spec};
use ntbench::NtStatus;

#[test]
fn queues_descriptors_and_the_rest_are_as_documented() {
    let bench = Bench::new();
    assert_eq!(bench.load(compile("kit", &[])), NtStatus::SUCCESS);
    assert_eq!(lines(&bench.trace()), ["39 checks"]);
    assert_eq!(
        bench.machine.unload_driver("kit").unwrap(),
        NtStatus::SUCCESS
    );
    let report = bench.end();
    assert!(report.findings.is_empty(), "{:?}", report.findings);
}

#[test]
fn what_is_left_registered_is_named() {
    for defect in [1, 4] {
        let bench = Bench::new();
        let image = compile("kit", &[&format!("DEFECT={defect}")]);
        assert_eq!(bench.load(image), NtStatus::SUCCESS);
        let unloaded = bench.machine.unload_driver("kit").unwrap();
        assert_eq!(unloaded, NtStatus::SUCCESS);
        assert_eq!(rules(&bench.end()), ["notify-left"], "defect {defect}");
    }
}

#[test]
fn what_no_kernel_survives_ends_the_machine() {
    for (defect, code) in [(2, 0xD1), (3, 0x3B), (5, 0x7E)] {
        let bench = Bench::new();
        let image = compile("kit", &[&format!("DEFECT={defect}")]);
        let (found, _, text) = bug_check(bench.machine.load_driver(spec(image, "370000")));
        assert_eq!(found, code, "defect {defect}: {text}");
    }
}
