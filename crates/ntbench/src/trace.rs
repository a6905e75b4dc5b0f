//! The machine's bounded memory of what happened.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::verifier::stack_use;
use crate::wire::{CallbackEvent, Trace, TraceEvent};
use crate::{stack, thread};

const DEFAULT_CAPACITY: usize = 65_536;

struct Ring {
    events: VecDeque<TraceEvent>,
    capacity: usize,
    dropped: u64,
}

static RING: Mutex<Ring> = Mutex::new(Ring {
    events: VecDeque::new(),
    capacity: DEFAULT_CAPACITY,
    dropped: 0,
});
static CALLBACKS: AtomicU64 = AtomicU64::new(1);
/// How many want it quiet.
static QUIET: AtomicU32 = AtomicU32::new(0);

/// Whether callbacks that come by the million are left out: a fuzzer runs.
pub(crate) fn quiet() -> bool {
    QUIET.load(Ordering::Relaxed) != 0
}

/// The quiet, while one of these lives.
pub(crate) struct Quiet(());

impl Quiet {
    /// Begins it.
    pub(crate) fn begin() -> Self {
        QUIET.fetch_add(1, Ordering::Relaxed);
        Self(())
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        QUIET.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Sets how many events are kept.
pub(crate) fn set_capacity(capacity: Option<usize>) {
    RING.lock().unwrap_or_else(PoisonError::into_inner).capacity =
        capacity.unwrap_or(DEFAULT_CAPACITY).max(1);
}

/// Adds an event, dropping the oldest when there is no room.
pub(crate) fn push(event: TraceEvent) {
    let mut ring = RING.lock().unwrap_or_else(PoisonError::into_inner);
    while ring.events.len() >= ring.capacity {
        ring.events.pop_front();
        ring.dropped += 1;
    }
    ring.events.push_back(event);
}

/// A line of debug output.
pub(crate) fn print(text: impl Into<String>) {
    push(TraceEvent::DbgPrint {
        tid: thread::try_current().map_or(0, |thread| thread.tid),
        text: text.into(),
    });
}

/// A callback that runs.
#[must_use]
pub(crate) struct Running {
    id: u64,
    key: stack_use::Key,
    measure: stack::Measure,
}

/// Records that a filter's callback is about to be called. The caller fills in filter, phase, operation, path and
/// nest; the thread and its stack are added here.
pub(crate) fn callback(mut event: CallbackEvent) -> Running {
    let id = CALLBACKS.fetch_add(1, Ordering::Relaxed);
    let limits = stack::limits();
    event.id = id;
    event.tid = thread::current().tid;
    event.remaining = stack::remaining();
    event.segment_low = limits.low;
    event.segment_high = limits.high;
    let key = stack_use::Key {
        driver: event.filter.clone(),
        phase: event.phase.clone(),
        operation: event.operation.clone(),
    };
    push(TraceEvent::Callback(event));
    Running {
        id,
        key,
        measure: stack::Measure::begin(),
    }
}

impl Running {
    /// Records what the callback returned, and how much stack it used.
    pub(crate) fn returned(self, value: u64) {
        let used = self.measure.end();
        {
            let mut ring = RING.lock().unwrap_or_else(PoisonError::into_inner);
            let found = ring.events.iter_mut().rev().find_map(|event| match event {
                TraceEvent::Callback(event) if event.id == self.id => Some(event),
                _ => None,
            });
            if let Some(event) = found {
                event.returned = Some(value);
                event.lowest_sp = used.lowest;
                event.elsewhere = used.elsewhere;
            }
        }
        stack_use::note(self.key, &used);
    }
}

/// Takes all events.
pub(crate) fn take() -> Trace {
    let mut ring = RING.lock().unwrap_or_else(PoisonError::into_inner);
    Trace {
        events: std::mem::take(&mut ring.events).into(),
        dropped: std::mem::take(&mut ring.dropped),
    }
}
