//! A create, as its callbacks see it.

use core::{marker::PhantomData, ptr::NonNull};

use fltmgr_sys::{
    FLT_CALLBACK_DATA, FLT_FILE_NAME_OPENED, FLT_FILE_NAME_QUERY_DEFAULT, FLT_IO_PARAMETER_BLOCK,
    FLT_PARAMETERS_CREATE, FLT_RELATED_OBJECTS, FltGetRequestorProcess,
};
use wdk_sys::{
    DEVICE_OBJECT, FILE_OBJECT, FILE_OPEN_BY_FILE_ID, FO_VOLUME_OPEN, IO_STATUS_BLOCK, PEPROCESS,
    SL_OPEN_PAGING_FILE,
};

use crate::{
    ContextRef, Deferred, ExtraCreateParameter, FileName, FilterRef, InstanceRef, Minifilter,
    NtStatus, Wait, context, ecp, unicode,
};

/// A create that is passing the filter `F`, for the time of a callback.
pub struct Create<'a, F> {
    data: NonNull<FLT_CALLBACK_DATA>,
    objects: &'a FLT_RELATED_OBJECTS,
    borrowed: PhantomData<&'a FLT_CALLBACK_DATA>,
    filter: PhantomData<fn() -> F>,
}

impl<'a, F: Minifilter> Create<'a, F> {
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
            filter: PhantomData,
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

    /// What the filter keeps with the instance; `None` while it is torn down. <= `APC_LEVEL`.
    #[must_use]
    pub fn instance_context(&self) -> Option<ContextRef<F::Instance>> {
        // SAFETY: the Filter Manager calls the callbacks of `F` for instances of the filter that registered `F`.
        unsafe { context::get::<F>(self.objects.Instance) }
    }

    /// Prepares to let the create wait while a worker thread looks at it, see [`crate::PreCreate::Wait`]. Pre-create only,
    /// <= `APC_LEVEL`.
    ///
    /// # Errors
    ///
    /// The work itself: there is no memory for it, or the operation is none that can wait.
    pub fn defer<W: Deferred<F>>(&self, work: W) -> Result<Wait<F>, W> {
        Wait::prepare(self, work)
    }

    /// The process that asked for the create; NULL where there is none. It stays for the time of the callback.
    /// <= `DISPATCH_LEVEL`.
    #[must_use]
    pub fn requestor_process(&self) -> PEPROCESS {
        // SAFETY: the callback data are those of an operation that is passing the filter.
        unsafe { FltGetRequestorProcess(self.data.as_ptr()) }
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

    /// What the filter completes the create with.
    pub(crate) fn set_status(&self, status: NtStatus) {
        let mut block = IO_STATUS_BLOCK::default();
        block.__bindgen_anon_1.Status = status.0;
        // SAFETY: the callback data are valid for `'a`, and a filter that completes an operation sets its status.
        unsafe { (*self.data.as_ptr()).IoStatus = block };
    }

    #[inline]
    pub(crate) const fn data(&self) -> NonNull<FLT_CALLBACK_DATA> {
        self.data
    }

    #[inline]
    pub(crate) const fn objects(&self) -> &'a FLT_RELATED_OBJECTS {
        self.objects
    }

    /// `FLTFL_CALLBACK_DATA_*`.
    pub(crate) fn flags(&self) -> u32 {
        // SAFETY: the callback data are valid for `'a`.
        unsafe { (*self.data.as_ptr()).Flags }
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
