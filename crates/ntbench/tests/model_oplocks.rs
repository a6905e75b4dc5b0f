//! Oplocks: granted, broken and acknowledged by the file system, where filters see who waits; and kept by a filter itself.

mod model;
mod volume;

use model::{compile, lines, rules, spec, start, until_waits};
use ntbench::wire::{CreateFile, Transferred};
use ntbench::{NtStatus, Thread};
use volume::{READ, SYNCHRONIZE, VolumeBench, WRITE};

const LEVEL_1: u32 = 0x9_0000;
const LEVEL_2: u32 = 0x9_0004;
const BATCH: u32 = 0x9_0008;
const REQUEST: u32 = 0x9_0240;
const ACKNOWLEDGE: u32 = 0x9_000C;
const CLOSE_PENDING: u32 = 0x9_0010;
const NOTIFY: u32 = 0x9_0014;
const TO_LEVEL_2: u64 = 7;
const TO_NONE: u64 = 8;
const NOT_GRANTED: NtStatus = NtStatus(0xC000_00E2_u32.cast_signed());
const PROTOCOL: NtStatus = NtStatus(0xC000_00E3_u32.cast_signed());
/// `FILE_COMPLETE_IF_OPLOCKED`.
const IF_OPLOCKED: u32 = 0x100;
/// `FILE_OPEN_REQUIRING_OPLOCK`, `FILE_RESERVE_OPFILTER`.
const REQUIRING: u32 = 0x1_0000;
const RESERVE: u32 = 0x10_0000;
const CANNOT_BREAK: NtStatus = NtStatus(0xC000_0909_u32.cast_signed());

/// `a.txt`, opened for asynchronous I/O.
fn create(access: u32, disposition: u32, options: u32, share: u32) -> CreateFile {
    CreateFile {
        name: "\\??\\C:\\a.txt".to_owned(),
        access: access | SYNCHRONIZE,
        disposition,
        options,
        share,
        ..CreateFile::default()
    }
}

fn opened(thread: &Thread, access: u32) -> u64 {
    let done = thread.create_file(&create(access, 1, 0, 7)).unwrap();
    assert_eq!(done.status, NtStatus::SUCCESS);
    done.handle
}

fn control(thread: &Thread, file: u64, code: u32) -> Transferred {
    thread
        .fs_control(file, code, &[], 0)
        .expect("the machine lives")
}

/// `FSCTL_REQUEST_OPLOCK`; `flags`: 1 asks, 2 acknowledges.
fn caches(thread: &Thread, file: u64, level: u32, flags: u32) -> Transferred {
    let words = [1 | 12 << 16, level, flags];
    let input: Vec<u8> = words.into_iter().flat_map(u32::to_le_bytes).collect();
    thread
        .fs_control(file, REQUEST, &input, 24)
        .expect("the machine lives")
}

struct Keeper {
    bench: VolumeBench,
    /// Has the oplock.
    holder: Thread,
    /// Gets in its way.
    breaker: Thread,
}

impl Keeper {
    fn new(define: &str) -> Self {
        let bench = VolumeBench::new();
        let image = compile("keeper", &[define]);
        let loaded = bench.machine.load_driver(spec(image, "370000")).unwrap();
        assert_eq!(loaded.status, NtStatus::SUCCESS);
        let (holder, breaker) = (start(&bench.machine), start(&bench.machine));
        Self {
            bench,
            holder,
            breaker,
        }
    }

    /// Waits until a line is printed; all that came.
    fn until(&self, line: &str) -> Vec<String> {
        model::until(&self.bench.machine, line, |told| told == line)
    }

    /// Waits until a thread's call is pended.
    fn waits(&self, thread: &Thread) {
        until_waits(&self.bench.machine, thread);
    }

    fn lines(&self) -> Vec<String> {
        let trace = self.bench.machine.trace().unwrap();
        lines(&trace).into_iter().map(str::to_owned).collect()
    }

