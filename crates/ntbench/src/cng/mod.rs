//! cng.sys: the cryptography that drivers import, with RustCrypto's algorithms behind the documented functions.
//!
//! "CNG Reference" (bcrypt.h), as its pages say for callers in kernel mode. Hashes (MD5, SHA-1, SHA-256, -384, -512), plain and as HMAC; AES
//! in CBC, ECB and GCM; random numbers; PBKDF2. Other algorithms are refused by name. Keys and hashes lie in memory that the caller
//! gives or in the bench's own; in the caller's a mark is kept and looked at, so that memory that is freed or used for something else
//! before the object is destroyed comes to light.

mod algorithm;
mod cipher;
mod hash;
mod key;
mod objects;
mod random;

use crate::export::Export;
use crate::ntos::memory::Guest;
use crate::status::NtStatus;

pub(crate) use objects::report_leaks;

/// What this module's parts let drivers import.
pub(crate) fn tables() -> [&'static [Export]; 4] {
    [
        algorithm::exports(),
        hash::exports(),
        key::exports(),
        random::exports(),
    ]
}

/// What a function answers.
type Answer<T = ()> = Result<T, NtStatus>;

fn status(answer: Answer) -> NtStatus {
    answer.err().unwrap_or(NtStatus::SUCCESS)
}

/// Puts a result where there is room for it and says how long it is; without room for anything, only the length is asked for.
fn put(bytes: &[u8], out: Guest<u8>, room: u32, length: Guest<u32>) -> Answer {
    length.write(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
    if out.is_null() {
        return Ok(());
    }
    if (room as usize) < bytes.len() {
        return Err(NtStatus::BUFFER_TOO_SMALL);
    }
    out.write_many(bytes);
    Ok(())
}

/// So many bytes of the caller's; none where the pointer is NULL.
fn bytes(at: Guest<u8>, count: u32) -> Vec<u8> {
    if at.is_null() {
        return Vec::new();
    }
    at.read_many(count as usize)
}
