//! Oplocks that a filter keeps itself, on files that it owns: `FltOplockFsctrl`, `FltCheckOplock` and their kin, over the same
//! rules as the file systems'. The memory of an `OPLOCK` is the filter's; what it holds is kept here, by its address.

use std::sync::{Arc, LazyLock};

use super::callback;
use super::flight::{self, Operation};
use super::op::oplock::{self, Asked};
use crate::abi::file::FILE_OPEN_REQUIRING_OPLOCK;
use crate::abi::flt::{
    CallbackData, IoParameterBlock, PREOP_COMPLETE, PREOP_PENDING, PREOP_SUCCESS_WITH_CALLBACK,
};
use crate::abi::io::{IRP_MJ_CLEANUP, IRP_MJ_CREATE, IRP_MJ_FILE_SYSTEM_CONTROL, IoStatusBlock};
use crate::abi::params::{Control, CreateParameters};
use crate::abi::status;
use crate::namespace::oplock_rules::{Act, Level};
use crate::namespace::oplocks::{Checked, Oplocks, Owner};
use crate::namespace::sharing::FileId;
use crate::ntos::memory::Guest;
use crate::ntos::{irql, object};
use crate::status::NtStatus;
use crate::thread::APC_LEVEL;
use crate::verifier::{self, Embedded};

/// `OPLOCK_FLAG_COMPLETE_IF_OPLOCKED`, `_OPLOCK_KEY_CHECK_ONLY`, `_BACK_OUT_ATOMIC_OPLOCK`, `_IGNORE_OPLOCK_KEYS`.
const COMPLETE_IF_OPLOCKED: u32 = 1;
const KEY_CHECK_ONLY: u32 = 2;
const BACK_OUT_ATOMIC: u32 = 4;
const IGNORE_KEYS: u32 = 8;
/// `OPLOCK_FSCTRL_FLAG_ALL_KEYS_MATCH`.
const ALL_KEYS_MATCH: u32 = 1;
/// Whose keys are to be ignored is like no other.
const NOBODY: Owner = Owner { file: 0, key: None };

static OPLOCKS: LazyLock<Oplocks> = LazyLock::new(Oplocks::default);

/// Those that have not been uninitialised: what waits for one would wait for ever.
pub(crate) static MADE: Embedded = Embedded::new("oplock-not-uninitialised", "oplock");

/// An oplock as the table knows it: there is no such device.
fn id(oplock: usize) -> FileId {
    (u64::MAX, oplock as u64)
}

fn put(data: usize, done: IoStatusBlock) {
    let at = data + std::mem::offset_of!(CallbackData, io_status);
    Guest::at(at).write(done);
}

/// Who sends an operation, where oplocks are concerned.
fn owner(block: &IoParameterBlock, function: &str) -> Owner {
    let target = block.target_file_object.expose_provenance();
    object::file(target, function).oplock_owner()
}

/// How many user handles are open, and whether their oplock keys all match.
#[derive(Clone, Copy)]
struct Opens {
    count: u32,
    alike: bool,
}

/// Does what a control code, or a create, asks of a filter's oplock.
fn control(oplock: usize, data: usize, opens: Opens, function: &str) -> i32 {
    irql::at_most(function, APC_LEVEL);
    let block = Guest::<CallbackData>::at(data).iopb().read();
    let control: Control = block.parameters.get();
    let operation = flight::at(data).filter(|operation| !operation.fast);
    let end = |status| {
        put(data, IoStatusBlock::new(status, 0));
        PREOP_COMPLETE
    };
    let Some(operation) = operation else {
        return end(NtStatus::INVALID_PARAMETER);
    };
    if block.major_function == IRP_MJ_CREATE {
        return end(reserve(oplock, &operation, &block, opens));
    }
    let asked = (block.major_function == IRP_MJ_FILE_SYSTEM_CONTROL)
        .then(|| Asked::of(&control))
        .flatten();
    let Some(asked) = asked else {
        return end(NtStatus::INVALID_PARAMETER);
    };
    let owner = owner(&block, function);
    let done = asked.and_then(|asked| {
        // For an exclusive one the filter counts the handles, for a shared one it says whether a range is locked.
        let all_alike = opens.alike && matches!(asked, Asked::Request(level) if level.is_cache());
        let about = (opens.count <= 1 || all_alike, opens.count != 0);
        oplock::ask(
            &operation,
            &OPLOCKS,
            (id(oplock), owner),
            asked,
            about,
            |held| {
                Box::new(move |how| {
                    put(data, oplock::ended(how, control.input));
                    held.complete_for_filter();
                })
            },
        )
    });
    match done.unwrap_or_else(|status| status) {
        NtStatus::PENDING => PREOP_PENDING,
        status => end(status),
    }
}

