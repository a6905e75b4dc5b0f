//! Why bytes could not be read, and how to find an anchor among bytes.

use thiserror::Error;

use crate::{Anchor, SIGNATURE};

/// Why bytes are not what they were taken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum DecodeError {
    /// Fewer bytes than the layout has.
    #[error("{what} takes {expected} bytes, but only {found} could be read")]
    Truncated {
        /// What was to be read.
        what: &'static str,
        /// Bytes at hand.
        found: usize,
        /// Bytes needed.
        expected: usize,
    },
    /// Something else stands here.
    #[error("the signature reads {found:02x?}: is this the address of {symbol}?")]
    Signature {
        /// The driver's static that was to be read.
        symbol: &'static str,
        /// The bytes in its place.
        found: [u8; 16],
    },
    /// The driver has another layout than this reader.
    #[error(
        "the driver's {symbol} has layout version {found}, this reader knows version {known}: use the harness that was \
         built with that driver"
    )]
    Version {
        /// The driver's static that was read.
        symbol: &'static str,
        /// The driver's version.
        found: u32,
        /// This reader's.
        known: u32,
    },
    /// A size contradicts the version: what was read is damaged, or a version was not raised when it had to be.
    #[error(
        "the size of the {what} reads {found}, where this layout version has {expected}: it is damaged"
    )]
    Size {
        /// Which size.
        what: &'static str,
        /// What the anchor says.
        found: u32,
        /// What the version says.
        expected: usize,
    },
    /// A capacity that no driver of this version writes.
    #[error("the ring has {found} slots, which is no power of two: the anchor is damaged")]
    Capacity {
        /// What the anchor says.
        found: u64,
    },
}

/// The offsets in `bytes` at which an anchor stands that this reader understands.
///
/// This is how a crash dump is read without symbols. The signature alone also occurs where a program merely knows it,
/// in this crate's own constants for one, so each place is decoded before it is believed.
pub fn find_anchors(bytes: &[u8]) -> impl Iterator<Item = (usize, Anchor)> + '_ {
    bytes
        .windows(SIGNATURE.len())
        .enumerate()
        .filter(|(_, window)| **window == SIGNATURE)
        .filter_map(|(at, _)| Some((at, Anchor::decode(bytes.get(at..)?).ok()?)))
}

pub(crate) fn check_size(
    what: &'static str,
    found: u32,
    expected: usize,
) -> Result<(), DecodeError> {
    if usize::try_from(found) == Ok(expected) {
        Ok(())
    } else {
        Err(DecodeError::Size {
            what,
            found,
            expected,
        })
    }
}
