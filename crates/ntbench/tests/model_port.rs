//! A filter with a communication port.

mod model;

use std::time::Duration;

use model::{Bench, bug_check, compile, lines, rules, spec, start, until_waits};
use ntbench::wire::{FaultRule, MachineConfig, StackKind, ThreadSpec, When};
use ntbench::{NtStatus, Thread};

const PORT: &str = "\\talkerport";

fn talking(defines: &[&str]) -> Bench {
    let bench = Bench::with(MachineConfig {
        limited: vec!["notepad.exe".to_owned()],
        ..MachineConfig::default()
    });
    assert_eq!(bench.load(compile("talker", defines)), NtStatus::SUCCESS);
    bench.trace();
    bench
}

fn refused(thread: &Thread, name: &str, context: &[u8]) -> NtStatus {
    thread
        .connect_port(name, context)
        .expect("the machine lives")
        .err()
        .expect("a refusal")
}

#[test]
fn clients_come_and_go() {
    let bench = talking(&[]);
    assert_eq!(
        refused(&bench.thread, "\\OtherPort", &[]),
        NtStatus::OBJECT_NAME_NOT_FOUND
    );
    assert_eq!(
        refused(&bench.thread, PORT, &[9, 9]),
        NtStatus::REVISION_MISMATCH
    );
    let first = bench.thread.connect_port(PORT, &[7, 1]).unwrap().unwrap();
    let second = bench.thread.connect_port(PORT, &[]).unwrap().unwrap();
    assert_eq!(
        refused(&bench.thread, PORT, &[]),
        NtStatus::CONNECTION_COUNT_LIMIT
    );
    assert_eq!(second.clone().close().unwrap(), NtStatus::SUCCESS);
    assert_eq!(second.close().unwrap(), NtStatus::INVALID_HANDLE);
    assert_eq!(
        lines(&bench.trace()),
        [
            "connect cookie=0000000000000044 size=2 first=9",
            "connect cookie=0000000000000044 size=2 first=7",
            "connect cookie=0000000000000044 size=0 first=0",
            "disconnect cookie=0000000000000055",
            "client is 0000000000000000",
        ]
    );
    assert_eq!(
        first.send(&[0, 1, 2, 3], 4).unwrap(),
        (NtStatus::SUCCESS, vec![0, 1, 2, 3])
    );
    assert_eq!(
        first.send(&[0, 1, 2, 3], 3).unwrap().0,
        NtStatus::BUFFER_TOO_SMALL
    );
}

#[test]
fn only_who_the_descriptor_names_may_connect() {
    let bench = talking(&[]);
    let guest = guest(&bench);
    assert_eq!(refused(&guest, PORT, &[]), NtStatus::ACCESS_DENIED);
    assert!(lines(&bench.trace()).is_empty(), "the filter is not asked");
    assert!(bench.thread.connect_port(PORT, &[]).unwrap().is_ok());
}

/// A thread of a process without an administrator's rights.
fn guest(bench: &Bench) -> Thread {
    let spec = ThreadSpec {
        process_image: "notepad.exe".to_owned(),
        process: 1,
        stack: StackKind::Ordinary,
    };
    bench.machine.thread(spec).expect("a thread")
}

#[test]
fn a_descriptor_is_read_as_it_is() {
    for (descriptor, administrator, user) in [
        // None: only the system itself.
        (1, false, false),
        // One without a list: everybody.
        (2, true, true),
        // The first entry that is about somebody decides.
        (3, false, true),
    ] {
        let bench = talking(&[&format!("DESCRIPTOR={descriptor}")]);
        let connects = |thread: &Thread| {
            let connected = thread.connect_port(PORT, &[]).expect("the machine lives");
            match connected {
                Ok(_) => true,
                Err(status) => {
                    assert_eq!(status, NtStatus::ACCESS_DENIED);
                    false
                }
            }
        };
        assert_eq!(connects(&bench.thread), administrator, "{descriptor}");
        assert_eq!(connects(&guest(&bench)), user, "{descriptor}");
    }
    let bench = Bench::new();
    let image = compile("talker", &["DESCRIPTOR=4"]);
    assert_eq!(bench.load(image), NtStatus::INVALID_SECURITY_DESCR);
    assert!(bench.end().findings.is_empty());
}

#[test]
fn messages_go_to_a_client_that_waits_and_its_reply_comes_back() {
    let bench = talking(&[]);
    let port = bench.thread.connect_port(PORT, &[]).unwrap().unwrap();
    // Nobody waits.
    assert_eq!(port.send(&[1], 0).unwrap().0, NtStatus::TIMEOUT);
    assert_eq!(port.send(&[3], 0).unwrap().0, NtStatus::TIMEOUT);
    assert_eq!(port.send(&[4], 0).unwrap().0, NtStatus::INVALID_PARAMETER);
    let short = Some(Duration::from_millis(20));
    assert_eq!(
        port.get_message(100, short).unwrap().status,
        NtStatus::TIMEOUT
    );
    bench.trace();
    let ear = start(&bench.machine);
    let listener = port.on(&ear);
    std::thread::scope(|scope| {
        let heard = scope.spawn(|| {
            let told = listener.get_message(100, None).unwrap();
            let asked = listener.get_message(100, None).unwrap();
            let wrong = listener.reply(asked.message_id + 7, NtStatus::SUCCESS, &[]);
            assert_eq!(wrong.unwrap(), NtStatus::FLT_NO_WAITER_FOR_REPLY);
            let answered = listener.reply(asked.message_id, NtStatus::SUCCESS, &[42, 1]);
            assert_eq!(answered.unwrap(), NtStatus::SUCCESS);
            let again = listener.get_message(4, None).unwrap();
            assert_eq!(again.status, NtStatus::BUFFER_TOO_SMALL);
            let again = listener.get_message(8, None).unwrap();
            let long = listener.reply(again.message_id, NtStatus::SUCCESS, &[43, 1, 2, 3, 4, 5]);
            assert_eq!(long.unwrap(), NtStatus::BUFFER_OVERFLOW);
            (told, asked)
        });
        // The first message is sent for a moment only.
        until_waits(&bench.machine, &ear);
        assert_eq!(port.send(&[1], 0).unwrap().0, NtStatus::SUCCESS);
        assert_eq!(port.send(&[2], 0).unwrap().0, NtStatus::SUCCESS);
        assert_eq!(port.send(&[2], 0).unwrap().0, NtStatus::BUFFER_OVERFLOW);
        let (told, asked) = heard.join().unwrap();
        assert_eq!(
            (told.bytes.as_slice(), told.reply_length),
            (&b"hello"[..], 0)
        );
        // Four bytes and their header.
        assert_eq!(
            (asked.bytes.as_slice(), asked.reply_length),
            (&b"question"[..], 20)
        );
    });
    assert_eq!(
        lines(&bench.trace()),
        [
            "replied 00000000 length=2 first=42",
            "replied 80000005 length=4 first=43"
        ]
    );
}

