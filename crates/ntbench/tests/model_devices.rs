//! Devices of drivers' own: opened, asked, cancelled, stacked and deleted, and every rule of IRPs broken once.

mod model;

use model::{
    Bench, bug_check, callbacks, compile, compile_ddk, lines, rules, start, until, until_traced,
};
use ntbench::wire::{CallbackEvent, CreateFile};
use ntbench::{NtStatus, Thread};

const BUFFERED: u32 = code(1, 0);
const IN_DIRECT: u32 = code(2, 1);
const OUT_DIRECT: u32 = code(3, 2);
const NEITHER: u32 = code(4, 3);
const WAIT: u32 = code(5, 0);
const RELEASE: u32 = code(6, 0);
const FAST: u32 = code(7, 0);
const RESEND: u32 = code(8, 0);
const DEFECTIVE: u32 = code(9, 0);
const DELETE_DEVICE: u32 = code(10, 0);
const VOLUME: u32 = code(11, 0);

/// `CTL_CODE(FILE_DEVICE_UNKNOWN, 0x800 + n, method, FILE_ANY_ACCESS)`.
const fn code(n: u32, method: u32) -> u32 {
    0x22 << 16 | (0x800 + n) << 2 | method
}

fn loaded(defines: &[&str]) -> Bench {
    let bench = Bench::new();
    assert_eq!(
        bench.load(compile_ddk("control", defines)),
        NtStatus::SUCCESS
    );
    bench
}

/// Opens a name for reading and writing; 0: it failed with the status.
fn open(thread: &Thread, name: &str) -> (NtStatus, u64) {
    let create = CreateFile {
        name: name.to_owned(),
        access: 0x0012_0003,
        ..CreateFile::default()
    };
    let done = thread.create_file(&create).expect("the machine lives");
    (done.status, done.handle)
}

fn opened(thread: &Thread, name: &str) -> u64 {
    let (status, handle) = open(thread, name);
    assert_eq!(status, NtStatus::SUCCESS, "{name}");
    handle
}

#[test]
fn a_device_is_opened_and_asked_in_every_way() {
    let bench = loaded(&[]);
    assert_eq!(
        lines(&bench.trace()),
        [
            "invalid=1",
            "created 00000000 flags=c0",
            "linked 00000000 again c0000035",
            "attached 1 size=2 list=1",
        ]
    );
    let thread = &bench.thread;
    let handle = opened(thread, "\\??\\Control\\some\\name");
    let ask = |code, input: &[u8], output| {
        let done = thread.device_control(handle, code, input, output).unwrap();
        (done.status, done.information, done.data)
    };
    assert_eq!(
        ask(BUFFERED, b"hello", 16),
        (NtStatus::SUCCESS, 5, b"HELLO".to_vec())
    );
    assert_eq!(
        ask(OUT_DIRECT, b"xy", 5),
        (NtStatus::SUCCESS, 5, b"xyxyx".to_vec())
    );
    let (status, information, _) = ask(IN_DIRECT, b"in", 4);
    assert_eq!((status, information), (NtStatus::SUCCESS, 0));
    assert_eq!(
        ask(NEITHER, b"last", 4),
        (NtStatus::SUCCESS, 1, b"t".to_vec())
    );
    assert_eq!(ask(FAST, b"1", 4), (NtStatus::SUCCESS, 1, b"2".to_vec()));
    assert_eq!(ask(FAST, b"", 4), (NtStatus::SUCCESS, 2, vec![0, 0]));
    assert_eq!(ask(code(77, 0), b"", 0).0, NtStatus::INVALID_DEVICE_REQUEST);
    for (how, line) in [
        (b"d", "write 1 at 0 system=1 mdl=0 user=1"),
        (b"n", "write 1 at 0 system=0 mdl=1 user=1"),
        (b"b", "write 1 at 0 system=0 mdl=0 user=1"),
    ] {
        bench.trace();
        assert_eq!(
            thread.write(handle, Some(0), how).unwrap().status,
            NtStatus::SUCCESS
        );
        let trace = bench.trace();
        assert!(lines(&trace).contains(&line), "{:?}", lines(&trace));
    }
    let read = thread.read(handle, Some(3), 4).unwrap();
    assert_eq!(
        (read.status, read.data),
        (NtStatus::SUCCESS, b"abcd".to_vec())
    );
    assert_eq!(thread.close(handle).unwrap().status, NtStatus::SUCCESS);
    assert_eq!(
        bench.machine.unload_driver("control").unwrap(),
        NtStatus::SUCCESS
    );
    assert_eq!(
        open(thread, "\\??\\Control").0,
        NtStatus::OBJECT_NAME_NOT_FOUND
    );
    let report = bench.end();
    assert!(report.findings.is_empty(), "{:#?}", report.findings);
}

/// Waits until a dispatch routine has returned `STATUS_PENDING`.
fn pended(bench: &Bench) {
    until_traced(&bench.machine, "IRP that is pended", |trace| {
        let pended = |event: &&CallbackEvent| event.phase == "irp" && event.returned == Some(0x103);
        callbacks(trace).iter().any(pended)
    });
}

