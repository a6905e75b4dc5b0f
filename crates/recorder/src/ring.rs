//! The algorithm, over any slots and counters.

use core::hint::spin_loop;
use core::ops::{Deref, DerefMut};

use protocol::Phase;

use crate::slot::Slot;
use crate::sync::{AtomicU64, Ordering};

/// Tries of a writer to find a free slot before its record counts as skipped.
///
/// A try fails when another writer was given the same sequence, which is progress for that one, or stepped over it, or when
/// the slot is held from a lap before. Thirty-two such failures in a row mean a ring far too small for its writers.
const CLAIM_TRIES: u32 = if cfg!(feature = "loom") { 4 } else { 32 };

/// Looks at the head before a sequence is stepped over that another writer has just taken. More than its next step takes, and
/// not so many that who waits for a writer without a processor would notice. Loom explores the case without any.
const HEAD_LOOKS: u32 = if cfg!(feature = "loom") { 0 } else { 8 };

/// Tries of a reader to pin a slot whose other readers come and go.
const PIN_TRIES: u32 = 32;

/// What was given out and what was lost.
#[repr(C)]
pub struct Counters {
    /// The highest sequence given out.
    pub(crate) head: AtomicU64,
    pub(crate) written: AtomicU64,
    pub(crate) overwritten: AtomicU64,
    pub(crate) skipped: AtomicU64,
    pub(crate) skipped_low_stack: AtomicU64,
    pub(crate) voided: AtomicU64,
    pub(crate) abandoned: AtomicU64,
}

impl Counters {
    /// All zero.
    #[cfg(not(feature = "loom"))]
    #[must_use]
    pub const fn new() -> Self {
        Self {
            head: AtomicU64::new(0),
            written: AtomicU64::new(0),
            overwritten: AtomicU64::new(0),
            skipped: AtomicU64::new(0),
            skipped_low_stack: AtomicU64::new(0),
            voided: AtomicU64::new(0),
            abandoned: AtomicU64::new(0),
        }
    }

    /// All zero.
    #[cfg(feature = "loom")]
    #[must_use]
    pub fn new() -> Self {
        let zero = || AtomicU64::new(0);
        Self {
            head: zero(),
            written: zero(),
            overwritten: zero(),
            skipped: zero(),
            skipped_low_stack: zero(),
            voided: zero(),
            abandoned: zero(),
        }
    }

    /// The highest sequence given out so far.
    pub fn head(&self) -> u64 {
        self.head.load(Ordering::Acquire)
    }

    /// Records committed.
    pub fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    /// Records that a newer one replaced.
    pub fn overwritten(&self) -> u64 {
        self.overwritten.load(Ordering::Relaxed)
    }

    /// Records not written for want of a free slot.
    pub fn skipped(&self) -> u64 {
        self.skipped.load(Ordering::Relaxed)
    }

    /// Records not written for want of stack.
    pub fn skipped_low_stack(&self) -> u64 {
        self.skipped_low_stack.load(Ordering::Relaxed)
    }

    /// Sequences that no record carries.
    pub fn voided(&self) -> u64 {
        self.voided.load(Ordering::Relaxed)
    }

    /// Claims given up.
    pub fn abandoned(&self) -> u64 {
        self.abandoned.load(Ordering::Relaxed)
    }
}

impl Default for Counters {
    fn default() -> Self {
        Self::new()
    }
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// A view of the ring: its slots, a power of two of them, and its counters.
pub struct Ring<'a, R> {
    slots: &'a [Slot<R>],
    counters: &'a Counters,
}

impl<'a, R> Ring<'a, R> {
    /// A ring over `slots`, whose number has to be a power of two for its sequences to find them.
    #[must_use]
    pub const fn new(slots: &'a [Slot<R>], counters: &'a Counters) -> Option<Self> {
        if slots.len().is_power_of_two() {
            Some(Self { slots, counters })
        } else {
            None
        }
    }

