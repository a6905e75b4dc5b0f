//! What drivers are told of processes, threads and images, by the routines that they register.

mod model;
mod volume;

use std::path::PathBuf;

use model::{
    bug_check, callbacks, compile, compile_ddk, compile_ddk_with, lines, rules, spec, start,
};
use ntbench::wire::{
    FaultRule, FinalReport, ProcessSpec, Refusal, RegistryAct, RegistryValue, StackKind,
    ThreadSpec, Trace, When,
};
use ntbench::{Machine, MachineError, NtStatus, Thread};
use volume::{READ, VolumeBench};

/// The monitor as `/INTEGRITYCHECK` links it.
fn monitor(defines: &[&str]) -> PathBuf {
    compile_ddk_with("monitor", defines, &["-Wl,--forceinteg"])
}

fn process(machine: &Machine, image: &str) -> Result<Thread, MachineError> {
    machine.thread(ThreadSpec {
        process_image: image.to_owned(),
        process: 0,
        stack: StackKind::Ordinary,
    })
}

fn load(bench: &VolumeBench, image: PathBuf) {
    let loaded = bench.machine.load_driver(spec(image, "370000"));
    assert_eq!(loaded.expect("loads").status, NtStatus::SUCCESS);
}

fn unload(bench: &VolumeBench, service: &str) {
    let status = bench.machine.unload_driver(service).expect("unloads");
    assert_eq!(status, NtStatus::SUCCESS);
}

fn trace(bench: &VolumeBench) -> Trace {
    bench.machine.trace().expect("a trace")
}

fn end(bench: VolumeBench) -> FinalReport {
    bench.machine.shutdown().expect("a report")
}

#[test]
fn a_monitor_is_told_of_processes_threads_and_images() {
    let bench = VolumeBench::new();
    load(&bench, monitor(&[]));
    let first = process(&bench.machine, "notepad.exe").expect("a process");
    let second = process(&bench.machine, "notepad.exe").expect("a thread");
    let child = first
        .start_process(ProcessSpec {
            image: "child.exe".to_owned(),
            command_line: Some("child.exe /quiet".to_owned()),
            ..ProcessSpec::default()
        })
        .expect("a child");
    child.end().expect("ends");
    first.end().expect("ends");
    second.end().expect("ends");
    load(&bench, compile_ddk("executive", &[]));
    let seen = trace(&bench);
    let told: Vec<&str> = lines(&seen)
        .into_iter()
        .filter(|line| !line.ends_with("checks"))
        .collect();
    let (images, others): (Vec<&str>, Vec<&str>) =
        told.iter().partition(|line| line.starts_with("image"));
    assert_eq!(
        images,
        [
            r"image \Device\HarddiskVolume1\Windows\System32\notepad.exe",
            r"image \SystemRoot\System32\ntdll.dll",
            r"image \Device\HarddiskVolume1\Windows\System32\child.exe",
            r"image \SystemRoot\System32\ntdll.dll",
            r"image \SystemRoot\System32\drivers\executive.sys, a driver's",
        ]
    );
    let system = others
        .iter()
        .filter(|line| line.starts_with("thread"))
        .count();
    // The executive's thread comes on top of the three programs'.
    assert_eq!(system, 8, "{others:#?}");
    let others: Vec<&str> = others[..others.len() - 2].to_vec();
    assert_eq!(
        others,
        [
            "extended: yes",
            "process starts, parent System",
            r#"\??\C:\Windows\System32\notepad.exe from its creator, "C:\Windows\System32\notepad.exe", whole"#,
            "thread starts elsewhere",
            "thread starts elsewhere",
            "process starts, parent another",
            r#"\??\C:\Windows\System32\child.exe from its creator, "child.exe /quiet", whole"#,
            "thread starts elsewhere",
            "thread ends here",
            "process ends, parent another",
            "child.exe ends in itself",
            "thread ends here",
            "thread ends here",
            "process ends, parent System",
            "notepad.exe ends in itself",
        ]
    );
    unload(&bench, "monitor");
    process(&bench.machine, "later.exe").expect("nobody is told");
    let report = end(bench);
    assert!(report.findings.is_empty(), "{:?}", report.findings);
}

#[test]
fn a_process_can_be_forbidden() {
    let bench = VolumeBench::new();
    load(&bench, monitor(&[]));
    match process(&bench.machine, "denied.exe") {
        Err(MachineError::Refused(Refusal::Process { image, status })) => {
            assert_eq!((&*image, status), ("denied.exe", NtStatus::ACCESS_DENIED));
        }
        other => panic!("{:?}", other.map(|thread| thread.info().clone())),
    }
    let seen = trace(&bench);
    let told = lines(&seen);
    assert!(
        !told.iter().any(|line| line.starts_with("thread")),
        "{told:?}"
    );
    process(&bench.machine, "other.exe").expect("another is not forbidden");
    unload(&bench, "monitor");
    assert!(end(bench).findings.is_empty());
}

