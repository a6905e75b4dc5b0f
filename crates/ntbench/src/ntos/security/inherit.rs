//! What the entries of a directory's list come to in what is made there ("ACE Inheritance Rules").

use super::access::mapped;
use super::sid::make;
use crate::ntos::memory::Guest;

/// `OBJECT_INHERIT_ACE`, `CONTAINER_…`, `NO_PROPAGATE_…`, `INHERIT_ONLY_…`, `INHERITED_ACE`.
const OBJECT: u8 = 1;
const CONTAINER: u8 = 2;
const NO_PROPAGATE: u8 = 4;
const INHERIT_ONLY: u8 = 8;
const INHERITED: u8 = 0x10;
/// Kinds of entries that have a mask and an identifier: allowed, denied, audit, alarm.
const LAST_PLAIN: u8 = 3;
const HEADER: usize = 8;

/// Who inherits.
pub(super) struct Heir<'a> {
    pub(super) directory: bool,
    /// Whether entries say that they were inherited.
    pub(super) marked: bool,
    pub(super) owner: &'a [u8],
    pub(super) group: &'a [u8],
    pub(super) mapping: Guest<[u32; 4]>,
}

/// The whole entries of a list, one by one.
fn each(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = list;
    std::iter::from_fn(move || {
        let size = usize::from(u16::from_le_bytes(*rest.get(2..)?.first_chunk()?));
        let (entry, behind) = rest.split_at_checked(size.max(4))?;
        rest = behind;
        Some(entry)
    })
}

/// An entry with other flags, its rights mapped, for somebody else if need be.
fn entry(from: &[u8], flags: u8, to: Option<(&[u8], Guest<[u32; 4]>)>) -> Vec<u8> {
    let mut made = from.to_vec();
    made[1] = flags;
    let Some((who, mapping)) = to.filter(|_| from[0] <= LAST_PLAIN && from.len() >= HEADER) else {
        return made;
    };
    let access = u32::from_le_bytes([from[4], from[5], from[6], from[7]]);
    made.truncate(4);
    made.extend(mapped(access, mapping).to_le_bytes());
    made.extend(who);
    let size = u16::try_from(made.len()).unwrap_or(u16::MAX);
    made[2..4].copy_from_slice(&size.to_le_bytes());
    made
}

/// The entries of a list as they are in an object's own.
pub(super) fn mapped_entries(list: &[u8], mapping: Guest<[u32; 4]>) -> Vec<u8> {
    let own = |from: &[u8]| {
        let who = from.get(HEADER..).unwrap_or_default();
        // What is only passed on keeps its generic rights.
        let to = (from[1] & INHERIT_ONLY == 0).then_some((who, mapping));
        entry(from, from[1], to)
    };
    each(list).flat_map(own).collect()
}

/// What a list leaves an heir.
pub(super) fn inherited(list: &[u8], heir: &Heir<'_>) -> Vec<u8> {
    let mark = if heir.marked { INHERITED } else { 0 };
    let mut left = Vec::new();
    for from in each(list) {
        let flags = from[1];
        let counts = flags & if heir.directory { CONTAINER } else { OBJECT } != 0;
        let passes =
            heir.directory && flags & NO_PROPAGATE == 0 && flags & (OBJECT | CONTAINER) != 0;
        let on = flags & (OBJECT | CONTAINER);
        let named = from.get(HEADER..).unwrap_or_default();
        // CREATOR OWNER and CREATOR GROUP stand for whoever makes the object.
        let creator = if named == make(3, &[0]) {
            Some(heir.owner)
        } else if named == make(3, &[1]) {
            Some(heir.group)
        } else {
            None
        };
        if counts {
            let kept = if passes && creator.is_none() { on } else { 0 };
            let who = creator.unwrap_or(named);
            left.extend(entry(from, kept | mark, Some((who, heir.mapping))));
        }
        if passes && (!counts || creator.is_some()) {
            left.extend(entry(from, on | INHERIT_ONLY | mark, None));
        }
    }
    left
}

/// A list of entries, as an `ACL`.
pub(super) fn list_of(entries: &[u8]) -> Vec<u8> {
    let size = u16::try_from(8 + entries.len()).unwrap_or(u16::MAX);
    let count = u16::try_from(each(entries).count()).unwrap_or(u16::MAX);
    let mut bytes = vec![2, 0];
    bytes.extend(size.to_le_bytes());
    bytes.extend(count.to_le_bytes());
    bytes.extend([0, 0]);
    bytes.extend(entries);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ace(flags: u8, who: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0, flags];
        bytes.extend(u16::try_from(8 + who.len()).unwrap().to_le_bytes());
        bytes.extend(1_u32.to_le_bytes());
        bytes.extend(who);
        bytes
    }

    fn flags(list: &[u8]) -> Vec<u8> {
        each(list).map(|entry| entry[1]).collect()
    }

    #[test]
    fn entries_reach_files_and_folders_as_their_flags_say() {
        let (user, owner) = (make(5, &[18]), make(5, &[32, 544]));
        let heir = |directory| Heir {
            directory,
            marked: true,
            owner: &owner,
            group: &owner,
            mapping: Guest::at(0),
        };
        let list = [
            ace(0, &user),
            ace(OBJECT, &user),
            ace(CONTAINER, &user),
            ace(OBJECT | CONTAINER | NO_PROPAGATE, &user),
            ace(OBJECT | CONTAINER, &make(3, &[0])),
        ]
        .concat();
        assert_eq!(flags(&inherited(&list, &heir(false))), [0x10, 0x10, 0x10]);
        let folder = inherited(&list, &heir(true));
        assert_eq!(flags(&folder), [0x19, 0x12, 0x10, 0x10, 0x1B]);
        let named: Vec<&[u8]> = each(&folder).map(|entry| &entry[8..]).collect();
        assert_eq!(named[3], owner);
        assert_eq!(named[4], make(3, &[0]));
    }
}
