//! The values of `NTSTATUS` that the model answers with, beside those that [`NtStatus`] names.

pub(crate) use crate::status::NtStatus;

/// `STATUS_MEDIA_WRITE_PROTECTED`.
pub(crate) const MEDIA_WRITE_PROTECTED: NtStatus = value(0xC000_00A2);
/// `STATUS_DISK_FULL`.
pub(crate) const DISK_FULL: NtStatus = value(0xC000_007F);
/// `STATUS_UNEXPECTED_IO_ERROR`.
pub(crate) const UNEXPECTED_IO_ERROR: NtStatus = value(0xC000_00E9);
/// `STATUS_IO_REPARSE_DATA_INVALID`.
pub(crate) const IO_REPARSE_DATA_INVALID: NtStatus = value(0xC000_0278);
/// `STATUS_REPARSE_POINT_NOT_RESOLVED`.
pub(crate) const REPARSE_POINT_NOT_RESOLVED: NtStatus = value(0xC000_0280);

const fn value(code: u32) -> NtStatus {
    NtStatus(code.cast_signed())
}
