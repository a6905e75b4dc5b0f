//! What a filter keeps with an instance.
//!
//! The Filter Manager counts references to a context and calls back when the last one is gone, which is where the value
//! is dropped. The table of a filter names one type for its instances, and everything that reaches a context is made for
//! a filter's type: no cast is the filter's business.

use core::{
    marker::PhantomData,
    ops::Deref,
    ptr::{self, NonNull},
};

use fltmgr_sys::{
    FLT_CONTEXT_END, FLT_CONTEXT_REGISTRATION, FLT_CONTEXT_TYPE, FLT_INSTANCE_CONTEXT,
    FLT_RELATED_OBJECTS, FLT_SET_CONTEXT_KEEP_IF_EXISTS, FltAllocateContext, FltGetInstanceContext,
    FltReleaseContext, FltSetInstanceContext, PFLT_INSTANCE,
};
use wdk_sys::{_POOL_TYPE, PVOID};

use crate::{Minifilter, NtStatus, Tag, filter::keep_frame, irql, pool::POOL_ALIGNMENT};

const TAG: Tag = Tag::new(b"FmIc");

/// A reference to an instance's context; given back when dropped. <= `DISPATCH_LEVEL`.
pub struct ContextRef<T>(NonNull<T>);

impl<T> Deref for ContextRef<T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: this value holds a reference to the context, which was initialised before anyone could reach it.
        unsafe { self.0.as_ref() }
    }
}

impl<T> Drop for ContextRef<T> {
    fn drop(&mut self) {
        // SAFETY: this value holds one reference, and gives it back once.
        unsafe { FltReleaseContext(self.0.as_ptr().cast()) };
        keep_frame();
    }
}

/// The registration of a filter's contexts: none at all where it keeps nothing.
pub(crate) struct Contexts<F>(PhantomData<F>);

impl<F: Minifilter> Contexts<F> {
    const END: FLT_CONTEXT_REGISTRATION = FLT_CONTEXT_REGISTRATION {
        ContextType: FLT_CONTEXT_END,
        Flags: 0,
        ContextCleanupCallback: None,
        Size: 0,
        PoolTag: 0,
        ContextAllocateCallback: ptr::null(),
        ContextFreeCallback: ptr::null(),
        Reserved1: ptr::null_mut(),
    };
    const TABLE: &'static [FLT_CONTEXT_REGISTRATION; 2] = &[
        FLT_CONTEXT_REGISTRATION {
            ContextType: FLT_INSTANCE_CONTEXT,
            ContextCleanupCallback: Some(clean_up::<F::Instance>),
            Size: size_of::<F::Instance>(),
            PoolTag: TAG.0,
            ..Self::END
        },
        Self::END,
    ];

    pub(crate) const fn registration() -> *const FLT_CONTEXT_REGISTRATION {
        if size_of::<F::Instance>() == 0 {
            ptr::null()
        } else {
            Self::TABLE.as_ptr()
        }
    }
}

unsafe extern "C" fn clean_up<T>(context: PVOID, _kind: FLT_CONTEXT_TYPE) {
    // SAFETY: the context holds a `T`, set before anyone could reach it, and this is its end: the last reference is gone.
    unsafe { context.cast::<T>().drop_in_place() };
}

/// Keeps `value` with the instance that is being set up. `PASSIVE_LEVEL`.
pub(crate) fn keep<F: Minifilter>(
    objects: &FLT_RELATED_OBJECTS,
    value: F::Instance,
) -> Result<(), NtStatus> {
    const { assert!(align_of::<F::Instance>() <= POOL_ALIGNMENT) };
    if size_of::<F::Instance>() == 0 {
        return Ok(());
    }
    irql::at_most(irql::APC_LEVEL);
    let mut context = ptr::null_mut();
    // SAFETY: the filter is registered with this type and size of context; the last argument is a writable local.
    let status = unsafe {
        FltAllocateContext(
            objects.Filter,
            FLT_INSTANCE_CONTEXT,
            size_of::<F::Instance>(),
            _POOL_TYPE::NonPagedPoolNx,
            &raw mut context,
        )
    };
    NtStatus::check(status)?;
    let place =
        NonNull::new(context.cast::<F::Instance>()).ok_or(NtStatus::INSUFFICIENT_RESOURCES)?;
    // SAFETY: the context has room for the value, and nobody else knows of it yet.
    unsafe { place.write(value) };
    // From here on the value is dropped with its last reference, of which this is one.
    let reference = ContextRef(place);
    // SAFETY: the instance is being set up; the context is this filter's; nobody wants an older one back.
    let status = unsafe {
        FltSetInstanceContext(
            objects.Instance,
            FLT_SET_CONTEXT_KEEP_IF_EXISTS,
            reference.0.as_ptr().cast(),
            ptr::null_mut(),
        )
    };
    NtStatus::check(status)
}

/// The context of an instance of `F`; `None` where it has none (any more). <= `APC_LEVEL`.
///
/// # Safety
///
/// The instance is one of the filter that registered `F`, and valid.
pub(crate) unsafe fn get<F: Minifilter>(
    instance: PFLT_INSTANCE,
) -> Option<ContextRef<F::Instance>> {
    if size_of::<F::Instance>() == 0 {
        return None;
    }
    let mut context = ptr::null_mut();
    // SAFETY: the caller vouches for the instance; the last argument is a writable local.
    let status = unsafe { FltGetInstanceContext(instance, &raw mut context) };
    NtStatus::check(status).ok()?;
    NonNull::new(context.cast()).map(ContextRef)
}