    fn slot(&self, sequence: u64) -> Option<&'a Slot<R>> {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "the mask is smaller than the slice is long"
        )]
        let index = sequence as usize & self.slots.len().wrapping_sub(1);
        self.slots.get(index)
    }

    /// Takes a slot to fill. `None`: the record is lost, and counted.
    #[must_use]
    pub fn claim(&self) -> Option<Claim<'a, R>> {
        for _ in 0..CLAIM_TRIES {
            // Relaxed: a head of before makes the compare-and-swap on it fail, and is all that it can do.
            let head = self.counters.head.load(Ordering::Relaxed);
            let sequence = head.wrapping_add(1);
            let Some(slot) = self.slot(sequence) else {
                break;
            };
            let seen = slot.state();
            if seen.sequence() >= sequence && self.is_moved(head) {
                continue;
            }
            if seen.sequence() >= sequence || !seen.is_free() {
                // Held from a lap before, or taken by a writer that has not moved the head for so long.
                if self.advance(head) {
                    count(&self.counters.voided);
                }
            } else if slot.take(seen, sequence) {
                if matches!(seen.phase(), Phase::Ready { .. }) {
                    count(&self.counters.overwritten);
                }
                // The slot first, the head second: a reader that sees the head at this sequence sees the slot taken.
                if self.advance(head) {
                    return Some(Claim {
                        sequence,
                        slot,
                        counters: self.counters,
                    });
                }
                // Another writer has stepped over the sequence, and counted it as void.
                slot.release(sequence, false);
            }
        }
        count(&self.counters.skipped);
        None
    }

    /// Gives out the sequence behind `head`. Whoever does that decides what it is: who has taken its slot, that it has a
    /// record; anybody else, that it has none.
    fn advance(&self, head: u64) -> bool {
        let next = head.wrapping_add(1);
        self.counters
            .head
            .compare_exchange(head, next, Ordering::Release, Ordering::Relaxed)
            .is_ok()
    }

    /// Looks for a moment whether the writer that has taken the next slot moves the head, its very next step.
    fn is_moved(&self, head: u64) -> bool {
        (0..HEAD_LOOKS).any(|_| {
            spin_loop();
            self.counters.head.load(Ordering::Relaxed) != head
        })
    }

    /// Adds what became known later to the record of `sequence`. `false`: the record is gone, or has its value already; or
    /// `sequence` is 0, which no record has, though the word of a slot that was never used reads as if it waited for it.
    pub fn complete(&self, sequence: u64, value: u32) -> bool {
        sequence != 0
            && self
                .slot(sequence)
                .is_some_and(|slot| slot.complete(sequence, value))
    }

    /// Shows the record of `sequence` to `look`, with its completion where that is known. Writers keep off while `look`
    /// runs, so it had better copy and return.
    ///
    /// # Errors
    /// [`ReadError`]: why there is no such record to see.
    pub fn read<T>(
        &self,
        sequence: u64,
        look: impl FnOnce(&R, Option<u32>) -> T,
    ) -> Result<T, ReadError> {
        // The head before the slot: what the head covers has been taken by then.
        if sequence == 0 || sequence > self.counters.head() {
            return Err(ReadError::NotYet);
        }
        let slot = self.slot(sequence).ok_or(ReadError::NotYet)?;
        for _ in 0..PIN_TRIES {
            let seen = slot.state();
            match seen.phase() {
                _ if seen.sequence() > sequence => return Err(ReadError::Overwritten),
                _ if seen.sequence() < sequence => return Err(ReadError::Void),
                Phase::Vacant => return Err(ReadError::Void),
                Phase::Writing => return Err(ReadError::InFlight),
                Phase::Ready {
                    readers: Phase::MAX_READERS,
                } => return Err(ReadError::InFlight),
                Phase::Ready { .. } => {}
            }
            if slot.pin(seen) {
                let pinned = Pinned(slot);
                let record = pinned.0.shared();
                // SAFETY: the pin keeps writers off until `pinned` is dropped, after `look` has returned.
                let record = unsafe { &*record };
                return Ok(look(record, slot.completed(sequence)));
            }
        }
        Err(ReadError::InFlight)
    }

    /// Shows every whole record from `cursor` on to `take`, oldest first, and moves the cursor. `take` returns whether it
    /// took the record; `false` ends the drain with the cursor on that record.
    ///
    /// Stops at a record that is still being filled, so that order is kept, unless half the ring has been given out
    /// since: such a record counts as lost to this reader.
    pub fn drain(
        &self,
        cursor: &mut u64,
        mut take: impl FnMut(&R, Option<u32>) -> bool,
    ) -> Drained {
        let mut drained = Drained { taken: 0, lost: 0 };
        let capacity = self.slots.len() as u64;
        // The head as it is now bounds the work, however fast the writers are.
        let head = self.counters.head();
        *cursor = (*cursor).max(1);
        let oldest = (head + 1).saturating_sub(capacity);
        if *cursor < oldest {
            drained.lost += oldest - *cursor;
            *cursor = oldest;
        }
        while *cursor <= head {
            match self.read(*cursor, &mut take) {
                Ok(true) => drained.taken += 1,
                Ok(false) => break,
                Err(ReadError::InFlight) if head - *cursor < capacity / 2 => break,
                Err(ReadError::InFlight | ReadError::Overwritten) => drained.lost += 1,
                Err(ReadError::Void) => {}
                Err(ReadError::NotYet) => break,
            }
            *cursor += 1;
        }
        drained
    }
}