    fn end(self) {
        let unloaded = self.bench.machine.unload_driver("keeper").unwrap();
        assert!(unloaded.is_success());
        assert_eq!(rules(&self.bench.machine.shutdown().unwrap()), [""; 0]);
    }
}

#[test]
fn a_create_waits_until_the_owner_has_acknowledged_the_break() {
    let keeper = Keeper::new("OWN=0");
    let thread = &keeper.bench.thread;
    let file = opened(thread, READ | WRITE);
    std::thread::scope(|scope| {
        let held = scope.spawn(|| control(&keeper.holder, file, BATCH));
        keeper.until("pre control 90008");
        keeper.waits(&keeper.holder);
        let second = scope.spawn(|| keeper.breaker.create_file(&create(READ, 1, 0, 7)).unwrap());
        // The request ends in the thread of whoever breaks it; the create waits.
        let broken = held.join().unwrap();
        assert_eq!(
            (broken.status, broken.information),
            (NtStatus::SUCCESS, TO_LEVEL_2)
        );
        keeper.waits(&keeper.breaker);
        assert_eq!(
            keeper.lines(),
            ["post IRP_MJ_FILE_SYSTEM_CONTROL 00000000 7"]
        );
        // The acknowledgment is the request for what is left, and a write ends that.
        let shared = scope.spawn(|| control(&keeper.holder, file, ACKNOWLEDGE));
        let second = second.join().unwrap();
        assert_eq!(second.status, NtStatus::SUCCESS);
        keeper.waits(&keeper.holder);
        assert_eq!(
            thread.write(file, Some(0), b"x").unwrap().status,
            NtStatus::SUCCESS
        );
        assert_eq!(shared.join().unwrap().information, TO_NONE);
        assert_eq!(control(thread, file, ACKNOWLEDGE).status, PROTOCOL);
        // Not alone any more, and then for a file opened for synchronous I/O.
        assert_eq!(control(thread, file, LEVEL_1).status, NOT_GRANTED);
        keeper.bench.close(second.handle);
    });
    let synchronous = keeper.bench.open("\\a.txt", READ);
    assert_eq!(control(thread, synchronous, LEVEL_2).status, NOT_GRANTED);
    let folder = create(READ, 1, 1, 7);
    let folder = thread.create_file(&CreateFile {
        name: "\\??\\C:\\Folder".to_owned(),
        ..folder
    });
    let folder = folder.unwrap().handle;
    assert_eq!(
        control(thread, folder, LEVEL_1).status,
        NtStatus::INVALID_PARAMETER
    );
    keeper.end();
}

#[test]
fn who_does_not_wait_is_told_that_a_break_is_under_way() {
    let keeper = Keeper::new("OWN=0");
    let thread = &keeper.bench.thread;
    let file = opened(thread, READ | WRITE);
    std::thread::scope(|scope| {
        let held = scope.spawn(|| control(&keeper.holder, file, BATCH));
        keeper.until("pre control 90008");
        keeper.waits(&keeper.holder);
        // For attributes alone it is not broken at all.
        let attributes = thread.create_file(&create(0x80, 1, 0, 7)).unwrap();
        assert_eq!(attributes.status, NtStatus::SUCCESS);
        let second = thread
            .create_file(&create(READ, 1, IF_OPLOCKED, 7))
            .unwrap();
        assert_eq!(second.status, NtStatus::OPLOCK_BREAK_IN_PROGRESS);
        assert_eq!(held.join().unwrap().information, TO_LEVEL_2);
        let conflict = thread
            .create_file(&create(READ, 1, IF_OPLOCKED, 0))
            .unwrap();
        assert_eq!(
            (conflict.status, conflict.information),
            (NtStatus::SHARING_VIOLATION, 9)
        );
        // Others wait: until the handle is closed, if the owner says so; one is cancelled before.
        let third = scope.spawn(|| keeper.breaker.create_file(&create(READ, 1, 0, 7)).unwrap());
        let told = {
            let handle = second.handle;
            let holder = &keeper.holder;
            scope.spawn(move || control(holder, handle, NOTIFY))
        };
        keeper.waits(&keeper.breaker);
        keeper.waits(&keeper.holder);
        while thread.cancel_io(&keeper.breaker).unwrap().status == NtStatus::NOT_FOUND {}
        assert_eq!(third.join().unwrap().status, NtStatus::CANCELLED);
        assert_eq!(
            control(thread, file, CLOSE_PENDING).status,
            NtStatus::SUCCESS
        );
        assert!(!told.is_finished());
        keeper.bench.close(file);
        assert_eq!(told.join().unwrap().status, NtStatus::SUCCESS);
    });
    keeper.end();
}

