//! Operations whose sender does not wait for them: a filter's own asynchronous I/O.
//!
//! Such an operation goes down in its sender's thread and on its stack, as every other does. Where a filter or the file
//! system pends it, the sender gets `STATUS_PENDING` and goes its own way, and whoever completes the operation goes on with
//! it. A transfer past the cache always ends elsewhere, as a disk's does.
//!
//! A filter that returned `FLT_PREOP_SYNCHRONIZE` has its thread wait all the same: then nothing is left of being asynchronous
//! below it ("FLT_PREOP_SYNCHRONIZE" in the page of `PFLT_PRE_OPERATION_CALLBACK`).

use std::sync::Arc;

use super::flight::{Flight, Operation};
use super::frames::frames;
use super::journey::Journey;
use super::objects::Instance;
use super::pending::{Parked, Resume, Step, Verdict, park, wait_for_the_way};
use super::{cancel, op, operation};
use crate::abi::flt::IoParameterBlock;
use crate::abi::io::IoStatusBlock;
use crate::ntos::file::File;
use crate::ntos::worker;
use crate::stack;
use crate::status::NtStatus;

/// What is sent.
pub(super) struct Sent<'a> {
    /// The file.
    pub(super) file: &'a Arc<File>,
    /// What is asked of it.
    pub(super) block: IoParameterBlock,
    /// `FLTFL_CALLBACK_DATA_…` beside those that every operation has.
    pub(super) data_flags: u32,
    /// Whether user mode asked for it.
    pub(super) user: bool,
    /// The instance below which it starts; `None`: at the top.
    pub(super) below: Option<&'a Arc<Instance>>,
    /// The callback data whose extension goes with it; 0: none.
    pub(super) origin: usize,
}

/// What is told of the end.
type Told = Box<dyn FnOnce(IoStatusBlock, IoParameterBlock) + Send>;

/// An operation that nobody waits for.
pub(super) struct Departed {
    /// Its way; `None`: it is over.
    journey: Option<Journey<'static>>,
    /// What the way refers to; this one's to free.
    flight: *mut Flight,
    told: Option<Told>,
}

impl Drop for Departed {
    fn drop(&mut self) {
        self.journey = None;
        // SAFETY: it is what `send` made, and the way that referred to it is gone.
        drop(unsafe { Box::from_raw(self.flight) });
    }
}

/// Sends an operation; `told` is called with what came of it, in the thread in which it ends.
///
/// Gives `STATUS_PENDING` where that is yet to come, `STATUS_FLT_IO_COMPLETE` where a filter completed it, else how it ended.
pub(super) fn send(
    sent: &Sent<'_>,
    told: impl FnOnce(IoStatusBlock, IoParameterBlock) + Send + 'static,
) -> NtStatus {
    let mut operation = Operation::new(sent.file, sent.block.major_function, sent.user, 0);
    // It is no business of the thread's: neither what cancels the thread's I/O nor its end touches it.
    operation.tid = 0;
    operation.origin = sent.origin;
    let flight = Box::into_raw(Box::new(Flight::new(
        operation,
        sent.block,
        sent.data_flags,
    )));
    // SAFETY: freed in `Departed::drop`, behind the last use of what refers to it.
    let shared: &'static Flight = unsafe { &*flight };
    if sent.origin != 0 {
        shared.extend(sent.origin);
    }
    shared.leave_thread();
    let instances = operation::participants(shared, sent.below);
    let departed = Box::new(Departed {
        journey: Some(Journey::departing(shared, instances, op::dispatch)),
        flight,
        told: Some(Box::new(told)),
    });
    stack::with_frames(&frames(["fltmgr!FltpDispatch"]), || departed.go_on(None))
}

impl Departed {
    /// Goes on in this thread as far as it may.
    pub(super) fn go_on(mut self: Box<Self>, verdict: Option<Verdict>) -> NtStatus {
        let Some(journey) = self.journey.as_mut() else {
            return NtStatus::SUCCESS;
        };
        let operation = Arc::clone(journey.operation());
        journey.take_home();
        let mut step = journey.resume(verdict);
        loop {
            if step == Step::Pended {
                cancel::pended(&operation);
            }
            let helper = match step {
                Step::Done => return self.over(),
                Step::Raise(irql) => Some(Parked::continuation(&operation, irql)),
                Step::Pended | Step::Home => None,
            };
            let Some(journey) = self.journey.as_mut() else {
                return NtStatus::SUCCESS;
            };
            step = if step == Step::Home {
                journey.resume(None)
            } else if journey.is_tied() {
                wait_for_the_way(&operation, journey, helper)
            } else if let Some(helper) = helper {
                // Nobody was asked to complete it here: a completion that came all the same counts for nothing.
                while let Some((back, _)) = park(&operation, self) {
                    self = back;
                }
                worker::queue_apart(helper);
                return NtStatus::PENDING;
            } else {
                match park(&operation, self) {
                    None => return NtStatus::PENDING,
                    Some((back, verdict)) => {
                        self = back;
                        let Some(journey) = self.journey.as_mut() else {
                            return NtStatus::SUCCESS;
                        };
                        journey.resume(Some(verdict))
                    }
                }
            };
        }
    }

    /// It has ended.
    fn over(mut self: Box<Self>) -> NtStatus {
        // SAFETY: it lives until this value is dropped.
        let flight = unsafe { &*self.flight };
        let (done, block) = (flight.status(), flight.parameters());
        let filtered = self.journey.as_ref().is_some_and(Journey::was_completed);
        let told = self.told.take();
        // The filter may send the same callback data again from its routine.
        drop(self);
        if let Some(told) = told {
            told(done, block);
        }
        if filtered {
            NtStatus::FLT_IO_COMPLETE
        } else {
            done.status
        }
    }
}
