//! Operations: how each is put together, and who takes part in it.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::flight::{Flight, Operation};
use super::frames::frames;
use super::journey::Journey;
use super::objects::{Instance, Volume};
use super::{below, ecp, op};
use crate::abi::file::FILE_OPEN_BY_FILE_ID;
use crate::abi::flt::{
    FLTFL_CALLBACK_DATA_GENERATED_IO, IoParameterBlock, KERNEL_MODE, OperationRegistration,
};
use crate::abi::io::{
    AccessState, FO_VOLUME_OPEN, IO_FORCE_ACCESS_CHECK, IRP_CREATE_OPERATION,
    IRP_DEFER_IO_COMPLETION, IRP_MJ_CLEANUP, IRP_MJ_CLOSE, IRP_MJ_CREATE, IRP_MJ_PNP, IRP_MJ_READ,
    IRP_MJ_WRITE, IRP_NOCACHE, IRP_PAGING_IO, IRP_SYNCHRONOUS_API, IoSecurityContext,
    IoStatusBlock, SL_FORCE_ACCESS_CHECK, SL_OPEN_TARGET_DIRECTORY,
};
use crate::abi::params::{CreateParameters, Parameters};
use crate::abi::status;
use crate::ntos::file::File;
use crate::ntos::iomgr::{self, Create};
use crate::ntos::irp;
use crate::ntos::memory::Guest;
use crate::status::NtStatus;
use crate::{stack, thread};

/// Sends a create through the filters to the file system.
pub(crate) fn create(file: &Arc<File>, create: &Create) -> IoStatusBlock {
    let thread = thread::current();
    thread.creates.fetch_add(1, Ordering::Relaxed);
    let security = CreateSecurity::of(create);
    let forced = iomgr::from_user(create) || create.flags & IO_FORCE_ACCESS_CHECK != 0;
    let parameters = IoParameterBlock {
        irp_flags: IRP_CREATE_OPERATION | IRP_SYNCHRONOUS_API | IRP_DEFER_IO_COMPLETION,
        major_function: IRP_MJ_CREATE,
        minor_function: 0,
        operation_flags: if forced { SL_FORCE_ACCESS_CHECK } else { 0 }
            | if create.target_directory {
                SL_OPEN_TARGET_DIRECTORY
            } else {
                0
            },
        reserved: 0,
        target_file_object: Guest::at(file.address()).0,
        target_instance: std::ptr::null_mut(),
        parameters: create_parameters(create, &security),
    };
    let mut operation =
        Operation::new(file, IRP_MJ_CREATE, create.mode != KERNEL_MODE, create.ecps);
    operation.by_file_id = create.options & FILE_OPEN_BY_FILE_ID != 0;
    let generated = if create.generated {
        FLTFL_CALLBACK_DATA_GENERATED_IO
    } else {
        0
    };
    let flight = Flight::new(operation, parameters, generated);
    let done = run(&flight, create.below.as_ref(), |flight| {
        below::create(flight, create.flags)
    });
    file.set_reparse(flight.take_tag());
    let ecps = flight.operation.ecps.load(Ordering::Acquire);
    drop(flight);
    if ecps != 0 && ecps != create.ecps {
        // A list that a filter set on the way goes with the operation.
        ecp::free_list(ecps);
    }
    thread.creates.fetch_sub(1, Ordering::Relaxed);
    done
}

/// What a create asks for, as its parameters say it.
pub(crate) fn create_parameters(create: &Create, security: &CreateSecurity) -> Parameters {
    let (ea_buffer, ea_length) = create.ea_buffer();
    Parameters::of(CreateParameters {
        security_context: std::ptr::from_ref(&*security.context).cast_mut(),
        options: create.disposition << 24 | create.options,
        pad0: 0,
        file_attributes: u16::try_from(create.attributes & 0xFFFF).unwrap_or(0),
        share_access: u16::try_from(create.share).unwrap_or(0),
        pad1: 0,
        ea_length,
        pad2: 0,
        ea_buffer: Guest::at(ea_buffer).0,
        allocation_size: create.allocation,
    })
}

/// Sends a create that is in a callback of `below` once more, from there on.
pub(super) fn create_again(
    operation: &Operation,
    block: &IoParameterBlock,
    data_flags: u32,
    below: &Arc<Instance>,
) -> IoStatusBlock {
    let ecps = operation.ecps.load(Ordering::Acquire);
    let mut again = Operation::new(&operation.file, IRP_MJ_CREATE, operation.user, ecps);
    again.by_file_id = operation.by_file_id;
    let flight = Flight::new(again, *block, data_flags);
    let done = run(&flight, Some(below), |flight| below::create(flight, 0));
    operation.file.set_reparse(flight.take_tag());
    done
}