#[test]
fn a_create_reserves_a_filter_oplock_on_what_nobody_has_open() {
    let keeper = Keeper::new("OWN=0");
    let thread = &keeper.bench.thread;
    let reserve = |access| {
        let done = thread.create_file(&create(access, 1, RESERVE, 7)).unwrap();
        (done.status, done.handle)
    };
    let other = opened(thread, 0x80);
    assert_eq!(reserve(0x80).0, NOT_GRANTED);
    keeper.bench.close(other);
    assert_eq!(reserve(READ).0, NOT_GRANTED);
    let partly = create(0x80, 1, RESERVE, 3);
    assert_eq!(thread.create_file(&partly).unwrap().status, NOT_GRANTED);
    let (status, file) = reserve(0x80);
    assert_eq!(status, NtStatus::SUCCESS);
    // Who reads goes on; who writes waits until the handle is closed.
    let reader = opened(thread, READ);
    let impatient = create(WRITE, 1, IF_OPLOCKED, 7);
    let impatient = thread.create_file(&impatient).unwrap();
    assert_eq!(impatient.status, NtStatus::OPLOCK_BREAK_IN_PROGRESS);
    std::thread::scope(|scope| {
        let writes = scope.spawn(|| keeper.breaker.create_file(&create(WRITE, 1, 0, 7)).unwrap());
        keeper.waits(&keeper.breaker);
        assert!(!writes.is_finished());
        keeper.bench.close(file);
        assert_eq!(writes.join().unwrap().status, NtStatus::SUCCESS);
    });
    keeper.bench.close(reader);
    keeper.end();
}

#[test]
fn a_create_that_requires_an_oplock_does_not_break_another() {
    let keeper = Keeper::new("OWN=0");
    let thread = &keeper.bench.thread;
    let file = opened(thread, READ | WRITE);
    std::thread::scope(|scope| {
        let held = scope.spawn(|| control(&keeper.holder, file, BATCH));
        keeper.until("pre control 90008");
        keeper.waits(&keeper.holder);
        let refused = thread.create_file(&create(READ, 1, REQUIRING, 7)).unwrap();
        assert_eq!(refused.status, CANNOT_BREAK);
        assert!(!held.is_finished());
        // For attributes alone nothing is broken.
        let looks = thread.create_file(&create(0x80, 1, REQUIRING, 7)).unwrap();
        assert_eq!(looks.status, NtStatus::SUCCESS);
        keeper.bench.close(file);
        assert_eq!(held.join().unwrap().information, TO_NONE);
    });
    keeper.end();
}

