//! Small services: names of operations, aligned pool, cancelling a filter's own operations, waits that a cancel ends, and
//! the basics of byte-range locks and oplocks that filters keep themselves.

use std::time::Duration;

use super::objects;
use super::{cancel, flight, issue};
use crate::abi::io::major_name;
use crate::ntos::memory::Guest;
use crate::ntos::sync::wait;
use crate::ntos::{irql, object, pool, pool_api, time};
use crate::status::NtStatus;
use crate::thread::{APC_LEVEL, DISPATCH_LEVEL, PASSIVE_LEVEL};
use crate::{faults, schedule};

/// How often a wait looks whether its operation was cancelled.
const GLANCE: Duration = Duration::from_millis(2);

/// Who waits for an operation too does so at PASSIVE_LEVEL.
fn wait_level(function: &str, data: usize) {
    let most = if data == 0 { APC_LEVEL } else { PASSIVE_LEVEL };
    irql::at_most(function, most);
}

/// Waits by `wait`, which is given how long, until that is over, the time is up or the operation is cancelled.
fn cancellable_wait(
    wait: impl Fn(Guest<i64>) -> NtStatus,
    timeout: Guest<i64>,
    data: usize,
) -> NtStatus {
    let operation = flight::at(data);
    let until = timeout.read_opt().map(|timeout| {
        let units = if timeout < 0 {
            -timeout
        } else {
            timeout - time::system_time()
        };
        let units = u64::try_from(units).unwrap_or(0);
        schedule::now() + Duration::from_nanos(units.saturating_mul(100))
    });
    loop {
        let left = until.map(|until| until.saturating_duration_since(schedule::now()));
        let slice = left.map_or(GLANCE, |left| left.min(GLANCE));
        let mut units = -i64::try_from(slice.as_nanos() / 100).unwrap_or(1);
        let status = wait(Guest(&raw mut units));
        if status != NtStatus::TIMEOUT {
            return status;
        }
        if operation
            .as_ref()
            .is_some_and(|operation| cancel::is_requested(operation))
        {
            return NtStatus::CANCELLED;
        }
        if left.is_some_and(|left| left.is_zero()) {
            return NtStatus::TIMEOUT;
        }
    }
}

/// A zero-terminated name that lives for ever, for drivers to read.
fn text(name: &'static str) -> usize {
    use std::collections::HashMap;
    use std::sync::{LazyLock, Mutex, PoisonError};
    static MADE: LazyLock<Mutex<HashMap<&'static str, usize>>> = LazyLock::new(Mutex::default);
    *MADE
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .entry(name)
        .or_insert_with(|| {
            let bytes: Vec<u8> = name.bytes().chain([0]).collect();
            Box::leak(bytes.into_boxed_slice())
                .as_ptr()
                .expose_provenance()
        })
}

exports! { "fltmgr.sys";
    /// The name of a major function.
    fn FltGetIrpName(major: u8) -> usize {
        text(major_name(major))
    }

    /// Pool that is aligned as the volume's device wants transfers without a cache: to a sector, here.
    partial "aligned to a page whatever the device asks for"
    fn FltAllocatePoolAlignedWithTag(instance: usize, pool_type: u32, bytes: usize, tag: u32) -> usize {
        irql::at_most("FltAllocatePoolAlignedWithTag", DISPATCH_LEVEL);
        let _ = objects::instance(instance, "FltAllocatePoolAlignedWithTag");
        if faults::check("FltAllocatePoolAlignedWithTag").is_some() {
            return 0;
        }
        let kind = if pool_type & 1 != 0 { pool::Kind::Paged } else { pool::Kind::NonPaged };
        // A block of a page or more is aligned to one, which is more than any device asks for.
        let block = pool::allocate(bytes.max(0x1000), tag, kind, false).unwrap_or(0);
        pool_api::mark_aligned(block);
        block
    }

    /// Frees it.
    fn FltFreePoolAlignedWithTag(instance: usize, block: usize, tag: u32) {
        irql::at_most("FltFreePoolAlignedWithTag", DISPATCH_LEVEL);
        let _ = objects::instance(instance, "FltFreePoolAlignedWithTag");
        pool_api::forget_aligned(block);
        pool::free(block, Some(tag));
    }

    /// Cancels an operation of the filter's own that is under way.
    fn FltCancelIo(data: usize) -> u8 {
        irql::at_most("FltCancelIo", DISPATCH_LEVEL);
        u8::from(issue::cancel_one(data))
    }

    /// Waits for an object, or until the operation is cancelled.
    fn FltCancellableWaitForSingleObject(object: usize, timeout: Guest<i64>, data: usize) -> NtStatus {
        wait_level("FltCancellableWaitForSingleObject", data);
        match faults::check("FltCancellableWaitForSingleObject") {
            Some(status) => status,
            None => {
                let wait = |slice| wait::KeWaitForSingleObject(object, 0, 0, 0, slice);
                cancellable_wait(wait, timeout, data)
            }
        }
    }

    /// Waits for one of several objects or for all of them, or until the operation is cancelled.
    fn FltCancellableWaitForMultipleObjects(
        count: u32, objects: Guest<usize>, kind: u32, timeout: Guest<i64>, blocks: usize, data: usize,
    ) -> NtStatus {
        wait_level("FltCancellableWaitForMultipleObjects", data);
        match faults::check("FltCancellableWaitForMultipleObjects") {
            Some(status) => status,
            None => {
                let wait = |slice| wait::KeWaitForMultipleObjects(count, objects, kind, 0, 0, 0, slice, blocks);
                cancellable_wait(wait, timeout, data)
            }
        }
    }

    /// Forgets the names that an instance has provided, of one file or of all.
    fn FltPurgeFileNameInformationCache(instance: usize, file: usize) -> NtStatus {
        irql::at_most("FltPurgeFileNameInformationCache", APC_LEVEL);
        let instance = objects::instance(instance, "FltPurgeFileNameInformationCache");
        let files = if file == 0 {
            object::files()
        } else {
            vec![object::file(file, "FltPurgeFileNameInformationCache")]
        };
        for file in files {
            file.forget_names_from(instance.address);
        }
        NtStatus::SUCCESS
    }
}
