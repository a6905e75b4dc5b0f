//! What may be asked of a packet by its address: whether its sender waits, and how urgent it is.
//!
//! `IoIsOperationSynchronous`, `IoGetIoPriorityHint`, `IoSetIoPriorityHint`.

use super::{Packet, no_irp};
use crate::abi::io::{
    FO_SYNCHRONOUS_IO, IRP_PAGING_IO, IRP_SYNCHRONOUS_API, IRP_SYNCHRONOUS_PAGING_IO,
};
use crate::abi::irp::Irp;
use crate::ntos::irql;
use crate::ntos::memory::Guest;
use crate::ntos::object::{self, Kind};
use crate::status::NtStatus;
use crate::thread::DISPATCH_LEVEL;

/// `IoPriorityNormal` and `MaxIoPriorityTypes`.
const NORMAL: u32 = 2;
const TYPES: u32 = 5;
/// Where a packet keeps its hint, plus one so that none is none: bits of its flags that no operation uses.
const HINT_AT: u32 = 17;
const HINT: u32 = 7 << HINT_AT;

fn packet(call: &str, irp: usize) -> Packet {
    irql::at_most(call, DISPATCH_LEVEL);
    Packet::at(irp).unwrap_or_else(|| no_irp(0x3, call, irp))
}

fn flags(packet: Packet) -> Guest<u32> {
    Guest::at(packet.0 + std::mem::offset_of!(Irp, flags))
}

exports! { "ntoskrnl.exe";
    /// Whether whoever sent a packet waits for its end.
    fn IoIsOperationSynchronous(irp: usize) -> u8 {
        let packet = packet("IoIsOperationSynchronous", irp);
        let read = packet.read();
        if read.flags & IRP_PAGING_IO != 0 {
            return u8::from(read.flags & IRP_SYNCHRONOUS_PAGING_IO != 0);
        }
        let file = packet.location(read.current_location).file_object;
        let opened_so = match object::at(file) {
            Some(Kind::File(file)) => file.object(|object| object.flags & FO_SYNCHRONOUS_IO != 0),
            _ => false,
        };
        u8::from(opened_so || read.flags & IRP_SYNCHRONOUS_API != 0)
    }

    /// How urgent a packet is.
    fn IoGetIoPriorityHint(irp: usize) -> u32 {
        match (flags(packet("IoGetIoPriorityHint", irp)).read() & HINT) >> HINT_AT {
            0 => NORMAL,
            hint => hint - 1,
        }
    }

    /// Says how urgent it is.
    partial "kept and told; it changes nothing about what is done first"
    fn IoSetIoPriorityHint(irp: usize, hint: u32) -> NtStatus {
        let packet = packet("IoSetIoPriorityHint", irp);
        if hint >= TYPES {
            return NtStatus::INVALID_PARAMETER;
        }
        let flags = flags(packet);
        flags.write(flags.read() & !HINT | (hint + 1) << HINT_AT);
        NtStatus::SUCCESS
    }

    /// How urgent paging is: `IoPagingPriorityNormal`, or `IoPagingPriorityInvalid` where a packet pages nothing.
    fn IoGetPagingIoPriority(irp: usize) -> u32 {
        let paging = flags(packet("IoGetPagingIoPriority", irp)).read() & IRP_PAGING_IO != 0;
        u32::from(paging)
    }
}

/// A packet's major function at the driver that has it.
pub(crate) fn major_of(irp: usize, call: &str) -> u8 {
    let packet = packet(call, irp);
    packet.location(packet.read().current_location).major
}
