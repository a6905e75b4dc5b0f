//! One slot: the word that says who owns it, the completion word, the record.

use protocol::{Phase, SlotHeader, completion};

use crate::sync::{AtomicU64, Ordering, UnsafeCell};

/// A place for one record. The layout is `protocol::SlotHeader` followed by the record.
#[repr(C)]
pub struct Slot<R> {
    state: AtomicU64,
    completion: AtomicU64,
    record: UnsafeCell<R>,
}

// SAFETY: the record is reached only by the slot's owner of the moment (see `State`): one writer, or readers only. A
// record that can be sent to and shared with another thread may then live here.
unsafe impl<R: Send + Sync> Sync for Slot<R> {}

/// The value of a slot's state word.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct State(u64);

impl State {
    const fn new(sequence: u64, phase: u8) -> Self {
        Self(sequence << 8 | phase as u64)
    }

    const fn header(self) -> SlotHeader {
        SlotHeader {
            state: self.0,
            completion: 0,
        }
    }

    pub(crate) const fn sequence(self) -> u64 {
        self.header().sequence()
    }

    pub(crate) const fn phase(self) -> Phase {
        self.header().phase()
    }

    /// Nobody holds the slot: a writer may take it.
    pub(crate) const fn is_free(self) -> bool {
        matches!(self.phase(), Phase::Vacant | Phase::Ready { readers: 0 })
    }
}

impl<R> Slot<R> {
    /// A slot that was never used.
    #[cfg(not(feature = "loom"))]
    pub const fn new(record: R) -> Self {
        Self {
            state: AtomicU64::new(0),
            completion: AtomicU64::new(0),
            record: UnsafeCell::new(record),
        }
    }

    /// A slot that was never used. Loom's atomics are made at run time.
    #[cfg(feature = "loom")]
    pub fn new(record: R) -> Self {
        Self {
            state: AtomicU64::new(0),
            completion: AtomicU64::new(0),
            record: UnsafeCell::new(record),
        }
    }

    pub(crate) fn state(&self) -> State {
        // Relaxed: whoever acts on this state does so by a compare-and-swap, which acquires what the last owner wrote.
        State(self.state.load(Ordering::Relaxed))
    }

    /// Takes the slot for a writer of `sequence`, if it still is as it was `seen`.
    ///
    /// Acquire orders the writer's stores after everything that the owners before it did: a reader's last load is released
    /// by [`unpin`](Self::unpin), and several readers' releases form one release sequence.
    pub(crate) fn take(&self, seen: State, sequence: u64) -> bool {
        let writing = State::new(sequence, Phase::WRITING);
        let taken = self
            .state
            .compare_exchange(seen.0, writing.0, Ordering::Acquire, Ordering::Relaxed)
            .is_ok();
        if taken {
            // A completion that is late for the slot's former record can land before this store, and is wiped out by it,
            // but not after it: its compare-and-swap expects the former sequence.
            self.completion
                .store(completion::pending(sequence), Ordering::Relaxed);
        }
        taken
    }

    /// The writer of `sequence` is done: with a whole record, or without one.
    pub(crate) fn release(&self, sequence: u64, whole: bool) {
        let phase = if whole { Phase::READY } else { 0 };
        self.state
            .store(State::new(sequence, phase).0, Ordering::Release);
    }

    /// Keeps writers off for one more reader, if the slot still is as it was `seen`.
    pub(crate) fn pin(&self, seen: State) -> bool {
        self.state
            .compare_exchange(seen.0, seen.0 + 1, Ordering::Acquire, Ordering::Relaxed)
            .is_ok()
    }

    /// Gives up what [`pin`](Self::pin) took.
    pub(crate) fn unpin(&self) {
        self.state.fetch_sub(1, Ordering::Release);
    }

    /// Stores `value` for the record of `sequence`; `false` where that record is gone or has its value already. Relaxed, as
    /// nothing is published but the word itself.
    pub(crate) fn complete(&self, sequence: u64, value: u32) -> bool {
        let pending = completion::pending(sequence);
        let known = completion::known(sequence, value);
        self.completion
            .compare_exchange(pending, known, Ordering::Relaxed, Ordering::Relaxed)
            .is_ok()
    }

    pub(crate) fn completed(&self, sequence: u64) -> Option<u32> {
        completion::value(self.completion.load(Ordering::Relaxed), sequence)
    }

    /// The record, for a reader that pinned the slot.
    pub(crate) fn shared(&self) -> *const R {
        self.record.with(|record| record)
    }

    /// The record, for the writer that took the slot.
    pub(crate) fn exclusive(&self) -> *mut R {
        self.record.with_mut(|record| record)
    }
}