#[test]
fn only_an_image_of_checked_integrity_may_forbid() {
    let bench = VolumeBench::new();
    load(&bench, compile_ddk("monitor", &[]));
    assert_eq!(lines(&trace(&bench)), ["extended: denied"]);
    process(&bench.machine, "denied.exe").expect("nobody forbids it");
    unload(&bench, "monitor");
    assert!(end(bench).findings.is_empty());
}

#[test]
fn a_process_that_ends_closes_what_it_has_open() {
    let bench = VolumeBench::new();
    load(&bench, compile("watcher", &[]));
    bench.open("\\a.txt", READ);
    trace(&bench);
    let (pid, tid) = (bench.thread.info().pid, bench.thread.info().tid);
    bench.thread.clone().end().expect("ends");
    let seen = trace(&bench);
    let cleanups: Vec<_> = callbacks(&seen)
        .into_iter()
        .filter(|event| event.operation == "IRP_MJ_CLEANUP")
        .collect();
    assert!(
        !cleanups.is_empty() && cleanups.iter().all(|event| event.tid == tid),
        "{seen:?}"
    );
    let again = start(&bench.machine);
    assert_ne!((again.info().pid, again.info().tid), (pid, tid));
}

#[test]
fn what_is_misused_is_named() {
    for (defect, rule) in [
        (2, "notify-registered-twice"),
        (3, "notify-removed-inside"),
        (5, "irql"),
    ] {
        let bench = VolumeBench::new();
        load(&bench, monitor(&[&format!("DEFECT={defect}")]));
        process(&bench.machine, "other.exe").expect("a process");
        unload(&bench, "monitor");
        let report = end(bench);
        assert!(
            rules(&report).contains(&rule),
            "defect {defect}: {:?}",
            report.findings
        );
    }
}

#[test]
fn a_routine_left_behind_is_named_and_ends_the_machine_when_it_is_called() {
    let bench = VolumeBench::new();
    load(&bench, monitor(&["DEFECT=1"]));
    unload(&bench, "monitor");
    match process(&bench.machine, "other.exe") {
        Err(MachineError::BugCheck(report)) => {
            assert_eq!(report.code, 0xCE, "{}", report.text);
            let rules: Vec<&str> = report
                .findings
                .iter()
                .map(|finding| &*finding.rule)
                .collect();
            assert_eq!(rules, ["notify-left"], "{:?}", report.findings);
        }
        other => panic!("{:?}", other.map(|thread| thread.info().clone())),
    }
}

#[test]
fn a_routine_that_returns_at_another_irql_ends_the_machine() {
    let bench = VolumeBench::new();
    load(&bench, monitor(&["DEFECT=4"]));
    let (code, _, text) = bug_check(process(&bench.machine, "other.exe").map(|_| ()));
    assert_eq!(code, 0xC8, "{text}");
}

#[test]
fn a_registry_monitor_sees_changes_and_answers_what_is_done_to_keys() {
    let bench = VolumeBench::new();
    load(&bench, compile_ddk("registrar", &[]));
    let key = r"\Registry\Machine\Software\Bench";
    let set = |name: &str| RegistryAct::Set {
        name: name.to_owned(),
        value: RegistryValue::Dword(1),
    };
    let act = |act| {
        let done = bench.thread.registry(key, act);
        done.expect("the machine lives").status
    };
    assert_eq!(act(set("ByProgram")), NtStatus::SUCCESS);
    assert_eq!(act(set("forbidden")), NtStatus::ACCESS_DENIED);
    let query = |name: &str| RegistryAct::Query {
        name: name.to_owned(),
    };
    assert_eq!(act(query("byprogram")), NtStatus::SUCCESS);
    assert_eq!(act(query("Text")), NtStatus::SUCCESS);
    assert_eq!(act(RegistryAct::Delete), NtStatus::SUCCESS);
    assert_eq!(act(RegistryAct::Open), NtStatus::OBJECT_NAME_NOT_FOUND);
    assert_eq!(
        lines(&trace(&bench)),
        [
            r"sets ByProgram of \REGISTRY\MACHINE\SOFTWARE\Bench",
            r"sets forbidden of \REGISTRY\MACHINE\SOFTWARE\Bench",
        ]
    );
    unload(&bench, "registrar");
    assert_eq!(
        lines(&trace(&bench)),
        ["100 checks, contexts cleaned up: yes"]
    );
    let report = end(bench);
    assert!(report.findings.is_empty(), "{:?}", report.findings);
}

