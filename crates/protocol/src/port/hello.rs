//! The handshake.

use core::mem::{offset_of, size_of};

use thiserror::Error;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::NtStatus;

/// The first bytes of a [`Hello`].
pub const MAGIC: [u8; 8] = *b"HEADROOM";

/// Raised when a message changes so that the other version would misread it.
pub const VERSION_MAJOR: u16 = 1;

/// Raised when a message is added: a driver serves clients of its own and of lower minor versions.
///
/// 1 added [`RequestKind::STATUS`](super::RequestKind::STATUS).
pub const VERSION_MINOR: u16 = 1;

/// The connection context: who calls, and in which version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Hello {
    /// [`MAGIC`].
    pub magic: [u8; 8],
    /// [`VERSION_MAJOR`].
    pub major: u16,
    /// [`VERSION_MINOR`].
    pub minor: u16,
    /// Size of this structure.
    pub bytes: u32,
}

const _: () = {
    assert!(size_of::<Hello>() == 16);
    assert!(offset_of!(Hello, major) == 8);
    assert!(offset_of!(Hello, minor) == 10);
    assert!(offset_of!(Hello, bytes) == 12);
};

/// Why a client is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Refusal {
    /// The connection context is no [`Hello`].
    #[error("the connection context is none of Headroom's: connect with `Hello::CURRENT`")]
    NoHello,
    /// Another version.
    #[error(
        "the client speaks version {major}.{minor}, the driver {VERSION_MAJOR}.{VERSION_MINOR}: use the harness that was \
         built with the driver"
    )]
    Version {
        /// The client's major version.
        major: u16,
        /// The client's minor version.
        minor: u16,
    },
}

impl Refusal {
    /// What the connect returns.
    #[must_use]
    pub const fn status(self) -> NtStatus {
        match self {
            Self::NoHello => NtStatus::INVALID_PARAMETER,
            Self::Version { .. } => NtStatus::REVISION_MISMATCH,
        }
    }
}

impl Hello {
    /// This version's.
    pub const CURRENT: Self = Self {
        magic: MAGIC,
        major: VERSION_MAJOR,
        minor: VERSION_MINOR,
        bytes: 16,
    };

    /// What a client of this version says to a driver that refused [`CURRENT`](Self::CURRENT): no more than the first minor
    /// version asks for. The driver then lacks what later ones added.
    pub const OLDEST: Self = Self {
        minor: 0,
        ..Self::CURRENT
    };

    /// Reads a client's context, and judges whether this version can serve it.
    ///
    /// The version stands at a fixed place in all versions, so it is judged before the size: a client of a later one hears
    /// that, and not that its context is too long.
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn judge(context: &[u8]) -> Result<Self, Refusal> {
        let Ok((hello, rest)) = Self::read_from_prefix(context) else {
            return Err(Refusal::NoHello);
        };
        if hello.magic != MAGIC {
            return Err(Refusal::NoHello);
        }
        if hello.major != VERSION_MAJOR || hello.minor > VERSION_MINOR {
            return Err(Refusal::Version {
                major: hello.major,
                minor: hello.minor,
            });
        }
        if !rest.is_empty() || usize::try_from(hello.bytes) != Ok(size_of::<Self>()) {
            return Err(Refusal::NoHello);
        }
        Ok(hello)
    }
}
