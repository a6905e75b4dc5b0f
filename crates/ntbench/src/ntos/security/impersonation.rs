//! Threads that act for somebody else for a while.
//!
//! `PsImpersonateClient`, `SeCreateClientSecurity`, `SeImpersonateClientEx`, `SECURITY_CLIENT_CONTEXT`, "Impersonation
//! Levels". Who a thread impersonates counts for drivers' own checks (`SeAccessCheck`, `SeSinglePrivilegeCheck`); files are
//! open to everybody here in any case.

use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use super::access::Subject;
use super::token::{self, Token};
use crate::abi::flt::KERNEL_MODE;
use crate::abi::layout;
use crate::bugcheck;
use crate::maps::HashMap;
use crate::ntos::handle::{self, Target};
use crate::ntos::memory::Guest;
use crate::ntos::{irql, object, ps};
use crate::status::NtStatus;
use crate::thread::{self, PASSIVE_LEVEL};

/// `SecurityDelegation`, the highest level; below it impersonation (2), identification (1) and anonymous (0).
const MOST: u32 = 3;

/// `SECURITY_QUALITY_OF_SERVICE`.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Quality {
    length: u32,
    level: u32,
    tracking: u8,
    effective_only: u8,
    pad: u16,
}
layout!(Quality, 12, level @ 4, tracking @ 8, effective_only @ 9);

/// `SECURITY_CLIENT_CONTEXT`; `token_control` begins at its alignment of four.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Client {
    quality: Quality,
    token: usize,
    direct: u8,
    direct_effective_only: u8,
    remote: u8,
    pad: u8,
    control: [u32; 10],
    pad1: u32,
}
layout!(Client, 72, token @ 16, direct @ 24, remote @ 26, control @ 28);

/// Whom a thread impersonates.
#[derive(Clone, Copy)]
pub(super) struct Impersonated {
    pub(super) token: usize,
    pub(super) level: u32,
    copy_on_open: u8,
    effective_only: u8,
}

/// By threads' objects.
static THREADS: LazyLock<Mutex<HashMap<usize, Impersonated>>> = LazyLock::new(Mutex::default);

fn lock() -> MutexGuard<'static, HashMap<usize, Impersonated>> {
    THREADS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whom a thread impersonates; `None`: it acts for itself.
pub(super) fn of_thread(thread: usize) -> Option<Impersonated> {
    lock().get(&thread).copied()
}

/// The process of a thread; what is no thread is a bug check.
fn process_of(call: &str, thread: usize) -> std::sync::Arc<thread::Process> {
    ps::thread_at(thread).map_or_else(
        || {
            bugcheck::raise(
                0x3B,
                [0xC000_0005, 0, thread as u64, 0],
                format!("{call} was given {thread:#x}, which is no thread that runs"),
            )
        },
        |thread| std::sync::Arc::clone(&thread.process),
    )
}

/// Has a thread impersonate whoever a token stands for, or nobody any more.
fn impersonate(call: &str, thread: usize, impersonated: Option<Impersonated>) -> NtStatus {
    process_of(call, thread);
    match impersonated {
        None => {
            lock().remove(&thread);
        }
        Some(wanted) => {
            let token = token::token(call, wanted.token);
            if wanted.level > MOST || token.level.is_some_and(|level| level < wanted.level) {
                return NtStatus::BAD_IMPERSONATION_LEVEL;
            }
            lock().insert(thread, wanted);
        }
    }
    NtStatus::SUCCESS
}

/// A context for a client's token: the token itself, or a copy as it is now.
fn context(of: Token, quality: Quality, remote: u8, to: Guest<Client>) -> NtStatus {
    if quality.level > MOST {
        return NtStatus::INVALID_PARAMETER;
    }
    if of.level.is_some_and(|level| level < quality.level) {
        return NtStatus::BAD_IMPERSONATION_LEVEL;
    }
    // With SECURITY_DYNAMIC_TRACKING the server sees the client's token as it changes.
    let direct = quality.tracking != 0 && of.level.is_some();
    let token = if direct {
        of
    } else {
        token::duplicate(of, Some(quality.level))
    };
    object::lend(token.address, "token");
    let bytes = token::control(of);
    let mut control = [0; 10];
    for (word, four) in control.iter_mut().zip(bytes.chunks_exact(4)) {
        *word = four
            .iter()
            .rev()
            .fold(0, |value, byte| value << 8 | u32::from(*byte));
    }
    to.write(Client {
        quality,
        token: token.address,
        direct: direct.into(),
        direct_effective_only: quality.effective_only,
        remote,
        pad: 0,
        control,
        pad1: 0,
    });
    NtStatus::SUCCESS
}

/// The token that counts for a thread.
fn effective(call: &str, thread: usize) -> Token {
    let address = of_thread(thread).map_or_else(
        || token::of_process(&process_of(call, thread)),
        |impersonated| impersonated.token,
    );
    token::token(call, address)
}

fn client(call: &str, context: Guest<Client>, thread: usize) -> NtStatus {
    irql::at_most(call, PASSIVE_LEVEL);
    let context = context.read();
    let thread = if thread == 0 {
        thread::current().object
    } else {
        thread
    };
    let wanted = Impersonated {
        token: context.token,
        level: context.quality.level,
        copy_on_open: 1,
        effective_only: context.quality.effective_only,
    };
    impersonate(call, thread, Some(wanted))
}

