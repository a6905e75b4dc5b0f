//! Threads that run in another process's address space for a while.
//!
//! `KeStackAttachProcess`, `KeUnstackDetachProcess`, `KeAttachProcess`; bug checks 0x5 (`INVALID_PROCESS_ATTACH_ATTEMPT`) and 0x6
//! (`INVALID_PROCESS_DETACH_ATTEMPT`). What changes is the current process, the table that handles are looked up in, and whose
//! user addresses are there ([`user::enter_process`]).

use std::cell::RefCell;
use std::sync::Arc;

use super::memory::Guest;
use super::{irql, ps};
use crate::thread::{self, APC_LEVEL, DISPATCH_LEVEL, Process};
use crate::{bugcheck, user, verifier};

/// What `KAPC_STATE` holds for its one reader, the detach: the process before, and how deep the thread was attached.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct ApcState {
    lists: [usize; 4],
    process: usize,
    flags: [u8; 8],
}

struct Attached {
    process: Arc<Process>,
    /// The `KAPC_STATE` that the detach must come with; 0: `KeAttachProcess`'s.
    state: usize,
    /// Where the driver attached itself.
    site: usize,
}

thread_local! {
    static ATTACHED: RefCell<Vec<Attached>> = const { RefCell::new(Vec::new()) };
}

/// Looks at the current process: the one attached to, or the thread's own.
pub(crate) fn with<R>(look: impl FnOnce(&Arc<Process>) -> R) -> R {
    ATTACHED.with_borrow(|attached| match attached.last() {
        Some(attached) => look(&attached.process),
        None => look(&thread::current().process),
    })
}

/// The current process's id, by which handles are looked up.
pub(crate) fn pid() -> u64 {
    with(|process| process.pid)
}

/// The current process's object.
pub(crate) fn object() -> usize {
    with(|process| process.object)
}

/// How often the thread is attached.
pub(super) fn depth() -> usize {
    ATTACHED.with_borrow(Vec::len)
}

/// Detaches what a driver has left attached; gives where it attached itself, 0 where it did not.
pub(super) fn back_to(depth: usize) -> usize {
    let site = ATTACHED.with_borrow_mut(|attached| {
        let site = attached.get(depth).map_or(0, |attached| attached.site);
        attached.truncate(depth);
        site
    });
    if site != 0 {
        changed();
    }
    site
}

/// The current process has changed: its addresses are there now, and no other's.
fn changed() {
    thread::current().set_context(pid());
    user::enter_process();
}

fn attach(call: &str, object: usize, state: Guest<ApcState>) {
    irql::at_most(call, APC_LEVEL);
    let before = self::object();
    let Some(process) = ps::process_at(object) else {
        bugcheck::raise(
            0x5,
            [object as u64, before as u64, depth() as u64, 0],
            format!("{call} was given {object:#x}, which is no process"),
        );
    };
    if thread::irql() >= DISPATCH_LEVEL {
        bugcheck::raise(
            0x5,
            [object as u64, before as u64, depth() as u64, 1],
            format!("{call} at DISPATCH_LEVEL"),
        );
    }
    if !state.is_null() {
        state.write(ApcState {
            lists: [0; 4],
            process: before,
            flags: [0; 8],
        });
    }
    let state = state.address();
    let site = verifier::here();
    ATTACHED.with_borrow_mut(|attached| {
        attached.push(Attached {
            process,
            state,
            site,
        });
    });
    changed();
}

fn detach(call: &str, state: usize) {
    irql::at_most(call, APC_LEVEL);
    let innermost = ATTACHED.with_borrow(|attached| attached.last().map(|attached| attached.state));
    if innermost != Some(state) {
        let why = match innermost {
            None => "on a thread that is not attached",
            Some(_) => "with another state than that of the last attach",
        };
        bugcheck::raise(
            0x6,
            [state as u64, depth() as u64, 0, 0],
            format!("{call} {why}"),
        );
    }
    ATTACHED.with_borrow_mut(Vec::pop);
    changed();
}

exports! { "ntoskrnl.exe";
    /// Attaches the thread to a process, whatever it is attached to.
    fn KeStackAttachProcess(process: usize, state: Guest<ApcState>) {
        attach("KeStackAttachProcess", process, state);
    }

    /// Detaches it, with what the attach has filled in.
    fn KeUnstackDetachProcess(state: Guest<ApcState>) {
        detach("KeUnstackDetachProcess", state.address());
    }

    /// Attaches a thread that is not attached.
    fn KeAttachProcess(object: usize) {
        if depth() != 0 {
            bugcheck::raise(
                0x5,
                [object as u64, self::object() as u64, depth() as u64, 0],
                "KeAttachProcess on a thread that is attached already; KeStackAttachProcess may be nested",
            );
        }
        attach("KeAttachProcess", object, Guest::at(0));
    }

    /// Detaches it.
    fn KeDetachProcess() {
        detach("KeDetachProcess", 0);
    }
}
