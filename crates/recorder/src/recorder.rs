//! The ring as one static: what the driver writes to and a debugger finds.

use core::mem::{align_of, offset_of, size_of};
use core::ptr::{NonNull, null_mut};
use core::slice;

use protocol::{Anchor, LAYOUT_VERSION, NtStatus, Record, SIGNATURE, SLOT_BYTES};
use zerocopy::FromZeros as _;

use crate::attached;
use crate::ring::{Claim, Counters, Drained, ReadError, Ring};
use crate::slot::Slot;
use crate::sync::{AtomicPtr, AtomicU64, Ordering};

/// A `protocol::Anchor` that can be written to by many threads.
///
/// Without memory ([`attach`](Self::attach)) every claim fails and is counted, so the driver need not ask whether there
/// is a ring.
#[repr(C, align(64))]
pub struct Recorder {
    signature: [u8; 16],
    version: u32,
    anchor_bytes: u32,
    record_bytes: u32,
    slot_bytes: u32,
    ring: AtomicPtr<Slot<Record>>,
    capacity: AtomicU64,
    qpc_frequency: AtomicU64,
    counters: Counters,
    reserved: [u64; 2],
}

const _: () = {
    assert!(size_of::<Recorder>() == size_of::<Anchor>());
    assert!(align_of::<Recorder>() == align_of::<Anchor>());
    assert!(size_of::<Slot<Record>>() == SLOT_BYTES);
    assert!(offset_of!(Recorder, version) == offset_of!(Anchor, version));
    assert!(offset_of!(Recorder, slot_bytes) == offset_of!(Anchor, slot_bytes));
    assert!(offset_of!(Recorder, ring) == offset_of!(Anchor, ring));
    assert!(offset_of!(Recorder, capacity) == offset_of!(Anchor, capacity));
    assert!(offset_of!(Recorder, qpc_frequency) == offset_of!(Anchor, qpc_frequency));
    assert!(offset_of!(Recorder, counters) == offset_of!(Anchor, head));
    assert!(
        offset_of!(Counters, written) == offset_of!(Anchor, written) - offset_of!(Anchor, head)
    );
    assert!(
        offset_of!(Counters, overwritten)
            == offset_of!(Anchor, overwritten) - offset_of!(Anchor, head)
    );
    assert!(
        offset_of!(Counters, skipped) == offset_of!(Anchor, skipped) - offset_of!(Anchor, head)
    );
    assert!(
        offset_of!(Counters, skipped_low_stack)
            == offset_of!(Anchor, skipped_low_stack) - offset_of!(Anchor, head)
    );
    assert!(offset_of!(Counters, voided) == offset_of!(Anchor, voided) - offset_of!(Anchor, head));
    assert!(
        offset_of!(Counters, abandoned) == offset_of!(Anchor, abandoned) - offset_of!(Anchor, head)
    );
    assert!(offset_of!(Recorder, reserved) == offset_of!(Anchor, reserved));
};

/// Why memory cannot become a ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttachError {
    /// The number of slots is no power of two, or no number of bytes.
    Slots,
    /// There is a ring already.
    Attached,
}