/// A create may ask for a Filter oplock that is there before anybody else can open the file: by who reads attributes alone and
/// shares everything. It is held until the handle asks for one in its turn, or is closed. With `FILE_OPEN_REQUIRING_OPLOCK` it
/// is the place of one of any kind, which who is not alone does not have ("FsRtlOplockFsctrl").
fn reserve(
    oplock: usize,
    operation: &Operation,
    block: &IoParameterBlock,
    opens: Opens,
) -> NtStatus {
    let arm: CreateParameters = block.parameters.get();
    let owner = operation.file.oplock_owner();
    if requires_oplock(block) {
        if opens.count > 1 && !opens.alike {
            return NtStatus::SUCCESS;
        }
        let granted = OPLOCKS.reserve(id(oplock), owner);
        return granted.map_or(status::CANNOT_BREAK_OPLOCK, |()| NtStatus::SUCCESS);
    }
    if opens.count != 1 || !oplock::may_reserve(&arm) {
        return status::OPLOCK_NOT_GRANTED;
    }
    let granted = OPLOCKS.reserve(id(oplock), owner);
    granted.err().unwrap_or(NtStatus::SUCCESS)
}

/// The routines that an operation that has to wait calls, and their context.
#[derive(Clone, Copy)]
struct Routines {
    context: usize,
    wait: usize,
    prepare: usize,
}

impl Routines {
    fn call(self, operation: &Operation, phase: &'static str, routine: usize, data: usize) {
        let instance = operation.current();
        let filter = instance.map_or_else(String::new, |of| of.filter.service.clone());
        callback::call_unseen(&filter, phase, routine, &[data as u64, self.context as u64]);
    }
}

/// Whether a create is to break nobody's oplock, as it asks for one itself.
fn requires_oplock(block: &IoParameterBlock) -> bool {
    let options = block.parameters.get::<CreateParameters>().options;
    block.major_function == IRP_MJ_CREATE && options & FILE_OPEN_REQUIRING_OPLOCK != 0
}

/// Which operation breaks, and how: `OPLOCK_FLAG_…`.
#[derive(Clone, Copy)]
struct Check {
    oplock: usize,
    data: usize,
    flags: u32,
    /// What is done, where it is not what the operation does by itself.
    act: Option<Act>,
    function: &'static str,
}