#[test]
fn what_waits_is_released_or_cancelled_or_goes_with_its_handle() {
    let bench = loaded(&[]);
    let waiter = start(&bench.machine);
    let handle = opened(&waiter, "\\??\\Control");
    std::thread::scope(|scope| {
        let wait = || {
            let waits = scope.spawn(|| waiter.device_control(handle, WAIT, b"", 0).unwrap().status);
            pended(&bench);
            waits
        };
        let waits = wait();
        let released = bench
            .thread
            .device_control(handle, RELEASE, b"", 0)
            .unwrap();
        assert_eq!(released.status, NtStatus::SUCCESS);
        assert_eq!(waits.join().unwrap(), NtStatus::SUCCESS);
        // Both devices' routines saw that it had been pending.
        let trace = bench.trace();
        assert!(lines(&trace).contains(&"passed up device=1 pending=1"));

        let waits = wait();
        assert_eq!(
            bench.thread.cancel_io(&waiter).unwrap().status,
            NtStatus::SUCCESS
        );
        assert_eq!(waits.join().unwrap(), NtStatus::CANCELLED);
        let trace = bench.trace();
        assert!(lines(&trace).contains(&"cancelled irql=0"));

        let waits = wait();
        assert_eq!(
            bench.thread.close(handle).unwrap().status,
            NtStatus::SUCCESS
        );
        assert_eq!(waits.join().unwrap(), NtStatus::CANCELLED);
        let trace = bench.trace();
        let end: Vec<_> = lines(&trace)
            .into_iter()
            .filter(|line| line.starts_with('c'))
            .collect();
        assert_eq!(end, ["cleanup", "close"]);
    });
    let report = bench.end();
    assert!(report.findings.is_empty(), "{:#?}", report.findings);
}

#[test]
fn a_driver_sends_requests_of_its_own() {
    let bench = loaded(&[]);
    let handle = opened(&bench.thread, "\\Device\\Control");
    bench.trace();
    let done = bench.thread.device_control(handle, RESEND, b"", 0).unwrap();
    assert_eq!(done.status, NtStatus::SUCCESS);
    let trace = bench.trace();
    assert_eq!(
        lines(&trace),
        [
            "create '' access=1 options=1000040 mode=0 device=0 opens=1",
            "cleanup",
            "passed up device=1 pending=0",
            "built 00000000 00000000 6 'RESENT'",
            "read 4 at 7 system=1 mdl=0 user=1",
            "passed up device=1 pending=0",
            "read 00000000 4 'abcdNT'",
            "passed up device=1 pending=0",
            "returned device=1 status=00000000",
            "flush 00000000",
            "reused c00000bb at 3 of 2",
            "close",
            "passed up device=1 pending=0",
        ]
    );
    bench.thread.close(handle).unwrap();
    let report = bench.end();
    assert!(report.findings.is_empty(), "{:#?}", report.findings);
}

#[test]
fn what_drivers_commonly_import_answers_as_documented() {
    let bench = Bench::new();
    assert_eq!(bench.load(compile_ddk("common", &[])), NtStatus::SUCCESS);
    assert_eq!(lines(&bench.trace()), ["34 checks"]);
    assert_eq!(
        bench.machine.unload_driver("common").unwrap(),
        NtStatus::SUCCESS
    );
    let report = bench.end();
    assert!(report.findings.is_empty(), "{:#?}", report.findings);

    let bench = Bench::new();
    let image = compile_ddk("common", &["DEFECT=2"]);
    assert_eq!(bench.load(image), NtStatus::SUCCESS);
    bench.machine.unload_driver("common").unwrap();
    let report = bench.end();
    assert!(rules(&report).contains(&"work-item-leak"));

    for (defect, code) in [(1, 0xE4), (3, 0x10)] {
        let bench = Bench::new();
        let image = compile_ddk("common", &[&format!("DEFECT={defect}")]);
        let (found, _, text) = bug_check(bench.machine.load_driver(model::spec(image, "370000")));
        assert_eq!(found, code, "defect {defect}: {text}");
    }
}

#[test]
fn an_irp_for_a_volume_goes_to_its_filters() {
    let bench = loaded(&[]);
    assert_eq!(bench.load(compile("fast", &[])), NtStatus::SUCCESS);
    let handle = opened(&bench.thread, "\\??\\Control");
    bench.trace();
    let done = bench.thread.device_control(handle, VOLUME, b"", 0).unwrap();
    assert_eq!(done.status, NtStatus::SUCCESS);
    let trace = bench.trace();
    assert_eq!(
        lines(&trace),
        [
            "pre IRP_MJ_READ fast=0 system=0 mdl=0 length=3",
            "post IRP_MJ_READ status=00000000",
            "volume 00000000 3 'ext' set=1",
            "disk c0000010 c0000010",
            "passed up device=1 pending=0",
        ]
    );
    bench.thread.close(handle).unwrap();
    for driver in ["fast", "control"] {
        assert_eq!(
            bench.machine.unload_driver(driver).unwrap(),
            NtStatus::SUCCESS
        );
    }
    let report = bench.end();
    assert!(report.findings.is_empty(), "{:#?}", report.findings);
}