/// An operation other than a create.
#[derive(Clone, Copy)]
pub(crate) struct Request<'a> {
    /// What kind.
    pub(crate) major: u8,
    /// Its minor function.
    pub(crate) minor: u8,
    /// `SL_…`.
    pub(crate) flags: u8,
    /// `IRP_…`.
    pub(crate) irp_flags: u32,
    /// `FLTFL_CALLBACK_DATA_…` beside those that every operation has.
    pub(crate) data_flags: u32,
    /// The parameters.
    pub(crate) parameters: Parameters,
    /// Whether user mode asked for it.
    pub(crate) user: bool,
    /// The instance below which it starts; `None`: at the top.
    pub(crate) below: Option<&'a Arc<Instance>>,
    /// The callback data whose extension goes with it; 0: none.
    pub(crate) origin: usize,
}

impl Request<'_> {
    /// That operation, as the kernel asks for it.
    pub(crate) fn new(major: u8, parameters: Parameters) -> Self {
        Self {
            major,
            minor: 0,
            flags: 0,
            irp_flags: IRP_SYNCHRONOUS_API,
            data_flags: 0,
            parameters,
            user: false,
            below: None,
            origin: 0,
        }
    }
}

/// Sends an operation through the filters to the file system; one on a driver's own device goes there.
pub(crate) fn send(file: &Arc<File>, request: &Request<'_>) -> IoStatusBlock {
    if file.on_device() {
        return irp::send(file, request);
    }
    let mut block = block_of(file, request);
    send_block(
        file,
        &mut block,
        request.data_flags,
        request.user,
        (request.below, request.origin),
    )
}

/// Sends fast I/O through the filters to the file system; `None`: one of them wants an IRP instead.
///
/// The page followed is "Disallow a Fast I/O Operation in a Preoperation Callback Routine". What a file system cannot answer at
/// once, or only with an error, it leaves to the IRP; filters above it see that as disallowed, too.
pub(crate) fn send_fast(file: &Arc<File>, request: &Request<'_>) -> Option<IoStatusBlock> {
    let mut block = block_of(file, request);
    block.irp_flags = 0;
    let mut operation = Operation::new(file, request.major, request.user, 0);
    operation.fast = true;
    let flight = Flight::new(operation, block, request.data_flags);
    let done = run(&flight, request.below, |flight| {
        let done = op::dispatch(flight);
        if done.status.is_success() || done.status == NtStatus::END_OF_FILE {
            done
        } else {
            IoStatusBlock::new(NtStatus::FLT_DISALLOW_FAST_IO, 0)
        }
    });
    (done.status != NtStatus::FLT_DISALLOW_FAST_IO).then_some(done)
}

/// Sends a file system filter callback, for which there is no IRP and which is no fast I/O either.
pub(crate) fn send_callback(file: &Arc<File>, request: &Request<'_>) -> IoStatusBlock {
    let mut block = block_of(file, request);
    block.irp_flags = 0;
    let mut operation = Operation::new(file, request.major, false, 0);
    operation.callback = true;
    let flight = Flight::new(operation, block, request.data_flags);
    run(&flight, None, |_| {
        IoStatusBlock::new(status::FSFILTER_OP_COMPLETED_SUCCESSFULLY, 0)
    })
}

/// Sends an operation on the volume itself, which has no file object.
pub(crate) fn send_to_volume(volume: &Arc<Volume>, major: u8, minor: u8) -> IoStatusBlock {
    let file = File::new(volume, &[], None, 0);
    let request = Request {
        minor,
        ..Request::new(major, Parameters::default())
    };
    let block = IoParameterBlock {
        target_file_object: std::ptr::null_mut(),
        ..block_of(&file, &request)
    };
    let flight = Flight::new(Operation::new(&file, major, false, 0), block, 0);
    let done = run(&flight, None, |_| match major {
        IRP_MJ_PNP => op::mount::plug_and_play(volume, minor),
        _ => IoStatusBlock::new(NtStatus::SUCCESS, 0),
    });
    drop(flight);
    file.dereference();
    done
}

pub(super) fn block_of(file: &Arc<File>, request: &Request<'_>) -> IoParameterBlock {
    IoParameterBlock {
        irp_flags: request.irp_flags,
        major_function: request.major,
        minor_function: request.minor,
        operation_flags: request.flags,
        reserved: 0,
        target_file_object: Guest::at(file.address()).0,
        target_instance: std::ptr::null_mut(),
        parameters: request.parameters,
    }
}

