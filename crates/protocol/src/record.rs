//! One record: what one create found of the stack.

use core::mem::{offset_of, size_of};

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::{AncestorScope, DecodeError, Flags, NtStatus, Outcome, Policy};

/// Bytes of a process's image name that are kept: its end, where the file name is.
pub const IMAGE_NAME_BYTES: usize = 16;

/// UTF-16 units of a path that are kept: its end, where nested creates differ.
pub const PATH_TAIL_UNITS: usize = 168;

/// What one create found of the kernel stack before, inside and after the expansion.
///
/// A field that was not reached is zero, and [`Flags`] say which ones were: zero remaining bytes is a possible, if
/// unhappy, measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Record {
    /// Number of the record, from 1, without repetition while the driver is loaded.
    pub sequence: u64,
    /// Performance counter when the create arrived.
    pub qpc: u64,
    /// System time when the create arrived: 100 ns units since 1601-01-01 UTC.
    pub system_time: u64,
    /// How long the inspection took, in ticks of the performance counter.
    pub inspect_ticks: u64,
    /// [`crate::fnv1a64`] of the whole path, the only part of it that never is cut.
    pub path_hash: u64,
    /// Low end of the caller's stack segment before the expansion.
    pub before_low: u64,
    /// High end of the caller's stack segment before the expansion.
    pub before_high: u64,
    /// Low end of the segment that the inspection ran on.
    pub inside_low: u64,
    /// High end of the segment that the inspection ran on.
    pub inside_high: u64,
    /// Low end of the caller's segment after the return: lower than before where the segment grew in place.
    pub after_low: u64,
    /// Bytes of stack left before the expansion.
    pub before_remaining: u32,
    /// Bytes of stack left where the inspection starts.
    pub inside_remaining: u32,
    /// Bytes of stack left after the return.
    pub after_remaining: u32,
    /// Bytes that the expansion was asked for; 0 where none was.
    pub reservation_bytes: u32,
    /// What the expansion call returned.
    pub reservation_status: NtStatus,
    /// The first failure of the inspection, else success: the name query, the parse or an ancestor's open.
    pub inspect_status: NtStatus,
    /// What the create itself came to. Meaningful with [`Flags::CREATE_STATUS_KNOWN`].
    pub create_status: NtStatus,
    /// Process of the requester.
    pub process_id: u32,
    /// Thread of the requester.
    pub thread_id: u32,
    /// 0 for a create that came from outside, 1 for one that its inspection issued, and so on.
    pub nest_depth: u32,
    /// What of this record holds, and why an inspection was left out.
    pub flags: Flags,
    /// File attributes of the deepest ancestor that could be opened.
    pub ancestor_attributes: u32,
    /// Its reparse tag; 0 where it is no reparse point.
    pub ancestor_reparse_tag: u32,
    /// How many ancestors were opened.
    pub ancestors_opened: u16,
    /// Length of the whole path in UTF-16 units.
    pub path_length: u16,
    /// Used units of [`path_tail`](Self::path_tail).
    pub tail_length: u16,
    /// The policy that decided on the expansion.
    pub policy: Policy,
    /// Where the inspection ran.
    pub outcome: Outcome,
    /// IRQL at which the create arrived.
    pub irql: u8,
    /// Where the ancestors' opens were sent.
    pub ancestor_scope: AncestorScope,
    /// Zero.
    pub reserved: u16,
    /// The last bytes of the process's image name, filled up with zeros.
    pub image_name: [u8; IMAGE_NAME_BYTES],
    /// The last units of the path, filled up with zeros.
    pub path_tail: [u16; PATH_TAIL_UNITS],
}

const _: () = {
    assert!(size_of::<Record>() == 496);
    assert!(offset_of!(Record, before_low) == 40);
    assert!(offset_of!(Record, before_remaining) == 80);
    assert!(offset_of!(Record, reservation_status) == 96);
    assert!(offset_of!(Record, create_status) == 104);
    assert!(offset_of!(Record, process_id) == 108);
    assert!(offset_of!(Record, nest_depth) == 116);
    assert!(offset_of!(Record, flags) == 120);
    assert!(offset_of!(Record, ancestors_opened) == 132);
    assert!(offset_of!(Record, policy) == 138);
    assert!(offset_of!(Record, outcome) == 139);
    assert!(offset_of!(Record, image_name) == 144);
    assert!(offset_of!(Record, path_tail) == 160);
};

