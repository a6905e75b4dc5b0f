//! One operation on its way through the instances of a volume: down through the pre-operation callbacks in order of
//! altitude, to the file system, and back up through the post-operation callbacks of those that asked for it.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::callback::{self, argument, related};
use super::descent::{Descent, Waiting, about, set_current};
use super::flight::{Flight, Operation, Step, name_of, wait_for_completion, wait_for_the_way_down};
use super::frames::frames;
use super::objects::Instance;
use super::{below, ecp};
use crate::abi::file::FILE_OPEN_BY_FILE_ID;
use crate::abi::flt::{
    CreateParameters, FLTFL_CALLBACK_DATA_POST_OPERATION, IoParameterBlock, KERNEL_MODE,
    POSTOP_FINISHED_PROCESSING, POSTOP_MORE_PROCESSING_REQUIRED,
};
use crate::abi::io::{
    AccessState, IO_FORCE_ACCESS_CHECK, IRP_CREATE_OPERATION, IRP_DEFER_IO_COMPLETION,
    IRP_MJ_CLEANUP, IRP_MJ_CLOSE, IRP_MJ_CREATE, IRP_SYNCHRONOUS_API, IoSecurityContext,
    IoStatusBlock, SL_FORCE_ACCESS_CHECK,
};
use crate::ntos::file::{self, File};
use crate::ntos::iomgr::{self, Create};
use crate::ntos::memory::Guest;
use crate::status::NtStatus;
use crate::{stack, thread, verifier};

/// Sends a create through the filters to the file system.
pub(crate) fn create(file: &Arc<File>, create: &Create) -> IoStatusBlock {
    let thread = thread::current();
    thread.creates.fetch_add(1, Ordering::Relaxed);
    let mut access_state = Box::new(access_state(create.access));
    let security = Box::new(IoSecurityContext {
        security_qos: std::ptr::null_mut(),
        access_state: &raw mut *access_state,
        desired_access: create.access,
        full_create_options: create.options,
    });
    let forced = iomgr::from_user(create) || create.flags & IO_FORCE_ACCESS_CHECK != 0;
    let parameters = IoParameterBlock {
        irp_flags: IRP_CREATE_OPERATION | IRP_SYNCHRONOUS_API | IRP_DEFER_IO_COMPLETION,
        major_function: IRP_MJ_CREATE,
        minor_function: 0,
        operation_flags: if forced { SL_FORCE_ACCESS_CHECK } else { 0 },
        reserved: 0,
        target_file_object: Guest::at(file.address()).0,
        target_instance: std::ptr::null_mut(),
        parameters: CreateParameters {
            security_context: std::ptr::from_ref(&*security).cast_mut(),
            options: create.disposition << 24 | create.options,
            pad0: 0,
            file_attributes: u16::try_from(create.attributes & 0xFFFF).unwrap_or(0),
            share_access: u16::try_from(create.share).unwrap_or(0),
            pad1: 0,
            ea_length: 0,
            pad2: 0,
            ea_buffer: std::ptr::null_mut(),
            allocation_size: create.allocation,
        },
    };
    let mut operation =
        Operation::new(file, IRP_MJ_CREATE, create.mode != KERNEL_MODE, create.ecps);
    operation.by_file_id = create.options & FILE_OPEN_BY_FILE_ID != 0;
    let flight = Flight::new(operation, parameters, create.generated);
    let done = run(&flight, create.below.as_ref(), |flight| {
        below::create(&flight.operation.file, &flight.parameters(), create.flags)
    });
    let ecps = flight.operation.ecps.load(Ordering::Acquire);
    drop(flight);
    if ecps != 0 && ecps != create.ecps {
        // A list that a filter set on the way goes with the operation.
        ecp::free_list(ecps);
    }
    thread.creates.fetch_sub(1, Ordering::Relaxed);
    done
}

/// `IRP_MJ_CLEANUP`: the last handle is closed.
pub(crate) fn cleanup(file: &Arc<File>) {
    simple(file, IRP_MJ_CLEANUP, |flight| {
        let file = &flight.operation.file;
        IoStatusBlock::new(below::dispatch(file, || file::clean_up_below(file)), 0)
    });
}

/// `IRP_MJ_CLOSE`: the last reference is gone.
pub(crate) fn close(file: &Arc<File>) {
    simple(file, IRP_MJ_CLOSE, |_| {
        IoStatusBlock::new(NtStatus::SUCCESS, 0)
    });
}

