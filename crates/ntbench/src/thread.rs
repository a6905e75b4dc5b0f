//! Simulated threads: each is a thread of the host with a kernel stack of its own.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU8, AtomicU32, AtomicU64, Ordering};

use crate::cpu::memory::Mapping;
use crate::ntos::sync::wait;
use crate::ntos::{special, time};
use crate::status::NtStatus;
use std::sync::{Arc, Mutex, PoisonError};

/// `PASSIVE_LEVEL`.
pub(crate) const PASSIVE_LEVEL: u8 = 0;
/// `APC_LEVEL`.
pub(crate) const APC_LEVEL: u8 = 1;
/// `DISPATCH_LEVEL`.
pub(crate) const DISPATCH_LEVEL: u8 = 2;

/// The system process's id.
pub(crate) const SYSTEM_PID: u64 = 4;

/// How long the opaque thread and process objects are; no field of theirs is for drivers.
pub(crate) const OBJECT_BYTES: usize = 0x1000;
/// As much of both objects is the dispatcher header that a wait looks at.
const HEADER_BYTES: usize = 0x20;

/// A simulated process.
pub(crate) struct Process {
    /// Its id.
    pub(crate) pid: u64,
    /// Its image's file name.
    pub(crate) image: String,
    /// The address that drivers know as `PEPROCESS`.
    pub(crate) object: usize,
    /// Whether its token is an administrator's.
    pub(crate) administrator: bool,
    /// The process that it was started by.
    pub(crate) parent: u64,
    /// What it was started with.
    pub(crate) command_line: Option<String>,
    /// When it was started: 100 ns units since 1601.
    pub(crate) created: i64,
    /// `STATUS_PENDING` until it ends.
    pub(crate) exit_status: AtomicI32,
    /// Threads that have not ended.
    pub(crate) threads: AtomicU32,
}

impl Process {
    /// A process without threads, started by the system's.
    pub(crate) fn new(pid: u64, image: &str, administrator: bool) -> Self {
        let object = opaque_object(pid);
        wait::initialise(object, wait::PROCESS, HEADER_BYTES, 0);
        Self {
            pid,
            image: image.to_owned(),
            object,
            administrator,
            parent: if pid == SYSTEM_PID { 0 } else { SYSTEM_PID },
            command_line: None,
            created: time::system_time(),
            exit_status: AtomicI32::new(NtStatus::PENDING.0),
            threads: AtomicU32::new(0),
        }
    }
}

/// A simulated thread. Other threads may look; only its own changes it.
pub(crate) struct Thread {
    /// Its id.
    pub(crate) tid: u64,
    /// Its process.
    pub(crate) process: Arc<Process>,
    /// The address that drivers know as `PETHREAD`.
    pub(crate) object: usize,
    /// `KeEnterCriticalRegion` count: normal kernel APCs are off while not 0.
    pub(crate) kernel_apc_disable: AtomicI32,
    /// `KeEnterGuardedRegion` count: all APCs are off while not 0.
    pub(crate) special_apc_disable: AtomicI32,
    /// Creates under way on this thread.
    pub(crate) creates: AtomicU32,
    irql: AtomicU8,
    /// The process whose addresses it sees: its own, or the one that it is attached to.
    context: AtomicU64,
    waits: AtomicBool,
}

thread_local! {
    static CURRENT: Cell<Option<&'static Thread>> = const { Cell::new(None) };
}

static ALL: Mutex<Vec<&'static Thread>> = Mutex::new(Vec::new());

/// Every simulated thread that has not ended.
pub(crate) fn all() -> Vec<&'static Thread> {
    ALL.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

/// Ends the simulated thread that this host thread is. Its object stays: drivers may keep the pointer.
pub(crate) fn end() {
    if let Some(current) = CURRENT.take() {
        current.process.threads.fetch_sub(1, Ordering::AcqRel);
        ALL.lock()
            .unwrap_or_else(PoisonError::into_inner)
            .retain(|thread| !std::ptr::eq(*thread, current));
        wait::signal(current.object);
    }
}

/// The simulated thread that this host thread is.
///
/// # Panics
/// On a host thread that is none: nothing of the machine runs there.
#[inline]
pub(crate) fn current() -> &'static Thread {
    try_current().expect("this host thread is not a simulated one")
}

