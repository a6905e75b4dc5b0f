//! The statuses that scenarios expect beside success, named as in ntstatus.h.

use protocol::NtStatus;

pub(super) const OBJECT_NAME_INVALID: NtStatus = NtStatus(0xc000_0033);
pub(super) const OBJECT_NAME_NOT_FOUND: NtStatus = NtStatus(0xc000_0034);
pub(super) const OBJECT_NAME_COLLISION: NtStatus = NtStatus(0xc000_0035);
pub(super) const OBJECT_PATH_NOT_FOUND: NtStatus = NtStatus(0xc000_003a);
pub(super) const OBJECT_PATH_SYNTAX_BAD: NtStatus = NtStatus(0xc000_003b);
pub(super) const BAD_NETWORK_PATH: NtStatus = NtStatus(0xc000_00be);
pub(super) const BAD_NETWORK_NAME: NtStatus = NtStatus(0xc000_00cc);
pub(super) const REPARSE_POINT_NOT_RESOLVED: NtStatus = NtStatus(0xc000_0280);
pub(super) const SYMLINK_CLASS_DISABLED: NtStatus = NtStatus(0xc000_0715);
