//! Schedules that a seed decides, so that what one of them brings to light can be had again.
//!
//! On Windows the threads of a machine run at the same time on several processors; which of them comes to a place first is chance. Under a
//! seeded schedule one thread of the machine runs at a time. At each of its *points* (a call out of a driver, the return from one, the
//! beginning of a callback, every wait) the seed says whether another thread runs first, which one, and whether this one is held back for a
//! while. That is an order which several processors could have come to as well, at any IRQL: a thread at `DISPATCH_LEVEL` has a processor
//! of its own, not the machine.
//!
//! The same seed gives the same order, because nothing else has a say: a turn begins only when every other thread is known to wait for one,
//! waits are looked at again only after some other thread has done something, and time is virtual: it goes on by a little with each turn,
//! and to the end of the shortest wait when all wait. What still differs from one run to the next are addresses,
//! but for those of processes and threads: drivers keep things by them.
//!
//! Between two calls of a driver that are no points (plain reads and writes of memory) nothing is switched: a race that needs that is not
//! found in this way.

mod state;

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::wire::{ScheduleConfig, TraceEvent};
use crate::{gate, thread, trace, user};
use state::{Standing, State};

static ON: AtomicBool = AtomicBool::new(false);
static SCHEDULE: Mutex<Option<Schedule>> = Mutex::new(None);
/// What virtual time is added to.
static BASE: LazyLock<Instant> = LazyLock::new(Instant::now);

struct Schedule {
    state: State,
    /// By ticket: where each thread waits for its turn.
    turns: Vec<Arc<Condvar>>,
    /// Who ran last, as drivers know it, and where.
    last: Option<(u64, &'static str)>,
}

thread_local! {
    static TICKET: Cell<Option<usize>> = const { Cell::new(None) };
}

/// A thread's place in the schedule; none where there is no schedule.
#[derive(Clone, Copy)]
pub(crate) struct Ticket(Option<usize>);

fn lock() -> MutexGuard<'static, Option<Schedule>> {
    SCHEDULE.lock().unwrap_or_else(PoisonError::into_inner)
}

#[inline]
fn on() -> bool {
    ON.load(Ordering::Acquire)
}

/// Begins a schedule, before the first thread is started.
pub(crate) fn configure(config: Option<ScheduleConfig>) {
    let Some(config) = config else { return };
    *lock() = Some(Schedule {
        state: State::new(config.seed),
        turns: Vec::new(),
        last: None,
    });
    LazyLock::force(&BASE);
    ON.store(true, Ordering::Release);
    gate::hook();
}

/// Makes a place for a thread that the machine is about to start: one that does what it is asked to (`client`), or one that begins by
/// itself.
pub(crate) fn enlist(client: bool) -> Ticket {
    let mut schedule = lock();
    Ticket(schedule.as_mut().map(|schedule| {
        schedule.turns.push(Arc::default());
        schedule.state.enlist(if client {
            Standing::Outside
        } else {
            Standing::Coming
        })
    }))
}

/// This thread has that place.
pub(crate) fn join(ticket: Ticket) {
    TICKET.set(ticket.0);
}

/// A thread is given something to do, by whoever asks the machine.
pub(crate) fn post(ticket: Ticket) {
    if let (Some(ticket), Some(schedule)) = (ticket.0, lock().as_mut()) {
        let member = &mut schedule.state.members[ticket];
        member.jobs += 1;
        if member.standing == Standing::Outside {
            member.standing = Standing::Coming;
        }
    }
}

/// This thread begins what it was given: once it is its turn.
pub(crate) fn begin_job() {
    if let Some(ticket) = TICKET.get() {
        arrive(ticket);
    }
}

/// This thread has done what it was given.
pub(crate) fn end_job() {
    let Some(ticket) = TICKET.get() else { return };
    if let Some(schedule) = lock().as_mut() {
        let member = &mut schedule.state.members[ticket];
        member.jobs -= 1;
        // What it waits for next is something else, though it may lie where this did.
        member.waited_for = 0;
        member.standing = if member.jobs > 0 {
            Standing::Coming
        } else {
            Standing::Outside
        };
        schedule.state.progressed();
        schedule.decide();
    }
}

/// These threads make calls together from now on: nobody has a turn while one of them is between two calls.
pub(crate) fn together(tickets: &[Ticket]) {
    if let Some(schedule) = lock().as_mut() {
        for ticket in tickets.iter().filter_map(|ticket| ticket.0) {
            schedule.state.members[ticket].together = true;
        }
    }
}

/// A thread makes no more calls together with others.
pub(crate) fn leave(ticket: Ticket) {
    if let (Some(ticket), Some(schedule)) = (ticket.0, lock().as_mut()) {
        schedule.state.members[ticket].together = false;
        schedule.decide();
    }
}

/// This thread has ended, and takes no more turns.
pub(crate) fn gone() {
    let Some(ticket) = TICKET.take() else { return };
    if let Some(schedule) = lock().as_mut() {
        schedule.state.members[ticket].standing = Standing::Gone;
        schedule.state.progressed();
        schedule.decide();
    }
}

