//! Semaphores.

use std::sync::atomic::Ordering;

use super::{change, order, signal_state, wait, word};
use crate::ntos::irql;
use crate::seh::{self, Exception};
use crate::status::NtStatus;
use crate::thread::DISPATCH_LEVEL;

/// `KSEMAPHORE`: its size, and where its limit is.
const BYTES: usize = 32;
const LIMIT: usize = 24;

exports! { "ntoskrnl.exe";
    /// Initialises a semaphore.
    fn KeInitializeSemaphore(semaphore: usize, count: i32, limit: i32) {
        order::forget(semaphore, BYTES);
        wait::initialise(semaphore, wait::SEMAPHORE, BYTES, count);
        word(semaphore + LIMIT).store(limit, Ordering::SeqCst);
    }

    /// Adds to a semaphore's count; beyond its limit it raises `STATUS_SEMAPHORE_LIMIT_EXCEEDED`. Gives the former state.
    partial "Wait is as FALSE; no priority boost"
    fn KeReleaseSemaphore(semaphore: usize, _increment: i32, adjustment: i32, _wait: u8) -> i32 {
        irql::at_most("KeReleaseSemaphore", DISPATCH_LEVEL);
        wait::check(semaphore, "KeReleaseSemaphore");
        let released = change(semaphore, || {
            let former = signal_state(semaphore).load(Ordering::SeqCst);
            let new = former.checked_add(adjustment)?;
            if adjustment <= 0 || new > word(semaphore + LIMIT).load(Ordering::SeqCst) {
                return None;
            }
            signal_state(semaphore).store(new, Ordering::SeqCst);
            Some(former)
        });
        released.unwrap_or_else(|| {
            seh::raise(Exception::new(NtStatus::SEMAPHORE_LIMIT_EXCEEDED));
            0
        })
    }

    /// A semaphore's count.
    fn KeReadStateSemaphore(semaphore: usize) -> i32 {
        signal_state(semaphore).load(Ordering::SeqCst)
    }
}
