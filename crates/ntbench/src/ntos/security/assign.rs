//! The descriptor that a new object gets, and changes to one that an object has.
//!
//! `SeAssignSecurity(Ex)`, `SeQuerySecurityDescriptorInfo`, `SeSetSecurityDescriptorInfo(Ex)`; "ACE Inheritance Rules", "DACL for a New
//! Object". Descriptors are made in the driver's pool, self-relative.

use super::access::{Subject, mapped};
use super::convert::{self, parts};
use super::describe::{self, DACL, GROUP, OWNER, SACL};
use super::inherit::{Heir, inherited, list_of, mapped_entries};
use super::sid::{self, nt, paged};
use super::token::{self, Who};
use crate::ntos::memory::Guest;
use crate::ntos::pool_api;
use crate::status::NtStatus;
use crate::{faults, ntos::pool};

const TAG: u32 = u32::from_le_bytes(*b"SeSd");
/// `SE_DACL_PRESENT`, `_DEFAULTED`, `SE_SACL_PRESENT`, `SE_DACL_AUTO_INHERITED`, `SE_DACL_PROTECTED`.
const DACL_PRESENT: u16 = 0x4;
const DACL_DEFAULTED: u16 = 0x8;
const SACL_PRESENT: u16 = 0x10;
const AUTO_INHERITED: u16 = 0x400;
const PROTECTED: u16 = 0x1000;
/// `SEF_DACL_AUTO_INHERIT`, `SEF_AVOID_PRIVILEGE_CHECK`, `_OWNER_CHECK`, `SEF_DEFAULT_OWNER_FROM_PARENT`, `_GROUP_`.
const AUTO: u32 = 0x1;
const NO_PRIVILEGE_CHECK: u32 = 0x8;
const NO_OWNER_CHECK: u32 = 0x10;
const PARENTS_OWNER: u32 = 0x20;
const PARENTS_GROUP: u32 = 0x40;
/// `SeSecurityPrivilege`, `SeRestorePrivilege`.
const SECURITY: u64 = 8;
const RESTORE: u64 = 18;
/// `GENERIC_ALL`.
const ALL: u32 = 0x1000_0000;

/// What a new descriptor is made of.
struct Wanted {
    parent: usize,
    explicit: usize,
    directory: bool,
    flags: u32,
    mapping: Guest<[u32; 4]>,
}

/// One of the parts of a descriptor that may be none.
fn part(descriptor: usize, place: (usize, usize)) -> Option<Vec<u8>> {
    if descriptor == 0 {
        return None;
    }
    sid::at(describe::part(descriptor, place))
}

/// The entries of a list of a descriptor's; `None`: there is no such list, or none that says anything.
fn entries(descriptor: usize, place: (usize, usize), present: u16) -> Option<Vec<u8>> {
    if descriptor == 0 || describe::control(descriptor) & present == 0 {
        return None;
    }
    let acl = describe::part(descriptor, place);
    (acl != 0).then(|| convert::entries_of(acl))
}

/// Who may do what with an object of which nobody says anything.
fn default_entries(who: Who, mapping: Guest<[u32; 4]>) -> Vec<u8> {
    let all = mapped(ALL, mapping);
    let mut users = vec![who.user()];
    if who != Who::System {
        users.push(nt(&[18]));
    }
    let entry = |user: Vec<u8>| {
        let size = u16::try_from(8 + user.len()).unwrap_or(u16::MAX);
        let mut bytes = vec![0, 0];
        bytes.extend(size.to_le_bytes());
        bytes.extend(all.to_le_bytes());
        bytes.extend(user);
        bytes
    };
    users.into_iter().flat_map(entry).collect()
}

impl Wanted {
    fn owner(&self, who: Who) -> Result<Vec<u8>, NtStatus> {
        let given = part(self.explicit, OWNER);
        if let Some(owner) = &given
            && self.flags & NO_OWNER_CHECK == 0
            && !who.is(owner)
            && !who.has(RESTORE)
        {
            return Err(NtStatus::INVALID_OWNER);
        }
        let parents = (self.flags & PARENTS_OWNER != 0)
            .then(|| part(self.parent, OWNER))
            .flatten();
        Ok(given.or(parents).unwrap_or_else(|| who.user()))
    }

    fn group(&self) -> Vec<u8> {
        let parents = (self.flags & PARENTS_GROUP != 0)
            .then(|| part(self.parent, GROUP))
            .flatten();
        // "None", the first group of a local account.
        part(self.explicit, GROUP)
            .or(parents)
            .unwrap_or_else(|| nt(&[21, 1, 2, 3, 513]))
    }

