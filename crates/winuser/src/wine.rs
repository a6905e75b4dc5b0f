//! Whether this is Windows at all.

use std::ffi::CStr;
use std::sync::OnceLock;

use windows_sys::Win32::System::LibraryLoader::{GetModuleHandleA, GetProcAddress};
use windows_sys::core::s;

/// Wine's version, or `None` on Windows. Wine says it through an export of ntdll that Windows does not have.
#[must_use]
pub fn version() -> Option<&'static str> {
    static VERSION: OnceLock<Option<String>> = OnceLock::new();
    VERSION.get_or_init(ask).as_deref()
}

fn ask() -> Option<String> {
    type GetVersion = extern "C" fn() -> *const std::ffi::c_char;
    // SAFETY: the name is a NUL-terminated literal; ntdll is loaded in every process and stays.
    let ntdll = unsafe { GetModuleHandleA(s!("ntdll.dll")) };
    // SAFETY: `ntdll` is a module handle or null, which gives no address.
    let address = unsafe { GetProcAddress(ntdll, s!("wine_get_version")) }?;
    // SAFETY: Wine's documentation of wine_get_version: `const char * CDECL wine_get_version(void)`.
    let get_version =
        unsafe { std::mem::transmute::<unsafe extern "system" fn() -> isize, GetVersion>(address) };
    let text = get_version();
    if text.is_null() {
        return Some(String::from("unknown"));
    }
    // SAFETY: it is a NUL-terminated string of Wine's that is never freed.
    let text = unsafe { CStr::from_ptr(text) };
    Some(text.to_string_lossy().into_owned())
}
