//! Failures, with the call, the code, and the code's name.

use std::fmt;

use protocol::NtStatus;
use thiserror::Error;
use windows_sys::Win32::Foundation::GetLastError;

/// Why a call failed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Error {
    /// Windows refused it.
    #[error("{call}: {code}")]
    Refused {
        /// The Windows function.
        call: &'static str,
        /// What it returned.
        code: Code,
    },
    /// A name has a NUL in it, or is longer than a UNICODE_STRING can be (32,767 units).
    #[error("`{0}` cannot be a Windows name: it holds a NUL, or more than 32,767 UTF-16 units")]
    Name(String),
    /// Windows gave what its documentation does not have.
    #[error("{call}: the answer is malformed ({what})")]
    Malformed {
        /// The Windows function.
        call: &'static str,
        /// What is wrong with it.
        what: &'static str,
    },
    /// This is Wine, which has the Filter Manager's library in name only.
    #[error("this is Wine, which has no Filter Manager; minifilters need Windows")]
    NoFilterManager,
}

/// A code of one of Windows' three families.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub enum Code {
    /// A Win32 error, as `GetLastError` gives it.
    Win32(u32),
    /// An HRESULT.
    HResult(u32),
    /// An NTSTATUS.
    Status(NtStatus),
}

/// FACILITY_WIN32 of an HRESULT that carries a Win32 error.
const FROM_WIN32: u32 = 0x8007_0000;

impl Code {
    /// The Win32 error that it is or carries.
    #[must_use]
    pub const fn win32(self) -> Option<u32> {
        match self {
            Self::Win32(error) => Some(error),
            Self::HResult(code) if code & 0xffff_0000 == FROM_WIN32 => Some(code & 0xffff),
            _ => None,
        }
    }