/// The simulated thread that this host thread is, if it is one.
#[inline]
pub(crate) fn try_current() -> Option<&'static Thread> {
    CURRENT.get()
}

/// Says that the current thread waits, while there is one and `wait` runs.
pub(crate) fn waiting<T>(wait: impl FnOnce() -> T) -> T {
    let Some(thread) = try_current() else {
        return wait();
    };
    thread.waits.store(true, Ordering::Release);
    let done = wait();
    thread.waits.store(false, Ordering::Release);
    done
}

/// The current thread's IRQL.
#[inline]
pub(crate) fn irql() -> u8 {
    current().irql()
}

impl Thread {
    /// Its IRQL.
    #[inline]
    pub(crate) fn irql(&self) -> u8 {
        self.irql.load(Ordering::Relaxed)
    }

    /// Changes its IRQL; gives the old one.
    pub(crate) fn set_irql(&self, irql: u8) -> u8 {
        let old = self.irql.swap(irql, Ordering::Relaxed);
        if old < DISPATCH_LEVEL && irql >= DISPATCH_LEVEL {
            special::trim();
        }
        old
    }

    /// Whether it waits for what somebody else does.
    pub(crate) fn waits(&self) -> bool {
        self.waits.load(Ordering::Acquire)
    }

    /// Whether it belongs to the system process.
    pub(crate) fn is_system(&self) -> bool {
        self.process.pid == SYSTEM_PID
    }

    /// The id of the process whose addresses it sees. Safe in a signal handler.
    pub(crate) fn context(&self) -> u64 {
        self.context.load(Ordering::Relaxed)
    }

    /// It sees that process's addresses from now on.
    pub(crate) fn set_context(&self, pid: u64) {
        self.context.store(pid, Ordering::Relaxed);
    }

    /// Its process's id.
    pub(crate) fn pid(&self) -> u64 {
        self.process.pid
    }
}

/// Makes this host thread a simulated one.
pub(crate) fn adopt(tid: u64, process: Arc<Process>) -> &'static Thread {
    process.threads.fetch_add(1, Ordering::AcqRel);
    let object = opaque_object(tid);
    wait::initialise(object, wait::THREAD, HEADER_BYTES, 0);
    let context = AtomicU64::new(process.pid);
    let thread = Box::leak(Box::new(Thread {
        tid,
        process,
        object,
        kernel_apc_disable: AtomicI32::new(0),
        special_apc_disable: AtomicI32::new(0),
        creates: AtomicU32::new(0),
        irql: AtomicU8::new(PASSIVE_LEVEL),
        context,
        waits: AtomicBool::new(false),
    }));
    CURRENT.set(Some(thread));
    ALL.lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push(thread);
    thread
}

/// Where the objects of processes and threads lie, each in a page that its id chooses: in a replay a driver that keeps something by the
/// address of a process finds it where it was.
const OBJECTS: usize = 0x1800_0000_0000;

/// Zeroed memory for an object whose fields are nobody's business. It is never freed: drivers may keep the pointer.
fn opaque_object(id: u64) -> usize {
    // Ids are multiples of four.
    let at = usize::try_from(id / 4)
        .ok()
        .and_then(|number| number.checked_mul(OBJECT_BYTES))
        .and_then(|offset| offset.checked_add(OBJECTS));
    let mapped = at.and_then(|at| Mapping::read_write_at(at, OBJECT_BYTES).ok());
    if let Some(page) = mapped {
        let object = page.base();
        page.leak();
        return object;
    }
    // An id that was there before, as tests of the bench itself have them.
    let object: &'static mut [u128] = Box::leak(vec![0u128; OBJECT_BYTES / 16].into_boxed_slice());
    object.as_mut_ptr().expose_provenance()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_lies_where_its_id_says() {
        assert_eq!(
            opaque_object(0x7_0000),
            OBJECTS + 0x7_0000 / 4 * OBJECT_BYTES
        );
        assert_ne!(
            opaque_object(0x7_0000),
            OBJECTS + 0x7_0000 / 4 * OBJECT_BYTES
        );
    }
}
