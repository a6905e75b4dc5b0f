//! Algorithm providers, and the properties of algorithms, hashes and keys.

use super::cipher::Mode;
use super::objects::{self, Object};
use super::{Answer, bytes, put, status};
use crate::ntos::irql;
use crate::ntos::memory::{Guest, terminated_wide};
use crate::status::NtStatus;
use crate::thread::PASSIVE_LEVEL;
use crate::{faults, verifier};

/// `BCRYPT_PROV_DISPATCH`.
const DISPATCH: u32 = 1;
/// `BCRYPT_ALG_HANDLE_HMAC_FLAG`.
const HMAC: u32 = 8;
/// `BCRYPT_HASH_REUSABLE_FLAG`.
pub(super) const REUSABLE: u32 = 0x20;
/// `MS_PRIMITIVE_PROVIDER`.
const PROVIDER: &str = "Microsoft Primitive Provider";
/// What Windows has and the bench has not.
const REFUSED: [&str; 18] = [
    "3DES",
    "3DES_112",
    "AES-CMAC",
    "AES-GMAC",
    "DES",
    "DESX",
    "DH",
    "DSA",
    "ECDH",
    "ECDH_P256",
    "ECDSA",
    "ECDSA_P256",
    "MD2",
    "MD4",
    "PBKDF2",
    "RC2",
    "RC4",
    "RSA",
];

/// What is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Md5,
    Sha1,
    Sha256,
    Sha384,
    Sha512,
    Aes,
    Random,
}

/// Each kind's name, a digest's length, and the bytes that an object of it takes. How many those are is the provider's own affair.
const KINDS: [(Kind, &str, u32, u32); 7] = [
    (Kind::Md5, "MD5", 16, 216),
    (Kind::Sha1, "SHA1", 20, 224),
    (Kind::Sha256, "SHA256", 32, 286),
    (Kind::Sha384, "SHA384", 48, 382),
    (Kind::Sha512, "SHA512", 64, 382),
    (Kind::Aes, "AES", 0, 654),
    (Kind::Random, "RNG", 0, 0),
];

impl Kind {
    fn row(self) -> (Self, &'static str, u32, u32) {
        KINDS
            .into_iter()
            .find(|row| row.0 == self)
            .unwrap_or(KINDS[0])
    }

    /// How long a digest is; 0: it makes none.
    pub(super) fn digest(self) -> u32 {
        self.row().2
    }

    /// How many bytes of the caller's an object takes.
    pub(super) fn object(self) -> u32 {
        self.row().3
    }
}

/// An opened algorithm.
#[derive(Clone, Copy, Debug)]
pub(super) struct Algorithm {
    /// What is computed.
    pub(super) kind: Kind,
    /// Whether hashes of it have a key.
    pub(super) hmac: bool,
    /// Whether its hashes begin again once they are finished.
    pub(super) reusable: bool,
    /// How its keys chain blocks.
    pub(super) mode: Mode,
}

impl Algorithm {
    const fn of(kind: Kind) -> Self {
        Self {
            kind,
            hmac: false,
            reusable: false,
            mode: Mode::Cbc,
        }
    }
}

/// The pseudo-handles of Windows 10: algorithms that need not be opened.
fn pseudo(handle: usize) -> Option<Algorithm> {
    let plain = Algorithm::of;
    let keyed = |kind| Algorithm {
        hmac: true,
        ..Algorithm::of(kind)
    };
    let aes = |mode| Algorithm {
        mode,
        ..Algorithm::of(Kind::Aes)
    };
    Some(match handle {
        0x21 => plain(Kind::Md5),
        0x31 => plain(Kind::Sha1),
        0x41 => plain(Kind::Sha256),
        0x51 => plain(Kind::Sha384),
        0x61 => plain(Kind::Sha512),
        0x81 => plain(Kind::Random),
        0x91 => keyed(Kind::Md5),
        0xA1 => keyed(Kind::Sha1),
        0xB1 => keyed(Kind::Sha256),
        0xC1 => keyed(Kind::Sha384),
        0xD1 => keyed(Kind::Sha512),
        0x1A1 => aes(Mode::Cbc),
        0x1B1 => aes(Mode::Ecb),
        0x1E1 => aes(Mode::Gcm),
        _ => return None,
    })
}

/// The algorithm of a handle, and whether it was opened for `DISPATCH_LEVEL`, which pseudo-handles are.
pub(super) fn find(call: &str, handle: usize) -> Answer<(Algorithm, bool)> {
    if let Some(algorithm) = pseudo(handle) {
        objects::level(call, true);
        return Ok((algorithm, true));
    }
    objects::with(call, handle, |object, dispatch| match object {
        Object::Algorithm(algorithm) => Ok((*algorithm, dispatch)),
        _ => Err(NtStatus::INVALID_HANDLE),
    })
}

fn open(name: &str, implementation: Guest<u16>, flags: u32) -> Answer<usize> {
    if flags & !(DISPATCH | HMAC | REUSABLE) != 0 {
        return Err(NtStatus::INVALID_PARAMETER);
    }
    let provider = |units: &[u16]| String::from_utf16_lossy(units) == PROVIDER;
    if !implementation.is_null() && !provider(&terminated_wide(implementation)) {
        return Err(NtStatus::NOT_FOUND);
    }
    let Some((kind, _, digest, _)) = KINDS.into_iter().find(|row| row.1 == name) else {
        if REFUSED.contains(&name) {
            verifier::finding(
                "refused",
                format!(
                    "BCryptOpenAlgorithmProvider: the bench has no {name}; the driver gets STATUS_NOT_FOUND"
                ),
            );
        }
        return Err(NtStatus::NOT_FOUND);
    };
    if digest == 0 && flags & (HMAC | REUSABLE) != 0 {
        return Err(NtStatus::INVALID_PARAMETER);
    }
    let algorithm = Algorithm {
        hmac: flags & HMAC != 0,
        reusable: flags & REUSABLE != 0,
        ..Algorithm::of(kind)
    };
    Ok(objects::add(
        Object::Algorithm(algorithm),
        flags & DISPATCH != 0,
        None,
    ))
}

