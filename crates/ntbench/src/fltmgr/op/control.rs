//! `IRP_MJ_FILE_SYSTEM_CONTROL` and `IRP_MJ_DEVICE_CONTROL`.
//!
//! Controls of reparse points and the locking of volumes are done ([`super::reparse`], [`super::mount`]). Opportunistic locks are
//! [`super::oplock`]'s. Everything else is refused as an unknown code is.

use super::{Answer, Context, mount, oplock, reparse};
use crate::abi::io::{IRP_MJ_FILE_SYSTEM_CONTROL, IRP_MN_USER_FS_REQUEST};
use crate::abi::params::Control;
use crate::fltmgr::mdls::METHOD_BUFFERED;
use crate::status::NtStatus;

const SET_REPARSE_POINT: u32 = 0x0009_00A4;
const SET_REPARSE_POINT_EX: u32 = 0x0009_040C;
const GET_REPARSE_POINT: u32 = 0x0009_00A8;
const DELETE_REPARSE_POINT: u32 = 0x0009_00AC;
const GET_OBJECT_ID: u32 = 0x0009_009C;

impl Context<'_> {
    /// A control's input.
    pub(super) fn input(&self, control: &Control) -> Result<Vec<u8>, NtStatus> {
        self.get(control.input, 0, control.input_length as usize)
    }

    /// Puts a control's output: into the system buffer, or into the caller's own.
    pub(super) fn output(&self, control: &Control, bytes: &[u8]) -> Result<(), NtStatus> {
        if control.code & 3 == METHOD_BUFFERED {
            self.put(control.input, 0, bytes)
        } else {
            self.put(control.output, control.output_mdl, bytes)
        }
    }
}

pub(super) fn file_system(context: &Context<'_>) -> Answer {
    if context.block.minor_function != IRP_MN_USER_FS_REQUEST {
        return Err(NtStatus::INVALID_DEVICE_REQUEST);
    }
    let control: Control = context.arm();
    match control.code {
        GET_REPARSE_POINT => reparse::get(context, &control),
        SET_REPARSE_POINT => reparse::set(context, &control),
        SET_REPARSE_POINT_EX => reparse::set_ex(context, &control),
        DELETE_REPARSE_POINT => reparse::delete(context, &control),
        code @ (mount::LOCK_VOLUME | mount::UNLOCK_VOLUME | mount::DISMOUNT_VOLUME) => {
            mount::control(context, code)
        }
        mount::IS_VOLUME_MOUNTED => Ok((NtStatus::SUCCESS, 0)),
        _ => match oplock::Asked::of(&control) {
            Some(asked) => oplock::control(context, asked?),
            None => Err(NtStatus::INVALID_DEVICE_REQUEST),
        },
    }
}

/// Whether it is `FSCTL_GET_OBJECT_ID`: answered after the clean-up too, which is how filters learn whether a file is gone
/// altogether or only the stream that was open.
pub(super) fn asks_for_object_id(context: &Context<'_>) -> bool {
    let block = &context.block;
    block.major_function == IRP_MJ_FILE_SYSTEM_CONTROL
        && block.minor_function == IRP_MN_USER_FS_REQUEST
        && context.arm::<Control>().code == GET_OBJECT_ID
}

/// No file here has an object identifier.
pub(super) fn object_id(context: &Context<'_>) -> Answer {
    let gone = context.open.stat().is_some_and(|stat| stat.st_nlink == 0);
    let deleted = gone || context.open.is_deleted() && context.open.stream_name().is_none();
    Err(if deleted {
        NtStatus::FILE_DELETED
    } else {
        NtStatus::OBJECTID_NOT_FOUND
    })
}

pub(super) fn device(_context: &Context<'_>) -> Answer {
    // There is no disk below the volume that would know one.
    Err(NtStatus::INVALID_DEVICE_REQUEST)
}