    /// The name that winerror.h or ntstatus.h gives it, where it is one of those that are met here.
    #[must_use]
    pub const fn name(self) -> Option<&'static str> {
        match self {
            Self::Status(status) => status.name(),
            Self::HResult(code) => match hresult_name(code) {
                Some(name) => Some(name),
                None => match self.win32() {
                    Some(error) => win32_name(error),
                    None => None,
                },
            },
            Self::Win32(error) => win32_name(error),
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = match *self {
            Self::Status(status) => return write!(f, "{status}"),
            Self::Win32(error) => format!("{error}"),
            Self::HResult(code) => format!("{code:#010x}"),
        };
        match self.name() {
            Some(name) => write!(f, "{name} ({number})"),
            None => {
                let kind = if matches!(self, Self::Win32(_)) {
                    "Win32 error"
                } else {
                    "HRESULT"
                };
                write!(f, "{kind} {number}")
            }
        }
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Error {
    /// The code, where Windows gave one.
    #[must_use]
    pub const fn code(&self) -> Option<Code> {
        match self {
            Self::Refused { code, .. } => Some(*code),
            _ => None,
        }
    }

    /// The Win32 error behind it, where there is one.
    #[must_use]
    pub const fn win32(&self) -> Option<u32> {
        match self.code() {
            Some(code) => code.win32(),
            None => None,
        }
    }

    pub(crate) const fn win32_of(call: &'static str, error: u32) -> Self {
        let code = Code::Win32(error);
        Self::Refused { call, code }
    }

    /// What the thread's last call left; to be asked at once after it.
    pub(crate) fn last(call: &'static str) -> Self {
        // SAFETY: reads the thread's own error code; it has no requirement.
        let error = unsafe { GetLastError() };
        Self::win32_of(call, error)
    }
}

/// An HRESULT as a result.
pub(crate) fn hresult(call: &'static str, code: i32) -> crate::Result<()> {
    if code >= 0 {
        return Ok(());
    }
    let code = Code::HResult(code.cast_unsigned());
    Err(Error::Refused { call, code })
}

/// The Win32 error inside of an [`std::io::Error`], as libraries hand them on.
pub(crate) fn of_io(call: &'static str, error: &std::io::Error) -> Error {
    let code = error.raw_os_error().map_or(31, i32::cast_unsigned);
    // Some of them are HRESULTs: Windows' cryptography leaves those behind, too.
    let code = if code < 0x8000_0000 {
        Code::Win32(code)
    } else {
        Code::HResult(code)
    };
    Error::Refused { call, code }
}

/// An NTSTATUS as a result.
pub(crate) fn status(call: &'static str, status: i32) -> crate::Result<()> {
    let status = NtStatus(status.cast_unsigned());
    if status.is_success() {
        return Ok(());
    }
    let code = Code::Status(status);
    Err(Error::Refused { call, code })
}

/// A BOOL as a result, for functions that leave their error behind.
pub(crate) fn truth(call: &'static str, held: i32) -> crate::Result<()> {
    if held != 0 {
        return Ok(());
    }
    Err(Error::last(call))
}

/// The Filter Manager's own HRESULTs (\[MS-ERREF\] 2.1.1, facility 0x1f), and those of trust.
const fn hresult_name(code: u32) -> Option<&'static str> {
    Some(match code {
        0x801f_0001 => "ERROR_FLT_NO_HANDLER_DEFINED",
        0x801f_0002 => "ERROR_FLT_CONTEXT_ALREADY_DEFINED",
        0x801f_0003 => "ERROR_FLT_INVALID_ASYNCHRONOUS_REQUEST",
        0x801f_0004 => "ERROR_FLT_DISALLOW_FAST_IO",
        0x801f_0005 => "ERROR_FLT_INVALID_NAME_REQUEST",
        0x801f_0008 => "ERROR_FLT_NOT_INITIALIZED",
        0x801f_0009 => "ERROR_FLT_FILTER_NOT_READY",
        0x801f_000b => "ERROR_FLT_DELETING_OBJECT",
        0x801f_000d => "ERROR_FLT_DUPLICATE_ENTRY",
        0x801f_000f => "ERROR_FLT_DO_NOT_ATTACH",
        0x801f_0010 => "ERROR_FLT_DO_NOT_DETACH",
        0x801f_0011 => "ERROR_FLT_INSTANCE_ALTITUDE_COLLISION",
        0x801f_0012 => "ERROR_FLT_INSTANCE_NAME_COLLISION",
        0x801f_0013 => "ERROR_FLT_FILTER_NOT_FOUND",
        0x801f_0014 => "ERROR_FLT_VOLUME_NOT_FOUND",
        0x801f_0015 => "ERROR_FLT_INSTANCE_NOT_FOUND",
        0x801f_0020 => "ERROR_FLT_NO_WAITER_FOR_REPLY",
        0x8009_2026 => "CRYPT_E_SECURITY_SETTINGS",
        0x8009_6004 => "TRUST_E_CERT_SIGNATURE",
        0x8009_6010 => "TRUST_E_BAD_DIGEST",
        0x800b_0001 => "TRUST_E_PROVIDER_UNKNOWN",
        0x800b_0003 => "TRUST_E_SUBJECT_FORM_UNKNOWN",
        0x800b_0004 => "TRUST_E_SUBJECT_NOT_TRUSTED",
        0x800b_0100 => "TRUST_E_NOSIGNATURE",
        0x800b_0101 => "CERT_E_EXPIRED",
        0x800b_0109 => "CERT_E_UNTRUSTEDROOT",
        0x800b_010a => "CERT_E_CHAINING",
        0x800b_010c => "CERT_E_REVOKED",
        0x800b_0110 => "CERT_E_WRONG_USAGE",
        0x800b_0111 => "TRUST_E_EXPLICIT_DISTRUST",
        _ => return None,
    })
}

const fn win32_name(error: u32) -> Option<&'static str> {
    Some(match error {
        0 => "ERROR_SUCCESS",
        1 => "ERROR_INVALID_FUNCTION",
        2 => "ERROR_FILE_NOT_FOUND",
        3 => "ERROR_PATH_NOT_FOUND",
        5 => "ERROR_ACCESS_DENIED",
        6 => "ERROR_INVALID_HANDLE",
        8 => "ERROR_NOT_ENOUGH_MEMORY",
        18 => "ERROR_NO_MORE_FILES",
        21 => "ERROR_NOT_READY",
        24 => "ERROR_BAD_LENGTH",
        31 => "ERROR_GEN_FAILURE",
        32 => "ERROR_SHARING_VIOLATION",
        50 => "ERROR_NOT_SUPPORTED",
        53 => "ERROR_BAD_NETPATH",
        64 => "ERROR_NETNAME_DELETED",
        67 => "ERROR_BAD_NET_NAME",
        80 => "ERROR_FILE_EXISTS",
        87 => "ERROR_INVALID_PARAMETER",
        111 => "ERROR_BUFFER_OVERFLOW",
        120 => "ERROR_CALL_NOT_IMPLEMENTED",
        121 => "ERROR_SEM_TIMEOUT",
        122 => "ERROR_INSUFFICIENT_BUFFER",
        123 => "ERROR_INVALID_NAME",
        126 => "ERROR_MOD_NOT_FOUND",
        127 => "ERROR_PROC_NOT_FOUND",
        183 => "ERROR_ALREADY_EXISTS",
        193 => "ERROR_BAD_EXE_FORMAT",
        234 => "ERROR_MORE_DATA",
        258 => "WAIT_TIMEOUT",
        259 => "ERROR_NO_MORE_ITEMS",
        317 => "ERROR_MR_MID_NOT_FOUND",
        577 => "ERROR_INVALID_IMAGE_HASH",
        740 => "ERROR_ELEVATION_REQUIRED",
        995 => "ERROR_OPERATION_ABORTED",
        996 => "ERROR_IO_INCOMPLETE",
        997 => "ERROR_IO_PENDING",
        998 => "ERROR_NOACCESS",
        1051 => "ERROR_DEPENDENT_SERVICES_RUNNING",
        1055 => "ERROR_SERVICE_DATABASE_LOCKED",
        1056 => "ERROR_SERVICE_ALREADY_RUNNING",
        1058 => "ERROR_SERVICE_DISABLED",
        1060 => "ERROR_SERVICE_DOES_NOT_EXIST",
        1062 => "ERROR_SERVICE_NOT_ACTIVE",
        1072 => "ERROR_SERVICE_MARKED_FOR_DELETE",
        1073 => "ERROR_SERVICE_EXISTS",
        1114 => "ERROR_DLL_INIT_FAILED",
        1115 => "ERROR_SHUTDOWN_IN_PROGRESS",
        1168 => "ERROR_NOT_FOUND",
        1219 => "ERROR_SESSION_CREDENTIAL_CONFLICT",
        1223 => "ERROR_CANCELLED",
        1275 => "ERROR_DRIVER_BLOCKED",
        1306 => "ERROR_REVISION_MISMATCH",
        1314 => "ERROR_PRIVILEGE_NOT_HELD",
        1326 => "ERROR_LOGON_FAILURE",
        1450 => "ERROR_NO_SYSTEM_RESOURCES",
        1920 => "ERROR_CANT_ACCESS_FILE",
        2103 => "NERR_UnknownServer",
        2114 => "NERR_ServerNotStarted",
        2116 => "NERR_UnknownDevDir",
        2118 => "NERR_DuplicateShare",
        2123 => "NERR_BufTooSmall",
        2310 => "NERR_NetNameNotFound",
        2311 => "NERR_DeviceNotShared",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_prints_with_its_name_and_without_one_with_its_family() {
        for (code, text) in [
            (Code::Win32(5), "ERROR_ACCESS_DENIED (5)"),
            (Code::Win32(60_000), "Win32 error 60000"),
            (
                Code::HResult(0x8007_0002),
                "ERROR_FILE_NOT_FOUND (0x80070002)",
            ),
            (
                Code::HResult(0x801f_0013),
                "ERROR_FLT_FILTER_NOT_FOUND (0x801f0013)",
            ),
            (Code::HResult(0x8000_4005), "HRESULT 0x80004005"),
        ] {
            assert_eq!(code.to_string(), text);
        }
        let status = Code::Status(NtStatus(0xc000_0022)).to_string();
        assert!(status.contains("STATUS_ACCESS_DENIED"), "{status}");
    }

    #[test]
    fn only_hresults_of_the_win32_facility_carry_a_win32_error() {
        assert_eq!(Code::HResult(0x8007_0005).win32(), Some(5));
        assert_eq!(Code::HResult(0x801f_0013).win32(), None);
        assert_eq!(Code::Status(NtStatus(0xc000_0022)).win32(), None);
    }
}
