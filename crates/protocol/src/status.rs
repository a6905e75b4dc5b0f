//! NTSTATUS values, printed with the names of those that a create meets.

use core::fmt;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

const NAMES: [(u32, &str); 70] = [
    (0x0000_0000, "STATUS_SUCCESS"),
    (0x0000_0103, "STATUS_PENDING"),
    (0x0000_0104, "STATUS_REPARSE"),
    (0x8000_0002, "STATUS_DATATYPE_MISALIGNMENT"),
    (0x8000_0005, "STATUS_BUFFER_OVERFLOW"),
    (0x8000_0006, "STATUS_NO_MORE_FILES"),
    (0x8000_002d, "STATUS_STOPPED_ON_SYMLINK"),
    (0xc000_0001, "STATUS_UNSUCCESSFUL"),
    (0xc000_0002, "STATUS_NOT_IMPLEMENTED"),
    (0xc000_0003, "STATUS_INVALID_INFO_CLASS"),
    (0xc000_0004, "STATUS_INFO_LENGTH_MISMATCH"),
    (0xc000_0005, "STATUS_ACCESS_VIOLATION"),
    (0xc000_0008, "STATUS_INVALID_HANDLE"),
    (0xc000_000d, "STATUS_INVALID_PARAMETER"),
    (0xc000_000e, "STATUS_NO_SUCH_DEVICE"),
    (0xc000_000f, "STATUS_NO_SUCH_FILE"),
    (0xc000_0010, "STATUS_INVALID_DEVICE_REQUEST"),
    (0xc000_0011, "STATUS_END_OF_FILE"),
    (0xc000_0017, "STATUS_NO_MEMORY"),
    (0xc000_0022, "STATUS_ACCESS_DENIED"),
    (0xc000_0023, "STATUS_BUFFER_TOO_SMALL"),
    (0xc000_0024, "STATUS_OBJECT_TYPE_MISMATCH"),
    (0xc000_0033, "STATUS_OBJECT_NAME_INVALID"),
    (0xc000_0034, "STATUS_OBJECT_NAME_NOT_FOUND"),
    (0xc000_0035, "STATUS_OBJECT_NAME_COLLISION"),
    (0xc000_0037, "STATUS_PORT_DISCONNECTED"),
    (0xc000_0039, "STATUS_OBJECT_PATH_INVALID"),
    (0xc000_003a, "STATUS_OBJECT_PATH_NOT_FOUND"),
    (0xc000_003b, "STATUS_OBJECT_PATH_SYNTAX_BAD"),
    (0xc000_0043, "STATUS_SHARING_VIOLATION"),
    (0xc000_0056, "STATUS_DELETE_PENDING"),
    (0xc000_0059, "STATUS_REVISION_MISMATCH"),
    (0xc000_0061, "STATUS_PRIVILEGE_NOT_HELD"),
    (0xc000_006d, "STATUS_LOGON_FAILURE"),
    (0xc000_009a, "STATUS_INSUFFICIENT_RESOURCES"),
    (0xc000_00ba, "STATUS_FILE_IS_A_DIRECTORY"),
    (0xc000_00bb, "STATUS_NOT_SUPPORTED"),
    (0xc000_00be, "STATUS_BAD_NETWORK_PATH"),
    (0xc000_00c9, "STATUS_NETWORK_NAME_DELETED"),
    (0xc000_00cc, "STATUS_BAD_NETWORK_NAME"),
    (0xc000_00d4, "STATUS_NOT_SAME_DEVICE"),
    (0xc000_00f1, "STATUS_INVALID_PARAMETER_3"),
    (0xc000_00f2, "STATUS_INVALID_PARAMETER_4"),
    (0xc000_00fd, "STATUS_STACK_OVERFLOW"),
    (0xc000_0101, "STATUS_DIRECTORY_NOT_EMPTY"),
    (0xc000_0103, "STATUS_NOT_A_DIRECTORY"),
    (0xc000_0106, "STATUS_NAME_TOO_LONG"),
    (0xc000_0120, "STATUS_CANCELLED"),
    (0xc000_0121, "STATUS_CANNOT_DELETE"),
    (0xc000_014f, "STATUS_UNRECOGNIZED_VOLUME"),
    (0xc000_0225, "STATUS_NOT_FOUND"),
    (0xc000_0246, "STATUS_CONNECTION_COUNT_LIMIT"),
    (0xc000_0257, "STATUS_PATH_NOT_COVERED"),
    (0xc000_026e, "STATUS_VOLUME_DISMOUNTED"),
    (0xc000_0275, "STATUS_NOT_A_REPARSE_POINT"),
    (0xc000_0278, "STATUS_IO_REPARSE_DATA_INVALID"),
    (0xc000_0279, "STATUS_IO_REPARSE_TAG_NOT_HANDLED"),
    (0xc000_0280, "STATUS_REPARSE_POINT_NOT_RESOLVED"),
    (0xc000_0715, "STATUS_SYMLINK_CLASS_DISABLED"),
    (0xc01c_0001, "STATUS_FLT_NO_HANDLER_DEFINED"),
    (0xc01c_0005, "STATUS_FLT_INVALID_NAME_REQUEST"),
    (0xc01c_000a, "STATUS_FLT_INTERNAL_ERROR"),
    (0xc01c_000b, "STATUS_FLT_DELETING_OBJECT"),
    (0xc01c_000f, "STATUS_FLT_DO_NOT_ATTACH"),
    (0xc01c_0010, "STATUS_FLT_DO_NOT_DETACH"),
    (0xc01c_0011, "STATUS_FLT_INSTANCE_ALTITUDE_COLLISION"),
    (0xc01c_0012, "STATUS_FLT_INSTANCE_NAME_COLLISION"),
    (0xc01c_0013, "STATUS_FLT_FILTER_NOT_FOUND"),
    (0xc01c_0014, "STATUS_FLT_VOLUME_NOT_FOUND"),
    (0xc01c_0015, "STATUS_FLT_INSTANCE_NOT_FOUND"),
];

