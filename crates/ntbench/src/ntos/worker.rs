//! System worker threads: what work items run on.
//!
//! They are threads of the system process with ordinary stacks, started when the first item is queued. There are a
//! few, and more once all of them are busy, so that an item that waits for another one does not wait for ever.
//!
//! What no worker of Windows' does (a device's completion of what a filter does not wait for, the end of a process) has threads apart,
//! one for each that is under way: it must hold up nothing, and nothing it.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::ops::Range;
use std::sync::{Arc, Condvar, LazyLock, Mutex, MutexGuard, PoisonError};

use super::MACHINE;
use crate::cpu::{fault, pcr};
use crate::thread::{self, Process};
use crate::wire::StackKind;
use crate::{schedule, stack, verifier};

/// How many there are at first.
const WORKERS: u64 = 4;
/// How many there are at most: their thread ids end below those that the machine gives out.
const MOST_WORKERS: u64 = 40;
/// The first worker's thread id: below those that the machine gives out.
const FIRST_TID: u64 = 0x40;
/// The same of the threads apart: above what the machine gives out.
const FIRST_TID_APART: u64 = 0x4000_0000;
/// How many of them there are at most.
const MOST_APART: u64 = 4096;
const HOST_STACK: usize = 16 << 20;

type Job = Box<dyn FnOnce() + Send>;

/// Threads, and what they are to do.
struct Pool {
    name: &'static str,
    first_tid: u64,
    /// How many there are at least, and at most.
    range: (u64, u64),
    queue: Mutex<Queue>,
    more: Condvar,
}

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    started: u64,
    busy: u64,
}

static WORK_ITEMS: LazyLock<Pool> =
    LazyLock::new(|| Pool::new("worker", FIRST_TID, (WORKERS, MOST_WORKERS)));
static APART: LazyLock<Pool> =
    LazyLock::new(|| Pool::new("apart", FIRST_TID_APART, (1, MOST_APART)));

/// Has a worker do something.
pub(crate) fn queue(job: impl FnOnce() + Send + 'static) {
    Pool::queue(&WORK_ITEMS, Box::new(job));
}

/// Has a system thread do something that may wait for long.
pub(crate) fn queue_apart(job: impl FnOnce() + Send + 'static) {
    Pool::queue(&APART, Box::new(job));
}

/// How much of both is queued, or under way.
pub(crate) fn under_way() -> u64 {
    [&WORK_ITEMS, &APART]
        .map(|pool| {
            let queue = pool.lock();
            queue.jobs.len() as u64 + queue.busy
        })
        .iter()
        .sum()
}

impl Pool {
    fn new(name: &'static str, first_tid: u64, range: (u64, u64)) -> Self {
        Self {
            name,
            first_tid,
            range,
            queue: Mutex::default(),
            more: Condvar::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn queue(pool: &'static Self, job: Job) {
        let new = {
            let mut queue = pool.lock();
            queue.jobs.push_back(job);
            let (least, most) = pool.range;
            let needed = (queue.busy + queue.jobs.len() as u64).clamp(least, most);
            let from = queue.started;
            queue.started = from.max(needed);
            from..queue.started
        };
        pool.start(new);
        pool.more.notify_one();
    }

    fn start(&'static self, indices: Range<u64>) {
        let Some(machine) = MACHINE.get() else { return };
        for index in indices {
            let process = Arc::clone(&machine.system);
            spawn(self.name, self.first_tid + index * 4, process, || {
                self.work()
            });
        }
    }

    fn work(&'static self) -> Infallible {
        loop {
            let job = {
                let mut queue = self.lock();
                while queue.jobs.is_empty() {
                    queue = schedule::wait(&self.more, &self.queue, queue, None);
                }
                queue.busy += 1;
                queue.jobs.pop_front()
            };
            if let Some(job) = job {
                stack::system_thread(job);
                self.lock().busy -= 1;
                schedule::progressed();
            }
        }
    }
}

/// Starts a thread of the system process that never ends.
pub(crate) fn spawn(
    name: &str,
    tid: u64,
    process: Arc<Process>,
    run: impl FnOnce() -> Infallible + Send + 'static,
) {
    let failed = |error: io::Error| {
        verifier::finding(
            "bench",
            format!("a system thread could not be started: {error}"),
        );
    };
    let ticket = schedule::enlist(false);
    let started = std::thread::Builder::new()
        .name(format!("sim-{name}-{tid:x}"))
        .stack_size(HOST_STACK)
        .spawn(move || {
            schedule::join(ticket);
            match become_one(tid, process) {
                Ok(()) => {
                    // What it finds to do must not depend on how soon the host has started it.
                    schedule::begin_job();
                    match run() {}
                }
                Err(error) => failed(error),
            }
        });
    if let Err(error) = started {
        failed(error);
    }
}

/// The system threads, for [`interrogate`].
static SYSTEM_THREADS: Mutex<Vec<libc::pthread_t>> = Mutex::new(Vec::new());

/// Has every system thread that is in a driver's code say where; gives how many were asked.
pub(crate) fn interrogate() -> usize {
    let threads = SYSTEM_THREADS
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    threads
        .iter()
        // SAFETY: system threads never end, so the id is one's own.
        .filter(|id| unsafe { libc::pthread_kill(**id, fault::SIGNAL_STUCK) } == 0)
        .count()
}

fn become_one(tid: u64, process: Arc<Process>) -> io::Result<()> {
    let thread = thread::adopt(tid, process);
    fault::install_thread()?;
    pcr::install(thread.object)?;
    stack::install(StackKind::Ordinary)?;
    fault::tell_of_drivers_alone();
    // SAFETY: it only tells the calling thread's id.
    let id = unsafe { libc::pthread_self() };
    SYSTEM_THREADS
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push(id);
    Ok(())
}
