//! Security descriptors from one form to the other, entries of lists, and rights.
//!
//! `RtlAbsoluteToSelfRelativeSD`, `RtlSelfRelativeToAbsoluteSD`, `RtlAddAce`, `RtlMapGenericMask`,
//! `RtlAllocateAndInitializeSid`.

use super::access::mapped;
use super::describe::{self, BYTES, DACL, GROUP, OWNER, SACL};
use super::sid::{self, paged};
use crate::ntos::memory::Guest;
use crate::ntos::pool;
use crate::status::NtStatus;

const TAG: u32 = u32::from_le_bytes(*b"SeSd");
/// A self-relative descriptor's header, and the bit that says that it is one.
const RELATIVE_BYTES: usize = 20;
const SELF_RELATIVE: u16 = 0x8000;

/// The parts of a descriptor with the places where they belong: owner, group, and the two lists.
pub(super) fn parts(descriptor: usize) -> [((usize, usize), Vec<u8>); 4] {
    let sid = |place| {
        (
            place,
            sid::at(describe::part(descriptor, place)).unwrap_or_default(),
        )
    };
    let list = |place| {
        let acl = describe::part(descriptor, place);
        let bytes = if acl == 0 {
            Vec::new()
        } else {
            let size: u16 = Guest::at(acl + 2).read();
            Guest::<u8>::at(acl).read_many(usize::from(size))
        };
        (place, bytes)
    };
    [sid(OWNER), sid(GROUP), list(SACL), list(DACL)]
}

/// The entries of a list, one behind the other.
pub(super) fn entries_of(acl: usize) -> Vec<u8> {
    let begin = acl + describe::ACL_HEADER;
    Guest::<u8>::at(begin).read_many(entry_at(acl, u32::MAX) - begin)
}

/// A self-relative descriptor of these parts, in the order of [`parts`]; an empty one is none.
pub(super) fn self_relative(control: u16, parts: [Vec<u8>; 4]) -> Vec<u8> {
    let mut bytes = vec![1, 0];
    bytes.extend((control | SELF_RELATIVE).to_le_bytes());
    bytes.resize(RELATIVE_BYTES, 0);
    for ((_, place), part) in [OWNER, GROUP, SACL, DACL].into_iter().zip(parts) {
        if part.is_empty() {
            continue;
        }
        let at = u32::try_from(bytes.len()).unwrap_or(0);
        bytes[place..place + 4].copy_from_slice(&at.to_le_bytes());
        bytes.extend(&part);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
    }
    bytes
}

/// Where entry `index` of a list begins, or its end.
fn entry_at(acl: usize, index: u32) -> usize {
    let count: u16 = Guest::at(acl + 4).read();
    (0..index.min(count.into())).fold(acl + describe::ACL_HEADER, |at, _| {
        at + usize::from(Guest::<u16>::at(at + 2).read())
    })
}

fn set_count(acl: usize, count: usize) {
    Guest::at(acl + 4).write(u16::try_from(count).unwrap_or(u16::MAX));
}

/// How many whole entries lie in a buffer; `None`: it ends in the middle of one.
fn whole_entries(bytes: &[u8]) -> Option<usize> {
    let (mut at, mut count) = (0, 0);
    while at < bytes.len() {
        let size = usize::from(u16::from_le_bytes(*bytes.get(at + 2..)?.first_chunk()?));
        if size < 4 || at + size > bytes.len() {
            return None;
        }
        at += size;
        count += 1;
    }
    Some(count)
}

