//! Security descriptors and lists of who may do what, in a driver's memory.

use super::sid::{self, paged};
use crate::ntos::memory::Guest;
use crate::status::NtStatus;

const DACL_PRESENT: u16 = 0x0004;
const DACL_DEFAULTED: u16 = 0x0008;
const OWNER_DEFAULTED: u16 = 0x0001;
const GROUP_DEFAULTED: u16 = 0x0002;
const SELF_RELATIVE: u16 = 0x8000;
/// An absolute `SECURITY_DESCRIPTOR`: revision, control, and where owner, group and the two lists are.
pub(super) const BYTES: usize = 40;
/// Where the same are in it, and in a self-relative one.
pub(super) const OWNER: (usize, usize) = (8, 4);
pub(super) const GROUP: (usize, usize) = (16, 8);
pub(super) const DACL: (usize, usize) = (32, 16);
pub(super) const SACL: (usize, usize) = (24, 12);
/// An `ACL`'s header, and an entry's before its identifier.
pub(super) const ACL_HEADER: usize = 8;
const ACE_HEADER: usize = 8;
const ALLOWED: u8 = 0;
const DENIED: u8 = 1;

pub(super) fn control(descriptor: usize) -> u16 {
    Guest::at(descriptor + 2).read()
}

fn set_control(descriptor: usize, clear: u16, set: u16) {
    Guest::at(descriptor + 2).write(control(descriptor) & !clear | set);
}

/// Whether there is a descriptor.
fn is_valid(descriptor: usize) -> bool {
    descriptor != 0 && Guest::<u8>::at(descriptor).read() == 1
}

/// One of a descriptor's parts; 0: it has none.
pub(super) fn part(descriptor: usize, (absolute, relative): (usize, usize)) -> usize {
    if control(descriptor) & SELF_RELATIVE == 0 {
        return Guest::<usize>::at(descriptor + absolute).read();
    }
    match Guest::<u32>::at(descriptor + relative).read() {
        0 => 0,
        offset => descriptor + offset as usize,
    }
}

/// A descriptor's discretionary list. `None`: there is none, and everybody may do everything.
pub(super) fn dacl(descriptor: usize) -> Option<usize> {
    if control(descriptor) & DACL_PRESENT == 0 {
        return None;
    }
    Some(part(descriptor, DACL)).filter(|acl| *acl != 0)
}

/// A descriptor's owner.
pub(super) fn owner(descriptor: usize) -> Option<Vec<u8>> {
    sid::at(part(descriptor, OWNER))
}

/// An entry of a list: allowed or denied, what, whom. Entries of other kinds are left out.
pub(super) fn entries(acl: usize) -> Vec<(bool, u32, Vec<u8>)> {
    let size = usize::from(Guest::<u16>::at(acl + 2).read());
    let count: u16 = Guest::at(acl + 4).read();
    let mut found = Vec::new();
    let mut at = ACL_HEADER;
    for _ in 0..count {
        if at + ACE_HEADER > size {
            break;
        }
        let [kind, flags] = Guest::<[u8; 2]>::at(acl + at).read();
        let length = usize::from(Guest::<u16>::at(acl + at + 2).read());
        // INHERIT_ONLY_ACE
        let counts = matches!(kind, ALLOWED | DENIED) && flags & 0x8 == 0;
        if let (true, Some(who)) = (counts, sid::at(acl + at + ACE_HEADER)) {
            found.push((kind == ALLOWED, Guest::at(acl + at + 4).read(), who));
        }
        at += length.max(ACE_HEADER);
    }
    found
}

/// Where the entries of a list end, and so how many bytes are used.
fn used(acl: usize) -> usize {
    let count: u16 = Guest::at(acl + 4).read();
    (0..count).fold(ACL_HEADER, |at, _| {
        at + usize::from(Guest::<u16>::at(acl + at + 2).read())
    })
}

