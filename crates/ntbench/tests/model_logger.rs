//! A logging filter: what it sees, and what is found when it is at fault.

mod model;

use model::{Bench, bug_check, callbacks, compile, lines, open, rules};
use ntbench::NtStatus;
use ntbench::wire::{CreateFile, DriverSpec, MachineConfig, VerifierConfig};

/// Names below the share, and what opening them comes to.
const OPENS: &[(&str, NtStatus)] = &[
    ("\\Docs\\Deep\\Readme.txt", NtStatus::SUCCESS),
    ("\\docs\\DEEP", NtStatus::SUCCESS),
    ("", NtStatus::SUCCESS),
    ("\\jump\\Deep\\Readme.txt", NtStatus::SUCCESS),
    ("\\none", NtStatus::OBJECT_NAME_NOT_FOUND),
    ("\\none\\x", NtStatus::OBJECT_PATH_NOT_FOUND),
    ("\\Docs\\..\\x", NtStatus::OBJECT_NAME_INVALID),
];

#[test]
fn a_filter_sees_each_create_and_changes_nothing() {
    let bench = Bench::new();
    for (name, expected) in OPENS {
        assert_eq!(bench.open(name), *expected, "{name} without a filter");
    }
    assert_eq!(bench.load(compile("logger", &[])), NtStatus::SUCCESS);
    let loaded = bench.trace();
    assert_eq!(
        lines(&loaded),
        [
            "entry \\Registry\\Machine\\System\\CurrentControlSet\\Services\\logger answer=42",
            "setup flags=1 device=0x14 fs=13 related=48",
        ]
    );
    for (name, expected) in OPENS {
        assert_eq!(bench.open(name), *expected, "{name} with a filter");
    }
    let trace = bench.trace();
    let printed = lines(&trace);
    let pid = bench.thread.info().pid;
    assert_eq!(
        printed[..4],
        [
            format!(
                "pre \\Device\\Mup\\fs\\data\\Docs\\Deep\\Readme.txt share=\\fs\\data parent=\\Docs\\Deep\\ \
                 last=Readme.txt ext=txt pid={pid} mode=1"
            ),
            "post 00000000 information=1 context=0000000000001234 flags=0".to_owned(),
            format!(
                "pre \\Device\\Mup\\fs\\data\\docs\\DEEP share=\\fs\\data parent=\\docs\\ last=DEEP ext= pid={pid} mode=1"
            ),
            "post 00000000 information=1 context=0000000000001234 flags=0".to_owned(),
        ]
    );
    // A link makes the I/O manager start again with the name that the redirector put in its place.
    let jump = printed
        .iter()
        .position(|line| line.contains("\\jump\\"))
        .expect("the link was seen");
    assert!(
        printed[jump + 1].starts_with("post 00000104"),
        "{}",
        printed[jump + 1]
    );
    assert!(
        printed[jump + 2].starts_with("pre \\Device\\Mup\\fs\\data\\Docs\\Deep\\Readme.txt"),
        "{}",
        printed[jump + 2]
    );
    assert!(
        printed
            .last()
            .is_some_and(|line| line.starts_with("post c0000033"))
    );

    let seen = callbacks(&trace);
    assert!(seen.iter().all(|event| event.filter == "logger"
        && event.operation == "IRP_MJ_CREATE"
        && event.nest == 1));
    assert!(
        seen.iter()
            .all(|event| event.remaining > 0x4000
                && event.segment_high - event.segment_low == 0x6000)
    );
    assert_eq!(seen[0].phase, "pre");
    assert_eq!(seen[0].returned, Some(0));
    assert_eq!(seen[1].phase, "post");

    // The first unload is refused, the second is not.
    assert_eq!(
        bench.machine.unload_driver("logger").unwrap(),
        NtStatus::FLT_DO_NOT_DETACH
    );
    assert_eq!(
        bench.machine.unload_driver("logger").unwrap(),
        NtStatus::SUCCESS
    );
    let trace = bench.trace();
    assert_eq!(
        lines(&trace),
        ["unload 0", "teardown start 2", "teardown complete 2"]
    );
    assert_eq!(bench.open("\\Docs"), NtStatus::SUCCESS);
    let report = bench.end();
    assert!(report.findings.is_empty(), "{:?}", report.findings);
    assert!(callbacks(&report.trace).is_empty());
}

#[test]
fn a_filter_without_its_instances_cannot_register() {
    let bench = Bench::new();
    let spec = DriverSpec {
        image: compile("logger", &[]),
        ..DriverSpec::default()
    };
    assert_eq!(
        bench.machine.load_driver(spec).unwrap().status,
        NtStatus::OBJECT_NAME_NOT_FOUND
    );
    assert!(bench.end().findings.is_empty());
}

#[test]
fn an_altitude_is_taken_once() {
    let bench = Bench::new();
    assert_eq!(bench.load(compile("logger", &[])), NtStatus::SUCCESS);
    assert_eq!(
        bench.load(compile("opener", &[])),
        NtStatus::FLT_INSTANCE_ALTITUDE_COLLISION
    );
}

