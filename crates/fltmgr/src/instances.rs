//! Instances from outside their callbacks: attach, detach, list. All of it at `PASSIVE_LEVEL`.

use core::ptr::{self, NonNull};

use fltmgr_sys::{
    FLT_INSTANCE, FLT_VOLUME, FltAttachVolume, FltDetachVolume, FltEnumerateInstances,
    FltGetFileSystemType, FltGetInstanceInformation, FltGetVolumeFromName, FltObjectDereference,
};

use crate::{FilterRef, NtStatus, UnicodeStr, filter::keep_frame, irql};

/// A referenced volume.
struct Volume(NonNull<FLT_VOLUME>);

impl Drop for Volume {
    fn drop(&mut self) {
        // SAFETY: this value holds one reference, and gives it back once.
        unsafe { FltObjectDereference(self.0.as_ptr().cast()) };
        keep_frame();
    }
}

/// A referenced instance.
pub struct InstanceHandle(NonNull<FLT_INSTANCE>);

impl Drop for InstanceHandle {
    fn drop(&mut self) {
        // SAFETY: this value holds one reference, and gives it back once.
        unsafe { FltObjectDereference(self.0.as_ptr().cast()) };
        keep_frame();
    }
}

fn volume(filter: FilterRef<'_>, name: &[u16]) -> Result<Volume, NtStatus> {
    irql::at_most(irql::PASSIVE_LEVEL);
    let name = UnicodeStr::new(name)?;
    let mut volume = ptr::null_mut();
    // SAFETY: the filter is registered, the name is valid for the call, the last argument is a writable local.
    let status = unsafe { FltGetVolumeFromName(filter.0, name.as_raw(), &raw mut volume) };
    NtStatus::check(status)?;
    NonNull::new(volume)
        .map(Volume)
        .ok_or(NtStatus::INVALID_PARAMETER)
}

/// Calls `with` with a name for a function that takes NULL for "the default".
fn optional<T>(
    name: &[u16],
    with: impl FnOnce(*const wdk_sys::UNICODE_STRING) -> T,
) -> Result<T, NtStatus> {
    if name.is_empty() {
        Ok(with(ptr::null()))
    } else {
        let name = UnicodeStr::new(name)?;
        Ok(with(name.as_raw()))
    }
}

/// Attaches to a volume, as the instance of that name; an empty one means the default instance.
///
/// # Errors
///
/// What the Filter Manager returned.
pub fn attach(
    filter: FilterRef<'_>,
    volume_name: &[u16],
    instance: &[u16],
) -> Result<(), NtStatus> {
    let volume = volume(filter, volume_name)?;
    let status = optional(instance, |name| {
        // SAFETY: the filter is registered, the volume is referenced, the name is valid for the call or NULL; nobody
        // wants a reference to the instance.
        unsafe { FltAttachVolume(filter.0, volume.0.as_ptr(), name, ptr::null_mut()) }
    })?;
    NtStatus::check(status)
}

/// Detaches from a volume; an empty name means the default instance.
///
/// # Errors
///
/// What the Filter Manager returned.
pub fn detach(
    filter: FilterRef<'_>,
    volume_name: &[u16],
    instance: &[u16],
) -> Result<(), NtStatus> {
    let volume = volume(filter, volume_name)?;
    let status = optional(instance, |name| {
        // SAFETY: the filter is registered, the volume is referenced, the name is valid for the call or NULL.
        unsafe { FltDetachVolume(filter.0, volume.0.as_ptr(), name) }
    })?;
    NtStatus::check(status)
}

