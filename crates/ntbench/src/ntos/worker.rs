//! System worker threads: what work items run on.
//!
//! They are threads of the system process with ordinary stacks, started when the first item is queued. There are a
//! few, and more once all of them are busy, so that an item that waits for another one does not wait for ever.

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
const HOST_STACK: usize = 16 << 20;

type Job = Box<dyn FnOnce() + Send>;

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    started: u64,
    busy: u64,
}

static QUEUE: LazyLock<Mutex<Queue>> = LazyLock::new(Mutex::default);
static MORE: Condvar = Condvar::new();

fn lock() -> MutexGuard<'static, Queue> {
    QUEUE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Has a worker do something.
pub(crate) fn queue(job: impl FnOnce() + Send + 'static) {
    let (from, to) = {
        let mut queue = lock();
        queue.jobs.push_back(Box::new(job));
        let needed = (queue.busy + queue.jobs.len() as u64).clamp(WORKERS, MOST_WORKERS);
        let from = queue.started;
        queue.started = from.max(needed);
        (from, queue.started)
    };
    start(from..to);
    MORE.notify_one();
}

fn start(indices: Range<u64>) {
    let Some(machine) = MACHINE.get() else { return };
    for index in indices {
        let process = Arc::clone(&machine.system);
        spawn("worker", FIRST_TID + index * 4, process, work);
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

fn become_one(tid: u64, process: Arc<Process>) -> io::Result<()> {
    let thread = thread::adopt(tid, process);
    fault::install_thread()?;
    pcr::install(thread.object)?;
    stack::install(StackKind::Ordinary)
}

fn work() -> Infallible {
    loop {
        let job = {
            let mut queue = lock();
            while queue.jobs.is_empty() {
                queue = schedule::wait(&MORE, &QUEUE, queue, None);
            }
            queue.busy += 1;
            queue.jobs.pop_front()
        };
        if let Some(job) = job {
            stack::system_thread(job);
            lock().busy -= 1;
            schedule::progressed();
        }
    }
}
