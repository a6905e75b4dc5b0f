//! The communication port: the handshake, each request, the push, and what a client can do wrong.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod common;

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use common::port::{Client, context};
use common::{
    booted, config, directories, dword, end, load, open, records, text, thread, watermarks,
};
use ntbench::wire::StackKind;
use ntbench::{Machine, Thread};
use protocol::port::{
    Drain, DrainReply, Hello, MAXIMUM_CLIENTS, MAXIMUM_REQUEST_BYTES, Request, StatusReply,
    VERSION_MAJOR, VERSION_MINOR,
};
use protocol::{
    AncestorScope, Config, Marks, NtStatus, OnExpandFailure, Outcome, Policy, Reason, Record,
    Rejection, Setting, Watermarks,
};
use zerocopy::IntoBytes as _;

const ACCESS_DENIED: NtStatus = NtStatus(0xc000_0022);
const CONNECTION_COUNT_LIMIT: NtStatus = NtStatus(0xc000_0246);
const PORT_DISCONNECTED: NtStatus = NtStatus(0xc000_0037);

fn machine(
    parameters: &[(String, ntbench::wire::RegistryValue)],
) -> (Machine, tempfile::TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = directories(folder.path(), 3);
    (booted(config(folder.path()), parameters), folder, path)
}

fn drain(from: u64) -> Request<'static> {
    Request::Drain(Drain {
        from,
        limit: u32::MAX,
        reserved: 0,
    })
}

fn drained(client: &Client, from: u64, room: u32) -> (DrainReply, Vec<Record>) {
    let answer = client.ask_in(&drain(from), room);
    assert_eq!(answer.status(), NtStatus::SUCCESS);
    let reply = answer.reply();
    let (head, records) = reply.list::<DrainReply, Record>(|head| head.count).unwrap();
    (head, records.collect())
}

#[test]
fn a_client_of_this_version_is_let_in_and_others_are_told_why_not() {
    let (machine, _folder, _) = machine(&[]);
    let connect = |context: &[u8]| Client::try_connect(&machine, context).map(drop);
    assert_eq!(connect(Hello::CURRENT.as_bytes()), Ok(()));
    assert_eq!(connect(Hello::OLDEST.as_bytes()), Ok(()));
    for (major, minor) in [
        (VERSION_MAJOR + 1, 0),
        (0, 0),
        (VERSION_MAJOR, VERSION_MINOR + 1),
    ] {
        let hello = Hello {
            major,
            minor,
            ..Hello::CURRENT
        };
        assert_eq!(
            connect(hello.as_bytes()),
            Err(NtStatus::REVISION_MISMATCH),
            "{major}.{minor}"
        );
    }
    for context in [&[][..], b"HEADROOM", &[0; 16], &[0xff; 4000]] {
        assert_eq!(connect(context), Err(NtStatus::INVALID_PARAMETER));
    }
    end(machine);
}

#[test]
fn so_many_clients_and_no_more() {
    let (machine, _folder, _) = machine(&[]);
    let mut clients: Vec<Client> = (0..MAXIMUM_CLIENTS)
        .map(|_| Client::connect(&machine))
        .collect();
    assert_eq!(
        Client::try_connect(&machine, context()).map(drop),
        Err(CONNECTION_COUNT_LIMIT)
    );
    // One that is refused for its version takes no place, and one that leaves makes room.
    clients.pop().unwrap().disconnect();
    assert_eq!(
        Client::try_connect(&machine, &[]).map(drop),
        Err(NtStatus::INVALID_PARAMETER)
    );
    clients.push(Client::connect(&machine));
    for client in &clients {
        assert_eq!(client.ask(&Request::GetConfig).status(), NtStatus::SUCCESS);
    }
    for client in clients {
        client.disconnect();
    }
    end(machine);
}

#[test]
fn only_administrators_may_connect() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = config(folder.path());
    config.limited = vec!["notepad.exe".to_owned()];
    let machine = booted(config, &[]);
    assert_eq!(
        Client::connect_as(&machine, "notepad.exe", context()).map(drop),
        Err(ACCESS_DENIED)
    );
    assert!(Client::connect_as(&machine, "admin.exe", context()).is_ok());
    end(machine);
}

