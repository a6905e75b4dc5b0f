//! Stops for a debugger, which is not there: a breakpoint is an exception then, which somebody has to handle.
//!
//! `DbgBreakPoint`, `DbgBreakPointWithStatus`, `RtlAssert`.

use super::memory::{Guest, terminated};
use crate::seh::{self, Exception};
use crate::status::NtStatus;
use crate::trace;

fn stop() {
    seh::raise(Exception::new(NtStatus::BREAKPOINT));
}

exports! { "ntoskrnl.exe";
    /// Stops.
    fn DbgBreakPoint() {
        stop();
    }

    /// Stops, with a number for the debugger.
    fn DbgBreakPointWithStatus(_status: u32) {
        stop();
    }

    /// Says that an assertion does not hold, and stops.
    fn RtlAssert(failed: Guest<u8>, file: Guest<u8>, line: u32, message: Guest<u8>) {
        let text = |at: Guest<u8>| {
            if at.is_null() { String::new() } else { String::from_utf8_lossy(&terminated(at)).into_owned() }
        };
        trace::print(format!("*** Assertion failed: {}{}\n***   Source File: {}, line {line}", text(message), text(failed), text(file)));
        stop();
    }
}
