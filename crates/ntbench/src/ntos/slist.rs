//! Sequenced singly linked lists (`SLIST_HEADER`).
//!
//! The header is what x64 has: the depth in the low 16 bits, a sequence above it, then the first entry. Headers inline the reading of the
//! depth, so that much must lie in the driver's memory; pushing and popping go through one lock here.

use std::sync::{Mutex, PoisonError};

use super::memory::Guest;
use crate::seh::{self, Exception};
use crate::status::NtStatus;

static LOCK: Mutex<()> = Mutex::new(());

/// The depth's bits, and one step of the sequence above them.
const DEPTH: u64 = 0xFFFF;
const SEQUENCE: u64 = 0x1_0000;
/// The second word's low bits: the header's type, which on x64 is always this.
const HEADER_TYPE: usize = 1;

fn aligned(address: usize) -> bool {
    if address.is_multiple_of(16) {
        return true;
    }
    seh::raise(Exception::new(NtStatus::DATATYPE_MISALIGNMENT));
    false
}

fn first(header: usize) -> Guest<usize> {
    Guest::at(header + 8)
}

/// Puts entries at the head, in the order given; gives the former first one.
fn push(header: usize, entry: usize) -> usize {
    if !aligned(entry) || !aligned(header) {
        return 0;
    }
    let guard = LOCK.lock().unwrap_or_else(PoisonError::into_inner);
    let former = first(header).read() & !0xF;
    Guest::<usize>::at(entry).write(former);
    first(header).write(entry | HEADER_TYPE);
    let word = Guest::<u64>::at(header).read();
    let depth = (word & DEPTH).wrapping_add(1) & DEPTH;
    Guest::<u64>::at(header).write((word & !DEPTH).wrapping_add(SEQUENCE) | depth);
    drop(guard);
    former
}

/// Takes the first entry; 0: there is none.
fn pop(header: usize) -> usize {
    let guard = LOCK.lock().unwrap_or_else(PoisonError::into_inner);
    let entry = first(header).read() & !0xF;
    if entry != 0 {
        let next = Guest::<usize>::at(entry).read();
        first(header).write(next | HEADER_TYPE);
        let word = Guest::<u64>::at(header).read();
        Guest::<u64>::at(header).write(word.wrapping_sub(1));
    }
    drop(guard);
    entry
}

/// Takes all entries, linked as they are.
fn flush(header: usize) -> usize {
    let guard = LOCK.lock().unwrap_or_else(PoisonError::into_inner);
    let entry = first(header).read() & !0xF;
    first(header).write(HEADER_TYPE);
    let word = Guest::<u64>::at(header).read();
    Guest::<u64>::at(header).write(word & !DEPTH);
    drop(guard);
    entry
}

exports! { "ntoskrnl.exe";
    /// Makes an empty list.
    fn InitializeSListHead(header: usize) {
        if aligned(header) {
            Guest::<[u64; 2]>::at(header).write([0, HEADER_TYPE as u64]);
        }
    }

    /// Makes an empty list.
    fn RtlInitializeSListHead(header: usize) {
        InitializeSListHead(header);
    }

    /// Puts an entry at the head; gives the former first one.
    fn ExpInterlockedPushEntrySList(header: usize, entry: usize) -> usize {
        push(header, entry)
    }

    /// Takes the first entry.
    fn ExpInterlockedPopEntrySList(header: usize) -> usize {
        pop(header)
    }

    /// Takes all entries.
    fn ExpInterlockedFlushSList(header: usize) -> usize {
        flush(header)
    }

    /// As `ExpInterlockedPushEntrySList`; the lock is not used on x64.
    fn ExInterlockedPushEntrySList(header: usize, entry: usize, _lock: usize) -> usize {
        push(header, entry)
    }

    /// As `ExpInterlockedPopEntrySList`; the lock is not used on x64.
    fn ExInterlockedPopEntrySList(header: usize, _lock: usize) -> usize {
        pop(header)
    }

    /// How many entries there are.
    fn ExQueryDepthSList(header: usize) -> u16 {
        let [low, high, ..] = Guest::<u64>::at(header).read().to_le_bytes();
        u16::from_le_bytes([low, high])
    }
}
