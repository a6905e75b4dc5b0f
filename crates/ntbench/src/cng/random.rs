//! Random numbers, and keys from passwords.

use std::sync::{LazyLock, Mutex, PoisonError};

use super::algorithm::{self, Kind};
use super::{Answer, bytes, hash, status};
use crate::faults;
use crate::ntos::irql;
use crate::ntos::memory::Guest;
use crate::status::NtStatus;
use crate::thread::PASSIVE_LEVEL;

/// `BCRYPT_RNG_USE_ENTROPY_IN_BUFFER`, ignored since Windows 8.
const USE_ENTROPY: u32 = 1;
/// `BCRYPT_USE_SYSTEM_PREFERRED_RNG`.
const SYSTEM_PREFERRED: u32 = 2;
/// Every machine's numbers are the same ones, so that a run can be repeated.
const SEED: u64 = 0x6E74_6265_6E63_6800;

static NUMBERS: LazyLock<Mutex<fastrand::Rng>> =
    LazyLock::new(|| Mutex::new(fastrand::Rng::with_seed(SEED)));

fn random(provider: usize, length: u32, flags: u32) -> Answer<Vec<u8>> {
    if flags & !(USE_ENTROPY | SYSTEM_PREFERRED) != 0 {
        return Err(NtStatus::INVALID_PARAMETER);
    }
    match (provider, flags & SYSTEM_PREFERRED != 0) {
        (0, false) => return Err(NtStatus::INVALID_HANDLE),
        (0, true) => irql::at_most(
            "BCryptGenRandom with BCRYPT_USE_SYSTEM_PREFERRED_RNG",
            PASSIVE_LEVEL,
        ),
        (_, true) => return Err(NtStatus::INVALID_PARAMETER),
        (provider, false) => {
            let (algorithm, _) = algorithm::find("BCryptGenRandom", provider)?;
            if algorithm.kind != Kind::Random {
                return Err(NtStatus::INVALID_HANDLE);
            }
        }
    }
    let mut bytes = vec![0; length as usize];
    NUMBERS
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .fill(&mut bytes);
    Ok(bytes)
}

/// RFC 8018's PBKDF2 over a function that makes HMACs of the password.
fn stretch(
    mut hmac: impl FnMut(&[u8]) -> Vec<u8>,
    salt: &[u8],
    rounds: u64,
    length: usize,
) -> Vec<u8> {
    let mut key = Vec::with_capacity(length);
    for block in 1_u32.. {
        if key.len() >= length {
            break;
        }
        let mut last = hmac(&[salt, &block.to_be_bytes()].concat());
        let mut sum = last.clone();
        for _ in 1..rounds {
            last = hmac(&last);
            for (sum, last) in sum.iter_mut().zip(&last) {
                *sum ^= last;
            }
        }
        key.extend(sum);
    }
    key.truncate(length);
    key
}

exports! { "cng.sys";
    /// Random bytes.
    partial "every machine's are the same, so that a run can be repeated"
    fn BCryptGenRandom(provider: usize, out: Guest<u8>, length: u32, flags: u32) -> NtStatus {
        if let Some(status) = faults::check("BCryptGenRandom") {
            return status;
        }
        status(random(provider, length, flags).map(|bytes| out.write_many(&bytes)))
    }

    /// A key from a password, by an HMAC.
    fn BCryptDeriveKeyPBKDF2(
        prf: usize, password: Guest<u8>, password_length: u32, salt: Guest<u8>, salt_length: u32, rounds: u64,
        out: Guest<u8>, length: u32, flags: u32,
    ) -> NtStatus {
        irql::at_most("BCryptDeriveKeyPBKDF2", PASSIVE_LEVEL);
        if let Some(status) = faults::check("BCryptDeriveKeyPBKDF2") {
            return status;
        }
        if flags != 0 || rounds == 0 || length == 0 || out.is_null() {
            return NtStatus::INVALID_PARAMETER;
        }
        let (password, salt) = (bytes(password, password_length), bytes(salt, salt_length));
        let key = algorithm::find("BCryptDeriveKeyPBKDF2", prf).and_then(|(algorithm, _)| {
            if !algorithm.hmac {
                return Err(NtStatus::INVALID_PARAMETER);
            }
            let hmac = hash::keyed(algorithm, &password)?;
            Ok(stretch(hmac, &salt, rounds, length as usize))
        });
        status(key.map(|key| out.write_many(&key)))
    }
}
