//! File names, reference-counted by the Filter Manager.

use core::{
    marker::PhantomData,
    ops::Deref,
    ptr::{self, NonNull},
};

use fltmgr_sys::{
    FLT_CALLBACK_DATA, FLT_FILE_NAME_INFORMATION, FltGetFileNameInformation,
    FltReleaseFileNameInformation,
};

use crate::{NtStatus, filter::keep_frame, unicode};

/// A file's whole name, in UTF-16; released when dropped, <= `APC_LEVEL`.
pub struct FileName<'a> {
    information: NonNull<FLT_FILE_NAME_INFORMATION>,
    create: PhantomData<&'a ()>,
}

impl FileName<'_> {
    pub(crate) fn query(data: NonNull<FLT_CALLBACK_DATA>, options: u32) -> Result<Self, NtStatus> {
        let mut information = ptr::null_mut();
        // SAFETY: `data` is an operation that is passing the filter; the last argument is a writable local.
        let status =
            unsafe { FltGetFileNameInformation(data.as_ptr(), options, &raw mut information) };
        NtStatus::check(status)?;
        let information = NonNull::new(information).ok_or(NtStatus::INVALID_PARAMETER)?;
        Ok(Self {
            information,
            create: PhantomData,
        })
    }
}

impl Deref for FileName<'_> {
    type Target = [u16];

    fn deref(&self) -> &[u16] {
        // SAFETY: this value holds a reference to the name information, which is not changed while anyone does.
        let information = unsafe { self.information.as_ref() };
        // SAFETY: the name lies in the same allocation.
        unsafe { unicode::units(&information.Name) }
    }
}

impl Drop for FileName<'_> {
    fn drop(&mut self) {
        // SAFETY: this value holds one reference, and releases it once.
        unsafe { FltReleaseFileNameInformation(self.information.as_ptr()) };
        keep_frame();
    }
}
