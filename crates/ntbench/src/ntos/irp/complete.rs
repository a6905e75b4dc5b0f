//! Completing a packet: up through the completion routines, then to who asked.

use super::{Owner, Packet, free, free_mdls, lock, no_irp};
use crate::abi::io::{IRP_BUFFERED_IO, IRP_INPUT_OPERATION, IoStatusBlock};
use crate::abi::irp::{
    SL_INVOKE_ON_CANCEL, SL_INVOKE_ON_ERROR, SL_INVOKE_ON_SUCCESS, SL_PENDING_RETURNED,
    StackLocation,
};
use crate::cpu::guarded;
use crate::ntos::Entered;
use crate::ntos::memory::Guest;
use crate::ntos::sync::wait;
use crate::ntos::{device, driver, irql};
use crate::status::NtStatus;
use crate::thread::DISPATCH_LEVEL;
use crate::{bugcheck, gate, verifier};

const MORE_PROCESSING_REQUIRED: NtStatus = NtStatus(0xC000_0016_u32.cast_signed());

/// What Driver Verifier looks at first.
fn look(packet: Packet) {
    let irp = packet.read();
    let status = irp.io_status.status;
    if status == NtStatus::PENDING || status.0 == -1 {
        verifier::finding(
            "irp-completed-pending",
            format!("IoCompleteRequest on an IRP whose status is {status}, which is no final one"),
        );
    }
    if irp.cancel_routine != 0 {
        verifier::finding(
            "irp-cancel-routine-set",
            "IoCompleteRequest on an IRP whose cancel routine is still set",
        );
    }
    if irp.current_location > irp.stack_count {
        again(packet.0);
    }
}

fn again(irp: usize) -> ! {
    bugcheck::raise(
        0x44,
        [irp as u64, 0, 0, 0],
        format!(
            "IoCompleteRequest on {irp:#x}, which was completed already, or is no IRP: two drivers think that it is theirs"
        ),
    )
}

/// Whether a completion routine wants to know of this end.
fn wanted(location: &StackLocation, status: NtStatus, cancelled: bool) -> bool {
    let control = location.control;
    let by_status = if status.is_success() {
        SL_INVOKE_ON_SUCCESS
    } else {
        SL_INVOKE_ON_ERROR
    };
    location.completion_routine != 0
        && (control & by_status != 0 || (cancelled && control & SL_INVOKE_ON_CANCEL != 0))
}

/// Calls a completion routine; true: the driver has the packet for itself again.
fn call_routine(location: &StackLocation, upper: usize, packet: Packet) -> bool {
    let entered = Entered::now();
    let service = driver::at(location.completion_routine)
        .map_or_else(String::new, |driver| driver.service.clone());
    let arguments = [upper as u64, packet.0 as u64, location.context as u64];
    // SAFETY: the driver set the routine for calls with a device, a packet and its context.
    let returned = unsafe { gate::call(location.completion_routine, &arguments) };
    entered.check("the completion routine", &service);
    driver::status_of(returned) == MORE_PROCESSING_REQUIRED
}

/// Goes up through a packet's stack locations as far as the completion routines let it.
fn climb(packet: Packet) {
    loop {
        let irp = packet.read();
        let number = irp.current_location;
        if number > irp.stack_count {
            return finish(packet);
        }
        let location = packet.location(number);
        let marked = location.control & SL_PENDING_RETURNED != 0;
        let calls = lock().get_mut(&packet.0).map_or_else(Vec::new, |entry| {
            let (past, rest) = std::mem::take(&mut entry.calls)
                .into_iter()
                .partition(|call| call.location == number);
            entry.calls = rest;
            past
        });
        for call in calls {
            call.ended(marked, irp.io_status.status);
        }
        // What the location said is nobody's any more.
        packet.set_location(
            number,
            StackLocation {
                minor: 0,
                flags: 0,
                control: 0,
                parameters: [0; 4],
                ..location
            },
        );
        packet.change(|irp| {
            irp.pending_returned = u8::from(marked);
            irp.current_location += 1;
            irp.current_stack_location = packet.location_address(irp.current_location);
        });
        let has_upper = number < irp.stack_count;
        let upper = if has_upper {
            packet.location(number + 1).device_object
        } else {
            0
        };
        if wanted(&location, irp.io_status.status, irp.cancel != 0) {
            if call_routine(&location, upper, packet) {
                return;
            }
            if Packet::at(packet.0).is_none() {
                no_irp(
                    0x3,
                    "after its completion routine IoCompleteRequest",
                    packet.0,
                );
            }
        } else if marked && has_upper {
            let mut next = packet.location(number + 1);
            next.control |= SL_PENDING_RETURNED;
            packet.set_location(number + 1, next);
        }
    }
}

