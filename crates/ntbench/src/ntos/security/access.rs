//! Checks: may this subject do that, does it have these privileges.
//!
//! `SeAccessCheck`, `SePrivilegeCheck`, `SECURITY_SUBJECT_CONTEXT`. The kernel (`KernelMode`) may do everything.

use std::sync::LazyLock;

use super::sid::{make, nt, paged};
use super::token::{self, Who};
use super::{describe, impersonation};
use crate::abi::flt::KERNEL_MODE;
use crate::abi::layout;
use crate::ntos::memory::Guest;
use crate::ntos::{attach, irql, object, ps};
use crate::status::NtStatus;
use crate::thread::{self, APC_LEVEL, PASSIVE_LEVEL};
use crate::verifier;

const MAXIMUM_ALLOWED: u32 = 0x0200_0000;
const READ_CONTROL: u32 = 0x2_0000;
const WRITE_DAC: u32 = 0x4_0000;
const ACCESS_SYSTEM_SECURITY: u32 = 0x0100_0000;
/// `SeSecurityPrivilege`.
const SECURITY: u64 = 8;
/// `SE_PRIVILEGE_USED_FOR_ACCESS`, and `PRIVILEGE_SET_ALL_NECESSARY`.
const USED: u32 = 0x8000_0000;
const ALL_NECESSARY: u32 = 1;

/// `SECURITY_SUBJECT_CONTEXT`.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Subject {
    pub(super) client: usize,
    pub(super) level: u32,
    pub(super) primary: usize,
    process: u64,
}
layout!(Subject, 32, level @ 8, primary @ 16, process @ 24);

/// The four generic rights, as an object type maps them.
pub(super) fn mapped(access: u32, mapping: Guest<[u32; 4]>) -> u32 {
    // GENERIC_READ, …WRITE, …EXECUTE, …ALL, from the highest bit down.
    let rights = mapping.read_opt().unwrap_or([0; 4]);
    let generic = rights
        .iter()
        .enumerate()
        .filter(|(index, _)| access & (0x8000_0000 >> index) != 0);
    generic.fold(access & 0x0FFF_FFFF, |access, (_, right)| access | right)
}

/// What a descriptor lets somebody do of what is wanted: a denied entry counts for what no entry before it has allowed.
fn allowed(descriptor: usize, who: Who, wanted: u32, mapping: Guest<[u32; 4]>) -> u32 {
    let Some(acl) = describe::dacl(descriptor) else {
        return wanted;
    };
    let (mut granted, mut denied) = (0, 0);
    for (allows, access, sid) in describe::entries(acl) {
        if who.is(&sid) {
            let access = mapped(access, mapping) & !granted & !denied;
            if allows {
                granted |= access;
            } else {
                denied |= access;
            }
        }
    }
    // The owner may always read and change who may do what.
    if describe::owner(descriptor).is_some_and(|owner| who.is(&owner)) {
        granted |= (READ_CONTROL | WRITE_DAC) & !denied;
    }
    granted & wanted
}

struct Check {
    descriptor: usize,
    wanted: u32,
    before: u32,
    mapping: Guest<[u32; 4]>,
}

impl Check {
    fn run(&self, who: Who) -> Result<u32, NtStatus> {
        let mut wanted = mapped(self.wanted & !MAXIMUM_ALLOWED, self.mapping) & !self.before;
        let mut granted = self.before;
        if wanted & ACCESS_SYSTEM_SECURITY != 0 {
            if !who.has(SECURITY) {
                return Err(NtStatus::PRIVILEGE_NOT_HELD);
            }
            wanted &= !ACCESS_SYSTEM_SECURITY;
            granted |= ACCESS_SYSTEM_SECURITY;
        }
        if self.wanted & MAXIMUM_ALLOWED != 0 {
            let all = self
                .mapping
                .read_opt()
                .map_or(0x001F_FFFF, |rights| rights[3]);
            let most = allowed(self.descriptor, who, all | wanted, self.mapping);
            return if most & wanted == wanted && most | granted != 0 {
                Ok(most | granted)
            } else {
                Err(NtStatus::ACCESS_DENIED)
            };
        }
        let found = allowed(self.descriptor, who, wanted, self.mapping);
        if found == wanted {
            Ok(found | granted)
        } else {
            Err(NtStatus::ACCESS_DENIED)
        }
    }
}

