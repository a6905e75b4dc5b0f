//! NTSTATUS values with their names.
//!
//! A status that prints as a number is one that somebody has to look up, so everything that leaves the bench prints
//! the name from the published `ntstatus.h`, and the number where the name is not in this table.

use std::fmt;

use serde::{Deserialize, Serialize};

/// An NTSTATUS value.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[repr(transparent)]
#[serde(transparent)]
pub struct NtStatus(pub i32);

macro_rules! statuses {
    ($($name:ident = $value:literal;)*) => {
        #[allow(missing_docs, reason = "the names are their own documentation: ntstatus.h")]
        impl NtStatus {
            $(pub const $name: Self = Self($value as u32 as i32);)*
        }

        const NAMES: &[(u32, &str)] = &[$(($value, concat!("STATUS_", stringify!($name)))),*];
    };
}

statuses! {
    SUCCESS = 0x0000_0000;
    TIMEOUT = 0x0000_0102;
    PENDING = 0x0000_0103;
    REPARSE = 0x0000_0104;
    FLT_IO_COMPLETE = 0x001C_0001;
    OBJECT_NAME_EXISTS = 0x4000_0000;
    BUFFER_OVERFLOW = 0x8000_0005;
    NO_MORE_FILES = 0x8000_0006;
    NO_MORE_ENTRIES = 0x8000_001A;
    STOPPED_ON_SYMLINK = 0x8000_002D;
    BREAKPOINT = 0x8000_0003;
    SINGLE_STEP = 0x8000_0004;
    DATATYPE_MISALIGNMENT = 0x8000_0002;
    UNSUCCESSFUL = 0xC000_0001;
    NOT_IMPLEMENTED = 0xC000_0002;
    INVALID_INFO_CLASS = 0xC000_0003;
    INFO_LENGTH_MISMATCH = 0xC000_0004;
    ACCESS_VIOLATION = 0xC000_0005;
    INVALID_HANDLE = 0xC000_0008;
    INVALID_CID = 0xC000_000B;
    INVALID_PARAMETER = 0xC000_000D;
    NO_SUCH_DEVICE = 0xC000_000E;
    NO_SUCH_FILE = 0xC000_000F;
    INVALID_DEVICE_REQUEST = 0xC000_0010;
    END_OF_FILE = 0xC000_0011;
    MORE_PROCESSING_REQUIRED = 0xC000_0016;
    NO_MEMORY = 0xC000_0017;
    CONFLICTING_ADDRESSES = 0xC000_0018;
    NOT_MAPPED_VIEW = 0xC000_0019;
    INVALID_VIEW_SIZE = 0xC000_001F;
    INVALID_FILE_FOR_SECTION = 0xC000_0020;
    ILLEGAL_INSTRUCTION = 0xC000_001D;
    ACCESS_DENIED = 0xC000_0022;
    BUFFER_TOO_SMALL = 0xC000_0023;
    UNWIND = 0xC000_0027;
    BAD_STACK = 0xC000_0028;
    INVALID_DISPOSITION = 0xC000_0026;
    NONCONTINUABLE_EXCEPTION = 0xC000_0025;
    OBJECT_TYPE_MISMATCH = 0xC000_0024;
    NOT_LOCKED = 0xC000_002A;
    INVALID_PARAMETER_MIX = 0xC000_0030;
    INVALID_PAGE_PROTECTION = 0xC000_0045;
    SECTION_PROTECTION = 0xC000_004E;
    FILE_LOCK_CONFLICT = 0xC000_0054;
    MUTANT_NOT_OWNED = 0xC000_0046;
    SEMAPHORE_LIMIT_EXCEEDED = 0xC000_0047;
    INSTRUCTION_MISALIGNMENT = 0xC000_00AA;
    OBJECT_NAME_INVALID = 0xC000_0033;
    OBJECT_NAME_NOT_FOUND = 0xC000_0034;
    OBJECT_NAME_COLLISION = 0xC000_0035;
    PORT_DISCONNECTED = 0xC000_0037;
    OBJECT_PATH_INVALID = 0xC000_0039;
    OBJECT_PATH_NOT_FOUND = 0xC000_003A;
    OBJECT_PATH_SYNTAX_BAD = 0xC000_003B;
    SHARING_VIOLATION = 0xC000_0043;
    DELETE_PENDING = 0xC000_0056;
    PRIVILEGE_NOT_HELD = 0xC000_0061;
    INVALID_IMAGE_FORMAT = 0xC000_007B;
    INTEGER_DIVIDE_BY_ZERO = 0xC000_0094;
    INTEGER_OVERFLOW = 0xC000_0095;
    PRIVILEGED_INSTRUCTION = 0xC000_0096;
    INSUFFICIENT_RESOURCES = 0xC000_009A;
    DEVICE_NOT_READY = 0xC000_00A3;
    FILE_IS_A_DIRECTORY = 0xC000_00BA;
    NOT_SUPPORTED = 0xC000_00BB;
    BAD_NETWORK_PATH = 0xC000_00BE;
    NETWORK_NAME_DELETED = 0xC000_00C9;
    BAD_NETWORK_NAME = 0xC000_00CC;
    NOT_SAME_DEVICE = 0xC000_00D4;
    UNEXPECTED_NETWORK_ERROR = 0xC000_00C4;
    INVALID_PARAMETER_1 = 0xC000_00EF;
    INVALID_PARAMETER_2 = 0xC000_00F0;
    INVALID_PARAMETER_3 = 0xC000_00F1;
    INVALID_PARAMETER_4 = 0xC000_00F2;
    INVALID_PARAMETER_5 = 0xC000_00F3;
    INVALID_PARAMETER_8 = 0xC000_00F6;
    INVALID_PARAMETER_9 = 0xC000_00F7;
    STACK_OVERFLOW = 0xC000_00FD;
    DIRECTORY_NOT_EMPTY = 0xC000_0101;
    FILE_CORRUPT_ERROR = 0xC000_0102;
    NOT_A_DIRECTORY = 0xC000_0103;
    NAME_TOO_LONG = 0xC000_0106;
    INVALID_BUFFER_SIZE = 0xC000_0206;
    MAPPED_ALIGNMENT = 0xC000_0220;
    USER_MAPPED_FILE = 0xC000_0243;
    CANNOT_DELETE = 0xC000_0121;
    FILE_DELETED = 0xC000_0123;
    CANCELLED = 0xC000_0120;
    FILE_CLOSED = 0xC000_0128;
    VOLUME_DISMOUNTED = 0xC000_026E;
    DRIVER_UNABLE_TO_LOAD = 0xC000_026C;
    ENTRYPOINT_NOT_FOUND = 0xC000_0139;
    DRIVER_ENTRYPOINT_NOT_FOUND = 0xC000_0263;
    IMAGE_ALREADY_LOADED = 0xC000_010E;
    REVISION_MISMATCH = 0xC000_0059;
    INVALID_SECURITY_DESCR = 0xC000_0079;
    CONNECTION_COUNT_LIMIT = 0xC000_0246;
    NOT_FOUND = 0xC000_0225;
    REQUEST_NOT_ACCEPTED = 0xC000_00D0;
    NOT_A_REPARSE_POINT = 0xC000_0275;
    IO_REPARSE_TAG_NOT_HANDLED = 0xC000_0279;
    REPARSE_POINT_ENCOUNTERED = 0xC000_050B;
    STACK_BUFFER_OVERRUN = 0xC000_0409;
    ASSERTION_FAILURE = 0xC000_0420;
    TRANSACTION_NOT_ACTIVE = 0xC019_0003;
    TRANSACTIONS_UNSUPPORTED_REMOTE = 0xC019_000A;
    TRANSACTION_ALREADY_ABORTED = 0xC019_0015;
    TRANSACTION_ALREADY_COMMITTED = 0xC019_0016;
    FLT_NO_HANDLER_DEFINED = 0xC01C_0001;
    FLT_CONTEXT_ALREADY_DEFINED = 0xC01C_0002;
    FLT_INVALID_ASYNCHRONOUS_REQUEST = 0xC01C_0003;
    FLT_DISALLOW_FAST_IO = 0xC01C_0004;
    FLT_INVALID_NAME_REQUEST = 0xC01C_0005;
    FLT_NOT_SAFE_TO_POST_OPERATION = 0xC01C_0006;
    FLT_NOT_INITIALIZED = 0xC01C_0007;
    FLT_FILTER_NOT_READY = 0xC01C_0008;
    FLT_POST_OPERATION_CLEANUP = 0xC01C_0009;
    FLT_INTERNAL_ERROR = 0xC01C_000A;
    FLT_DELETING_OBJECT = 0xC01C_000B;
    FLT_MUST_BE_NONPAGED_POOL = 0xC01C_000C;
    FLT_DUPLICATE_ENTRY = 0xC01C_000D;
    FLT_CBDQ_DISABLED = 0xC01C_000E;
    FLT_DO_NOT_ATTACH = 0xC01C_000F;
    FLT_DO_NOT_DETACH = 0xC01C_0010;
    FLT_INSTANCE_ALTITUDE_COLLISION = 0xC01C_0011;
    FLT_INSTANCE_NAME_COLLISION = 0xC01C_0012;
    FLT_FILTER_NOT_FOUND = 0xC01C_0013;
    FLT_VOLUME_NOT_FOUND = 0xC01C_0014;
    FLT_INSTANCE_NOT_FOUND = 0xC01C_0015;
    FLT_CONTEXT_ALLOCATION_NOT_FOUND = 0xC01C_0016;
    FLT_INVALID_CONTEXT_REGISTRATION = 0xC01C_0017;
    FLT_NAME_CACHE_MISS = 0xC01C_0018;
    FLT_NO_DEVICE_OBJECT = 0xC01C_0019;
    FLT_VOLUME_ALREADY_MOUNTED = 0xC01C_001A;
    FLT_ALREADY_ENLISTED = 0xC01C_001B;
    FLT_CONTEXT_ALREADY_LINKED = 0xC01C_001C;
    FLT_NO_WAITER_FOR_REPLY = 0xC01C_0020;
}

impl NtStatus {
    /// `NT_SUCCESS`: success and informational values.
    #[must_use]
    pub const fn is_success(self) -> bool {
        self.0 >= 0
    }

    /// The name in `ntstatus.h`, if this table has it.
    #[must_use]
    pub fn name(self) -> Option<&'static str> {
        let value = self.0.cast_unsigned();
        NAMES
            .iter()
            .find(|(known, _)| *known == value)
            .map(|(_, name)| *name)
    }

    /// Reads a name (`STATUS_NO_MEMORY`) or a number (`0xC0000017`).
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if let Some((value, _)) = NAMES
            .iter()
            .find(|(_, name)| name.eq_ignore_ascii_case(text))
        {
            return Some(Self(value.cast_signed()));
        }
        let digits = text
            .strip_prefix("0x")
            .or_else(|| text.strip_prefix("0X"))?;
        u32::from_str_radix(digits, 16)
            .ok()
            .map(|value| Self(value.cast_signed()))
    }
}

impl fmt::Display for NtStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.pad(name),
            None => f.pad(&format!("{:#010X}", self.0)),
        }
    }
}

impl fmt::Debug for NtStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
