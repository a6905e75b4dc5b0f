//! A filter that keeps an oplock by the newer calls: who waits and who does not, whose keys are looked at, what a create asks for.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod model;
mod volume;

use std::thread::{Scope, ScopedJoinHandle};

use model::{compile, lines, rules, spec, start, until_waits};
use ntbench::wire::{CreateFile, Transferred};
use ntbench::{NtStatus, Thread};
use volume::{READ, SYNCHRONIZE, VolumeBench, WRITE};

const BATCH: u32 = 0x9_0008;
const FILTER: u32 = 0x9_005C;
const REQUEST: u32 = 0x9_0240;
const MODE: u32 = 0x9_3FFC;
const NOT_GRANTED: NtStatus = NtStatus(0xC000_00E2_u32.cast_signed());
const CANNOT_BREAK: NtStatus = NtStatus(0xC000_0909_u32.cast_signed());
/// `FILE_OPEN_REQUIRING_OPLOCK`, `FILE_RESERVE_OPFILTER`.
const REQUIRING: u32 = 0x1_0000;
const RESERVE: u32 = 0x10_0000;
/// `FILE_READ_ATTRIBUTES`.
const LOOK: u32 = 0x80;
/// What may be cached.
const READ_HANDLE: u32 = 3;
const READ_WRITE: u32 = 5;

/// What the filter is to do, as it has it.
#[derive(Clone, Copy)]
struct Mode {
    call: u32,
    flags: u32,
    pends: u32,
    count: u32,
    alike: u32,
    key: u32,
    /// Whether the next create is the one that others' keys are held against.
    first: u32,
}

/// `FltCheckOplockEx`, pending what waits, of a file that is open once.
const CHECK: Mode = Mode {
    call: 0,
    flags: 0,
    pends: 1,
    count: 1,
    alike: 0,
    key: 0,
    first: 0,
};
const BREAK_H: Mode = Mode { call: 1, ..CHECK };
const TO_NONE: Mode = Mode { call: 2, ..CHECK };
const TO_NONE_EX: Mode = Mode { call: 3, ..CHECK };

struct Warden {
    bench: VolumeBench,
    holder: Thread,
    breaker: Thread,
}

impl Warden {
    fn new() -> Self {
        let bench = VolumeBench::new();
        let driver = spec(compile("warden", &[]), "370000");
        let loaded = bench.machine.load_driver(driver).unwrap();
        assert_eq!(loaded.status, NtStatus::SUCCESS);
        let (holder, breaker) = (start(&bench.machine), start(&bench.machine));
        Self {
            bench,
            holder,
            breaker,
        }
    }

    fn open(&self, access: u32, options: u32) -> Result<u64, NtStatus> {
        let create = CreateFile {
            name: r"\??\C:\a.txt".to_owned(),
            access: access | SYNCHRONIZE,
            options,
            ..CreateFile::default()
        };
        self.bench.create(&create).map(|opened| opened.0)
    }

    /// What the next operations do, by a handle.
    fn mode(&self, file: u64, mode: Mode) {
        let Mode {
            call,
            flags,
            pends,
            count,
            alike,
            key,
            first,
        } = mode;
        let words = [call, flags, pends, count, alike, key, first];
        let bytes: Vec<u8> = words.into_iter().flat_map(u32::to_le_bytes).collect();
        let done = self.bench.thread.fs_control(file, MODE, &bytes, 0);
        assert_eq!(done.unwrap().status, NtStatus::SUCCESS);
        self.lines();
    }

    fn lines(&self) -> Vec<String> {
        let trace = self.bench.machine.trace().unwrap();
        lines(&trace).into_iter().map(str::to_owned).collect()
    }

    /// Has the holder ask for an oplock of what may be cached, and returns when it has it.
    fn hold<'scope>(
        &'scope self,
        scope: &'scope Scope<'scope, '_>,
        file: u64,
        caches: u32,
    ) -> ScopedJoinHandle<'scope, Transferred> {
        let held = scope.spawn(move || request(&self.holder, file, caches, 1));
        let handles = u32::from(caches & 2 != 0);
        let line = format!("fsctrl 2 held=1 handles={handles}");
        model::until(&self.bench.machine, &line, |told| told == line);
        until_waits(&self.bench.machine, &self.holder);
        held
    }

    fn read(&self, file: u64) -> NtStatus {
        self.bench.thread.read(file, Some(0), 1).unwrap().status
    }

    fn end(self) {
        let unloaded = self.bench.machine.unload_driver("warden").unwrap();
        assert!(unloaded.is_success());
        assert_eq!(rules(&self.bench.machine.shutdown().unwrap()), [""; 0]);
    }
}