#[test]
fn the_settings_are_read_and_changed_and_hold_at_once() {
    let (machine, _folder, path) = machine(&[
        text("AncestorOpens", "Top"),
        dword("ReservationBytes", 0x7000),
        dword("RedZoneBytes", 0x123),
        dword("MinimumStackBytes", 0x456),
        text("OnExpandFailure", "Deny"),
        dword("MaxNestDepth", 9),
        dword("LogCapacity", 64),
    ]);
    let client = Client::connect(&machine);
    let answer = client.ask(&Request::GetConfig);
    let config: Config = answer.reply().body().unwrap();
    assert_eq!(
        config,
        Config {
            ancestor_opens: AncestorScope::TOP,
            reservation_bytes: 0x7000,
            red_zone_bytes: 0x123,
            minimum_stack_bytes: 0x456,
            on_expand_failure: OnExpandFailure::DENY,
            max_nest_depth: 9,
            log_capacity: 64,
            ..Config::DEFAULT
        },
        "what the registry says"
    );

    let opener = thread(&machine, StackKind::Ordinary);
    let opened = |expected: (Policy, Outcome)| {
        let before = records(&machine).0.head;
        assert_eq!(open(&opener, &path), NtStatus::SUCCESS);
        let (_, records) = records(&machine);
        let record = records
            .iter()
            .find(|record| record.sequence == before + 1)
            .unwrap();
        assert_eq!((record.policy, record.outcome), expected);
    };
    opened((Policy::ALWAYS, Outcome::SWITCHED));
    for (policy, red_zone, outcome) in [
        (Policy::NEVER, 0, Outcome::NOT_EXPANDED),
        (Policy::RED_ZONE, 0x100, Outcome::NOT_EXPANDED),
        (Policy::RED_ZONE, 0x6000, Outcome::SWITCHED),
        (Policy::ALWAYS, 0, Outcome::SWITCHED),
    ] {
        let new = Config {
            expand_policy: policy,
            red_zone_bytes: red_zone,
            ancestor_opens: AncestorScope::BELOW,
            ..config
        };
        assert_eq!(
            client.ask(&Request::SetConfig(&new)).status(),
            NtStatus::SUCCESS
        );
        let read: Config = client.ask(&Request::GetConfig).reply().body().unwrap();
        assert_eq!(read, new);
        opened((policy, outcome));
    }
    client.disconnect();
    end(machine);
}

#[test]
fn a_change_that_is_not_allowed_is_refused_whole() {
    let (machine, _folder, _) = machine(&[]);
    let client = Client::connect(&machine);
    let refused = |change: fn(&mut Config)| -> Rejection {
        let mut config = Config::DEFAULT;
        // A change that is allowed beside the one that is not.
        config.max_nest_depth = 5;
        change(&mut config);
        let answer = client.ask(&Request::SetConfig(&config));
        assert_eq!(answer.status(), NtStatus::INVALID_PARAMETER);
        answer.reply().body().unwrap()
    };
    let rejections = [
        refused(|config| config.reservation_bytes = 0x1_1801),
        refused(|config| config.expand_policy = Policy(7)),
        refused(|config| config.log_capacity = 2048),
        refused(|config| config.version = 2),
    ];
    assert_eq!(
        rejections.map(|rejection| (rejection.setting, rejection.reason, rejection.value)),
        [
            (Setting::RESERVATION_BYTES, Reason::TOO_LARGE, 0x1_1801),
            (Setting::EXPAND_POLICY, Reason::UNKNOWN, 7),
            (Setting::LOG_CAPACITY, Reason::FIXED, 2048),
            (Setting(0), Reason::UNKNOWN, 2),
        ]
    );
    let config: Config = client.ask(&Request::GetConfig).reply().body().unwrap();
    assert_eq!(config, Config::DEFAULT, "nothing of it was taken over");
    client.disconnect();
    end(machine);
}

