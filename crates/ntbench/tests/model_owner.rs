//! What the kernel does for drivers that own files, sections, contexts and more, asked by a driver.

mod model;
mod volume;

use model::{bug_check, compile, lines, rules, spec};
use ntbench::NtStatus;
use volume::VolumeBench;

fn load(bench: &VolumeBench, defines: &[&str]) -> NtStatus {
    let image = compile("owner", defines);
    let loaded = bench.machine.load_driver(spec(image, "370000"));
    loaded.expect("loads").status
}

#[test]
fn files_sections_contexts_and_tables_are_as_documented() {
    let bench = VolumeBench::new();
    assert_eq!(load(&bench, &[]), NtStatus::SUCCESS);
    let expected = [
        "event log: owner: code 0x40010001, STATUS_ACCESS_DENIED, 0 bytes of data, \"ow\"",
        "105 checks",
        "again 1, 1",
        "again 2, 1",
    ];
    assert_eq!(lines(&bench.machine.trace().unwrap()), expected);
    assert_eq!(
        bench.machine.unload_driver("owner").unwrap(),
        NtStatus::SUCCESS
    );
    let report = bench.machine.shutdown().unwrap();
    assert!(report.findings.is_empty(), "{:?}", report.findings);
}

#[test]
fn what_is_left_behind_is_named() {
    for (defect, rule) in [(1, "stream-context-left"), (2, "notify-left")] {
        let bench = VolumeBench::new();
        let defines = format!("DEFECT={defect}");
        assert_eq!(load(&bench, &[&defines]), NtStatus::SUCCESS);
        let unloaded = bench.machine.unload_driver("owner").unwrap();
        assert_eq!(unloaded, NtStatus::SUCCESS);
        let report = bench.machine.shutdown().unwrap();
        assert!(
            rules(&report).contains(&rule),
            "defect {defect}: {:?}",
            report.findings
        );
    }
}

#[test]
fn an_entry_of_the_log_is_given_back_once() {
    let bench = VolumeBench::new();
    let image = compile("owner", &["DEFECT=3"]);
    let (code, _, text) = bug_check(bench.machine.load_driver(spec(image, "370000")));
    assert_eq!(code, 0xC2, "{text}");
}
