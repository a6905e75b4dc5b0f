//! From driver to client.

use core::mem::{offset_of, size_of};

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::request::{INSTANCE_UNITS, VOLUME_UNITS};
use crate::named::named;
use crate::{DecodeError, NtStatus, Record};

/// What each reply starts with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct ReplyHeader {
    /// What became of the request.
    pub status: NtStatus,
    /// Bytes of the whole reply, this header included.
    pub bytes: u32,
}

/// The start of a drain's reply; `count` [`Record`]s follow it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct DrainReply {
    /// The sequence that the drain began with: what was asked for, or the oldest there is.
    pub first: u64,
    /// Where the next drain goes on.
    pub next: u64,
    /// Records from the asked-for sequence on that this drain did not get to see: a newer one stands in their place.
    pub lost: u64,
    /// The highest sequence given out.
    pub head: u64,
    /// Records that follow.
    pub count: u32,
    /// Size of each.
    pub record_bytes: u32,
}

/// The start of a list of instances; `count` [`InstanceInfo`]s follow it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct InstancesReply {
    /// Entries that follow.
    pub count: u32,
    /// Instances that there are: more than `count` where the reply had no room.
    pub total: u32,
}

/// One instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct InstanceInfo {
    /// Length of the volume's name; longer than [`VOLUME_UNITS`] where its end is cut.
    pub volume_length: u16,
    /// Length of the instance's name; longer than [`INSTANCE_UNITS`] where its end is cut.
    pub instance_length: u16,
    /// `FLT_FILESYSTEM_TYPE` of the volume.
    pub file_system: u32,
    /// The volume's name.
    pub volume: [u16; VOLUME_UNITS],
    /// The instance's name.
    pub instance: [u16; INSTANCE_UNITS],
}

/// How the driver stands: its versions, who is connected, and what became of its records so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct StatusReply {
    /// The driver's own version: major, minor, patch, and zero.
    pub driver: [u16; 4],
    /// The [`VERSION_MAJOR`](super::VERSION_MAJOR) and [`VERSION_MINOR`](super::VERSION_MINOR) that it speaks.
    pub protocol: [u16; 2],
    /// Clients connected, the one that asks included.
    pub clients: u32,
    /// Records that can be kept.
    pub capacity: u64,
    /// Ticks per second of the performance counter that stamps the records.
    pub qpc_frequency: u64,
    /// The highest sequence given out.
    pub head: u64,
    /// Records committed.
    pub written: u64,
    /// Records that a newer one replaced.
    pub overwritten: u64,
    /// Records not written because no free slot was found in a bounded number of tries.
    pub skipped: u64,
    /// Records not written because the stack was too short even for that.
    pub skipped_low_stack: u64,
    /// Sequences stepped over because their slot was still held from a lap before.
    pub voided: u64,
    /// Slots claimed whose record was given up unfinished.
    pub abandoned: u64,
}

named! {
    /// Why the driver speaks up.
    NotificationKind: u32 {
        /// There are new records.
        RECORDS = 1, "records";
    }
}

/// What a client that waits is sent, behind the Filter Manager's own message header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Notification {
    /// Why.
    pub kind: NotificationKind,
    /// Size of this structure.
    pub bytes: u32,
    /// The highest sequence given out: a drain up to here will not wait for anything.
    pub newest: u64,
}

const _: () = {
    assert!(size_of::<ReplyHeader>() == 8);
    assert!(size_of::<DrainReply>() == 40);
    assert!(offset_of!(DrainReply, count) == 32);
    assert!(
        (size_of::<ReplyHeader>() + size_of::<DrainReply>()).is_multiple_of(align_of::<Record>())
    );
    assert!(size_of::<InstancesReply>() == 8);
    assert!(size_of::<InstanceInfo>() == 392);
    assert!(offset_of!(InstanceInfo, file_system) == 4);
    assert!(offset_of!(InstanceInfo, volume) == 8);
    assert!(offset_of!(InstanceInfo, instance) == 264);
    assert!(size_of::<StatusReply>() == 88);
    assert!(offset_of!(StatusReply, clients) == 12);
    assert!(offset_of!(StatusReply, head) == 32);
    assert!(size_of::<Notification>() == 16);
    assert!(offset_of!(Notification, newest) == 8);
};

