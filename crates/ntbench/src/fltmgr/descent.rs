//! The way down: the pre-operation callback of one instance, and what its status comes to.

use std::sync::{Arc, PoisonError};

use super::callback::{self, About, argument, related};
use super::drain::Outstanding;
use super::flight::{Flight, name_of};
use super::inquiries::is_synchronous;
use super::mdls;
use super::objects::Instance;
use super::pending::take_stray_completion;
use crate::abi::base::Ptr;
use crate::abi::flt::{
    FLTFL_CALLBACK_DATA_DIRTY, IoParameterBlock, PREOP_COMPLETE, PREOP_DISALLOW_FASTIO,
    PREOP_PENDING, PREOP_SUCCESS_NO_CALLBACK, PREOP_SUCCESS_WITH_CALLBACK, PREOP_SYNCHRONIZE,
};
use crate::abi::io::{
    IRP_MJ_CLEANUP, IRP_MJ_CLOSE, IRP_MJ_DIRECTORY_CONTROL, IRP_MJ_FILE_SYSTEM_CONTROL,
    IRP_MJ_LOCK_CONTROL, IRP_MJ_READ, IRP_MJ_WRITE, IRP_MN_LOCK, IRP_MN_NOTIFY_CHANGE_DIRECTORY,
    IoStatusBlock,
};
use crate::ntos::memory::Guest;
use crate::status::NtStatus;
use crate::{bugcheck, trace, verifier};

/// A filter that wants to be called when the operation is done.
pub(super) struct Waiting {
    /// Its instance.
    pub(super) instance: Arc<Instance>,
    /// Its completion context.
    pub(super) context: usize,
    /// The parameters as it was given them.
    pub(super) parameters: IoParameterBlock,
    /// The description of a buffer that it put in the place of another's, which is the Filter Manager's to free.
    pub(super) swapped: Option<usize>,
    /// By which a teardown finds it; `None`: it waits for `FLT_PREOP_SYNCHRONIZE`, which cannot be drained.
    pub(super) outstanding: Option<Arc<Outstanding>>,
}

/// A pre-operation callback that was made and has not decided.
pub(super) struct Call {
    /// The instance.
    pub(super) instance: Arc<Instance>,
    /// The completion context that it left.
    pub(super) context: usize,
    /// The parameters as it was given them.
    pub(super) parameters: IoParameterBlock,
}

/// What a pre-operation callback decided.
pub(super) enum Before {
    GoOn,
    CallMe(Waiting),
    Complete,
    Pend(Call),
}

/// What a callback of this operation is about.
pub(super) fn about<'a>(flight: &Flight, instance: &'a Instance, phase: &'static str) -> About<'a> {
    About {
        filter: &instance.filter.service,
        phase,
        operation: name_of(flight.operation.major),
        // Nobody looks at it then.
        path: if trace::quiet() {
            String::new()
        } else {
            flight.operation.file.full_name()
        },
    }
}

/// Notes whose callback is running.
pub(super) fn set_current(flight: &Flight, instance: Option<&Arc<Instance>>) {
    *flight
        .operation
        .instance
        .lock()
        .unwrap_or_else(PoisonError::into_inner) = instance.cloned();
}