/// Breaks what an operation is not compatible with.
fn check(check: Check, routines: Routines) -> i32 {
    let Check { data, flags, .. } = check;
    irql::at_most(check.function, APC_LEVEL);
    let block = Guest::<CallbackData>::at(data).iopb().read();
    let Some(operation) = flight::at(data) else {
        return PREOP_SUCCESS_WITH_CALLBACK;
    };
    if operation.fast {
        verifier::finding(
            "oplock-fast-io",
            format!("{} on fast I/O; it takes an IRP", check.function),
        );
        return PREOP_SUCCESS_WITH_CALLBACK;
    }
    if block.major_function == IRP_MJ_CREATE {
        oplock::take_key(&operation);
    }
    let mut owner = owner(&block, check.function);
    let id = id(check.oplock);
    let ends = block.major_function == IRP_MJ_CLEANUP || flags & BACK_OUT_ATOMIC != 0;
    if check.act.is_none() && ends {
        OPLOCKS.close(id, owner);
        return PREOP_SUCCESS_WITH_CALLBACK;
    }
    let act = check.act.or_else(|| oplock::act(&block));
    let Some(act) = act.filter(|_| flags & KEY_CHECK_ONLY == 0) else {
        return PREOP_SUCCESS_WITH_CALLBACK;
    };
    if flags & IGNORE_KEYS != 0 {
        owner = NOBODY;
    }
    if requires_oplock(&block) && OPLOCKS.breaks(id, owner, act) {
        put(data, IoStatusBlock::new(status::CANNOT_BREAK_OPLOCK, 0));
        return PREOP_COMPLETE;
    }
    let patient = flags & COMPLETE_IF_OPLOCKED == 0 && !oplock::is_impatient(&block);
    let done = if routines.wait == 0 {
        oplock::break_and_wait(&operation, &OPLOCKS, (id, owner), act, patient).map(|under_way| {
            if under_way {
                Checked::InProgress
            } else {
                Checked::Go
            }
        })
    } else {
        let waiting = Arc::clone(&operation);
        OPLOCKS.check(id, owner, act, patient, |number| {
            if routines.prepare != 0 {
                routines.call(
                    &operation,
                    "prepost routine of an oplock",
                    routines.prepare,
                    data,
                );
            }
            super::cancel::arm_below(&operation, Box::new(move || OPLOCKS.cancel(id, number)))?;
            Ok(Box::new(move |status| {
                super::cancel::disarm_below(&waiting);
                put(data, IoStatusBlock::new(status, 0));
                routines.call(&waiting, "wait routine of an oplock", routines.wait, data);
            }))
        })
    };
    match done {
        Ok(Checked::Wait) => PREOP_PENDING,
        Ok(Checked::InProgress) => {
            put(
                data,
                IoStatusBlock::new(NtStatus::OPLOCK_BREAK_IN_PROGRESS, 0),
            );
            PREOP_SUCCESS_WITH_CALLBACK
        }
        Ok(Checked::Go) => PREOP_SUCCESS_WITH_CALLBACK,
        Err(status) => {
            put(data, IoStatusBlock::new(status, 0));
            PREOP_COMPLETE
        }
    }
}

