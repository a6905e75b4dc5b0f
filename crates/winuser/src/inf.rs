//! Installing what an INF file says.
//!
//! Windows 10 version 1903 and later know packages like a minifilter's, which belong to no device ("primitive drivers"): DiInstallDriver
//! puts them into the driver store and DiUninstallDriver takes back what that did. Before, and under Wine, an INF is a script whose sections
//! SetupAPI carries out: one to install, another to take it back.

use std::ffi::c_void;
use std::path::Path;
use std::ptr;

use windows_sys::Win32::Devices::DeviceAndDriverInstallation as setup;
use windows_sys::Win32::Foundation::INVALID_HANDLE_VALUE;
use windows_sys::Win32::System::Registry::HKEY_LOCAL_MACHINE;

use crate::error::truth;
use crate::{Error, Result, Wide, system, wine};

/// How this machine installs packages that belong to no device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Into the driver store, by DiInstallDriver.
    DriverStore,
    /// By the INF's DefaultInstall and DefaultUninstall sections.
    Sections,
}

/// What to do with an INF.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Do {
    /// Install it.
    Install,
    /// Take it back.
    Uninstall,
}

/// Whether Windows wants to be started again.
pub type NeedsReboot = bool;

/// Windows 10 version 1903.
const PRIMITIVE_DRIVERS: u32 = 18362;

impl Way {
    /// This machine's way.
    ///
    /// # Errors
    /// What asking for the version gave.
    pub fn here() -> Result<Self> {
        let knows = wine::version().is_none() && system::version()?.build >= PRIMITIVE_DRIVERS;
        Ok(if knows {
            Self::DriverStore
        } else {
            Self::Sections
        })
    }
}

/// Installs the package of an INF into the driver store, or takes it back. Needs an elevated process. Shows no window and asks nothing.
///
/// # Errors
/// ERROR_ACCESS_DENIED; ERROR_FILE_NOT_FOUND where a file of the package is missing; the errors of signatures (TRUST_E_*, CERT_E_*).
pub fn driver_store(inf: &Path, what: Do) -> Result<NeedsReboot> {
    type Process = unsafe extern "system" fn(*mut c_void, *const u16, u32, *mut i32) -> i32;
    let (call, name) = match what {
        Do::Install => (
            "DiInstallDriverW",
            windows_sys::core::s!("DiInstallDriverW"),
        ),
        Do::Uninstall => (
            "DiUninstallDriverW",
            windows_sys::core::s!("DiUninstallDriverW"),
        ),
    };
    let inf = absolute(inf)?;
    // Looked up, since not every newdev.dll that this program may meet has both (Wine 8's has not).
    let what = "newdev.dll does not have it";
    let address = address(name).ok_or(Error::Malformed { call, what })?;
    // SAFETY: the documented prototype of both, in which the flags are a DWORD and the last argument a PBOOL.
    let process: Process = unsafe { std::mem::transmute(address) };
    let mut reboot = 0;
    // SAFETY: no window; a NUL-terminated path; `reboot` is written.
    let held = unsafe { process(ptr::null_mut(), inf.ptr(), 0, &raw mut reboot) };
    truth(call, held)?;
    Ok(reboot != 0)
}

fn absolute(inf: &Path) -> Result<Wide> {
    Wide::new(std::path::absolute(inf).unwrap_or_else(|_| inf.to_path_buf()))
}

/// A function of newdev.dll.
fn address(name: windows_sys::core::PCSTR) -> Option<unsafe extern "system" fn() -> isize> {
    use windows_sys::Win32::System::LibraryLoader as loader;
    // SAFETY: a NUL-terminated literal; the library is looked for in the system's directory alone.
    let newdev = unsafe {
        loader::LoadLibraryExW(
            windows_sys::core::w!("newdev.dll"),
            ptr::null_mut(),
            loader::LOAD_LIBRARY_SEARCH_SYSTEM32,
        )
    };
    // SAFETY: a module handle, or null, which gives no address; a NUL-terminated name.
    unsafe { loader::GetProcAddress(newdev, name) }
}

