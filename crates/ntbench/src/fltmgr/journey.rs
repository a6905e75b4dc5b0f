//! One operation's way through the instances of a volume: down through the pre-operation callbacks in order of altitude,
//! to the file system, and back up through the post-operation callbacks of those that asked for one.
//!
//! A filter may pend an operation on either way, and the file system may keep it for a while. What is left of the way is then gone in the thread that completes it,
//! while the thread that the operation came in on waits; some of it is that thread's own (`Step::Home`).

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::callback::{self, argument, related};
use super::descent::{self, Before, Call, Waiting};
use super::flight::{Flight, Operation, name_of};
use super::frames::frames;
use super::objects::{self, Instance, Object};
use super::pending::{Parked, Resume, Step, Verdict, wait_for_the_way};
use super::{ascent, below, cancel, mdls};
use crate::abi::flt::FLTFL_CALLBACK_DATA_POST_OPERATION;
use crate::abi::io::{
    IRP_MJ_CLEANUP, IRP_MJ_CLOSE, IRP_MJ_CREATE, IRP_MJ_READ, IRP_MJ_WRITE, IRP_NOCACHE,
    IoStatusBlock,
};
use crate::ntos::MACHINE;
use crate::status::NtStatus;
use crate::thread::{self, DISPATCH_LEVEL, PASSIVE_LEVEL};
use crate::{stack, verifier};

/// What the file system does.
type Below<'a> = Box<dyn FnOnce(&Flight) -> IoStatusBlock + 'a>;

/// An operation on its way.
pub(super) struct Journey<'a> {
    flight: &'a Flight,
    instances: Vec<Arc<Instance>>,
    next: usize,
    /// Who wants to be called on the way up.
    waiting: Vec<Waiting>,
    filtered: bool,
    pended: Option<Pended>,
    below: Option<Below<'a>>,
    up: bool,
    /// Where the way up is another thread's: the IRQL at which it is gone there.
    raise: Option<u8>,
    /// The thread that waits for it, and that has what only one thread may do.
    home: u64,
    /// Whether nobody has to wait for it.
    departs: bool,
    /// Whether a filter completed it on its way down.
    completed: bool,
}

/// Who pended it.
enum Pended {
    Before(Call),
    /// The file system's.
    Below,
    After(Waiting),
}

impl<'a> Journey<'a> {
    /// An operation before its first callback.
    pub(super) fn new(
        flight: &'a Flight,
        instances: Vec<Arc<Instance>>,
        below: impl FnOnce(&Flight) -> IoStatusBlock + 'a,
    ) -> Self {
        let raised = MACHINE
            .get()
            .is_some_and(|machine| machine.raised_completions);
        let transfer = matches!(flight.operation.major, IRP_MJ_READ | IRP_MJ_WRITE);
        Self {
            flight,
            instances,
            next: 0,
            waiting: Vec::new(),
            filtered: false,
            pended: None,
            below: Some(Box::new(below)),
            up: false,
            raise: (raised && transfer && !flight.operation.fast).then_some(DISPATCH_LEVEL),
            home: flight.operation.tid,
            departs: false,
            completed: false,
        }
    }

    /// The same for one that its sender does not wait for: a transfer past the cache is a device's, which completes it.
    pub(super) fn departing(
        flight: &'a Flight,
        instances: Vec<Arc<Instance>>,
        below: impl FnOnce(&Flight) -> IoStatusBlock + 'a,
    ) -> Self {
        let mut journey = Self::new(flight, instances, below);
        let transfer = matches!(flight.operation.major, IRP_MJ_READ | IRP_MJ_WRITE);
        if journey.raise.is_none() && transfer && flight.parameters().irp_flags & IRP_NOCACHE != 0 {
            journey.raise = Some(PASSIVE_LEVEL);
        }
        journey.departs = true;
        journey
    }

    pub(super) fn operation(&self) -> &Arc<Operation> {
        &self.flight.operation
    }

    /// Has this thread do what only one may, from here on.
    pub(super) fn take_home(&mut self) {
        self.home = thread::current().tid;
    }

    /// Whether somebody is to be called in the thread that is its home, which cannot go away then.
    pub(super) fn is_tied(&self) -> bool {
        let tied = |post: &Waiting| post.outstanding.is_none() || self.synchronised();
        self.waiting.iter().any(tied)
    }

