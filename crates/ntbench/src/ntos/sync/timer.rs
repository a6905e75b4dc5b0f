//! Timers and deferred procedure calls.
//!
//! One thread of the bench keeps the clock, and one, which plays the processor at `DISPATCH_LEVEL`, runs the DPCs in the order they were
//! queued. Documentation: `TIMER_OR_DPC_INVALID` (0xC7) is what a driver that goes away with one of them under way ends in.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, Once, PoisonError};
use std::time::{Duration, Instant};

use super::{change, order, signal_state, wait};
use crate::ntos::memory::Guest;
use crate::ntos::{MACHINE, driver, irql, time, worker};
use crate::thread::{self, APC_LEVEL, DISPATCH_LEVEL, PASSIVE_LEVEL};
use crate::{bugcheck, gate, machine, schedule, stack};

/// `KTIMER`, and where its due time, DPC and period lie.
const TIMER_BYTES: usize = 64;
const DUE: usize = 24;
const TIMER_DPC: usize = 48;
const PERIOD: usize = 60;
/// `KDPC`: its type, and where the routine, its context and the two arguments lie.
const DPC_BYTES: usize = 64;
const DPC_TYPE: u8 = 0x13;
const ROUTINE: usize = 24;

struct Armed {
    timer: usize,
    due: Instant,
    period: u32,
    dpc: usize,
    owner: Option<String>,
}

#[derive(Clone)]
struct Dpc {
    address: usize,
    arguments: [u64; 2],
    owner: Option<String>,
}

#[derive(Default)]
struct State {
    timers: Vec<Armed>,
    dpcs: VecDeque<Dpc>,
    running: Option<Dpc>,
}

static STATE: Mutex<State> = Mutex::new(State {
    timers: Vec::new(),
    dpcs: VecDeque::new(),
    running: None,
});
/// Whether a timer was ever set or a DPC queued: most machines have none, and free much.
static ANY: AtomicBool = AtomicBool::new(false);
static CLOCK: Condvar = Condvar::new();
static DPC_QUEUED: Condvar = Condvar::new();
static DPC_DONE: Condvar = Condvar::new();

/// The thread that plays the processor has the idle process's zero; drivers see the system's.
const DPC_TID: u64 = 0x3C;
const CLOCK_TID: u64 = 0x38;

fn lock() -> MutexGuard<'static, State> {
    STATE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn start() {
    static STARTED: Once = Once::new();
    STARTED.call_once(|| {
        let Some(machine) = MACHINE.get() else { return };
        worker::spawn("clock", CLOCK_TID, Arc::clone(&machine.system), keep_time);
        worker::spawn("dpc", DPC_TID, Arc::clone(&machine.system), run_dpcs);
    });
}

fn keep_time() -> Infallible {
    let mut state = lock();
    loop {
        let now = schedule::now();
        while let Some(index) = state.timers.iter().position(|armed| armed.due <= now) {
            let mut armed = state.timers.remove(index);
            let (timer, dpc, owner) = (armed.timer, armed.dpc, armed.owner.clone());
            if armed.period != 0 {
                armed.due = now + Duration::from_millis(armed.period.into());
                state.timers.push(armed);
            }
            change(timer, || signal_state(timer).store(1, Ordering::SeqCst));
            if dpc != 0 {
                insert(&mut state, dpc, [0, 0], owner);
            }
        }
        let next = state.timers.iter().map(|armed| armed.due).min();
        state = schedule::wait(&CLOCK, &STATE, state, next);
    }
}

/// Whether a DPC routine runs on this thread.
pub(crate) fn in_dpc() -> bool {
    thread::current().tid == DPC_TID
}

fn run_dpcs() -> Infallible {
    thread::current().set_irql(DISPATCH_LEVEL);
    loop {
        let dpc = {
            let mut state = lock();
            loop {
                if let Some(dpc) = state.dpcs.pop_front() {
                    state.running = Some(dpc.clone());
                    break dpc;
                }
                state = schedule::wait(&DPC_QUEUED, &STATE, state, None);
            }
        };
        let routine = Guest::<usize>::at(dpc.address + ROUTINE).read();
        let context = Guest::<u64>::at(dpc.address + ROUTINE + 8).read();
        let entered = crate::ntos::Entered::now();
        let disabled = irql::apc_disable();
        stack::system_thread(|| {
            let arguments = [
                dpc.address as u64,
                context,
                dpc.arguments[0],
                dpc.arguments[1],
            ];
            // SAFETY: the driver registered that routine with its DPC, and it takes these four arguments.
            unsafe { gate::call(routine, &arguments) };
        });
        if irql::apc_disable() != disabled {
            bugcheck::raise(
                0xC7,
                [4, routine as u64, disabled, irql::apc_disable()],
                "a DPC routine has left the thread that it ran in with another count of regions without APCs",
            );
        }
        entered.check("a DPC routine", dpc.owner.as_deref().unwrap_or("a driver"));
        lock().running = None;
        schedule::progressed();
        DPC_DONE.notify_all();
    }
}

