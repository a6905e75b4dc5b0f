//! Hashes, plain and with a key (HMAC).

use hmac::{Mac as _, SimpleHmac};
use md5::Md5;
use sha1::Sha1;
use sha2::digest::core_api::BlockSizeUser;
use sha2::{Digest, Sha256, Sha384, Sha512};

use super::algorithm::{self, Algorithm, Kind, REUSABLE};
use super::objects::{self, Object};
use super::{Answer, bytes, status};
use crate::faults;
use crate::ntos::memory::Guest;
use crate::status::NtStatus;

/// What has been hashed so far.
trait State: Send {
    fn update(&mut self, data: &[u8]);
    /// The digest; what comes then begins anew.
    fn finish(&mut self) -> Vec<u8>;
    fn duplicate(&self) -> Box<dyn State>;
}

#[derive(Clone)]
struct Plain<D>(D);

impl<D: Digest + Clone + Send + 'static> State for Plain<D> {
    fn update(&mut self, data: &[u8]) {
        self.0.update(data);
    }

    fn finish(&mut self) -> Vec<u8> {
        std::mem::replace(&mut self.0, D::new()).finalize().to_vec()
    }

    fn duplicate(&self) -> Box<dyn State> {
        Box::new(self.clone())
    }
}

#[derive(Clone)]
struct Keyed<D: Digest + BlockSizeUser> {
    begun: SimpleHmac<D>,
    fresh: SimpleHmac<D>,
}

impl<D: Digest + BlockSizeUser + Clone + Send + 'static> State for Keyed<D> {
    fn update(&mut self, data: &[u8]) {
        self.begun.update(data);
    }

    fn finish(&mut self) -> Vec<u8> {
        let begun = std::mem::replace(&mut self.begun, self.fresh.clone());
        begun.finalize().into_bytes().to_vec()
    }

    fn duplicate(&self) -> Box<dyn State> {
        Box::new(self.clone())
    }
}

fn begin<D: Digest + BlockSizeUser + Clone + Send + 'static>(
    key: Option<&[u8]>,
) -> Answer<Box<dyn State>> {
    let Some(key) = key else {
        return Ok(Box::new(Plain(D::new())));
    };
    let fresh = SimpleHmac::<D>::new_from_slice(key).map_err(|_| NtStatus::INVALID_PARAMETER)?;
    let begun = fresh.clone();
    Ok(Box::new(Keyed { begun, fresh }))
}

fn state(algorithm: Algorithm, key: &[u8]) -> Answer<Box<dyn State>> {
    if !algorithm.hmac && !key.is_empty() {
        return Err(NtStatus::INVALID_PARAMETER);
    }
    let key = algorithm.hmac.then_some(key);
    match algorithm.kind {
        Kind::Md5 => begin::<Md5>(key),
        Kind::Sha1 => begin::<Sha1>(key),
        Kind::Sha256 => begin::<Sha256>(key),
        Kind::Sha384 => begin::<Sha384>(key),
        Kind::Sha512 => begin::<Sha512>(key),
        Kind::Aes | Kind::Random => Err(NtStatus::NOT_SUPPORTED),
    }
}

/// Digests of whole messages by one key: what PBKDF2 is made of.
pub(super) fn keyed(algorithm: Algorithm, key: &[u8]) -> Answer<impl FnMut(&[u8]) -> Vec<u8>> {
    let mut state = state(algorithm, key)?;
    Ok(move |message: &[u8]| {
        state.update(message);
        state.finish()
    })
}

/// A hash object.
pub(super) struct Hash {
    /// What it is of.
    pub(super) algorithm: Algorithm,
    state: Box<dyn State>,
    finished: bool,
}

impl Hash {
    /// More data, or the digest. A hash that is finished begins anew only where it was made to.
    fn usable(&mut self) -> Answer<&mut dyn State> {
        if self.finished {
            return Err(NtStatus::INVALID_HANDLE);
        }
        Ok(self.state.as_mut())
    }
}

fn of(object: &mut Object) -> Answer<&mut Hash> {
    match object {
        Object::Hash(hash) => Ok(hash),
        _ => Err(NtStatus::INVALID_HANDLE),
    }
}

