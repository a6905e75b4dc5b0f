//! A filter that is attached, detached, torn down, cancelled and stopped.

mod model;

use std::path::PathBuf;

use model::{Bench, compile, lines, open, rules, spec, start};
use ntbench::wire::DriverSpec;
use ntbench::{NtStatus, Port};

/// A name that the filter pends.
const PENDED: &str = "\\??\\UNC\\fs\\data\\Docs\\x";

fn moving(defines: &[&str]) -> (Bench, Port) {
    let bench = Bench::new();
    let port = load(&bench, compile("mover", defines), "mover", "370000");
    let trace = bench.trace();
    assert_eq!(lines(&trace), ["early c01c0008", "setup 1 14 13"]);
    (bench, port)
}

fn load(bench: &Bench, image: PathBuf, service: &str, altitude: &str) -> Port {
    let spec = DriverSpec {
        service: service.to_owned(),
        ..spec(image, altitude)
    };
    let loaded = bench.machine.load_driver(spec).unwrap();
    assert_eq!(loaded.status, NtStatus::SUCCESS);
    let port = format!("\\{service}port");
    let connected = start(&bench.machine).connect_port(&port, &[]).unwrap();
    connected.expect("a connection")
}

fn ask(port: &Port, what: &str) -> NtStatus {
    port.send(what.as_bytes(), 0).expect("the machine lives").0
}

/// Waits until a line is printed, and gives what came with it.
fn until(bench: &Bench, line: &str) -> Vec<String> {
    model::until(&bench.machine, line, |told| told == line)
}

#[test]
fn instances_come_and_go_on_request() {
    let (bench, port) = moving(&[]);
    assert_eq!(ask(&port, "a"), NtStatus::FLT_INSTANCE_NAME_COLLISION);
    assert_eq!(ask(&port, "A"), NtStatus::SUCCESS);
    assert_eq!(ask(&port, "A"), NtStatus::FLT_INSTANCE_NAME_COLLISION);
    assert_eq!(ask(&port, "i"), NtStatus::SUCCESS);
    assert_eq!(
        lines(&bench.trace()),
        [
            "setup 2 14 13",
            "instances c0000023 2",
            "information c0000023 100 c000000d",
            "mover @ 371000.5|371000.5|\\Device\\Mup|mover",
            "found 1",
            "information c0000023 78 c000000d",
            "Default|370000|\\Device\\Mup|mover",
            "found 1",
            "volumes c0000023 1",
            "wrong c01c0014",
        ]
    );
    assert_eq!(ask(&port, "k"), NtStatus::SUCCESS);
    assert_eq!(ask(&port, "D"), NtStatus::FLT_INSTANCE_NOT_FOUND);
    port.send(b"r\x01", 0).unwrap();
    assert_eq!(ask(&port, "d"), NtStatus::FLT_DO_NOT_DETACH);
    port.send(b"r\0", 0).unwrap();
    assert_eq!(ask(&port, "d"), NtStatus::SUCCESS);
    assert_eq!(ask(&port, "d"), NtStatus::FLT_INSTANCE_NOT_FOUND);
    assert_eq!(bench.open("\\Docs"), NtStatus::SUCCESS);
    assert_eq!(ask(&port, "a"), NtStatus::SUCCESS);
    assert_eq!(
        lines(&bench.trace()),
        [
            "query 0",
            "start 1",
            "end 1",
            "kept c01c000b",
            "query 0",
            "query 0",
            "start 1",
            "end 1",
            "setup 2 14 13"
        ]
    );
    assert_eq!(
        bench.machine.unload_driver("mover").unwrap(),
        NtStatus::SUCCESS
    );
    let report = bench.end();
    assert!(report.findings.is_empty(), "{:?}", report.findings);
}

#[test]
fn without_a_query_callback_nothing_is_detached_by_hand() {
    let (bench, port) = moving(&["DEFECT=4"]);
    assert_eq!(ask(&port, "d"), NtStatus::FLT_DO_NOT_DETACH);
    assert!(lines(&bench.trace()).is_empty());
}

#[test]
fn what_an_enumeration_gave_must_be_given_back() {
    let (bench, port) = moving(&["DEFECT=2"]);
    ask(&port, "i");
    assert_eq!(
        bench.machine.unload_driver("mover").unwrap(),
        NtStatus::SUCCESS
    );
    let report = bench.end();
    assert_eq!(rules(&report), ["fltmgr-leak", "fltmgr-leak"]);
    assert!(report.findings[1].text.contains("\\Device\\Mup"));
}

#[test]
fn a_stop_cannot_be_refused() {
    let (bench, port) = moving(&[]);
    port.send(b"r\x01", 0).unwrap();
    assert_eq!(
        bench.machine.unload_driver("mover").unwrap(),
        NtStatus::FLT_DO_NOT_DETACH
    );
    assert_eq!(
        bench.machine.stop_driver("mover").unwrap(),
        NtStatus::SUCCESS
    );
    assert_eq!(
        lines(&bench.trace()),
        ["unload 0", "unload 1", "start 4", "end 4"]
    );
    assert!(bench.end().findings.is_empty());

    let (bench, port) = moving(&["DEFECT=1"]);
    port.send(b"r\x01", 0).unwrap();
    assert_eq!(
        bench.machine.stop_driver("mover").unwrap(),
        NtStatus::SUCCESS
    );
    let report = bench.end();
    assert_eq!(rules(&report)[0], "mandatory-unload-refused");
    assert!(report.findings[1].text.contains("still registered"));
}

