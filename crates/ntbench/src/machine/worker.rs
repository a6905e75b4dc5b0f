//! Simulated threads as threads of the host that wait for something to do.

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex, PoisonError};

use crate::cpu::{fault, pcr};
use crate::thread::{self, Process};
use crate::wire::{StackKind, ThreadInfo, ThreadSpec};
use crate::{stack, wire};

/// A host's stack must hold the bench's frames for every nested create, several hundred deep. Untouched pages cost
/// nothing.
const HOST_STACK: usize = 256 << 20;

type Job = Box<dyn FnOnce() + Send>;

/// The system thread's number.
pub(super) const SYSTEM: u32 = 0;

static WORKERS: Mutex<Option<HashMap<u32, Sender<Job>>>> = Mutex::new(None);
static PROCESSES: Mutex<Vec<(u32, Arc<Process>)>> = Mutex::new(Vec::new());
/// Process and thread ids are multiples of four, as in Windows; 4 is the system's.
static NEXT_ID: AtomicU64 = AtomicU64::new(0x100);

fn next_id() -> u64 {
    NEXT_ID.fetch_add(4, Ordering::Relaxed)
}

fn process(spec: &ThreadSpec) -> Arc<Process> {
    let mut processes = PROCESSES.lock().unwrap_or_else(PoisonError::into_inner);
    let same = |(number, process): &&(u32, Arc<Process>)| {
        *number == spec.process && process.image == spec.process_image
    };
    if let Some((_, process)) = processes.iter().find(same) {
        return Arc::clone(process);
    }
    let process = Arc::new(Process {
        pid: next_id(),
        image: spec.process_image.clone(),
        object: thread::opaque_object(),
    });
    processes.push((spec.process, Arc::clone(&process)));
    process
}

/// Starts the system thread.
pub(super) fn start_system() -> io::Result<ThreadInfo> {
    let process = Arc::new(Process {
        pid: thread::SYSTEM_PID,
        image: "System".to_owned(),
        object: thread::opaque_object(),
    });
    start(SYSTEM, process, StackKind::Ordinary)
}

/// Starts a thread as asked.
pub(super) fn start_thread(spec: &ThreadSpec) -> io::Result<ThreadInfo> {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let number = u32::try_from(NEXT.fetch_add(1, Ordering::Relaxed)).unwrap_or(u32::MAX);
    start(number, process(spec), spec.stack)
}

fn start(number: u32, process: Arc<Process>, kind: StackKind) -> io::Result<ThreadInfo> {
    let (jobs, receiver) = mpsc::channel::<Job>();
    let (ready, started) = mpsc::channel();
    std::thread::Builder::new()
        .name(format!("sim-{number}"))
        .stack_size(HOST_STACK)
        .spawn(move || {
            let made = make(number, process, kind);
            let failed = made.is_err();
            let _ = ready.send(made);
            if failed {
                return;
            }
            while let Ok(job) = receiver.recv() {
                job();
            }
        })?;
    let info = started.recv().map_err(io::Error::other)??;
    WORKERS
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .get_or_insert_default()
        .insert(number, jobs);
    Ok(info)
}

/// Makes this host thread a simulated one.
fn make(number: u32, process: Arc<Process>, kind: StackKind) -> io::Result<ThreadInfo> {
    let thread = thread::adopt(number, next_id(), process);
    fault::install_thread()?;
    pcr::install(thread.object)?;
    stack::install(kind)?;
    let limits = stack::limits();
    Ok(wire::ThreadInfo {
        thread: number,
        pid: thread.pid(),
        tid: thread.tid,
        stack_low: limits.low,
        stack_high: limits.high,
    })
}

/// Gives a thread something to do; false: there is no such thread.
pub(super) fn post(number: u32, job: impl FnOnce() + Send + 'static) -> bool {
    let workers = WORKERS.lock().unwrap_or_else(PoisonError::into_inner);
    workers
        .as_ref()
        .and_then(|workers| workers.get(&number))
        .is_some_and(|jobs| jobs.send(Box::new(job)).is_ok())
}

/// Ends a thread once it has done what it was given; false: there is no such thread.
pub(super) fn end(number: u32) -> bool {
    let mut workers = WORKERS.lock().unwrap_or_else(PoisonError::into_inner);
    workers
        .as_mut()
        .and_then(|workers| workers.remove(&number))
        .is_some()
}
