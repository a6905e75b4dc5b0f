//! What the tests on a machine share: the driver, a machine with it, its records.
#![allow(dead_code, reason = "each test file uses a part of it")]

pub(crate) mod port;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use headroom_harness::backend::Driver;
use headroom_harness::backend::bench::{self, SERVICE};
use headroom_harness::model::Expand;
use ntbench::wire::{
    CreateFile, DriverSpec, FaultRule, FinalReport, InstanceSpec, MachineConfig, NamespaceConfig,
    RegistryValue, Server, Share, StackKind, ThreadSpec, TraceEvent,
};
use ntbench::{Machine, Thread};
use protocol::{Anchor, NtStatus, Record, WATERMARKS_SYMBOL, Watermarks};
use tempfile::TempDir;

/// The executable that becomes the simulated machines, and the command line under test.
pub(crate) const HEADROOM: &str = env!("CARGO_BIN_EXE_headroom");

/// The driver under test.
pub(crate) fn sys() -> PathBuf {
    let Some(path) = std::env::var_os("HEADROOM_SYS") else {
        panic!(
            "HEADROOM_SYS names no headroom.sys: these tests run the driver's own binary. `cargo xtask test` builds it \
             and sets the variable; by hand: cargo xtask build, then HEADROOM_SYS=$PWD/target/headroom/headroom.sys"
        );
    };
    let path = PathBuf::from(path);
    assert!(
        path.is_file(),
        "HEADROOM_SYS names {}, which is no file",
        path.display()
    );
    path
}

/// Runs `headroom` with its report in a folder of its own.
pub(crate) fn headroom(arguments: &[&str]) -> (Output, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new(HEADROOM)
        .args(arguments)
        .arg("--out")
        .arg(folder.path())
        .env("NO_COLOR", "1")
        .output()
        .unwrap();
    (output, folder)
}

/// The settings of most tests: expand always, ancestors opened from the top.
pub(crate) fn driver() -> Driver {
    Driver {
        image: sys(),
        expand: Expand::Always,
        ancestors_from_top: true,
        max_nest_depth: 64,
        log_capacity: 256,
        reservation_bytes: None,
        red_zone_bytes: None,
        settings: Vec::new(),
    }
}

/// A machine whose `\\server\share` is `folder`.
pub(crate) fn config(folder: &Path) -> MachineConfig {
    MachineConfig {
        host: Some(HEADROOM.into()),
        namespace: NamespaceConfig {
            servers: vec![Server {
                name: "server".to_owned(),
                shares: vec![Share {
                    name: "share".to_owned(),
                    folder: folder.to_owned(),
                }],
            }],
            ..NamespaceConfig::default()
        },
        ..MachineConfig::default()
    }
}

/// A booted machine with the driver.
pub(crate) fn boot(config: MachineConfig, driver: &Driver) -> Machine {
    let machine = Machine::boot(config).unwrap();
    bench::load(&machine, driver).unwrap();
    machine
}

/// A setting that is a number.
pub(crate) fn dword(name: &str, value: u32) -> (String, RegistryValue) {
    (name.to_owned(), RegistryValue::Dword(value))
}

/// A setting that is a word.
pub(crate) fn text(name: &str, value: &str) -> (String, RegistryValue) {
    (name.to_owned(), RegistryValue::Sz(value.to_owned()))
}

/// Loads the driver with just these settings, and returns what its `DriverEntry` returned.
pub(crate) fn load(machine: &Machine, parameters: &[(String, RegistryValue)]) -> NtStatus {
    let loaded = machine.load_driver(driver_spec(parameters)).unwrap();
    NtStatus(loaded.status.0.cast_unsigned())
}

/// The driver and its instance, with just these settings.
pub(crate) fn driver_spec(parameters: &[(String, RegistryValue)]) -> DriverSpec {
    DriverSpec {
        image: sys(),
        service: SERVICE.to_owned(),
        parameters: parameters.to_vec(),
        instances: vec![InstanceSpec {
            name: "Headroom Instance".to_owned(),
            altitude: "378600.5".to_owned(),
            flags: 0,
        }],
        ..DriverSpec::default()
    }
}

