//! A program's buffers as a filter's port meets them, and the fuzzer.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod core;

use core::{compile_from, machine};
use std::time::Duration;

use ntbench::wire::{
    BufferKind, DriverSpec, FuzzSample, InstanceSpec, MachineConfig, PortFuzz, PortMessage,
    StackKind, ThreadSpec,
};
use ntbench::{Machine, MachineError, NtStatus, Port, Thread};

fn thread(machine: &Machine) -> Thread {
    let spec = ThreadSpec {
        process_image: "app.exe".to_owned(),
        process: 0,
        stack: StackKind::Ordinary,
    };
    machine.thread(spec).expect("a thread")
}

fn connected() -> (Machine, Thread, Port) {
    connected_to(&[])
}

fn connected_to(defines: &[&str]) -> (Machine, Thread, Port) {
    let machine = machine(MachineConfig::default());
    let spec = DriverSpec {
        image: compile_from("port.c", "port", defines),
        instances: vec![InstanceSpec {
            name: "Default".to_owned(),
            altitude: "370000".to_owned(),
            flags: 0,
        }],
        ..DriverSpec::default()
    };
    let loaded = machine.load_driver(spec).expect("loads");
    assert_eq!(loaded.status, NtStatus::SUCCESS);
    let thread = thread(&machine);
    let port = thread
        .connect_port("\\TestPort", &1_u32.to_le_bytes())
        .expect("the machine lives")
        .expect("connects");
    (machine, thread, port)
}

fn echo(port: &Port, message: &PortMessage) -> (NtStatus, Vec<u8>) {
    port.send_message(message).expect("the machine lives")
}

#[test]
fn a_message_goes_there_and_back() {
    let (machine, thread, port) = connected();
    let refused = thread.connect_port("\\TestPort", &[1, 0, 0, 0]);
    assert_eq!(
        refused.expect("lives").err(),
        Some(NtStatus::CONNECTION_COUNT_LIMIT)
    );
    assert_eq!(
        port.send(b"echo", 64).expect("lives"),
        (NtStatus::SUCCESS, b"echo".to_vec())
    );
    assert_eq!(
        port.send(b"echo", 3).expect("lives").0,
        NtStatus::BUFFER_TOO_SMALL
    );
    assert_eq!(port.close().expect("lives"), NtStatus::SUCCESS);
    assert_eq!(
        machine.unload_driver("port").expect("lives"),
        NtStatus::SUCCESS
    );
    let report = machine.shutdown().expect("lives");
    assert!(report.findings.is_empty(), "{:#?}", report.findings);
}

#[test]
fn a_filter_sends_and_takes_an_answer() {
    let (machine, _, port) = connected();
    let waiting = port.on(&thread(&machine));
    std::thread::scope(|scope| {
        let waiter = scope.spawn(move || {
            let message = waiting
                .get_message(64, Some(Duration::from_secs(25)))
                .expect("lives");
            let answered = waiting
                .reply(message.message_id, NtStatus::SUCCESS, b"yes")
                .expect("lives");
            (message, answered)
        });
        let sent = port.send(b"notify", 64).expect("lives");
        let (message, answered) = waiter.join().expect("the waiter");
        assert_eq!(
            (message.status, message.bytes),
            (NtStatus::SUCCESS, b"notify".to_vec())
        );
        assert_eq!(answered, NtStatus::SUCCESS);
        assert_eq!(sent, (NtStatus::SUCCESS, b"yes".to_vec()));
    });
    let nothing = port
        .get_message(64, Some(Duration::from_millis(20)))
        .expect("lives");
    assert_eq!(nothing.status, NtStatus::TIMEOUT);
}

#[test]
fn buffers_that_are_not_there_end_in_the_filters_handler() {
    let (_machine, _, port) = connected();
    let message = PortMessage {
        input: vec![b'e'; 5000],
        output_length: 6000,
        ..PortMessage::default()
    };
    let input = |input_kind| PortMessage {
        input_kind,
        ..message.clone()
    };
    let output = |output_kind| PortMessage {
        output_kind,
        ..message.clone()
    };
    let violation = (NtStatus::ACCESS_VIOLATION, Vec::new());
    let good = (NtStatus::SUCCESS, vec![b'e'; 5000]);
    for kind in [
        BufferKind::CutAt {
            offset: 4096,
            probed: false,
        },
        BufferKind::CutAt {
            offset: 4096,
            probed: true,
        },
        BufferKind::CutAt {
            offset: 1,
            probed: true,
        },
        BufferKind::GoneAtTouch(1),
        BufferKind::GoneAtTouch(4321),
        BufferKind::At(0x1000),
        BufferKind::At(0xFFFF_8000_0000_1000),
    ] {
        assert_eq!(echo(&port, &input(kind)), violation, "input {kind:?}");
        assert_eq!(echo(&port, &output(kind)), violation, "output {kind:?}");
    }
    assert_eq!(echo(&port, &output(BufferKind::ReadOnly)), violation);
    for kind in [
        BufferKind::Whole,
        BufferKind::Misaligned(3),
        BufferKind::CutAt {
            offset: 8192,
            probed: false,
        },
        BufferKind::GoneAtTouch(5001),
    ] {
        assert_eq!(echo(&port, &input(kind)), good, "input {kind:?}");
        assert_eq!(echo(&port, &output(kind)), good, "output {kind:?}");
    }
    assert_eq!(echo(&port, &input(BufferKind::ReadOnly)), good);
    let longer = PortMessage {
        input_length: Some(8192),
        ..message.clone()
    };
    assert_eq!(echo(&port, &longer), violation, "longer than it is");
}

