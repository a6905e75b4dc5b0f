//! Work of a filter's own for a system worker thread.

use core::{
    marker::PhantomData,
    ptr::NonNull,
    sync::atomic::{AtomicBool, AtomicPtr, Ordering},
};

use fltmgr_sys::{
    FLT_GENERIC_WORKITEM, FltAllocateGenericWorkItem, FltFreeGenericWorkItem,
    FltQueueGenericWorkItem, PFLT_GENERIC_WORKITEM,
};
use wdk_sys::{_WORK_QUEUE_TYPE, PVOID};

use crate::{FilterRef, NtStatus, filter::keep_frame, irql};

/// One thing that a worker thread does whenever it is asked to: a static.
///
/// Asked while it waits for a worker, it is done once; asked while it runs, it is done once more. It allocates when it is
/// set up and not when it is asked for, so asking fails only while the filter goes. The Filter Manager keeps the filter
/// while it is queued or running.
pub struct Task {
    item: AtomicPtr<FLT_GENERIC_WORKITEM>,
    queued: AtomicBool,
    work: fn(FilterRef<'_>),
}

impl Task {
    /// A task that is not set up. `work` runs at `PASSIVE_LEVEL`.
    #[must_use]
    pub const fn new(work: fn(FilterRef<'_>)) -> Self {
        Self {
            item: AtomicPtr::new(core::ptr::null_mut()),
            queued: AtomicBool::new(false),
            work,
        }
    }

    /// Allocates what it needs. <= `DISPATCH_LEVEL`.
    ///
    /// # Errors
    ///
    /// `STATUS_INSUFFICIENT_RESOURCES`.
    pub fn set_up(&'static self) -> Result<ReadyTask, NtStatus> {
        // SAFETY: no requirements beyond the IRQL.
        let item = unsafe { FltAllocateGenericWorkItem() };
        if item.is_null() {
            return Err(NtStatus::INSUFFICIENT_RESOURCES);
        }
        self.queued.store(false, Ordering::Relaxed);
        self.item.store(item, Ordering::Release);
        Ok(ReadyTask(self))
    }

    /// Asks for it. Where it is not set up, or the filter goes, nothing happens. <= `DISPATCH_LEVEL`.
    pub fn ask(&'static self, filter: FilterRef<'_>) {
        irql::at_most(irql::DISPATCH_LEVEL);
        let item = self.item.load(Ordering::Acquire);
        if item.is_null() || self.queued.swap(true, Ordering::AcqRel) {
            return;
        }
        // SAFETY: the item is allocated, and not queued: whoever changed the flag queues it. The filter is registered,
        // and the context is a static.
        let status = unsafe {
            FltQueueGenericWorkItem(
                item,
                filter.0.cast(),
                Some(run),
                _WORK_QUEUE_TYPE::DelayedWorkQueue,
                core::ptr::from_ref(self).cast_mut().cast(),
            )
        };
        if NtStatus::check(status).is_err() {
            self.queued.store(false, Ordering::Release);
        }
    }
}

/// A task that is set up; dropped, it can be asked for no more.
///
/// To be dropped after the filter is unregistered: then it is neither queued nor running.
pub struct ReadyTask(&'static Task);

impl Drop for ReadyTask {
    fn drop(&mut self) {
        let item = self.0.item.swap(core::ptr::null_mut(), Ordering::AcqRel);
        if let Some(item) = NonNull::new(item) {
            // SAFETY: allocated by `set_up`, and freed once.
            unsafe { FltFreeGenericWorkItem(item.as_ptr()) };
            keep_frame();
        }
    }
}

unsafe extern "C" fn run(_item: PFLT_GENERIC_WORKITEM, filter: PVOID, context: PVOID) {
    // SAFETY: the context is the static task that was queued.
    let task = unsafe { &*context.cast::<Task>() };
    // Before the work: what is asked for from here on is not covered by it. The Filter Manager lets a routine's item be
    // queued again while the routine runs.
    task.queued.store(false, Ordering::Release);
    (task.work)(FilterRef(filter.cast(), PhantomData));
}