/// Calls the pre-operation callback of one instance.
pub(super) fn before(flight: &Flight, instance: &Arc<Instance>) -> Before {
    let pre = instance
        .filter
        .operation(flight.operation.major)
        .map_or(0, |operation| operation.pre_operation);
    let mut parameters = flight.parameters();
    parameters.target_instance = Guest::at(instance.address).0;
    flight.set_parameters(parameters);
    let mut call = Call {
        instance: Arc::clone(instance),
        context: 0,
        parameters,
    };
    if pre == 0 {
        // A filter that registered a post-operation callback alone is called after every operation.
        return judge(flight, &call, PREOP_SUCCESS_WITH_CALLBACK);
    }
    set_current(flight, Some(instance));
    let objects = related(instance, flight.operation.shown());
    let context: Box<Ptr> = Box::new(std::ptr::null_mut());
    let slot = argument(&*context);
    let arguments = [flight.data(), argument(&*objects), slot];
    let returned = callback::call(about(flight, instance, "pre"), pre, &arguments);
    let _blame = verifier::blame_routine(pre);
    let status = i32::from_le_bytes(returned.to_le_bytes()[..4].try_into().unwrap_or_default());
    call.context = Guest::<usize>::at(usize::try_from(slot).unwrap_or(0)).read();
    if status == PREOP_PENDING && flight.operation.fast {
        verifier::finding(
            "pended-fast-io",
            format!(
                "{} returned FLT_PREOP_PENDING for fast I/O, which has no IRP that could wait",
                instance.filter.service
            ),
        );
    }
    if status == PREOP_PENDING {
        flight.operation.pended_by(instance, pre);
        flight.operation.keep(objects);
        return Before::Pend(call);
    }
    if take_stray_completion(&flight.operation) {
        verifier::finding(
            "completed-not-pended",
            format!(
                "{} completed an operation with FltCompletePendedPreOperation and returned {status} for it",
                instance.filter.service
            ),
        );
    }
    judge(flight, &call, status)
}

/// What a callback's status comes to.
pub(super) fn judge(flight: &Flight, call: &Call, status: i32) -> Before {
    let Call {
        instance,
        context,
        parameters,
    } = call;
    let (context, parameters) = (*context, *parameters);
    let changed = take_changes(flight, instance, parameters);
    set_current(flight, None);
    if changed {
        let registered = instance.filter.operation(flight.operation.major);
        let routine = registered.map_or(0, |operation| operation.pre_operation);
        flight.operation.changed_by(instance, routine);
        mdls::check_swap(&instance.filter.service, &parameters, &flight.parameters());
    }
    let swapped = changed
        .then(|| mdls::swapped(&parameters, &flight.parameters()))
        .flatten();
    match status {
        PREOP_SUCCESS_WITH_CALLBACK | PREOP_SYNCHRONIZE => {
            if status == PREOP_SYNCHRONIZE {
                check_synchronized(flight, instance);
            }
            let registered = instance.filter.operation(flight.operation.major);
            if registered.is_none_or(|operation| operation.post_operation == 0) {
                bugcheck::raise(
                    0xF5,
                    [0x66, flight.data(), 0, 0],
                    format!(
                        "{} asked for a post-operation callback for {} but registered none",
                        instance.filter.service,
                        name_of(flight.operation.major)
                    ),
                );
            }
            let operation = &flight.operation;
            let outstanding = (status != PREOP_SYNCHRONIZE).then(|| {
                let (major, file) = (operation.major, &operation.file);
                Outstanding::note(instance, flight.data(), major, file, context)
            });
            Before::CallMe(Waiting {
                instance: Arc::clone(instance),
                context,
                parameters,
                swapped,
                outstanding,
            })
        }
        PREOP_COMPLETE => {
            swapped.into_iter().for_each(mdls::free_swapped);
            check_completed(flight, instance);
            no_context(instance, context, "FLT_PREOP_COMPLETE");
            Before::Complete
        }
        PREOP_DISALLOW_FASTIO if flight.operation.fast => {
            swapped.into_iter().for_each(mdls::free_swapped);
            let refused = IoStatusBlock::new(NtStatus::FLT_DISALLOW_FAST_IO, 0);
            flight.with_data(|data| data.io_status = refused);
            no_context(instance, context, "FLT_PREOP_DISALLOW_FASTIO");
            Before::Complete
        }
        PREOP_SUCCESS_NO_CALLBACK => {
            if let Some(mdl) = swapped {
                flight.operation.swapped_to_the_end(mdl);
            }
            no_context(instance, context, "FLT_PREOP_SUCCESS_NO_CALLBACK");
            Before::GoOn
        }
        other => {
            verifier::finding(
                "preop-status",
                format!(
                    "the pre-operation callback of {} returned {other} for {}, which is not a status for an operation \
                     that is an IRP; it is taken for FLT_PREOP_SUCCESS_NO_CALLBACK",
                    instance.filter.service,
                    name_of(flight.operation.major)
                ),
            );
            Before::GoOn
        }
    }
}