/// In small bites, all records arrive as a debugger reads them; what was overwritten meanwhile is counted.
#[test]
fn records_are_drained_from_a_sequence_on() {
    let (machine, _folder, path) =
        machine(&[text("AncestorOpens", "Top"), dword("LogCapacity", 16)]);
    let client = Client::connect(&machine);
    let (head, none) = drained(&client, 0, 65536);
    assert_eq!((head.count, head.head, none.len()), (0, 0, 0));

    let opener = thread(&machine, StackKind::Ordinary);
    for _ in 0..3 {
        assert_eq!(open(&opener, &path), NtStatus::SUCCESS);
    }
    let (_, mut expected) = records(&machine);
    expected.sort_by_key(|record| record.sequence);
    assert_eq!(expected.len(), 12);
    let (mut from, mut got) = (0, Vec::new());
    let room = 8 + 40 + 5 * 496 + 17;
    loop {
        let (head, records) = drained(&client, from, room);
        assert!(records.len() <= 5, "what there is room for");
        assert_eq!((head.lost, head.head), (0, 12));
        if records.is_empty() {
            break;
        }
        assert_eq!(head.first, records[0].sequence);
        assert_eq!(head.next, records.last().unwrap().sequence + 1);
        from = head.next;
        got.extend(records);
    }
    assert_eq!(got, expected);

    // Twenty more: of those from 13 on, the first four are gone.
    for _ in 0..5 {
        assert_eq!(open(&opener, &path), NtStatus::SUCCESS);
    }
    let (head, records) = drained(&client, from, 65536);
    assert_eq!((head.lost, head.head, records.len()), (4, 32, 16));
    assert_eq!((records[0].sequence, head.next), (17, 33));
    let limited = client.ask(&Request::Drain(Drain {
        from: 20,
        limit: 2,
        reserved: 0,
    }));
    let (head, _) = limited
        .reply()
        .list::<DrainReply, Record>(|head| head.count)
        .unwrap();
    assert_eq!((head.count, head.next), (2, 22));
    client.disconnect();
    end(machine);
}

/// What the driver says of itself is what a debugger reads in its recorder.
#[test]
fn the_driver_tells_how_it_stands() {
    let (machine, _folder, path) =
        machine(&[text("AncestorOpens", "Top"), dword("LogCapacity", 16)]);
    let client = Client::connect(&machine);
    let other = Client::connect(&machine);
    let opener = thread(&machine, StackKind::Ordinary);
    for _ in 0..5 {
        assert_eq!(open(&opener, &path), NtStatus::SUCCESS);
    }
    let told: StatusReply = client.ask(&Request::Status).reply().body().unwrap();
    let (anchor, _) = records(&machine);
    assert_eq!((told.clients, told.head, told.overwritten), (2, 20, 4));
    assert_eq!(told.protocol, [VERSION_MAJOR, VERSION_MINOR]);
    let version = told.driver[..3].iter().map(u16::to_string);
    assert_eq!(
        version.collect::<Vec<_>>().join("."),
        env!("CARGO_PKG_VERSION")
    );
    assert_eq!(
        [
            told.capacity,
            told.qpc_frequency,
            told.head,
            told.written,
            told.overwritten,
            told.skipped,
            told.skipped_low_stack,
            told.voided,
            told.abandoned,
        ],
        [
            anchor.capacity,
            anchor.qpc_frequency,
            anchor.head,
            anchor.written,
            anchor.overwritten,
            anchor.skipped,
            anchor.skipped_low_stack,
            anchor.voided,
            anchor.abandoned,
        ]
    );
    other.disconnect();
    let told: StatusReply = client.ask(&Request::Status).reply().body().unwrap();
    assert_eq!(told.clients, 1);
    client.disconnect();
    end(machine);
}

