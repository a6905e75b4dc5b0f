//! Questions about who is where, and how an operation is made: instances by altitude, filters by name, whether an
//! operation's sender waits.

use std::sync::Arc;

use super::flight::{self, Operation};
use super::objects::{self, Instance, Object};
use super::{attach, info};
use crate::abi::base::UnicodeString;
use crate::abi::flt::{
    CallbackData, FLTFL_CALLBACK_DATA_FAST_IO_OPERATION, FLTFL_CALLBACK_DATA_FS_FILTER_OPERATION,
};
use crate::abi::io::{
    FO_SYNCHRONOUS_IO, IRP_PAGING_IO, IRP_SYNCHRONOUS_API, IRP_SYNCHRONOUS_PAGING_IO,
};
use crate::ntos::memory::Guest;
use crate::ntos::{irql, ps};
use crate::status::NtStatus;
use crate::thread::{APC_LEVEL, DISPATCH_LEVEL};

/// Whether the sender of the operation with this callback data waits for its end.
pub(super) fn is_synchronous(data: usize) -> bool {
    let operation = flight::at(data);
    let data = Guest::<CallbackData>::at(data);
    let by_call = FLTFL_CALLBACK_DATA_FAST_IO_OPERATION | FLTFL_CALLBACK_DATA_FS_FILTER_OPERATION;
    if data.flags() & by_call != 0 {
        return true;
    }
    let block = data.iopb().read();
    if block.irp_flags & IRP_PAGING_IO != 0 {
        return block.irp_flags & IRP_SYNCHRONOUS_PAGING_IO != 0;
    }
    let opened_so = |operation: Arc<Operation>| {
        let file = &operation.file;
        file.object(|object| object.flags & FO_SYNCHRONOUS_IO != 0)
    };
    block.irp_flags & IRP_SYNCHRONOUS_API != 0 || operation.is_some_and(opened_so)
}

/// Hands an instance to the caller, who has to give it back.
fn hand_out(instance: Option<&Arc<Instance>>, result: Guest<usize>) -> NtStatus {
    let Some(instance) = instance else {
        return NtStatus::NO_MORE_ENTRIES;
    };
    if !attach::lend(instance) {
        return NtStatus::FLT_DELETING_OBJECT;
    }
    result.write(instance.address);
    NtStatus::SUCCESS
}

/// The instance that is so many places below another one on its volume.
fn beside(instance: &Arc<Instance>, below: isize) -> Result<Option<Arc<Instance>>, NtStatus> {
    let all = instance.volume.instances();
    let own = all.iter().position(|other| Arc::ptr_eq(other, instance));
    // Off its volume: it is being torn down.
    let own = own.ok_or(NtStatus::FLT_DELETING_OBJECT)?;
    Ok(own
        .checked_add_signed(below)
        .and_then(|at| all.get(at).cloned()))
}

exports! { "fltmgr.sys";
    /// The instance with the highest altitude on a volume, referenced.
    fn FltGetTopInstance(volume: usize, result: Guest<usize>) -> NtStatus {
        irql::at_most("FltGetTopInstance", APC_LEVEL);
        let volume = objects::volume(volume, "FltGetTopInstance");
        hand_out(volume.instances().first(), result)
    }

    /// The instance with the lowest altitude on a volume, referenced.
    fn FltGetBottomInstance(volume: usize, result: Guest<usize>) -> NtStatus {
        irql::at_most("FltGetBottomInstance", APC_LEVEL);
        let volume = objects::volume(volume, "FltGetBottomInstance");
        hand_out(volume.instances().last(), result)
    }

    /// The next instance above one, referenced.
    fn FltGetUpperInstance(instance: usize, result: Guest<usize>) -> NtStatus {
        irql::at_most("FltGetUpperInstance", APC_LEVEL);
        let instance = objects::instance(instance, "FltGetUpperInstance");
        match beside(&instance, -1) {
            Ok(above) => hand_out(above.as_ref(), result),
            Err(status) => status,
        }
    }

    /// The next instance below one, referenced.
    fn FltGetLowerInstance(instance: usize, result: Guest<usize>) -> NtStatus {
        irql::at_most("FltGetLowerInstance", APC_LEVEL);
        let instance = objects::instance(instance, "FltGetLowerInstance");
        match beside(&instance, 1) {
            Ok(below) => hand_out(below.as_ref(), result),
            Err(status) => status,
        }
    }

    /// A filter by its name, referenced.
    fn FltGetFilterFromName(name: Guest<UnicodeString>, result: Guest<usize>) -> NtStatus {
        irql::at_most("FltGetFilterFromName", APC_LEVEL);
        let name = name.text();
        let found = objects::filters().into_iter().find(|filter| filter.service.eq_ignore_ascii_case(&name));
        let Some(filter) = found else { return NtStatus::FLT_FILTER_NOT_FOUND };
        let status = info::FltObjectReference(filter.address);
        if status.is_success() {
            result.write(filter.address);
        }
        status
    }

    /// An instance's filter, referenced.
    fn FltGetFilterFromInstance(instance: usize, result: Guest<usize>) -> NtStatus {
        irql::at_most("FltGetFilterFromInstance", APC_LEVEL);
        let instance = objects::instance(instance, "FltGetFilterFromInstance");
        let status = info::FltObjectReference(instance.filter.address);
        if status.is_success() {
            result.write(instance.filter.address);
        }
        status
    }

    /// Whether whoever sent an operation waits for its end: what came by fast I/O or as a callback, what says so in its flags or its file
    /// object. Paging I/O goes by its own flag alone.
    fn FltIsOperationSynchronous(data: usize) -> u8 {
        irql::at_most("FltIsOperationSynchronous", DISPATCH_LEVEL);
        is_synchronous(data).into()
    }

    /// The session of the process that asked for an operation.
    fn FltGetRequestorSessionId(data: usize, session: Guest<u32>) -> NtStatus {
        irql::at_most("FltGetRequestorSessionId", DISPATCH_LEVEL);
        let process = flight::at(data).and_then(|operation| ps::process_at(operation.process));
        match process {
            Some(process) => {
                session.write(ps::session(&process));
                NtStatus::SUCCESS
            }
            None => NtStatus::UNSUCCESSFUL,
        }
    }

    /// Whether a WoW64 process asked for an operation: the bench has none.
    partial "FALSE always: there are no WoW64 processes"
    fn FltIs32bitProcess(_data: usize) -> u8 {
        irql::at_most("FltIs32bitProcess", DISPATCH_LEVEL);
        0
    }

    /// Whether a volume is a snapshot of another: none is.
    partial "FALSE always: there are no snapshots"
    fn FltIsVolumeSnapshot(object: usize, snapshot: Guest<u8>) -> NtStatus {
        irql::at_most("FltIsVolumeSnapshot", APC_LEVEL);
        match objects::at(object) {
            Some(Object::Volume(_) | Object::Instance(_)) => {
                snapshot.write(0);
                NtStatus::SUCCESS
            }
            _ => NtStatus::INVALID_PARAMETER,
        }
    }
}