impl InstanceInfo {
    /// Describes an instance; of a name that is too long, the beginning is kept.
    #[must_use]
    pub fn new(volume: &[u16], instance: &[u16], file_system: u32) -> Self {
        let mut info = Self {
            volume_length: u16::try_from(volume.len()).unwrap_or(u16::MAX),
            instance_length: u16::try_from(instance.len()).unwrap_or(u16::MAX),
            file_system,
            volume: [0; VOLUME_UNITS],
            instance: [0; INSTANCE_UNITS],
        };
        for (to, from) in info.volume.iter_mut().zip(volume) {
            *to = *from;
        }
        for (to, from) in info.instance.iter_mut().zip(instance) {
            *to = *from;
        }
        info
    }

    /// The volume's name, as far as it was kept.
    #[must_use]
    pub fn volume(&self) -> &[u16] {
        let kept = usize::from(self.volume_length).min(VOLUME_UNITS);
        self.volume.get(..kept).unwrap_or(&[])
    }

    /// The instance's name, as far as it was kept.
    #[must_use]
    pub fn instance(&self) -> &[u16] {
        let kept = usize::from(self.instance_length).min(INSTANCE_UNITS);
        self.instance.get(..kept).unwrap_or(&[])
    }
}

/// A reply as a client reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reply<'m> {
    /// What became of the request.
    pub status: NtStatus,
    /// What follows the header.
    pub body: &'m [u8],
}

impl<'m> Reply<'m> {
    /// Reads the header at the start of `message`; what lies behind the reply's own length is no part of it.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`].
    pub fn decode(message: &'m [u8]) -> Result<Self, DecodeError> {
        let truncated = |expected| DecodeError::Truncated {
            what: "a reply",
            found: message.len(),
            expected,
        };
        let (header, rest) = ReplyHeader::read_from_prefix(message)
            .map_err(|_| truncated(size_of::<ReplyHeader>()))?;
        let bytes = usize::try_from(header.bytes).unwrap_or(usize::MAX);
        let body = bytes
            .checked_sub(size_of::<ReplyHeader>())
            .and_then(|body| rest.get(..body))
            .ok_or_else(|| truncated(bytes.max(size_of::<ReplyHeader>())))?;
        Ok(Self {
            status: header.status,
            body,
        })
    }

    /// The body as one `T`.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`].
    pub fn body<T: FromBytes>(&self) -> Result<T, DecodeError> {
        T::read_from_prefix(self.body)
            .map(|(body, _)| body)
            .map_err(|_| DecodeError::Truncated {
                what: "a reply's body",
                found: self.body.len(),
                expected: size_of::<T>(),
            })
    }

    /// The body as a head and the `count` entries that follow it.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`] where fewer bytes follow than so many entries take.
    pub fn list<H: FromBytes, T: FromBytes>(
        &self,
        count: fn(&H) -> u32,
    ) -> Result<(H, impl Iterator<Item = T> + use<'m, H, T>), DecodeError> {
        let head: H = self.body()?;
        let entries = self.body.get(size_of::<H>()..).unwrap_or(&[]);
        let expected = usize::try_from(count(&head))
            .ok()
            .and_then(|count| count.checked_mul(size_of::<T>()))
            .unwrap_or(usize::MAX);
        let entries = entries.get(..expected).ok_or(DecodeError::Truncated {
            what: "a reply's entries",
            found: entries.len(),
            expected,
        })?;
        let entries = entries
            .chunks_exact(size_of::<T>().max(1))
            .filter_map(|entry| T::read_from_bytes(entry).ok());
        Ok((head, entries))
    }
}