impl Record {
    /// A record in which nothing has been reached.
    pub const EMPTY: Self = Self {
        sequence: 0,
        qpc: 0,
        system_time: 0,
        inspect_ticks: 0,
        path_hash: 0,
        before_low: 0,
        before_high: 0,
        inside_low: 0,
        inside_high: 0,
        after_low: 0,
        before_remaining: 0,
        inside_remaining: 0,
        after_remaining: 0,
        reservation_bytes: 0,
        reservation_status: NtStatus(0),
        inspect_status: NtStatus(0),
        create_status: NtStatus(0),
        process_id: 0,
        thread_id: 0,
        nest_depth: 0,
        flags: Flags(0),
        ancestor_attributes: 0,
        ancestor_reparse_tag: 0,
        ancestors_opened: 0,
        path_length: 0,
        tail_length: 0,
        policy: Policy(0),
        outcome: Outcome(0),
        irql: 0,
        ancestor_scope: AncestorScope(0),
        reserved: 0,
        image_name: [0; IMAGE_NAME_BYTES],
        path_tail: [0; PATH_TAIL_UNITS],
    };

    /// Reads a record from the start of `bytes`.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`]: every other bit pattern is a record.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        Self::read_from_prefix(bytes)
            .map(|(record, _)| record)
            .map_err(|_| DecodeError::Truncated {
                what: "a record",
                found: bytes.len(),
                expected: size_of::<Self>(),
            })
    }

    /// Keeps the end of `path`, its length and its hash.
    ///
    /// Written for the driver: no panic and nothing on the stack.
    pub fn set_path(&mut self, path: &[u16]) {
        self.path_length = u16::try_from(path.len()).unwrap_or(u16::MAX);
        self.path_hash = crate::fnv1a64(path);
        let skip = path.len().saturating_sub(PATH_TAIL_UNITS);
        let tail = path.get(skip..).unwrap_or(&[]);
        // A copy and a fill: no unit is looked at by itself. Beyond the units that were used nothing is but zeros.
        for (to, from) in self.path_tail.iter_mut().zip(tail) {
            *to = *from;
        }
        let before = usize::from(self.tail_length).min(PATH_TAIL_UNITS);
        for unit in self.path_tail.iter_mut().take(before).skip(tail.len()) {
            *unit = 0;
        }
        #[expect(clippy::cast_possible_truncation, reason = "at most PATH_TAIL_UNITS")]
        let kept = tail.len() as u16;
        self.tail_length = kept;
    }

    /// Keeps the end of `name`, up to its first zero byte.
    pub fn set_image_name(&mut self, name: &[u8]) {
        let used = name.iter().take_while(|&&byte| byte != 0).count();
        let mut tail = name
            .iter()
            .take(used)
            .skip(used.saturating_sub(IMAGE_NAME_BYTES));
        for byte in &mut self.image_name {
            *byte = tail.next().copied().unwrap_or(0);
        }
    }

    /// The kept end of the path, in UTF-16. A damaged length gives no more than there is.
    #[must_use]
    pub fn tail(&self) -> &[u16] {
        let used = usize::from(self.tail_length).min(PATH_TAIL_UNITS);
        self.path_tail.get(..used).unwrap_or(&[])
    }

    /// Whether [`tail`](Self::tail) is the whole path.
    #[must_use]
    pub fn path_is_whole(&self) -> bool {
        self.path_length == self.tail_length
    }

    /// The kept end of the process's image name.
    #[must_use]
    pub fn image(&self) -> &[u8] {
        let used = self
            .image_name
            .iter()
            .take_while(|&&byte| byte != 0)
            .count();
        self.image_name.get(..used).unwrap_or(&[])
    }

    /// What the create came to, where that is known yet.
    #[must_use]
    pub fn create_status(&self) -> Option<NtStatus> {
        self.flags
            .contains(Flags::CREATE_STATUS_KNOWN)
            .then_some(self.create_status)
    }
}
