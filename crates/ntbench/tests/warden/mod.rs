//! A machine whose files' oplocks the filter `warden` keeps.

#![allow(dead_code, reason = "each test binary uses a part of this")]

use std::thread::{Scope, ScopedJoinHandle};

use ntbench::wire::{CreateFile, Transferred};
use ntbench::{NtStatus, Thread};

use super::model::{self, compile, lines, rules, spec, start, until_waits};
use super::volume::{SYNCHRONIZE, VolumeBench};

pub(crate) const BATCH: u32 = 0x9_0008;
pub(crate) const FILTER: u32 = 0x9_005C;
pub(crate) const REQUEST: u32 = 0x9_0240;
pub(crate) const MODE: u32 = 0x9_3FFC;
pub(crate) const NOT_GRANTED: NtStatus = NtStatus(0xC000_00E2_u32.cast_signed());
pub(crate) const CANNOT_BREAK: NtStatus = NtStatus(0xC000_0909_u32.cast_signed());
/// `FILE_OPEN_REQUIRING_OPLOCK`, `FILE_RESERVE_OPFILTER`.
pub(crate) const REQUIRING: u32 = 0x1_0000;
pub(crate) const RESERVE: u32 = 0x10_0000;
/// `FILE_READ_ATTRIBUTES`.
pub(crate) const LOOK: u32 = 0x80;
/// What may be cached.
pub(crate) const READ_HANDLE: u32 = 3;
pub(crate) const READ_WRITE: u32 = 5;

/// What the filter is to do, as it has it.
#[derive(Clone, Copy)]
pub(crate) struct Mode {
    pub(crate) call: u32,
    pub(crate) flags: u32,
    pub(crate) pends: u32,
    pub(crate) count: u32,
    pub(crate) alike: u32,
    pub(crate) key: u32,
    /// Whether the next create is the one that others' keys are held against.
    pub(crate) first: u32,
}

/// `FltCheckOplockEx`, pending what waits, of a file that is open once.
pub(crate) const CHECK: Mode = Mode {
    call: 0,
    flags: 0,
    pends: 1,
    count: 1,
    alike: 0,
    key: 0,
    first: 0,
};
pub(crate) const BREAK_H: Mode = Mode { call: 1, ..CHECK };
pub(crate) const TO_NONE: Mode = Mode { call: 2, ..CHECK };
pub(crate) const TO_NONE_EX: Mode = Mode { call: 3, ..CHECK };

pub(crate) struct Warden {
    pub(crate) bench: VolumeBench,
    pub(crate) holder: Thread,
    pub(crate) breaker: Thread,
}

impl Warden {
    pub(crate) fn new() -> Self {
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

    pub(crate) fn open(&self, access: u32, options: u32) -> Result<u64, NtStatus> {
        let create = CreateFile {
            name: r"\??\C:\a.txt".to_owned(),
            access: access | SYNCHRONIZE,
            options,
            ..CreateFile::default()
        };
        self.bench.create(&create).map(|opened| opened.0)
    }

    /// What the next operations do, by a handle.
    pub(crate) fn mode(&self, file: u64, mode: Mode) {
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

    pub(crate) fn lines(&self) -> Vec<String> {
        let trace = self.bench.machine.trace().unwrap();
        lines(&trace).into_iter().map(str::to_owned).collect()
    }

    /// Has the holder ask for an oplock of what may be cached, and returns when it has it.
    pub(crate) fn hold<'scope>(
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

    pub(crate) fn read(&self, file: u64) -> NtStatus {
        self.bench.thread.read(file, Some(0), 1).unwrap().status
    }

    pub(crate) fn end(self) {
        let unloaded = self.bench.machine.unload_driver("warden").unwrap();
        assert!(unloaded.is_success());
        assert_eq!(rules(&self.bench.machine.shutdown().unwrap()), [""; 0]);
    }
}

/// `FSCTL_REQUEST_OPLOCK`; `flags`: 1 asks, 2 acknowledges.
pub(crate) fn request(thread: &Thread, file: u64, caches: u32, flags: u32) -> Transferred {
    let words = [1 | 12 << 16, caches, flags];
    let input: Vec<u8> = words.into_iter().flat_map(u32::to_le_bytes).collect();
    thread.fs_control(file, REQUEST, &input, 24).unwrap()
}

/// What was held, what is left, and whether that is to be acknowledged.
pub(crate) fn told(done: &Transferred) -> (u32, u32, u32) {
    let word = |at: usize| u32::from_le_bytes(done.data[at..at + 4].try_into().unwrap());
    assert_eq!(done.status, NtStatus::SUCCESS);
    (word(4), word(8), word(12))
}
