//! Symmetric keys: made, copied, exported, and used.

use super::algorithm::{self, Kind};
use super::cipher::{self, BLOCK, Mode, Way};
use super::objects::{self, Object};
use super::{Answer, bytes, put, status};
use crate::faults;
use crate::ntos::memory::{Guest, terminated_wide};
use crate::status::NtStatus;
use crate::verifier;

/// `BCRYPT_BLOCK_PADDING`.
const BLOCK_PADDING: u32 = 1;
/// `BCRYPT_KEY_DATA_BLOB`, and its header: magic, version, and the key's length.
const DATA_BLOB: &str = "KeyDataBlob";
const MAGIC: u32 = 0x4D42_444B;
const VERSION: u32 = 1;
/// `BCRYPT_AUTH_MODE_CHAIN_CALLS_FLAG`.
const CHAIN_CALLS: u32 = 1;

/// `BCRYPT_AUTHENTICATED_CIPHER_MODE_INFO`.
#[repr(C)]
#[derive(Clone, Copy)]
struct AuthInfo {
    size: u32,
    version: u32,
    nonce: *mut u8,
    nonce_length: u32,
    aad: *mut u8,
    aad_length: u32,
    tag: *mut u8,
    tag_length: u32,
    mac_context: *mut u8,
    mac_context_length: u32,
    aad_so_far: u32,
    data_so_far: u64,
    flags: u32,
}

const _: () = assert!(size_of::<AuthInfo>() == 88);

/// A key of AES.
#[derive(Clone)]
pub(super) struct Key {
    secret: Vec<u8>,
    /// How it chains blocks.
    pub(super) mode: Mode,
}

impl Key {
    /// Its length in bits.
    pub(super) fn bits(&self) -> u32 {
        u32::try_from(self.secret.len() * 8).unwrap_or(0)
    }

    /// As `BCryptExportKey` gives it.
    fn blob(&self) -> Vec<u8> {
        let header = [MAGIC, VERSION, self.bits() / 8];
        let header = header.iter().flat_map(|word| word.to_le_bytes());
        header.chain(self.secret.iter().copied()).collect()
    }
}

fn of(object: &mut Object) -> Answer<&mut Key> {
    match object {
        Object::Key(key) => Ok(key),
        _ => Err(NtStatus::INVALID_HANDLE),
    }
}

fn is_key(object: &Object) -> bool {
    matches!(object, Object::Key(_))
}

/// Makes a key of an opened algorithm.
fn make(call: &str, provider: usize, secret: Vec<u8>, object: (Guest<u8>, u32)) -> Answer<usize> {
    let (algorithm, dispatch) = algorithm::find(call, provider)?;
    if algorithm.kind != Kind::Aes {
        return Err(NtStatus::NOT_SUPPORTED);
    }
    if ![16, 24, 32].contains(&secret.len()) {
        return Err(NtStatus::INVALID_PARAMETER);
    }
    let memory = objects::memory(object.0, object.1, Kind::Aes.object())?;
    let key = Key {
        secret,
        mode: algorithm.mode,
    };
    Ok(objects::add(Object::Key(key), dispatch, memory))
}

/// The key in a `BCRYPT_KEY_DATA_BLOB`.
fn from_blob(blob: &[u8]) -> Answer<Vec<u8>> {
    let word = |index: usize| {
        let bytes = blob.get(index * 4..index * 4 + 4)?;
        Some(u32::from_le_bytes(bytes.try_into().ok()?))
    };
    if (word(0), word(1)) != (Some(MAGIC), Some(VERSION)) {
        return Err(NtStatus::INVALID_PARAMETER);
    }
    let length = word(2).ok_or(NtStatus::INVALID_PARAMETER)? as usize;
    let secret = blob.get(12..).and_then(|rest| rest.get(..length));
    Ok(secret.ok_or(NtStatus::INVALID_PARAMETER)?.to_vec())
}

fn is_data_blob(call: &str, kind: Guest<u16>) -> Answer {
    if kind.is_null() {
        return Err(NtStatus::INVALID_PARAMETER);
    }
    let kind = String::from_utf16_lossy(&terminated_wide(kind));
    if kind == DATA_BLOB {
        return Ok(());
    }
    verifier::finding(
        "refused",
        format!("{call}: the bench has no {kind:?}; the driver gets STATUS_NOT_SUPPORTED"),
    );
    Err(NtStatus::NOT_SUPPORTED)
}

/// A call of `BCryptEncrypt` or `BCryptDecrypt`.
struct Work {
    input: Vec<u8>,
    padding: usize,
    iv: Guest<u8>,
    iv_length: u32,
    flags: u32,
}