/// Queues a DPC unless it is queued already.
fn insert(state: &mut State, dpc: usize, arguments: [u64; 2], owner: Option<String>) -> bool {
    if state.dpcs.iter().any(|queued| queued.address == dpc) {
        return false;
    }
    ANY.store(true, Ordering::Release);
    state.dpcs.push_back(Dpc {
        address: dpc,
        arguments,
        owner,
    });
    schedule::progressed();
    DPC_QUEUED.notify_one();
    true
}

fn check_dpc(dpc: usize, call: &str) {
    if Guest::<u8>::at(dpc).read() != DPC_TYPE {
        bugcheck::raise(
            0xC7,
            [1, dpc as u64, 0, 0],
            format!("{call} was given {dpc:#x}, which is no initialised DPC"),
        );
    }
}

pub(super) fn set_timer(timer: usize, due: i64, period: u32, dpc: usize, call: &str) -> u8 {
    irql::at_most(call, DISPATCH_LEVEL);
    let kind = Guest::<u8>::at(timer).read();
    if kind != wait::TIMER_NOTIFICATION && kind != wait::TIMER_SYNCHRONIZATION {
        bugcheck::raise(
            0xC7,
            [0, timer as u64, 0, 0],
            format!("{call} was given {timer:#x}, which is no initialised timer"),
        );
    }
    if dpc != 0 {
        check_dpc(dpc, call);
    }
    start();
    let units = if due < 0 {
        -due
    } else {
        due - time::system_time()
    };
    let after = Duration::from_nanos(u64::try_from(units).unwrap_or(0).saturating_mul(100));
    Guest::<i64>::at(timer + DUE).write(time::interrupt_time() + units.max(0));
    Guest::<usize>::at(timer + TIMER_DPC).write(dpc);
    Guest::<u32>::at(timer + PERIOD).write(period);
    let owner = driver::calling().map(|driver| driver.service.clone());
    let mut state = lock();
    let former = disarm(&mut state, timer);
    signal_state(timer).store(0, Ordering::SeqCst);
    ANY.store(true, Ordering::Release);
    state.timers.push(Armed {
        timer,
        due: schedule::now() + after,
        period,
        dpc,
        owner,
    });
    drop(state);
    CLOCK.notify_one();
    former.into()
}

fn disarm(state: &mut State, timer: usize) -> bool {
    let before = state.timers.len();
    state.timers.retain(|armed| armed.timer != timer);
    state.timers.len() != before
}

/// What a driver that goes away has left behind: its timers would run code that is not there any more.
pub(super) fn report_leaks(service: &str) {
    let mut state = lock();
    // A DPC that runs now is at its end in a moment.
    while state
        .running
        .as_ref()
        .is_some_and(|dpc| dpc.owner.as_deref() == Some(service))
    {
        state = schedule::wait(&DPC_DONE, &STATE, state, None);
    }
    let timer = state
        .timers
        .iter()
        .find(|armed| armed.owner.as_deref() == Some(service))
        .map(|armed| armed.timer);
    let dpc = state
        .dpcs
        .iter()
        .find(|dpc| dpc.owner.as_deref() == Some(service))
        .map(|dpc| dpc.address);
    drop(state);
    let image = machine::modules()
        .into_iter()
        .find(|module| module.service == service)
        .map(|module| (module.image.base, module.image.size));
    let (start, end) = image.map_or((0, 0), |(base, size)| (base as u64, (base + size) as u64));
    if let Some(timer) = timer {
        bugcheck::raise(
            0xC7,
            [0, timer as u64, start, end],
            format!(
                "{service} was unloaded with the timer at {timer:#x} still set; KeCancelTimer, and KeFlushQueuedDpcs for its DPC, \
                 before the unload routine returns"
            ),
        );
    }
    if let Some(dpc) = dpc {
        bugcheck::raise(
            0xC7,
            [1, dpc as u64, start, end],
            format!(
                "{service} was unloaded with the DPC at {dpc:#x} still queued; KeFlushQueuedDpcs first"
            ),
        );
    }
}

/// Whether that memory, which is about to be freed, holds a timer that is set or a DPC that is queued.
pub(super) fn in_memory(start: usize, length: usize) -> Option<(u64, usize)> {
    if !ANY.load(Ordering::Acquire) {
        return None;
    }
    let range = start..start + length;
    let state = lock();
    let timer = state
        .timers
        .iter()
        .map(|armed| (0, armed.timer))
        .find(|(_, at)| range.contains(at));
    timer.or_else(|| {
        state
            .dpcs
            .iter()
            .map(|dpc| (1, dpc.address))
            .find(|(_, at)| range.contains(at))
    })
}

