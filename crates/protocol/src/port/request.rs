//! From client to driver.

use core::mem::{offset_of, size_of};

use thiserror::Error;
use zerocopy::error::CastError;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::named::named;
use crate::{Config, NtStatus};

/// The longest name of a volume in a message, in UTF-16 units.
pub const VOLUME_UNITS: usize = 128;

/// The longest name of an instance, in UTF-16 units.
pub const INSTANCE_UNITS: usize = 64;

/// The most records that one drain returns.
pub const MAXIMUM_DRAIN_RECORDS: u32 = 256;

/// The longest request. A driver need not look at a longer one.
pub const MAXIMUM_REQUEST_BYTES: usize = size_of::<RequestHeader>() + size_of::<InstanceName>();

named! {
    /// What is asked for.
    RequestKind: u32 {
        /// The settings in force. Reply: [`Config`].
        GET_CONFIG = 1, "GetConfig";
        /// Changes the settings. Body: [`Config`]. Reply: none, or [`crate::Rejection`] with STATUS_INVALID_PARAMETER.
        SET_CONFIG = 2, "SetConfig";
        /// Records. Body: [`Drain`]. Reply: [`DrainReply`](super::DrainReply) and the records.
        DRAIN = 3, "Drain";
        /// Reply: [`crate::Watermarks`].
        WATERMARKS = 4, "Watermarks";
        /// Starts the watermarks afresh.
        RESET_WATERMARKS = 5, "ResetWatermarks";
        /// Attaches to a volume. Body: [`InstanceName`].
        ATTACH = 6, "Attach";
        /// Detaches from a volume. Body: [`InstanceName`].
        DETACH = 7, "Detach";
        /// Reply: [`InstancesReply`](super::InstancesReply) and that many [`InstanceInfo`](super::InstanceInfo).
        INSTANCES = 8, "Instances";
        /// Reply: [`StatusReply`](super::StatusReply). Since version 1.1.
        STATUS = 9, "Status";
    }
}

/// What each request starts with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct RequestHeader {
    /// What is asked for.
    pub request: RequestKind,
    /// Bytes of the whole request, this header included: exactly what is sent.
    pub bytes: u32,
}

/// Which records are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Drain {
    /// The first sequence wanted; 0 and 1 mean the oldest.
    pub from: u64,
    /// At most so many records; the reply's room and [`MAXIMUM_DRAIN_RECORDS`] bound them too.
    pub limit: u32,
    /// Zero.
    pub reserved: u32,
}

/// A volume, and an instance on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct InstanceName {
    /// Used units of [`volume`](Self::volume); at least one.
    pub volume_length: u16,
    /// Used units of [`instance`](Self::instance); 0: the default instance.
    pub instance_length: u16,
    /// The volume's name, e.g. `\Device\HarddiskVolume3` or `\Device\Mup`.
    pub volume: [u16; VOLUME_UNITS],
    /// The instance's name.
    pub instance: [u16; INSTANCE_UNITS],
}

const _: () = {
    assert!(size_of::<RequestHeader>() == 8);
    assert!(size_of::<Drain>() == 16);
    assert!(offset_of!(Drain, limit) == 8);
    assert!(size_of::<InstanceName>() == 388);
    assert!(offset_of!(InstanceName, volume) == 4);
    assert!(offset_of!(InstanceName, instance) == 260);
};

impl InstanceName {
    /// Takes the two names, where they fit.
    #[must_use]
    pub fn new(volume: &[u16], instance: &[u16]) -> Option<Self> {
        let mut name = Self {
            volume_length: u16::try_from(volume.len()).ok()?,
            instance_length: u16::try_from(instance.len()).ok()?,
            volume: [0; VOLUME_UNITS],
            instance: [0; INSTANCE_UNITS],
        };
        name.volume.get_mut(..volume.len())?.copy_from_slice(volume);
        name.instance
            .get_mut(..instance.len())?
            .copy_from_slice(instance);
        Some(name)
    }

    /// The volume's name; empty where its length is damaged.
    #[must_use]
    pub fn volume(&self) -> &[u16] {
        self.volume.get(..self.volume_length.into()).unwrap_or(&[])
    }

    /// The instance's name; empty where its length is damaged.
    #[must_use]
    pub fn instance(&self) -> &[u16] {
        self.instance
            .get(..self.instance_length.into())
            .unwrap_or(&[])
    }

    fn holds(&self) -> bool {
        (1..=VOLUME_UNITS).contains(&self.volume_length.into())
            && usize::from(self.instance_length) <= INSTANCE_UNITS
    }
}

