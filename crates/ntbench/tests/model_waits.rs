//! Byte-range locks that have to wait: in the file system, where filters see them pended and can lose them to a cancel, and in a
//! filter that keeps locks of its own.

mod model;
mod volume;

use model::{compile, lines, rules, spec, start};
use ntbench::wire::FileCall;
use ntbench::{NtStatus, Thread};
use volume::{READ, VolumeBench, WRITE};

const NOT_GRANTED: NtStatus = NtStatus(0xC000_0055_u32.cast_signed());

fn with(define: &str) -> (VolumeBench, Thread) {
    let bench = VolumeBench::new();
    let image = compile("locker", &[define]);
    let loaded = bench.machine.load_driver(spec(image, "370000")).unwrap();
    assert_eq!(loaded.status, NtStatus::SUCCESS);
    let other = start(&bench.machine);
    (bench, other)
}

fn lock(thread: &Thread, file: u64, offset: i64, wait: bool) -> NtStatus {
    let call = FileCall::Lock {
        offset,
        length: 10,
        key: 7,
        exclusive: true,
        fail_immediately: !wait,
    };
    thread.file(file, call).expect("the machine lives").status
}

fn unlock(thread: &Thread, file: u64) -> NtStatus {
    let call = FileCall::Unlock {
        offset: 0,
        length: 10,
        key: 7,
    };
    thread.file(file, call).expect("the machine lives").status
}

/// Waits until a line is printed.
fn until(bench: &VolumeBench, line: &str) {
    model::until(&bench.machine, line, |told| told == line);
}

#[test]
fn a_lock_waits_in_the_file_system_and_ends_in_who_unlocks_or_cancels() {
    let (bench, other) = with("OWN=0");
    let thread = &bench.thread;
    let first = bench.open("\\a.txt", READ | WRITE);
    let second = bench.open("\\a.txt", READ | WRITE);
    assert_eq!(lock(thread, first, 0, true), NtStatus::SUCCESS);
    assert_eq!(lock(thread, second, 0, false), NOT_GRANTED);
    bench.machine.trace().unwrap();
    std::thread::scope(|scope| {
        let wait = || {
            let waits = scope.spawn(|| lock(&other, second, 0, true));
            until(&bench, "dispatched 00000103");
            waits
        };
        let waits = wait();
        assert_eq!(thread.cancel_io(&other).unwrap().status, NtStatus::SUCCESS);
        assert_eq!(waits.join().unwrap(), NtStatus::CANCELLED);
        let cancelled = "lock 1 c0000120 home=0";
        assert_eq!(lines(&bench.machine.trace().unwrap()), [cancelled]);

        let waits = wait();
        assert_eq!(unlock(thread, first), NtStatus::SUCCESS);
        assert_eq!(waits.join().unwrap(), NtStatus::SUCCESS);
        assert_eq!(
            lines(&bench.machine.trace().unwrap()),
            [
                "lock 1 00000000 home=0",
                "dispatched 00000000",
                "lock 2 00000000 home=1"
            ]
        );
    });
    // The handle that waits is closed; so is the one that keeps it waiting.
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| lock(&other, first, 0, true));
        until(&bench, "dispatched 00000103");
        bench.close(first);
        assert_eq!(waits.join().unwrap(), NtStatus::CANCELLED);
        let third = bench.open("\\a.txt", READ | WRITE);
        let other = &other;
        let waits = scope.spawn(move || lock(other, third, 0, true));
        until(&bench, "dispatched 00000103");
        bench.close(second);
        assert_eq!(waits.join().unwrap(), NtStatus::SUCCESS);
    });
    assert!(bench.machine.unload_driver("locker").unwrap().is_success());
    assert_eq!(rules(&bench.machine.shutdown().unwrap()), [""; 0]);
}

#[test]
fn a_filters_own_locks_wait_pended_and_tell_its_routines() {
    let (bench, other) = with("OWN=1");
    let thread = &bench.thread;
    let first = bench.open("\\a.txt", READ | WRITE);
    let second = bench.open("\\a.txt", READ | WRITE);
    let seen = || -> Vec<String> {
        let trace = bench.machine.trace().unwrap();
        lines(&trace).into_iter().map(str::to_owned).collect()
    };
    seen();
    assert_eq!(lock(thread, first, 0, true), NtStatus::SUCCESS);
    let granted = "completed 1 00000000 context=000000000000010C";
    assert_eq!(seen(), [granted, "processed 4"]);
    assert_eq!(lock(thread, second, 0, false), NOT_GRANTED);
    assert_eq!(
        seen(),
        [
            "completed 1 c0000055 context=000000000000010C",
            "processed 4"
        ]
    );
    // What the completion routine refuses is not locked.
    for file in [first, second] {
        assert_eq!(lock(thread, file, 100, false), NtStatus::ACCESS_DENIED);
    }
    seen();
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| lock(&other, second, 0, true));
        until(&bench, "processed 2");
        assert_eq!(thread.cancel_io(&other).unwrap().status, NtStatus::SUCCESS);
        assert_eq!(waits.join().unwrap(), NtStatus::CANCELLED);
        assert_eq!(seen(), ["completed 1 c0000120 context=000000000000010C"]);

        let waits = scope.spawn(|| lock(&other, second, 0, true));
        until(&bench, "processed 2");
        assert_eq!(unlock(thread, first), NtStatus::SUCCESS);
        assert_eq!(waits.join().unwrap(), NtStatus::SUCCESS);
        assert_eq!(
            seen(),
            [
                granted,
                "unlocked 0-9 exclusive=1 key=7 context=000000000000010C",
                "completed 2 00000000 context=000000000000010C",
                "processed 4",
            ]
        );
    });
    assert!(bench.machine.unload_driver("locker").unwrap().is_success());
    assert_eq!(rules(&bench.machine.shutdown().unwrap()), [""; 0]);
}