#[test]
fn registry_callbacks_that_are_misused_are_named() {
    for (defect, rule) in [
        (1, "notify-left"),
        (2, "handle-leak"),
        (3, "notify-removed-inside"),
    ] {
        let bench = VolumeBench::new();
        load(
            &bench,
            compile_ddk("registrar", &[&format!("DEFECT={defect}")]),
        );
        unload(&bench, "registrar");
        let report = bench.machine.clone().shutdown().expect("a report");
        assert!(
            rules(&report).contains(&rule),
            "defect {defect}: {:?}",
            report.findings
        );
    }
}

#[test]
fn a_registry_callback_left_behind_or_returning_at_another_irql_ends_the_machine() {
    let bench = VolumeBench::new();
    load(&bench, compile_ddk("registrar", &["DEFECT=1"]));
    unload(&bench, "registrar");
    let opened = bench
        .thread
        .registry(r"\Registry\Machine", RegistryAct::Open);
    let (code, _, text) = bug_check(opened);
    assert_eq!(code, 0xCE, "{text}");

    let bench = VolumeBench::new();
    let image = compile_ddk("registrar", &["DEFECT=4"]);
    let (code, _, text) = bug_check(bench.machine.load_driver(spec(image, "370000")));
    assert_eq!(code, 0xC8, "{text}");
}

fn guardian(defines: &[&str]) -> PathBuf {
    compile_ddk_with("guardian", defines, &["-Wl,--forceinteg"])
}

#[test]
fn a_guardian_takes_rights_from_handles_and_looks_at_processes() {
    let bench = VolumeBench::new();
    load(&bench, guardian(&[]));
    let pid = bench.thread.info().pid;
    let thief = process(&bench.machine, "thief.exe").expect("a process");
    let opened = thief.open_process(pid, 0x1001).expect("the machine lives");
    assert_eq!(opened.status, NtStatus::SUCCESS);
    assert_eq!(opened.information, 0x1000);
    let opened = thief
        .open_process(pid, 0x1000_0000)
        .expect("the machine lives");
    assert_eq!(opened.information, 0x1F_FFFE);
    let nobody = thief.open_process(0x7FFC, 1).expect("the machine lives");
    assert_eq!(nobody.status, NtStatus::INVALID_CID);
    unload(&bench, "guardian");
    let opened = thief.open_process(pid, 0x1001).expect("the machine lives");
    assert_eq!(opened.information, 0x1001);
    assert_eq!(
        lines(&trace(&bench)),
        ["41 checks", "kernel 2, user 3, after 5"]
    );
    let report = end(bench);
    assert!(report.findings.is_empty(), "{:?}", report.findings);
}

#[test]
fn an_image_without_checked_integrity_guards_nothing() {
    let bench = VolumeBench::new();
    let image = compile_ddk("guardian", &[]);
    let loaded = bench
        .machine
        .load_driver(spec(image, "370000"))
        .expect("loads");
    assert_eq!(loaded.status, NtStatus::ACCESS_DENIED);
}

#[test]
fn a_guardian_that_is_wrong_is_named() {
    for (defect, rule) in [
        (1, "notify-left"),
        (2, "process-attached-at-return"),
        (5, "object-access-added"),
    ] {
        let bench = VolumeBench::new();
        load(&bench, guardian(&[&format!("DEFECT={defect}")]));
        let pid = bench.thread.info().pid;
        bench
            .thread
            .open_process(pid, 0x1000)
            .expect("the machine lives");
        unload(&bench, "guardian");
        let report = end(bench);
        assert!(
            rules(&report).contains(&rule),
            "defect {defect}: {:?}",
            report.findings
        );
    }
    for (defect, code) in [(3, 6), (4, 6), (6, 5)] {
        let bench = VolumeBench::new();
        let image = guardian(&[&format!("DEFECT={defect}")]);
        let (found, _, text) = bug_check(bench.machine.load_driver(spec(image, "370000")));
        assert_eq!(found, code, "defect {defect}: {text}");
    }
}

#[test]
fn a_failing_registration_leaves_the_removal_alone() {
    let bench = VolumeBench::new();
    load(&bench, monitor(&[]));
    let faults = [
        "PsSetCreateProcessNotifyRoutine",
        "PsSetCreateProcessNotifyRoutineEx",
    ]
    .map(|call| FaultRule {
        call: call.to_owned(),
        status: NtStatus::INSUFFICIENT_RESOURCES,
        when: When::Always,
    });
    bench
        .machine
        .set_faults(faults.to_vec())
        .expect("fault rules");
    unload(&bench, "monitor");
    let trace = trace(&bench);
    let said = lines(&trace);
    assert!(
        !said.iter().any(|line| line.contains("not there")),
        "{said:#?}"
    );
    assert_eq!(rules(&end(bench)), Vec::<&str>::new());
}
