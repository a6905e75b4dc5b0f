//! The kernel's tables that drivers keep things in, asked by a driver.

mod model;

use model::{Bench, bug_check, compile, lines, rules, spec};
use ntbench::NtStatus;

#[test]
fn caches_maps_tables_and_trees_are_as_documented() {
    let bench = Bench::new();
    assert_eq!(bench.load(compile("shelver", &[])), NtStatus::SUCCESS);
    assert_eq!(lines(&bench.trace()), ["51 checks"]);
    assert_eq!(
        bench.machine.unload_driver("shelver").unwrap(),
        NtStatus::SUCCESS
    );
    let report = bench.end();
    assert!(report.findings.is_empty(), "{:?}", report.findings);
}

#[test]
fn what_is_left_in_them_is_named() {
    for defect in [1, 4] {
        let bench = Bench::new();
        let image = compile("shelver", &[&format!("DEFECT={defect}")]);
        assert_eq!(bench.load(image), NtStatus::SUCCESS);
        let unloaded = bench.machine.unload_driver("shelver").unwrap();
        assert_eq!(unloaded, NtStatus::SUCCESS);
        assert_eq!(rules(&bench.end()), ["pool-leak"], "defect {defect}");
    }
}

#[test]
fn what_is_none_of_them_ends_the_machine() {
    for (defect, what) in [
        (2, "must hold a full 8.3 name"),
        (3, "no tunnel cache (any more)"),
        (5, "no map control block (any more)"),
    ] {
        let bench = Bench::new();
        let image = compile("shelver", &[&format!("DEFECT={defect}")]);
        let (_, _, text) = bug_check(bench.machine.load_driver(spec(image, "370000")));
        assert!(text.contains(what), "defect {defect}: {text}");
    }
}
