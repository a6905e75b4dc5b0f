//! Names that are met less often: what they answer is held to their pages by drivers that are written against the DDK's own headers.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod model;

use std::time::Duration;

use model::{Bench, compile, compile_ddk, lines, rules, spec};
use ntbench::wire::{CreateFile, MachineConfig, NamespaceConfig, StackKind, ThreadSpec, Volume};
use ntbench::{Machine, NtStatus};

/// A machine with a local volume, and a redirector as every machine has it.
fn with_volume() -> Machine {
    let folder = model::scratch_folder();
    std::fs::write(folder.join("a.txt"), "text").unwrap();
    let namespace = NamespaceConfig {
        volumes: vec![Volume {
            device: "\\Device\\HarddiskVolume1".to_owned(),
            letter: Some('C'),
            folder,
        }],
        ..NamespaceConfig::default()
    };
    Machine::boot(MachineConfig {
        host: Some(env!("CARGO_BIN_EXE_ntbench").into()),
        namespace,
        ..MachineConfig::default()
    })
    .unwrap()
}

#[test]
fn they_answer_as_documented() {
    let machine = with_volume();
    let loaded = machine.load_driver(spec(compile_ddk("sundry", &[]), "370000"));
    assert_eq!(loaded.unwrap().status, NtStatus::SUCCESS);
    assert_eq!(lines(&machine.trace().unwrap()), ["80 checks"]);
    assert_eq!(machine.unload_driver("sundry").unwrap(), NtStatus::SUCCESS);
    assert_eq!(rules(&machine.shutdown().unwrap()), [""; 0]);
}

#[test]
fn a_driver_ends_a_process() {
    let bench = Bench::new();
    assert_eq!(bench.load(compile("ender", &[])), NtStatus::SUCCESS);
    let victim = ThreadSpec {
        process_image: "victim.exe".to_owned(),
        process: 0,
        stack: StackKind::Ordinary,
    };
    let other = bench.machine.thread(victim).unwrap();
    let (pid, own) = (other.info().pid, bench.thread.info().pid);
    assert_ne!(pid, own);
    let create = CreateFile {
        name: "\\??\\UNC\\fs\\data\\Docs\\Deep\\Readme.txt".to_owned(),
        access: 0x10_0001,
        ..CreateFile::default()
    };
    let file = bench.thread.create_file(&create).unwrap().handle;
    bench.trace();
    let read = |pid: u64| {
        let read = bench.thread.read(file, Some(pid.cast_signed()), 1);
        read.unwrap().status
    };
    read(pid);
    assert_eq!(
        lines(&bench.trace()),
        ["end 00000000", "ended 00000000 00000055", "again c000010a"]
    );
    // Its thread goes soon after it, and does nothing more.
    let gone = (0..3000).any(|_| {
        std::thread::sleep(Duration::from_millis(10));
        other.read(file, Some(0), 1).is_err()
    });
    assert!(gone);
    read(4);
    assert_eq!(lines(&bench.trace()), ["end c0000022"]);
    let report = bench.end();
    assert_eq!(rules(&report), [""; 0]);
}
