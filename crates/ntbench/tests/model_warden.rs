//! A filter that keeps an oplock by the newer calls: who waits and who does not, what is broken, whose keys are looked at.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod model;
mod volume;
mod warden;

use model::until_waits;
use ntbench::NtStatus;
use volume::{READ, WRITE};
use warden::{
    BATCH, BREAK_H, CHECK, Mode, NOT_GRANTED, READ_HANDLE, READ_WRITE, TO_NONE, TO_NONE_EX, Warden,
    request, told,
};

#[test]
fn an_operation_waits_goes_on_or_is_cancelled_as_it_is_checked() {
    let warden = Warden::new();
    let (bench, breaker) = (&warden.bench, &warden.breaker);
    let first = warden.open(READ | WRITE, 0).unwrap();
    let second = warden.open(READ, 0).unwrap();
    std::thread::scope(|scope| {
        // Pended until the owner has answered.
        warden.mode(first, CHECK);
        let held = warden.hold(scope, first, READ_WRITE);
        warden.lines();
        let reads = scope.spawn(|| breaker.read(second, Some(0), 1).unwrap().status);
        assert_eq!(told(&held.join().unwrap()), (READ_WRITE, 1, 1));
        let line = "IRP_MJ_READ 2 00000000";
        let all = model::until(&bench.machine, line, |told| told == line);
        assert_eq!(all, ["prepare 000000000000000C", line]);
        assert!(!reads.is_finished());
        assert_eq!(
            request(&warden.holder, first, 0, 2).status,
            NtStatus::SUCCESS
        );
        assert_eq!(reads.join().unwrap(), NtStatus::SUCCESS);
        assert!(
            warden
                .lines()
                .contains(&"waited 00000000 000000000000000C".to_owned())
        );

        // Nobody waits who asked not to: the break is under way.
        warden.mode(first, Mode { flags: 1, ..CHECK });
        let held = warden.hold(scope, first, READ_WRITE);
        warden.lines();
        assert_eq!(warden.read(second), NtStatus::SUCCESS);
        assert_eq!(warden.lines(), ["IRP_MJ_READ 0 00000108"]);
        assert_eq!(told(&held.join().unwrap()), (READ_WRITE, 1, 1));
        assert_eq!(
            request(&warden.holder, first, 0, 2).status,
            NtStatus::SUCCESS
        );

        // In its own thread, where there is no routine; and cancelled there.
        warden.mode(first, Mode { pends: 0, ..CHECK });
        let held = warden.hold(scope, first, READ_WRITE);
        warden.lines();
        let reads = scope.spawn(|| breaker.read(second, Some(0), 1).unwrap().status);
        held.join().unwrap();
        until_waits(&bench.machine, breaker);
        while bench.thread.cancel_io(breaker).unwrap().status == NtStatus::NOT_FOUND {}
        assert_eq!(reads.join().unwrap(), NtStatus::CANCELLED);
        assert_eq!(warden.lines(), ["IRP_MJ_READ 4 c0000120"]);
        assert_eq!(
            request(&warden.holder, first, 0, 2).status,
            NtStatus::SUCCESS
        );
    });
    warden.end();
}