/// A request, taken apart. What is large is borrowed from the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request<'m> {
    /// [`RequestKind::GET_CONFIG`].
    GetConfig,
    /// [`RequestKind::SET_CONFIG`]: not validated yet, since that takes the settings in force.
    SetConfig(&'m Config),
    /// [`RequestKind::DRAIN`].
    Drain(Drain),
    /// [`RequestKind::WATERMARKS`].
    Watermarks,
    /// [`RequestKind::RESET_WATERMARKS`].
    ResetWatermarks,
    /// [`RequestKind::ATTACH`].
    Attach(&'m InstanceName),
    /// [`RequestKind::DETACH`].
    Detach(&'m InstanceName),
    /// [`RequestKind::INSTANCES`].
    Instances,
    /// [`RequestKind::STATUS`].
    Status,
}

/// Why a message is no request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum BadRequest {
    /// It is shorter than its header, or its header gives another length.
    #[error("the message has {found} bytes where {expected} belong")]
    Length {
        /// Bytes sent.
        found: usize,
        /// Bytes that the header or the request's kind asks for.
        expected: usize,
    },
    /// No such request.
    #[error("there is no request {0}")]
    Unknown(RequestKind),
    /// The bytes do not start at a multiple of 4: they have to be copied first.
    #[error("the message is not aligned")]
    Misaligned,
    /// A reserved field is not zero, or a length leads out of its field.
    #[error("a field of the message has a value that it cannot have")]
    Field,
}

impl BadRequest {
    /// What the client is told.
    #[must_use]
    pub const fn status(self) -> NtStatus {
        match self {
            Self::Length { .. } => NtStatus::INFO_LENGTH_MISMATCH,
            Self::Unknown(_) => NtStatus::INVALID_DEVICE_REQUEST,
            Self::Misaligned => NtStatus::DATATYPE_MISALIGNMENT,
            Self::Field => NtStatus::INVALID_PARAMETER,
        }
    }
}

impl<'m> Request<'m> {
    /// Takes a message apart. `message` is the driver's own copy, never memory that the client can still write to.
    ///
    /// # Errors
    /// [`BadRequest`].
    pub fn decode(message: &'m [u8]) -> Result<Self, BadRequest> {
        let (header, body) =
            RequestHeader::read_from_prefix(message).map_err(|_| BadRequest::Length {
                found: message.len(),
                expected: size_of::<RequestHeader>(),
            })?;
        let expected = usize::try_from(header.bytes).unwrap_or(usize::MAX);
        if expected != message.len() {
            return Err(BadRequest::Length {
                found: message.len(),
                expected,
            });
        }
        match header.request {
            RequestKind::GET_CONFIG => nothing(body, Self::GetConfig),
            RequestKind::SET_CONFIG => borrowed(body).map(Self::SetConfig),
            RequestKind::DRAIN => {
                let drain = Drain::read_from_bytes(body)
                    .map_err(|_| wrong_length(body.len(), size_of::<Drain>()))?;
                if drain.reserved == 0 {
                    Ok(Self::Drain(drain))
                } else {
                    Err(BadRequest::Field)
                }
            }
            RequestKind::WATERMARKS => nothing(body, Self::Watermarks),
            RequestKind::RESET_WATERMARKS => nothing(body, Self::ResetWatermarks),
            RequestKind::ATTACH => name(body).map(Self::Attach),
            RequestKind::DETACH => name(body).map(Self::Detach),
            RequestKind::INSTANCES => nothing(body, Self::Instances),
            RequestKind::STATUS => nothing(body, Self::Status),
            unknown => Err(BadRequest::Unknown(unknown)),
        }
    }

    /// Which request it is.
    #[must_use]
    pub const fn kind(&self) -> RequestKind {
        match self {
            Self::GetConfig => RequestKind::GET_CONFIG,
            Self::SetConfig(_) => RequestKind::SET_CONFIG,
            Self::Drain(_) => RequestKind::DRAIN,
            Self::Watermarks => RequestKind::WATERMARKS,
            Self::ResetWatermarks => RequestKind::RESET_WATERMARKS,
            Self::Attach(_) => RequestKind::ATTACH,
            Self::Detach(_) => RequestKind::DETACH,
            Self::Instances => RequestKind::INSTANCES,
            Self::Status => RequestKind::STATUS,
        }
    }

    /// Writes the request to the start of `message`, and returns the part written; `None` where it has no room.
    /// [`MAXIMUM_REQUEST_BYTES`] are enough for each.
    #[must_use]
    pub fn encode<'b>(&self, message: &'b mut [u8]) -> Option<&'b [u8]> {
        let body = match self {
            Self::SetConfig(config) => config.as_bytes(),
            Self::Drain(drain) => drain.as_bytes(),
            Self::Attach(name) | Self::Detach(name) => name.as_bytes(),
            _ => &[],
        };
        let bytes = size_of::<RequestHeader>().checked_add(body.len())?;
        let header = RequestHeader {
            request: self.kind(),
            bytes: u32::try_from(bytes).ok()?,
        };
        let message = message.get_mut(..bytes)?;
        let (head, tail) = message.split_at_mut_checked(size_of::<RequestHeader>())?;
        head.copy_from_slice(header.as_bytes());
        tail.copy_from_slice(body);
        Some(message)
    }
}

fn wrong_length(body: usize, expected: usize) -> BadRequest {
    BadRequest::Length {
        found: body.saturating_add(size_of::<RequestHeader>()),
        expected: expected.saturating_add(size_of::<RequestHeader>()),
    }
}

fn nothing<'m>(body: &[u8], request: Request<'m>) -> Result<Request<'m>, BadRequest> {
    if body.is_empty() {
        Ok(request)
    } else {
        Err(wrong_length(body.len(), 0))
    }
}

fn borrowed<T: FromBytes + KnownLayout + Immutable>(body: &[u8]) -> Result<&T, BadRequest> {
    T::ref_from_bytes(body).map_err(|error| match error {
        CastError::Alignment(_) => BadRequest::Misaligned,
        CastError::Size(_) => wrong_length(body.len(), size_of::<T>()),
    })
}

fn name(body: &[u8]) -> Result<&InstanceName, BadRequest> {
    let name: &InstanceName = borrowed(body)?;
    if name.holds() {
        Ok(name)
    } else {
        Err(BadRequest::Field)
    }
}
