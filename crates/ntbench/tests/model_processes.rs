//! A program's addresses are there in its own process, and in no other.

mod model;

use std::path::Path;

use model::{Bench, clang, lines, spec};
use ntbench::NtStatus;
use ntbench::wire::{CreateFile, MachineConfig, ScheduleConfig};

const GOOD: &str = "read 00000000 write 00000000 copy 00000000 probe 00000000";
const BAD: &str = "read c0000005 write c0000005 copy c0000005 probe c0000005";

fn visited(config: MachineConfig) {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/drivers/visitor.c");
    let image = clang::driver(&source, "visitor", &["-fno-optimize-sibling-calls"], &[]);
    let bench = Bench::with(config);
    let loaded = bench.machine.load_driver(spec(image, "370000")).unwrap();
    assert_eq!(loaded.status, NtStatus::SUCCESS);
    let create = CreateFile {
        name: "\\??\\UNC\\fs\\data\\Docs\\Deep\\Readme.txt".to_owned(),
        access: 0x0012_0081,
        options: 0x20,
        ..CreateFile::default()
    };
    let file = bench.thread.create_file(&create).unwrap().handle;
    bench.trace();
    // Twice: what was taken away is the program's again.
    for _ in 0..2 {
        let read = bench.thread.read(file, Some(0), 4).unwrap();
        assert_eq!((read.status, &*read.data), (NtStatus::SUCCESS, &b"v"[..]));
        assert_eq!(
            lines(&bench.trace()),
            [
                format!("at home: {GOOD}"),
                format!("elsewhere: {BAD}"),
                format!("attached: {GOOD}"),
                format!("detached: {BAD}"),
            ]
        );
    }
    bench.thread.close(file).unwrap();
    let report = bench.end();
    assert!(!report.findings.is_empty());
    for finding in &report.findings {
        assert_eq!(finding.rule, "user-address-in-wrong-process", "{finding:?}");
        let place = finding.site.as_deref().unwrap_or_default();
        assert!(place.contains("visitor!Touch+"), "{finding:?}");
    }
}

#[test]
fn an_address_is_there_in_its_own_process() {
    visited(MachineConfig::default());
}

#[test]
fn under_a_schedule_as_well() {
    visited(MachineConfig {
        schedule: Some(ScheduleConfig { seed: 7 }),
        ..MachineConfig::default()
    });
}
