//! Simulated threads as threads of the host that wait for something to do.

use std::collections::HashMap;
use std::io;
use std::os::unix::thread::JoinHandleExt as _;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use crate::cpu::{fault, pcr};
use crate::schedule::{self, Ticket};
use crate::thread::{self, Process};
use crate::wire::{Message, ProcessSpec, StackKind, ThreadInfo, ThreadSpec};
use crate::{stack, verifier, wire};

/// A host's stack must hold the bench's frames for every nested create, several hundred deep. Untouched pages cost
/// nothing.
const HOST_STACK: usize = 64 << 20;

type Job = Box<dyn FnOnce() + Send>;

/// A simulated thread as the main loop knows it.
struct Worker {
    jobs: Sender<Job>,
    ticket: Ticket,
    busy: Arc<AtomicBool>,
    id: libc::pthread_t,
    pid: u64,
    tid: u64,
}

/// How long busy threads have to say where they are: more than they need on a host with much else to do.
const PATIENCE: Duration = Duration::from_secs(5);

pub(super) use crate::wire::SYSTEM_THREAD as SYSTEM;

static WORKERS: Mutex<Option<HashMap<u32, Worker>>> = Mutex::new(None);
static PROCESSES: Mutex<Vec<(u32, Arc<Process>)>> = Mutex::new(Vec::new());
/// Process and thread ids are multiples of four, as in Windows; 4 is the system's.
static NEXT_ID: AtomicU64 = AtomicU64::new(0x100);

/// Images whose processes have a token that is no administrator's.
static LIMITED: OnceLock<Vec<String>> = OnceLock::new();

/// Sets them, once.
pub(super) fn set_limited(images: Vec<String>) {
    let _ = LIMITED.set(images);
}

fn next_id() -> u64 {
    NEXT_ID.fetch_add(4, Ordering::Relaxed)
}

fn make_process(image: &str) -> Process {
    let limited = LIMITED
        .get()
        .is_some_and(|limited| limited.iter().any(|known| known == image));
    Process::new(next_id(), image, !limited)
}

/// The process of a thread that is to be started, and whether it is a new one.
fn process(spec: &ThreadSpec) -> (Arc<Process>, bool) {
    let mut processes = PROCESSES.lock().unwrap_or_else(PoisonError::into_inner);
    let same = |(number, process): &&(u32, Arc<Process>)| {
        *number == spec.process && process.image == spec.process_image
    };
    if let Some((_, process)) = processes.iter().find(same) {
        return (Arc::clone(process), false);
    }
    let process = Arc::new(make_process(&spec.process_image));
    processes.push((spec.process, Arc::clone(&process)));
    (process, true)
}

/// Forgets a process that has ended: the next thread of its name is one of a new process.
pub(super) fn forget(ended: &Arc<Process>) {
    PROCESSES
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .retain(|(_, process)| !Arc::ptr_eq(process, ended));
}

/// Starts the system thread.
pub(super) fn start_system() -> io::Result<ThreadInfo> {
    let process = Arc::new(Process::new(thread::SYSTEM_PID, "System", true));
    start(SYSTEM, process, StackKind::Ordinary)
}

/// A thread that was started, and has done nothing yet.
pub(super) struct Started {
    pub(super) info: ThreadInfo,
    pub(super) process: Arc<Process>,
    /// Whether it is the first thread of its process.
    pub(super) first: bool,
}

fn next_number() -> u32 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    u32::try_from(NEXT.fetch_add(1, Ordering::Relaxed)).unwrap_or(u32::MAX)
}

/// Starts a thread as asked.
pub(super) fn start_thread(spec: &ThreadSpec) -> io::Result<Started> {
    let (process, first) = process(spec);
    let info = start(next_number(), Arc::clone(&process), spec.stack)?;
    Ok(Started {
        info,
        process,
        first,
    })
}

/// Starts a process for the calling thread, with one thread.
pub(super) fn start_process(spec: &ProcessSpec) -> io::Result<Started> {
    let process = Arc::new(Process {
        parent: thread::current().pid(),
        command_line: spec.command_line.clone(),
        ..make_process(&spec.image)
    });
    let info = start(next_number(), Arc::clone(&process), spec.stack)?;
    Ok(Started {
        info,
        process,
        first: true,
    })
}