#[test]
fn watermarks_are_read_and_reset() {
    let (machine, _folder, path) = machine(&[text("AncestorOpens", "Top")]);
    let client = Client::connect(&machine);
    let opener = thread(&machine, StackKind::Ordinary);
    assert_eq!(open(&opener, &path), NtStatus::SUCCESS);
    let read = || -> Box<Watermarks> {
        let answer = client.ask(&Request::Watermarks);
        assert_eq!(answer.status(), NtStatus::SUCCESS);
        Box::new(Watermarks::decode(answer.reply().body).unwrap())
    };
    let marks = read();
    assert_eq!(*marks, watermarks(&machine), "as a debugger reads them");
    assert_eq!((marks.system().creates, marks.generation), (4, 1));
    assert_eq!(
        client.ask(&Request::ResetWatermarks).status(),
        NtStatus::SUCCESS
    );
    let marks = read();
    assert_eq!((marks.system(), marks.generation), (Marks::default(), 2));
    assert_eq!(marks.images().count(), 0);
    assert_eq!(open(&opener, &path), NtStatus::SUCCESS);
    assert_eq!(read().system().creates, 4);
    assert_eq!(
        client.ask_in(&Request::Watermarks, 5000).status(),
        NtStatus::BUFFER_TOO_SMALL
    );
    client.disconnect();
    end(machine);
}

#[test]
fn a_client_that_waits_hears_of_new_records() {
    let (machine, _folder, path) = machine(&[]);
    let client = Client::connect(&machine);
    let [opener, ear] = [(); 2].map(|()| thread(&machine, StackKind::Ordinary));
    std::thread::scope(|scope| {
        let waiter = scope.spawn(|| client.wait_on(&ear, Duration::from_secs(25)));
        until_waits(&machine, &ear);
        let opened = open(&opener, &path);
        assert_eq!(opened, NtStatus::SUCCESS);
        let notification = waiter.join().unwrap().unwrap();
        let (head, records) = drained(&client, 0, 65536);
        assert!(notification.newest >= 1 && notification.newest <= head.head);
        assert_eq!(records.len() as u64, head.head);
    });
    // The client's own requests may have it told once more. Then nobody sends anything: the wait ends at its time.
    let told = (0..5).take_while(|_| client.wait(&machine, Duration::from_millis(600)).is_ok());
    assert!(told.count() < 5, "told again and again of nothing new");
    client.disconnect();
    end(machine);
}

fn until_waits(machine: &Machine, thread: &Thread) {
    let waits = machine.await_threads(Duration::from_secs(60), |threads| {
        let tid = thread.info().tid;
        threads.iter().any(|known| known.tid == tid && known.waits)
    });
    assert!(waits.unwrap(), "nobody waits");
}

#[test]
fn an_unload_ends_the_waiting_of_clients() {
    let (machine, _folder, _) = machine(&[]);
    let client = Client::connect(&machine);
    let ear = thread(&machine, StackKind::Ordinary);
    std::thread::scope(|scope| {
        let waiter = scope.spawn(|| client.wait_on(&ear, Duration::from_secs(25)));
        until_waits(&machine, &ear);
        unload(&machine);
        assert_eq!(waiter.join().unwrap().map(drop), Err(PORT_DISCONNECTED));
    });
    let report = machine.shutdown().unwrap();
    assert!(report.findings.is_empty(), "{:#?}", report.findings);
}

/// What a client hears whose filter has gone: the port, or its handle, is no longer one.
fn is_over(status: NtStatus) -> bool {
    [PORT_DISCONNECTED, NtStatus(0xc000_0008)].contains(&status)
}

fn unload(machine: &Machine) {
    let unloaded = machine
        .unload_driver(headroom_harness::backend::bench::SERVICE)
        .unwrap();
    assert!(unloaded.is_success(), "unload: {unloaded}");
}