#[test]
fn what_a_filter_wrote_before_memory_went_away_is_there() {
    let (machine, _, port) = connected();
    let message = PortMessage {
        input: b"echo of some length".to_vec(),
        output_length: 64,
        output_kind: BufferKind::GoneAtTouch(8),
        ..PortMessage::default()
    };
    assert_eq!(echo(&port, &message).0, NtStatus::ACCESS_VIOLATION);
    let local = machine.symbol("port!local").expect("a symbol");
    assert_eq!(machine.read(local, 19).expect("read"), message.input);
}

#[test]
fn a_buffer_that_another_thread_takes_away_is_copied_or_refused() {
    let (_machine, _, port) = connected();
    let message = PortMessage {
        input: vec![b'e'; 8192],
        output_length: 8192,
        output_kind: BufferKind::Racing,
        ..PortMessage::default()
    };
    let mut seen = [0; 2];
    for _ in 0..200 {
        match echo(&port, &message).0 {
            NtStatus::SUCCESS => seen[0] += 1,
            NtStatus::ACCESS_VIOLATION => seen[1] += 1,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(seen[0] + seen[1], 200);
    println!("{seen:?}");
}

fn fuzz(count: u64, hostile_per_mille: u32) -> PortFuzz {
    PortFuzz {
        port: 0,
        seed: 0x5EED,
        first: 0,
        count,
        corpus: vec![
            FuzzSample(b"echo this text, please".to_vec()),
            FuzzSample(b"do\0\0\x01\0\0\0".to_vec()),
        ],
        longest: 4096,
        hostile_per_mille,
    }
}

#[test]
fn the_fuzzer_is_fast_and_finds_the_defect() {
    let (_machine, _, port) = connected();
    let quiet = fuzz(300_000, 0);
    let report = port.fuzz(&quiet, |_| ()).expect("nothing wrong");
    println!("{report:?}");
    assert_eq!(report.messages, 300_000);
    assert_eq!(
        report.statuses.iter().map(|(_, count)| count).sum::<u64>(),
        300_000
    );
    for status in [
        NtStatus::SUCCESS,
        NtStatus::BUFFER_TOO_SMALL,
        NtStatus::INVALID_DEVICE_REQUEST,
    ] {
        assert!(report.count(status) > 1000, "{report:?}");
    }
    let again = port.fuzz(&quiet, |_| ()).expect("nothing wrong");
    assert_eq!(again.statuses, report.statuses, "the same messages");

    let hostile = PortFuzz {
        hostile_per_mille: 200,
        count: 20_000,
        ..quiet
    };
    let report = port.fuzz(&hostile, |_| ()).expect("all of it guarded");
    println!("{report:?}");
    assert!(
        report.count(NtStatus::ACCESS_VIOLATION) > 1000,
        "{report:?}"
    );

    let (_machine, _, port) = connected_to(&["DEFECT"]);
    let bug_check = match port.fuzz(&fuzz(1_000_000, 10), |_| ()) {
        Err(MachineError::BugCheck(bug_check)) => bug_check,
        other => panic!("the defect was not met: {other:?}"),
    };
    assert_eq!(bug_check.code, 0x3B, "{}", bug_check.text);
    assert!(
        bug_check.text.contains("of seed 0x5eed was under way"),
        "{}",
        bug_check.text
    );
    assert!(bug_check.text.contains("64"), "{}", bug_check.text);
}

#[test]
fn a_fuzzed_message_can_be_sent_again_alone() {
    let (_machine, _, port) = connected_to(&["DEFECT"]);
    let report = |port: &Port, fuzz: &PortFuzz| match port.fuzz(fuzz, |_| ()) {
        Err(MachineError::BugCheck(bug_check)) => bug_check.text,
        other => panic!("no bug check but {other:?}"),
    };
    let text = report(&port, &fuzz(1_000_000, 0));
    let number = text
        .split_once("fuzzed message ")
        .and_then(|(_, rest)| rest.split(' ').next()?.parse().ok())
        .expect("its number");
    let (_machine, _, port) = connected_to(&["DEFECT"]);
    let alone = PortFuzz {
        first: number,
        count: 1,
        ..fuzz(1, 0)
    };
    assert_eq!(
        report(&port, &alone)
            .split_once("fuzzed")
            .map(|parts| parts.1.to_owned()),
        text.split_once("fuzzed").map(|parts| parts.1.to_owned())
    );
}
