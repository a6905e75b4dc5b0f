//! Tokens, descriptors, and the executive's small services, as a driver uses them.

mod model;
mod volume;

use model::{callbacks, compile, compile_ddk, lines, rules, spec};
use ntbench::NtStatus;
use volume::VolumeBench;

fn load(bench: &VolumeBench, image: std::path::PathBuf, altitude: &str) {
    let loaded = bench.machine.load_driver(spec(image, altitude));
    assert_eq!(loaded.expect("loads").status, NtStatus::SUCCESS);
}

#[test]
fn services_answer_as_documented() {
    let bench = VolumeBench::new();
    load(&bench, compile("watcher", &[]), "370000");
    load(&bench, compile_ddk("services", &[]), "370010");
    let trace = bench.machine.trace().expect("a trace");
    let said: Vec<&str> = lines(&trace)
        .into_iter()
        .filter(|line| !line.contains("IRP_MJ_"))
        .collect();
    assert_eq!(said, ["50 checks"]);
    let created: Vec<&str> = callbacks(&trace)
        .into_iter()
        .filter(|event| event.operation == "IRP_MJ_CREATE" && event.phase == "pre")
        .map(|event| event.path.as_str())
        .collect();
    // The other one was made below all filters.
    assert_eq!(created, [r"\Device\HarddiskVolume1\a.txt"]);
    assert!(bench.folder.join("b.txt").exists());
    let report = bench.machine.shutdown().expect("a report");
    assert!(lines(&report.trace).contains(&"the system shuts down"));
    assert!(report.findings.is_empty(), "{:?}", report.findings);
}

#[test]
fn what_is_left_behind_or_given_back_twice_is_named() {
    for (defect, rule) in [
        (1, "object-reference-leak"),
        (2, "subject-released-twice"),
        (3, "remove-lock-released-too-often"),
        (4, "ex-timer-leak"),
        (5, "notify-left"),
        (6, "lookaside-not-deleted"),
        (7, "notify-left"),
    ] {
        let bench = VolumeBench::new();
        let image = compile_ddk("services", &[&format!("DEFECT={defect}")]);
        load(&bench, image, "370010");
        let status = bench.machine.unload_driver("services").expect("unloads");
        assert_eq!(status, NtStatus::SUCCESS);
        let report = bench.machine.shutdown().expect("a report");
        assert!(
            rules(&report).contains(&rule),
            "defect {defect}: {:?}",
            report.findings
        );
    }
}
