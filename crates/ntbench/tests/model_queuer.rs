//! A filter that keeps creates in a cancel-safe queue.

mod model;

use model::{Bench, compile, lines, open, start};
use ntbench::{NtStatus, Port};

/// A name that the filter keeps.
const KEPT: &str = "\\??\\UNC\\fs\\data\\Docs\\x";

fn queuing() -> (Bench, Port) {
    let bench = Bench::new();
    assert_eq!(bench.load(compile("queuer", &[])), NtStatus::SUCCESS);
    let thread = start(&bench.machine);
    let port = thread.connect_port("\\QueuerPort", &[]).unwrap().unwrap();
    bench.trace();
    (bench, port)
}

fn ask(port: &Port, what: &str) {
    let (status, _) = port.send(what.as_bytes(), 0).expect("the machine lives");
    assert_eq!(status, NtStatus::SUCCESS);
}

/// Waits until the filter has queued one.
fn queued(bench: &Bench) {
    let inserted = "inserted 00000000";
    let all = model::until(&bench.machine, inserted, |line| line == inserted);
    assert_eq!(all[0], "insert mine=1 context=0000000000000012 irql=2");
}

#[test]
fn what_is_queued_goes_on_or_is_cancelled_but_not_both() {
    let (bench, port) = queuing();
    let opener = start(&bench.machine);
    std::thread::scope(|scope| {
        for how in ["n", "c"] {
            let opened = scope.spawn(|| open(&opener, KEPT));
            queued(&bench);
            ask(&port, how);
            assert_eq!(opened.join().unwrap(), NtStatus::OBJECT_NAME_NOT_FOUND);
            assert_eq!(lines(&bench.trace()), [format!("{how} went 1")]);
        }
        let opened = scope.spawn(|| open(&opener, KEPT));
        queued(&bench);
        assert_eq!(
            bench.thread.cancel_io(&opener).unwrap().status,
            NtStatus::SUCCESS
        );
        assert_eq!(opened.join().unwrap(), NtStatus::CANCELLED);
        ask(&port, "n");
        ask(&port, "c");
        assert_eq!(
            lines(&bench.trace()),
            [
                "cancelled irql=0 context=0000000000000000",
                "n went 0",
                "c went 0"
            ]
        );
    });
    assert!(bench.end().findings.is_empty());
}

#[test]
fn a_disabled_queue_takes_nothing_and_a_teardown_empties_it() {
    let (bench, port) = queuing();
    let opener = start(&bench.machine);
    ask(&port, "d");
    assert_eq!(open(&opener, KEPT), NtStatus::OBJECT_NAME_NOT_FOUND);
    assert_eq!(lines(&bench.trace()), ["d went 9", "inserted c01c000e"]);
    ask(&port, "e");
    bench.trace();
    std::thread::scope(|scope| {
        let opened = scope.spawn(|| open(&opener, KEPT));
        queued(&bench);
        assert_eq!(
            bench.machine.unload_driver("queuer").unwrap(),
            NtStatus::SUCCESS
        );
        assert_eq!(opened.join().unwrap(), NtStatus::OBJECT_NAME_NOT_FOUND);
    });
    assert!(bench.end().findings.is_empty());
}