/// An open INF.
struct Open(*mut c_void);

impl Open {
    fn new(inf: &Wide) -> Result<Self> {
        let mut line = 0;
        // SAFETY: a NUL-terminated path; any class; `line` is written.
        let handle = unsafe {
            setup::SetupOpenInfFileW(inf.ptr(), ptr::null(), setup::INF_STYLE_WIN4, &raw mut line)
        };
        if handle == INVALID_HANDLE_VALUE {
            return Err(Error::last("SetupOpenInfFileW"));
        }
        Ok(Self(handle))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        // SAFETY: the handle is ours and used no more.
        unsafe { setup::SetupCloseInfFile(self.0) };
    }
}

/// Carries out a section of an INF and the one for its services, which has the same name and `.Services` behind it.
///
/// # Errors
/// ERROR_SECTION_NOT_FOUND; ERROR_FILE_NOT_FOUND where a file of the package is missing.
pub fn sections(inf: &Path, section: &str, what: Do) -> Result<()> {
    let inf = absolute(inf)?;
    let open = Open::new(&inf)?;
    let services = Wide::new(format!("{section}.Services"))?;
    match what {
        // The files before the service that is made of them, and the service away before its files.
        Do::Install => {
            files(&open, &inf, section)?;
            services_of(&open, &services)
        }
        Do::Uninstall => {
            services_of(&open, &services)?;
            files(&open, &inf, section)
        }
    }
}

/// Files and registry entries of a section.
fn files(open: &Open, inf: &Wide, section: &str) -> Result<()> {
    let section = Wide::new(section)?;
    let path = String::from_utf16_lossy(inf.units());
    let source = Wide::new(path.rsplit_once('\\').map_or("", |(folder, _)| folder))?;
    // SAFETY: no window, neither for messages nor for progress.
    let context = unsafe {
        setup::SetupInitDefaultQueueCallbackEx(
            ptr::null_mut(),
            INVALID_HANDLE_VALUE,
            0,
            0,
            ptr::null(),
        )
    };
    // SAFETY: an open INF, NUL-terminated names, a callback of the wide kind with the context that it hands on.
    let held = unsafe {
        setup::SetupInstallFromInfSectionW(
            ptr::null_mut(),
            open.0,
            section.ptr(),
            setup::SPINST_FILES | setup::SPINST_REGISTRY,
            HKEY_LOCAL_MACHINE,
            source.ptr(),
            setup::SP_COPY_FORCE_IN_USE | setup::SP_COPY_IN_USE_NEEDS_REBOOT,
            Some(without_questions),
            context,
            0,
            ptr::null(),
        )
    };
    let done = truth("SetupInstallFromInfSectionW", held);
    // SAFETY: the context is ours and used no more.
    unsafe { setup::SetupTermDefaultQueueCallback(context) };
    done
}

/// What SetupAPI's own callback does, except that nothing is asked: an error ends the copying, and the call fails with it.
unsafe extern "system" fn without_questions(
    context: *const c_void,
    notification: u32,
    first: usize,
    second: usize,
) -> u32 {
    match notification {
        setup::SPFILENOTIFY_COPYERROR | setup::SPFILENOTIFY_RENAMEERROR => setup::FILEOP_ABORT,
        // A file that is not there need not be deleted.
        setup::SPFILENOTIFY_DELETEERROR => setup::FILEOP_SKIP,
        setup::SPFILENOTIFY_NEEDMEDIA => setup::FILEOP_DOIT,
        _ => {
            // SAFETY: the context is the default callback's own, and the rest is what SetupAPI gave for it.
            unsafe { setup::SetupDefaultQueueCallbackW(context, notification, first, second) }
        }
    }
}

fn services_of(open: &Open, section: &Wide) -> Result<()> {
    // SAFETY: an open INF and a NUL-terminated name.
    let held = unsafe { setup::SetupInstallServicesFromInfSectionW(open.0, section.ptr(), 0) };
    truth("SetupInstallServicesFromInfSectionW", held)
}