fn text(text: &str) -> Vec<u8> {
    text.encode_utf16()
        .chain([0])
        .flat_map(u16::to_le_bytes)
        .collect()
}

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

/// A property, as bytes.
fn property(kind: Kind, mode: Mode, key_bits: Option<u32>, name: &str) -> Answer<Vec<u8>> {
    let aes = kind == Kind::Aes;
    Ok(match name {
        "AlgorithmName" => text(kind.row().1),
        "ProviderHandle" | "PrimitiveType" => return Err(NtStatus::NOT_SUPPORTED),
        "ObjectLength" if kind != Kind::Random => words(&[kind.object()]),
        "HashDigestLength" if kind.digest() != 0 => words(&[kind.digest()]),
        "HashBlockLength" if kind.digest() != 0 => words(&[match kind {
            Kind::Sha384 | Kind::Sha512 => 128,
            _ => 64,
        }]),
        "BlockLength" if aes => words(&[16]),
        "BlockSizeList" if aes => words(&[16]),
        "ChainingMode" if aes => text(mode.name()),
        "KeyLengths" if aes => words(&[128, 256, 64]),
        "AuthTagLength" if mode == Mode::Gcm => words(&[12, 16, 1]),
        "KeyLength" | "KeyStrength" => words(&[key_bits.ok_or(NtStatus::NOT_SUPPORTED)?]),
        _ => return Err(NtStatus::NOT_SUPPORTED),
    })
}

fn property_of(handle: usize, name: &str) -> Answer<Vec<u8>> {
    if let Some(algorithm) = pseudo(handle) {
        return property(algorithm.kind, algorithm.mode, None, name);
    }
    objects::with("BCryptGetProperty", handle, |object, _| match object {
        Object::Algorithm(algorithm) => property(algorithm.kind, algorithm.mode, None, name),
        Object::Hash(hash) => property(hash.algorithm.kind, Mode::Cbc, None, name),
        Object::Key(key) => property(Kind::Aes, key.mode, Some(key.bits()), name),
    })
}

fn set_property(handle: usize, name: &str, value: &[u8]) -> Answer {
    objects::with("BCryptSetProperty", handle, |object, _| {
        let mode = match (name, &*object) {
            ("ChainingMode", Object::Key(_)) => Mode::parse(value)?,
            ("ChainingMode", Object::Algorithm(algorithm)) if algorithm.kind == Kind::Aes => {
                Mode::parse(value)?
            }
            _ => return Err(NtStatus::NOT_SUPPORTED),
        };
        match object {
            Object::Algorithm(algorithm) => algorithm.mode = mode,
            Object::Key(key) => key.mode = mode,
            Object::Hash(_) => {}
        }
        Ok(())
    })
}

fn name_of(name: Guest<u16>) -> Answer<String> {
    if name.is_null() {
        return Err(NtStatus::INVALID_PARAMETER);
    }
    Ok(String::from_utf16_lossy(&terminated_wide(name)))
}

exports! { "cng.sys";
    /// Opens an algorithm by name.
    partial "MD5, SHA-1, -256, -384, -512 with HMAC, AES and RNG; others are refused by name"
    fn BCryptOpenAlgorithmProvider(handle: Guest<usize>, name: Guest<u16>, implementation: Guest<u16>, flags: u32) -> NtStatus {
        irql::at_most("BCryptOpenAlgorithmProvider", PASSIVE_LEVEL);
        if let Some(status) = faults::check("BCryptOpenAlgorithmProvider") {
            return status;
        }
        if handle.is_null() {
            return NtStatus::INVALID_PARAMETER;
        }
        status(name_of(name).and_then(|name| open(&name, implementation, flags)).map(|opened| handle.write(opened)))
    }

    /// Closes it; keys and hashes of it stay.
    fn BCryptCloseAlgorithmProvider(handle: usize, flags: u32) -> NtStatus {
        irql::at_most("BCryptCloseAlgorithmProvider", PASSIVE_LEVEL);
        if flags != 0 {
            return NtStatus::INVALID_PARAMETER;
        }
        let algorithm = |object: &Object| matches!(object, Object::Algorithm(_));
        status(objects::remove("BCryptCloseAlgorithmProvider", handle, algorithm))
    }

    /// A property of an algorithm, a hash or a key.
    partial "names, lengths and the chaining mode"
    fn BCryptGetProperty(
        handle: usize, name: Guest<u16>, out: Guest<u8>, room: u32, length: Guest<u32>, flags: u32,
    ) -> NtStatus {
        if let Some(status) = faults::check("BCryptGetProperty") {
            return status;
        }
        if length.is_null() || flags != 0 {
            return NtStatus::INVALID_PARAMETER;
        }
        let value = name_of(name).and_then(|name| property_of(handle, &name));
        status(value.and_then(|value| put(&value, out, room, length)))
    }

    /// Sets a property.
    partial "the chaining mode alone, of AES and its keys: CBC, ECB or GCM"
    fn BCryptSetProperty(handle: usize, name: Guest<u16>, value: Guest<u8>, length: u32, flags: u32) -> NtStatus {
        if let Some(status) = faults::check("BCryptSetProperty") {
            return status;
        }
        if flags != 0 {
            return NtStatus::INVALID_PARAMETER;
        }
        let value = bytes(value, length);
        status(name_of(name).and_then(|name| set_property(handle, &name, &value)))
    }
}
