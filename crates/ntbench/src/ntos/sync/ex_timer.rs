//! The executive's timers (`EX_TIMER`): allocated by the kernel, each with its routine.
//!
//! `ExAllocateTimer`, `EXT_CALLBACK`. One is a `KDPC` with a `KTIMER` behind it: the routine gets the timer and the context, which is
//! what a deferred routine gets first.

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use super::timer::{self, KeFlushQueuedDpcs, KeInitializeDpc, KeInitializeTimerEx};
use crate::ntos::{driver, irql, pool};
use crate::thread::{APC_LEVEL, DISPATCH_LEVEL};
use crate::{bugcheck, faults, gate, symbols, verifier};

/// A `KDPC`, then a `KTIMER`.
const BYTES: usize = 128;
const TIMER: usize = 64;
const TAG: u32 = u32::from_le_bytes(*b"ExTm");
/// `EX_TIMER_HIGH_RESOLUTION`, `…_NO_WAKE`, `…_NOTIFICATION`.
const ATTRIBUTES: u32 = 4 | 8 | (1 << 31);

/// Timers by their addresses: the driver's service, and where it made it.
static TIMERS: LazyLock<Mutex<HashMap<usize, (String, usize)>>> = LazyLock::new(Mutex::default);

fn lock() -> MutexGuard<'static, HashMap<usize, (String, usize)>> {
    TIMERS.lock().unwrap_or_else(PoisonError::into_inner)
}

fn known(call: &str, timer: usize) {
    if !lock().contains_key(&timer) {
        bugcheck::raise(
            0x3B,
            [0xC000_0005, 0, timer as u64, 0],
            format!("{call} was given {timer:#x}, which is no timer (any more)"),
        );
    }
}

/// Reports the timers that a driver leaves behind.
pub(super) fn report_leaks(service: &str) {
    let mut left = Vec::new();
    lock().retain(|timer, (owner, site)| {
        if owner == service {
            left.push((*timer, *site));
        }
        owner != service
    });
    for (timer, site) in left {
        timer::cancel(timer + TIMER);
        pool::free(timer, None);
        verifier::finding(
            "ex-timer-leak",
            format!(
                "{service} went away with a timer from {}",
                symbols::describe_call(site)
            ),
        );
    }
}

exports! { "ntoskrnl.exe";
    /// Makes a timer; NULL: there is no memory.
    partial "it cannot be waited for"
    fn ExAllocateTimer(routine: usize, context: usize, attributes: u32) -> usize {
        irql::at_most("ExAllocateTimer", DISPATCH_LEVEL);
        if attributes & !ATTRIBUTES != 0 || faults::check("ExAllocateTimer").is_some() {
            return 0;
        }
        let Some(timer) = pool::lend(BYTES, TAG, true) else { return 0 };
        KeInitializeDpc(timer, routine, context);
        KeInitializeTimerEx(timer + TIMER, u32::from(attributes >> 31 == 0));
        let service = driver::calling().map_or_else(String::new, |driver| driver.service.clone());
        let site = gate::call_site().map_or(0, |site| site.return_address);
        lock().insert(timer, (service, site));
        timer
    }

    /// Sets it, once or every so many units of 100 ns; gives whether it was set.
    fn ExSetTimer(timer: usize, due: i64, period: i64, _parameters: usize) -> u8 {
        irql::at_most("ExSetTimer", DISPATCH_LEVEL);
        known("ExSetTimer", timer);
        let milliseconds = u32::try_from((period + 9_999) / 10_000).unwrap_or(0);
        timer::set_timer(timer + TIMER, due, milliseconds, timer, "ExSetTimer")
    }

    /// Cancels it; gives whether it was set.
    fn ExCancelTimer(timer: usize, _parameters: usize) -> u8 {
        irql::at_most("ExCancelTimer", DISPATCH_LEVEL);
        known("ExCancelTimer", timer);
        u8::from(timer::cancel(timer + TIMER))
    }

    /// Deletes it, cancelled where that is asked for; waits for its routine where that is.
    partial "a timer that is set and not cancelled is cancelled all the same; no routine is called after the deletion"
    fn ExDeleteTimer(timer: usize, cancel: u8, wait: u8, _parameters: usize) -> u8 {
        irql::at_most("ExDeleteTimer", if wait == 0 { DISPATCH_LEVEL } else { APC_LEVEL });
        known("ExDeleteTimer", timer);
        if wait != 0 && cancel == 0 {
            verifier::finding("registration", "ExDeleteTimer with Wait and without Cancel: only a cancelled timer can be waited for");
        }
        lock().remove(&timer);
        let was_set = timer::cancel(timer + TIMER);
        KeFlushQueuedDpcs();
        pool::free(timer, None);
        u8::from(was_set)
    }
}
