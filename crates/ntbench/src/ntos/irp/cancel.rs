//! Cancelling packets: the cancel spin lock, and who calls a cancel routine.

use std::sync::LazyLock;

use super::{Packet, lock, no_irp};
use crate::ntos::memory::Guest;
use crate::ntos::sync::spin;
use crate::ntos::{driver, irql, object};
use crate::thread::{self, DISPATCH_LEVEL};
use crate::{bugcheck, gate, verifier};

/// The one cancel spin lock of the system.
static LOCK: LazyLock<usize> = LazyLock::new(|| object::allocate(8));

fn acquire() -> u8 {
    let old = thread::current().set_irql(thread::irql().max(DISPATCH_LEVEL));
    spin::acquire(*LOCK);
    old
}

fn release(old: u8) {
    spin::release(*LOCK);
    thread::current().set_irql(old);
}

/// Marks a packet as cancelled and calls its cancel routine; whether it had one.
fn cancel(packet: Packet) -> bool {
    let old = acquire();
    // While the table is held the packet is not freed.
    let table = lock();
    if !table.contains_key(&packet.0) {
        drop(table);
        release(old);
        return false;
    }
    packet.change(|irp| irp.cancel = 1);
    let routine = packet.take_cancel_routine();
    drop(table);
    if routine == 0 {
        release(old);
        return false;
    }
    let irp = packet.read();
    if irp.current_location > irp.stack_count {
        bugcheck::raise(
            0x48,
            [packet.0 as u64, routine as u64, 0, 0],
            "an IRP that has been completed has a cancel routine",
        );
    }
    packet.change(|irp| irp.cancel_irql = old);
    let device = packet.location(irp.current_location).device_object;
    // SAFETY: the driver set the routine for calls with a device and a packet.
    unsafe { gate::call(routine, &[device as u64, packet.0 as u64]) };
    if spin::holds_lock(*LOCK) {
        let service = driver::at(routine).map_or_else(String::new, |driver| driver.service.clone());
        let _blame = verifier::blame_routine(routine);
        verifier::finding(
            "cancel-lock-held",
            format!("the cancel routine of {service} returned with the cancel spin lock held"),
        );
        release(old);
    } else if thread::irql() != old {
        bugcheck::raise(
            0xC8,
            [
                u64::from(thread::irql()) << 16 | u64::from(old) << 8 | 2,
                0,
                0,
                0,
            ],
            format!(
                "a cancel routine returned at IRQL {}; it must release the cancel spin lock to Irp->CancelIrql, {old}",
                thread::irql()
            ),
        );
    }
    true
}

/// Cancels the packets that a thread waits for; false: there are none.
pub(crate) fn thread(tid: u64) -> bool {
    let of_thread: Vec<usize> = lock()
        .iter()
        .filter(|(_, entry)| entry.tid == tid)
        .map(|(address, _)| *address)
        .collect();
    for address in &of_thread {
        cancel(Packet(*address));
    }
    !of_thread.is_empty()
}

exports! { "ntoskrnl.exe";
    /// Takes the lock of IRPs' cancel routines.
    fn IoAcquireCancelSpinLock(old: Guest<u8>) {
        irql::at_most("IoAcquireCancelSpinLock", DISPATCH_LEVEL);
        let before = acquire();
        old.write(before);
    }

    /// Gives it back.
    fn IoReleaseCancelSpinLock(old: u8) {
        if !spin::holds_lock(*LOCK) {
            verifier::finding("lock-not-held", "IoReleaseCancelSpinLock by a thread that does not hold the cancel spin lock");
        }
        release(old);
    }

    /// Cancels a packet; whether a cancel routine was called.
    fn IoCancelIrp(irp: usize) -> u8 {
        irql::at_most("IoCancelIrp", DISPATCH_LEVEL);
        let Some(packet) = Packet::at(irp) else { no_irp(0x3, "IoCancelIrp", irp) };
        u8::from(cancel(packet))
    }
}