    /// What the parent's list leaves its child.
    fn parents(&self, place: (usize, usize), present: u16, ids: [&[u8]; 2]) -> Vec<u8> {
        let heir = Heir {
            directory: self.directory,
            marked: self.flags & AUTO != 0,
            owner: ids[0],
            group: ids[1],
            mapping: self.mapping,
        };
        entries(self.parent, place, present).map_or_else(Vec::new, |list| inherited(&list, &heir))
    }

    /// The descriptor's bytes.
    fn make(&self, who: Who) -> Result<Vec<u8>, NtStatus> {
        let (owner, group) = (self.owner(who)?, self.group());
        let ids = [owner.as_slice(), group.as_slice()];
        let control = if self.explicit == 0 {
            0
        } else {
            describe::control(self.explicit)
        };
        let given = entries(self.explicit, DACL, DACL_PRESENT);
        let from_parent = self.parents(DACL, DACL_PRESENT, ids);
        let own = |list: &[u8]| mapped_entries(list, self.mapping);
        let auto = self.flags & AUTO != 0;
        let list = match given {
            Some(given) if control & DACL_DEFAULTED == 0 => {
                let mut list = own(&given);
                if auto && control & PROTECTED == 0 {
                    list.extend(from_parent);
                }
                list
            }
            _ if !from_parent.is_empty() => from_parent,
            Some(given) => own(&given),
            None => default_entries(who, self.mapping),
        };
        let null_list = control & (DACL_PRESENT | DACL_DEFAULTED) == DACL_PRESENT
            && describe::part(self.explicit, DACL) == 0;
        let audit = entries(self.explicit, SACL, SACL_PRESENT);
        if audit.is_some() && self.flags & NO_PRIVILEGE_CHECK == 0 && !who.has(SECURITY) {
            return Err(NtStatus::PRIVILEGE_NOT_HELD);
        }
        let audit = audit.unwrap_or_else(|| self.parents(SACL, SACL_PRESENT, ids));
        let control = DACL_PRESENT
            | if auto { AUTO_INHERITED } else { 0 }
            | control & PROTECTED
            | if audit.is_empty() { 0 } else { SACL_PRESENT };
        Ok(convert::self_relative(
            control,
            [
                owner,
                group,
                if audit.is_empty() {
                    Vec::new()
                } else {
                    list_of(&audit)
                },
                if null_list {
                    Vec::new()
                } else {
                    list_of(&list)
                },
            ],
        ))
    }
}

/// Puts a descriptor into a driver's pool.
fn lend(call: &'static str, bytes: &[u8], pool_type: u32) -> Result<usize, NtStatus> {
    let block = pool_api::of_old_type(call, pool_type, bytes.len(), TAG);
    if block == 0 {
        return Err(NtStatus::INSUFFICIENT_RESOURCES);
    }
    Guest::<u8>::at(block).write_many(bytes);
    Ok(block)
}

fn assign(
    call: &'static str,
    wanted: &Wanted,
    subject: Guest<Subject>,
    out: Guest<usize>,
    pool_type: u32,
) -> NtStatus {
    paged(call);
    if let Some(status) = faults::check(call) {
        return status;
    }
    let subject = subject.read();
    let token = if subject.client == 0 {
        subject.primary
    } else {
        subject.client
    };
    let made = wanted.make(token::who_of(call, token));
    match made.and_then(|bytes| lend(call, &bytes, pool_type)) {
        Ok(block) => {
            out.write(block);
            NtStatus::SUCCESS
        }
        Err(status) => status,
    }
}

/// The parts that an information asks for: `OWNER_SECURITY_INFORMATION` and so on, in the order of [`parts`].
const ASKED: [u32; 4] = [1, 2, 8, 4];

/// Changes those parts of a descriptor that an information names; gives the new one.
fn changed(information: u32, by: usize, descriptor: usize, mapping: Guest<[u32; 4]>) -> Vec<u8> {
    let (old, new) = (parts(descriptor), parts(by));
    let mut control = describe::control(descriptor);
    for (bit, flag) in [(4, DACL_PRESENT | PROTECTED), (8, SACL_PRESENT)] {
        if information & bit != 0 {
            control = control & !flag | describe::control(by) & flag;
        }
    }
    let mut kept: [Vec<u8>; 4] = Default::default();
    for (index, part) in kept.iter_mut().enumerate() {
        let taken = if information & ASKED[index] == 0 {
            &old[index].1
        } else {
            &new[index].1
        };
        *part = match index {
            3 if !taken.is_empty() => list_of(&mapped_entries(&taken[8..], mapping)),
            _ => taken.clone(),
        };
    }
    convert::self_relative(control, kept)
}

