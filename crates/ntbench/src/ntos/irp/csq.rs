//! Cancel-safe queues (`IO_CSQ`): the queue is the driver's, by six routines of its; who has a packet is decided here.
//!
//! The layouts are those of the DDK's csq.h, which drivers may link instead of importing these.

use super::{Packet, no_irp};
use crate::abi::irp::Irp;
use crate::export::{Coverage, Export, ExportKind};
use crate::gate;
use crate::ntos::memory::Guest;
use crate::ntos::{driver, irql, routines};
use crate::status::NtStatus;
use crate::thread::DISPATCH_LEVEL;

/// `IO_CSQ`: its type, its routines, and where it is busy.
mod field {
    pub(super) const TYPE: usize = 0;
    pub(super) const INSERT: usize = 8;
    pub(super) const REMOVE: usize = 16;
    pub(super) const PEEK_NEXT: usize = 24;
    pub(super) const ACQUIRE: usize = 32;
    pub(super) const RELEASE: usize = 40;
    pub(super) const COMPLETE_CANCELED: usize = 48;
}

/// `IO_TYPE_CSQ_IRP_CONTEXT`, `IO_TYPE_CSQ`, `IO_TYPE_CSQ_EX`.
const TYPE_CONTEXT: u32 = 1;
const TYPE_QUEUE: u32 = 2;
const TYPE_QUEUE_EX: u32 = 3;

/// `IO_CSQ_IRP_CONTEXT`: type, packet, queue.
const CONTEXT_IRP: usize = 8;
const CONTEXT_QUEUE: usize = 16;

/// Where a packet in a queue has its queue or context: `DriverContext[3]`, which csq.h leaves no driver.
const SLOT: usize = std::mem::offset_of!(Irp, driver_context) + 3 * 8;

#[derive(Clone, Copy)]
struct Queue(usize);

impl Queue {
    fn routine(self, at: usize, arguments: &[u64]) -> u64 {
        let routine = Guest::<usize>::at(self.0 + at).read();
        // SAFETY: the driver gave the routine when it initialised the queue.
        unsafe { gate::call_within(routine, arguments) }
    }

    /// Runs `f` under the driver's lock.
    fn locked<R>(self, f: impl FnOnce() -> R) -> R {
        let old: Box<u8> = Box::new(0);
        let old = Box::into_raw(old);
        self.routine(
            field::ACQUIRE,
            &[self.0 as u64, old.expose_provenance() as u64],
        );
        let result = f();
        // SAFETY: made above; the driver has written it and is done with it.
        let old = unsafe { Box::from_raw(old) };
        self.routine(field::RELEASE, &[self.0 as u64, u64::from(*old)]);
        result
    }

    fn remove(self, packet: Packet) {
        self.routine(field::REMOVE, &[self.0 as u64, packet.0 as u64]);
    }

    fn cancelled(self, packet: Packet) {
        self.routine(field::COMPLETE_CANCELED, &[self.0 as u64, packet.0 as u64]);
    }
}

fn slot(packet: Packet) -> Guest<usize> {
    Guest::at(packet.0 + SLOT)
}

/// Forgets where a packet is queued.
fn forget(packet: Packet) {
    let context = slot(packet).read();
    if context != 0 && Guest::<u32>::at(context).read() == TYPE_CONTEXT {
        Guest::<usize>::at(context + CONTEXT_IRP).write(0);
    }
    slot(packet).write(0);
}

/// The cancel routine of every queued packet. It is called with the cancel spin lock held.
extern "win64" fn cancel(_device: usize, irp: usize) {
    let Some(packet) = Packet::at(irp) else {
        return;
    };
    super::cancel::IoReleaseCancelSpinLock(packet.read().cancel_irql);
    let known = slot(packet).read();
    let queue = if Guest::<u32>::at(known).read() == TYPE_CONTEXT {
        Queue(Guest::<usize>::at(known + CONTEXT_QUEUE).read())
    } else {
        Queue(known)
    };
    queue.locked(|| {
        queue.remove(packet);
        forget(packet);
    });
    queue.cancelled(packet);
}

static CANCEL: Export = Export {
    dll: "ntoskrnl.exe",
    name: "IopCsqCancelRoutine",
    kind: ExportKind::Function {
        address: cancel as *const (),
        arguments: 2,
        status: false,
    },
    coverage: Coverage::Whole,
};

/// Takes a packet that is in a queue, if nobody cancels it meanwhile. Under the driver's lock.
fn take(queue: Queue, packet: Packet) -> bool {
    if packet.take_cancel_routine() == 0 {
        // Its cancel routine is on its way, and the packet is that one's.
        return false;
    }
    queue.remove(packet);
    forget(packet);
    true
}