#[test]
fn who_waits_hears_of_the_end() {
    let bench = talking(&[]);
    let port = bench.thread.connect_port(PORT, &[]).unwrap().unwrap();
    let ear = start(&bench.machine);
    let listener = port.on(&ear);
    std::thread::scope(|scope| {
        let heard = scope.spawn(|| listener.get_message(100, None).unwrap().status);
        until_waits(&bench.machine, &ear);
        port.clone().close().unwrap();
        assert_eq!(heard.join().unwrap(), NtStatus::PORT_DISCONNECTED);
    });
    assert_eq!(port.send(&[0], 1).unwrap().0, NtStatus::INVALID_HANDLE);
    assert_eq!(
        bench.machine.unload_driver("talker").unwrap(),
        NtStatus::SUCCESS
    );
    assert!(bench.end().findings.is_empty());
}

#[test]
fn an_unload_ends_the_connections_there_are() {
    let bench = talking(&[]);
    let port = bench.thread.connect_port(PORT, &[]).unwrap().unwrap();
    bench.trace();
    assert_eq!(
        bench.machine.unload_driver("talker").unwrap(),
        NtStatus::SUCCESS
    );
    assert_eq!(
        lines(&bench.trace()),
        [
            "disconnect cookie=0000000000000055",
            "client is 0000000000000000"
        ]
    );
    assert_eq!(port.send(&[0], 1).unwrap().0, NtStatus::INVALID_HANDLE);
    assert_eq!(
        refused(&bench.thread, PORT, &[]),
        NtStatus::OBJECT_NAME_NOT_FOUND
    );
    assert!(bench.end().findings.is_empty());
}

#[test]
fn what_is_left_open_is_found() {
    for (defect, found) in [
        ("DEFECT=1", "server-port-open-at-unregister"),
        ("DEFECT=2", "fltmgr-leak"),
        ("DEFECT=3", "fltmgr-leak"),
    ] {
        let bench = talking(&[defect]);
        let _port = bench.thread.connect_port(PORT, &[]).unwrap().unwrap();
        assert_eq!(
            bench.machine.unload_driver("talker").unwrap(),
            NtStatus::SUCCESS
        );
        let report = bench.end();
        assert_eq!(rules(&report), [found], "{defect}: {:?}", report.findings);
    }
    let bench = talking(&["DEFECT=4"]);
    let port = bench.thread.connect_port(PORT, &[]).unwrap().unwrap();
    port.send(&[0], 8).unwrap();
    assert_eq!(rules(&bench.end()), ["port-output-length"]);
    let bench = talking(&["DEFECT=5"]);
    let port = bench.thread.connect_port(PORT, &[]).unwrap().unwrap();
    let (code, _, text) = bug_check(port.close());
    assert_eq!(code, 0x3B, "{text}");
    assert!(text.contains("FltCloseClientPort"), "{text}");
}

#[test]
fn a_port_needs_a_kernel_handle_and_its_name_case_where_it_asks_for_it() {
    let bench = Bench::new();
    let image = compile("talker", &["ATTRIBUTES=OBJ_CASE_INSENSITIVE"]);
    assert_eq!(bench.load(image), NtStatus::INVALID_PARAMETER);
    assert_eq!(rules(&bench.end()), ["port-attributes"]);
    let bench = talking(&["ATTRIBUTES=OBJ_KERNEL_HANDLE"]);
    assert_eq!(
        refused(&bench.thread, PORT, &[]),
        NtStatus::OBJECT_NAME_NOT_FOUND
    );
    assert!(
        bench
            .thread
            .connect_port("\\TalkerPort", &[])
            .unwrap()
            .is_ok()
    );
}

#[test]
fn each_call_can_fail_and_leaves_nothing() {
    let bench = Bench::new();
    let image = compile("talker", &[]);
    for call in [
        "FltBuildDefaultSecurityDescriptor",
        "FltCreateCommunicationPort",
        "FltStartFiltering",
    ] {
        let rule = FaultRule {
            call: call.to_owned(),
            status: NtStatus::INSUFFICIENT_RESOURCES,
            when: When::Nth(1),
        };
        bench.machine.set_faults(vec![rule]).unwrap();
        let loaded = bench.machine.load_driver(spec(image.clone(), "370000"));
        assert_eq!(
            loaded.unwrap().status,
            NtStatus::INSUFFICIENT_RESOURCES,
            "{call}"
        );
    }
    let report = bench.end();
    assert!(report.findings.is_empty(), "{:?}", report.findings);
}
