//! Operations that filters or the file system pend: who waits for them, who completes them, and in which thread the rest
//! of their way is gone.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::cancel;
use super::depart::Departed;
use super::flight::{self, Operation};
use crate::abi::flt::PREOP_COMPLETE;
use crate::abi::io::{IRP_MJ_CREATE, IoStatusBlock};
use crate::namespace::oplocks::Go;
use crate::ntos::{irql, worker};
use crate::status::NtStatus;
use crate::thread::{self, DISPATCH_LEVEL, PASSIVE_LEVEL};
use crate::{bugcheck, schedule, verifier};

/// How what was pended was completed.
#[derive(Clone, Copy)]
pub(super) enum Verdict {
    /// By a filter: the callback status, and the completion context; 0: the one that the callback left.
    Callback { status: i32, context: usize },
    /// By the file system: how the operation ended.
    Below(IoStatusBlock),
}

impl Verdict {
    /// A post-operation callback is over.
    pub(super) const POST: Self = Self::Callback {
        status: 0,
        context: 0,
    };
}

/// How far an operation came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// To its end.
    Done,
    /// To a filter that pended it.
    Pended,
    /// To what only the thread that it came in on may do.
    Home,
    /// To its completion, which is another thread's, at this IRQL.
    Raise(u8),
}

/// What is left of an operation's way.
pub(super) trait Resume {
    /// Goes on: after a pended callback was completed so, or where nothing was pended.
    fn resume(&mut self, verdict: Option<Verdict>) -> Step;
}

/// What is left of a pended operation's way.
pub(super) enum Parked {
    /// The operation's thread waits until somebody else has gone it.
    Awaited(*mut (dyn Resume + 'static)),
    /// Nobody waits for it.
    Departed(Box<Departed>),
}

// SAFETY: the thread that parked it touches it no more until it is told that the way is done, or ever, so it is one
// thread's at a time; what it holds is shared between threads otherwise.
unsafe impl Send for Parked {}

/// Leaves an operation that nobody waits for to whoever completes it; gives it back where somebody has.
pub(super) fn park(
    operation: &Operation,
    departed: Box<Departed>,
) -> Option<(Box<Departed>, Verdict)> {
    let mut state = pending(operation);
    if let Some(verdict) = state.verdict.take() {
        return Some((departed, verdict));
    }
    state.parked = Some(Parked::Departed(departed));
    None
}

/// What is known of an operation that a filter pended, or that it will.
#[derive(Default)]
pub(super) struct Pending {
    /// It was completed, and nobody has gone on yet.
    verdict: Option<Verdict>,
    /// It waits to be gone on with.
    parked: Option<Parked>,
    /// How far somebody else went: to the end, or to what is this thread's.
    came: Option<Step>,
}

fn pending(operation: &Operation) -> MutexGuard<'_, Pending> {
    operation
        .pending
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
}

/// Whether an operation was completed that nobody pended; it is forgotten then.
pub(super) fn take_stray_completion(operation: &Operation) -> bool {
    pending(operation).verdict.take().is_some()
}

impl Parked {
    /// What goes on with an operation that is parked, at an IRQL: for another thread, as a device's completion is.
    pub(super) fn continuation(operation: &Arc<Operation>, irql: u8) -> Box<dyn FnOnce() + Send> {
        let operation = Arc::clone(operation);
        Box::new(move || {
            let parked = pending(&operation).parked.take();
            let Some(parked) = parked else { return };
            let thread = thread::current();
            let before = thread.set_irql(irql);
            parked.resume(&operation, None);
            thread.set_irql(before);
        })
    }