fn initialise(timer: usize, kind: u32) {
    Guest::<[u8; TIMER_BYTES]>::at(timer).write([0; TIMER_BYTES]);
    let kind = if kind == 0 {
        wait::TIMER_NOTIFICATION
    } else {
        wait::TIMER_SYNCHRONIZATION
    };
    order::forget(timer, TIMER_BYTES);
    wait::initialise(timer, kind, TIMER_BYTES, 0);
}

/// Cancels a timer; whether it was set.
pub(super) fn cancel(timer: usize) -> bool {
    disarm(&mut lock(), timer)
}

exports! { "ntoskrnl.exe";
    /// Initialises a notification timer.
    fn KeInitializeTimer(timer: usize) {
        initialise(timer, 0);
    }

    /// Initialises a timer.
    fn KeInitializeTimerEx(timer: usize, kind: u32) {
        initialise(timer, kind);
    }

    /// Sets a timer; gives whether it was set.
    fn KeSetTimer(timer: usize, due: i64, dpc: usize) -> u8 {
        set_timer(timer, due, 0, dpc, "KeSetTimer")
    }

    /// Sets a timer that may repeat, every so many milliseconds.
    fn KeSetTimerEx(timer: usize, due: i64, period: u32, dpc: usize) -> u8 {
        set_timer(timer, due, period, dpc, "KeSetTimerEx")
    }

    /// Sets a timer whose lateness is bounded: the bench is never later on purpose.
    fn KeSetCoalescableTimer(timer: usize, due: i64, period: u32, _delay: u32, dpc: usize) -> u8 {
        set_timer(timer, due, period, dpc, "KeSetCoalescableTimer")
    }

    /// Cancels a timer; gives whether it was set. A DPC that it has queued runs all the same.
    fn KeCancelTimer(timer: usize) -> u8 {
        irql::at_most("KeCancelTimer", DISPATCH_LEVEL);
        disarm(&mut lock(), timer).into()
    }

    /// Whether a timer has gone off.
    fn KeReadStateTimer(timer: usize) -> u8 {
        (signal_state(timer).load(Ordering::SeqCst) != 0).into()
    }

    /// Initialises a DPC.
    fn KeInitializeDpc(dpc: usize, routine: usize, context: usize) {
        super::resident(dpc, "a DPC");
        Guest::<[u8; DPC_BYTES]>::at(dpc).write([0; DPC_BYTES]);
        // Medium importance, the second byte, is 1.
        Guest::<[u8; 2]>::at(dpc).write([DPC_TYPE, 1]);
        Guest::<[usize; 2]>::at(dpc + ROUTINE).write([routine, context]);
    }

    /// Queues a DPC; gives whether it was not queued yet.
    fn KeInsertQueueDpc(dpc: usize, first: u64, second: u64) -> u8 {
        check_dpc(dpc, "KeInsertQueueDpc");
        start();
        let owner = driver::calling().map(|driver| driver.service.clone());
        insert(&mut lock(), dpc, [first, second], owner).into()
    }

    /// Takes a DPC out of the queue; gives whether it was in it.
    fn KeRemoveQueueDpc(dpc: usize) -> u8 {
        let mut state = lock();
        let before = state.dpcs.len();
        state.dpcs.retain(|queued| queued.address != dpc);
        (state.dpcs.len() != before).into()
    }

    /// A DPC's importance changes nothing here: one processor runs them in order.
    partial "changes nothing: DPCs run in order"
    fn KeSetImportanceDpc(dpc: usize, importance: u32) {
        check_dpc(dpc, "KeSetImportanceDpc");
        Guest::<u8>::at(dpc + 1).write(importance.to_le_bytes()[0]);
    }

    /// A DPC's processor changes nothing here.
    partial "changes nothing: one processor runs DPCs"
    fn KeSetTargetProcessorDpc(dpc: usize, _number: u8) {
        check_dpc(dpc, "KeSetTargetProcessorDpc");
    }

    /// Waits until every DPC that is queued now has run.
    fn KeFlushQueuedDpcs() {
        irql::at_most("KeFlushQueuedDpcs", PASSIVE_LEVEL);
        let mut state = lock();
        while !state.dpcs.is_empty() || state.running.is_some() {
            state = schedule::wait(&DPC_DONE, &STATE, state, None);
        }
    }

    /// Registers a request for the clock's finer tick: it is as fine as it gets.
    partial "changes nothing: 1 ms always"
    fn ExSetTimerResolution(_desired: u32, _set: u8) -> u32 {
        irql::at_most("ExSetTimerResolution", APC_LEVEL);
        10_000
    }
}