#[test]
fn a_cancel_is_told_once_to_who_pended() {
    let (bench, port) = moving(&[]);
    let opener = start(&bench.machine);
    assert_eq!(
        bench.thread.cancel_io(&opener).unwrap().status,
        NtStatus::NOT_FOUND
    );
    std::thread::scope(|scope| {
        let opened = scope.spawn(|| open(&opener, PENDED));
        until(&bench, "pending 00000000");
        assert_eq!(
            bench.thread.cancel_io(&opener).unwrap().status,
            NtStatus::SUCCESS
        );
        assert_eq!(opened.join().unwrap(), NtStatus::CANCELLED);
        assert_eq!(
            lines(&bench.trace()),
            ["cancelled 1 same=1 cleared c0000120"]
        );
        // Completed in time, and the cancel comes too late.
        let opened = scope.spawn(|| open(&opener, PENDED));
        until(&bench, "pending 00000000");
        assert_eq!(ask(&port, "c"), NtStatus::SUCCESS);
        assert_eq!(opened.join().unwrap(), NtStatus::OBJECT_NAME_NOT_FOUND);
        assert_eq!(lines(&bench.trace()), ["completing, cleared 00000000"]);
    });
    assert!(bench.end().findings.is_empty());
}

#[test]
fn a_cancel_routine_that_is_left_is_found() {
    let (bench, port) = moving(&["DEFECT=3"]);
    let opener = start(&bench.machine);
    std::thread::scope(|scope| {
        let opened = scope.spawn(|| open(&opener, PENDED));
        until(&bench, "pending 00000000");
        ask(&port, "c");
        opened.join().unwrap();
    });
    assert_eq!(rules(&bench.end()), ["cancel-routine-left"]);
}

#[test]
fn what_is_pended_goes_on_when_the_filter_goes() {
    let (bench, port) = moving(&[]);
    let opener = start(&bench.machine);
    std::thread::scope(|scope| {
        let opened = scope.spawn(|| open(&opener, PENDED));
        until(&bench, "pending 00000000");
        assert_eq!(
            bench.machine.unload_driver("mover").unwrap(),
            NtStatus::SUCCESS
        );
        assert_eq!(opened.join().unwrap(), NtStatus::OBJECT_NAME_NOT_FOUND);
    });
    assert_eq!(
        lines(&bench.trace()),
        [
            "unload 0",
            "start 2",
            "completing, cleared 00000000",
            "end 2"
        ]
    );
    assert_eq!(port.send(b"c", 0).unwrap().0, NtStatus::INVALID_HANDLE);
    assert!(bench.end().findings.is_empty());
}

#[test]
fn operations_below_are_drained_from_an_instance_that_goes() {
    let (bench, lower) = moving(&[]);
    let upper = load(&bench, compile("mover", &["UPPER=1"]), "upper", "380000");
    let opener = start(&bench.machine);
    std::thread::scope(|scope| {
        let opened = scope.spawn(|| open(&opener, PENDED));
        until(&bench, "pending 00000000");
        assert_eq!(ask(&upper, "d"), NtStatus::SUCCESS);
        assert_eq!(
            lines(&bench.trace()),
            [
                "query 0",
                "start 1",
                "post context=0000000000000099 flags=1",
                "end 1"
            ]
        );
        assert_eq!(ask(&lower, "c"), NtStatus::SUCCESS);
        assert_eq!(opened.join().unwrap(), NtStatus::OBJECT_NAME_NOT_FOUND);
    });
    assert_eq!(lines(&bench.trace()), ["completing, cleared 00000000"]);
    assert!(bench.end().findings.is_empty());
}

#[test]
fn instances_come_and_go_amid_creates() {
    use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
    let bench = Bench::new();
    let port = load(&bench, compile("mover", &["UPPER=1"]), "upper", "380000");
    let (over, begun) = (AtomicBool::new(false), AtomicU32::new(0));
    let openers: Vec<_> = (0..3).map(|_| start(&bench.machine)).collect();
    std::thread::scope(|scope| {
        for opener in &openers {
            scope.spawn(|| {
                // Few enough for the trace to hold them all.
                for round in 0..3000 {
                    if over.load(Ordering::Relaxed) {
                        break;
                    }
                    let opened = open(opener, "\\??\\UNC\\fs\\data\\Docs");
                    assert_eq!(opened, NtStatus::SUCCESS);
                    begun.fetch_add(u32::from(round == 0), Ordering::Relaxed);
                }
            });
        }
        while begun.load(Ordering::Relaxed) < 3 {
            std::thread::yield_now();
        }
        for round in 0..60 {
            assert_eq!(ask(&port, "d"), NtStatus::SUCCESS, "{round}");
            assert_eq!(ask(&port, "a"), NtStatus::SUCCESS, "{round}");
        }
        assert_eq!(
            bench.machine.stop_driver("upper").unwrap(),
            NtStatus::SUCCESS
        );
        over.store(true, Ordering::Relaxed);
    });
    let report = bench.end();
    assert!(report.findings.is_empty(), "{:?}", report.findings);
    assert_eq!(report.trace.dropped, 0);
    // Each create that the filter saw came back to it, before its instance was gone.
    let calls = model::callbacks(&report.trace);
    let count = |phases: &[&str]| {
        calls
            .iter()
            .filter(|call| phases.contains(&call.phase.as_str()) && !call.operation.is_empty())
            .count()
    };
    assert!(count(&["pre"]) > 0);
    assert_eq!(count(&["pre"]), count(&["post", "drain"]));
}
