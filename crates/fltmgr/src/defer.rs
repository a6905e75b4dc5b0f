//! Creates that wait while a system worker thread looks at them.
//!
//! A pre-create callback returns [`crate::PreCreate::Wait`]; the Filter Manager keeps the create until the worker says how
//! it goes on. The steps are those of the documentation: a routine for the case that the create is cancelled
//! (`FltSetCancelCompletion`), then `FltQueueDeferredIoWorkItem`, which also refuses where a wait would not be safe: for
//! paging I/O, inside another file-system request (a top-level IRP), while the instance is torn down. The Filter Manager
//! keeps the instance, and with it the filter, until the worker's routine has returned: an unload waits for it.
//!
//! # Completed once
//!
//! Worker and cancellation may come at the same time, and the Filter Manager synchronises nothing between them. Whoever
//! changes [`Header::turn`] first completes the create; the other does not touch it any more. The worker that wins while
//! the cancel routine is already on its way waits for that routine to leave, since the routine still looks at the memory
//! that the worker is about to free.

use core::{
    mem,
    ptr::{self, NonNull},
    sync::atomic::{AtomicU8, Ordering},
};

use fltmgr_sys::{
    FLT_CALLBACK_DATA, FLT_PREOP_CALLBACK_STATUS, FLT_PREOP_COMPLETE, FLT_PREOP_PENDING,
    FLT_RELATED_OBJECTS, FLTFL_CALLBACK_DATA_IRP_OPERATION, FltAllocateDeferredIoWorkItem,
    FltClearCancelCompletion, FltCompletePendedPreOperation, FltFreeDeferredIoWorkItem,
    FltQueueDeferredIoWorkItem, FltSetCancelCompletion, PFLT_DEFERRED_IO_WORKITEM,
    PFLT_DEFERRED_IO_WORKITEM_ROUTINE,
};
use wdk_sys::{
    _EVENT_TYPE, _KWAIT_REASON, _MODE, _WORK_QUEUE_TYPE, IO_STATUS_BLOCK, KEVENT, PVOID,
    STATUS_CANCELLED,
    ntddk::{KeInitializeEvent, KeSetEvent, KeWaitForSingleObject},
};

use crate::{Create, Minifilter, NtStatus, Tag, Verdict, filter::keep_frame, irql, pool::PoolBox};

const TAG: Tag = Tag::new(b"FmDf");