/// As [`send`]; what the filters and the file system left of the parameters is put back into the block. `origin`: the
/// callback data by which a filter sends it, whose extension goes with it; 0: none.
pub(super) fn send_block(
    file: &Arc<File>,
    block: &mut IoParameterBlock,
    data_flags: u32,
    user: bool,
    (below, origin): (Option<&Arc<Instance>>, usize),
) -> IoStatusBlock {
    let mut operation = Operation::new(file, block.major_function, user, 0);
    operation.origin = origin;
    let flight = Flight::new(operation, *block, data_flags);
    if origin != 0 {
        flight.extend(origin);
    }
    let done = run(&flight, below, op::dispatch);
    *block = flight.parameters();
    done
}

/// `IRP_MJ_CLEANUP`: the last handle is closed.
pub(crate) fn cleanup(file: &Arc<File>) {
    send(file, &Request::new(IRP_MJ_CLEANUP, Parameters::default()));
}

/// `IRP_MJ_CLOSE`: the last reference is gone.
pub(crate) fn close(file: &Arc<File>) {
    send(file, &Request::new(IRP_MJ_CLOSE, Parameters::default()));
}

/// What a create's parameters say of who asks: they point to it, so it lives as long as they do.
pub(crate) struct CreateSecurity {
    context: Box<IoSecurityContext>,
    _state: Box<AccessState>,
}

impl CreateSecurity {
    /// A create's.
    pub(crate) fn of(create: &Create) -> Self {
        let mut state = Box::new(access_state(create.access));
        let context = Box::new(IoSecurityContext {
            security_qos: std::ptr::null_mut(),
            access_state: &raw mut *state,
            desired_access: create.access,
            full_create_options: create.options,
        });
        Self {
            context,
            _state: state,
        }
    }
}

/// An access state that holds masks.
fn access_state(access: u32) -> AccessState {
    // SAFETY: an ACCESS_STATE of zeroes is one: its fields are numbers and pointers.
    let mut state: AccessState = unsafe { std::mem::zeroed() };
    state.remaining_desired_access = access;
    state.original_desired_access = access;
    state
}

/// The instances that take part in an operation that starts below one, or at the top.
pub(super) fn participants(flight: &Flight, start: Option<&Arc<Instance>>) -> Vec<Arc<Instance>> {
    let major = flight.operation.major;
    let takes_part = |instance: &&Arc<Instance>| {
        start.is_none_or(|start| instance.altitude < start.altitude)
            && instance
                .filter
                .operation(major)
                .is_some_and(|wanted| wanted_by(wanted, flight))
    };
    let instances = flight.operation.file.volume.instances();
    instances.iter().filter(takes_part).cloned().collect()
}

/// Down, through and up.
fn run(
    flight: &Flight,
    start: Option<&Arc<Instance>>,
    below: impl FnOnce(&Flight) -> IoStatusBlock,
) -> IoStatusBlock {
    let instances = participants(flight, start);
    let entry = if flight.operation.major == IRP_MJ_CREATE {
        "fltmgr!FltpCreate"
    } else {
        "fltmgr!FltpDispatch"
    };
    stack::with_frames(&frames([entry]), || {
        Journey::new(flight, instances, below).go();
        flight.status()
    })
}

/// What a registration's flags leave out (`FLT_OPERATION_REGISTRATION`).
fn wanted_by(registered: &OperationRegistration, flight: &Flight) -> bool {
    /// `FLTFL_OPERATION_REGISTRATION_SKIP_PAGING_IO`, `_SKIP_CACHED_IO`, `_SKIP_NON_DASD_IO`,
    /// `_SKIP_NON_CACHED_NON_PAGING_IO`: what has a volume's handle is told apart in every operation, the rest in transfers.
    const SKIP: [u32; 4] = [1, 2, 4, 8];
    let dasd = flight
        .operation
        .file
        .object(|object| object.flags & FO_VOLUME_OPEN != 0);
    let flags = flight.parameters().irp_flags;
    let transfer = matches!(flight.operation.major, IRP_MJ_READ | IRP_MJ_WRITE);
    let paging = transfer && flags & IRP_PAGING_IO != 0;
    let cached = transfer && flags & IRP_NOCACHE == 0;
    let raw = transfer && !cached && !paging;
    ![paging, cached, !dasd, raw]
        .into_iter()
        .zip(SKIP)
        .any(|(is, skip)| is && registered.flags & skip != 0)
}
