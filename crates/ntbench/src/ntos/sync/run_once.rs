//! One-time initialisation (`RTL_RUN_ONCE`): a word in the driver's memory, whose two lowest bits say how far it is.

use std::sync::atomic::Ordering;

use super::{change, place, quad};
use crate::gate;
use crate::ntos::irql;
use crate::ntos::memory::Guest;
use crate::status::NtStatus;
use crate::thread::APC_LEVEL;

const NOT_YET: u64 = 0;
const UNDER_WAY: u64 = 1;
const DONE: u64 = 2;
const STATE: u64 = 3;
/// `RTL_RUN_ONCE_CHECK_ONLY`, `…_ASYNC`, `…_INIT_FAILED`.
const CHECK_ONLY: u32 = 1;
const ASYNC: u32 = 2;
const INIT_FAILED: u32 = 4;

/// `STATUS_SUCCESS`: done, and the context was told; `STATUS_PENDING`: the caller is to do it.
fn begin(once: usize, flags: u32, context: Guest<u64>) -> NtStatus {
    irql::at_most("RtlRunOnceBeginInitialize", APC_LEVEL);
    if flags & !(CHECK_ONLY | ASYNC) != 0 || flags == CHECK_ONLY | ASYNC {
        return NtStatus::INVALID_PARAMETER;
    }
    let place = place(once);
    let mut guard = place.lock();
    loop {
        let word = quad(once).load(Ordering::SeqCst);
        match word & STATE {
            DONE => {
                context.write_opt(word & !STATE);
                return NtStatus::SUCCESS;
            }
            _ if flags & CHECK_ONLY != 0 => return NtStatus::UNSUCCESSFUL,
            NOT_YET => {
                // With RTL_RUN_ONCE_ASYNC several may try at the same time, and the first to complete wins.
                let state = if flags & ASYNC == 0 { UNDER_WAY } else { STATE };
                quad(once).store(state, Ordering::SeqCst);
                return NtStatus::PENDING;
            }
            UNDER_WAY if flags & ASYNC != 0 => return NtStatus::INVALID_PARAMETER,
            UNDER_WAY => guard = place.wait(guard),
            _ if flags & ASYNC != 0 => return NtStatus::PENDING,
            _ => return NtStatus::INVALID_PARAMETER,
        }
    }
}

fn complete(once: usize, flags: u32, context: u64) -> NtStatus {
    irql::at_most("RtlRunOnceComplete", APC_LEVEL);
    if flags & !(ASYNC | INIT_FAILED) != 0 || context & STATE != 0 {
        return NtStatus::INVALID_PARAMETER;
    }
    change(once, || {
        let expected = if flags & ASYNC == 0 { UNDER_WAY } else { STATE };
        match quad(once).load(Ordering::SeqCst) & STATE {
            state if state == expected => {}
            DONE if flags & ASYNC != 0 => return NtStatus::OBJECT_NAME_COLLISION,
            _ => return NtStatus::UNSUCCESSFUL,
        }
        let word = if flags & INIT_FAILED != 0 {
            NOT_YET
        } else {
            context | DONE
        };
        quad(once).store(word, Ordering::SeqCst);
        NtStatus::SUCCESS
    })
}

exports! { "ntoskrnl.exe";
    /// Makes one that has not begun.
    fn RtlRunOnceInitialize(once: usize) {
        quad(once).store(NOT_YET, Ordering::SeqCst);
    }

    /// Begins it, or waits for who has begun it.
    fn RtlRunOnceBeginInitialize(once: usize, flags: u32, context: Guest<u64>) -> NtStatus {
        begin(once, flags, context)
    }

    /// Ends it.
    fn RtlRunOnceComplete(once: usize, flags: u32, context: u64) -> NtStatus {
        complete(once, flags, context)
    }

    /// Calls a routine the first time, and waits for it at all others.
    fn RtlRunOnceExecuteOnce(once: usize, routine: usize, parameter: u64, context: Guest<u64>) -> NtStatus {
        let status = begin(once, 0, context);
        if status != NtStatus::PENDING {
            return status;
        }
        let arguments = [once as u64, parameter, context.address() as u64];
        // SAFETY: the driver gave the routine for this; it takes these three.
        let done = unsafe { gate::call_within(routine, &arguments) };
        if done & 0xFFFF_FFFF == 0 {
            complete(once, INIT_FAILED, 0);
            return NtStatus::UNSUCCESSFUL;
        }
        complete(once, 0, context.read_opt().unwrap_or(0))
    }
}
