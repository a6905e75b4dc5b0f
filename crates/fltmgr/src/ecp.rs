//! Extra create parameters: what one filter tells another, or itself, with a create.

use core::ptr::{self, NonNull};

use fltmgr_sys::{
    FLT_CALLBACK_DATA, FltAcknowledgeEcp, FltAllocateExtraCreateParameter,
    FltAllocateExtraCreateParameterList, FltFindExtraCreateParameter, FltFreeExtraCreateParameter,
    FltFreeExtraCreateParameterList, FltGetEcpListFromCallbackData, FltInsertExtraCreateParameter,
    FltIsEcpFromUserMode,
};
use wdk_sys::{ECP_LIST, GUID};
use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::{FilterRef, NtStatus, Tag, filter::keep_frame};

/// A plain value that travels with a create.
pub trait ExtraCreateParameter: FromBytes + IntoBytes + Immutable + Copy {
    /// The type by which a receiver finds it: unique to this value's layout.
    const TYPE: GUID;
    /// The pool tag of its memory.
    const TAG: Tag;
}

/// A list of extra create parameters; it and what it holds are freed when it is dropped. <= `APC_LEVEL`.
pub struct EcpList<'a> {
    filter: FilterRef<'a>,
    list: NonNull<ECP_LIST>,
}

impl<'a> EcpList<'a> {
    /// An empty list.
    ///
    /// # Errors
    ///
    /// `STATUS_INSUFFICIENT_RESOURCES`.
    pub fn new(filter: FilterRef<'a>) -> Result<Self, NtStatus> {
        let mut list = ptr::null_mut();
        // SAFETY: the filter is registered for `'a`; no flag asks for quota; the last argument is a writable local.
        let status = unsafe { FltAllocateExtraCreateParameterList(filter.0, 0, &raw mut list) };
        NtStatus::check(status)?;
        let list = NonNull::new(list).ok_or(NtStatus::INSUFFICIENT_RESOURCES)?;
        Ok(Self { filter, list })
    }

    /// Adds a parameter.
    ///
    /// # Errors
    ///
    /// `STATUS_INSUFFICIENT_RESOURCES`, or `STATUS_INVALID_PARAMETER` where the list has one of this type already. The
    /// list is then as it was.
    pub fn insert<T: ExtraCreateParameter>(&mut self, value: T) -> Result<(), NtStatus> {
        const { assert!(size_of::<T>() <= 1024 && align_of::<T>() <= 8) };
        #[expect(clippy::cast_possible_truncation, reason = "asserted to be small")]
        let size = size_of::<T>() as u32;
        let mut context = ptr::null_mut();
        // SAFETY: the filter is registered; the type is a constant; the parameter needs no clean-up; the last argument
        // is a writable local.
        let status = unsafe {
            FltAllocateExtraCreateParameter(
                self.filter.0,
                &T::TYPE,
                size,
                0,
                None,
                T::TAG.0,
                &raw mut context,
            )
        };
        NtStatus::check(status)?;
        // SAFETY: the parameter has room for a `T`, and nobody else knows of it yet.
        unsafe { context.cast::<T>().write_unaligned(value) };
        // SAFETY: list and parameter are this filter's, and the parameter is in no list.
        let status =
            unsafe { FltInsertExtraCreateParameter(self.filter.0, self.list.as_ptr(), context) };
        NtStatus::check(status).inspect_err(|_| {
            // SAFETY: the parameter is in no list, so it is still this function's to free.
            unsafe { FltFreeExtraCreateParameter(self.filter.0, context) };
        })
    }

    pub(crate) const fn as_raw(&self) -> *mut ECP_LIST {
        self.list.as_ptr()
    }
}

impl Drop for EcpList<'_> {
    fn drop(&mut self) {
        // SAFETY: the list is this filter's and in no create any more: opening a file borrows it for the call only.
        unsafe { FltFreeExtraCreateParameterList(self.filter.0, self.list.as_ptr()) };
        keep_frame();
    }
}

/// The parameter of type `T` that came with a create, if it came from kernel mode and has the right size.
pub(crate) fn find<T: ExtraCreateParameter>(
    filter: FilterRef<'_>,
    data: NonNull<FLT_CALLBACK_DATA>,
) -> Option<T> {
    let mut list = ptr::null_mut();
    // SAFETY: `data` is a create that is passing this filter; the last argument is a writable local.
    let status = unsafe { FltGetEcpListFromCallbackData(filter.0, data.as_ptr(), &raw mut list) };
    if NtStatus::check(status).is_err() || list.is_null() {
        return None;
    }
    let (mut context, mut size) = (ptr::null_mut(), 0);
    // SAFETY: the list belongs to the create, which outlives this call; the last two are writable locals.
    let status = unsafe {
        FltFindExtraCreateParameter(filter.0, list, &T::TYPE, &raw mut context, &raw mut size)
    };
    if NtStatus::check(status).is_err() || size as usize != size_of::<T>() {
        return None;
    }
    // A user could claim any depth, and so end inspections.
    // SAFETY: the parameter was found in a list, and stays there for the time of the create.
    if unsafe { FltIsEcpFromUserMode(filter.0, context) } != 0 {
        return None;
    }
    // SAFETY: kernel code put a parameter of this type and of this size there, and every pattern of bytes is a `T`.
    let value = unsafe { context.cast::<T>().read_unaligned() };
    // SAFETY: as above.
    unsafe { FltAcknowledgeEcp(filter.0, context) };
    keep_frame();
    Some(value)
}