impl Recorder {
    /// A recorder with no ring.
    #[must_use]
    #[expect(
        clippy::cast_possible_truncation,
        reason = "sizes that are asserted above and fit many times"
    )]
    pub const fn new() -> Self {
        Self {
            signature: SIGNATURE,
            version: LAYOUT_VERSION,
            anchor_bytes: size_of::<Anchor>() as u32,
            record_bytes: size_of::<Record>() as u32,
            slot_bytes: SLOT_BYTES as u32,
            ring: AtomicPtr::new(null_mut()),
            capacity: AtomicU64::new(0),
            qpc_frequency: AtomicU64::new(0),
            counters: Counters::new(),
            reserved: [0; 2],
        }
    }

    /// Bytes of memory for a ring of `slots`, to be aligned to [`Recorder::ALIGN`]. `None` where `slots` is no power of
    /// two: it is never rounded silently.
    #[must_use]
    pub const fn ring_bytes(slots: usize) -> Option<usize> {
        if slots.is_power_of_two() {
            slots.checked_mul(SLOT_BYTES)
        } else {
            None
        }
    }

    /// Alignment of the ring's memory: that of the kernel's pool on 64-bit systems suffices.
    pub const ALIGN: usize = align_of::<Slot<Record>>();

    /// Makes `memory` the ring of `slots` slots, and starts it empty.
    ///
    /// # Errors
    /// [`AttachError`]; `memory` is then untouched and still the caller's.
    ///
    /// # Safety
    /// `memory` is `ring_bytes(slots)` bytes, aligned to [`Recorder::ALIGN`], non-paged where claims happen above
    /// APC_LEVEL, and nobody else's until [`detach`](Self::detach). No other attach or detach runs meanwhile.
    pub unsafe fn attach(
        &self,
        memory: NonNull<u8>,
        slots: usize,
        qpc_frequency: u64,
    ) -> Result<(), AttachError> {
        let bytes = Self::ring_bytes(slots).ok_or(AttachError::Slots)?;
        if !self.ring.load(Ordering::Relaxed).is_null() {
            return Err(AttachError::Attached);
        }
        // SAFETY: the memory is that long and the caller's alone.
        unsafe { memory.as_ptr().write_bytes(0, bytes) };
        self.qpc_frequency.store(qpc_frequency, Ordering::Relaxed);
        self.counters.head.store(0, Ordering::Relaxed);
        attached::give(&self.ring, &self.capacity, memory.cast(), slots);
        Ok(())
    }

    /// Ends the ring and gives its memory back to be freed.
    ///
    /// # Safety
    /// No claim, read or completion is under way, and none begins before the next attach: for a minifilter, after
    /// `FltUnregisterFilter` has returned.
    pub unsafe fn detach(&self) -> Option<NonNull<u8>> {
        // Relaxed: the caller has ordered it after every use.
        NonNull::new(self.ring.swap(null_mut(), Ordering::Relaxed).cast())
    }

    #[inline]
    fn ring(&self) -> Option<Ring<'_, Record>> {
        let (slots, capacity) = attached::get(&self.ring, &self.capacity)?;
        // SAFETY: attach was given that many slots' bytes and zeroed them, which is a valid slot; the memory stays until
        // detach, which the caller of detach has ordered after every use.
        let slots = unsafe { slice::from_raw_parts(slots.as_ptr(), capacity) };
        Ring::new(slots, &self.counters)
    }

    /// Takes a slot; its record is empty but for its sequence. `None`: the record is lost, and counted.
    #[must_use]
    pub fn claim(&self) -> Option<Claim<'_, Record>> {
        let Some(ring) = self.ring() else {
            self.counters.skipped.fetch_add(1, Ordering::Relaxed);
            return None;
        };
        let mut claim = ring.claim()?;
        let sequence = claim.sequence();
        claim.zero();
        claim.sequence = sequence;
        Some(claim)
    }

    /// Adds the create's status to the record of `sequence`, unless that is gone by now.
    pub fn complete(&self, sequence: u64, status: NtStatus) -> bool {
        self.ring()
            .is_some_and(|ring| ring.complete(sequence, status.0))
    }

    /// Counts a record that was not written because the stack was too short for it.
    pub fn skip_low_stack(&self) {
        self.counters
            .skipped_low_stack
            .fetch_add(1, Ordering::Relaxed);
    }

    /// Shows one record, see [`Ring::read`].
    ///
    /// # Errors
    /// [`ReadError`]: why there is no such record to see.
    pub fn read<T>(
        &self,
        sequence: u64,
        look: impl FnOnce(&Record, Option<NtStatus>) -> T,
    ) -> Result<T, ReadError> {
        self.ring()
            .ok_or(ReadError::NotYet)?
            .read(sequence, |record, value| look(record, value.map(NtStatus)))
    }

    /// Shows the records from `cursor` on, see [`Ring::drain`].
    pub fn drain(
        &self,
        cursor: &mut u64,
        mut take: impl FnMut(&Record, Option<NtStatus>) -> bool,
    ) -> Drained {
        match self.ring() {
            Some(ring) => ring.drain(cursor, |record, value| take(record, value.map(NtStatus))),
            None => Drained { taken: 0, lost: 0 },
        }
    }

    /// What was given out and what was lost.
    #[must_use]
    pub const fn counters(&self) -> &Counters {
        &self.counters
    }
}

impl Default for Recorder {
    fn default() -> Self {
        Self::new()
    }
}
