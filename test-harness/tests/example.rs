//! The example minifilter of `examples/create-logger`, its own binary in ntbench.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod common;

use common::{config, directories, open, thread};
use ntbench::Machine;
use ntbench::wire::{DriverSpec, InstanceSpec, StackKind, TraceEvent};
use protocol::NtStatus;

const IMAGE: &str = "EXAMPLE_CREATE_LOGGER_SYS";
const SERVICE: &str = "create-logger";

#[test]
fn it_logs_creates_and_cleanups_by_name() {
    let Some(image) = std::env::var_os(IMAGE) else {
        panic!(
            "{IMAGE} names no create-logger.sys: `cargo xtask test` builds it and sets the variable; by hand: cargo xtask \
             build -p create-logger, then {IMAGE}=$PWD/target/headroom/create-logger.sys"
        );
    };
    let folder = tempfile::tempdir().unwrap();
    let path = directories(folder.path(), 2);
    let machine = Machine::boot(config(folder.path())).unwrap();
    let loaded = machine
        .load_driver(DriverSpec {
            image: image.into(),
            service: SERVICE.to_owned(),
            instances: vec![InstanceSpec {
                name: "Create Logger Instance".to_owned(),
                altitude: "385200".to_owned(),
                flags: 0,
            }],
            ..DriverSpec::default()
        })
        .unwrap();
    assert!(loaded.status.is_success(), "{}", loaded.status);
    let opener = thread(&machine, StackKind::Ordinary);
    assert_eq!(open(&opener, &path), NtStatus::SUCCESS);
    assert_eq!(open(&opener, r"\d01\absent"), NtStatus(0xc000_0034));
    let unloaded = machine.unload_driver(SERVICE).unwrap();
    assert!(unloaded.is_success(), "unload: {unloaded}");
    let report = machine.shutdown().unwrap();
    let lines: Vec<_> = report
        .trace
        .events
        .iter()
        .filter_map(|event| match event {
            TraceEvent::DbgPrint { text, .. } => Some(text.trim_end()),
            _ => None,
        })
        .collect();
    assert_eq!(
        lines,
        [
            r"create-logger: create \Device\Mup\server\share\d01\d02",
            r"create-logger: cleanup \Device\Mup\server\share\d01\d02",
            r"create-logger: create \Device\Mup\server\share\d01\absent",
        ]
    );
    assert!(report.findings.is_empty(), "{:#?}", report.findings);
}
