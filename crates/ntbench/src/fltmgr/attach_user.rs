//! What a program asks of filters' instances: `FilterAttach`, `FilterAttachAtAltitude` and `FilterDetach`, as `fltmc attach` and
//! `fltmc detach` do. They name a filter and a volume where kernel code has pointers, and are for whoever may load drivers.

use std::sync::Arc;

use super::attach;
use super::attach_api::{described_at, find, ready, volume_named};
use super::objects::{self, Filter, Volume};
use crate::abi::flt::FLTFL_INSTANCE_SETUP_MANUAL_ATTACHMENT;
use crate::status::NtStatus;
use crate::thread;
use crate::wire::InstanceCall;

/// The filters that are there, in alphabetical order.
pub(crate) fn filter_names() -> Vec<String> {
    let filters = objects::filters();
    let mut names: Vec<String> = filters
        .iter()
        .map(|filter| filter.service.clone())
        .collect();
    names.sort();
    names
}

/// Attaches or detaches, in the thread that asks.
pub(crate) fn instance_call(call: &InstanceCall) -> NtStatus {
    match call {
        InstanceCall::Attach {
            filter,
            volume,
            instance,
            altitude,
        } => named(filter, volume).and_then(|(filter, volume)| {
            let (name, altitude) = match altitude {
                Some(altitude) => described_at(&filter, instance.clone(), altitude.clone()),
                None => attach::by_hand(&filter, instance.clone())?,
            };
            let setup = FLTFL_INSTANCE_SETUP_MANUAL_ATTACHMENT;
            attach::attach(&filter, &volume, &name, &altitude, setup).map(|_| NtStatus::SUCCESS)
        }),
        InstanceCall::Detach {
            filter,
            volume,
            instance,
        } => named(filter, volume).and_then(|(filter, volume)| {
            find(Some(&filter), &volume, instance.as_deref())
                .map(|instance| attach::detach(&instance))
                .ok_or(NtStatus::FLT_INSTANCE_NOT_FOUND)
        }),
    }
    .unwrap_or_else(|status| status)
}

/// The filter and the volume of those names, if the program may ask for them.
fn named(filter: &str, volume: &str) -> Result<(Arc<Filter>, Arc<Volume>), NtStatus> {
    if !thread::current().process.administrator {
        return Err(NtStatus::PRIVILEGE_NOT_HELD);
    }
    let same = |known: &Arc<Filter>| known.service.eq_ignore_ascii_case(filter);
    let filter = objects::filters()
        .into_iter()
        .find(same)
        .ok_or(NtStatus::FLT_FILTER_NOT_FOUND)?;
    ready(&filter)?;
    let volume = volume_named(volume).ok_or(NtStatus::FLT_VOLUME_NOT_FOUND)?;
    Ok((filter, volume))
}
