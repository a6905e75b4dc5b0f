//! Who may connect to a port: security descriptors, as far as a port needs them.
//!
//! The kernel copies a descriptor when the port is made. A thread's token is known by one thing only: whether it is an
//! administrator's. So the identities that an entry can name are the system, its administrators, and the groups that
//! everybody is in.

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex, PoisonError};

use crate::ntos::memory::Guest;
use crate::ntos::{driver, irql, pool};
use crate::status::NtStatus;
use crate::thread::{self, PASSIVE_LEVEL};
use crate::verifier::{self, Leak};
use crate::{bugcheck, faults};

/// `FLT_PORT_CONNECT`.
const PORT_CONNECT: u32 = 0x0001;
/// `GENERIC_ALL`.
const GENERIC_ALL: u32 = 0x1000_0000;
const TAG: u32 = u32::from_le_bytes(*b"FMsd");

/// `S-1-5-18`, the system.
const SYSTEM: [u8; 12] = [1, 1, 0, 0, 0, 0, 0, 5, 18, 0, 0, 0];
/// `S-1-5-32-544`, the administrators.
const ADMINISTRATORS: [u8; 16] = [1, 2, 0, 0, 0, 0, 0, 5, 32, 0, 0, 0, 0x20, 2, 0, 0];
/// `S-1-1-0`, everyone.
const EVERYONE: [u8; 12] = [1, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0];
/// `S-1-5-11`, authenticated users.
const AUTHENTICATED: [u8; 12] = [1, 1, 0, 0, 0, 0, 0, 5, 11, 0, 0, 0];
/// `S-1-5-32-545`, the users.
const USERS: [u8; 16] = [1, 2, 0, 0, 0, 0, 0, 5, 32, 0, 0, 0, 0x21, 2, 0, 0];

// SECURITY_DESCRIPTOR.Control.
const DACL_PRESENT: u16 = 0x0004;
const SELF_RELATIVE: u16 = 0x8000;
/// An absolute `SECURITY_DESCRIPTOR` on x64.
const DESCRIPTOR_BYTES: usize = 40;
const ACL_HEADER: usize = 8;
const ACE_HEADER: usize = 8;
const ALLOWED: u8 = 0;
const DENIED: u8 = 1;
const INHERIT_ONLY: u8 = 0x08;

/// A discretionary list of who may do what, as copied from a descriptor.
pub(super) enum Dacl {
    /// No list: everybody may.
    Everybody,
    /// In this order: may (or may not), what, who.
    Entries(Vec<(bool, u32, Vec<u8>)>),
}

impl Dacl {
    /// What a port made without a descriptor gets: the default of the system's token. Administrators may read the
    /// object's own attributes by it, and not connect.
    fn of_the_system() -> Self {
        Self::Entries(vec![(true, GENERIC_ALL, SYSTEM.to_vec())])
    }

    /// Copies the list out of a descriptor.
    pub(super) fn copy(descriptor: usize) -> Result<Self, NtStatus> {
        if descriptor == 0 {
            return Ok(Self::of_the_system());
        }
        let bytes = Guest::<u8>::at(descriptor);
        let control: u16 = Guest::at(descriptor + 2).read();
        if bytes.read() != 1 {
            return Err(NtStatus::INVALID_SECURITY_DESCR);
        }
        if control & DACL_PRESENT == 0 {
            return Ok(Self::Everybody);
        }
        let acl = if control & SELF_RELATIVE == 0 {
            Guest::<usize>::at(descriptor + 32).read()
        } else {
            match Guest::<u32>::at(descriptor + 16).read() {
                0 => 0,
                offset => descriptor + offset as usize,
            }
        };
        if acl == 0 {
            return Ok(Self::Everybody);
        }
        entries(acl).map(Self::Entries)
    }

    /// Whether the current thread may connect.
    pub(super) fn allows_connection(&self) -> bool {
        let Self::Entries(entries) = self else {
            return true;
        };
        let thread = thread::current();
        let mut groups: Vec<&[u8]> = vec![&EVERYONE, &AUTHENTICATED];
        if thread.is_system() {
            groups.extend([&SYSTEM[..], &ADMINISTRATORS]);
        } else {
            groups.push(&USERS);
            if thread.process.administrator {
                groups.push(&ADMINISTRATORS);
            }
        }
        entries
            .iter()
            .find(|(_, access, who)| {
                access & (PORT_CONNECT | GENERIC_ALL) != 0 && groups.contains(&who.as_slice())
            })
            .is_some_and(|(allowed, ..)| *allowed)
    }
}