#[test]
fn a_filter_breaks_what_caches_handles_and_then_everything() {
    let warden = Warden::new();
    let breaker = &warden.breaker;
    let first = warden.open(READ | WRITE, 0).unwrap();
    let second = warden.open(READ, 0).unwrap();
    std::thread::scope(|scope| {
        // A read breaks no such oplock by itself; its owner's break it neither, unless keys are not looked at.
        warden.mode(first, Mode { count: 0, ..CHECK });
        let held = warden.hold(scope, first, READ_HANDLE);
        assert_eq!(warden.read(second), NtStatus::SUCCESS);
        warden.mode(first, BREAK_H);
        assert_eq!(warden.read(first), NtStatus::SUCCESS);
        assert!(!held.is_finished());
        warden.mode(
            first,
            Mode {
                flags: 9,
                ..BREAK_H
            },
        );
        assert_eq!(warden.read(first), NtStatus::SUCCESS);
        assert_eq!(told(&held.join().unwrap()), (READ_HANDLE, 1, 1));
        assert_eq!(warden.lines(), ["IRP_MJ_READ 0 00000108"]);
        assert_eq!(
            request(&warden.holder, first, 0, 2).status,
            NtStatus::SUCCESS
        );

        // Another's waits for it.
        warden.mode(
            first,
            Mode {
                count: 0,
                ..BREAK_H
            },
        );
        let held = warden.hold(scope, first, READ_HANDLE);
        let reads = scope.spawn(|| breaker.read(second, Some(0), 1).unwrap().status);
        assert_eq!(told(&held.join().unwrap()), (READ_HANDLE, 1, 1));
        until_waits(&warden.bench.machine, breaker);
        assert!(!reads.is_finished());
        assert_eq!(
            request(&warden.holder, first, 0, 2).status,
            NtStatus::SUCCESS
        );
        assert_eq!(reads.join().unwrap(), NtStatus::SUCCESS);

        // What caches no handle it leaves alone, and the other call does not: whoever's it is.
        warden.mode(first, BREAK_H);
        let held = warden.hold(scope, first, READ_WRITE);
        assert_eq!(warden.read(second), NtStatus::SUCCESS);
        assert!(!held.is_finished());
        warden.mode(first, TO_NONE);
        let reads = scope.spawn(|| breaker.read(first, Some(0), 1).unwrap().status);
        assert_eq!(told(&held.join().unwrap()), (READ_WRITE, 0, 1));
        until_waits(&warden.bench.machine, breaker);
        assert!(!reads.is_finished());
        assert_eq!(
            request(&warden.holder, first, 0, 2).status,
            NtStatus::SUCCESS
        );
        assert_eq!(reads.join().unwrap(), NtStatus::SUCCESS);
        warden.mode(
            first,
            Mode {
                flags: 1,
                ..TO_NONE_EX
            },
        );
        let held = warden.hold(scope, first, READ_WRITE);
        warden.lines();
        assert_eq!(warden.read(second), NtStatus::SUCCESS);
        assert_eq!(warden.lines(), ["IRP_MJ_READ 0 00000108"]);
        assert_eq!(told(&held.join().unwrap()), (READ_WRITE, 0, 1));
        assert_eq!(
            request(&warden.holder, first, 0, 2).status,
            NtStatus::SUCCESS
        );
    });
    warden.end();
}

#[test]
fn an_exclusive_oplock_is_of_one_handle_or_of_handles_with_one_key() {
    let warden = Warden::new();
    let thread = &warden.bench.thread;
    let first = warden.open(READ | WRITE, 0).unwrap();
    warden.mode(first, Mode { count: 2, ..CHECK });
    assert_eq!(request(thread, first, READ_WRITE, 1).status, NOT_GRANTED);
    // A shared one: what is counted is said to be a range that is locked.
    assert_eq!(request(thread, first, READ_HANDLE, 1).status, NOT_GRANTED);
    let alike = Mode {
        count: 2,
        alike: 1,
        ..CHECK
    };
    warden.mode(first, alike);
    let batch = thread.fs_control(first, BATCH, &[], 0).unwrap();
    assert_eq!(batch.status, NOT_GRANTED);
    let other = thread.fs_control(first, 0x9_0034, &[], 0).unwrap();
    assert_eq!(other.status, NtStatus::INVALID_PARAMETER);
    assert_eq!(warden.lines(), ["fsctrl 4 held=0 handles=0"; 2]);
    std::thread::scope(|scope| {
        let held = warden.hold(scope, first, READ_WRITE);
        warden.bench.close(first);
        assert_eq!(held.join().unwrap().status, NtStatus::OPLOCK_HANDLE_CLOSED);
    });
    warden.end();
}