/// A booted machine with the driver and just these settings.
pub(crate) fn booted(config: MachineConfig, parameters: &[(String, RegistryValue)]) -> Machine {
    let machine = Machine::boot(config).unwrap();
    assert_eq!(load(&machine, parameters), NtStatus::SUCCESS);
    machine
}

/// The lines that the driver printed since this was last asked.
pub(crate) fn printed(machine: &Machine) -> Vec<String> {
    let events = machine.trace().unwrap().events;
    events
        .into_iter()
        .filter_map(|event| match event {
            TraceEvent::DbgPrint { text, .. } => Some(text),
            _ => None,
        })
        .collect()
}

/// The driver's watermarks, as a debugger reads them.
pub(crate) fn watermarks(machine: &Machine) -> Watermarks {
    let address = machine
        .symbol(&format!("{SERVICE}!{WATERMARKS_SYMBOL}"))
        .unwrap();
    let bytes = machine.read(address, size_of::<Watermarks>()).unwrap();
    Watermarks::decode(&bytes).unwrap()
}

/// A thread with that stack.
pub(crate) fn thread(machine: &Machine, stack: StackKind) -> Thread {
    machine
        .thread(ThreadSpec {
            process_image: "test.exe".to_owned(),
            process: 0,
            stack,
        })
        .unwrap()
}

/// Opens `path` below the share, closes it, and gives back the status.
pub(crate) fn open(thread: &Thread, path: &str) -> NtStatus {
    let name = format!(r"\??\UNC\server\share{path}");
    let completion = thread
        .create_file(&CreateFile {
            name,
            ..CreateFile::default()
        })
        .unwrap();
    if completion.handle != 0 {
        let closed = thread.close(completion.handle).unwrap();
        assert!(closed.status.is_success(), "{:?}", closed.status);
    }
    NtStatus(completion.status.0.cast_unsigned())
}

/// Directories one in the other, and the path of the deepest below the share.
pub(crate) fn directories(folder: &Path, levels: u32) -> String {
    let path: String = (1..=levels).map(|level| format!(r"\d{level:02}")).collect();
    std::fs::create_dir_all(folder.join(path.replace('\\', "/").trim_start_matches('/'))).unwrap();
    path
}

/// A fault on each call of the expansion.
pub(crate) fn expansion_fails(status: u32) -> FaultRule {
    FaultRule {
        call: "KeExpandKernelStackAndCalloutEx".to_owned(),
        status: ntbench::NtStatus(status.cast_signed()),
        when: ntbench::wire::When::Always,
    }
}

/// Returns when no worker has anything to do any more: one whose create was cancelled still has its record to write.
pub(crate) fn settle(machine: &Machine) {
    let began = Instant::now();
    while machine.usage().unwrap().work_under_way > 0 {
        assert!(
            began.elapsed() < Duration::from_secs(60),
            "workers have still to do"
        );
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// The driver's records, by depth.
pub(crate) fn records(machine: &Machine) -> (Anchor, Vec<Record>) {
    let (anchor, mut records) = bench::read_ring(machine).unwrap();
    records.sort_by_key(|record| record.nest_depth);
    (anchor, records)
}

/// Unloads the driver and ends the machine; what the verifier found has to be nothing.
pub(crate) fn end(machine: Machine) -> FinalReport {
    let unloaded = machine.unload_driver(SERVICE).unwrap();
    assert!(unloaded.is_success(), "unload: {unloaded}");
    let report = machine.shutdown().unwrap();
    assert!(report.findings.is_empty(), "{:#?}", report.findings);
    report
}

/// An address in a report.
#[track_caller]
pub(crate) fn address(value: &serde_json::Value) -> u64 {
    let digits = value.as_str().and_then(|text| text.strip_prefix("0x"));
    let address = digits.and_then(|digits| u64::from_str_radix(digits, 16).ok());
    address.unwrap_or_else(|| panic!("{value} is no address"))
}