exports! { "ntoskrnl.exe";
    /// Makes the descriptor of a new object: of what its creator says, of what its parent leaves it, of its creator's defaults.
    partial "of entries' kinds those with a mask and an identifier are mapped and inherited by it; mandatory labels are not looked at"
    fn SeAssignSecurity(
        parent: usize, explicit: usize, out: Guest<usize>, directory: u8, subject: Guest<Subject>, mapping: Guest<[u32; 4]>,
        pool_type: u32,
    ) -> NtStatus {
        let wanted = Wanted { parent, explicit, directory: directory != 0, flags: 0, mapping };
        assign("SeAssignSecurity", &wanted, subject, out, pool_type)
    }

    /// The same, with flags that say what is inherited and checked.
    partial "as SeAssignSecurity; the object's type is not looked at"
    fn SeAssignSecurityEx(
        parent: usize, explicit: usize, out: Guest<usize>, _kind: usize, directory: u8, flags: u32, subject: Guest<Subject>,
        mapping: Guest<[u32; 4]>, pool_type: u32,
    ) -> NtStatus {
        let wanted = Wanted { parent, explicit, directory: directory != 0, flags, mapping };
        assign("SeAssignSecurityEx", &wanted, subject, out, pool_type)
    }

    /// Frees a descriptor.
    fn SeDeassignSecurity(descriptor: Guest<usize>) -> NtStatus {
        paged("SeDeassignSecurity");
        let block = descriptor.read();
        if block != 0 {
            pool::free(block, None);
            descriptor.write(0);
        }
        NtStatus::SUCCESS
    }

    /// Copies the parts of an object's descriptor that are asked for.
    fn SeQuerySecurityDescriptorInfo(
        information: Guest<u32>, to: usize, length: Guest<u32>, descriptor: Guest<usize>,
    ) -> NtStatus {
        paged("SeQuerySecurityDescriptorInfo");
        let (asked, from) = (information.read(), descriptor.read());
        let mut control = 0;
        let mut kept: [Vec<u8>; 4] = Default::default();
        if from != 0 {
            let has = describe::control(from);
            control |= if asked & 4 == 0 { 0 } else { has & (DACL_PRESENT | AUTO_INHERITED | PROTECTED) };
            control |= if asked & 8 == 0 { 0 } else { has & SACL_PRESENT };
            for ((kept, (_, bytes)), bit) in kept.iter_mut().zip(parts(from)).zip(ASKED) {
                if asked & bit != 0 {
                    *kept = bytes;
                }
            }
        }
        let bytes = convert::self_relative(control, kept);
        let room = length.read() as usize;
        length.write(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
        if room < bytes.len() {
            return NtStatus::BUFFER_TOO_SMALL;
        }
        Guest::<u8>::at(to).write_many(&bytes);
        NtStatus::SUCCESS
    }

    /// Makes another descriptor in the place of an object's, with the parts changed that are named. The old one is the caller's to free.
    fn SeSetSecurityDescriptorInfo(
        _object: usize, information: Guest<u32>, by: usize, descriptor: Guest<usize>, pool_type: u32, mapping: Guest<[u32; 4]>,
    ) -> NtStatus {
        const NAME: &str = "SeSetSecurityDescriptorInfo";
        paged(NAME);
        if let Some(status) = faults::check(NAME) {
            return status;
        }
        if descriptor.read() == 0 {
            return NtStatus::NO_SECURITY_ON_OBJECT;
        }
        let bytes = changed(information.read(), by, descriptor.read(), mapping);
        match lend(NAME, &bytes, pool_type) {
            Ok(block) => {
                descriptor.write(block);
                NtStatus::SUCCESS
            }
            Err(status) => status,
        }
    }

    /// The same with flags.
    partial "the flags change nothing: what is inherited stays as it is"
    fn SeSetSecurityDescriptorInfoEx(
        object: usize, information: Guest<u32>, by: usize, descriptor: Guest<usize>, _flags: u32, pool_type: u32,
        mapping: Guest<[u32; 4]>,
    ) -> NtStatus {
        SeSetSecurityDescriptorInfo(object, information, by, descriptor, pool_type, mapping)
    }
}