impl Work {
    /// What comes out of a plain mode. Its length is known without it, which is all that a call without room asks for.
    fn plain(&self, way: Way, key: &Key, wanted: bool) -> Answer<Vec<u8>> {
        let pads = self.flags & BLOCK_PADDING != 0;
        if self.flags & !BLOCK_PADDING != 0 {
            return Err(NtStatus::INVALID_PARAMETER);
        }
        let mut data = self.input.clone();
        if pads && way == Way::Encrypt {
            let count = BLOCK - data.len() % BLOCK;
            data.resize(data.len() + count, u8::try_from(count).unwrap_or(0));
        }
        if !data.len().is_multiple_of(BLOCK) || (pads && data.is_empty()) {
            return Err(NtStatus::INVALID_BUFFER_SIZE);
        }
        if !wanted {
            return Ok(data);
        }
        let mut iv = [0; BLOCK];
        if !self.iv.is_null() {
            if key.mode == Mode::Cbc && self.iv_length as usize != BLOCK {
                return Err(NtStatus::INVALID_PARAMETER);
            }
            let given = bytes(self.iv, self.iv_length);
            iv[..given.len().min(BLOCK)].copy_from_slice(&given[..given.len().min(BLOCK)]);
        }
        cipher::blocks(way, key.mode, &key.secret, &mut iv, &mut data)?;
        if !self.iv.is_null() && key.mode == Mode::Cbc {
            self.iv.write_many(&iv);
        }
        if pads && way == Way::Decrypt {
            let count = usize::from(*data.last().unwrap_or(&0));
            let kept = data
                .len()
                .checked_sub(count)
                .filter(|_| (1..=BLOCK).contains(&count));
            let kept = kept.ok_or(NtStatus::UNSUCCESSFUL)?;
            if data[kept..].iter().any(|byte| usize::from(*byte) != count) {
                return Err(NtStatus::UNSUCCESSFUL);
            }
            data.truncate(kept);
        }
        Ok(data)
    }

    /// What comes out of GCM; the tag goes to where the caller's structure says, or is compared with what is there.
    fn authenticated(&self, way: Way, key: &Key, wanted: bool) -> Answer<Vec<u8>> {
        if self.padding == 0 || self.flags != 0 {
            return Err(NtStatus::INVALID_PARAMETER);
        }
        let info: AuthInfo = Guest::at(self.padding).read();
        if (info.size as usize, info.version) != (size_of::<AuthInfo>(), 1) {
            return Err(NtStatus::INVALID_PARAMETER);
        }
        if info.flags & CHAIN_CALLS != 0 {
            verifier::finding(
                "refused",
                "the bench has no BCRYPT_AUTH_MODE_CHAIN_CALLS_FLAG; the driver gets STATUS_NOT_SUPPORTED",
            );
            return Err(NtStatus::NOT_SUPPORTED);
        }
        let tag_length = info.tag_length as usize;
        if info.nonce_length != 12 || info.tag.is_null() || !(12..=BLOCK).contains(&tag_length) {
            return Err(NtStatus::INVALID_PARAMETER);
        }
        let mut data = self.input.clone();
        if !wanted {
            return Ok(data);
        }
        let mut nonce = [0; 12];
        nonce.copy_from_slice(&Guest(info.nonce).read_many(12));
        let aad = bytes(Guest(info.aad), info.aad_length);
        let tag = cipher::gcm(way, &key.secret, nonce, &aad, &mut data)?;
        match way {
            Way::Encrypt => Guest(info.tag).write_many(&tag[..tag_length]),
            Way::Decrypt if Guest(info.tag).read_many(tag_length) != tag[..tag_length] => {
                return Err(NtStatus::AUTH_TAG_MISMATCH);
            }
            Way::Decrypt => {}
        }
        Ok(data)
    }

    fn run(
        &self,
        call: &str,
        way: Way,
        key: usize,
        out: (Guest<u8>, u32),
        length: Guest<u32>,
    ) -> Answer {
        if length.is_null() {
            return Err(NtStatus::INVALID_PARAMETER);
        }
        let key = objects::with(call, key, |object, _| of(object).cloned())?;
        let wanted = !out.0.is_null();
        let result = match key.mode {
            Mode::Gcm => self.authenticated(way, &key, wanted)?,
            _ => self.plain(way, &key, wanted)?,
        };
        put(&result, out.0, out.1, length)
    }
}