exports! { "ntoskrnl.exe";
    /// Has a thread impersonate a client, or with NULL nobody.
    fn PsImpersonateClient(thread: usize, address: usize, copy_on_open: u8, effective_only: u8, level: u32) -> NtStatus {
        irql::at_most("PsImpersonateClient", PASSIVE_LEVEL);
        let wanted = Impersonated { token: address, level, copy_on_open, effective_only };
        impersonate("PsImpersonateClient", thread, (address != 0).then_some(wanted))
    }

    /// Ends the current thread's impersonation.
    fn PsRevertToSelf() {
        irql::at_most("PsRevertToSelf", PASSIVE_LEVEL);
        lock().remove(&thread::current().object);
    }

    /// Ends a thread's.
    fn PsRevertThreadToSelf(thread: usize) {
        irql::at_most("PsRevertThreadToSelf", PASSIVE_LEVEL);
        process_of("PsRevertThreadToSelf", thread);
        lock().remove(&thread);
    }

    /// Has a thread impersonate by the handle of an impersonation token; NULL: nobody.
    fn PsAssignImpersonationToken(thread: usize, handle: u64) -> NtStatus {
        irql::at_most("PsAssignImpersonationToken", PASSIVE_LEVEL);
        if handle == 0 {
            return impersonate("PsAssignImpersonationToken", thread, None);
        }
        let token = match handle::look_up(handle, KERNEL_MODE) {
            Ok((Target::Token(address), _)) => token::token("PsAssignImpersonationToken", address),
            Ok(_) => return NtStatus::OBJECT_TYPE_MISMATCH,
            Err(status) => return status,
        };
        let Some(level) = token.level else { return NtStatus::BAD_TOKEN_TYPE };
        let wanted = Impersonated { token: token.address, level, copy_on_open: 0, effective_only: 0 };
        impersonate("PsAssignImpersonationToken", thread, Some(wanted))
    }

    /// The token that a thread impersonates, referenced; NULL: none.
    fn PsReferenceImpersonationToken(
        thread: usize, copy: Guest<u8>, effective_only: Guest<u8>, level: Guest<u32>,
    ) -> usize {
        irql::at_most("PsReferenceImpersonationToken", PASSIVE_LEVEL);
        process_of("PsReferenceImpersonationToken", thread);
        let Some(found) = of_thread(thread) else { return 0 };
        object::lend(found.token, "token");
        copy.write(found.copy_on_open);
        effective_only.write(found.effective_only);
        level.write(found.level);
        found.token
    }

    /// Gives a reference back.
    fn PsDereferenceImpersonationToken(token: usize) {
        irql::at_most("PsDereferenceImpersonationToken", PASSIVE_LEVEL);
        if token != 0 {
            object::ObfDereferenceObject(token);
        }
    }

    /// Has a thread act for itself for a while; whether it impersonated anybody, and whom.
    fn PsDisableImpersonation(thread: usize, state: Guest<[u64; 2]>) -> u8 {
        irql::at_most("PsDisableImpersonation", PASSIVE_LEVEL);
        process_of("PsDisableImpersonation", thread);
        let before = lock().remove(&thread);
        let (token, rest) = before.map_or((0, 0), |before| {
            let flags = u64::from(before.copy_on_open) | u64::from(before.effective_only) << 8;
            (before.token as u64, flags | u64::from(before.level) << 32)
        });
        state.write([token, rest]);
        u8::from(before.is_some())
    }

    /// Has it impersonate again.
    fn PsRestoreImpersonation(thread: usize, state: Guest<[u64; 2]>) {
        irql::at_most("PsRestoreImpersonation", PASSIVE_LEVEL);
        let [address, rest] = state.read();
        let Ok(address @ 1..) = usize::try_from(address) else { return };
        let byte = |shift: u32| u8::try_from(rest >> shift & 0xFF).unwrap_or(0);
        let wanted = Impersonated {
            token: address,
            level: u32::try_from(rest >> 32).unwrap_or(0),
            copy_on_open: byte(0),
            effective_only: byte(8),
        };
        impersonate("PsRestoreImpersonation", thread, Some(wanted));
    }

    /// Captures a client's security, for a thread to impersonate it later.
    fn SeCreateClientSecurity(thread: usize, quality: Guest<Quality>, remote: u8, to: Guest<Client>) -> NtStatus {
        irql::at_most("SeCreateClientSecurity", PASSIVE_LEVEL);
        let quality = quality.read();
        context(effective("SeCreateClientSecurity", thread), quality, remote, to)
    }

    /// The same for a captured subject.
    fn SeCreateClientSecurityFromSubjectContext(
        subject: Guest<Subject>, quality: Guest<Quality>, remote: u8, to: Guest<Client>,
    ) -> NtStatus {
        irql::at_most("SeCreateClientSecurityFromSubjectContext", PASSIVE_LEVEL);
        let (subject, quality) = (subject.read(), quality.read());
        let address = if subject.client == 0 { subject.primary } else { subject.client };
        if subject.client != 0 && subject.level < quality.level {
            return NtStatus::BAD_IMPERSONATION_LEVEL;
        }
        context(token::token("SeCreateClientSecurityFromSubjectContext", address), quality, remote, to)
    }

    /// Has a thread, or the current one, impersonate a captured client.
    fn SeImpersonateClient(context: Guest<Client>, thread: usize) {
        client("SeImpersonateClient", context, thread);
    }

    /// The same, and says whether it does.
    fn SeImpersonateClientEx(context: Guest<Client>, thread: usize) -> NtStatus {
        client("SeImpersonateClientEx", context, thread)
    }
}