fn no_context(instance: &Instance, context: usize, status: &str) {
    if context != 0 {
        verifier::finding(
            "completion-context",
            format!(
                "the pre-operation callback of {} returned {status} and a completion context, which nobody will ever \
                 get back",
                instance.filter.service
            ),
        );
    }
}

/// The oplock requests that documentation lists as not to be synchronized: level 1, level 2, batch and filter.
const OPLOCK_REQUESTS: [u64; 4] = [0x0009_0000, 0x0009_0004, 0x0009_0008, 0x0009_005C];

/// "Returning FLT_PREOP_SYNCHRONIZE": what may end much later, or in another thread, may not be waited for in this one.
fn check_synchronized(flight: &Flight, instance: &Instance) {
    let block = flight.parameters();
    let what = match (flight.operation.major, block.minor_function) {
        (IRP_MJ_LOCK_CONTROL, IRP_MN_LOCK) => "a request for a byte-range lock",
        (IRP_MJ_DIRECTORY_CONTROL, IRP_MN_NOTIFY_CHANGE_DIRECTORY) => {
            "a notification of changes in a directory"
        }
        (IRP_MJ_FILE_SYSTEM_CONTROL, _) if OPLOCK_REQUESTS.contains(&block.parameters.0[2]) => {
            "a request for an oplock"
        }
        (IRP_MJ_READ | IRP_MJ_WRITE, _)
            if !flight.operation.fast
                && !is_synchronous(usize::try_from(flight.data()).unwrap_or(0)) =>
        {
            "an asynchronous transfer"
        }
        _ => return,
    };
    verifier::finding(
        "cannot-be-synchronized",
        format!(
            "{} returned FLT_PREOP_SYNCHRONIZE for {what}",
            instance.filter.service
        ),
    );
}

fn check_completed(flight: &Flight, instance: &Instance) {
    let status = flight.status().status;
    let major = flight.operation.major;
    if matches!(major, IRP_MJ_CLEANUP | IRP_MJ_CLOSE) && status != NtStatus::SUCCESS {
        verifier::finding(
            "close-not-succeeded",
            format!(
                "{} completed {} with {status}; it can be completed with STATUS_SUCCESS alone",
                instance.filter.service,
                name_of(major)
            ),
        );
    }
    if status == NtStatus::PENDING {
        verifier::finding(
            "completed-with-pending",
            format!(
                "{} completed an operation with STATUS_PENDING, which is no final status",
                instance.filter.service
            ),
        );
    }
}

/// Parameters that a filter changed count only when it said so; gives whether they do.
fn take_changes(flight: &Flight, instance: &Instance, before: IoParameterBlock) -> bool {
    let dirty = flight.with_data(|data| {
        let dirty = data.flags & FLTFL_CALLBACK_DATA_DIRTY != 0;
        data.flags &= !FLTFL_CALLBACK_DATA_DIRTY;
        // A filter may not put another block in the place of this one.
        data.iopb = flight.iopb;
        dirty
    });
    let now = flight.parameters();
    let mut before = before;
    if let Some((slot, mdl)) = flight.operation.lock_of_buffer()
        && before.parameters.0[slot] == 0
    {
        before.parameters.0[slot] = mdl as u64;
    }
    if dirty || bytes(&now) == bytes(&before) {
        return dirty;
    }
    verifier::finding(
        "changed-without-dirty",
        format!(
            "the callback of {} changed the parameters of {} without FltSetCallbackDataDirty; the change is undone, as \
             the Filter Manager does",
            instance.filter.service,
            name_of(flight.operation.major)
        ),
    );
    flight.set_parameters(before);
    false
}

fn bytes(block: &IoParameterBlock) -> [u8; size_of::<IoParameterBlock>()] {
    // SAFETY: the block is plain numbers and pointers with explicit padding: every byte of it is initialised.
    unsafe { std::mem::transmute_copy(block) }
}
