//! Who is where, and whether who sent an operation waits: a filter asks, and says what it was told.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod model;
mod volume;

use ntbench::NtStatus;
use ntbench::wire::CreateFile;
use volume::{OPEN, READ, SYNCHRONIZE, VolumeBench};

/// `FILE_SYNCHRONOUS_IO_NONALERT`.
const SYNCHRONOUS: u32 = 0x20;

#[test]
fn a_filter_learns_who_is_where_and_who_waits() {
    let bench = VolumeBench::new();
    let image = model::compile("inquirer", &[]);
    let loaded = bench.machine.load_driver(model::spec(image, "370000"));
    assert_eq!(loaded.unwrap().status, NtStatus::SUCCESS);
    let trace = bench.machine.trace().unwrap();
    assert_eq!(
        model::lines(&trace),
        [
            "top 00000000 same=1",
            "bottom 00000000 same=1",
            "above the lower 00000000 same=1",
            "below the upper 00000000 same=1",
            "above the upper 8000001a same=0",
            "below the lower 8000001a same=0",
            "by name 00000000 same=1",
            "by another c01c0013 same=0",
            "by instance 00000000 same=1",
            "filter c0000023 30",
            "filter 00000000 3 instances, 16 i",
            "volume 00000000 fs 2, 46 D",
            "no class c000000d",
            "snapshot 00000000 0",
        ]
    );
    let opened = |options| {
        let create = CreateFile {
            name: r"\??\C:\a.txt".to_owned(),
            access: READ | SYNCHRONIZE,
            disposition: OPEN,
            options,
            ..CreateFile::default()
        };
        let file = bench.create(&create).unwrap().0;
        bench.thread.read(file, Some(0), 1).unwrap();
        bench.close(file);
        let trace = bench.machine.trace().unwrap();
        let lines = model::lines(&trace);
        let mut lines: Vec<String> = lines.into_iter().map(str::to_owned).collect();
        // Both instances are told.
        lines.dedup();
        lines
    };
    let asynchronous = [
        "IRP_MJ_CREATE synchronous=1 session 00000000 1 wow=0",
        "IRP_MJ_READ synchronous=0 session 00000000 1 wow=0",
    ];
    assert_eq!(opened(0), asynchronous);
    let waits = "IRP_MJ_READ synchronous=1 session 00000000 1 wow=0";
    assert_eq!(opened(SYNCHRONOUS).last().unwrap(), waits);
    bench.machine.unload_driver("inquirer").unwrap();
    let report = bench.machine.shutdown().unwrap();
    assert!(report.findings.is_empty(), "{:#?}", report.findings);
}
