//! The oldest form of map control blocks, whose numbers are 32 bits: `FsRtlInitializeMcb` and its kin, over the large ones. And the newest
//! names, which raise no exceptions.

use super::{LARGE, Run, begin, initialise, last, look_up, next, number, uninitialise, with};
use crate::ntos::memory::Guest;
use crate::status::NtStatus;

/// A number as the old form has it; -1 stays what it is.
fn low(number: i64) -> u32 {
    u32::try_from(number & 0xFFFF_FFFF).unwrap_or(u32::MAX)
}

/// Somewhere for one of the large form's answers.
fn place(number: &mut i64) -> Guest<i64> {
    Guest::at(std::ptr::from_mut(number).expose_provenance())
}

exports! { "ntoskrnl.exe";
    /// Makes an empty map, with room in that pool, or raises `STATUS_INSUFFICIENT_RESOURCES`.
    fn FsRtlInitializeMcb(block: usize, pool_type: u32) {
        initialise("FsRtlInitializeMcb", block + LARGE, pool_type);
    }

    /// Gives its memory back.
    fn FsRtlUninitializeMcb(block: usize) {
        uninitialise("FsRtlUninitializeMcb", block + LARGE);
    }

    /// Takes away what lies from a block on.
    fn FsRtlTruncateMcb(block: usize, vbn: u32) {
        with("FsRtlTruncateMcb", block + LARGE, |map| map.remove(vbn.into(), i64::MAX));
    }

    /// Maps blocks; FALSE: some of them lie elsewhere.
    fn FsRtlAddMcbEntry(block: usize, vbn: u32, lbn: u32, count: u32) -> u8 {
        let run = Run { vbn: vbn.into(), lbn: lbn.into(), count: count.into() };
        u8::from(with("FsRtlAddMcbEntry", block + LARGE, |map| map.add(run)))
    }

    /// Makes a gap of blocks.
    fn FsRtlRemoveMcbEntry(block: usize, vbn: u32, count: u32) {
        with("FsRtlRemoveMcbEntry", block + LARGE, |map| map.remove(vbn.into(), count.into()));
    }

    /// Where a block lies, and how many lie together from there on.
    fn FsRtlLookupMcbEntry(block: usize, vbn: u32, lbn: Guest<u32>, count: Guest<u32>, index: Guest<u32>) -> u8 {
        let [mut at, mut run] = [0_i64; 2];
        let none = Guest::at(0);
        let places = [place(&mut at), place(&mut run), none, none];
        let found = look_up(("FsRtlLookupMcbEntry", block + LARGE), vbn.into(), places, index);
        if found != 0 {
            lbn.write(low(at));
            count.write_opt(low(run));
        }
        found
    }

    /// The highest block that is mapped.
    fn FsRtlLookupLastMcbEntry(block: usize, vbn: Guest<u32>, lbn: Guest<u32>) -> u8 {
        let [mut v, mut l] = [0_i64; 2];
        let found = last("FsRtlLookupLastMcbEntry", block + LARGE, place(&mut v), place(&mut l), Guest::at(0));
        if found != 0 {
            vbn.write(low(v));
            lbn.write(low(l));
        }
        found
    }

    /// How many runs there are, the gaps among them.
    fn FsRtlNumberOfRunsInMcb(block: usize) -> u32 {
        number("FsRtlNumberOfRunsInMcb", block + LARGE)
    }

    /// The run of that index.
    fn FsRtlGetNextMcbEntry(block: usize, index: u32, vbn: Guest<u32>, lbn: Guest<u32>, count: Guest<u32>) -> u8 {
        let [mut v, mut l, mut c] = [0_i64; 3];
        let places = [place(&mut v), place(&mut l), place(&mut c)];
        let found = next(("FsRtlGetNextMcbEntry", block + LARGE), index, places);
        if found != 0 {
            vbn.write(low(v));
            lbn.write(low(l));
            count.write(low(c));
        }
        found
    }

    /// Makes an empty map without a lock; FALSE: there is no memory, unless the flag asks for an exception then.
    fn FsRtlInitializeBaseMcbEx(block: usize, pool_type: u32, flags: u16) -> u8 {
        /// `MCB_FLAG_RAISE_ON_ALLOCATION_FAILURE`.
        const RAISE: u16 = 1;
        u8::from(begin("FsRtlInitializeBaseMcbEx", block, pool_type, flags & RAISE != 0))
    }

    /// Maps blocks of a map without a lock.
    partial "STATUS_UNSUCCESSFUL where some of them lie elsewhere"
    fn FsRtlAddBaseMcbEntryEx(block: usize, vbn: i64, lbn: i64, count: i64) -> NtStatus {
        if with("FsRtlAddBaseMcbEntryEx", block, |map| map.add(Run { vbn, lbn, count })) {
            NtStatus::SUCCESS
        } else {
            NtStatus::UNSUCCESSFUL
        }
    }
}
