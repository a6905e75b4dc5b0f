//! Security identifiers: `SID` in memory, and as text.

use crate::abi::base::UnicodeString;
use crate::ntos::memory::{Guest, wide};
use crate::ntos::{irql, pool};
use crate::status::NtStatus;
use crate::thread::{APC_LEVEL, PASSIVE_LEVEL};

/// `SID_MAX_SUB_AUTHORITIES`.
const MOST: u8 = 15;
const TAG: u32 = u32::from_le_bytes(*b"RtlS");

/// An identity of NT's own authority.
pub(crate) fn nt(parts: &[u32]) -> Vec<u8> {
    make(5, parts)
}

/// An identity of an authority.
pub(crate) fn make(authority: u8, parts: &[u32]) -> Vec<u8> {
    let count = u8::try_from(parts.len()).unwrap_or(0);
    let mut sid = vec![1, count, 0, 0, 0, 0, 0, authority];
    sid.extend(parts.iter().flat_map(|part| part.to_le_bytes()));
    sid
}

/// Whether what is there can be an identifier.
fn is_valid(sid: usize) -> bool {
    let [revision, count] = Guest::<[u8; 2]>::at(sid).read();
    revision & 0xF == 1 && count <= MOST
}

fn length(sid: usize) -> usize {
    8 + 4 * usize::from(Guest::<u8>::at(sid + 1).read())
}

/// The identifier at an address; `None`: it is none.
pub(super) fn at(sid: usize) -> Option<Vec<u8>> {
    (sid != 0 && is_valid(sid)).then(|| Guest::<u8>::at(sid).read_many(length(sid)))
}

/// As text: `S-1-5-18`.
fn text(sid: &[u8]) -> String {
    let authority = sid.get(2..8).unwrap_or_default();
    let authority = authority
        .iter()
        .fold(0_u64, |value, byte| value << 8 | u64::from(*byte));
    let mut text = if authority >> 32 == 0 {
        format!("S-1-{authority}")
    } else {
        format!("S-1-{authority:#x}")
    };
    for part in sid.get(8..).unwrap_or_default().chunks_exact(4) {
        let part = part
            .iter()
            .rev()
            .fold(0_u32, |value, byte| value << 8 | u32::from(*byte));
        text = format!("{text}-{part}");
    }
    text
}

exports! { "ntoskrnl.exe";
    /// Whether an identifier is well formed.
    fn RtlValidSid(sid: usize) -> u8 {
        u8::from(sid != 0 && is_valid(sid))
    }

    /// How long an identifier is.
    fn RtlLengthSid(sid: usize) -> u32 {
        u32::try_from(length(sid)).unwrap_or(0)
    }

    /// How long one with so many parts is.
    fn RtlLengthRequiredSid(parts: u32) -> u32 {
        8 + 4 * parts
    }

    /// Whether two identifiers are the same.
    fn RtlEqualSid(one: usize, other: usize) -> u8 {
        let bytes = |sid: usize| Guest::<u8>::at(sid).read_many(length(sid));
        u8::from(bytes(one) == bytes(other))
    }

    /// Copies an identifier into so many bytes.
    fn RtlCopySid(room: u32, to: Guest<u8>, sid: usize) -> NtStatus {
        let bytes = Guest::<u8>::at(sid).read_many(length(sid));
        if bytes.len() > room as usize {
            return NtStatus::BUFFER_TOO_SMALL;
        }
        to.write_many(&bytes);
        NtStatus::SUCCESS
    }

    /// Begins an identifier, whose parts the caller fills in.
    fn RtlInitializeSid(sid: Guest<u8>, authority: Guest<[u8; 6]>, parts: u8) -> NtStatus {
        if parts > MOST {
            return NtStatus::INVALID_PARAMETER;
        }
        sid.write_many(&[1, parts]);
        Guest::at(sid.address() + 2).write(authority.read());
        NtStatus::SUCCESS
    }

    /// Where a part of an identifier is.
    fn RtlSubAuthoritySid(sid: usize, part: u32) -> usize {
        sid + 8 + 4 * part as usize
    }

    /// Where the number of an identifier's parts is.
    fn RtlSubAuthorityCountSid(sid: usize) -> usize {
        sid + 1
    }

    /// An identifier as text.
    fn RtlConvertSidToUnicodeString(string: Guest<UnicodeString>, sid: usize, allocate: u8) -> NtStatus {
        irql::at_most("RtlConvertSidToUnicodeString", PASSIVE_LEVEL);
        let Some(sid) = at(sid) else { return NtStatus::INVALID_SID };
        let text = wide(&text(&sid));
        let length = u16::try_from(text.len() * 2).unwrap_or(0);
        let mut to = string.read();
        if allocate != 0 {
            if crate::faults::check("RtlConvertSidToUnicodeString").is_some() {
                return NtStatus::NO_MEMORY;
            }
            let Some(block) = pool::allocate(usize::from(length) + 2, TAG, pool::Kind::Paged, true) else {
                return NtStatus::NO_MEMORY;
            };
            to = UnicodeString { length, maximum_length: length + 2, buffer: Guest::at(block).0 };
        } else if to.maximum_length < length {
            return NtStatus::BUFFER_OVERFLOW;
        }
        Guest(to.buffer).write_many(&text);
        if to.maximum_length >= length + 2 {
            Guest(to.buffer).add(text.len()).write(0);
        }
        string.write(UnicodeString { length, ..to });
        NtStatus::SUCCESS
    }
}

/// The limit that most of the calls below this module have.
pub(super) fn paged(call: &str) {
    irql::at_most(call, APC_LEVEL);
}
