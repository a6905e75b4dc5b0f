//! System worker threads: what work items run on.
//!
//! They are threads of the system process with ordinary stacks, started when the first item is queued. There are a
//! few, so that an item that waits for another one does not wait for ever.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::sync::{Arc, Condvar, Mutex, Once, PoisonError};

use super::MACHINE;
use crate::cpu::{fault, pcr};
use crate::thread::{self, Process};
use crate::wire::StackKind;
use crate::{schedule, stack, verifier};

/// How many there are; Windows starts more as they are needed.
const WORKERS: u64 = 4;
/// The first worker's thread id: below those that the machine gives out.
const FIRST_TID: u64 = 0x40;
const HOST_STACK: usize = 16 << 20;

type Job = Box<dyn FnOnce() + Send>;

static QUEUE: Mutex<VecDeque<Job>> = Mutex::new(VecDeque::new());
static MORE: Condvar = Condvar::new();

/// Has a worker do something.
pub(crate) fn queue(job: impl FnOnce() + Send + 'static) {
    start();
    QUEUE
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push_back(Box::new(job));
    MORE.notify_one();
}

fn start() {
    static STARTED: Once = Once::new();
    STARTED.call_once(|| {
        let Some(machine) = MACHINE.get() else { return };
        for index in 0..WORKERS {
            let process = Arc::clone(&machine.system);
            spawn("worker", FIRST_TID + index * 4, process, work);
        }
    });
}

/// Starts a thread of the system process that never ends.
pub(super) fn spawn(
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
            let queue = QUEUE.lock().unwrap_or_else(PoisonError::into_inner);
            let mut queue = queue;
            while queue.is_empty() {
                queue = schedule::wait(&MORE, &QUEUE, queue, None);
            }
            queue.pop_front()
        };
        if let Some(job) = job {
            stack::system_thread(job);
            schedule::progressed();
        }
    }
}