exports! { "ntoskrnl.exe";
    /// Makes a descriptor self-relative, in so many bytes.
    fn RtlAbsoluteToSelfRelativeSD(absolute: usize, relative: usize, length: Guest<u32>) -> NtStatus {
        paged("RtlAbsoluteToSelfRelativeSD");
        if describe::control(absolute) & SELF_RELATIVE != 0 {
            return NtStatus::BAD_DESCRIPTOR_FORMAT;
        }
        let parts = parts(absolute);
        let size = parts.iter().map(|(_, bytes)| bytes.len().next_multiple_of(4)).sum::<usize>() + RELATIVE_BYTES;
        let room = length.read() as usize;
        length.write(u32::try_from(size).unwrap_or(u32::MAX));
        if room < size {
            return NtStatus::BUFFER_TOO_SMALL;
        }
        Guest::<[u8; 2]>::at(relative).write([1, 0]);
        Guest::at(relative + 2).write(describe::control(absolute) | SELF_RELATIVE);
        let mut at = RELATIVE_BYTES;
        for ((_, offset), bytes) in parts {
            let here = if bytes.is_empty() { 0 } else { at };
            Guest::at(relative + offset).write(u32::try_from(here).unwrap_or(0));
            Guest::at(relative + at).write_many(&bytes);
            at += bytes.len().next_multiple_of(4);
        }
        NtStatus::SUCCESS
    }

    /// Makes a descriptor absolute, each part in a buffer of the caller's.
    fn RtlSelfRelativeToAbsoluteSD(
        relative: usize, absolute: usize, absolute_length: Guest<u32>, dacl: usize, dacl_length: Guest<u32>, sacl: usize,
        sacl_length: Guest<u32>, owner: usize, owner_length: Guest<u32>, group: usize, group_length: Guest<u32>,
    ) -> NtStatus {
        paged("RtlSelfRelativeToAbsoluteSD");
        if describe::control(relative) & SELF_RELATIVE == 0 {
            return NtStatus::BAD_DESCRIPTOR_FORMAT;
        }
        let buffers = [(owner, owner_length), (group, group_length), (sacl, sacl_length), (dacl, dacl_length)];
        let parts = parts(relative);
        let mut fits = absolute_length.read() as usize >= BYTES;
        absolute_length.write(u32::try_from(BYTES).unwrap_or(0));
        for ((_, bytes), (_, length)) in parts.iter().zip(buffers) {
            let room = length.read() as usize;
            length.write(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
            fits &= room >= bytes.len();
        }
        if !fits {
            return NtStatus::BUFFER_TOO_SMALL;
        }
        Guest::<[u8; BYTES]>::at(absolute).write([0; BYTES]);
        Guest::<u8>::at(absolute).write(1);
        Guest::at(absolute + 2).write(describe::control(relative) & !SELF_RELATIVE);
        for (((place, _), bytes), (buffer, _)) in parts.iter().zip(buffers) {
            if !bytes.is_empty() {
                Guest::at(buffer).write_many(bytes);
                Guest::at(absolute + place).write(buffer);
            }
        }
        NtStatus::SUCCESS
    }

    /// Puts entries into a list before an index; behind the last with the highest number.
    fn RtlAddAce(acl: usize, _revision: u32, index: u32, entries: Guest<u8>, length: u32) -> NtStatus {
        paged("RtlAddAce");
        let bytes = entries.read_many(length as usize);
        let Some(more) = whole_entries(&bytes) else { return NtStatus::INVALID_PARAMETER };
        let size = usize::from(Guest::<u16>::at(acl + 2).read());
        let end = entry_at(acl, u32::MAX);
        if end - acl + bytes.len() > size {
            return NtStatus::BUFFER_TOO_SMALL;
        }
        let at = entry_at(acl, index);
        let behind = Guest::<u8>::at(at).read_many(end - at);
        Guest::at(at).write_many(&bytes);
        Guest::at(at + bytes.len()).write_many(&behind);
        set_count(acl, usize::from(Guest::<u16>::at(acl + 4).read()) + more);
        NtStatus::SUCCESS
    }

    /// Takes an entry out of a list.
    fn RtlDeleteAce(acl: usize, index: u32) -> NtStatus {
        paged("RtlDeleteAce");
        let count: u16 = Guest::at(acl + 4).read();
        if index >= count.into() {
            return NtStatus::INVALID_PARAMETER;
        }
        let (at, end) = (entry_at(acl, index), entry_at(acl, u32::MAX));
        let next = entry_at(acl, index + 1);
        let behind = Guest::<u8>::at(next).read_many(end - next);
        Guest::at(at).write_many(&behind);
        set_count(acl, usize::from(count) - 1);
        NtStatus::SUCCESS
    }

    /// What the generic rights in a mask come to.
    fn RtlMapGenericMask(mask: Guest<u32>, mapping: Guest<[u32; 4]>) {
        mask.write(mapped(mask.read(), mapping));
    }

    /// Where an identifier's authority is.
    fn RtlIdentifierAuthoritySid(sid: usize) -> usize {
        sid + 2
    }

    /// Makes an identifier of up to eight parts, which `RtlFreeSid` frees.
    fn RtlAllocateAndInitializeSid(
        authority: Guest<[u8; 6]>, count: u8, a: u32, b: u32, c: u32, d: u32, e: u32, f: u32, g: u32, h: u32,
        out: Guest<usize>,
    ) -> NtStatus {
        paged("RtlAllocateAndInitializeSid");
        let all = [a, b, c, d, e, f, g, h];
        let Some(parts) = all.get(..usize::from(count)) else { return NtStatus::INVALID_SID };
        let Some(block) = pool::allocate(8 + 4 * parts.len(), TAG, pool::Kind::Paged, true) else {
            return NtStatus::NO_MEMORY;
        };
        Guest::<[u8; 2]>::at(block).write([1, count]);
        Guest::at(block + 2).write(authority.read());
        Guest::at(block + 8).write_many(parts);
        out.write(block);
        NtStatus::SUCCESS
    }

    /// Frees it.
    fn RtlFreeSid(sid: usize) -> usize {
        paged("RtlFreeSid");
        pool::free(sid, Some(TAG));
        0
    }

    /// A descriptor's audit list.
    fn RtlGetSaclSecurityDescriptor(
        descriptor: usize, present: Guest<u8>, acl: Guest<usize>, defaulted: Guest<u8>,
    ) -> NtStatus {
        paged("RtlGetSaclSecurityDescriptor");
        // SE_SACL_PRESENT, SE_SACL_DEFAULTED.
        let there = describe::control(descriptor) & 0x10 != 0;
        present.write(there.into());
        if there {
            acl.write(describe::part(descriptor, SACL));
            defaulted.write(u8::from(describe::control(descriptor) & 0x20 != 0));
        }
        NtStatus::SUCCESS
    }

    /// The same, with the parts that it must have.
    fn RtlValidRelativeSecurityDescriptor(descriptor: usize, length: u32, required: u32) -> u8 {
        if SeValidSecurityDescriptor(length, descriptor) == 0 {
            return 0;
        }
        let has = |place| describe::part(descriptor, place) != 0;
        // SE_DACL_PRESENT, SE_SACL_PRESENT: an empty pointer is a list, too.
        let control = describe::control(descriptor);
        let there = [has(OWNER), has(GROUP), control & 0x4 != 0, control & 0x10 != 0];
        let missing = |(bit, there): (u32, bool)| required & 1 << bit != 0 && !there;
        u8::from(!(0..).zip(there).any(missing))
    }

    /// Puts one identifier in the place of another as long, wherever it stands in a self-relative descriptor.
    fn RtlReplaceSidInSd(descriptor: usize, old: usize, new: usize, changed: Guest<u32>) -> NtStatus {
        paged("RtlReplaceSidInSd");
        let (Some(from), Some(to)) = (sid::at(old), sid::at(new)) else { return NtStatus::INVALID_SID };
        if from.len() != to.len() {
            return NtStatus::INVALID_PARAMETER;
        }
        let mut count = 0;
        let mut replace = |at: usize| {
            if sid::at(at).as_ref() == Some(&from) {
                Guest::<u8>::at(at).write_many(&to);
                count += 1;
            }
        };
        for place in [OWNER, GROUP] {
            replace(describe::part(descriptor, place));
        }
        for acl in [DACL, SACL].map(|place| describe::part(descriptor, place)) {
            let entries: u16 = if acl == 0 { 0 } else { Guest::at(acl + 4).read() };
            (0..entries.into()).for_each(|index| replace(entry_at(acl, index) + describe::ACL_HEADER));
        }
        changed.write(count);
        NtStatus::SUCCESS
    }

    /// Whether a self-relative descriptor lies whole in so many bytes.
    fn SeValidSecurityDescriptor(length: u32, descriptor: usize) -> u8 {
        paged("SeValidSecurityDescriptor");
        let length = length as usize;
        if length < RELATIVE_BYTES || Guest::<u8>::at(descriptor).read() != 1 {
            return 0;
        }
        if describe::control(descriptor) & SELF_RELATIVE == 0 {
            return 0;
        }
        let inside = |(place, bytes): ((usize, usize), Vec<u8>)| {
            let offset = Guest::<u32>::at(descriptor + place.1).read() as usize;
            offset == 0 || (offset >= RELATIVE_BYTES && !bytes.is_empty() && offset + bytes.len() <= length)
        };
        // What lies outside is not read to see how long it is.
        let begins = [OWNER, GROUP, SACL, DACL]
            .iter()
            .all(|(_, place)| (Guest::<u32>::at(descriptor + place).read() as usize) + 8 <= length);
        u8::from(begins && parts(descriptor).into_iter().all(inside))
    }
}
