//! Requests of system calls on files of drivers' devices, as packets.
//!
//! Followed: "Methods for Accessing Data Buffers" and "Buffer Descriptions for I/O Control Codes". The device says by its flags
//! whether reads and writes go through a system buffer, a locked list or the caller's own address; a control code says it
//! for itself.

use std::sync::Arc;

use super::{Done, Owner, allocate, call};
use crate::abi::flt::IoParameterBlock;
use crate::abi::io::{
    IO_FORCE_ACCESS_CHECK, IRP_CREATE_OPERATION, IRP_DEFER_IO_COMPLETION, IRP_MJ_CLEANUP,
    IRP_MJ_CLOSE, IRP_MJ_CREATE, IRP_MJ_DEVICE_CONTROL, IRP_MJ_FILE_SYSTEM_CONTROL,
    IRP_MJ_INTERNAL_DEVICE_CONTROL, IRP_SYNCHRONOUS_API, IoStatusBlock, SL_FORCE_ACCESS_CHECK,
};
use crate::abi::irp::StackLocation;
use crate::abi::status;
use crate::cpu::guarded;
use crate::fltmgr::{self, Request};
use crate::ntos::device;
use crate::ntos::file::File;
use crate::ntos::iomgr::{self, Create};
use crate::ntos::mdl;
use crate::ntos::syscall::SystemBuffer;
use crate::status::NtStatus;
use crate::{stack, thread};

/// `DO_BUFFERED_IO`.
pub(super) const BUFFERED: u32 = 0x4;
/// `DO_DIRECT_IO`.
pub(super) const DIRECT: u32 = 0x10;

/// How a packet has a buffer; given back at the end.
#[derive(Default)]
struct Carried {
    /// A system buffer made for it, and where what is in it goes at the end.
    system: Option<(SystemBuffer, Option<(usize, u32)>)>,
    /// A list made for it.
    list: usize,
    system_buffer: usize,
    user_buffer: usize,
    mdl: usize,
}

impl Drop for Carried {
    fn drop(&mut self) {
        if self.list != 0 {
            mdl::free(self.list);
        }
    }
}

impl Carried {
    /// What a request needs of a device with those flags; the parameters lose what is not the stack location's.
    fn of(block: &IoParameterBlock, flags: u32, q: &mut [u64; 4]) -> Result<Self, NtStatus> {
        let mut carried = Self::default();
        let Some(slots) = fltmgr::slots(block) else {
            return Ok(carried);
        };
        let at = |slot: usize| usize::try_from(block.parameters.0[slot]).unwrap_or(0);
        let buffer = at(slots.buffer);
        for slot in [Some(slots.buffer), slots.mdl].into_iter().flatten() {
            if let Some(quadword) = q.get_mut(slot) {
                *quadword = 0;
            }
        }
        let Some(list) = slots.mdl else {
            carried.system_buffer = buffer;
            return Ok(carried);
        };
        carried.user_buffer = buffer;
        carried.mdl = at(list);
        if is_control(block.major_function) {
            const NEITHER: u64 = 3;
            if block.parameters.0[2] & 3 != NEITHER {
                carried.system_buffer = at(3);
                q[3] = 0;
            }
            return Ok(carried);
        }
        let length = u32::try_from(block.parameters.0[slots.length] & 0xFFFF_FFFF).unwrap_or(0);
        if carried.mdl != 0 || length == 0 {
            return Ok(carried);
        }
        if flags & BUFFERED != 0 {
            let bytes = if slots.write {
                Vec::new()
            } else {
                read(buffer, length as usize)?
            };
            let system = SystemBuffer::new(length as usize, &bytes)?;
            carried.system_buffer = system.address();
            let back = slots.write.then_some((buffer, length));
            carried.system = Some((system, back));
        } else if flags & DIRECT != 0 {
            carried.list = mdl::allocate(buffer, length, None);
            mdl::lock_pages(carried.list, slots.write)?;
            carried.mdl = carried.list;
        }
        Ok(carried)
    }

    /// Hands what was read back to who asked.
    fn settle(&self, done: IoStatusBlock) -> IoStatusBlock {
        if let Some((system, Some((buffer, length)))) = &self.system {
            let bytes = system.taken(done, *length);
            let from = bytes.as_ptr().expose_provenance();
            if !bytes.is_empty() && !guarded::copied(*buffer, from, bytes.len()) {
                return IoStatusBlock::new(NtStatus::ACCESS_VIOLATION, 0);
            }
        }
        done
    }
}

fn read(from: usize, length: usize) -> Result<Vec<u8>, NtStatus> {
    let mut bytes = vec![0; length];
    let to = bytes.as_mut_ptr().expose_provenance();
    if guarded::copied(to, from, length) {
        Ok(bytes)
    } else {
        Err(status::INVALID_USER_BUFFER)
    }
}

