//! The file systems' oplocks: requests and acknowledgments by control codes, and the operations that break them.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::{Answer, Context};
use crate::abi::base::Guid;
use crate::abi::file::{
    FILE_COMPLETE_IF_OPLOCKED, FILE_EXECUTE, FILE_OVERWRITE, FILE_OVERWRITE_IF,
    FILE_READ_ATTRIBUTES, FILE_READ_DATA, FILE_READ_EA, FILE_RESERVE_OPFILTER, FILE_SUPERSEDE,
    FILE_WRITE_ATTRIBUTES, SYNCHRONIZE,
};
use crate::abi::flt::IoParameterBlock;
use crate::abi::io::{
    FO_CLEANUP_COMPLETE, FO_SYNCHRONOUS_IO, IRP_MJ_CREATE, IRP_MJ_LOCK_CONTROL, IRP_MJ_READ,
    IRP_MJ_SET_INFORMATION, IRP_MJ_WRITE, IRP_PAGING_IO, IoStatusBlock,
};
use crate::abi::params::{Control, CreateParameters, SetInformation};
use crate::abi::status;
use crate::fltmgr::ecp;
use crate::fltmgr::flight::Operation;
use crate::fltmgr::op::set::{self, RENAME, RENAME_EX};
use crate::fltmgr::oplock_key;
use crate::fltmgr::pending::{Held, wait_below};
use crate::namespace::DeviceId;
use crate::namespace::open::granted;
use crate::namespace::oplock_rules::{Act, Level, NONE, READ};
use crate::namespace::oplocks::{Acknowledge, Checked, Ended, Oplocks, Owner, Told};
use crate::namespace::sharing::FileId;
use crate::ntos::memory::Guest;
use crate::ntos::object;
use crate::status::NtStatus;

const REQUEST_LEVEL_1: u32 = 0x0009_0000;
const REQUEST_LEVEL_2: u32 = 0x0009_0004;
const REQUEST_BATCH: u32 = 0x0009_0008;
const REQUEST_FILTER: u32 = 0x0009_005C;
const REQUEST_OPLOCK: u32 = 0x0009_0240;
const BREAK_ACKNOWLEDGE: u32 = 0x0009_000C;
const ACK_CLOSE_PENDING: u32 = 0x0009_0010;
const ACK_NO_2: u32 = 0x0009_0050;
const BREAK_NOTIFY: u32 = 0x0009_0014;

/// `FILE_OPLOCK_BROKEN_TO_LEVEL_2`, `FILE_OPLOCK_BROKEN_TO_NONE`, `FILE_OPBATCH_BREAK_UNDERWAY`.
const BROKEN_TO_LEVEL_2: usize = 7;
const BROKEN_TO_NONE: usize = 8;
pub(in crate::fltmgr) const BREAK_UNDERWAY: usize = 9;
/// How long `REQUEST_OPLOCK_INPUT_BUFFER` and `REQUEST_OPLOCK_OUTPUT_BUFFER` are.
const INPUT: u32 = 12;
const OUTPUT: u32 = 24;

/// What a control code asks about oplocks.
#[derive(Clone, Copy)]
pub(in crate::fltmgr) enum Asked {
    Request(Level),
    Acknowledge(Acknowledge),
    Notify,
}

impl Asked {
    /// `None`: the code is about something else.
    pub(in crate::fltmgr) fn of(control: &Control) -> Option<Result<Self, NtStatus>> {
        Some(Ok(match control.code {
            REQUEST_LEVEL_1 => Self::Request(Level::Level1),
            REQUEST_LEVEL_2 => Self::Request(Level::Level2),
            REQUEST_BATCH => Self::Request(Level::Batch),
            REQUEST_FILTER => Self::Request(Level::Filter),
            BREAK_ACKNOWLEDGE => Self::Acknowledge(Acknowledge::Accept),
            ACK_NO_2 => Self::Acknowledge(Acknowledge::Nothing),
            ACK_CLOSE_PENDING => Self::Acknowledge(Acknowledge::ClosePending),
            BREAK_NOTIFY => Self::Notify,
            REQUEST_OPLOCK => return Some(Self::newer(control)),
            _ => return None,
        }))
    }

