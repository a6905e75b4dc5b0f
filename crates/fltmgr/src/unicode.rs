//! `UNICODE_STRING` over borrowed units.

use core::{marker::PhantomData, ptr, slice};

use wdk_sys::UNICODE_STRING;

use crate::NtStatus;

/// A `UNICODE_STRING` that borrows its units.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub struct UnicodeStr<'a> {
    raw: UNICODE_STRING,
    units: PhantomData<&'a [u16]>,
}

impl<'a> UnicodeStr<'a> {
    /// Borrows `units`.
    ///
    /// # Errors
    ///
    /// `STATUS_NAME_TOO_LONG` where they are more than the 32767 that a `UNICODE_STRING` can count.
    pub fn new(units: &'a [u16]) -> Result<Self, NtStatus> {
        let bytes = u16::try_from(size_of_val(units)).map_err(|_| NtStatus::NAME_TOO_LONG)?;
        Ok(Self {
            raw: UNICODE_STRING {
                Length: bytes,
                MaximumLength: bytes,
                Buffer: units.as_ptr().cast_mut(),
            },
            units: PhantomData,
        })
    }

    /// For functions of the kernel, whose parameters are not const but are documented as input.
    #[must_use]
    pub const fn as_raw(&self) -> *mut UNICODE_STRING {
        ptr::from_ref(&self.raw).cast_mut()
    }
}

/// The units of a `UNICODE_STRING` of the kernel's.
///
/// # Safety
///
/// `string` describes that many bytes of initialised, aligned memory that nobody changes for the lifetime `'a`, or has no
/// buffer.
#[must_use]
#[inline]
pub unsafe fn units<'a>(string: &UNICODE_STRING) -> &'a [u16] {
    if string.Buffer.is_null() {
        return &[];
    }
    // SAFETY: the caller vouches for the memory; half the length in bytes is the number of whole units.
    unsafe { slice::from_raw_parts(string.Buffer, usize::from(string.Length) / size_of::<u16>()) }
}