    /// Whether a filter completed it on its way down.
    pub(super) fn was_completed(&self) -> bool {
        self.completed
    }

    /// Goes the whole way, in whichever threads it takes.
    pub(super) fn go(&mut self) {
        let operation = Arc::clone(&self.flight.operation);
        let mut step = self.go_on();
        while step != Step::Done {
            if step == Step::Pended {
                cancel::pended(&operation);
            }
            if let Step::Raise(irql) = step {
                // The device's interrupt is another processor's: the rest is done there.
                let raised = Parked::continuation(&operation, irql);
                step = wait_for_the_way(&operation, self, Some(raised));
            } else if step == Step::Home {
                step = self.go_on();
            } else {
                step = wait_for_the_way(&operation, self, None);
            }
        }
    }

    fn at_home(&self) -> bool {
        thread::current().tid == self.home
    }

    /// Whether the Filter Manager itself brings the operation's end back to its thread.
    fn synchronised(&self) -> bool {
        matches!(
            self.flight.operation.major,
            IRP_MJ_CREATE | IRP_MJ_CLEANUP | IRP_MJ_CLOSE
        )
    }

    /// Goes on until the end, or until somebody else has to.
    fn go_on(&mut self) -> Step {
        if !self.up {
            match self.down() {
                Step::Done => self.turn(),
                elsewhere => return elsewhere,
            }
            if let Some(irql) = self.raise.take()
                && (self.departs || !self.waiting.is_empty())
            {
                return Step::Raise(irql);
            }
        }
        self.climb()
    }

    /// The file system, or a filter in its place, has done its part.
    fn turn(&mut self) {
        self.up = true;
        self.flight.operation.after.store(true, Ordering::Release);
        self.flight
            .with_data(|data| data.flags |= FLTFL_CALLBACK_DATA_POST_OPERATION);
    }

    fn down(&mut self) -> Step {
        while let Some(instance) = self.instances.get(self.next).cloned() {
            self.next += 1;
            if !instance.rundown.enter() {
                continue;
            }
            self.filtered = true;
            let around = frames([
                "fltmgr!FltpPassThroughInternal",
                "fltmgr!FltpPerformPreCallbacks",
            ]);
            match stack::with_frames(&around, || descent::before(self.flight, &instance)) {
                Before::Pend(call) => {
                    self.pended = Some(Pended::Before(call));
                    return Step::Pended;
                }
                decided => {
                    if !self.follow(&instance, decided) {
                        self.raise = None;
                        return Step::Done;
                    }
                    self.retarget(&instance);
                }
            }
        }
        if !self.at_home() && self.below.is_some() && below::may_wait(&self.flight.operation.file) {
            // Whoever goes on with it here may be the one that it would wait for; its own thread waits anyway.
            return Step::Home;
        }
        let Some(below) = self.below.take() else {
            return Step::Done;
        };
        let done = if self.filtered {
            let around = frames(["fltmgr!FltpLegacyProcessingAfterPreCallbacksCompleted"]);
            stack::with_frames(&around, || below(self.flight))
        } else {
            below(self.flight)
        };
        if done.status == NtStatus::PENDING {
            self.tell(done.status);
            self.pended = Some(Pended::Below);
            return Step::Pended;
        }
        self.flight.with_data(|data| data.io_status = done);
        let elsewhere = self.departs && self.raise.is_some();
        self.tell(if elsewhere {
            NtStatus::PENDING
        } else {
            done.status
        });
        Step::Done
    }

    /// Tells the filters that asked what the dispatch returned (`FltRequestOperationStatusCallback`), the lowest first.
    fn tell(&self, status: NtStatus) {
        let operation = &self.flight.operation;
        for (instance, routine, context) in operation.take_told().into_iter().rev() {
            let objects = related(&instance, operation.shown());
            let block = Box::new(self.flight.parameters());
            let arguments = [
                argument(&*objects),
                argument(&*block),
                u64::from(status.0.cast_unsigned()),
                context as u64,
            ];
            let about = descent::about(self.flight, &instance, "status");
            callback::call(about, routine, &arguments);
        }
    }