/// What is to be done with a create that waits.
pub trait Deferred<F: Minifilter>: Send + Sized + 'static {
    /// On a system worker thread, at `PASSIVE_LEVEL`; the opener's thread waits meanwhile.
    fn run(self, create: &Create<'_, F>) -> Verdict;

    /// It could not be made to wait: on the opener's thread and stack, as in the pre-create callback.
    fn refused(self, create: &Create<'_, F>, why: NtStatus) -> Verdict;

    /// The create was cancelled while it waited, and is gone. On whatever thread noticed it, <= `APC_LEVEL`.
    fn cancelled(self);
}

/// A create's wait that is prepared. Dropped, nothing has happened.
pub struct Wait<F: Minifilter> {
    header: NonNull<Header<F>>,
}

/// Whose turn it is to complete the create.
mod turn {
    /// Nobody's yet.
    pub(super) const OPEN: u8 = 0;
    /// The worker's, or that of the callback that could not queue it.
    pub(super) const WORKER: u8 = 1;
    /// The cancel routine's.
    pub(super) const CANCEL: u8 = 2;
}

/// The part of a [`Node`] that does not depend on the work.
#[repr(C)]
struct Header<F: Minifilter> {
    common: Common,
    item: PFLT_DEFERRED_IO_WORKITEM,
    objects: FLT_RELATED_OBJECTS,
    routine: PFLT_DEFERRED_IO_WORKITEM_ROUTINE,
    refuse: unsafe fn(NonNull<Header<F>>, &Create<'_, F>, NtStatus) -> Verdict,
    forget: unsafe fn(NonNull<Header<F>>, Forget),
}

/// What the cancel routine knows of.
#[repr(C)]
struct Common {
    turn: AtomicU8,
    /// Set by a cancel routine that came too late, as the last thing it does.
    left: KEVENT,
}

/// Why a node goes without its work being run.
#[derive(Clone, Copy)]
enum Forget {
    Unused,
    Cancelled,
}

#[repr(C)]
struct Node<F: Minifilter, W> {
    header: Header<F>,
    work: W,
}

/// What trying to take the turn came to.
enum Turn {
    /// The create is the caller's to complete.
    Ours,
    /// It is, and it has been cancelled.
    OursCancelled,
    /// It has been completed and may be gone.
    Gone,
}

impl<F: Minifilter> Wait<F> {
    /// Prepares a wait. <= `APC_LEVEL`.
    ///
    /// # Errors
    ///
    /// The work itself: there is no memory, or the operation is not one that can wait.
    pub(crate) fn prepare<W: Deferred<F>>(create: &Create<'_, F>, work: W) -> Result<Self, W> {
        irql::at_most(irql::APC_LEVEL);
        if create.flags() & FLTFL_CALLBACK_DATA_IRP_OPERATION == 0 {
            return Err(work);
        }
        // SAFETY: no requirements beyond the IRQL.
        let item = unsafe { FltAllocateDeferredIoWorkItem() };
        if item.is_null() {
            return Err(work);
        }
        let header = Header {
            common: Common {
                turn: AtomicU8::new(turn::OPEN),
                left: KEVENT::default(),
            },
            item,
            objects: *create.objects(),
            routine: Some(work_routine::<F, W>),
            refuse: refuse::<F, W>,
            forget: forget::<F, W>,
        };
        match PoolBox::try_new(TAG, Node { header, work }) {
            Ok(mut node) => {
                let event = &raw mut node.header.common.left;
                // SAFETY: the event is in non-paged pool and stays there until the node is freed.
                unsafe {
                    KeInitializeEvent(event, _EVENT_TYPE::NotificationEvent, 0);
                }
                Ok(Self {
                    header: node.into_raw().cast(),
                })
            }
            Err(node) => {
                // SAFETY: the item was allocated above and never queued.
                unsafe { FltFreeDeferredIoWorkItem(item) };
                Err(node.work)
            }
        }
    }

    /// Makes the create wait, and says what the pre-create callback returns.
    #[cold]
    #[inline(never)]
    pub(crate) fn begin(
        self,
        create: &Create<'_, F>,
        context: *mut PVOID,
    ) -> FLT_PREOP_CALLBACK_STATUS {
        let header = self.header;
        mem::forget(self);
        let data = create.data();
        // SAFETY: the callback data are valid during the callback, and this array is the filter's whose callback runs.
        unsafe { (*data.as_ptr()).FilterContext[0] = header.as_ptr().cast() };
        // SAFETY: an IRP operation (checked when the wait was prepared) that is passing this filter.
        let armed = unsafe { FltSetCancelCompletion(data.as_ptr(), Some(cancel)) };
        if let Err(why) = NtStatus::check(armed) {
            return refused(header, create, why, context);
        }
        let (item, routine) = {
            // SAFETY: the node is this function's until the item is queued.
            let header = unsafe { header.as_ref() };
            (header.item, header.routine)
        };
        // SAFETY: item and operation are valid, the item is not queued, and the node is handed to the routine.
        let queued = unsafe {
            FltQueueDeferredIoWorkItem(
                item,
                data.as_ptr(),
                routine,
                _WORK_QUEUE_TYPE::DelayedWorkQueue,
                header.as_ptr().cast(),
            )
        };
        let Err(why) = NtStatus::check(queued) else {
            // The worker may be done with it by now: neither the node nor the create may be touched.
            return FLT_PREOP_PENDING;
        };
        // SAFETY: the item was not queued, so the node is still this function's.
        let common = unsafe { &header.as_ref().common };
        match take(common, data) {
            Turn::Ours => refused(header, create, why, context),
            Turn::OursCancelled => refused(header, create, NtStatus(STATUS_CANCELLED), context),
            Turn::Gone => {
                // The cancel routine has completed it, which is allowed for an operation that this callback pends.
                // SAFETY: the node is this function's, and nobody else's any more.
                unsafe { drop_node(header, Forget::Cancelled) };
                FLT_PREOP_PENDING
            }
        }
    }
}

impl<F: Minifilter> Drop for Wait<F> {
    fn drop(&mut self) {
        // SAFETY: a wait that has not begun owns its node.
        unsafe { drop_node(self.header, Forget::Unused) };
    }
}

/// The create cannot wait: what the work says about that decides.
fn refused<F: Minifilter>(
    header: NonNull<Header<F>>,
    create: &Create<'_, F>,
    why: NtStatus,
    context: *mut PVOID,
) -> FLT_PREOP_CALLBACK_STATUS {
    // SAFETY: the callback data are valid during the callback.
    unsafe { (*create.data().as_ptr()).FilterContext[0] = ptr::null_mut() };
    if why.0 == STATUS_CANCELLED {
        // SAFETY: the node was not queued: it is this function's.
        unsafe { drop_node(header, Forget::Cancelled) };
        create.set_status(why);
        return FLT_PREOP_COMPLETE;
    }
    // SAFETY: a field of a node that is this function's.
    let refuse = unsafe { header.as_ref().refuse };
    // SAFETY: the function belongs to the node, which it consumes.
    let verdict = unsafe { refuse(header, create, why) };
    let (status, number) = verdict.apply(create);
    // SAFETY: the Filter Manager passes a place for one pointer, which it hands on without looking at it.
    unsafe { *context = ptr::without_provenance_mut(number) };
    status
}

/// Takes the turn for the worker.
fn take(common: &Common, data: NonNull<FLT_CALLBACK_DATA>) -> Turn {
    let won = common.turn.compare_exchange(
        turn::OPEN,
        turn::WORKER,
        Ordering::AcqRel,
        Ordering::Acquire,
    );
    if won.is_err() {
        return Turn::Gone;
    }
    // SAFETY: the create has not been completed, since only the winner of the turn completes it.
    let cleared = unsafe { FltClearCancelCompletion(data.as_ptr()) };
    if NtStatus::check(cleared).is_ok() {
        return Turn::Ours;
    }
    // The cancel routine was called, or is just being called: it finds the turn taken, and says when it has left.
    // SAFETY: the event is initialised and in non-paged pool; waiting without a limit is allowed below DISPATCH_LEVEL.
    let _ = unsafe {
        KeWaitForSingleObject(
            (&raw const common.left).cast_mut().cast(),
            _KWAIT_REASON::Executive,
            #[expect(clippy::cast_possible_truncation, reason = "0")]
            {
                _MODE::KernelMode as i8
            },
            0,
            ptr::null_mut(),
        )
    };
    Turn::OursCancelled
}

/// Called by the Filter Manager when a create that waits is cancelled. <= `DISPATCH_LEVEL`.
unsafe extern "C" fn cancel(data: *mut FLT_CALLBACK_DATA) {
    // SAFETY: the create has not been completed: the worker waits for this routine to leave before it does.
    let node = unsafe { (*data).FilterContext[0] };
    // SAFETY: the node begins with a `Header`, and that with a `Common`; it is freed only after this routine has said that
    // it leaves, or after it has won the turn.
    let common = unsafe { &*node.cast::<Common>() };
    let won = common.turn.compare_exchange(
        turn::OPEN,
        turn::CANCEL,
        Ordering::AcqRel,
        Ordering::Acquire,
    );
    if won.is_err() {
        // SAFETY: the event is initialised; nothing of the node is touched after this.
        let _ = unsafe { KeSetEvent((&raw const common.left).cast_mut(), 0, 0) };
        return;
    }
    // The node is the worker's now, which frees it. The create is this routine's.
    let mut block = IO_STATUS_BLOCK::default();
    block.__bindgen_anon_1.Status = STATUS_CANCELLED;
    // SAFETY: the winner of the turn completes the create, and has not done so yet.
    unsafe { (*data).IoStatus = block };
    // SAFETY: as above; a completed operation has no context.
    unsafe { FltCompletePendedPreOperation(data, FLT_PREOP_COMPLETE, ptr::null_mut()) };
    keep_frame();
}

/// What the worker thread runs.
unsafe extern "C" fn work_routine<F: Minifilter, W: Deferred<F>>(
    item: PFLT_DEFERRED_IO_WORKITEM,
    data: *mut FLT_CALLBACK_DATA,
    context: PVOID,
) {
    // SAFETY: the Filter Manager passes the pointers that were queued with the item; neither is NULL.
    let data = unsafe { NonNull::new_unchecked(data) };
    // SAFETY: as above.
    let node: NonNull<Node<F, W>> = unsafe { NonNull::new_unchecked(context.cast()) };
    // SAFETY: the node came from `into_raw` with this tag and type, and the routine is its owner.
    let node = unsafe { PoolBox::from_raw(TAG, node) };
    let turn = take(&node.header.common, data);
    // SAFETY: the routine is the item's owner, and the Filter Manager is done with it.
    unsafe { FltFreeDeferredIoWorkItem(item) };
    let Node { header, work } = node.into_inner();
    match turn {
        Turn::Ours => {
            // SAFETY: the create waits for this routine; the objects are those of its callback, and the Filter Manager
            // keeps the instance until the routine has returned.
            let create = unsafe { Create::new(data.as_ptr(), &raw const header.objects) };
            let (status, number) = work.run(&create).apply(&create);
            complete(data, status, number);
        }
        Turn::OursCancelled => {
            work.cancelled();
            // SAFETY: as above.
            let create = unsafe { Create::<F>::new(data.as_ptr(), &raw const header.objects) };
            create.set_status(NtStatus(STATUS_CANCELLED));
            complete(data, FLT_PREOP_COMPLETE, 0);
        }
        Turn::Gone => work.cancelled(),
    }
}

fn complete(data: NonNull<FLT_CALLBACK_DATA>, status: FLT_PREOP_CALLBACK_STATUS, number: usize) {
    // SAFETY: the create waits, and the winner of the turn completes it, once.
    unsafe {
        FltCompletePendedPreOperation(data.as_ptr(), status, ptr::without_provenance_mut(number));
    };
    keep_frame();
}

/// # Safety
///
/// The header belongs to a node of this type, which is the caller's and is consumed.
unsafe fn refuse<F: Minifilter, W: Deferred<F>>(
    header: NonNull<Header<F>>,
    create: &Create<'_, F>,
    why: NtStatus,
) -> Verdict {
    // SAFETY: the caller vouches for it.
    let node = unsafe { PoolBox::<Node<F, W>>::from_raw(TAG, header.cast()) };
    let Node { header, work } = node.into_inner();
    // SAFETY: the item is not queued.
    unsafe { FltFreeDeferredIoWorkItem(header.item) };
    work.refused(create, why)
}

/// # Safety
///
/// As [`refuse`].
unsafe fn forget<F: Minifilter, W: Deferred<F>>(header: NonNull<Header<F>>, why: Forget) {
    // SAFETY: the caller vouches for it.
    let node = unsafe { PoolBox::<Node<F, W>>::from_raw(TAG, header.cast()) };
    let Node { header, work } = node.into_inner();
    // SAFETY: the item is not queued.
    unsafe { FltFreeDeferredIoWorkItem(header.item) };
    match why {
        Forget::Unused => drop(work),
        Forget::Cancelled => work.cancelled(),
    }
}

/// # Safety
///
/// The node is the caller's, its item is not queued, and it is not used any more.
unsafe fn drop_node<F: Minifilter>(header: NonNull<Header<F>>, why: Forget) {
    // SAFETY: the caller vouches for the node.
    let forget = unsafe { header.as_ref().forget };
    // SAFETY: the function belongs to the node.
    unsafe { forget(header, why) };
}