/// Whether an operation is a control.
pub(super) fn is_control(major: u8) -> bool {
    matches!(
        major,
        IRP_MJ_DEVICE_CONTROL | IRP_MJ_FILE_SYSTEM_CONTROL | IRP_MJ_INTERNAL_DEVICE_CONTROL
    )
}

/// Sends a request to the device that a file is on, and waits for its end.
pub(crate) fn send(file: &Arc<File>, request: &Request<'_>) -> IoStatusBlock {
    let block = IoParameterBlock {
        irp_flags: request.irp_flags,
        major_function: request.major,
        minor_function: request.minor,
        operation_flags: request.flags,
        reserved: 0,
        target_file_object: std::ptr::null_mut(),
        target_instance: std::ptr::null_mut(),
        parameters: request.parameters,
    };
    let done = dispatch(file, &block, request.user, &|_| {});
    // Nobody can refuse these.
    let last = matches!(request.major, IRP_MJ_CLEANUP | IRP_MJ_CLOSE);
    match done {
        Ok(done) => done,
        Err(_) if last => IoStatusBlock::new(NtStatus::SUCCESS, 0),
        Err(status) => IoStatusBlock::new(status, 0),
    }
}

fn dispatch(
    file: &Arc<File>,
    block: &IoParameterBlock,
    user: bool,
    change: &dyn Fn(&mut crate::abi::irp::Irp),
) -> Result<IoStatusBlock, NtStatus> {
    let top = device::top(file.volume.device_object);
    let (flags, size) = device::object(top, |device| (device.flags, device.stack_size));
    let p = &block.parameters.0;
    let mut parameters = [p[0], p[1], p[2], p[3]];
    let carried = Carried::of(block, flags, &mut parameters)?;
    let done = Arc::new(Done::default());
    let packet =
        allocate(size, Owner::System(Arc::clone(&done))).ok_or(NtStatus::INSUFFICIENT_RESOURCES)?;
    packet.change(|irp| {
        irp.flags = block.irp_flags;
        irp.requestor_mode = i8::from(user);
        irp.thread = thread::current().object;
        irp.original_file_object = file.address();
        irp.system_buffer = carried.system_buffer;
        irp.user_buffer = carried.user_buffer;
        irp.mdl_address = carried.mdl;
        change(irp);
    });
    packet.set_next(StackLocation {
        major: block.major_function,
        minor: block.minor_function,
        flags: block.operation_flags,
        control: 0,
        pad: 0,
        parameters,
        device_object: top,
        file_object: file.address(),
        completion_routine: 0,
        context: 0,
    });
    let frames = [fltmgr::frame("nt!IofCallDriver")];
    stack::with_frames(&frames, || {
        call::call("the I/O manager's call", top, packet)
    });
    Ok(carried.settle(done.wait()))
}

/// Sends a device that the system shuts down, and waits for its driver.
pub(crate) fn shutdown(device: usize) {
    const IRP_MJ_SHUTDOWN: u8 = 0x10;
    let top = device::top(device);
    let size = device::object(top, |device| device.stack_size);
    let done = Arc::new(Done::default());
    let Some(packet) = allocate(size, Owner::System(Arc::clone(&done))) else {
        return;
    };
    packet.change(|irp| irp.thread = thread::current().object);
    packet.set_next(StackLocation {
        major: IRP_MJ_SHUTDOWN,
        minor: 0,
        flags: 0,
        control: 0,
        pad: 0,
        parameters: [0; 4],
        device_object: top,
        file_object: 0,
        completion_routine: 0,
        context: 0,
    });
    let frames = [fltmgr::frame("nt!IofCallDriver")];
    stack::with_frames(&frames, || {
        call::call("the I/O manager's call", top, packet)
    });
    done.wait();
}

/// Sends a create.
pub(crate) fn create(file: &Arc<File>, create: &Create) -> IoStatusBlock {
    let security = fltmgr::CreateSecurity::of(create);
    let forced = iomgr::from_user(create) || create.flags & IO_FORCE_ACCESS_CHECK != 0;
    let block = IoParameterBlock {
        irp_flags: IRP_CREATE_OPERATION | IRP_SYNCHRONOUS_API | IRP_DEFER_IO_COMPLETION,
        major_function: IRP_MJ_CREATE,
        minor_function: 0,
        operation_flags: if forced { SL_FORCE_ACCESS_CHECK } else { 0 },
        reserved: 0,
        target_file_object: std::ptr::null_mut(),
        target_instance: std::ptr::null_mut(),
        parameters: fltmgr::create_parameters(create, &security),
    };
    let allocation = create.allocation;
    let (eas, _) = create.ea_buffer();
    let done = dispatch(file, &block, iomgr::from_user(create), &|irp| {
        irp.system_buffer = eas;
        irp.overlay[0] = usize::try_from(allocation).unwrap_or(0);
    });
    drop(security);
    done.unwrap_or_else(|status| IoStatusBlock::new(status, 0))
}