fn simple(file: &Arc<File>, major: u8, below: impl FnOnce(&Flight) -> IoStatusBlock) {
    // SAFETY: an FLT_IO_PARAMETER_BLOCK of zeroes is one: its fields are numbers and pointers.
    let mut parameters: IoParameterBlock = unsafe { std::mem::zeroed() };
    parameters.irp_flags = IRP_SYNCHRONOUS_API;
    parameters.major_function = major;
    parameters.target_file_object = Guest::at(file.address()).0;
    let flight = Flight::new(Operation::new(file, major, false, 0), parameters, false);
    run(&flight, None, below);
}

fn access_state(access: u32) -> AccessState {
    // SAFETY: an ACCESS_STATE of zeroes is one: its fields are numbers and pointers.
    let mut state: AccessState = unsafe { std::mem::zeroed() };
    state.remaining_desired_access = access;
    state.original_desired_access = access;
    state
}

/// Down, through and up.
fn run(
    flight: &Flight,
    start: Option<&Arc<Instance>>,
    below: impl FnOnce(&Flight) -> IoStatusBlock,
) -> IoStatusBlock {
    let major = flight.operation.major;
    let takes_part = |instance: &&Arc<Instance>| {
        start.is_none_or(|start| instance.altitude < start.altitude)
            && instance.filter.operation(major).is_some()
    };
    let instances = flight.operation.file.volume.instances();
    let instances = instances.iter().filter(takes_part).cloned().collect();
    let entry = if major == IRP_MJ_CREATE {
        "fltmgr!FltpCreate"
    } else {
        "fltmgr!FltpDispatch"
    };
    stack::with_frames(&frames([entry]), || {
        let mut descent = Descent::new(flight, instances, below);
        if descent.go_on() == Step::Pended {
            wait_for_the_way_down(&flight.operation, &mut descent);
        }
        flight.operation.after.store(true, Ordering::Release);
        flight.with_data(|data| data.flags |= FLTFL_CALLBACK_DATA_POST_OPERATION);
        for post in std::mem::take(&mut descent.waiting).into_iter().rev() {
            let outstanding = post.outstanding.as_ref();
            if !outstanding.is_none_or(|outstanding| outstanding.is_due(&post.instance)) {
                continue;
            }
            let around = frames([
                "fltmgr!FltpLegacyProcessingAfterPreCallbacksCompleted",
                "fltmgr!FltpPassThroughCompletionWorker",
                "fltmgr!FltpPerformPostCallbacks",
            ]);
            stack::with_frames(&around, || after(flight, &post));
            post.instance.rundown.leave();
        }
        flight.status()
    })
}

/// Calls the post-operation callback of one instance.
fn after(flight: &Flight, post: &Waiting) {
    let instance = &post.instance;
    let routine = instance
        .filter
        .operation(flight.operation.major)
        .map_or(0, |operation| operation.post_operation);
    if routine == 0 {
        return;
    }
    // A filter sees the parameters in its post-operation callback as it saw them in its pre-operation callback.
    flight.set_parameters(post.parameters);
    set_current(flight, Some(instance));
    let objects = related(instance, Some(&flight.operation.file));
    let succeeded = flight.status().status.is_success();
    let arguments = [flight.data(), argument(&*objects), post.context as u64, 0];
    let returned = callback::call(about(flight, instance, "post"), routine, &arguments);
    set_current(flight, None);
    let status = i32::from_le_bytes(returned.to_le_bytes()[..4].try_into().unwrap_or_default());
    let status_now = flight.status().status;
    if flight.operation.major == IRP_MJ_CREATE
        && succeeded
        && !status_now.is_success()
        && flight.operation.file.with_open(|_| ()).is_some()
    {
        verifier::finding(
            "failed-create-not-cancelled",
            format!(
                "the post-create callback of {} turned a success into {status_now} and left the file open; call \
                 FltCancelFileOpen first",
                instance.filter.service
            ),
        );
    }
    match status {
        POSTOP_FINISHED_PROCESSING => {}
        POSTOP_MORE_PROCESSING_REQUIRED => {
            // The operation waits until FltCompletePendedPostOperation.
            wait_for_completion(&flight.operation);
        }
        other => verifier::finding(
            "postop-status",
            format!(
                "the post-operation callback of {} returned {other}, which is not a status for {}",
                instance.filter.service,
                name_of(flight.operation.major)
            ),
        ),
    }
}
