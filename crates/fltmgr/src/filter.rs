//! The registration, and the handles of filter and instance.

use core::{
    marker::PhantomData,
    mem::ManuallyDrop,
    ptr::{self, NonNull},
    sync::atomic::{AtomicPtr, Ordering, compiler_fence},
};

use fltmgr_sys::{
    FLT_FILTER, FLT_INSTANCE, FltRegisterFilter, FltStartFiltering, FltUnregisterFilter,
};
use wdk_sys::DRIVER_OBJECT;

use crate::{
    NtStatus,
    registration::{Minifilter, Table},
};

/// A registered minifilter; dropped, it is unregistered.
///
/// Dropping waits until no callback of the filter runs and every reference to it is gone, at `PASSIVE_LEVEL`.
pub struct Filter(NonNull<FLT_FILTER>);

impl Filter {
    /// Registers `F` for the driver. `PASSIVE_LEVEL`, from `DriverEntry`.
    ///
    /// # Errors
    ///
    /// What `FltRegisterFilter` returned. Nothing has to be undone then.
    pub fn register<F: Minifilter>(driver: &mut DRIVER_OBJECT) -> Result<Self, NtStatus> {
        let mut filter = ptr::null_mut();
        // SAFETY: the driver object is the one the system passed to DriverEntry; the registration is a valid static
        // table; the last argument is a writable local.
        let status =
            unsafe { FltRegisterFilter(driver, Table::<F>::registration(), &raw mut filter) };
        NtStatus::check(status)?;
        NonNull::new(filter)
            .map(Self)
            .ok_or(NtStatus::INVALID_PARAMETER)
    }

    /// The filter, for functions that ask for it.
    #[must_use]
    pub const fn as_ref(&self) -> FilterRef<'_> {
        FilterRef(self.0.as_ptr(), PhantomData)
    }
}

impl Drop for Filter {
    fn drop(&mut self) {
        // SAFETY: the filter is registered and this value owns the registration, so it is unregistered once.
        unsafe { FltUnregisterFilter(self.0.as_ptr()) };
        keep_frame();
    }
}

/// Where a driver keeps its filter between `DriverEntry` and unload: a static.
#[repr(transparent)]
pub struct FilterCell(AtomicPtr<FLT_FILTER>);

impl FilterCell {
    /// An empty cell.
    #[must_use]
    pub const fn new() -> Self {
        Self(AtomicPtr::new(ptr::null_mut()))
    }

    /// Keeps the filter and lets it see operations. <= `APC_LEVEL`.
    ///
    /// The filter is kept first, since the unload callback may run as soon as filtering has started.
    ///
    /// # Errors
    ///
    /// What `FltStartFiltering` returned, and the filter, to be unregistered when what depends on it has been undone.
    pub fn start(&self, filter: Filter) -> Result<(), (NtStatus, Filter)> {
        let raw = ManuallyDrop::new(filter).0.as_ptr();
        self.0.store(raw, Ordering::Release);
        // SAFETY: the filter is registered, and has not been started before: only this consumes a `Filter` and starts it.
        let status = unsafe { FltStartFiltering(raw) };
        match NtStatus::check(status) {
            Ok(()) => Ok(()),
            Err(status) => {
                self.0.store(ptr::null_mut(), Ordering::Release);
                // SAFETY: it came from the filter that was passed in, which has not been dropped.
                Err((status, Filter(unsafe { NonNull::new_unchecked(raw) })))
            }
        }
    }

    /// Takes the filter out, to be dropped.
    #[must_use]
    pub fn take(&self) -> Option<Filter> {
        NonNull::new(self.0.swap(ptr::null_mut(), Ordering::AcqRel)).map(Filter)
    }
}

impl Default for FilterCell {
    fn default() -> Self {
        Self::new()
    }
}

/// The filter that a callback belongs to.
#[derive(Clone, Copy)]
pub struct FilterRef<'a>(pub(crate) *mut FLT_FILTER, pub(crate) PhantomData<&'a ()>);

/// The instance that a callback belongs to.
#[derive(Clone, Copy)]
pub struct InstanceRef<'a>(pub(crate) *mut FLT_INSTANCE, pub(crate) PhantomData<&'a ()>);

/// Keeps the call before it from being compiled to a jump: see the crate's documentation on tail calls.
#[inline(always)]
#[expect(
    clippy::inline_always,
    reason = "it has to come after the call in the same function"
)]
pub(crate) fn keep_frame() {
    // SAFETY: one instruction that does nothing. It is not `nomem`, so it cannot be moved before the call.
    unsafe { core::arch::asm!("nop", options(nostack, preserves_flags)) };
    compiler_fence(Ordering::SeqCst);
}
