//! Mutexes (`KMUTEX`): owned by a thread, taken again by it as often as it likes.

use std::sync::atomic::Ordering;

use super::{about_to_take, change, gave, order, quad, signal_state, took, wait};
use crate::ntos::irql;
use crate::ntos::memory::Guest;
use crate::seh::{self, Exception};
use crate::status::NtStatus;
use crate::thread::{self, DISPATCH_LEVEL};

/// `KMUTANT`: its size, and where the owner and the flag that an owner has APCs disabled are.
const BYTES: usize = 56;
const OWNER: usize = 40;
const APC_DISABLE: usize = 49;

/// Whether the current thread owns it.
pub(super) fn is_mine(mutex: usize) -> bool {
    quad(mutex + OWNER).load(Ordering::SeqCst) == thread::current().object as u64
}

/// Takes it if it is free or the thread's own already. Under its place.
pub(super) fn try_take(mutex: usize) -> bool {
    let state = signal_state(mutex);
    if state.load(Ordering::SeqCst) > 0 {
        about_to_take("mutex", mutex);
        took("mutex", mutex);
        quad(mutex + OWNER).store(thread::current().object as u64, Ordering::SeqCst);
        // A thread that owns a mutex gets no normal kernel APCs.
        thread::current()
            .kernel_apc_disable
            .fetch_add(1, Ordering::Relaxed);
    } else if !is_mine(mutex) {
        return false;
    }
    state.fetch_sub(1, Ordering::SeqCst);
    true
}

exports! { "ntoskrnl.exe";
    /// Initialises a mutex, free.
    fn KeInitializeMutex(mutex: usize, _level: u32) {
        order::forget(mutex, BYTES);
        wait::initialise(mutex, wait::MUTANT, BYTES, 1);
        let list = mutex + 24;
        Guest::<[usize; 2]>::at(list).write([list, list]);
        Guest::<usize>::at(mutex + OWNER).write(0);
        Guest::<u8>::at(mutex + APC_DISABLE).write(1);
    }

    /// Gives a mutex back once; gives its former state, which is 0 when it becomes free.
    partial "Wait is as FALSE"
    fn KeReleaseMutex(mutex: usize, _wait: u8) -> i32 {
        irql::at_most("KeReleaseMutex", DISPATCH_LEVEL);
        if !is_mine(mutex) {
            seh::raise(Exception::new(NtStatus::MUTANT_NOT_OWNED));
            return 0;
        }
        change(mutex, || {
            let former = signal_state(mutex).fetch_add(1, Ordering::SeqCst);
            if former == 0 {
                quad(mutex + OWNER).store(0, Ordering::SeqCst);
                gave("mutex", mutex);
                if thread::current().kernel_apc_disable.fetch_sub(1, Ordering::Relaxed) <= 0 {
                    irql::unbalanced("KeReleaseMutex: the critical region that goes with the mutex was left before it".to_owned());
                }
            }
            former
        })
    }

    /// A mutex's state: 1 is free.
    fn KeReadStateMutex(mutex: usize) -> i32 {
        signal_state(mutex).load(Ordering::SeqCst)
    }
}