/// Puts the filter's instances into `list`, and returns how many there are: perhaps more than had room.
///
/// # Errors
///
/// What the Filter Manager returned, but for the list's having no room.
pub fn list(filter: FilterRef<'_>, list: &mut [Option<InstanceHandle>]) -> Result<usize, NtStatus> {
    const { assert!(size_of::<Option<InstanceHandle>>() == size_of::<*mut FLT_INSTANCE>()) };
    irql::at_most(irql::APC_LEVEL);
    list.fill_with(|| None);
    let mut count = 0;
    let room = u32::try_from(list.len()).unwrap_or(u32::MAX);
    // SAFETY: the filter is registered. An optional handle is a pointer or NULL, so the list is one of so many pointers,
    // which are references that the list owns from then on.
    let status = unsafe {
        FltEnumerateInstances(
            ptr::null_mut(),
            filter.0,
            list.as_mut_ptr().cast(),
            room,
            &raw mut count,
        )
    };
    match status {
        // Nothing is in the list then.
        _ if status == NtStatus::BUFFER_TOO_SMALL.0 => Ok(count as usize),
        _ => NtStatus::check(status).map(|()| count as usize),
    }
}

/// `INSTANCE_FULL_INFORMATION`, in front of its names.
#[repr(C)]
struct Information {
    next: u32,
    instance_length: u16,
    instance_offset: u16,
    altitude_length: u16,
    altitude_offset: u16,
    volume_length: u16,
    volume_offset: u16,
    filter_length: u16,
    filter_offset: u16,
}

/// Room for the names of an instance: a kilobyte, to be lent to [`InstanceHandle::names`].
pub struct InstanceNames([u64; 128]);

impl InstanceHandle {
    /// `FLT_FILESYSTEM_TYPE` of its volume.
    ///
    /// # Errors
    ///
    /// What the Filter Manager returned.
    pub fn file_system(&self) -> Result<u32, NtStatus> {
        let mut kind = 0;
        // SAFETY: the instance is referenced; the last argument is a writable local.
        let status = unsafe { FltGetFileSystemType(self.0.as_ptr().cast(), &raw mut kind) };
        NtStatus::check(status).map(|()| kind.cast_unsigned())
    }

    /// Puts its names into `names`.
    ///
    /// # Errors
    ///
    /// What the Filter Manager returned, `STATUS_BUFFER_TOO_SMALL` for one.
    pub fn names(&self, names: &mut InstanceNames) -> Result<(), NtStatus> {
        const FULL_INFORMATION: i32 = 2;

        let mut length = 0;
        #[expect(clippy::cast_possible_truncation, reason = "1024")]
        let room = size_of::<InstanceNames>() as u32;
        // SAFETY: the instance is referenced; buffer and last argument are writable locals.
        let status = unsafe {
            FltGetInstanceInformation(
                self.0.as_ptr(),
                FULL_INFORMATION,
                names.0.as_mut_ptr().cast(),
                room,
                &raw mut length,
            )
        };
        NtStatus::check(status)
    }
}

impl Default for InstanceNames {
    fn default() -> Self {
        Self::new()
    }
}

impl InstanceNames {
    /// No names.
    #[must_use]
    pub const fn new() -> Self {
        Self([0; 128])
    }

    const fn head(&self) -> &Information {
        // SAFETY: the buffer is longer than the structure and more strictly aligned, and every pattern of bytes is one.
        unsafe { &*ptr::from_ref(&self.0).cast::<Information>() }
    }

    fn text(&self, offset: u16, length: u16) -> &[u16] {
        // SAFETY: the same bytes in units of 16 bits.
        let units = unsafe { self.0.align_to::<u16>() }.1;
        let start = usize::from(offset) / size_of::<u16>();
        let used = usize::from(length) / size_of::<u16>();
        start
            .checked_add(used)
            .and_then(|end| units.get(start..end))
            .unwrap_or(&[])
    }

    /// The instance's own.
    #[must_use]
    pub fn instance(&self) -> &[u16] {
        let head = self.head();
        self.text(head.instance_offset, head.instance_length)
    }

    /// Its volume's.
    #[must_use]
    pub fn volume(&self) -> &[u16] {
        let head = self.head();
        self.text(head.volume_offset, head.volume_length)
    }
}
