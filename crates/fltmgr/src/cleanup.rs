//! A cleanup, as its callback sees it.

use core::{marker::PhantomData, ptr::NonNull};

use fltmgr_sys::{
    FLT_CALLBACK_DATA, FLT_FILE_NAME_OPENED, FLT_FILE_NAME_QUERY_DEFAULT, FLT_RELATED_OBJECTS,
};

use crate::{ContextRef, FileName, Minifilter, NtStatus, context};

/// A cleanup that is passing the filter `F`, for the time of a callback.
pub struct Cleanup<'a, F> {
    data: NonNull<FLT_CALLBACK_DATA>,
    objects: &'a FLT_RELATED_OBJECTS,
    filter: PhantomData<fn() -> F>,
}

impl<'a, F: Minifilter> Cleanup<'a, F> {
    /// # Safety
    ///
    /// Both are what the Filter Manager passed to a callback of an `IRP_MJ_CLEANUP` of the filter that registered `F`, and
    /// `'a` does not outlive that callback.
    pub(crate) unsafe fn new(
        data: *mut FLT_CALLBACK_DATA,
        objects: *const FLT_RELATED_OBJECTS,
    ) -> Self {
        Self {
            // SAFETY: the Filter Manager passes no NULL.
            data: unsafe { NonNull::new_unchecked(data) },
            // SAFETY: valid, and not changed, until the callback returns.
            objects: unsafe { &*objects },
            filter: PhantomData,
        }
    }

    /// The name that the file was opened by. <= `APC_LEVEL`.
    ///
    /// # Errors
    ///
    /// What `FltGetFileNameInformation` returned.
    pub fn opened_name(&self) -> Result<FileName<'a>, NtStatus> {
        FileName::query(
            self.data,
            FLT_FILE_NAME_OPENED | FLT_FILE_NAME_QUERY_DEFAULT,
        )
    }

    /// What the filter keeps with the instance; `None` while it is torn down. <= `APC_LEVEL`.
    #[must_use]
    pub fn instance_context(&self) -> Option<ContextRef<F::Instance>> {
        // SAFETY: the Filter Manager calls the callbacks of `F` for instances of the filter that registered `F`.
        unsafe { context::get::<F>(self.objects.Instance) }
    }
}