/// Why there is no record to see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadError {
    /// The sequence has not been given out.
    NotYet,
    /// Its writer is still at it, or too many readers are.
    InFlight,
    /// A newer record stands in its place.
    Overwritten,
    /// No record carries this sequence: it was stepped over, or its writer gave up.
    Void,
}

/// What one drain came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drained {
    /// Records shown and taken.
    pub taken: u64,
    /// Sequences passed whose record, if there was one, this reader did not get to see.
    pub lost: u64,
}

/// A reader's hold of a slot; ends even where the reader panics.
struct Pinned<'a, R>(&'a Slot<R>);

impl<R> Drop for Pinned<'_, R> {
    fn drop(&mut self) {
        self.0.unpin();
    }
}

/// A slot of the ring that belongs to this writer until it is committed or dropped; dropped, its record is void.
///
/// It holds what the slot's former record left there.
pub struct Claim<'a, R> {
    sequence: u64,
    slot: &'a Slot<R>,
    counters: &'a Counters,
}

impl<R> Claim<'_, R> {
    /// The record's number: what [`Ring::complete`] and [`Ring::read`] know it by.
    #[must_use]
    pub const fn sequence(&self) -> u64 {
        self.sequence
    }

    /// Makes the record visible to readers, and returns its sequence.
    pub fn commit(self) -> u64 {
        let Self {
            sequence,
            slot,
            counters,
            ..
        } = *core::mem::ManuallyDrop::new(self);
        slot.release(sequence, true);
        count(&counters.written);
        sequence
    }
}

impl<R> Deref for Claim<'_, R> {
    type Target = R;

    fn deref(&self) -> &R {
        // SAFETY: the slot was taken for this claim alone, and `self` is borrowed meanwhile.
        unsafe { &*self.slot.shared() }
    }
}

impl<R> DerefMut for Claim<'_, R> {
    fn deref_mut(&mut self) -> &mut R {
        // SAFETY: the slot was taken for this claim alone, and `self` is borrowed mutably meanwhile.
        unsafe { &mut *self.slot.exclusive() }
    }
}

impl<R> Drop for Claim<'_, R> {
    fn drop(&mut self) {
        self.slot.release(self.sequence, false);
        count(&self.counters.abandoned);
    }
}
