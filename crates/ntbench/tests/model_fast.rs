//! Fast I/O as filters see it, and file systems that want buffers in each of the three ways.

mod model;

use model::{Bench, compile, lines, rules, spec};
use ntbench::NtStatus;
use ntbench::wire::{Buffers, CreateFile, DriverSpec, FileCall, MachineConfig};

const README: &str = "\\??\\UNC\\fs\\data\\Docs\\Deep\\Readme.txt";

fn loaded(defines: &[&str], config: MachineConfig) -> (Bench, u64) {
    let bench = Bench::with(config);
    assert_eq!(bench.load(compile("fast", defines)), NtStatus::SUCCESS);
    let create = CreateFile {
        name: README.to_owned(),
        access: 0x0012_0083,
        options: 0x20,
        ..CreateFile::default()
    };
    let done = bench.thread.create_file(&create).unwrap();
    assert_eq!(done.status, NtStatus::SUCCESS);
    bench.trace();
    (bench, done.handle)
}

fn said(bench: &Bench) -> Vec<String> {
    let trace = bench.trace();
    lines(&trace).into_iter().map(str::to_owned).collect()
}

fn read(bench: &Bench, handle: u64) {
    let done = bench.thread.read(handle, Some(0), 4).unwrap();
    assert_eq!(
        (done.status, &done.data[..]),
        (NtStatus::SUCCESS, &b"text"[..])
    );
}

fn clean(bench: Bench) {
    let report = bench.end();
    assert!(report.findings.is_empty(), "{:#?}", report.findings);
}

const BY_IRP: [&str; 2] = [
    "pre IRP_MJ_READ fast=0 system=0 mdl=0 length=4",
    "post IRP_MJ_READ status=00000000",
];

#[test]
fn a_filters_own_unload_routine_comes_after_its_callback() {
    let bench = Bench::new();
    let image = compile("fast", &["DRIVER_UNLOAD"]);
    assert_eq!(bench.load(image), NtStatus::SUCCESS);
    bench.trace();
    let unloaded = bench.machine.unload_driver("fast").unwrap();
    assert_eq!(unloaded, NtStatus::SUCCESS);
    assert_eq!(said(&bench), ["driver unload"]);
    clean(bench);
}

#[test]
fn what_is_cached_is_read_without_an_irp() {
    let (bench, handle) = loaded(&[], MachineConfig::default());
    read(&bench, handle);
    assert_eq!(said(&bench), BY_IRP);
    read(&bench, handle);
    assert_eq!(
        said(&bench),
        [
            "pre IRP_MJ_READ fast=1 system=0 mdl=0 length=4",
            "post IRP_MJ_READ status=00000000",
        ]
    );
    let written = bench.thread.write(handle, Some(0), b"text").unwrap();
    assert_eq!(written.status, NtStatus::SUCCESS);
    let lock = FileCall::Lock {
        offset: 0,
        length: 4,
        key: 1,
        exclusive: true,
        fail_immediately: true,
    };
    let locked = bench.thread.file(handle, lock).unwrap();
    assert_eq!(locked.status, NtStatus::SUCCESS);
    let basic = bench.thread.query_information(handle, 4, 40).unwrap();
    assert_eq!((basic.status, basic.data.len()), (NtStatus::SUCCESS, 40));
    let internal = bench.thread.query_information(handle, 6, 8).unwrap();
    assert_eq!(internal.status, NtStatus::SUCCESS);
    assert_eq!(
        said(&bench),
        [
            "pre IRP_MJ_WRITE fast=1 system=0 mdl=0 length=4",
            "post IRP_MJ_WRITE status=00000000",
            "pre IRP_MJ_LOCK_CONTROL fast=1 irp=0",
            "post IRP_MJ_LOCK_CONTROL status=00000000",
            "pre IRP_MJ_QUERY_INFORMATION fast=1 irp=0",
            "post IRP_MJ_QUERY_INFORMATION status=00000000",
            "pre IRP_MJ_QUERY_INFORMATION fast=0 irp=1",
            "post IRP_MJ_QUERY_INFORMATION status=00000000",
        ]
    );
    // The file system has no fast way for what it does not know, so it comes again as an IRP.
    let control = bench
        .thread
        .device_control(handle, 0x70000, b"", 0)
        .unwrap();
    assert_eq!(control.status, NtStatus::INVALID_DEVICE_REQUEST);
    assert_eq!(
        said(&bench),
        [
            "pre IRP_MJ_DEVICE_CONTROL fast=1 irp=0",
            "post IRP_MJ_DEVICE_CONTROL status=c01c0004",
            "pre IRP_MJ_DEVICE_CONTROL fast=0 irp=1",
            "post IRP_MJ_DEVICE_CONTROL status=c0000010",
        ]
    );
    clean(bench);
}

