//! Files that a filter opens for itself.

use core::ptr::{self, NonNull};

use fltmgr_sys::{FltClose, FltCreateFileEx2, FltQueryInformationFile, IO_DRIVER_CREATE_CONTEXT};
use wdk_sys::{
    _FILE_INFORMATION_CLASS, ACCESS_MASK, DEVICE_OBJECT, FILE_ATTRIBUTE_TAG_INFORMATION,
    FILE_OBJECT, HANDLE, IO_STATUS_BLOCK, OBJ_CASE_INSENSITIVE, OBJ_KERNEL_HANDLE,
    OBJECT_ATTRIBUTES, PVOID, ntddk::ObfDereferenceObject,
};

use crate::{EcpList, FilterRef, InstanceRef, NtStatus, UnicodeStr, filter::keep_frame};

/// Where an open enters the stack of filters.
#[derive(Clone, Copy)]
pub enum OpenFrom<'a> {
    /// Below an instance: neither it nor any filter above sees the open.
    Below(InstanceRef<'a>),
    /// At the top: every filter sees it, the opener included.
    Top,
}

/// How to open a file that exists.
#[derive(Clone, Copy)]
pub struct OpenRequest<'a> {
    /// Where the open enters the stack of filters.
    pub from: OpenFrom<'a>,
    /// The whole name, from the root of the object manager's name space.
    pub name: &'a [u16],
    /// The access asked for.
    pub access: ACCESS_MASK,
    /// With whom to share it (`FILE_SHARE_*`).
    pub share: u32,
    /// Create options (`FILE_*`).
    pub options: u32,
    /// What travels with the open.
    pub ecps: Option<&'a EcpList<'a>>,
}

/// An open file: its handle and its object. Closed and released when dropped, at `PASSIVE_LEVEL` with normal kernel APCs
/// enabled.
pub struct File {
    handle: HANDLE,
    object: NonNull<FILE_OBJECT>,
}

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttributeTag {
    /// `FILE_ATTRIBUTE_*`.
    pub attributes: u32,
    /// The reparse tag; 0 where the file is no reparse point.
    pub reparse_tag: u32,
}

impl File {
    /// Opens a file that exists. `PASSIVE_LEVEL`, with normal kernel APCs enabled.
    ///
    /// The handle is a kernel handle; access is not checked against the thread's token, but a redirector connects as
    /// the thread's user.
    ///
    /// # Errors
    ///
    /// `STATUS_NAME_TOO_LONG`, or what `FltCreateFileEx2` returned.
    pub fn open(filter: FilterRef<'_>, request: &OpenRequest<'_>) -> Result<Self, NtStatus> {
        const FILE_OPEN: u32 = 1;

        let name = UnicodeStr::new(request.name)?;
        let mut attributes = OBJECT_ATTRIBUTES {
            #[expect(clippy::cast_possible_truncation, reason = "48")]
            Length: size_of::<OBJECT_ATTRIBUTES>() as u32,
            RootDirectory: ptr::null_mut(),
            ObjectName: name.as_raw(),
            Attributes: OBJ_KERNEL_HANDLE | OBJ_CASE_INSENSITIVE,
            SecurityDescriptor: ptr::null_mut(),
            SecurityQualityOfService: ptr::null_mut(),
        };
        let mut context = IO_DRIVER_CREATE_CONTEXT {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_possible_wrap,
                reason = "40"
            )]
            Size: size_of::<IO_DRIVER_CREATE_CONTEXT>() as i16,
            ExtraCreateParameter: request.ecps.map_or(ptr::null_mut(), EcpList::as_raw),
            DeviceObjectHint: ptr::null_mut(),
            TxnParameters: ptr::null_mut(),
            SiloContext: ptr::null_mut(),
        };
        let instance = match request.from {
            OpenFrom::Below(instance) => instance.0,
            OpenFrom::Top => ptr::null_mut(),
        };
        let (mut handle, mut object) = (ptr::null_mut(), ptr::null_mut());
        let mut io_status = IO_STATUS_BLOCK::default();
        // SAFETY: filter and instance are those of a callback that is running; every pointer is to a local that lives
        // until the call, which is synchronous, returns; no allocation size and no extended attributes are passed.
        let status = unsafe {
            FltCreateFileEx2(
                filter.0,
                instance,
                &raw mut handle,
                &raw mut object,
                request.access,
                &raw mut attributes,
                &raw mut io_status,
                ptr::null_mut(),
                0,
                request.share,
                FILE_OPEN,
                request.options,
                ptr::null_mut(),
                0,
                0,
                &raw mut context,
            )
        };
        NtStatus::check(status)?;
        let object = NonNull::new(object).ok_or(NtStatus::INVALID_PARAMETER)?;
        Ok(Self { handle, object })
    }

    /// Asks the instances below `instance` what the file is. `PASSIVE_LEVEL`.
    ///
    /// # Errors
    ///
    /// What `FltQueryInformationFile` returned; `STATUS_INVALID_PARAMETER` where the file is on another device than
    /// `device`, the one that the instance is attached to: an open from the top can end elsewhere.
    pub fn attribute_tag(
        &self,
        instance: InstanceRef<'_>,
        device: *const DEVICE_OBJECT,
    ) -> Result<AttributeTag, NtStatus> {
        // SAFETY: this value holds a reference to the file object, and the field does not change once it is open.
        let own = unsafe { self.object.as_ref() }.DeviceObject;
        if !ptr::eq(own, device) {
            return Err(NtStatus::INVALID_PARAMETER);
        }
        let mut information = FILE_ATTRIBUTE_TAG_INFORMATION::default();
        let buffer: PVOID = (&raw mut information).cast();
        #[expect(clippy::cast_possible_truncation, reason = "8")]
        let size = size_of_val(&information) as u32;
        // SAFETY: the file is open and on the instance's volume; the buffer is a local of the length given.
        let status = unsafe {
            FltQueryInformationFile(
                instance.0,
                self.object.as_ptr(),
                buffer,
                size,
                _FILE_INFORMATION_CLASS::FileAttributeTagInformation,
                ptr::null_mut(),
            )
        };
        NtStatus::check(status)?;
        Ok(AttributeTag {
            attributes: information.FileAttributes,
            reparse_tag: information.ReparseTag,
        })
    }
}

impl Drop for File {
    fn drop(&mut self) {
        // SAFETY: this value owns one reference to the object.
        unsafe { ObfDereferenceObject(self.object.as_ptr().cast()) };
        // The status is of no use: a kernel handle of our own is always valid.
        // SAFETY: this value owns the handle, and closes it once.
        let _ = unsafe { FltClose(self.handle) };
        keep_frame();
    }
}