/// `FSCTL_REQUEST_OPLOCK`; `flags`: 1 asks, 2 acknowledges.
fn request(thread: &Thread, file: u64, caches: u32, flags: u32) -> Transferred {
    let words = [1 | 12 << 16, caches, flags];
    let input: Vec<u8> = words.into_iter().flat_map(u32::to_le_bytes).collect();
    thread.fs_control(file, REQUEST, &input, 24).unwrap()
}

/// What was held, what is left, and whether that is to be acknowledged.
fn told(done: &Transferred) -> (u32, u32, u32) {
    let word = |at: usize| u32::from_le_bytes(done.data[at..at + 4].try_into().unwrap());
    assert_eq!(done.status, NtStatus::SUCCESS);
    (word(4), word(8), word(12))
}

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

#[test]
fn a_key_is_taken_from_either_extra_parameter_if_it_is_the_files_own() {
    let warden = Warden::new();
    let first = warden.open(READ, 0).unwrap();
    let key = |key| Mode {
        flags: 2,
        key,
        ..CHECK
    };
    // The first file has none.
    warden.mode(first, key(1));
    warden.open(READ, 0).unwrap();
    assert_eq!(
        warden.lines(),
        ["IRP_MJ_CREATE 0 00000000", "like the first 0"]
    );
    warden.end();
    // The old parameter's, the new one's for the file, and the new one's for its folder alone.
    for (mine, others) in [(1, "1 1 0"), (2, "1 1 0"), (3, "0 0 0")] {
        let warden = Warden::new();
        let opener = warden.open(LOOK, 0).unwrap();
        let answers = [1, 2, 3].map(|number| {
            warden.mode(
                opener,
                Mode {
                    first: 1,
                    ..key(mine)
                },
            );
            let first = warden.open(READ, 0).unwrap();
            warden.mode(opener, key(number));
            let second = warden.open(READ, 0).unwrap();
            let seen = warden.lines();
            warden.bench.close(second);
            warden.bench.close(first);
            let answer = seen.last().unwrap().strip_prefix("like the first ");
            answer.unwrap().to_owned()
        });
        assert_eq!(answers.join(" "), others, "{mine}");
        warden.end();
    }
}

#[test]
fn a_create_reserves_a_filter_oplock_until_its_handle_asks() {
    let warden = Warden::new();
    let (bench, breaker) = (&warden.bench, &warden.breaker);
    let first = warden.open(LOOK, RESERVE).unwrap();
    assert_eq!(
        warden.lines(),
        ["IRP_MJ_CREATE 0 00000000", "asked 4 00000000 held=1"]
    );
    // Not for who wants more, or comes second.
    assert_eq!(warden.open(READ, RESERVE), Err(NOT_GRANTED));
    assert_eq!(warden.open(LOOK, RESERVE), Err(NOT_GRANTED));
    std::thread::scope(|scope| {
        warden.lines();
        let held = scope.spawn(|| warden.holder.fs_control(first, FILTER, &[], 0).unwrap());
        let line = "fsctrl 2 held=1 handles=0";
        model::until(&bench.machine, line, |told| told == line);
        // Who reads does not disturb it, who writes waits until the handle is closed.
        let reader = warden.open(READ, 0).unwrap();
        assert!(!held.is_finished());
        let writes = scope.spawn(|| {
            let create = CreateFile {
                name: r"\??\C:\a.txt".to_owned(),
                access: WRITE | SYNCHRONIZE,
                ..CreateFile::default()
            };
            breaker.create_file(&create).unwrap().status
        });
        assert_eq!(held.join().unwrap().status, NtStatus::SUCCESS);
        until_waits(&bench.machine, breaker);
        assert!(!writes.is_finished());
        bench.close(first);
        assert_eq!(writes.join().unwrap(), NtStatus::SUCCESS);
        bench.close(reader);
    });
    warden.end();
}

#[test]
fn a_create_that_requires_an_oplock_breaks_nobodys() {
    let warden = Warden::new();
    let first = warden.open(READ | WRITE, REQUIRING).unwrap();
    assert_eq!(
        warden.lines(),
        ["IRP_MJ_CREATE 0 00000000", "asked 4 00000000 held=1"]
    );
    std::thread::scope(|scope| {
        let held = warden.hold(scope, first, READ_WRITE);
        warden.lines();
        assert_eq!(warden.open(READ, REQUIRING), Err(CANNOT_BREAK));
        assert_eq!(warden.lines(), ["IRP_MJ_CREATE 4 c0000909"]);
        assert!(!held.is_finished());
        warden.bench.close(first);
        assert_eq!(held.join().unwrap().status, NtStatus::OPLOCK_HANDLE_CLOSED);
    });
    // One whose create fails later is taken back.
    let looker = warden.open(LOOK, 0).unwrap();
    warden.mode(looker, Mode { flags: 4, ..CHECK });
    warden.open(READ, REQUIRING).unwrap();
    let seen = warden.lines();
    assert_eq!(seen[2..], ["asked 4 00000000 held=1", "taken back, held=0"]);
    warden.end();
}
