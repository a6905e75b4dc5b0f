//! Threads that drivers start, and how they end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::memory::Guest;
use super::sync::wait;
use super::{Entered, MACHINE, driver, handle, irql, notify, object, ps, worker};
use crate::abi::base::{ClientId, Ptr};
use crate::status::NtStatus;
use crate::thread::{self, PASSIVE_LEVEL};
use crate::{bugcheck, faults, gate, schedule, stack, verifier};

/// Above those of the workers, below those of programs.
static NEXT_TID: AtomicU64 = AtomicU64::new(0x1000_0000);

/// The drivers' threads that have not ended, with their services, which must outlive them, and their routines.
static RUNNING: std::sync::Mutex<Vec<(String, u64, usize)>> = std::sync::Mutex::new(Vec::new());

fn running() -> std::sync::MutexGuard<'static, Vec<(String, u64, usize)>> {
    RUNNING
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// What a thread started by a driver does: its routine, and its end.
fn body(routine: usize, context: u64, service: &str, tid: u64) -> ! {
    let entered = Entered::now();
    stack::system_thread(|| {
        // SAFETY: the driver gave that routine for a thread to start with; it takes one argument.
        unsafe { gate::call(routine, &[context]) };
    });
    if let Some(mutex) = entered.mutexes().first() {
        bugcheck::raise(
            0x4000_008A,
            [thread::current().object as u64, *mutex as u64, 0, 0],
            format!(
                "a thread of {service} ends and still owns the mutex at {mutex:#x}: KeReleaseMutex first"
            ),
        );
    }
    entered.check("a thread's routine", service);
    if notify::listening() {
        stack::system_thread(|| notify::ends(false));
    }
    running().retain(|(_, running, _)| *running != tid);
    wait::signal(thread::current().object);
    schedule::gone();
    loop {
        std::thread::park();
    }
}

/// A driver that goes away while a thread of its own runs leaves it without code.
pub(super) fn report_leaks(service: &str) {
    let left = running()
        .iter()
        .find(|(owner, ..)| owner == service)
        .map(|(_, tid, routine)| (*tid, *routine));
    if let Some((tid, routine)) = left {
        bugcheck::raise(
            0xCE,
            [routine as u64, 8, routine as u64, 0],
            format!(
                "{service} was unloaded while its thread {tid:#x} still ran: wait for the thread object, which is signalled when the thread has \
                 ended, before the unload routine returns"
            ),
        );
    }
}

fn start(routine: usize, context: u64, service: String) -> Option<(usize, u64)> {
    let machine = MACHINE.get()?;
    let tid = NEXT_TID.fetch_add(4, Ordering::Relaxed);
    let (tell, told) = std::sync::mpsc::channel();
    // Where drivers want to know of the thread, they are told before it runs.
    let listened = notify::listening();
    let told_of = Arc::new(AtomicBool::new(false));
    let begun = Arc::clone(&told_of);
    running().push((service.clone(), tid, routine));
    worker::spawn("thread", tid, Arc::clone(&machine.system), move || {
        let _ = tell.send(thread::current().object);
        while listened && !begun.load(Ordering::Acquire) {
            schedule::poll(std::ptr::from_ref(&*begun).addr());
        }
        body(routine, context, &service, tid)
    });
    let object = told.recv().ok()?;
    if listened {
        let _ = notify::created(&machine.system, tid, false);
        told_of.store(true, Ordering::Release);
        schedule::progressed();
    }
    Some((object, tid))
}

exports! { "ntoskrnl.exe";
    /// Starts a thread of the system process.
    partial "in the system process alone; STATUS_NOT_SUPPORTED for others"
    fn PsCreateSystemThread(
        result: Guest<u64>,
        access: u32,
        attributes: usize,
        process: u64,
        client: Guest<ClientId>,
        routine: usize,
        context: u64,
    ) -> NtStatus {
        irql::at_most("PsCreateSystemThread", PASSIVE_LEVEL);
        if let Some(status) = faults::check("PsCreateSystemThread") {
            return status;
        }
        if process != 0 && process != u64::MAX {
            verifier::finding("system-thread-process", "PsCreateSystemThread for another process than the system's: the bench refuses that");
            return NtStatus::NOT_SUPPORTED;
        }
        let service = driver::calling().map_or_else(String::new, |driver| driver.service.clone());
        let Some((object, tid)) = start(routine, context, service) else {
            return NtStatus::INSUFFICIENT_RESOURCES;
        };
        object::insert(object, object::Kind::Lasting("thread"));
        let flags = if attributes == 0 { 0 } else { Guest::<u32>::at(attributes + 24).read() };
        // Without attributes the handle is the kernel's where the caller runs in the system process.
        result.write(handle::open(handle::Target::Thread(object), access, flags, crate::abi::flt::KERNEL_MODE));
        if !client.is_null() {
            let id = |value: u64| -> Ptr { std::ptr::with_exposed_provenance_mut(usize::try_from(value).unwrap_or(0)) };
            client.write(ClientId { process: id(thread::SYSTEM_PID), thread: id(tid) });
        }
        NtStatus::SUCCESS
    }

    /// Ends the calling thread, which must be one of the system's; does not return.
    fn PsTerminateSystemThread(_status: i32) -> NtStatus {
        irql::at_most("PsTerminateSystemThread", PASSIVE_LEVEL);
        if ps::PsIsSystemThread(thread::current().object) == 0 {
            return NtStatus::INVALID_PARAMETER;
        }
        if stack::in_callout() {
            bugcheck::raise(0x107, [thread::current().object as u64, 0, 0, 0], "a thread ends in a callout of KeExpandKernelStackAndCalloutEx");
        }
        if stack::calls() != 1 {
            return NtStatus::INVALID_PARAMETER;
        }
        // SAFETY: the thread's routine is the only driver code on this thread (asked above), and nothing of this frame or the stub's needs to be
        // dropped.
        unsafe { gate::leave() }
    }
}
