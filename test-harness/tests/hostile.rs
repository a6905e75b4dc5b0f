//! A client whose memory is not what it says, and ten million messages that are not what they seem.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod common;

use common::port::{Client, encoded};
use common::{booted, config, directories, end, open, text, thread, watermarks};
use ntbench::wire::{BufferKind, FuzzSample, PortFuzz, PortMessage, StackKind};
use protocol::port::{Drain, InstanceName, Request};
use protocol::{Config, NtStatus, Watermarks};

const ACCESS_VIOLATION: NtStatus = NtStatus(0xc000_0005);

/// The system's half of the address space.
const KERNEL: u64 = 0xffff_8000_0000_1000;

fn drain() -> Request<'static> {
    Request::Drain(Drain {
        from: 0,
        limit: 256,
        reserved: 0,
    })
}

#[test]
fn a_buffer_that_is_not_there_is_an_error_and_no_more() {
    let folder = tempfile::tempdir().unwrap();
    let machine = booted(config(folder.path()), &[]);
    let client = Client::connect(&machine);
    let message = encoded(&Request::SetConfig(&Config::DEFAULT));
    let whole = PortMessage {
        input: message.clone(),
        output_length: 4096,
        ..PortMessage::default()
    };
    let from = |kind| PortMessage {
        input_kind: kind,
        ..whole.clone()
    };
    let to = |kind| PortMessage {
        output_kind: kind,
        ..whole.clone()
    };
    let sent = |message: &PortMessage| client.send_message(message).sent;

    // Alignment is the program's own affair, and an input need not be writable.
    for offset in 0..9 {
        assert_eq!(
            client
                .send_message(&from(BufferKind::Misaligned(offset)))
                .status(),
            NtStatus::SUCCESS
        );
        assert_eq!(
            client
                .send_message(&to(BufferKind::Misaligned(offset)))
                .status(),
            NtStatus::SUCCESS
        );
    }
    assert_eq!(
        client.send_message(&from(BufferKind::ReadOnly)).status(),
        NtStatus::SUCCESS
    );
    assert_eq!(
        client.send_message(&from(BufferKind::Null)).status(),
        NtStatus::INFO_LENGTH_MISMATCH
    );
    assert!(
        !sent(&to(BufferKind::Null)).is_success(),
        "an answer that goes nowhere"
    );

    for kind in [BufferKind::ReadOnly, BufferKind::At(KERNEL)] {
        assert_eq!(sent(&to(kind)), ACCESS_VIOLATION, "{kind:?}");
    }
    assert_eq!(sent(&from(BufferKind::At(KERNEL))), ACCESS_VIOLATION);
    // The program says that there is more than there is; or takes it away when the kernel has looked.
    for probed in [false, true] {
        for offset in [0, 1, 7] {
            let cut = BufferKind::CutAt { offset, probed };
            assert_eq!(sent(&from(cut)), ACCESS_VIOLATION, "{cut:?}");
            assert_eq!(sent(&to(cut)), ACCESS_VIOLATION, "{cut:?}");
        }
    }
    let long = PortMessage {
        input_length: Some(1 << 30),
        ..whole.clone()
    };
    assert_eq!(
        client.send_message(&long).status(),
        NtStatus::INFO_LENGTH_MISMATCH,
        "refused by its length, before it is read"
    );
    for room in 0..8 {
        let short = PortMessage {
            output_length: room,
            ..whole.clone()
        };
        assert!(!sent(&short).is_success(), "room for {room} bytes");
    }
    assert_eq!(client.ask(&Request::GetConfig).status(), NtStatus::SUCCESS);
    client.disconnect();
    end(machine);
}