#[test]
fn what_may_be_cached_is_taken_back_bit_by_bit() {
    let keeper = Keeper::new("OWN=0");
    let thread = &keeper.bench.thread;
    let file = opened(thread, READ | WRITE);
    let told = |done: &Transferred| {
        let word = |at: usize| u32::from_le_bytes(done.data[at..at + 4].try_into().unwrap());
        (done.status, word(4), word(8), word(12))
    };
    std::thread::scope(|scope| {
        // Read, write and handle caching; an open leaves reading and the handle.
        let held = scope.spawn(|| caches(&keeper.holder, file, 7, 1));
        keeper.until("pre control 90240");
        keeper.waits(&keeper.holder);
        let second = scope.spawn(|| {
            keeper
                .breaker
                .create_file(&create(READ | WRITE, 1, 0, 7))
                .unwrap()
        });
        assert_eq!(told(&held.join().unwrap()), (NtStatus::SUCCESS, 7, 3, 1));
        assert_eq!(caches(thread, file, 7, 2).status, PROTOCOL);
        let held = scope.spawn(|| caches(&keeper.holder, file, 3, 2));
        let second = second.join().unwrap();
        keeper.waits(&keeper.holder);
        // A deletion takes the handle back, and waits; a write what is left, and does not.
        let doomed = thread
            .create_file(&create(0x1_0000, 1, 0, 7))
            .unwrap()
            .handle;
        let delete = scope.spawn(move || keeper_delete(thread, doomed));
        assert_eq!(told(&held.join().unwrap()), (NtStatus::SUCCESS, 3, 1, 1));
        let held = scope.spawn(|| caches(&keeper.holder, file, 1, 2));
        assert_eq!(delete.join().unwrap(), NtStatus::SUCCESS);
        keeper.waits(&keeper.holder);
        let written = thread.write(second.handle, Some(0), b"y").unwrap();
        assert_eq!(written.status, NtStatus::SUCCESS);
        assert_eq!(told(&held.join().unwrap()), (NtStatus::SUCCESS, 1, 0, 0));
        // A handle that is closed takes its oplock with it.
        thread.set_delete(doomed, false).unwrap();
        let held = scope.spawn(|| caches(&keeper.holder, file, 1, 1));
        keeper.waits(&keeper.holder);
        keeper.bench.close(file);
        assert_eq!(
            told(&held.join().unwrap()),
            (NtStatus::OPLOCK_HANDLE_CLOSED, 1, 0, 0)
        );
    });
    keeper.end();
}

fn keeper_delete(thread: &Thread, file: u64) -> NtStatus {
    let done = thread.set_delete(file, true);
    done.expect("the machine lives").status
}

#[test]
fn a_filter_keeps_an_oplock_of_its_own_and_pends_who_has_to_wait() {
    let keeper = Keeper::new("OWN=1");
    let thread = &keeper.bench.thread;
    let file = opened(thread, READ | WRITE);
    keeper.bench.machine.trace().unwrap();
    std::thread::scope(|scope| {
        let held = scope.spawn(|| control(&keeper.holder, file, BATCH));
        assert_eq!(
            keeper.until("fsctrl 2 fast=0 batch=1"),
            ["pre control 90008", "fsctrl 2 fast=0 batch=1"]
        );
        let second = scope.spawn(|| keeper.breaker.create_file(&create(READ, 1, 0, 7)).unwrap());
        assert_eq!(held.join().unwrap().information, TO_LEVEL_2);
        keeper.until("check IRP_MJ_CREATE 2");
        assert!(!second.is_finished());
        let nothing = control(thread, file, 0x9_0050);
        assert_eq!(nothing.status, NtStatus::SUCCESS);
        let second = second.join().unwrap();
        assert_eq!(second.status, NtStatus::SUCCESS);
        let seen = keeper.until("post IRP_MJ_CREATE 00000000 1");
        assert!(
            seen.contains(&"waited IRP_MJ_CREATE 00000000 context=000000000000000C".to_owned()),
            "{seen:?}"
        );

        // A read that has to wait can be cancelled; what the owner does itself breaks nothing.
        let held = scope.spawn(|| control(&keeper.holder, file, LEVEL_1));
        keeper.until("fsctrl 2 fast=0 batch=0");
        assert_eq!(
            thread.read(file, Some(0), 1).unwrap().status,
            NtStatus::SUCCESS
        );
        let reads = {
            let handle = second.handle;
            let breaker = &keeper.breaker;
            scope.spawn(move || breaker.read(handle, Some(0), 1).unwrap())
        };
        assert_eq!(held.join().unwrap().information, TO_LEVEL_2);
        keeper.until("check IRP_MJ_READ 2");
        while thread.cancel_io(&keeper.breaker).unwrap().status == NtStatus::NOT_FOUND {}
        assert_eq!(reads.join().unwrap().status, NtStatus::CANCELLED);
    });
    keeper.end();
}