exports! { "cng.sys";
    /// A key from its bytes, in the caller's memory or in the bench's.
    partial "of AES alone"
    fn BCryptGenerateSymmetricKey(
        provider: usize, key: Guest<usize>, object: Guest<u8>, object_length: u32, secret: Guest<u8>, secret_length: u32,
        flags: u32,
    ) -> NtStatus {
        if let Some(status) = faults::check("BCryptGenerateSymmetricKey") {
            return status;
        }
        if flags != 0 || key.is_null() {
            return NtStatus::INVALID_PARAMETER;
        }
        let secret = bytes(secret, secret_length);
        let made = make("BCryptGenerateSymmetricKey", provider, secret, (object, object_length));
        status(made.map(|made| key.write(made)))
    }

    /// A key from a `BCRYPT_KEY_DATA_BLOB`.
    partial "AES, and KeyDataBlob alone"
    fn BCryptImportKey(
        provider: usize, _import_key: usize, kind: Guest<u16>, key: Guest<usize>, object: Guest<u8>, object_length: u32,
        blob: Guest<u8>, blob_length: u32, flags: u32,
    ) -> NtStatus {
        if let Some(status) = faults::check("BCryptImportKey") {
            return status;
        }
        if flags != 0 || key.is_null() {
            return NtStatus::INVALID_PARAMETER;
        }
        let blob = bytes(blob, blob_length);
        let made = is_data_blob("BCryptImportKey", kind)
            .and_then(|()| from_blob(&blob))
            .and_then(|secret| make("BCryptImportKey", provider, secret, (object, object_length)));
        status(made.map(|made| key.write(made)))
    }

    /// A key as a `BCRYPT_KEY_DATA_BLOB`.
    partial "KeyDataBlob alone"
    fn BCryptExportKey(
        key: usize, _export_key: usize, kind: Guest<u16>, out: Guest<u8>, room: u32, length: Guest<u32>, flags: u32,
    ) -> NtStatus {
        if let Some(status) = faults::check("BCryptExportKey") {
            return status;
        }
        if flags != 0 || length.is_null() {
            return NtStatus::INVALID_PARAMETER;
        }
        let blob = is_data_blob("BCryptExportKey", kind)
            .and_then(|()| objects::with("BCryptExportKey", key, |object, _| Ok(of(object)?.blob())));
        status(blob.and_then(|blob| put(&blob, out, room, length)))
    }

    /// Another key of the same bytes.
    fn BCryptDuplicateKey(key: usize, copy: Guest<usize>, object: Guest<u8>, object_length: u32, flags: u32) -> NtStatus {
        if let Some(status) = faults::check("BCryptDuplicateKey") {
            return status;
        }
        if flags != 0 || copy.is_null() {
            return NtStatus::INVALID_PARAMETER;
        }
        let first = objects::with("BCryptDuplicateKey", key, |object, dispatch| {
            Ok((of(object)?.clone(), dispatch))
        });
        status(first.and_then(|(key, dispatch)| {
            let memory = objects::memory(object, object_length, Kind::Aes.object())?;
            copy.write(objects::add(Object::Key(key), dispatch, memory));
            Ok(())
        }))
    }

    /// Takes it away.
    fn BCryptDestroyKey(key: usize) -> NtStatus {
        status(objects::remove("BCryptDestroyKey", key, is_key))
    }

    /// Encrypts; without room for the result it says how long that is.
    partial "GCM in one call alone; CBC without an initialization vector begins with zeros"
    fn BCryptEncrypt(
        key: usize, input: Guest<u8>, input_length: u32, padding: usize, iv: Guest<u8>, iv_length: u32, out: Guest<u8>,
        room: u32, length: Guest<u32>, flags: u32,
    ) -> NtStatus {
        if let Some(status) = faults::check("BCryptEncrypt") {
            return status;
        }
        let work = Work { input: bytes(input, input_length), padding, iv, iv_length, flags };
        status(work.run("BCryptEncrypt", Way::Encrypt, key, (out, room), length))
    }

    /// Decrypts; without room for the result it says how long that is at most.
    partial "GCM in one call alone; CBC without an initialization vector begins with zeros"
    fn BCryptDecrypt(
        key: usize, input: Guest<u8>, input_length: u32, padding: usize, iv: Guest<u8>, iv_length: u32, out: Guest<u8>,
        room: u32, length: Guest<u32>, flags: u32,
    ) -> NtStatus {
        if let Some(status) = faults::check("BCryptDecrypt") {
            return status;
        }
        let work = Work { input: bytes(input, input_length), padding, iv, iv_length, flags };
        status(work.run("BCryptDecrypt", Way::Decrypt, key, (out, room), length))
    }
}