fn finish(object: &mut Object, room: u32) -> Answer<Vec<u8>> {
    let hash = of(object)?;
    if room != hash.algorithm.kind.digest() {
        return Err(NtStatus::INVALID_PARAMETER);
    }
    let digest = hash.usable()?.finish();
    hash.finished = !hash.algorithm.reusable;
    Ok(digest)
}

exports! { "cng.sys";
    /// Makes a hash, in the caller's memory or in the bench's.
    fn BCryptCreateHash(
        provider: usize, hash: Guest<usize>, object: Guest<u8>, object_length: u32, secret: Guest<u8>, secret_length: u32,
        flags: u32,
    ) -> NtStatus {
        if let Some(status) = faults::check("BCryptCreateHash") {
            return status;
        }
        if flags & !REUSABLE != 0 || hash.is_null() {
            return NtStatus::INVALID_PARAMETER;
        }
        let secret = bytes(secret, secret_length);
        let made = algorithm::find("BCryptCreateHash", provider).and_then(|(mut algorithm, dispatch)| {
            let state = state(algorithm, &secret)?;
            let memory = objects::memory(object, object_length, algorithm.kind.object())?;
            algorithm.reusable |= flags & REUSABLE != 0;
            let made = Hash { algorithm, state, finished: false };
            Ok(objects::add(Object::Hash(made), dispatch, memory))
        });
        status(made.map(|made| hash.write(made)))
    }

    /// Adds data.
    fn BCryptHashData(hash: usize, data: Guest<u8>, length: u32, flags: u32) -> NtStatus {
        if let Some(status) = faults::check("BCryptHashData") {
            return status;
        }
        if flags != 0 {
            return NtStatus::INVALID_PARAMETER;
        }
        let data = bytes(data, length);
        status(objects::with("BCryptHashData", hash, |object, _| {
            of(object)?.usable()?.update(&data);
            Ok(())
        }))
    }

    /// The digest, for which there must be exactly the room that it takes.
    fn BCryptFinishHash(hash: usize, out: Guest<u8>, room: u32, flags: u32) -> NtStatus {
        if let Some(status) = faults::check("BCryptFinishHash") {
            return status;
        }
        if flags != 0 || out.is_null() {
            return NtStatus::INVALID_PARAMETER;
        }
        let digest = objects::with("BCryptFinishHash", hash, |object, _| finish(object, room));
        status(digest.map(|digest| out.write_many(&digest)))
    }

    /// Another hash with what the first has hashed so far.
    fn BCryptDuplicateHash(
        hash: usize, copy: Guest<usize>, object: Guest<u8>, object_length: u32, flags: u32,
    ) -> NtStatus {
        if let Some(status) = faults::check("BCryptDuplicateHash") {
            return status;
        }
        if flags != 0 || copy.is_null() {
            return NtStatus::INVALID_PARAMETER;
        }
        let first = objects::with("BCryptDuplicateHash", hash, |object, dispatch| {
            let hash = of(object)?;
            let copy = Hash {
                algorithm: hash.algorithm,
                state: hash.usable()?.duplicate(),
                finished: false,
            };
            Ok((copy, dispatch))
        });
        status(first.and_then(|(made, dispatch)| {
            let memory = objects::memory(object, object_length, made.algorithm.kind.object())?;
            copy.write(objects::add(Object::Hash(made), dispatch, memory));
            Ok(())
        }))
    }

    /// Takes it away.
    fn BCryptDestroyHash(hash: usize) -> NtStatus {
        let is_hash = |object: &Object| matches!(object, Object::Hash(_));
        status(objects::remove("BCryptDestroyHash", hash, is_hash))
    }

    /// The digest of one piece of data.
    fn BCryptHash(
        provider: usize, secret: Guest<u8>, secret_length: u32, data: Guest<u8>, length: u32, out: Guest<u8>, room: u32,
    ) -> NtStatus {
        if let Some(status) = faults::check("BCryptHash") {
            return status;
        }
        let (secret, data) = (bytes(secret, secret_length), bytes(data, length));
        let digest = algorithm::find("BCryptHash", provider).and_then(|(algorithm, _)| {
            let mut state = state(algorithm, &secret)?;
            if room != algorithm.kind.digest() {
                return Err(NtStatus::INVALID_PARAMETER);
            }
            state.update(&data);
            Ok(state.finish())
        });
        status(digest.map(|digest| out.write_many(&digest)))
    }
}