/// An NTSTATUS as the kernel returned it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(transparent)]
pub struct NtStatus(pub u32);

impl NtStatus {
    /// STATUS_SUCCESS.
    pub const SUCCESS: Self = Self(0);
    /// STATUS_BUFFER_OVERFLOW, a warning: there is more than fitted.
    pub const BUFFER_OVERFLOW: Self = Self(0x8000_0005);
    /// STATUS_INFO_LENGTH_MISMATCH: a message's length is not what its kind has.
    pub const INFO_LENGTH_MISMATCH: Self = Self(0xc000_0004);
    /// STATUS_INVALID_PARAMETER.
    pub const INVALID_PARAMETER: Self = Self(0xc000_000d);
    /// STATUS_INVALID_DEVICE_REQUEST: no such request.
    pub const INVALID_DEVICE_REQUEST: Self = Self(0xc000_0010);
    /// STATUS_BUFFER_TOO_SMALL: the reply has no room.
    pub const BUFFER_TOO_SMALL: Self = Self(0xc000_0023);
    /// STATUS_REVISION_MISMATCH: client and driver speak different versions.
    pub const REVISION_MISMATCH: Self = Self(0xc000_0059);
    /// STATUS_DATATYPE_MISALIGNMENT, as an error: a message does not start where its kind can be read.
    pub const DATATYPE_MISALIGNMENT: Self = Self(0x8000_0002);

    /// NT_SUCCESS: success and informational values.
    #[must_use]
    pub const fn is_success(self) -> bool {
        self.0 < 0x8000_0000
    }

    /// The name in ntstatus.h (\[MS-ERREF\] section 2.3.1), where it is one of those that a create meets.
    #[must_use]
    pub const fn name(self) -> Option<&'static str> {
        let mut index = 0;
        while index < NAMES.len() {
            if NAMES[index].0 == self.0 {
                return Some(NAMES[index].1);
            }
            index += 1;
        }
        None
    }

    /// Reads what [`Display`](fmt::Display) writes: a name that is known here, or `0x` and hexadecimal digits.
    #[must_use]
    pub fn from_text(text: &str) -> Option<Self> {
        if let Some(digits) = text.strip_prefix("0x") {
            return u32::from_str_radix(digits, 16).ok().map(Self);
        }
        NAMES
            .iter()
            .find(|(_, name)| *name == text)
            .map(|&(value, _)| Self(value))
    }
}

impl fmt::Display for NtStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.pad(name),
            None => write!(f, "{:#010X}", self.0),
        }
    }
}

impl fmt::Debug for NtStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => write!(f, "{:#010X} {name}", self.0),
            None => write!(f, "{:#010X}", self.0),
        }
    }
}
