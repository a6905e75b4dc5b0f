//! Doing the same many times in the machine, and what is told of it.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod core;

use core::{load, machine};
use ntbench::NtStatus;
use ntbench::wire::{
    CreateFile, MachineConfig, NamespaceConfig, StackKind, ThreadSpec, TraceEvent, Volume,
};
use ntbench::{Machine, Thread};

/// A machine with a volume of one file, and a thread.
fn bench(folder: &std::path::Path) -> (Machine, Thread) {
    std::fs::write(folder.join("there.txt"), "").expect("a file");
    let machine = machine(MachineConfig {
        namespace: NamespaceConfig {
            volumes: vec![Volume {
                device: r"\Device\HarddiskVolume1".to_owned(),
                letter: Some('C'),
                folder: folder.to_owned(),
            }],
            ..NamespaceConfig::default()
        },
        ..MachineConfig::default()
    });
    let thread = machine
        .thread(ThreadSpec {
            process_image: "test.exe".to_owned(),
            process: 0,
            stack: StackKind::Ordinary,
        })
        .expect("a thread");
    (machine, thread)
}

fn named(name: &str) -> CreateFile {
    CreateFile {
        name: format!(r"\??\C:\{name}"),
        ..CreateFile::default()
    }
}

#[test]
fn creates_are_closed_and_the_first_failure_is_told() {
    let folder = core::scratch();
    let (machine, thread) = bench(&folder);
    let timing = thread
        .measure_creates(&named("there.txt"), 1000)
        .expect("runs");
    assert_eq!((timing.times, timing.status), (1000, NtStatus::SUCCESS));
    assert!(timing.nanoseconds > 0 && timing.closing > 0, "{timing:?}");
    // Were one of them still open, nobody could open the file for himself alone.
    let alone = CreateFile {
        access: 0x10_0001,
        share: 0,
        ..named("there.txt")
    };
    let opened = thread.create_file(&alone).expect("runs");
    assert_eq!(opened.status, NtStatus::SUCCESS);
    let missing = thread
        .measure_creates(&named("none.txt"), 10)
        .expect("runs");
    assert_eq!(missing.status, NtStatus::OBJECT_NAME_NOT_FOUND);
    machine.shutdown().expect("a report");
}

#[test]
fn a_drivers_routine_is_called_as_often_as_asked() {
    let folder = core::scratch();
    let (machine, thread) = bench(&folder);
    let image = core::compile("counted", &[]);
    assert_eq!(
        load(&machine, image).expect("loads").status,
        NtStatus::SUCCESS
    );
    let count = machine.symbol("counted!count").expect("a symbol");
    let timing = thread.measure_routine(count, &[3], 1000).expect("runs");
    assert_eq!((timing.times, timing.value), (1000, 3000));
    let trace = machine.trace().expect("a trace");
    let callback = |event: &&TraceEvent| matches!(event, TraceEvent::Callback(_));
    assert_eq!(trace.events.iter().filter(callback).count(), 0);
    machine.shutdown().expect("a report");
}