/// A packet has come back to who made it.
fn finish(packet: Packet) {
    let block = packet.read().io_status;
    let Some((owner, service, site)) = lock()
        .get(&packet.0)
        .map(|entry| (entry.owner.clone(), entry.service.clone(), entry.site))
    else {
        return;
    };
    match owner {
        Owner::System(done) => {
            free(packet);
            done.set(block);
        }
        Owner::Thread => finish_threaded(packet, block),
        Owner::Driver | Owner::Initialised => {
            verifier::finding_at(
                "irp-not-taken-back",
                site,
                format!("an IRP that {service} allocated was completed to its end"),
            );
        }
    }
}

/// What the I/O manager does in the thread of a request that a driver built: copies, reports and signals.
fn finish_threaded(packet: Packet, block: IoStatusBlock) {
    let irp = packet.read();
    let failed = block.status.0.cast_unsigned() >> 30 == 3;
    let both = IRP_BUFFERED_IO | IRP_INPUT_OPERATION;
    if irp.flags & both == both && !failed {
        let _ = guarded::copied(irp.user_buffer, irp.system_buffer, block.information);
    }
    free_mdls(packet);
    free(packet);
    Guest::<IoStatusBlock>::at(irp.user_iosb).write_opt(block);
    if irp.user_event != 0 {
        wait::signal(irp.user_event);
    }
}

/// A driver left a packet lying: who waits for it is told what the driver returned, and it is nobody's.
pub(super) fn give_up(packet: Packet, status: NtStatus) {
    let owner = lock().get(&packet.0).map(|entry| entry.owner.clone());
    if let Some(Owner::System(done)) = owner
        && !done.is_set()
    {
        done.set(IoStatusBlock::new(status, 0));
    }
}

exports! { "ntoskrnl.exe";
    /// Completes a packet.
    fn IofCompleteRequest(irp: usize, _boost: i8) {
        irql::at_most("IoCompleteRequest", DISPATCH_LEVEL);
        let Some(packet) = Packet::at(irp) else { again(irp) };
        look(packet);
        climb(packet);
    }

    /// Sets a completion routine; the device keeps its driver from being unloaded before the routine has returned.
    fn IoSetCompletionRoutineEx(
        device: usize, irp: usize, routine: usize, context: usize, success: u8, error: u8, cancel: u8,
    ) -> NtStatus {
        irql::at_most("IoSetCompletionRoutineEx", DISPATCH_LEVEL);
        device::known("IoSetCompletionRoutineEx", device);
        let Some(packet) = Packet::at(irp) else { no_irp(0x3, "IoSetCompletionRoutineEx", irp) };
        if let Some(status) = crate::faults::check("IoSetCompletionRoutineEx") {
            return status;
        }
        let next = packet.read().current_location - 1;
        if next <= 0 {
            bugcheck::raise(0x35, [irp as u64, 0, 0, 0], "IoSetCompletionRoutineEx on an IRP without a next stack location");
        }
        let flag = |set: u8, flag: u8| if set == 0 { 0 } else { flag };
        let mut location = packet.location(next);
        location.completion_routine = routine;
        location.context = context;
        location.control = flag(success, SL_INVOKE_ON_SUCCESS)
            | flag(error, SL_INVOKE_ON_ERROR)
            | flag(cancel, SL_INVOKE_ON_CANCEL);
        packet.set_location(next, location);
        NtStatus::SUCCESS
    }
}