/// The token that counts for a subject.
fn of_subject(call: &str, subject: Guest<Subject>) -> Who {
    let subject = subject.read();
    let token = if subject.client == 0 {
        subject.primary
    } else {
        subject.client
    };
    token::who_of(call, token)
}

/// `LUID_AND_ATTRIBUTES`es of a `PRIVILEGE_SET`.
fn privileges(set: Guest<u32>) -> (u32, Vec<(usize, u64)>) {
    let count = set.read();
    let each = (0..count as usize).map(|index| {
        let at = set.address() + 8 + index * 12;
        (at, Guest::<u64>::at(at).read())
    });
    (set.add(1).read(), each.collect())
}

/// Captures a subject: its tokens are referenced until it is released.
fn capture(thread: usize, process: usize, to: Guest<Subject>) {
    let Some(process) = ps::process_at(process) else {
        return;
    };
    let primary = token::of_process(&process);
    object::lend(primary, "token");
    let impersonated = impersonation::of_thread(thread);
    if let Some(impersonated) = impersonated {
        object::lend(impersonated.token, "token");
    }
    to.write(Subject {
        client: impersonated.map_or(0, |impersonated| impersonated.token),
        level: impersonated.map_or(0, |impersonated| impersonated.level),
        primary,
        process: process.pid,
    });
}

/// `SE_EXPORTS`: privileges by number, then identities, as `ntifs.h` orders them.
static EXPORTS: LazyLock<usize> = LazyLock::new(|| {
    let first: [u64; 23] = [
        2, 3, 4, 5, 6, 7, 8, 9, 10, 15, 14, 11, 12, 13, 16, 17, 18, 19, 20, 21, 22, 23, 24,
    ];
    let identities = [
        make(0, &[0]),
        make(1, &[0]),
        make(2, &[0]),
        make(3, &[0]),
        make(3, &[1]),
        nt(&[]),
        nt(&[1]),
        nt(&[2]),
        nt(&[3]),
        nt(&[4]),
        nt(&[18]),
        nt(&[32, 544]),
        nt(&[32, 545]),
        nt(&[32, 546]),
        nt(&[32, 547]),
        nt(&[32, 548]),
        nt(&[32, 549]),
        nt(&[32, 550]),
        nt(&[32, 551]),
        nt(&[11]),
        nt(&[12]),
        nt(&[7]),
    ];
    // SeUndock, SeSyncAgent, SeEnableDelegation; LocalService, NetworkService; the privileges after those.
    let last: [u64; 3] = [25, 26, 27];
    let services = [nt(&[19]), nt(&[20])];
    let newest: [u64; 8] = [28, 29, 30, 31, 32, 33, 34, 35];
    let keep = |sid: &Vec<u8>| {
        let at = object::allocate(sid.len());
        Guest::at(at).write_many(sid);
        at as u64
    };
    let mut words: Vec<u64> = first.to_vec();
    words.extend(identities.iter().map(keep));
    words.extend(last);
    words.extend(services.iter().map(keep));
    words.extend(newest);
    // SeIUserSid; the mandatory levels: untrusted, low, medium, high, system; SeOwnerRightsSid.
    let levels = [
        nt(&[17]),
        make(16, &[0]),
        make(16, &[0x1000]),
        make(16, &[0x2000]),
        make(16, &[0x3000]),
        make(16, &[0x4000]),
        make(3, &[4]),
    ];
    words.extend(levels.iter().map(keep));
    let table = object::allocate(words.len() * 8 + 0x100);
    Guest::at(table).write_many(&words);
    let variable = object::allocate(8);
    Guest::at(variable).write(table);
    variable
});

