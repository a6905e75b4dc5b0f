//! How processes and threads come and go, and who is told.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use super::reply;
use super::requests::{no_thread, on, refused};
use super::worker::{self, Started};
use crate::fltmgr::{self, port};
use crate::ntos::sync::wait;
use crate::ntos::{handle, notify};
use crate::wire::{NtStatus, ProcessSpec, Refusal, Reply, ThreadSpec};
use crate::{schedule, stack, thread};

/// Starts a thread. Where a driver wants to know, the system's thread is the one that makes it, as the session manager is.
pub(super) fn start_thread(id: u64, spec: ThreadSpec) {
    if notify::listening() {
        let make = move || stack::system_thread(|| announce(id, worker::start_thread(&spec)));
        worker::post(worker::SYSTEM, make);
        return;
    }
    let started = worker::start_thread(&spec);
    let told = started.map(|started| Reply::Thread(started.info));
    reply(id, told.unwrap_or_else(|error| refused(error.to_string())));
}

/// Starts a process from one of another process's threads.
pub(super) fn start_process(id: u64, thread: u32, spec: ProcessSpec) {
    let make = move || stack::system_call(|| announce(id, worker::start_process(&spec)));
    if !worker::post(thread, make) {
        reply(id, no_thread(thread));
    }
}

/// In the thread that has made another: tells drivers, and lets the new thread tell them and answer.
fn announce(id: u64, started: std::io::Result<Started>) {
    let Started {
        info,
        process,
        first,
    } = match started {
        Ok(started) => started,
        Err(error) => return reply(id, refused(error.to_string())),
    };
    let number = info.thread;
    if let Err(status) = notify::created(&process, info.tid, first) {
        notify::discarded(&process);
        process.exit_status.store(status.0, Ordering::Release);
        worker::forget(&process);
        worker::end(number);
        let image = process.image.clone();
        return reply(id, Reply::Refused(Refusal::Process { image, status }));
    }
    worker::post(number, move || {
        stack::system_thread(|| notify::begins(first));
        reply(id, Reply::Thread(info));
    });
}

/// Ends a thread once it has done what it was given.
pub(super) fn end_thread(id: u64, number: u32) {
    on(id, number, || {
        ends(NtStatus::SUCCESS);
        Reply::Done
    });
    worker::end(number);
}

/// In a thread that ends: with a process's last thread go its handles and the process.
fn ends(status: NtStatus) {
    let process = Arc::clone(&thread::current().process);
    let last = process.threads.load(Ordering::Acquire) == 1;
    stack::system_call(|| {
        notify::ends(last);
        if last {
            handle::close_all(process.pid);
            port::close_all(process.pid);
        }
    });
    if last {
        process.exit_status.store(status.0, Ordering::Release);
        wait::signal(process.object);
        worker::forget(&process);
    }
}

/// How often whoever ends a process looks whether its threads have come back.
const GLANCE: Duration = Duration::from_millis(1);

/// Ends a process: what its threads wait for is cancelled, they end, and with the last one go its handles.
pub(super) fn end_process(pid: u64) -> Reply {
    if terminate(pid, NtStatus::SUCCESS) {
        Reply::Done
    } else {
        refused(format!("there is no process {pid:#x} with threads"))
    }
}

/// The same with a status of its own; false: it has no threads.
pub(crate) fn terminate(pid: u64, status: NtStatus) -> bool {
    let threads = worker::of_process(pid);
    let any = !threads.is_empty();
    for (number, tid) in threads {
        while worker::is_busy(number) {
            fltmgr::cancel(tid);
            port::wake_process(pid);
            schedule::sleep_until(schedule::now() + GLANCE);
        }
        let gone = Arc::new((Mutex::new(false), Condvar::new()));
        let told = Arc::clone(&gone);
        worker::post(number, move || {
            ends(status);
            *told.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
            told.1.notify_all();
        });
        let (slot, condition) = &*gone;
        let mut over = slot.lock().unwrap_or_else(PoisonError::into_inner);
        while !*over {
            over = schedule::wait(condition, slot, over, None);
        }
        drop(over);
        worker::end(number);
        // Whether the next one is the last is asked when this one has left.
        while thread::all().iter().any(|thread| thread.tid == tid) {
            schedule::sleep_until(schedule::now() + GLANCE);
        }
    }
    any
}
