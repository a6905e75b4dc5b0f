//! A line on the debugger's console.

use core::ffi::CStr;

use wdk_sys::{_DPFLTR_TYPE, DPFLTR_INFO_LEVEL, ntddk::DbgPrintEx};

use crate::{UnicodeStr, irql};

/// Prints a label and a text as one line: component IHVDRIVER, level INFO. `PASSIVE_LEVEL`, since the text is converted.
///
/// The kernel formats it, in a buffer of 512 bytes: a longer text is cut. `core::fmt` would take more of the caller's stack.
pub fn print(label: &CStr, text: &[u16]) {
    irql::at_most(irql::PASSIVE_LEVEL);
    let Ok(text) = UnicodeStr::new(text) else {
        return;
    };
    // SAFETY: the format names a string and a UNICODE_STRING, and gets both; `%wZ` is allowed at PASSIVE_LEVEL.
    unsafe {
        DbgPrintEx(
            _DPFLTR_TYPE::DPFLTR_IHVDRIVER_ID.cast_unsigned(),
            DPFLTR_INFO_LEVEL,
            c"%s%wZ\n".as_ptr(),
            label.as_ptr(),
            text.as_raw(),
        );
    }
}