/// The client unmaps its buffer in the middle of the driver's copy: at each byte of it in turn.
#[test]
fn memory_that_goes_in_the_middle_of_a_copy() {
    let folder = tempfile::tempdir().unwrap();
    let path = directories(folder.path(), 2);
    let machine = booted(config(folder.path()), &[text("AncestorOpens", "Top")]);
    let opener = thread(&machine, StackKind::Ordinary);
    assert_eq!(open(&opener, &path), NtStatus::SUCCESS);
    let client = Client::connect(&machine);
    for (request, answer) in [
        (Request::SetConfig(&Config::DEFAULT), 8),
        (drain(), 48 + 3 * 496),
        (Request::Watermarks, 8 + size_of::<Watermarks>() as u64),
    ] {
        let message = PortMessage {
            input: encoded(&request),
            output_length: 0x4000,
            ..PortMessage::default()
        };
        let length = message.input.len() as u64;
        for nth in 1..=length {
            let gone = PortMessage {
                input_kind: BufferKind::GoneAtTouch(nth),
                ..message.clone()
            };
            assert_eq!(
                client.send_message(&gone).sent,
                ACCESS_VIOLATION,
                "{nth} of {length}"
            );
        }
        for nth in (1..=answer).step_by(if answer > 64 { 97 } else { 1 }) {
            let gone = PortMessage {
                output_kind: BufferKind::GoneAtTouch(nth),
                ..message.clone()
            };
            assert_eq!(
                client.send_message(&gone).sent,
                ACCESS_VIOLATION,
                "{nth} of {answer}"
            );
        }
        let late = PortMessage {
            input_kind: BufferKind::GoneAtTouch(length + 1),
            output_kind: BufferKind::GoneAtTouch(answer + 1),
            ..message.clone()
        };
        assert_eq!(
            client.send_message(&late).status(),
            NtStatus::SUCCESS,
            "gone when nobody looks any more"
        );
        let racing = PortMessage {
            input_kind: BufferKind::Racing,
            output_kind: BufferKind::Racing,
            ..message.clone()
        };
        for _ in 0..200 {
            let sent = client.send_message(&racing).sent;
            assert!(
                sent == NtStatus::SUCCESS || sent == ACCESS_VIOLATION,
                "{sent}"
            );
        }
    }
    client.disconnect();
    end(machine);
}

/// Ten million messages: random ones, and mutations of every request there is, some in memory that is not what it seems.
#[test]
fn ten_million_fuzzed_messages() {
    const MESSAGES: u64 = 10_000_000;
    let folder = tempfile::tempdir().unwrap();
    let path = directories(folder.path(), 2);
    let mut config = config(folder.path());
    config.trace_capacity = Some(64);
    let machine = booted(config, &[text("AncestorOpens", "Top")]);
    let opener = thread(&machine, StackKind::Ordinary);
    assert_eq!(open(&opener, &path), NtStatus::SUCCESS);
    let client = Client::connect(&machine);
    let volume: Vec<u16> = r"\Device\Mup".encode_utf16().collect();
    let name = InstanceName::new(&volume, &[]).unwrap();
    let corpus = [
        Request::GetConfig,
        Request::SetConfig(&Config::DEFAULT),
        drain(),
        Request::Watermarks,
        Request::ResetWatermarks,
        Request::Attach(&name),
        Request::Detach(&name),
        Request::Instances,
        Request::Status,
    ];
    let fuzz = |seed| PortFuzz {
        port: 0,
        seed,
        first: 0,
        count: MESSAGES / 2,
        corpus: corpus
            .iter()
            .map(|request| FuzzSample(encoded(request)))
            .collect(),
        longest: 1024,
        hostile_per_mille: 20,
    };
    // Two clients at once, so that messages also meet in the driver.
    let other = Client::connect(&machine);
    let report = std::thread::scope(|scope| {
        let second = scope.spawn(|| other.port.fuzz(&fuzz(0x6865_6164), |_| ()).unwrap());
        let mut report = client.port.fuzz(&fuzz(0x726f_6f6d), |_| ()).unwrap();
        report.add(&second.join().unwrap());
        report
    });
    println!(
        "{} messages, {} of them in memory that is not what it seems, in {} ms of two threads: {:?}",
        report.messages, report.hostile, report.elapsed_ms, report.statuses
    );
    assert_eq!(report.messages, MESSAGES);
    let count = |status: NtStatus| report.count(ntbench::NtStatus(status.0.cast_signed()));
    assert!(count(NtStatus::SUCCESS) > MESSAGES / 2, "{report:?}");
    assert!(count(ACCESS_VIOLATION) > 1000, "{report:?}");
    let resets = watermarks(&machine).generation;
    assert!(
        resets > 10_000,
        "so many messages were requests that do something: {resets}"
    );
    other.disconnect();

    // Whatever of it was taken over is allowed, and the driver does its work.
    let config: Config = client.ask(&Request::GetConfig).reply().body().unwrap();
    assert_eq!(config.validate(0x1_1800), Ok(()));
    assert_eq!(
        client
            .ask(&Request::SetConfig(&Config {
                log_capacity: config.log_capacity,
                ..Config::DEFAULT
            }))
            .status(),
        NtStatus::SUCCESS
    );
    assert_eq!(client.ask(&drain()).status(), NtStatus::SUCCESS);
    assert_eq!(open(&opener, &path), NtStatus::SUCCESS);
    client.disconnect();
    end(machine);
}
