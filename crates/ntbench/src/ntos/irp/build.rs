//! Requests that drivers have the I/O manager put together for them.

use super::send::{BUFFERED, DIRECT};
use super::{Owner, Packet, allocate, lock};
use crate::abi::io::{
    IRP_BUFFERED_IO, IRP_DEALLOCATE_BUFFER, IRP_INPUT_OPERATION, IRP_MJ_DEVICE_CONTROL,
    IRP_MJ_FLUSH_BUFFERS, IRP_MJ_INTERNAL_DEVICE_CONTROL, IRP_MJ_READ, IRP_MJ_SHUTDOWN,
    IRP_MJ_WRITE,
};
use crate::abi::irp::StackLocation;
use crate::ntos::memory::Guest;
use crate::ntos::{device, driver, irql, mdl, pool};
use crate::thread::{self, APC_LEVEL, PASSIVE_LEVEL};
use crate::{faults, verifier};

const TAG: u32 = u32::from_le_bytes(*b"IoSB");

/// A stack location with nothing but an operation and its parameters.
fn location(major: u8, parameters: [u64; 4]) -> StackLocation {
    StackLocation {
        major,
        minor: 0,
        flags: 0,
        control: 0,
        pad: 0,
        parameters,
        device_object: 0,
        file_object: 0,
        completion_routine: 0,
        context: 0,
    }
}

/// Gives a packet a system buffer of its own; false: there is no memory.
fn with_buffer(packet: Packet, input: (usize, u32), length: u32) -> bool {
    let size = input.1.max(length) as usize;
    if size == 0 {
        return true;
    }
    let Some(buffer) = pool::lend(size, TAG, true) else {
        return false;
    };
    let bytes = Guest::<u8>::at(input.0).read_many(input.1 as usize);
    Guest::<u8>::at(buffer).write_many(&bytes);
    packet.change(|irp| irp.system_buffer = buffer);
    if let Some(entry) = lock().get_mut(&packet.0) {
        entry.buffer = Some(buffer);
    }
    true
}

/// Describes a buffer for a packet, and locks it; false: that is not possible.
fn with_list(
    packet: Packet,
    address: usize,
    length: u32,
    write: bool,
    owner: Option<String>,
) -> bool {
    if length == 0 {
        return true;
    }
    let list = mdl::allocate(address, length, owner);
    if list == 0 {
        return false;
    }
    if mdl::lock_pages(list, write).is_err() {
        mdl::free(list);
        return false;
    }
    packet.change(|irp| irp.mdl_address = list);
    true
}

/// What is common to the requests that belong to a thread.
fn threaded(function: &str, address: usize, event: usize, status: usize) -> Option<Packet> {
    irql::at_most(function, PASSIVE_LEVEL);
    irql::apcs_enabled(function);
    device::known(function, address);
    if faults::check(function).is_some() {
        return None;
    }
    let packet = allocate(
        device::object(address, |device| device.stack_size),
        Owner::Thread,
    )?;
    packet.change(|irp| {
        irp.thread = thread::current().object;
        irp.user_event = event;
        irp.user_iosb = status;
    });
    Some(packet)
}

fn control(
    packet: Packet,
    code: u32,
    (input, input_length): (usize, u32),
    (output, output_length): (usize, u32),
    internal: bool,
) -> bool {
    let major = if internal {
        IRP_MJ_INTERNAL_DEVICE_CONTROL
    } else {
        IRP_MJ_DEVICE_CONTROL
    };
    let method = code & 3;
    let type3 = if method == 3 { input } else { 0 };
    let parameters = [
        output_length.into(),
        input_length.into(),
        code.into(),
        type3 as u64,
    ];
    packet.set_next(location(major, parameters));
    match method {
        0 => {
            let flags = if output == 0 { 0 } else { IRP_INPUT_OPERATION };
            packet.change(|irp| {
                irp.flags = IRP_BUFFERED_IO | IRP_DEALLOCATE_BUFFER | flags;
                irp.user_buffer = output;
            });
            with_buffer(packet, (input, input_length), output_length)
        }
        3 => {
            packet.change(|irp| irp.user_buffer = output);
            true
        }
        method => {
            with_buffer(packet, (input, input_length), 0)
                && with_list(packet, output, output_length, method == 2, None)
        }
    }
}