exports! { "fltmgr.sys";
    /// Makes an oplock of the driver's memory: nobody holds one.
    fn FltInitializeOplock(oplock: Guest<usize>) {
        irql::at_most("FltInitializeOplock", APC_LEVEL);
        let before = oplock.read();
        if before != 0 {
            verifier::finding(
                "oplock-not-null",
                format!("FltInitializeOplock of an oplock pointer that holds {before:#x}, and not NULL"),
            );
        }
        oplock.write(0);
        OPLOCKS.forget(id(oplock.address()));
        MADE.begin(oplock.address());
    }

    /// Takes it back; who waits goes on.
    fn FltUninitializeOplock(oplock: Guest<usize>) {
        irql::at_most("FltUninitializeOplock", APC_LEVEL);
        oplock.write(0);
        OPLOCKS.forget(id(oplock.address()));
        MADE.end(oplock.address());
    }

    /// Grants one, or takes an acknowledgment.
    fn FltOplockFsctrl(oplock: usize, data: usize, count: u32) -> i32 {
        control(oplock, data, Opens { count, alike: false }, "FltOplockFsctrl")
    }

    /// The same, where the filter may say that all handles have the same oplock key.
    fn FltOplockFsctrlEx(oplock: usize, data: usize, count: u32, flags: u32) -> i32 {
        let alike = flags & ALL_KEYS_MATCH != 0;
        control(oplock, data, Opens { count, alike }, "FltOplockFsctrlEx")
    }

    /// Breaks what an operation is not compatible with; one that has to wait for the owner's acknowledgment is pended.
    partial "a create that conflicts with what others share is not told from one that does not"
    fn FltCheckOplock(oplock: usize, data: usize, context: usize, wait: usize, prepare: usize) -> i32 {
        let what = Check { oplock, data, flags: 0, act: None, function: "FltCheckOplock" };
        check(what, Routines { context, wait, prepare })
    }

    /// The same with flags: it goes on meanwhile, keys alone are looked at or not at all, what a create asked for is taken back.
    partial "a create that conflicts with what others share is not told from one that does not"
    fn FltCheckOplockEx(oplock: usize, data: usize, flags: u32, context: usize, wait: usize, prepare: usize) -> i32 {
        let what = Check { oplock, data, flags, act: None, function: "FltCheckOplockEx" };
        check(what, Routines { context, wait, prepare })
    }

    /// Has whoever caches a handle close it.
    fn FltOplockBreakH(oplock: usize, data: usize, flags: u32, context: usize, wait: usize, prepare: usize) -> i32 {
        let flags = flags & (COMPLETE_IF_OPLOCKED | IGNORE_KEYS);
        let what = Check { oplock, data, flags, act: Some(Act::BreakHandle), function: "FltOplockBreakH" };
        check(what, Routines { context, wait, prepare })
    }

    /// Breaks every oplock, whoever holds it.
    fn FltOplockBreakToNone(oplock: usize, data: usize, context: usize, wait: usize, prepare: usize) -> i32 {
        let what = Check {
            oplock, data, flags: IGNORE_KEYS, act: Some(Act::BreakAll), function: "FltOplockBreakToNone",
        };
        check(what, Routines { context, wait, prepare })
    }

    /// The same with flags.
    fn FltOplockBreakToNoneEx(oplock: usize, data: usize, flags: u32, context: usize, wait: usize, prepare: usize) -> i32 {
        let flags = flags & COMPLETE_IF_OPLOCKED | IGNORE_KEYS;
        let what = Check { oplock, data, flags, act: Some(Act::BreakAll), function: "FltOplockBreakToNoneEx" };
        check(what, Routines { context, wait, prepare })
    }

    /// Whether fast I/O is possible on a file: nothing of an oplock is against it.
    fn FltOplockIsFastIoPossible(oplock: usize) -> u8 {
        irql::at_most("FltOplockIsFastIoPossible", APC_LEVEL);
        u8::from(OPLOCKS.allow_fast(id(oplock)))
    }

    /// Whether somebody holds a Batch or Filter oplock.
    fn FltCurrentBatchOplock(oplock: usize) -> u8 {
        irql::at_most("FltCurrentBatchOplock", APC_LEVEL);
        u8::from(OPLOCKS.holds(id(oplock), |level| matches!(level, Level::Batch | Level::Filter)))
    }

    /// Whether somebody holds an oplock.
    fn FltCurrentOplock(oplock: usize) -> u8 {
        irql::at_most("FltCurrentOplock", APC_LEVEL);
        u8::from(OPLOCKS.holds(id(oplock), |_| true))
    }

    /// Whether somebody holds one by which a handle may be cached.
    fn FltCurrentOplockH(oplock: usize) -> u8 {
        irql::at_most("FltCurrentOplockH", APC_LEVEL);
        u8::from(OPLOCKS.holds(id(oplock), Level::caches_handles))
    }

    /// Whether an operation asks for an oplock that several may hold.
    fn FltOplockIsSharedRequest(data: usize) -> u8 {
        irql::at_most("FltOplockIsSharedRequest", APC_LEVEL);
        let block = Guest::<CallbackData>::at(data).iopb().read();
        let control: Control = block.parameters.get();
        let asked = (block.major_function == IRP_MJ_FILE_SYSTEM_CONTROL).then(|| Asked::of(&control));
        u8::from(matches!(asked, Some(Some(Ok(Asked::Request(level)))) if level.is_shared()))
    }

    /// Whether two file objects are one, or have the same oplock key.
    fn FltOplockKeysEqual(first: usize, second: usize) -> u8 {
        irql::at_most("FltOplockKeysEqual", APC_LEVEL);
        if first == 0 || second == 0 {
            return 0;
        }
        let [first, second] = [first, second].map(|at| object::file(at, "FltOplockKeysEqual").oplock_owner());
        u8::from(first.is_like(second))
    }
}