    fn newer(control: &Control) -> Result<Self, NtStatus> {
        /// `REQUEST_OPLOCK_INPUT_FLAG_REQUEST`, `_ACK`.
        const REQUEST: u32 = 1;
        const ACKNOWLEDGE: u32 = 2;
        if control.input_length < INPUT || control.output_length < OUTPUT {
            return Err(NtStatus::BUFFER_TOO_SMALL);
        }
        let word = |at: usize| Guest::<u32>::at(control.input + at).read();
        let (caches, flags) = (word(4), word(8));
        match (Level::of_caches(caches), flags) {
            _ if word(0) & 0xFFFF != 1 => Err(NtStatus::INVALID_PARAMETER),
            (Some(level), REQUEST) => Ok(Self::Request(level)),
            (None, ACKNOWLEDGE) if caches != NONE => Err(NtStatus::INVALID_PARAMETER),
            (_, ACKNOWLEDGE) => Ok(Self::Acknowledge(Acknowledge::Caches(caches))),
            _ => Err(NtStatus::INVALID_PARAMETER),
        }
    }
}

/// `GUID_ECP_OPLOCK_KEY`, whose context is an `OPLOCK_KEY_ECP_CONTEXT`: the key, and a reserved word.
const KEY: Guid = Guid {
    data1: 0x4885_0596,
    data2: 0x3050,
    data3: 0x4be7,
    data4: [0x98, 0x63, 0xfe, 0xc3, 0x50, 0xce, 0x8d, 0x7f],
};
/// `GUID_ECP_DUAL_OPLOCK_KEY`, whose context is an `OPLOCK_KEY_CONTEXT`: version, flags, the parent's key, the target's.
const DUAL_KEY: Guid = Guid {
    data1: 0x4162_1a14,
    data2: 0xb08b,
    data3: 0x4df1,
    data4: [0xb6, 0x76, 0xa0, 0x5f, 0xfd, 0xf0, 0x1b, 0xea],
};
/// `OPLOCK_KEY_FLAG_PARENT_KEY`, `OPLOCK_KEY_FLAG_TARGET_KEY`.
const HAS_PARENT_KEY: u16 = 1;
const HAS_TARGET_KEY: u16 = 2;

/// Gives a create's file object the oplock key in the create's extra parameters.
pub(in crate::fltmgr) fn take_key(operation: &Operation) {
    let list = operation.ecps.load(Ordering::Acquire);
    if list == 0 {
        return;
    }
    let dual = ecp::find(list, DUAL_KEY).map(|context| {
        let flags: u16 = Guest::at(context + 2).read();
        let key = |flag: u16, at: usize| {
            (flags & flag != 0).then(|| Guest::<Guid>::at(context + at).read())
        };
        (key(HAS_PARENT_KEY, 4), key(HAS_TARGET_KEY, 20))
    });
    let (parent, target) = dual.unwrap_or_default();
    let target = target.or_else(|| ecp::find(list, KEY).map(|key| Guest::at(key).read()));
    if let Some(key) = target {
        operation.file.set_oplock_key(key);
    }
    if parent.is_some() || target.is_some() {
        oplock_key::keep(&operation.file, parent, target);
    }
}

/// How the request for an oplock, or the answer that took its place, ends: its status, and its output.
pub(in crate::fltmgr) fn ended(ended: Ended, output: usize) -> IoStatusBlock {
    const ACK_REQUIRED: u32 = 1;
    let put = |status: NtStatus, level: Level, to: u32, acknowledge: bool| {
        let words = [
            1 | OUTPUT << 16,
            level.caches(),
            to,
            if acknowledge { ACK_REQUIRED } else { 0 },
            0,
            0,
        ];
        Guest::<u32>::at(output).write_many(&words);
        IoStatusBlock::new(status, OUTPUT as usize)
    };
    match ended {
        Ended::Broken {
            level,
            to,
            acknowledge,
        } if level.is_cache() => put(NtStatus::SUCCESS, level, to, acknowledge),
        Ended::Broken { to: READ, .. } => IoStatusBlock::new(NtStatus::SUCCESS, BROKEN_TO_LEVEL_2),
        Ended::Broken { .. } => IoStatusBlock::new(NtStatus::SUCCESS, BROKEN_TO_NONE),
        Ended::Closed(level) if level.is_cache() => {
            put(NtStatus::OPLOCK_HANDLE_CLOSED, level, NONE, false)
        }
        Ended::Closed(_) => IoStatusBlock::new(NtStatus::SUCCESS, BROKEN_TO_NONE),
        Ended::Switched => IoStatusBlock::new(NtStatus::OPLOCK_SWITCHED_TO_NEW_HANDLE, 0),
        Ended::Cancelled => IoStatusBlock::new(NtStatus::CANCELLED, 0),
    }
}

