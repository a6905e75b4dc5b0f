//! Facts about the system and this process.

use std::os::windows::io::{AsRawHandle as _, FromRawHandle as _, OwnedHandle};
use std::ptr;

use windows_sys::Wdk::System::SystemInformation::{
    NtQuerySystemInformation, SystemCodeIntegrityInformation,
};
use windows_sys::Wdk::System::SystemServices::RtlGetVersion;
use windows_sys::Win32::Foundation::{ERROR_NOT_ALL_ASSIGNED, GetLastError, HANDLE, LUID};
use windows_sys::Win32::Security as security;
use windows_sys::Win32::System::SystemInformation::{
    GetNativeSystemInfo, OSVERSIONINFOW, PROCESSOR_ARCHITECTURE_AMD64,
    PROCESSOR_ARCHITECTURE_ARM64, SYSTEM_INFO,
};
use windows_sys::Win32::System::Threading::{GetCurrentProcess, OpenProcessToken};
use windows_sys::Win32::System::WindowsProgramming::SYSTEM_CODEINTEGRITY_INFORMATION;
use windows_sys::core::{PCWSTR, w};

use crate::error::{status, truth};
use crate::{Error, Result};

/// The right to load drivers.
pub const LOAD_DRIVER: Privilege = Privilege(w!("SeLoadDriverPrivilege"));
/// The right to make symbolic links.
pub const CREATE_SYMBOLIC_LINK: Privilege = Privilege(w!("SeCreateSymbolicLinkPrivilege"));

/// A privilege's name.
#[derive(Clone, Copy, Debug)]
pub struct Privilege(PCWSTR);

/// Windows' version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// 10 since Windows 10.
    pub major: u32,
    /// 0 since Windows 10.
    pub minor: u32,
    /// 19041 and so on.
    pub build: u32,
}

/// The processor that the system, not this program, is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Processor {
    /// 64-bit x86.
    X64,
    /// 64-bit ARM.
    Arm64,
    /// Another one: PROCESSOR_ARCHITECTURE_*.
    Other(u16),
}

/// How the kernel checks code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CodeIntegrity {
    /// It checks drivers at all.
    pub enabled: bool,
    /// Test-signed drivers load.
    pub test_signing: bool,
    /// A kernel debugger is on, which lets unsigned drivers load.
    pub debug_mode: bool,
    /// The hypervisor protects kernel code (memory integrity).
    pub hvci: bool,
}

/// The version, as RtlGetVersion gives it, which no compatibility setting changes.
///
/// # Errors
/// None that is documented.
pub fn version() -> Result<Version> {
    let mut info = OSVERSIONINFOW {
        dwOSVersionInfoSize: u32::try_from(size_of::<OSVERSIONINFOW>()).unwrap_or(0),
        ..OSVERSIONINFOW::default()
    };
    // SAFETY: the structure says its size.
    status("RtlGetVersion", unsafe { RtlGetVersion(&raw mut info) })?;
    Ok(Version {
        major: info.dwMajorVersion,
        minor: info.dwMinorVersion,
        build: info.dwBuildNumber,
    })
}

/// The processor.
#[must_use]
pub fn processor() -> Processor {
    let mut info = SYSTEM_INFO::default();
    // SAFETY: the structure is written.
    unsafe { GetNativeSystemInfo(&raw mut info) };
    // SAFETY: the first arm of the union is what GetNativeSystemInfo writes.
    let architecture = unsafe { info.Anonymous.Anonymous.wProcessorArchitecture };
    match architecture {
        PROCESSOR_ARCHITECTURE_AMD64 => Processor::X64,
        PROCESSOR_ARCHITECTURE_ARM64 => Processor::Arm64,
        other => Processor::Other(other),
    }
}