    /// Goes on in this thread as far as it may, then tells the operation's own thread, if that waits.
    fn resume(self, operation: &Operation, verdict: Option<Verdict>) {
        let way = match self {
            Self::Awaited(way) => way,
            Self::Departed(departed) => {
                departed.go_on(verdict);
                return;
            }
        };
        let mut verdict = verdict;
        loop {
            // SAFETY: see `wait_for_the_way`: the operation's own thread waits, and nobody else has the pointer.
            let step = unsafe { (*way).resume(verdict) };
            let mut state = pending(operation);
            if step != Step::Pended {
                state.came = Some(step);
                drop(state);
                operation.resumed.notify_all();
                return;
            }
            // A filter pended it; and it may have been completed meanwhile.
            verdict = state.verdict.take();
            if verdict.is_none() {
                state.parked = Some(Self::Awaited(way));
                return;
            }
        }
    }
}

/// Reports what filters have pended and nobody has completed: for a machine that does not answer any more.
pub(crate) fn report_never_completed() {
    for operation in flight::all() {
        let waits = {
            let state = pending(&operation);
            state.parked.is_some() && state.verdict.is_none()
        };
        let Some((instance, routine)) = operation.pender().filter(|_| waits) else {
            continue;
        };
        let _blame = verifier::blame_routine(routine);
        verifier::finding(
            "never-completed",
            format!(
                "{} pended {} on {}, and has not completed it",
                instance.filter.service,
                flight::name_of(operation.major),
                operation.file.full_name()
            ),
        );
    }
}

/// Waits until an operation has gone on: in the thread that completes it, or in this one where it was completed before
/// this one could wait, or at an IRQL at which the rest cannot be done. `helper` is given to another thread once this one
/// waits. Gives how far it came.
pub(super) fn wait_for_the_way<'a>(
    operation: &Operation,
    way: &mut (dyn Resume + 'a),
    helper: Option<Box<dyn FnOnce() + Send>>,
) -> Step {
    let pointer: *mut (dyn Resume + 'a) = &raw mut *way;
    // SAFETY: only the lifetime is changed; this function does not return before whoever took the pointer is done with it.
    let pointer = unsafe {
        std::mem::transmute::<*mut (dyn Resume + 'a), *mut (dyn Resume + 'static)>(pointer)
    };
    let mut helper = helper;
    loop {
        let mut state = pending(operation);
        state.parked = Some(Parked::Awaited(pointer));
        if let Some(helper) = helper.take() {
            worker::queue(helper);
        }
        let mine = |state: &Pending| state.parked.is_some() && state.verdict.is_some();
        while state.came.is_none() && !mine(&state) {
            state = schedule::wait(&operation.resumed, &operation.pending, state, None);
        }
        if let Some(step) = state.came.take() {
            return step;
        }
        state.parked = None;
        let Some(verdict) = state.verdict.take() else {
            continue;
        };
        drop(state);
        // SAFETY: nobody else has the pointer: it was parked, and is not any more.
        let step = unsafe { (*pointer).resume(Some(verdict)) };
        if step != Step::Pended {
            return step;
        }
    }
}

/// Goes on with a pended operation in this thread, if its own thread waits and this one may do the rest.
pub(super) fn complete(data: usize, verdict: Verdict, function: &str) {
    irql::at_most(function, DISPATCH_LEVEL);
    let Some(operation) = flight::at(data) else {
        bugcheck::raise(
            0xF5,
            [0x6D, data as u64, 0, 0],
            format!(
                "{function} on {data:#x}, which is no operation under way: was it completed twice?"
            ),
        )
    };
    cancel::check_cleared(&operation, function);
    if !go_on(&operation, verdict) {
        verifier::finding(
            "completed-twice",
            format!("{function} was called twice for one operation"),
        );
    }
}

/// Has an operation go on: here, if its own thread waits and this one may do the rest, else there. False: somebody else
/// completed it before.
fn go_on(operation: &Operation, verdict: Verdict) -> bool {
    let mut state = pending(operation);
    let here = operation.major != IRP_MJ_CREATE || thread::irql() == PASSIVE_LEVEL;
    if here && let Some(parked) = state.parked.take() {
        drop(state);
        parked.resume(operation, Some(verdict));
        return true;
    }
    if state.verdict.replace(verdict).is_some() {
        return false;
    }
    drop(state);
    operation.resumed.notify_all();
    true
}

/// A wait of an operation in its own thread, until whoever keeps it waiting says how it goes on.
pub(super) struct Wait {
    operation: Arc<Operation>,
    said: Arc<(Mutex<Option<NtStatus>>, Condvar)>,
}

/// The file system lets an operation wait where it is; `cancelled` as in [`Held::new`]. Gives how to end the wait.
pub(super) fn wait_below(
    operation: &Arc<Operation>,
    cancelled: impl FnOnce() + Send + 'static,
) -> Result<(Go, Wait), NtStatus> {
    cancel::arm_below(operation, Box::new(cancelled))?;
    let said = Arc::new((Mutex::new(None), Condvar::new()));
    let told = Arc::clone(&said);
    let go = move |status| {
        *told.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(status);
        told.1.notify_all();
    };
    let operation = Arc::clone(operation);
    Ok((Box::new(go), Wait { operation, said }))
}

impl Wait {
    /// Waits; an error: it was cancelled.
    pub(super) fn wait(self) -> Result<(), NtStatus> {
        let (slot, told) = &*self.said;
        let mut said = slot.lock().unwrap_or_else(PoisonError::into_inner);
        while said.is_none() {
            said = schedule::wait(told, slot, said, None);
        }
        cancel::disarm_below(&self.operation);
        match *said {
            Some(status) if !status.is_success() => Err(status),
            _ => Ok(()),
        }
    }
}

/// An operation that the file system has pended. Whoever has it completes it.
pub(crate) struct Held(Arc<Operation>);

impl Held {
    /// The file system answers `STATUS_PENDING` for an operation and keeps it; `cancelled` takes it from there and
    /// completes it, unless it was completed meanwhile. An error: it is cancelled already.
    pub(super) fn new(
        operation: &Arc<Operation>,
        cancelled: impl FnOnce() + Send + 'static,
    ) -> Result<Self, NtStatus> {
        cancel::arm_below(operation, Box::new(cancelled))?;
        Ok(Self(Arc::clone(operation)))
    }

    /// For an operation that is cancelled already, and ends at once.
    pub(super) fn of(operation: &Arc<Operation>) -> Self {
        Self(Arc::clone(operation))
    }

    /// The same where a function of the Filter Manager's has pended it for a filter, which has put its status already: it is
    /// completed there, as by the filter.
    pub(super) fn complete_for_filter(self) {
        cancel::disarm_below(&self.0);
        let completed = Verdict::Callback {
            status: PREOP_COMPLETE,
            context: 0,
        };
        go_on(&self.0, completed);
    }

    /// Ends its wait; what is left of its way is gone in this thread, if it may be.
    pub(crate) fn complete(self, done: IoStatusBlock) {
        cancel::disarm_below(&self.0);
        go_on(&self.0, Verdict::Below(done));
    }
}

exports! { "fltmgr.sys";
    /// Lets a pended operation go on.
    fn FltCompletePendedPreOperation(data: usize, status: i32, context: usize) {
        complete(data, Verdict::Callback { status, context }, "FltCompletePendedPreOperation");
    }

    /// Lets an operation go on whose post-operation callback asked for more processing.
    fn FltCompletePendedPostOperation(data: usize) {
        complete(data, Verdict::POST, "FltCompletePendedPostOperation");
    }
}