fn add(acl: usize, kind: u8, flags: u32, access: u32, who: usize) -> NtStatus {
    let Some(who) = sid::at(who) else {
        return NtStatus::INVALID_SID;
    };
    let size = usize::from(Guest::<u16>::at(acl + 2).read());
    let (at, length) = (used(acl), ACE_HEADER + who.len());
    if at + length > size {
        return NtStatus::ALLOTTED_SPACE_EXCEEDED;
    }
    Guest::<[u8; 2]>::at(acl + at).write([kind, u8::try_from(flags & 0xFF).unwrap_or(0)]);
    Guest::at(acl + at + 2).write(u16::try_from(length).unwrap_or(0));
    Guest::at(acl + at + 4).write(access);
    Guest::at(acl + at + ACE_HEADER).write_many(&who);
    let count: u16 = Guest::at(acl + 4).read();
    Guest::at(acl + 4).write(count + 1);
    NtStatus::SUCCESS
}

/// Puts a part into an absolute descriptor.
fn set_part(descriptor: usize, place: usize, what: usize, clear: u16, set: u16) -> NtStatus {
    if !is_valid(descriptor) {
        return NtStatus::UNKNOWN_REVISION;
    }
    if control(descriptor) & SELF_RELATIVE != 0 {
        return NtStatus::INVALID_SECURITY_DESCR;
    }
    set_control(descriptor, clear, set);
    Guest::at(descriptor + place).write(what);
    NtStatus::SUCCESS
}

fn get_part(
    descriptor: usize,
    place: (usize, usize),
    flag: u16,
    out: Guest<usize>,
    defaulted: Guest<u8>,
) -> NtStatus {
    if !is_valid(descriptor) {
        return NtStatus::UNKNOWN_REVISION;
    }
    out.write(part(descriptor, place));
    defaulted.write(u8::from(control(descriptor) & flag != 0));
    NtStatus::SUCCESS
}

const fn flag(set: u8, bit: u16) -> u16 {
    if set == 0 { 0 } else { bit }
}

