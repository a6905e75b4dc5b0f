//! Operations on files of the bench's share, and a machine that is looked at when its filter is gone.

use std::path::PathBuf;

use ntbench::wire::{CreateFile, DriverSpec, MachineConfig};
use ntbench::{NtStatus, Thread};

use super::{Bench, compile, rules, spec};

pub(crate) const README: &str = "\\Docs\\Deep\\Readme.txt";

pub(crate) fn named(name: &str, access: u32) -> CreateFile {
    CreateFile {
        name: format!("\\??\\UNC\\fs\\data{name}"),
        access: access | 0x0010_0000,
        ..CreateFile::default()
    }
}

pub(crate) fn opened(thread: &Thread, create: &CreateFile) -> u64 {
    let done = thread.create_file(create).expect("the machine lives");
    assert_eq!(done.status, NtStatus::SUCCESS, "{}", create.name);
    done.handle
}

pub(crate) fn loaded(driver: &str, defines: &[&str], config: MachineConfig) -> Bench {
    let bench = Bench::with(config);
    assert_eq!(bench.load(compile(driver, defines)), NtStatus::SUCCESS);
    bench.trace();
    bench
}

pub(crate) fn load_as(bench: &Bench, image: PathBuf, service: &str, altitude: &str) {
    let spec = DriverSpec {
        service: service.to_owned(),
        ..spec(image, altitude)
    };
    assert_eq!(
        bench.machine.load_driver(spec).unwrap().status,
        NtStatus::SUCCESS
    );
}

/// Unloads and ends; what was found.
pub(crate) fn found(bench: Bench, service: &str) -> Vec<String> {
    assert_eq!(
        bench.machine.unload_driver(service).unwrap(),
        NtStatus::SUCCESS
    );
    let report = bench.end();
    rules(&report).into_iter().map(str::to_owned).collect()
}