/// Loads a logger with a defect, opens one file, unloads it; gives the rules that were broken. Without special pool, which ends the machine
/// where ordinary pool finds out later.
fn findings(defect: u32) -> Vec<String> {
    let bench = Bench::with(without_special_pool());
    let status = bench.load(compile("logger", &[&format!("DEFECT={defect}")]));
    if status.is_success() {
        assert_eq!(bench.open("\\Docs\\Deep\\Readme.txt"), NtStatus::SUCCESS);
        assert_eq!(
            bench.machine.unload_driver("logger").unwrap(),
            NtStatus::SUCCESS
        );
    }
    rules(&bench.end()).into_iter().map(str::to_owned).collect()
}

fn without_special_pool() -> MachineConfig {
    MachineConfig {
        // Freed blocks are kept, so that a write into one, or a second free, is known as such.
        verifier: VerifierConfig {
            quarantine: true,
            ..VerifierConfig::OFF
        },
        ..MachineConfig::default()
    }
}

#[test]
fn planted_defects_are_found() {
    for (defect, expected) in [
        (1, "fltmgr-leak"),
        (2, "pool-leak"),
        (6, "critical-region-imbalance"),
        (8, "completion-context"),
        (9, "changed-without-dirty"),
        (10, "fltmgr-leak"),
        (12, "irql"),
        (14, "pool-use-after-free"),
    ] {
        let found = findings(defect);
        assert!(
            found.iter().all(|rule| rule == expected) && !found.is_empty(),
            "defect {defect}: {found:?}"
        );
    }
}

#[test]
fn a_finding_names_the_place_in_the_driver() {
    let bench = Bench::new();
    bench.load(compile("logger", &["DEFECT=2"]));
    bench.open("\\Docs");
    bench.open("\\Docs");
    bench.machine.unload_driver("logger").unwrap();
    let report = bench.end();
    let [finding] = report.findings.as_slice() else {
        panic!("{:?}", report.findings)
    };
    let text = "2 pool block(s) from here, 200 bytes, tag 'Test'";
    assert!(finding.text.contains(text), "{}", finding.text);
    let site = finding.site.as_deref().unwrap_or_default();
    assert!(site.starts_with("logger!"), "{site}");
    assert!(!finding.advice.is_empty());
}

#[test]
fn defects_that_windows_does_not_survive_are_bug_checks() {
    for (defect, code, parameter) in [
        (3, 0xC2, 7),
        (4, 0x19, 0x20),
        (5, 0xC8, 0x2_0002),
        (7, 0xF5, 0x68),
        (11, 0xF5, 0x66),
        (13, 0xC2, 0xA),
    ] {
        let (found, first, text) = dies_of(defect, without_special_pool());
        assert_eq!((found, first), (code, parameter), "defect {defect}: {text}");
    }
}

#[test]
fn special_pool_stops_the_driver_where_it_goes_wrong() {
    // Just behind a block, which is on its page still; in a block that was freed.
    let (code, _, text) = dies_of(4, MachineConfig::default());
    assert_eq!(code, 0xC1, "{text}");
    let (code, _, text) = dies_of(14, MachineConfig::default());
    assert_eq!(code, 0xD5, "{text}");
    assert!(
        text.starts_with("logger!") && text.contains("tag 'Test', which has been freed"),
        "{text}"
    );
}

/// The end of a machine whose logger has that defect, at an open.
fn dies_of(defect: u32, config: MachineConfig) -> (u32, u64, String) {
    let bench = Bench::with(config);
    bench.load(compile("logger", &[&format!("DEFECT={defect}")]));
    let create = CreateFile {
        name: "\\??\\UNC\\fs\\data\\Docs".to_owned(),
        ..CreateFile::default()
    };
    bug_check(bench.thread.create_file(&create))
}

#[test]
fn creates_from_four_threads_outlive_an_unload() {
    let bench = Bench::new();
    let image = compile("logger", &["DEFECT=0"]);
    assert_eq!(bench.load(image.clone()), NtStatus::SUCCESS);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            let thread = model::start(&bench.machine);
            scope.spawn(move || {
                for round in 0..500 {
                    let (name, expected) = OPENS[round % OPENS.len()];
                    assert_eq!(
                        open(&thread, &format!("\\??\\UNC\\fs\\data{name}")),
                        expected,
                        "{name}"
                    );
                }
            });
        }
        for _ in 0..10 {
            while bench.machine.unload_driver("logger").unwrap() == NtStatus::FLT_DO_NOT_DETACH {}
            assert_eq!(bench.load(image.clone()), NtStatus::SUCCESS);
        }
    });
    while bench.machine.unload_driver("logger").unwrap() == NtStatus::FLT_DO_NOT_DETACH {}
    let report = bench.end();
    assert!(report.findings.is_empty(), "{:?}", report.findings);
}
