//! AES, as keys chain its blocks.

use aes::cipher::{
    BlockCipher, BlockDecrypt, BlockDecryptMut, BlockEncrypt, BlockEncryptMut, BlockSizeUser,
    KeyInit, KeyIvInit,
};
use aes::{Aes128, Aes192, Aes256, Block};
use aes_gcm::AesGcm;
use aes_gcm::aead::AeadInPlace;
use aes_gcm::aead::generic_array::typenum::{U12, U16};

use super::Answer;
use crate::status::NtStatus;
use crate::verifier;

/// A block's bytes.
pub(super) const BLOCK: usize = 16;

/// How blocks are chained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    Cbc,
    Ecb,
    Gcm,
}

impl Mode {
    /// As `BCRYPT_CHAINING_MODE` has it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Cbc => "ChainingModeCBC",
            Self::Ecb => "ChainingModeECB",
            Self::Gcm => "ChainingModeGCM",
        }
    }

    /// From a property's bytes: text, with or without its terminator.
    pub(super) fn parse(value: &[u8]) -> Answer<Self> {
        let units: Vec<u16> = value
            .chunks_exact(2)
            .map(|pair| u16::from_le_bytes([pair[0], pair[1]]))
            .take_while(|unit| *unit != 0)
            .collect();
        let name = String::from_utf16_lossy(&units);
        let known = [Self::Cbc, Self::Ecb, Self::Gcm];
        if let Some(mode) = known.into_iter().find(|mode| mode.name() == name) {
            return Ok(mode);
        }
        if ["ChainingModeCFB", "ChainingModeCCM"].contains(&name.as_str()) {
            verifier::finding(
                "refused",
                format!(
                    "BCryptSetProperty: the bench has no {name}; the driver gets STATUS_NOT_SUPPORTED"
                ),
            );
        }
        Err(NtStatus::NOT_SUPPORTED)
    }
}

/// Which way.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    Encrypt,
    Decrypt,
}

/// Calls a generic function with the AES of a key's length.
macro_rules! by_key {
    ($key:expr, $function:ident $arguments:tt) => {
        match $key.len() {
            16 => $function::<Aes128> $arguments,
            24 => $function::<Aes192> $arguments,
            _ => $function::<Aes256> $arguments,
        }
    };
}

/// AES of one key length.
trait Aes:
    KeyInit + BlockCipher + BlockSizeUser<BlockSize = U16> + BlockEncrypt + BlockDecrypt
{
}

impl Aes for Aes128 {}
impl Aes for Aes192 {}
impl Aes for Aes256 {}

/// Whole blocks, in place. In CBC `iv` becomes what the next piece is chained to.
pub(super) fn blocks(
    way: Way,
    mode: Mode,
    key: &[u8],
    iv: &mut [u8; BLOCK],
    data: &mut [u8],
) -> Answer {
    match mode {
        Mode::Ecb => by_key!(key, ecb(way, key, data)),
        _ => by_key!(key, cbc(way, key, iv, data)),
    }
}

fn ecb<C: Aes>(way: Way, key: &[u8], data: &mut [u8]) -> Answer {
    let cipher = C::new_from_slice(key).map_err(|_| NtStatus::INVALID_PARAMETER)?;
    for block in data.chunks_exact_mut(BLOCK) {
        let block = Block::from_mut_slice(block);
        match way {
            Way::Encrypt => cipher.encrypt_block(block),
            Way::Decrypt => cipher.decrypt_block(block),
        }
    }
    Ok(())
}

fn cbc<C: Aes>(way: Way, key: &[u8], iv: &mut [u8; BLOCK], data: &mut [u8]) -> Answer {
    let wrong = |_| NtStatus::INVALID_PARAMETER;
    let last = |data: &[u8]| data.last_chunk::<BLOCK>().copied();
    match way {
        Way::Encrypt => {
            let mut chain = cbc::Encryptor::<C>::new_from_slices(key, iv).map_err(wrong)?;
            for block in data.chunks_exact_mut(BLOCK) {
                chain.encrypt_block_mut(Block::from_mut_slice(block));
            }
            *iv = last(data).unwrap_or(*iv);
        }
        Way::Decrypt => {
            let next = last(data).unwrap_or(*iv);
            let mut chain = cbc::Decryptor::<C>::new_from_slices(key, iv).map_err(wrong)?;
            for block in data.chunks_exact_mut(BLOCK) {
                chain.decrypt_block_mut(Block::from_mut_slice(block));
            }
            *iv = next;
        }
    }
    Ok(())
}

/// Data of any length, in place; gives the whole tag of what is encrypted, whichever way it went.
pub(super) fn gcm(
    way: Way,
    key: &[u8],
    nonce: [u8; 12],
    aad: &[u8],
    data: &mut [u8],
) -> Answer<[u8; BLOCK]> {
    by_key!(key, gcm_by(way, key, nonce, aad, data))
}

fn gcm_by<C: Aes>(
    way: Way,
    key: &[u8],
    nonce: [u8; 12],
    aad: &[u8],
    data: &mut [u8],
) -> Answer<[u8; BLOCK]> {
    let wrong = |_| NtStatus::INVALID_PARAMETER;
    let cipher = AesGcm::<C, U12, U16>::new_from_slice(key).map_err(wrong)?;
    let pass = |data: &mut [u8]| {
        cipher
            .encrypt_in_place_detached(&nonce.into(), aad, data)
            .map_err(|_| NtStatus::INVALID_PARAMETER)
    };
    let tag = pass(data)?;
    if way == Way::Encrypt {
        return Ok(tag.into());
    }
    // GCM's keystream is the same both ways; the tag is of the encrypted data, which encrypting the result makes again.
    let mut again = data.to_vec();
    Ok(pass(&mut again)?.into())
}