/// How the kernel checks code.
///
/// # Errors
/// STATUS_INVALID_INFO_CLASS and the like where the system does not say.
pub fn code_integrity() -> Result<CodeIntegrity> {
    const CALL: &str = "NtQuerySystemInformation(SystemCodeIntegrityInformation)";
    let length = u32::try_from(size_of::<SYSTEM_CODEINTEGRITY_INFORMATION>()).unwrap_or(0);
    let mut info = SYSTEM_CODEINTEGRITY_INFORMATION {
        Length: length,
        CodeIntegrityOptions: 0,
    };
    // SAFETY: the buffer is that structure, of that size.
    let code = unsafe {
        NtQuerySystemInformation(
            SystemCodeIntegrityInformation,
            (&raw mut info).cast(),
            length,
            ptr::null_mut(),
        )
    };
    status(CALL, code)?;
    // CODEINTEGRITY_OPTION_* of the documentation of NtQuerySystemInformation.
    let has = |bit| info.CodeIntegrityOptions & bit != 0;
    Ok(CodeIntegrity {
        enabled: has(0x01),
        test_signing: has(0x02),
        debug_mode: has(0x80),
        hvci: has(0x400),
    })
}

/// Whether this process is elevated: started "as administrator".
///
/// # Errors
/// What opening the process's own token gave.
pub fn is_elevated() -> Result<bool> {
    let token = token(security::TOKEN_QUERY)?;
    let (mut elevation, mut got) = (security::TOKEN_ELEVATION::default(), 0);
    // SAFETY: the buffer is that structure, of that size.
    let held = unsafe {
        security::GetTokenInformation(
            token.as_raw_handle(),
            security::TokenElevation,
            (&raw mut elevation).cast(),
            4,
            &raw mut got,
        )
    };
    truth("GetTokenInformation", held)?;
    Ok(elevation.TokenIsElevated != 0)
}

/// Switches one of the process's privileges on.
///
/// # Errors
/// ERROR_NOT_ALL_ASSIGNED: the process does not hold it; it is not elevated.
pub fn enable_privilege(privilege: Privilege) -> Result<()> {
    const CALL: &str = "AdjustTokenPrivileges";
    let token = token(security::TOKEN_ADJUST_PRIVILEGES | security::TOKEN_QUERY)?;
    let mut luid = LUID::default();
    // SAFETY: a NUL-terminated literal; `luid` is written.
    let held = unsafe { security::LookupPrivilegeValueW(ptr::null(), privilege.0, &raw mut luid) };
    truth("LookupPrivilegeValueW", held)?;
    let wanted = security::TOKEN_PRIVILEGES {
        PrivilegeCount: 1,
        Privileges: [security::LUID_AND_ATTRIBUTES {
            Luid: luid,
            Attributes: security::SE_PRIVILEGE_ENABLED,
        }],
    };
    // SAFETY: one privilege is given, as its count says; the old ones are not asked for.
    let held = unsafe {
        security::AdjustTokenPrivileges(
            token.as_raw_handle(),
            0,
            &raw const wanted,
            0,
            ptr::null_mut(),
            ptr::null_mut(),
        )
    };
    truth(CALL, held)?;
    // It succeeds also where it has changed nothing, and says so beside.
    // SAFETY: reads the thread's own error code.
    match unsafe { GetLastError() } {
        error @ ERROR_NOT_ALL_ASSIGNED => Err(Error::win32_of(CALL, error)),
        _ => Ok(()),
    }
}

fn token(access: security::TOKEN_ACCESS_MASK) -> Result<OwnedHandle> {
    let mut token: HANDLE = ptr::null_mut();
    // SAFETY: it has no requirement; what it gives stands for the process and is not closed.
    let process = unsafe { GetCurrentProcess() };
    // SAFETY: the process's handle is valid; `token` is written.
    let held = unsafe { OpenProcessToken(process, access, &raw mut token) };
    truth("OpenProcessToken", held)?;
    // SAFETY: the call has succeeded and given a handle that is ours to close.
    Ok(unsafe { OwnedHandle::from_raw_handle(token) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_says_what_it_is() {
        let version = version().unwrap();
        assert!(version.major >= 6 && version.build >= 6000, "{version:?}");
        assert_eq!(processor(), Processor::X64);
        is_elevated().unwrap();
    }

    #[test]
    fn a_privilege_that_there_is_not_is_an_error() {
        let error = enable_privilege(Privilege(w!("SeNoSuchPrivilege"))).unwrap_err();
        assert_eq!(error.win32(), Some(1313), "{error}");
    }
}