#[test]
fn a_deleted_device_stays_until_it_is_closed() {
    let bench = loaded(&[]);
    let handle = opened(&bench.thread, "\\Device\\Control");
    assert_eq!(
        open(&bench.thread, "\\??\\Control\\!").0,
        NtStatus::ACCESS_DENIED
    );
    let done = bench.thread.device_control(handle, DELETE_DEVICE, b"", 0);
    assert_eq!(done.unwrap().status, NtStatus::SUCCESS);
    assert_eq!(
        open(&bench.thread, "\\Device\\Control").0,
        NtStatus::NO_SUCH_DEVICE
    );
    assert_eq!(
        open(&bench.thread, "\\??\\Control").0,
        NtStatus::OBJECT_NAME_NOT_FOUND
    );
    let asked = bench
        .thread
        .device_control(handle, BUFFERED, b"x", 1)
        .unwrap();
    assert_eq!(asked.data, b"X");
    bench.thread.close(handle).unwrap();
    assert_eq!(
        open(&bench.thread, "\\Device\\Control").0,
        NtStatus::OBJECT_NAME_NOT_FOUND
    );
    assert_eq!(
        bench.machine.unload_driver("control").unwrap(),
        NtStatus::SUCCESS
    );
    let report = bench.end();
    assert!(report.findings.is_empty(), "{:#?}", report.findings);
}

#[test]
fn a_driver_whose_device_is_open_is_unloaded_when_it_is_closed() {
    let bench = loaded(&[]);
    let handle = opened(&bench.thread, "\\??\\Control");
    assert_eq!(
        bench.machine.unload_driver("control").unwrap(),
        NtStatus::PENDING
    );
    assert_eq!(
        open(&bench.thread, "\\??\\Control").0,
        NtStatus::NO_SUCH_DEVICE
    );
    bench.trace();
    bench.thread.close(handle).unwrap();
    let seen = until(&bench.machine, "unload", |line| line.starts_with("unload"));
    assert_eq!(seen, ["cleanup", "close", "unload devices=1"]);
    while bench.load(compile_ddk("control", &[])) != NtStatus::SUCCESS {
        std::thread::yield_now();
    }
    let report = bench.end();
    assert!(report.findings.is_empty(), "{:#?}", report.findings);
}

#[test]
fn mistakes_with_irps_and_devices_are_found() {
    for (defect, code, rule) in [
        (1, DEFECTIVE, "irp-completed-pending"),
        (2, DEFECTIVE, "irp-pending-not-marked"),
        (3, DEFECTIVE, "irp-marked-not-pending"),
        (4, DEFECTIVE, "irp-status-mismatch"),
        (5, DEFECTIVE, "irp-not-completed"),
        (9, DEFECTIVE, "irp-cancel-routine-set"),
        (12, DEFECTIVE, "irp-leak"),
        (13, DEFECTIVE, "irp-not-taken-back"),
        (15, WAIT, "irp-pending-not-marked"),
        (16, BUFFERED, "symbolic-link-leak"),
        (17, BUFFERED, "device-still-attached"),
    ] {
        let bench = loaded(&[&format!("DEFECT={defect}")]);
        let waiter = start(&bench.machine);
        let handle = opened(&waiter, "\\??\\Control");
        std::thread::scope(|scope| {
            let asked = scope.spawn(|| waiter.device_control(handle, code, b"x", 1).unwrap());
            if code == WAIT {
                pended(&bench);
                let released = bench.thread.device_control(handle, RELEASE, b"", 0);
                assert_eq!(released.unwrap().status, NtStatus::SUCCESS);
            }
            asked.join().unwrap();
        });
        waiter.close(handle).unwrap();
        assert_eq!(
            bench.machine.unload_driver("control").unwrap(),
            NtStatus::SUCCESS
        );
        let report = bench.end();
        let found = rules(&report);
        assert!(found.contains(&rule), "defect {defect}: {found:?}");
        // Two devices see one mistake with the pending mark.
        assert!(found.len() <= 3, "defect {defect}: {:#?}", report.findings);
    }
}

#[test]
fn what_the_io_manager_does_not_survive_ends_the_machine() {
    for (defect, code, parameter) in [
        (6, 0x44, None),
        (7, 0xD5, None),
        (8, 0x35, None),
        (10, 0xC8, None),
        (11, 0xC9, Some(2)),
        (14, 0xC9, Some(4)),
    ] {
        let bench = loaded(&[&format!("DEFECT={defect}")]);
        let handle = opened(&bench.thread, "\\??\\Control");
        let (found, first, text) =
            bug_check(bench.thread.device_control(handle, DEFECTIVE, b"", 0));
        assert_eq!(found, code, "defect {defect}: {text}");
        if let Some(parameter) = parameter {
            assert_eq!(first, parameter, "defect {defect}: {text}");
        }
    }
}