/// What an operation other than a create does as far as oplocks are concerned.
pub(in crate::fltmgr) fn act(block: &IoParameterBlock) -> Option<Act> {
    match block.major_function {
        IRP_MJ_CREATE => {
            let arm: CreateParameters = block.parameters.get();
            let context = Guest(arm.security_context).read_opt();
            let access = granted(context.map_or(0, |context| context.desired_access));
            let attributes = FILE_READ_ATTRIBUTES | FILE_WRITE_ATTRIBUTES | SYNCHRONIZE;
            /// `READ_CONTROL`.
            const READ_CONTROL: u32 = 0x2_0000;
            let reading = FILE_READ_DATA | FILE_READ_EA | FILE_EXECUTE | READ_CONTROL;
            Some(Act::Create {
                attributes_only: access & !attributes == 0,
                replaces: matches!(
                    arm.options >> 24,
                    FILE_SUPERSEDE | FILE_OVERWRITE | FILE_OVERWRITE_IF
                ),
                reserves: arm.options & FILE_RESERVE_OPFILTER != 0,
                writes: access & !(attributes | reading) != 0,
                violates: false,
            })
        }
        _ if block.irp_flags & IRP_PAGING_IO != 0 => None,
        IRP_MJ_READ => Some(Act::Read),
        IRP_MJ_WRITE => Some(Act::Write),
        IRP_MJ_LOCK_CONTROL => Some(Act::Lock),
        IRP_MJ_SET_INFORMATION => {
            let arm: SetInformation = block.parameters.get();
            match arm.class {
                RENAME | RENAME_EX => Some(Act::Rename),
                class if set::resizes(class) => Some(Act::Write),
                class if set::deletes(class) => {
                    let delete = Guest::<u8>::at(arm.buffer).read() & 1 != 0;
                    delete.then_some(Act::Delete)
                }
                _ => None,
            }
        }
        _ => None,
    }
}

/// Whether a create may reserve a Filter oplock: it reads attributes alone, and shares everything ("FsRtlOplockFsctrl").
pub(in crate::fltmgr) fn may_reserve(arm: &CreateParameters) -> bool {
    /// `FILE_SHARE_READ`, `_WRITE` and `_DELETE`.
    const SHARE_ALL: u16 = 7;
    let context = Guest(arm.security_context).read_opt();
    let access = context.map_or(0, |context| context.desired_access);
    access & !SYNCHRONIZE == FILE_READ_ATTRIBUTES && arm.share_access & SHARE_ALL == SHARE_ALL
}

/// Whether no handle is open on a stream that is unlike its owner's.
pub(in crate::fltmgr) fn is_alone(id: FileId, owner: Owner) -> bool {
    !object::files().iter().any(|other| {
        !other.oplock_owner().is_like(owner)
            && other.object(|object| object.flags & FO_CLEANUP_COMPLETE == 0)
            && other.opened().is_some_and(|open| open.id() == Some(id))
    })
}

/// Whether a create would rather go on than wait for a break.
pub(in crate::fltmgr) fn is_impatient(block: &IoParameterBlock) -> bool {
    let options = block.parameters.get::<CreateParameters>().options;
    block.major_function == IRP_MJ_CREATE && options & FILE_COMPLETE_IF_OPLOCKED != 0
}

