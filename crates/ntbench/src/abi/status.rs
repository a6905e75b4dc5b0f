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

/// `STATUS_IO_REPARSE_TAG_INVALID`.
pub(crate) const IO_REPARSE_TAG_INVALID: NtStatus = value(0xC000_0276);
/// `STATUS_IO_REPARSE_TAG_MISMATCH`.
pub(crate) const IO_REPARSE_TAG_MISMATCH: NtStatus = value(0xC000_0277);
/// `STATUS_INVALID_USER_BUFFER`.
pub(crate) const INVALID_USER_BUFFER: NtStatus = value(0xC000_00E8);
/// `STATUS_LOCK_NOT_GRANTED`.
pub(crate) const LOCK_NOT_GRANTED: NtStatus = value(0xC000_0055);
/// `STATUS_RANGE_NOT_LOCKED`.
pub(crate) const RANGE_NOT_LOCKED: NtStatus = value(0xC000_007E);
/// `STATUS_INVALID_LOCK_RANGE`.
pub(crate) const INVALID_LOCK_RANGE: NtStatus = value(0xC000_01A1);
/// `STATUS_EAS_NOT_SUPPORTED`.
pub(crate) const EAS_NOT_SUPPORTED: NtStatus = value(0xC000_004F);
/// `STATUS_OPLOCK_NOT_GRANTED`.
pub(crate) const OPLOCK_NOT_GRANTED: NtStatus = value(0xC000_00E2);
/// `STATUS_TOO_MANY_LINKS`.
pub(crate) const TOO_MANY_LINKS: NtStatus = value(0xC000_0265);

/// `STATUS_REPARSE_ATTRIBUTE_CONFLICT`.
pub(crate) const REPARSE_ATTRIBUTE_CONFLICT: NtStatus = value(0xC000_02B2);

/// `STATUS_INVALID_OPLOCK_PROTOCOL`.
pub(crate) const INVALID_OPLOCK_PROTOCOL: NtStatus = value(0xC000_00E3);

/// `STATUS_CANNOT_BREAK_OPLOCK`.
pub(crate) const CANNOT_BREAK_OPLOCK: NtStatus = value(0xC000_0909);
/// `STATUS_BAD_DESCRIPTOR_FORMAT`.
pub(crate) const BAD_DESCRIPTOR_FORMAT: NtStatus = value(0xC000_00E7);
/// `STATUS_INVALID_EA_NAME`.
pub(crate) const INVALID_EA_NAME: NtStatus = value(0x8000_0013);
/// `STATUS_EA_LIST_INCONSISTENT`.
pub(crate) const EA_LIST_INCONSISTENT: NtStatus = value(0x8000_0014);
/// `STATUS_NO_EAS_ON_FILE`.
pub(crate) const NO_EAS_ON_FILE: NtStatus = value(0xC000_0052);
/// `STATUS_NONEXISTENT_EA_ENTRY`.
pub(crate) const NONEXISTENT_EA_ENTRY: NtStatus = value(0xC000_0051);
/// `STATUS_NO_MORE_EAS`.
pub(crate) const NO_MORE_EAS: NtStatus = value(0x8000_0012);
/// `STATUS_FSFILTER_OP_COMPLETED_SUCCESSFULLY`.
pub(crate) const FSFILTER_OP_COMPLETED_SUCCESSFULLY: NtStatus = value(0x0000_0126);

const fn value(code: u32) -> NtStatus {
    NtStatus(code.cast_signed())
}
