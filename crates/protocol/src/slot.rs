//! One slot of the ring: who holds it, what became of its create, and the record.
//!
//! The state word is one number so that ownership changes in one atomic step: the sequence in its upper 56 bits, the
//! phase in its low byte. The `recorder` crate is what changes it; a dump's reader only has to understand it.

use core::mem::size_of;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::{DecodeError, Flags, NtStatus, Record};

/// Distance between two slots of the ring.
pub const SLOT_BYTES: usize = size_of::<SlotHeader>() + size_of::<Record>();

const _: () = assert!(SLOT_BYTES == 512);

/// What stands before each record in the ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct SlotHeader {
    /// Sequence and [`Phase`], see [`SlotHeader::sequence`] and [`SlotHeader::phase`].
    pub state: u64,
    /// The status that arrived after the record was committed, see [`completion`].
    pub completion: u64,
}

/// Who holds a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Never used, or its record was given up unfinished.
    Vacant,
    /// A writer is filling it: its record is half of a record.
    Writing,
    /// It holds a whole record, which this many readers are looking at.
    Ready {
        /// Readers that keep writers off at this moment.
        readers: u8,
    },
}

impl Phase {
    /// A writer holds the slot.
    pub const WRITING: u8 = 0x80;
    /// A whole record with no reader; each reader adds one.
    pub const READY: u8 = 0x01;
    /// The most readers a slot can have at one time.
    pub const MAX_READERS: u8 = Self::WRITING - Self::READY - 1;
}

impl SlotHeader {
    /// The sequence that the slot was last claimed for; 0 where it never was.
    #[must_use]
    pub const fn sequence(&self) -> u64 {
        self.state >> 8
    }

    /// Who holds the slot. Every value above [`Phase::WRITING`] is a damaged one and reads as a writer's: never as a
    /// whole record.
    #[must_use]
    pub const fn phase(&self) -> Phase {
        match self.state.to_le_bytes()[0] {
            0 => Phase::Vacant,
            ready @ Phase::READY..Phase::WRITING => Phase::Ready {
                readers: ready - Phase::READY,
            },
            _ => Phase::Writing,
        }
    }

    /// The status stored by [`completion::known`], if it belongs to the slot's present record.
    #[must_use]
    pub const fn completed(&self) -> Option<NtStatus> {
        match completion::value(self.completion, self.sequence()) {
            Some(value) => Some(NtStatus(value)),
            None => None,
        }
    }
}

/// The completion word: 31 bits of the record's sequence, one bit "known", 32 bits of value.
///
/// The create's status is known long after the record was committed, when the slot may already hold another one. The
/// sequence inside the word lets one compare-and-swap settle whether the value still belongs here, without taking the
/// slot. A stale value would need exactly 2^31 records in between to be taken for a fresh one.
pub mod completion {
    const KNOWN: u64 = 1 << 32;

    /// The word of a record whose value is not known yet.
    #[must_use]
    pub const fn pending(sequence: u64) -> u64 {
        sequence << 33
    }

    /// The word of a record whose value is known.
    #[must_use]
    pub const fn known(sequence: u64, value: u32) -> u64 {
        pending(sequence) | KNOWN | value as u64
    }

    /// The value in `word`, if it is known and belongs to `sequence`.
    #[must_use]
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the low 32 bits are the value"
    )]
    pub const fn value(word: u64, sequence: u64) -> Option<u32> {
        if word & KNOWN != 0 && word >> 33 == pending(sequence) >> 33 {
            Some(word as u32)
        } else {
            None
        }
    }
}

/// A slot's bytes, told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlotView {
    /// Who holds the slot.
    pub phase: Phase,
    /// The sequence it was last claimed for.
    pub sequence: u64,
    /// The record, the create's status put into it where it is known.
    pub record: Record,
}

impl SlotView {
    /// Reads one slot from the start of `bytes`.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`] where `bytes` is shorter than [`SLOT_BYTES`].
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let (header, rest) =
            SlotHeader::read_from_prefix(bytes).map_err(|_| DecodeError::Truncated {
                what: "a slot",
                found: bytes.len(),
                expected: SLOT_BYTES,
            })?;
        let mut record = Record::decode(rest)?;
        if let Some(status) = header.completed() {
            record.create_status = status;
            record.flags = record.flags.with(Flags::CREATE_STATUS_KNOWN);
        }
        Ok(Self {
            phase: header.phase(),
            sequence: header.sequence(),
            record,
        })
    }

    /// The record, where it is a whole one whose sequence agrees with the slot's.
    #[must_use]
    pub fn whole(&self) -> Option<&Record> {
        (matches!(self.phase, Phase::Ready { .. })
            && self.record.sequence == self.sequence
            && self.sequence != 0)
            .then_some(&self.record)
    }
}