/// Clients talk and wait, creates come, and the driver is unloaded in their midst.
#[test]
fn an_unload_amid_clients_that_talk() {
    let (machine, _folder, path) = machine(&[text("AncestorOpens", "Top")]);
    let [opened, served] = [const { AtomicU32::new(0) }; 2];
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for number in 0..2 {
            let (machine, served) = (&machine, &served);
            let client = Client::connect(machine);
            scope.spawn(move || {
                let mut answered = 0;
                let last = loop {
                    let request = if number == 0 {
                        drain(0)
                    } else {
                        Request::Watermarks
                    };
                    let sent = client.ask(&request).sent;
                    if !sent.is_success() {
                        break sent;
                    }
                    answered += 1;
                    served.fetch_add(u32::from(answered == 1), Ordering::Relaxed);
                };
                assert!(is_over(last), "{last}, {answered}");
                let waited = client.wait(machine, Duration::from_secs(1));
                assert!(waited.is_err_and(is_over));
            });
        }
        let waiting = Client::connect(&machine);
        let (driven, waits, told) = (&machine, waiting, &served);
        scope.spawn(move || {
            let mut newest = 0;
            let last = loop {
                match waits.wait(driven, Duration::from_secs(20)) {
                    // Two that are sent at once may arrive in either order.
                    Ok(notification) => {
                        told.fetch_add(u32::from(newest == 0), Ordering::Relaxed);
                        newest = notification.newest.max(newest);
                    }
                    Err(last) => break last,
                }
            };
            assert!(is_over(last), "{last}, {newest}");
        });
        let opener = thread(&machine, StackKind::Ordinary);
        let (path, opened, over) = (&path, &opened, &over);
        scope.spawn(move || {
            while !over.load(Ordering::Relaxed) {
                assert_eq!(open(&opener, path), NtStatus::SUCCESS);
                opened.fetch_add(1, Ordering::Relaxed);
            }
        });
        // Until each of the clients has had an answer: else it might only find out that the port is gone.
        let began = Instant::now();
        while (opened.load(Ordering::Relaxed) < 300 || served.load(Ordering::Relaxed) < 3)
            && began.elapsed() < Duration::from_secs(300)
        {
            std::thread::sleep(Duration::from_millis(1));
        }
        unload(&machine);
        over.store(true, Ordering::Relaxed);
    });
    assert_eq!(served.into_inner(), 3, "a client never had an answer");
    assert_eq!(
        Client::try_connect(&machine, context()).map(drop),
        Err(NtStatus(0xc000_0034)),
        "the port is gone"
    );
    assert_eq!(load(&machine, &[]), NtStatus::SUCCESS);
    Client::connect(&machine).disconnect();
    end(machine);
}

/// Clients close their connections while the driver is being unloaded: each is told of its end once, and nothing is left.
#[test]
fn an_unload_amid_clients_that_leave() {
    let (machine, _folder, _) = machine(&[]);
    for round in 0..40 {
        let clients: Vec<Client> = (0..MAXIMUM_CLIENTS)
            .map(|_| Client::connect(&machine))
            .collect();
        std::thread::scope(|scope| {
            for client in clients {
                scope.spawn(move || client.port.close().unwrap());
            }
            // Now before, now amid, now after them.
            std::thread::sleep(Duration::from_micros(50 * round));
            unload(&machine);
        });
        assert_eq!(load(&machine, &[]), NtStatus::SUCCESS);
    }
    end(machine);
}

#[test]
fn messages_that_are_none_are_answered_with_an_error() {
    let (machine, _folder, _) = machine(&[]);
    let client = Client::connect(&machine);
    let status = |message: &[u8]| client.send(message, 4096).status();
    assert_eq!(status(&[]), NtStatus::INFO_LENGTH_MISMATCH);
    assert_eq!(status(&[1, 0, 0, 0]), NtStatus::INFO_LENGTH_MISMATCH);
    assert_eq!(
        status(&[1, 0, 0, 0, 9, 0, 0, 0]),
        NtStatus::INFO_LENGTH_MISMATCH
    );
    assert_eq!(
        status(&[99, 0, 0, 0, 8, 0, 0, 0]),
        NtStatus::INVALID_DEVICE_REQUEST
    );
    assert_eq!(
        status(&[0; MAXIMUM_REQUEST_BYTES + 1]),
        NtStatus::INFO_LENGTH_MISMATCH
    );
    client.disconnect();
    end(machine);
}