    /// A filter may send an operation on to its instance at the same altitude on another volume ("Modifying the
    /// parameters for an I/O operation"): then the instances below that one come next.
    fn retarget(&mut self, instance: &Arc<Instance>) {
        let address = self.flight.parameters().target_instance.expose_provenance();
        if address == instance.address {
            return;
        }
        let target = match objects::at(address) {
            Some(Object::Instance(target))
                if Arc::ptr_eq(&target.filter, &instance.filter)
                    && target.altitude == instance.altitude =>
            {
                target
            }
            _ => {
                let registered = instance.filter.operation(self.flight.operation.major);
                let routine = registered.map_or(0, |operation| operation.pre_operation);
                let _blame = verifier::blame_routine(routine);
                verifier::finding(
                    "target-instance",
                    format!(
                        "{} changed TargetInstance to {address:#x}, which is no instance of its own at the same \
                         altitude; the operation goes on where it was",
                        instance.filter.service
                    ),
                );
                return;
            }
        };
        let major = self.flight.operation.major;
        let below = |other: &&Arc<Instance>| {
            other.altitude < target.altitude && other.filter.operation(major).is_some()
        };
        self.instances = target
            .volume
            .instances()
            .iter()
            .filter(below)
            .cloned()
            .collect();
        self.next = 0;
    }

    /// Does what a callback decided; false: the operation is completed.
    fn follow(&mut self, instance: &Arc<Instance>, decided: Before) -> bool {
        match decided {
            Before::GoOn | Before::Pend(_) => instance.rundown.leave(),
            Before::CallMe(post) => self.waiting.push(post),
            Before::Complete => {
                instance.rundown.leave();
                self.completed = true;
                return false;
            }
        }
        true
    }

    fn climb(&mut self) -> Step {
        while let Some(post) = self.waiting.pop() {
            let synchronised = post.outstanding.is_none() || self.synchronised();
            if synchronised && !self.at_home() {
                self.waiting.push(post);
                return Step::Home;
            }
            let outstanding = post.outstanding.as_ref();
            if !outstanding.is_none_or(|outstanding| outstanding.is_due(&post.instance)) {
                continue;
            }
            let around = frames([
                "fltmgr!FltpLegacyProcessingAfterPreCallbacksCompleted",
                "fltmgr!FltpPassThroughCompletionWorker",
                "fltmgr!FltpPerformPostCallbacks",
            ]);
            if stack::with_frames(&around, || ascent::after(self.flight, &post)) == Step::Pended {
                self.pended = Some(Pended::After(post));
                return Step::Pended;
            }
            Self::leave(&post);
        }
        Step::Done
    }

    fn leave(post: &Waiting) {
        // What a filter put in the place of a buffer's description goes when the filter has had its callback.
        post.swapped.into_iter().for_each(mdls::free_swapped);
        post.instance.rundown.leave();
    }
}

impl Resume for Journey<'_> {
    fn resume(&mut self, verdict: Option<Verdict>) -> Step {
        match (self.pended.take(), verdict) {
            (None, _) => {}
            (Some(pended), None) => {
                self.pended = Some(pended);
                return Step::Pended;
            }
            (Some(Pended::Below), Some(Verdict::Below(done))) => {
                self.flight.with_data(|data| data.io_status = done);
                self.turn();
            }
            (Some(Pended::Below), Some(Verdict::Callback { .. })) => {
                verifier::finding(
                    "completed-twice",
                    format!(
                        "a pended {} was completed once more after it had gone on to the file system, which has pended it",
                        name_of(self.flight.operation.major)
                    ),
                );
                self.pended = Some(Pended::Below);
                return Step::Pended;
            }
            (Some(pended), Some(Verdict::Below(_))) => {
                // The file system completes what it has pended, once.
                self.pended = Some(pended);
                return Step::Pended;
            }
            (Some(Pended::After(post)), Some(Verdict::Callback { .. })) => Self::leave(&post),
            (Some(Pended::Before(call)), Some(Verdict::Callback { status, context })) => {
                let thread = thread::current();
                // What lower filters open from here is nested in this operation, whose own thread only waits.
                thread.creates.fetch_add(1, Ordering::Relaxed);
                let instance = Arc::clone(&call.instance);
                let context = if context == 0 { call.context } else { context };
                let decided = descent::judge(self.flight, &Call { context, ..call }, status);
                let step = if self.follow(&instance, decided) {
                    self.retarget(&instance);
                    self.go_on()
                } else {
                    // Completed: nothing below sees it.
                    self.instances.truncate(self.next);
                    self.below = None;
                    self.go_on()
                };
                thread.creates.fetch_sub(1, Ordering::Relaxed);
                return step;
            }
        }
        self.go_on()
    }
}
