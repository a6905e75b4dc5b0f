//! Calling a filter: what is checked before, around and after each callback.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::objects::Instance;
use crate::abi::flt::RelatedObjects;
use crate::ntos::file::File;
use crate::ntos::memory::Guest;
use crate::ntos::{Entered, transaction};
use crate::wire::CallbackEvent;
use crate::{gate, thread, trace};

/// What a callback is about, for the trace and for findings.
pub(super) struct About<'a> {
    /// The filter's name.
    pub(super) filter: &'a str,
    /// `pre`, `post`, `setup`, ….
    pub(super) phase: &'static str,
    /// `IRP_MJ_CREATE`, …; empty where there is none.
    pub(super) operation: &'static str,
    /// The path.
    pub(super) path: String,
}

/// The objects around a callback.
pub(super) fn related(instance: &Instance, file: Option<&Arc<File>>) -> Box<RelatedObjects> {
    let transaction = file.map_or(0, |file| file.transaction());
    Box::new(RelatedObjects {
        size: u16::try_from(size_of::<RelatedObjects>()).unwrap_or(0),
        transaction_context: if transaction == 0 {
            0
        } else {
            transaction::DEFAULT_VIEW
        },
        filter: Guest::at(instance.filter.address).0,
        volume: Guest::at(instance.volume.address).0,
        instance: Guest::at(instance.address).0,
        file_object: file.map_or(std::ptr::null_mut(), |file| Guest::at(file.address()).0),
        transaction: Guest::at(transaction).0,
    })
}

/// Calls a routine of a filter; gives what it returned.
pub(super) fn call(about: About<'_>, routine: usize, arguments: &[u64]) -> u64 {
    if trace::quiet() {
        return call_unseen(about.filter, about.phase, routine, arguments);
    }
    let entered = Entered::now();
    let name = if about.operation.is_empty() {
        format!("the {} callback", about.phase)
    } else {
        format!(
            "the {}-operation callback for {} on {}",
            about.phase, about.operation, about.path
        )
    };
    let filter = about.filter.to_owned();
    let event = trace::callback(CallbackEvent {
        filter: filter.clone(),
        phase: about.phase.to_owned(),
        operation: about.operation.to_owned(),
        path: about.path,
        nest: thread::current().creates.load(Ordering::Relaxed),
        ..CallbackEvent::default()
    });
    // SAFETY: the routine is the one that the filter registered for calls with these arguments.
    let returned = unsafe { gate::call(routine, arguments) };
    event.returned(returned & 0xFFFF_FFFF);
    entered.check(&name, &filter);
    returned
}

/// Calls a routine of a filter without a trace of it, where every call counts; gives what it returned.
pub(super) fn call_unseen(
    filter: &str,
    phase: &'static str,
    routine: usize,
    arguments: &[u64],
) -> u64 {
    let entered = Entered::now();
    // SAFETY: the routine is the one that the filter registered for calls with these arguments.
    let returned = unsafe { gate::call(routine, arguments) };
    entered.check(phase, filter);
    returned
}

/// An address as an argument.
pub(super) fn argument<T>(value: &T) -> u64 {
    std::ptr::from_ref(value).expose_provenance() as u64
}