fn start(number: u32, process: Arc<Process>, kind: StackKind) -> io::Result<ThreadInfo> {
    let (jobs, receiver) = mpsc::channel::<Job>();
    let (ready, started) = mpsc::channel();
    let busy = Arc::new(AtomicBool::new(false));
    let working = Arc::clone(&busy);
    let ticket = schedule::enlist(true);
    let host = std::thread::Builder::new()
        .name(format!("sim-{number}"))
        .stack_size(HOST_STACK)
        .spawn(move || {
            schedule::join(ticket);
            let made = make(number, process, kind);
            let failed = made.is_err();
            let _ = ready.send(made);
            if failed {
                return;
            }
            while let Ok(job) = receiver.recv() {
                working.store(true, Ordering::Release);
                schedule::begin_job();
                job();
                schedule::end_job();
                working.store(false, Ordering::Release);
            }
            schedule::gone();
            thread::end();
        })?;
    let info = started.recv().map_err(io::Error::other)??;
    let worker = Worker {
        jobs,
        ticket,
        busy,
        id: host.as_pthread_t(),
        pid: info.pid,
        tid: info.tid,
    };
    WORKERS
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .get_or_insert_default()
        .insert(number, worker);
    Ok(info)
}

/// Makes this host thread a simulated one.
fn make(number: u32, process: Arc<Process>, kind: StackKind) -> io::Result<ThreadInfo> {
    let thread = thread::adopt(next_id(), process);
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
        .is_some_and(|worker| {
            schedule::post(worker.ticket);
            worker.jobs.send(Box::new(job)).is_ok()
        })
}

/// The threads of a process: their numbers and ids, the oldest first.
pub(super) fn of_process(pid: u64) -> Vec<(u32, u64)> {
    let workers = WORKERS.lock().unwrap_or_else(PoisonError::into_inner);
    let mut threads: Vec<(u32, u64)> = workers
        .iter()
        .flat_map(HashMap::iter)
        .filter(|(_, worker)| worker.pid == pid)
        .map(|(number, worker)| (*number, worker.tid))
        .collect();
    threads.sort_unstable();
    threads
}

/// Whether a thread is doing something.
pub(super) fn is_busy(number: u32) -> bool {
    let workers = WORKERS.lock().unwrap_or_else(PoisonError::into_inner);
    let worker = workers.as_ref().and_then(|workers| workers.get(&number));
    worker.is_some_and(|worker| worker.busy.load(Ordering::Acquire))
}

/// The thread's place in the schedule.
pub(super) fn ticket(number: u32) -> Option<Ticket> {
    let workers = WORKERS.lock().unwrap_or_else(PoisonError::into_inner);
    Some(workers.as_ref()?.get(&number)?.ticket)
}

/// Has every busy thread say where it is, gives them a moment, and ends the machine.
pub(super) fn interrogate() -> ! {
    let workers = WORKERS.lock().unwrap_or_else(PoisonError::into_inner);
    let busy = workers
        .iter()
        .flat_map(HashMap::values)
        .filter(|worker| worker.busy.load(Ordering::Acquire));
    let mut asked = 0;
    for worker in busy {
        // SAFETY: the thread is in the table, so it has not ended, and its id is its own.
        if unsafe { libc::pthread_kill(worker.id, fault::SIGNAL_STUCK) } == 0 {
            asked += 1;
        }
    }
    asked += crate::ntos::worker::interrogate();
    let began = Instant::now();
    while fault::STUCK_TOLD.load(Ordering::Acquire) < asked && began.elapsed() < PATIENCE {
        std::thread::sleep(Duration::from_millis(2));
    }
    crate::fltmgr::report_never_completed();
    verifier::stack_use::judge();
    super::send(&Message::Found(verifier::all()));
    super::exit(super::HOST_FAULT_STATUS)
}

/// Ends a thread once it has done what it was given; false: there is no such thread.
pub(super) fn end(number: u32) -> bool {
    let mut workers = WORKERS.lock().unwrap_or_else(PoisonError::into_inner);
    workers
        .as_mut()
        .and_then(|workers| workers.remove(&number))
        .is_some()
}