exports! { "ntoskrnl.exe";
    data SeExports = || *EXPORTS;

    /// Captures who the current thread acts for.
    fn SeCaptureSubjectContext(subject: Guest<Subject>) {
        irql::at_most("SeCaptureSubjectContext", PASSIVE_LEVEL);
        capture(thread::current().object, attach::object(), subject);
    }

    /// The same for a thread of a process.
    fn SeCaptureSubjectContextEx(thread: usize, process: usize, subject: Guest<Subject>) {
        irql::at_most("SeCaptureSubjectContextEx", PASSIVE_LEVEL);
        capture(thread, process, subject);
    }

    /// Keeps a subject's tokens from changing: nobody changes them here.
    fn SeLockSubjectContext(subject: Guest<Subject>) {
        irql::at_most("SeLockSubjectContext", PASSIVE_LEVEL);
        of_subject("SeLockSubjectContext", subject);
    }

    /// Lets them change again.
    fn SeUnlockSubjectContext(subject: Guest<Subject>) {
        irql::at_most("SeUnlockSubjectContext", APC_LEVEL);
        of_subject("SeUnlockSubjectContext", subject);
    }

    /// Gives a captured subject's tokens back.
    fn SeReleaseSubjectContext(subject: Guest<Subject>) {
        irql::at_most("SeReleaseSubjectContext", PASSIVE_LEVEL);
        let captured = subject.read();
        if captured.primary == 0 {
            verifier::finding(
                "subject-released-twice",
                "SeReleaseSubjectContext of a subject context that holds no token: it was released before, or never captured",
            );
            return;
        }
        object::ObfDereferenceObject(captured.primary);
        if captured.client != 0 {
            object::ObfDereferenceObject(captured.client);
        }
        subject.write(Subject { client: 0, primary: 0, ..captured });
    }

    /// Whether a subject may do what it wants to something with that descriptor.
    partial "object entries and mandatory labels are not looked at; no set of privileges is given out"
    fn SeAccessCheck(
        descriptor: usize, subject: Guest<Subject>, _locked: u8, wanted: u32, before: u32, privileges: Guest<usize>,
        mapping: Guest<[u32; 4]>, mode: i8, granted: Guest<u32>, status: Guest<NtStatus>,
    ) -> u8 {
        irql::at_most("SeAccessCheck", PASSIVE_LEVEL);
        privileges.write_opt(0);
        let check = Check { descriptor, wanted, before, mapping };
        let found = if mode == KERNEL_MODE {
            let all = mapping.read_opt().map_or(0, |rights| rights[3]);
            let most = if wanted & MAXIMUM_ALLOWED == 0 { 0 } else { all };
            Ok(mapped(wanted & !MAXIMUM_ALLOWED, mapping) | before | most)
        } else if descriptor == 0 {
            Err(NtStatus::ACCESS_DENIED)
        } else {
            check.run(of_subject("SeAccessCheck", subject))
        };
        match found {
            Ok(access) => {
                granted.write(access);
                status.write(NtStatus::SUCCESS);
                1
            }
            Err(failed) => {
                granted.write(0);
                status.write(failed);
                0
            }
        }
    }

    /// Whether a subject has the privileges of a set, which are marked as used.
    fn SePrivilegeCheck(set: Guest<u32>, subject: Guest<Subject>, mode: i8) -> u8 {
        irql::at_most("SePrivilegeCheck", PASSIVE_LEVEL);
        if mode == KERNEL_MODE {
            return 1;
        }
        let who = of_subject("SePrivilegeCheck", subject);
        let (control, privileges) = privileges(set);
        let held: Vec<bool> = privileges.iter().map(|(_, privilege)| who.has(*privilege)).collect();
        for ((at, _), held) in privileges.iter().zip(&held) {
            if *held {
                let attributes = Guest::<u32>::at(at + 8);
                attributes.write(attributes.read() | USED);
            }
        }
        let enough = if control & ALL_NECESSARY != 0 {
            held.iter().all(|held| *held)
        } else {
            held.iter().any(|held| *held)
        };
        u8::from(enough)
    }

    /// The token that counts for a captured subject, which keeps it.
    fn SeQuerySubjectContextToken(subject: Guest<Subject>) -> usize {
        irql::at_most("SeQuerySubjectContextToken", PASSIVE_LEVEL);
        of_subject("SeQuerySubjectContextToken", subject);
        let subject = subject.read();
        if subject.client == 0 { subject.primary } else { subject.client }
    }

    /// Whether the current thread has a privilege.
    fn SeSinglePrivilegeCheck(privilege: u64, mode: i8) -> u8 {
        irql::at_most("SeSinglePrivilegeCheck", PASSIVE_LEVEL);
        let who = token::who_of("SeSinglePrivilegeCheck", token::current());
        u8::from(mode == KERNEL_MODE || who.has(privilege))
    }

    /// Gives back what `SeAccessCheck` gave out: nothing.
    fn SeFreePrivileges(_privileges: usize) {
        paged("SeFreePrivileges");
    }
}
