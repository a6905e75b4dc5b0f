//! `NTSTATUS` as an error.

use wdk_sys::NTSTATUS;

/// A status that the kernel returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub struct NtStatus(pub NTSTATUS);

impl NtStatus {
    /// `STATUS_SUCCESS`.
    pub const SUCCESS: Self = Self(0);
    /// `STATUS_UNSUCCESSFUL`.
    pub const UNSUCCESSFUL: Self = Self(0xC000_0001_u32.cast_signed());
    /// `STATUS_INVALID_PARAMETER`.
    pub const INVALID_PARAMETER: Self = Self(0xC000_000D_u32.cast_signed());
    /// `STATUS_NAME_TOO_LONG`.
    pub const NAME_TOO_LONG: Self = Self(0xC000_0106_u32.cast_signed());
    /// `STATUS_BUFFER_TOO_SMALL`.
    pub const BUFFER_TOO_SMALL: Self = Self(0xC000_0023_u32.cast_signed());
    /// `STATUS_PORT_DISCONNECTED`.
    pub const PORT_DISCONNECTED: Self = Self(0xC000_0037_u32.cast_signed());
    /// `STATUS_CONNECTION_COUNT_LIMIT`.
    pub const CONNECTION_COUNT_LIMIT: Self = Self(0xC000_0246_u32.cast_signed());
    /// `STATUS_CANCELLED`.
    pub const CANCELLED: Self = Self(0xC000_0120_u32.cast_signed());
    /// `STATUS_INSUFFICIENT_RESOURCES`.
    pub const INSUFFICIENT_RESOURCES: Self = Self(0xC000_009A_u32.cast_signed());

    /// Success and informational statuses are `Ok`, as `NT_SUCCESS` has it.
    ///
    /// # Errors
    ///
    /// The status itself, where it is a warning or an error.
    #[inline]
    pub const fn check(status: NTSTATUS) -> Result<(), Self> {
        if status >= 0 {
            Ok(())
        } else {
            Err(Self(status))
        }
    }
}
