//! How processes and threads come and go, and who is told.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::reply;
use super::requests::{no_thread, on, refused};
use super::worker::{self, Started};
use crate::ntos::sync::wait;
use crate::ntos::{handle, notify};
use crate::wire::{NtStatus, ProcessSpec, Refusal, Reply, ThreadSpec};
use crate::{stack, thread};

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

/// Ends a thread once it has done what it was given. With a process's last thread go its handles and the process.
pub(super) fn end_thread(id: u64, number: u32) {
    on(id, number, move || {
        let process = Arc::clone(&thread::current().process);
        let last = process.threads.load(Ordering::Acquire) == 1;
        stack::system_call(|| {
            notify::ends(last);
            if last {
                handle::close_all(process.pid);
            }
        });
        if last {
            process
                .exit_status
                .store(NtStatus::SUCCESS.0, Ordering::Release);
            wait::signal(process.object);
            worker::forget(&process);
        }
        Reply::Done
    });
    worker::end(number);
}
