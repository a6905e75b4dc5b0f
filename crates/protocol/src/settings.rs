//! The settings in force, as they lie in the driver: the third thing that a reader of its memory finds.

use core::mem::{offset_of, size_of};

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::{CONFIG_VERSION, Config, DecodeError, check_size};

/// The first bytes of the settings, readable in a hex dump and searched for in a crash dump.
pub const CONFIG_SIGNATURE: [u8; 16] = *b"HEADROOM CONFIG\0";

/// The driver's static that holds the [`ConfigBlock`].
pub const CONFIG_SYMBOL: &str = "HEADROOM_CONFIG";

/// The settings with their signature.
///
/// The driver reads and writes each on its own, so what a live reader sees may be a mixture of two configurations; each
/// setting is whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C, align(16))]
pub struct ConfigBlock {
    /// [`CONFIG_SIGNATURE`].
    pub signature: [u8; 16],
    /// The settings.
    pub config: Config,
}

const _: () = {
    assert!(size_of::<ConfigBlock>() == 48);
    assert!(offset_of!(ConfigBlock, config) == 16);
};

impl ConfigBlock {
    /// Reads settings from the start of `bytes`, and checks that this reader understands them.
    ///
    /// # Errors
    /// [`DecodeError`], which says what was found and what was expected.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let (block, _) = Self::read_from_prefix(bytes).map_err(|_| DecodeError::Truncated {
            what: "the settings",
            found: bytes.len(),
            expected: size_of::<Self>(),
        })?;
        if block.signature != CONFIG_SIGNATURE {
            return Err(DecodeError::Signature {
                symbol: CONFIG_SYMBOL,
                found: block.signature,
            });
        }
        if block.config.version != CONFIG_VERSION {
            return Err(DecodeError::Version {
                symbol: CONFIG_SYMBOL,
                found: block.config.version.into(),
                known: CONFIG_VERSION.into(),
            });
        }
        check_size("settings", block.config.bytes.into(), size_of::<Config>())?;
        Ok(block)
    }
}

/// The offsets in `bytes` at which settings stand that this reader understands.
pub fn find_configs(bytes: &[u8]) -> impl Iterator<Item = (usize, Config)> + '_ {
    bytes
        .windows(CONFIG_SIGNATURE.len())
        .enumerate()
        .filter(|(_, window)| **window == CONFIG_SIGNATURE)
        .filter_map(|(at, _)| Some((at, ConfigBlock::decode(bytes.get(at..)?).ok()?.config)))
}