fn insert(queue: Queue, irp: usize, context: usize, insert_context: usize) -> NtStatus {
    irql::at_most("IoCsqInsertIrp", DISPATCH_LEVEL);
    let Some(packet) = Packet::at(irp) else {
        no_irp(0x3, "IoCsqInsertIrp", irp)
    };
    if context == 0 {
        slot(packet).write(queue.0);
    } else {
        Guest::<u32>::at(context).write(TYPE_CONTEXT);
        Guest::<usize>::at(context + CONTEXT_IRP).write(irp);
        Guest::<usize>::at(context + CONTEXT_QUEUE).write(queue.0);
        slot(packet).write(context);
    }
    let routine = routines::stub(&CANCEL).unwrap_or(0);
    let extended = Guest::<u32>::at(queue.0 + field::TYPE).read() == TYPE_QUEUE_EX;
    let (status, cancelled) = queue.locked(|| {
        let mut status = NtStatus::SUCCESS;
        let arguments = [queue.0 as u64, irp as u64, insert_context as u64];
        let count = if extended { 3 } else { 2 };
        let returned = queue.routine(field::INSERT, &arguments[..count]);
        if extended {
            status = driver::status_of(returned);
            if !status.is_success() {
                return (status, false);
            }
        }
        // What waits is pending, whoever takes it out again.
        let number = packet.read().current_location;
        let mut location = packet.location(number);
        location.control |= crate::abi::irp::SL_PENDING_RETURNED;
        packet.set_location(number, location);
        packet.change(|irp| irp.cancel_routine = routine);
        if packet.read().cancel != 0 && packet.take_cancel_routine() != 0 {
            queue.remove(packet);
            forget(packet);
            return (status, true);
        }
        (status, false)
    });
    if cancelled {
        queue.cancelled(packet);
    }
    status
}

fn remove_next(queue: Queue, peek: usize) -> usize {
    queue.locked(|| {
        let mut irp = 0;
        loop {
            let arguments = [queue.0 as u64, irp, peek as u64];
            irp = queue.routine(field::PEEK_NEXT, &arguments);
            let address = usize::try_from(irp).unwrap_or(0);
            if address == 0 {
                return 0;
            }
            let Some(packet) = Packet::at(address) else {
                no_irp(0x3, "IoCsqRemoveNextIrp", address)
            };
            if take(queue, packet) {
                return address;
            }
        }
    })
}

fn initialise(queue: usize, kind: u32, routines: [usize; 6]) -> NtStatus {
    Guest::<u32>::at(queue + field::TYPE).write(kind);
    for (index, routine) in routines.into_iter().enumerate() {
        Guest::<usize>::at(queue + field::INSERT + 8 * index).write(routine);
    }
    Guest::<usize>::at(queue + field::COMPLETE_CANCELED + 8).write(0);
    NtStatus::SUCCESS
}

exports! { "ntoskrnl.exe";
    /// Makes a queue of the driver's routines.
    fn IoCsqInitialize(
        queue: usize, insert: usize, remove: usize, peek: usize, acquire: usize, release: usize, cancelled: usize,
    ) -> NtStatus {
        initialise(queue, TYPE_QUEUE, [insert, remove, peek, acquire, release, cancelled])
    }

    /// Makes one whose insertion may fail.
    fn IoCsqInitializeEx(
        queue: usize, insert: usize, remove: usize, peek: usize, acquire: usize, release: usize, cancelled: usize,
    ) -> NtStatus {
        initialise(queue, TYPE_QUEUE_EX, [insert, remove, peek, acquire, release, cancelled])
    }

    /// Queues a packet.
    fn IoCsqInsertIrp(queue: usize, irp: usize, context: usize) {
        insert(Queue(queue), irp, context, 0);
    }

    /// Queues a packet, unless the driver's routine refuses.
    fn IoCsqInsertIrpEx(queue: usize, irp: usize, context: usize, insert_context: usize) -> NtStatus {
        insert(Queue(queue), irp, context, insert_context)
    }

    /// Takes the next packet that matches; NULL: there is none.
    fn IoCsqRemoveNextIrp(queue: usize, peek: usize) -> usize {
        irql::at_most("IoCsqRemoveNextIrp", DISPATCH_LEVEL);
        remove_next(Queue(queue), peek)
    }

    /// Takes the packet of a context; NULL: it was cancelled.
    fn IoCsqRemoveIrp(queue: usize, context: usize) -> usize {
        irql::at_most("IoCsqRemoveIrp", DISPATCH_LEVEL);
        let queue = Queue(queue);
        queue.locked(|| {
            let irp = Guest::<usize>::at(context + CONTEXT_IRP).read();
            match Packet::at(irp) {
                Some(packet) if take(queue, packet) => irp,
                _ => 0,
            }
        })
    }
}
