//! The way up: the post-operation callback of one instance.

use super::callback::{self, argument, related};
use super::descent::{Waiting, about, set_current};
use super::flight::{Flight, name_of};
use super::pending::{Step, take_stray_completion};
use crate::abi::flt::{POSTOP_FINISHED_PROCESSING, POSTOP_MORE_PROCESSING_REQUIRED};
use crate::abi::io::IRP_MJ_CREATE;
use crate::verifier;

/// Calls the post-operation callback of one instance; whether it pended the operation.
pub(super) fn after(flight: &Flight, post: &Waiting) -> Step {
    let instance = &post.instance;
    let routine = instance
        .filter
        .operation(flight.operation.major)
        .map_or(0, |operation| operation.post_operation);
    if routine == 0 {
        return Step::Done;
    }
    // "Modifying the parameters for an I/O operation": what a filter changed is not seen by its own post-operation
    // callback, nor by those above: each sees what its pre-operation callback was given.
    flight.set_parameters(post.parameters);
    set_current(flight, Some(instance));
    flight.operation.set_swapped_now(post.swapped);
    let objects = related(instance, flight.operation.shown());
    let succeeded = flight.status().status.is_success();
    let arguments = [flight.data(), argument(&*objects), post.context as u64, 0];
    flight.operation.pended_by(instance, routine);
    let returned = callback::call(about(flight, instance, "post"), routine, &arguments);
    let _blame = verifier::blame_routine(routine);
    let status = i32::from_le_bytes(returned.to_le_bytes()[..4].try_into().unwrap_or_default());
    if status == POSTOP_MORE_PROCESSING_REQUIRED {
        // From here on the operation may be over in another thread: nothing of it is looked at.
        flight.operation.keep(objects);
        return Step::Pended;
    }
    set_current(flight, None);
    let status_now = flight.status().status;
    if flight.operation.major == IRP_MJ_CREATE
        && succeeded
        && !status_now.is_success()
        && flight.operation.file.with_open(|_| ()).is_some()
    {
        verifier::finding(
            "failed-create-not-cancelled",
            format!(
                "the post-create callback of {} turned a success into {status_now} and left the file open",
                instance.filter.service
            ),
        );
    }
    if take_stray_completion(&flight.operation) {
        verifier::finding(
            "completed-not-pended",
            format!(
                "{} completed an operation with FltCompletePendedPostOperation and returned {status} for it",
                instance.filter.service
            ),
        );
    }
    if status != POSTOP_FINISHED_PROCESSING {
        verifier::finding(
            "postop-status",
            format!(
                "the post-operation callback of {} returned {status}, which is not a status for {}",
                instance.filter.service,
                name_of(flight.operation.major)
            ),
        );
    }
    Step::Done
}