/// A place at which another thread may run first.
#[inline]
pub(crate) fn point(at: &'static str) {
    if on() {
        scheduled(at);
    }
}

fn scheduled(at: &'static str) {
    let Some(ticket) = TICKET.get() else { return };
    let mut guard = lock();
    let Some(schedule) = guard.as_mut() else {
        return;
    };
    if schedule.state.members[ticket].standing != Standing::Running {
        drop(guard);
        return arrive(ticket);
    }
    if schedule.state.yields(ticket) {
        schedule.stopped(at);
        schedule.decide();
        drop(take_turn(guard, ticket));
    }
}

/// A thread that has no turn yet waits for its first.
fn arrive(ticket: usize) {
    let mut guard = lock();
    let Some(schedule) = guard.as_mut() else {
        return;
    };
    schedule.state.members[ticket].standing = Standing::Ready;
    schedule.decide();
    drop(take_turn(guard, ticket));
}

/// Waits until this thread runs.
fn take_turn(
    mut guard: MutexGuard<'static, Option<Schedule>>,
    ticket: usize,
) -> MutexGuard<'static, Option<Schedule>> {
    while let Some(schedule) = guard.as_mut() {
        if schedule.state.members[ticket].standing == Standing::Running {
            schedule.started();
            user::enter_process();
            break;
        }
        let turn = Arc::clone(&schedule.turns[ticket]);
        guard = turn.wait(guard).unwrap_or_else(PoisonError::into_inner);
    }
    guard
}

impl Schedule {
    fn decide(&mut self) {
        if let Some(chosen) = self.state.decide() {
            self.turns[chosen].notify_one();
        }
    }

    /// This thread runs no more.
    fn stopped(&mut self, at: &'static str) {
        self.last = thread::try_current().map(|thread| (thread.tid, at));
    }

    /// This thread runs: after another one, that is a switch.
    fn started(&mut self) {
        let Some(thread) = thread::try_current() else {
            return;
        };
        if let Some((from, at)) = self.last.take()
            && from != thread.tid
        {
            trace::push(TraceEvent::Switch {
                tid: from,
                at: at.to_owned(),
                to: thread.tid,
            });
        }
    }
}

/// What others do may be what a thread waits for.
pub(crate) fn progressed() {
    if on()
        && let Some(schedule) = lock().as_mut()
    {
        schedule.state.progressed();
    }
}

/// Lets the others run until one of them has done something, or it is that time. False: there is no schedule, and nothing was waited for.
pub(crate) fn wait_turn(what: usize, until: Option<Instant>) -> bool {
    if !on() {
        return false;
    }
    let Some(ticket) = TICKET.get() else {
        return false;
    };
    let until = until.map(|until| until.saturating_duration_since(*BASE));
    let mut guard = lock();
    let Some(schedule) = guard.as_mut() else {
        return false;
    };
    schedule.state.waits(ticket, what, until);
    schedule.stopped("a wait");
    schedule.decide();
    thread::waiting(|| drop(take_turn(guard, ticket)));
    true
}

/// Waits for a condition that somebody else signals: as [`Condvar::wait`], or until a time, or in turns. May end early.
pub(crate) fn wait<'a, T>(
    changed: &Condvar,
    mutex: &'a Mutex<T>,
    guard: MutexGuard<'a, T>,
    until: Option<Instant>,
) -> MutexGuard<'a, T> {
    if on() && TICKET.get().is_some() {
        drop(guard);
        wait_turn(std::ptr::from_ref(changed).addr(), until);
        return mutex.lock().unwrap_or_else(PoisonError::into_inner);
    }
    let guard = thread::waiting(|| match until {
        None => changed.wait(guard).unwrap_or_else(PoisonError::into_inner),
        Some(until) => {
            let left = until.saturating_duration_since(Instant::now());
            changed
                .wait_timeout(guard, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0
        }
    });
    user::enter_process();
    guard
}

/// A moment later, in a loop that waits for what another thread does.
pub(crate) fn poll(what: usize) {
    if !wait_turn(what, None) {
        std::thread::sleep(Duration::from_micros(50));
    }
}

/// What time it is, for whoever waits until a time: virtual under a schedule.
pub(crate) fn now() -> Instant {
    if !on() {
        return Instant::now();
    }
    let passed = lock().as_ref().map(|schedule| schedule.state.now);
    passed.map_or_else(Instant::now, |passed| *BASE + passed)
}

/// Lets time pass.
pub(crate) fn sleep_until(end: Instant) {
    if on() && TICKET.get().is_some() {
        while now() < end {
            wait_turn(1, Some(end));
        }
    } else {
        std::thread::sleep(end.saturating_duration_since(Instant::now()));
        user::enter_process();
    }
}

/// The virtual time since boot, where time is virtual.
pub(crate) fn virtual_time() -> Option<Duration> {
    if !on() {
        return None;
    }
    lock().as_ref().map(|schedule| schedule.state.now)
}