/// Breaks what an operation is not compatible with, and waits in its thread until that is acknowledged. True: it goes on though a
/// break is under way.
pub(in crate::fltmgr) fn break_and_wait(
    operation: &Arc<Operation>,
    oplocks: &'static Oplocks,
    (id, owner): (FileId, Owner),
    act: Act,
    patient: bool,
) -> Result<bool, NtStatus> {
    loop {
        let mut waiting = None;
        let checked = oplocks.check(id, owner, act, patient, |number| {
            let (go, wait) = wait_below(operation, move || oplocks.cancel(id, number))?;
            waiting = Some(wait);
            Ok(go)
        })?;
        match (checked, waiting) {
            // Whoever held it may have another one by now.
            (Checked::Wait, Some(wait)) => wait.wait()?,
            (checked, _) => return Ok(checked == Checked::InProgress),
        }
    }
}

impl Context<'_> {
    /// Breaks the oplocks on its stream that it is not compatible with.
    pub(super) fn break_oplocks(&self) -> Result<(), NtStatus> {
        let (Some(tree), Some(id)) = (self.open.tree(), self.open.id()) else {
            return Ok(());
        };
        let oplocks = tree.oplocks();
        if !oplocks.any() {
            return Ok(());
        }
        let Some(act) = act(&self.block) else {
            return Ok(());
        };
        if self.flight.operation.fast && !oplocks.allow_fast(id) {
            // What may have to wait is the IRP's affair.
            return Err(NtStatus::FLT_DISALLOW_FAST_IO);
        }
        let owner = self.file.oplock_owner();
        let operation = &self.flight.operation;
        break_and_wait(operation, oplocks, (id, owner), act, true).map(drop)
    }
}

/// `FSCTL_REQUEST_OPLOCK` and its kin.
pub(super) fn control(context: &Context<'_>, asked: Asked) -> Answer {
    let (Some(tree), Some(id)) = (context.open.tree(), context.open.id()) else {
        return Err(NtStatus::INVALID_PARAMETER);
    };
    if context.open.is_directory() {
        return Err(NtStatus::INVALID_PARAMETER);
    }
    let owner = context.file.oplock_owner();
    let synchronous = context
        .file
        .object(|object| object.flags & FO_SYNCHRONOUS_IO != 0);
    // A server's oplocks are between it and its redirector.
    let remote = context.file.volume.device == DeviceId::Mup;
    if synchronous || remote || context.file.transaction() != 0 {
        return match asked {
            Asked::Notify => Ok((NtStatus::SUCCESS, 0)),
            Asked::Acknowledge(_) => Err(status::INVALID_OPLOCK_PROTOCOL),
            Asked::Request(_) => Err(status::OPLOCK_NOT_GRANTED),
        };
    }
    let alone = is_alone(id, owner);
    let output = context.arm::<Control>().input;
    let oplocks = tree.oplocks();
    let operation = &context.flight.operation;
    let status = ask(
        operation,
        oplocks,
        (id, owner),
        asked,
        (alone, tree.locks.any(id)),
        |held| Box::new(move |how| held.complete(ended(how, output))),
    )?;
    Ok((status, 0))
}

/// Asks a table of oplocks; `told` makes of the pended operation who is told of the oplock's end.
pub(in crate::fltmgr) fn ask(
    operation: &Arc<Operation>,
    oplocks: &'static Oplocks,
    (id, owner): (FileId, Owner),
    asked: Asked,
    about: (bool, bool),
    told: impl FnOnce(Held) -> Told,
) -> Result<NtStatus, NtStatus> {
    let hold = |number: usize| {
        let held = Held::new(operation, move || oplocks.cancel(id, number))?;
        Ok(told(held))
    };
    match asked {
        Asked::Request(level) => {
            oplocks.request(id, owner, level, about, hold)?;
            Ok(NtStatus::PENDING)
        }
        Asked::Acknowledge(how) => {
            let again = oplocks.acknowledge(id, owner, how, hold)?;
            Ok(again.map_or(NtStatus::SUCCESS, |()| NtStatus::PENDING))
        }
        Asked::Notify => {
            let mut waiting = None;
            let quiet = oplocks.notify(id, |number| {
                let (go, wait) = wait_below(operation, move || oplocks.cancel(id, number))?;
                waiting = Some(wait);
                Ok(go)
            })?;
            if let (false, Some(wait)) = (quiet, waiting) {
                wait.wait()?;
            }
            Ok(NtStatus::SUCCESS)
        }
    }
}