/// A read, write, flush or shutdown; `owner`: the driver whose a list or buffer is, where it is not the I/O manager's.
fn transfer(
    packet: Packet,
    address: usize,
    major: u8,
    (buffer, length): (usize, u32),
    offset: Guest<i64>,
    owner: Option<String>,
) -> bool {
    if !matches!(major, IRP_MJ_READ | IRP_MJ_WRITE) {
        packet.set_next(location(major, [0; 4]));
        return true;
    }
    let offset = offset.read_opt().unwrap_or(0).cast_unsigned();
    packet.set_next(location(major, [length.into(), 0, offset, 0]));
    let flags = device::object(address, |device| device.flags);
    let read = major == IRP_MJ_READ;
    packet.change(|irp| irp.user_buffer = buffer);
    if flags & BUFFERED != 0 {
        let input = if read { 0 } else { length };
        let extra = if read { IRP_INPUT_OPERATION } else { 0 };
        packet.change(|irp| irp.flags = IRP_BUFFERED_IO | IRP_DEALLOCATE_BUFFER | extra);
        return with_buffer(packet, (buffer, input), length);
    }
    if flags & DIRECT != 0 {
        return with_list(packet, buffer, length, read, owner);
    }
    true
}

/// Gives a packet out, or takes it back where something was missing.
fn built(packet: Packet, whole: bool) -> usize {
    if whole {
        return packet.0;
    }
    super::free_mdls(packet);
    super::free(packet);
    0
}

fn known_major(function: &str, major: u32) -> Option<u8> {
    const PNP: u8 = 0x1B;
    let known = [
        IRP_MJ_READ,
        IRP_MJ_WRITE,
        IRP_MJ_FLUSH_BUFFERS,
        IRP_MJ_SHUTDOWN,
        PNP,
    ];
    let found = u8::try_from(major)
        .ok()
        .filter(|major| known.contains(major));
    if found.is_none() {
        verifier::finding(
            "irp-major",
            format!(
                "{function} for major function {major:#x}; it builds reads, writes, flushes, shutdowns and PnP requests"
            ),
        );
    }
    found
}

exports! { "ntoskrnl.exe";
    /// A device control of the calling thread's: its event is set and its status block filled in when it is completed.
    fn IoBuildDeviceIoControlRequest(
        code: u32, device: usize, input: usize, input_length: u32, output: usize, output_length: u32, internal: u8,
        event: usize, status: usize,
    ) -> usize {
        let function = "IoBuildDeviceIoControlRequest";
        let Some(packet) = threaded(function, device, event, status) else { return 0 };
        let whole = control(packet, code, (input, input_length), (output, output_length), internal != 0);
        built(packet, whole)
    }

    /// A read, write, flush or shutdown of the calling thread's.
    fn IoBuildSynchronousFsdRequest(
        major: u32, device: usize, buffer: usize, length: u32, offset: Guest<i64>, event: usize, status: usize,
    ) -> usize {
        let function = "IoBuildSynchronousFsdRequest";
        let Some(major) = known_major(function, major) else { return 0 };
        let Some(packet) = threaded(function, device, event, status) else { return 0 };
        let whole = transfer(packet, device, major, (buffer, length), offset, None);
        built(packet, whole)
    }

    /// A read, write, flush or shutdown that the driver takes back in its completion routine.
    fn IoBuildAsynchronousFsdRequest(
        major: u32, device: usize, buffer: usize, length: u32, offset: Guest<i64>, status: usize,
    ) -> usize {
        let function = "IoBuildAsynchronousFsdRequest";
        irql::at_most(function, APC_LEVEL);
        device::known(function, device);
        if faults::check(function).is_some() {
            return 0;
        }
        let Some(major) = known_major(function, major) else { return 0 };
        let size = device::object(device, |device| device.stack_size);
        let Some(packet) = allocate(size, Owner::Driver) else { return 0 };
        packet.change(|irp| {
            irp.thread = thread::current().object;
            irp.user_iosb = status;
        });
        let owner = driver::calling().map(|driver| driver.service.clone());
        let whole = transfer(packet, device, major, (buffer, length), offset, owner);
        built(packet, whole)
    }
}
