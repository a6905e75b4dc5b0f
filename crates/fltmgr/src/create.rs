//! A create, as its callbacks see it.

use core::{marker::PhantomData, ptr::NonNull};

use fltmgr_sys::{
    FLT_CALLBACK_DATA, FLT_FILE_NAME_OPENED, FLT_FILE_NAME_QUERY_DEFAULT, FLT_IO_PARAMETER_BLOCK,
    FLT_PARAMETERS_CREATE, FLT_RELATED_OBJECTS,
};
use wdk_sys::{
    DEVICE_OBJECT, FILE_OBJECT, FILE_OPEN_BY_FILE_ID, FO_VOLUME_OPEN, SL_OPEN_PAGING_FILE,
};

use crate::{ExtraCreateParameter, FileName, FilterRef, InstanceRef, NtStatus, ecp, unicode};

/// A create that is passing the filter, for the time of a callback.
pub struct Create<'a> {
    data: NonNull<FLT_CALLBACK_DATA>,
    objects: &'a FLT_RELATED_OBJECTS,
    borrowed: PhantomData<&'a FLT_CALLBACK_DATA>,
}

impl<'a> Create<'a> {
    /// # Safety
    ///
    /// Both are what the Filter Manager passed to a callback of an `IRP_MJ_CREATE`, and `'a` does not outlive that
    /// callback.
    #[inline]
    pub(crate) unsafe fn new(
        data: *mut FLT_CALLBACK_DATA,
        objects: *const FLT_RELATED_OBJECTS,
    ) -> Self {
        Self {
            // SAFETY: the Filter Manager passes no NULL.
            data: unsafe { NonNull::new_unchecked(data) },
            // SAFETY: valid, and not changed, until the callback returns.
            objects: unsafe { &*objects },
            borrowed: PhantomData,
        }
    }

    /// The filter that was called.
    #[must_use]
    #[inline]
    pub const fn filter(&self) -> FilterRef<'a> {
        FilterRef(self.objects.Filter, PhantomData)
    }

    /// The instance that was called.
    #[must_use]
    #[inline]
    pub const fn instance(&self) -> InstanceRef<'a> {
        InstanceRef(self.objects.Instance, PhantomData)
    }

    /// Whether the system opens a paging file: nothing that may page or allocate much has a place there.
    #[must_use]
    #[inline]
    pub fn opens_paging_file(&self) -> bool {
        u32::from(self.block().OperationFlags) & SL_OPEN_PAGING_FILE != 0
    }

    /// Whether the volume itself is opened: there is no path then.
    #[must_use]
    #[inline]
    pub fn opens_volume(&self) -> bool {
        let file = self.file_object();
        file.Flags & FO_VOLUME_OPEN != 0
            || (file.FileName.Length == 0 && file.RelatedFileObject.is_null())
    }

    /// Whether the file is named by its identifier and not by a path.
    #[must_use]
    #[inline]
    pub fn opens_by_id(&self) -> bool {
        self.parameters().Options & FILE_OPEN_BY_FILE_ID != 0
    }

    /// The opened name, from the cache or from the file system. <= `APC_LEVEL`.
    ///
    /// # Errors
    ///
    /// What `FltGetFileNameInformation` returned; `STATUS_FLT_INVALID_NAME_REQUEST` among them, where it is not safe to
    /// ask the file system: inside a paging operation, or with all APCs disabled, or where a top-level IRP is set.
    pub fn opened_name(&self) -> Result<FileName<'a>, NtStatus> {
        FileName::query(
            self.data,
            FLT_FILE_NAME_OPENED | FLT_FILE_NAME_QUERY_DEFAULT,
        )
    }

    /// The name as the opener gave it, relative to another file or to the volume. Pre-create only.
    #[must_use]
    pub fn given_name(&self) -> &[u16] {
        // SAFETY: the name of a file object is valid until the create has reached the file system, and `self` is not
        // outlived.
        unsafe { unicode::units(&self.file_object().FileName) }
    }

    /// The extra create parameter of type `T` that came with the create from kernel mode, marked as used.
    /// <= `APC_LEVEL`.
    #[must_use]
    pub fn extra_parameter<T: ExtraCreateParameter>(&self) -> Option<T> {
        ecp::find(self.filter(), self.data)
    }

    /// What the create came to. Post-create only.
    #[must_use]
    #[inline]
    pub fn status(&self) -> NtStatus {
        // SAFETY: the callback data are valid for `'a`.
        let block = unsafe { (*self.data.as_ptr()).IoStatus };
        // SAFETY: the status is the arm of this union that holds once an operation has completed; before that it is
        // still a number.
        NtStatus(unsafe { block.__bindgen_anon_1.Status })
    }

    /// The device that the create is sent to; for comparison.
    #[must_use]
    #[inline]
    pub fn device(&self) -> *const DEVICE_OBJECT {
        self.file_object().DeviceObject
    }

    #[inline]
    fn file_object(&self) -> &'a FILE_OBJECT {
        // SAFETY: a create has a file object, valid for the time of the callback.
        unsafe { &*self.objects.FileObject }
    }

    #[inline]
    fn block(&self) -> &FLT_IO_PARAMETER_BLOCK {
        // SAFETY: the callback data are valid for `'a`.
        let block = unsafe { (*self.data.as_ptr()).Iopb };
        // SAFETY: as long as they are, so is the parameter block, and nobody changes it during this callback.
        unsafe { &*block }
    }

    #[inline]
    fn parameters(&self) -> &FLT_PARAMETERS_CREATE {
        // SAFETY: the callback is registered for IRP_MJ_CREATE only, and Create is that function's arm.
        unsafe { &self.block().Parameters.Create }
    }
}