exports! { "ntoskrnl.exe";
    /// Makes an absolute descriptor that says nothing.
    fn RtlCreateSecurityDescriptor(descriptor: usize, revision: u32) -> NtStatus {
        paged("RtlCreateSecurityDescriptor");
        if revision != 1 {
            return NtStatus::UNKNOWN_REVISION;
        }
        Guest::<[u8; BYTES]>::at(descriptor).write([0; BYTES]);
        Guest::<u8>::at(descriptor).write(1);
        NtStatus::SUCCESS
    }

    /// Whether a descriptor is well formed.
    fn RtlValidSecurityDescriptor(descriptor: usize) -> u8 {
        let right = is_valid(descriptor)
            && [OWNER, GROUP].iter().all(|place| match part(descriptor, *place) {
                0 => true,
                sid => sid::at(sid).is_some(),
            });
        u8::from(right)
    }

    /// How long a descriptor is with all its parts.
    fn RtlLengthSecurityDescriptor(descriptor: usize) -> u32 {
        let header = if control(descriptor) & SELF_RELATIVE == 0 { BYTES } else { 20 };
        let identities = [OWNER, GROUP].iter().filter_map(|place| sid::at(part(descriptor, *place)));
        let identities: usize = identities.map(|sid| sid.len().next_multiple_of(4)).sum();
        let list = dacl(descriptor).map_or(0, |acl| usize::from(Guest::<u16>::at(acl + 2).read()).next_multiple_of(4));
        u32::try_from(header + identities + list).unwrap_or(u32::MAX)
    }

    /// Sets a descriptor's discretionary list.
    fn RtlSetDaclSecurityDescriptor(descriptor: usize, present: u8, acl: usize, defaulted: u8) -> NtStatus {
        paged("RtlSetDaclSecurityDescriptor");
        let set = flag(present, DACL_PRESENT) | flag(defaulted, DACL_DEFAULTED);
        let acl = if present == 0 { 0 } else { acl };
        set_part(descriptor, DACL.0, acl, DACL_PRESENT | DACL_DEFAULTED, set)
    }

    /// A descriptor's discretionary list.
    fn RtlGetDaclSecurityDescriptor(descriptor: usize, present: Guest<u8>, acl: Guest<usize>, defaulted: Guest<u8>) -> NtStatus {
        if !is_valid(descriptor) {
            return NtStatus::UNKNOWN_REVISION;
        }
        let there = control(descriptor) & DACL_PRESENT != 0;
        present.write(there.into());
        if there {
            acl.write(part(descriptor, DACL));
            defaulted.write(u8::from(control(descriptor) & DACL_DEFAULTED != 0));
        }
        NtStatus::SUCCESS
    }

    /// Sets a descriptor's owner.
    fn RtlSetOwnerSecurityDescriptor(descriptor: usize, owner: usize, defaulted: u8) -> NtStatus {
        paged("RtlSetOwnerSecurityDescriptor");
        set_part(descriptor, OWNER.0, owner, OWNER_DEFAULTED, flag(defaulted, OWNER_DEFAULTED))
    }

    /// A descriptor's owner.
    fn RtlGetOwnerSecurityDescriptor(descriptor: usize, owner: Guest<usize>, defaulted: Guest<u8>) -> NtStatus {
        get_part(descriptor, OWNER, OWNER_DEFAULTED, owner, defaulted)
    }

    /// Sets a descriptor's group.
    fn RtlSetGroupSecurityDescriptor(descriptor: usize, group: usize, defaulted: u8) -> NtStatus {
        paged("RtlSetGroupSecurityDescriptor");
        set_part(descriptor, GROUP.0, group, GROUP_DEFAULTED, flag(defaulted, GROUP_DEFAULTED))
    }

    /// A descriptor's group.
    fn RtlGetGroupSecurityDescriptor(descriptor: usize, group: Guest<usize>, defaulted: Guest<u8>) -> NtStatus {
        get_part(descriptor, GROUP, GROUP_DEFAULTED, group, defaulted)
    }

    /// Makes an empty list.
    fn RtlCreateAcl(acl: usize, length: u32, revision: u32) -> NtStatus {
        paged("RtlCreateAcl");
        // ACL_REVISION to ACL_REVISION_DS.
        if !(2..=4).contains(&revision) {
            return NtStatus::INVALID_PARAMETER;
        }
        if (length as usize) < ACL_HEADER {
            return NtStatus::BUFFER_TOO_SMALL;
        }
        let Ok(length) = u16::try_from(length) else { return NtStatus::INVALID_PARAMETER };
        Guest::<[u8; 2]>::at(acl).write([u8::try_from(revision).unwrap_or(2), 0]);
        Guest::at(acl + 2).write([length & !3, 0, 0]);
        NtStatus::SUCCESS
    }

    /// Lets somebody do something.
    fn RtlAddAccessAllowedAce(acl: usize, _revision: u32, access: u32, who: usize) -> NtStatus {
        paged("RtlAddAccessAllowedAce");
        add(acl, ALLOWED, 0, access, who)
    }

    /// The same with flags of inheritance.
    fn RtlAddAccessAllowedAceEx(acl: usize, _revision: u32, flags: u32, access: u32, who: usize) -> NtStatus {
        paged("RtlAddAccessAllowedAceEx");
        add(acl, ALLOWED, flags, access, who)
    }

    /// Denies somebody something.
    fn RtlAddAccessDeniedAce(acl: usize, _revision: u32, access: u32, who: usize) -> NtStatus {
        paged("RtlAddAccessDeniedAce");
        add(acl, DENIED, 0, access, who)
    }

    /// The entry of an index.
    fn RtlGetAce(acl: usize, index: u32, out: Guest<usize>) -> NtStatus {
        let count: u16 = Guest::at(acl + 4).read();
        if index >= u32::from(count) {
            return NtStatus::INVALID_PARAMETER;
        }
        let at = (0..index).fold(acl + ACL_HEADER, |at, _| at + usize::from(Guest::<u16>::at(at + 2).read()));
        out.write(at);
        NtStatus::SUCCESS
    }
}