fn entries(acl: usize) -> Result<Vec<(bool, u32, Vec<u8>)>, NtStatus> {
    let size = usize::from(Guest::<u16>::at(acl + 2).read());
    let count: u16 = Guest::at(acl + 4).read();
    let mut entries = Vec::new();
    let mut at = ACL_HEADER;
    for _ in 0..count {
        if at + ACE_HEADER > size {
            return Err(NtStatus::INVALID_SECURITY_DESCR);
        }
        let [kind, flags] = Guest::<[u8; 2]>::at(acl + at).read();
        let length = usize::from(Guest::<u16>::at(acl + at + 2).read());
        if length < ACE_HEADER || at + length > size {
            return Err(NtStatus::INVALID_SECURITY_DESCR);
        }
        let access: u32 = Guest::at(acl + at + 4).read();
        let who = Guest::<u8>::at(acl + at + ACE_HEADER).read_many(length - ACE_HEADER);
        if matches!(kind, ALLOWED | DENIED) && flags & INHERIT_ONLY == 0 {
            entries.push((kind == ALLOWED, access, who));
        }
        at += length;
    }
    Ok(entries)
}

/// Descriptors given out: who asked, and from where.
static BUILT: LazyLock<Mutex<HashMap<usize, (String, usize)>>> = LazyLock::new(Mutex::default);

/// An absolute descriptor that lets the system and its administrators do what `access` says.
fn build(access: u32) -> Option<usize> {
    let mut acl = vec![2, 0, 0, 0, 2, 0, 0, 0];
    for who in [&SYSTEM[..], &ADMINISTRATORS] {
        let length = u16::try_from(ACE_HEADER + who.len()).unwrap_or(0);
        acl.extend([ALLOWED, 0]);
        acl.extend(length.to_le_bytes());
        acl.extend(access.to_le_bytes());
        acl.extend(who);
    }
    let size = u16::try_from(acl.len()).unwrap_or(0);
    acl[2..4].copy_from_slice(&size.to_le_bytes());
    let bytes = DESCRIPTOR_BYTES + acl.len();
    let address = pool::lend(bytes, TAG, true)?;
    Guest::<u8>::at(address).write(1);
    Guest::<u16>::at(address + 2).write(DACL_PRESENT);
    Guest::<usize>::at(address + 32).write(address + DESCRIPTOR_BYTES);
    Guest::<u8>::at(address + DESCRIPTOR_BYTES).write_many(&acl);
    Some(address)
}

/// What descriptors a driver that goes away has not freed; they are taken away.
pub(super) fn leftovers(service: &str) -> Vec<Leak> {
    let mut built = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
    let left: Vec<(usize, usize)> = built
        .iter()
        .filter(|(_, (owner, _))| owner == service)
        .map(|(address, (_, site))| (*address, *site))
        .collect();
    let mut leaks = Vec::new();
    for (address, site) in left {
        built.remove(&address);
        pool::free(address, None);
        leaks.push(Leak {
            text: "a security descriptor was not freed; each FltBuildDefaultSecurityDescriptor needs its \
                   FltFreeSecurityDescriptor"
                .to_owned(),
            site,
        });
    }
    leaks
}

exports! { "fltmgr.sys";
    /// Builds a descriptor for a port that administrators and the system may use.
    fn FltBuildDefaultSecurityDescriptor(descriptor: Guest<usize>, access: u32) -> NtStatus {
        irql::at_most("FltBuildDefaultSecurityDescriptor", PASSIVE_LEVEL);
        if let Some(status) = faults::check("FltBuildDefaultSecurityDescriptor") {
            return status;
        }
        let Some(address) = build(access) else { return NtStatus::INSUFFICIENT_RESOURCES };
        let service = driver::calling().map_or_else(String::new, |driver| driver.service.clone());
        let site = verifier::here();
        BUILT.lock().unwrap_or_else(PoisonError::into_inner).insert(address, (service, site));
        descriptor.write(address);
        NtStatus::SUCCESS
    }

    /// Frees it.
    fn FltFreeSecurityDescriptor(descriptor: usize) {
        irql::at_most("FltFreeSecurityDescriptor", PASSIVE_LEVEL);
        let known = BUILT.lock().unwrap_or_else(PoisonError::into_inner).remove(&descriptor);
        if known.is_none() {
            bugcheck::raise(
                0xC2,
                [0x46, descriptor as u64, 0, 0],
                "FltFreeSecurityDescriptor on what FltBuildDefaultSecurityDescriptor did not build (or was freed)",
            );
        }
        pool::free(descriptor, None);
    }
}