#[test]
fn disallowed_fast_io_comes_again_as_an_irp() {
    let (bench, handle) = loaded(&[], MachineConfig::default());
    let lower = DriverSpec {
        service: "lower".to_owned(),
        ..spec(compile("fast", &["REFUSE=1"]), "200000")
    };
    let loaded = bench.machine.load_driver(lower).unwrap();
    assert_eq!(loaded.status, NtStatus::SUCCESS);
    read(&bench, handle);
    bench.trace();
    read(&bench, handle);
    assert_eq!(
        said(&bench),
        [
            "pre IRP_MJ_READ fast=1 system=0 mdl=0 length=4",
            "pre IRP_MJ_READ fast=1 system=0 mdl=0 length=4",
            "post IRP_MJ_READ status=c01c0004",
            BY_IRP[0],
            BY_IRP[0],
            BY_IRP[1],
            BY_IRP[1],
        ]
    );
    clean(bench);
}

#[test]
fn buffers_come_as_the_device_wants_them() {
    for (buffers, first) in [
        (Buffers::Neither, "system=0 mdl=0"),
        (Buffers::Buffered, "system=1 mdl=0"),
        (Buffers::Direct, "system=0 mdl=1"),
    ] {
        let config = || MachineConfig {
            buffers,
            ..MachineConfig::default()
        };
        let (bench, handle) = loaded(&[], config());
        read(&bench, handle);
        assert_eq!(
            said(&bench)[0],
            format!("pre IRP_MJ_READ fast=0 {first} length=4")
        );
        clean(bench);

        // A filter that swaps buffers in the documented way does so under each.
        let bench = Bench::with(config());
        let file = bench.folder.join("Docs/Deep/Readme.txt");
        std::fs::write(&file, b"text".map(|byte| !byte)).unwrap();
        assert_eq!(bench.load(compile("swapper", &[])), NtStatus::SUCCESS);
        let create = CreateFile {
            name: README.to_owned(),
            access: 0x0012_0083,
            options: 0x20,
            ..CreateFile::default()
        };
        let handle = bench.thread.create_file(&create).unwrap().handle;
        read(&bench, handle);
        read(&bench, handle);
        let written = bench.thread.write(handle, Some(0), b"TEXT").unwrap();
        assert_eq!(written.status, NtStatus::SUCCESS);
        assert_eq!(std::fs::read(&file).unwrap(), b"TEXT".map(|byte| !byte));
        clean(bench);
    }
}

#[test]
fn mistakes_with_fast_io_and_buffers_are_found() {
    for (defect, buffers, rule) in [
        (1, Buffers::Neither, "pended-fast-io"),
        (2, Buffers::Neither, "preop-status"),
        (3, Buffers::Direct, "swapped-without-mdl"),
    ] {
        let config = MachineConfig {
            buffers,
            ..MachineConfig::default()
        };
        let (bench, handle) = loaded(&[&format!("DEFECT={defect}")], config);
        read(&bench, handle);
        read(&bench, handle);
        let report = bench.end();
        let mut found = rules(&report);
        found.dedup();
        assert_eq!(found, [rule], "defect {defect}");
    }
}
