//! The anchor: the one thing a reader has to find.

use core::mem::{offset_of, size_of};

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::{DecodeError, Record, SLOT_BYTES, check_size};

/// The first bytes of an anchor, readable in a hex dump and searched for in a crash dump.
pub const SIGNATURE: [u8; 16] = *b"HEADROOM ANCHOR\0";

/// Grows by one whenever a reader of the older layout would misread the newer one.
pub const LAYOUT_VERSION: u32 = 1;

/// The driver's static that holds the [`Anchor`]: `x headroom!HEADROOM_RECORDER` in a debugger.
pub const ANCHOR_SYMBOL: &str = "HEADROOM_RECORDER";

/// Where the records are, how many there can be, and how many were lost.
///
/// This is the plain picture of the memory; the driver writes it through the atomics of the `recorder` crate, which
/// asserts that its fields stand at these offsets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C, align(64))]
pub struct Anchor {
    /// [`SIGNATURE`].
    pub signature: [u8; 16],
    /// [`LAYOUT_VERSION`] of the driver that wrote it.
    pub version: u32,
    /// Size of this structure.
    pub anchor_bytes: u32,
    /// Size of one [`Record`].
    pub record_bytes: u32,
    /// Distance between two slots.
    pub slot_bytes: u32,
    /// Address of slot 0, in the kernel's address space; 0 while there is no ring.
    pub ring: u64,
    /// Number of slots, a power of two. Sequence `n` lives in slot `n & (capacity - 1)`.
    pub capacity: u64,
    /// Ticks per second of the performance counter that stamps the records.
    pub qpc_frequency: u64,
    /// The highest sequence that was ever given out. Sequences start at 1.
    pub head: u64,
    /// Records committed.
    pub written: u64,
    /// Records that a newer one replaced.
    pub overwritten: u64,
    /// Records that were not written because no free slot was found in a bounded number of tries.
    pub skipped: u64,
    /// Records that were not written because the stack was too short even for that.
    pub skipped_low_stack: u64,
    /// Sequences stepped over because their slot was still held from a lap before; no record carries them.
    pub voided: u64,
    /// Slots claimed whose record was given up unfinished.
    pub abandoned: u64,
    /// Zero.
    pub reserved: [u64; 2],
}

const _: () = {
    assert!(size_of::<Anchor>() == 128);
    assert!(offset_of!(Anchor, version) == 16);
    assert!(offset_of!(Anchor, slot_bytes) == 28);
    assert!(offset_of!(Anchor, ring) == 32);
    assert!(offset_of!(Anchor, capacity) == 40);
    assert!(offset_of!(Anchor, qpc_frequency) == 48);
    assert!(offset_of!(Anchor, head) == 56);
    assert!(offset_of!(Anchor, written) == 64);
    assert!(offset_of!(Anchor, overwritten) == 72);
    assert!(offset_of!(Anchor, skipped) == 80);
    assert!(offset_of!(Anchor, skipped_low_stack) == 88);
    assert!(offset_of!(Anchor, voided) == 96);
    assert!(offset_of!(Anchor, abandoned) == 104);
};

impl Anchor {
    /// Reads an anchor from the start of `bytes`, and checks that this reader understands it.
    ///
    /// The order of the checks is what a person would want to hear first: not an anchor at all, then another version,
    /// then sizes that contradict the version.
    ///
    /// # Errors
    /// [`DecodeError`], which says what was found and what was expected.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let (anchor, _) = Self::read_from_prefix(bytes).map_err(|_| DecodeError::Truncated {
            what: "the anchor",
            found: bytes.len(),
            expected: size_of::<Self>(),
        })?;
        if anchor.signature != SIGNATURE {
            return Err(DecodeError::Signature {
                symbol: ANCHOR_SYMBOL,
                found: anchor.signature,
            });
        }
        if anchor.version != LAYOUT_VERSION {
            return Err(DecodeError::Version {
                symbol: ANCHOR_SYMBOL,
                found: anchor.version,
                known: LAYOUT_VERSION,
            });
        }
        check_size("anchor", anchor.anchor_bytes, size_of::<Self>())?;
        check_size("record", anchor.record_bytes, size_of::<Record>())?;
        check_size("slot", anchor.slot_bytes, SLOT_BYTES)?;
        if anchor.ring != 0 && !anchor.capacity.is_power_of_two() {
            return Err(DecodeError::Capacity {
                found: anchor.capacity,
            });
        }
        Ok(anchor)
    }

    /// Bytes of the whole array of slots, or `None` where the product does not fit an address space: the anchor is
    /// damaged.
    #[must_use]
    pub fn ring_bytes(&self) -> Option<u64> {
        self.capacity
            .checked_mul(u64::from(self.slot_bytes))
            .filter(|&bytes| self.ring.checked_add(bytes).is_some())
    }
}
