//! Lines for a debugger's console (`DbgPrintEx`, component IHVDRIVER).
//!
//! Formatting is the kernel's own: it takes a buffer of 512 bytes and some frames, and `core::fmt` would take more. A
//! record's line is therefore printed on a reserved stack, and where there is none it is left out and counted.

use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

use fltmgr::UnicodeStr;
use kstack::{Reservation, Wait};
use protocol::{Record, Rejection};
use wdk_sys::{
    _DPFLTR_TYPE, DPFLTR_ERROR_LEVEL, DPFLTR_INFO_LEVEL, DPFLTR_WARNING_LEVEL, NTSTATUS,
    ntddk::DbgPrintEx,
};

use crate::recorder::HEADROOM_RECORDER;

const COMPONENT: u32 = _DPFLTR_TYPE::DPFLTR_IHVDRIVER_ID.cast_unsigned();

/// What a line may take: a copy of the record and the kernel's formatting, with room to spare.
const LINE: Reservation = Reservation::of::<0x2000>();

/// Lines not printed because no stack could be reserved, or because their record had been overwritten.
#[used]
#[unsafe(no_mangle)]
pub(crate) static HEADROOM_LINES_SKIPPED: AtomicU64 = AtomicU64::new(0);

/// Prints the line of a record. `PASSIVE_LEVEL`.
///
/// It is printed after the create has come up, which is the first moment at which all of the record is known.
#[inline(never)]
pub(crate) fn record(sequence: u64) {
    let printed = kstack::with_reservation(LINE, Wait::Never, || {
        // A copy, so that the slot is not held while the console is written to.
        let mut copy = Record::EMPTY;
        let status = HEADROOM_RECORDER.read(sequence, |record, status| {
            copy = *record;
            status
        });
        match status {
            Ok(status) => {
                line(&copy, status.map_or(0, |status| status.0));
                true
            }
            Err(_) => false,
        }
    });
    if !matches!(printed, Ok(true)) {
        leave_out();
    }
}

/// Counts a line that is not printed.
pub(crate) fn leave_out() {
    HEADROOM_LINES_SKIPPED.fetch_add(1, Relaxed);
}

fn line(record: &Record, create_status: u32) {
    let outcome = match record.outcome {
        protocol::Outcome::DIRECT => c"direct",
        protocol::Outcome::GROWN => c"grown",
        protocol::Outcome::SWITCHED => c"switched",
        protocol::Outcome::NOT_EXPANDED => c"not expanded",
        protocol::Outcome::FAILED => c"failed",
        protocol::Outcome::WORKER => c"on a worker",
        _ => c"-",
    };
    let Ok(path) = UnicodeStr::new(record.tail()) else {
        return;
    };
    // SAFETY: the arguments are those that the format names, in its order; `%wZ` takes a pointer to a UNICODE_STRING, and
    // is allowed at PASSIVE_LEVEL.
    unsafe {
        DbgPrintEx(
            COMPONENT,
            DPFLTR_INFO_LEVEL,
            c"headroom: #%I64u depth %u before 0x%x inside 0x%x after 0x%x %s, reserved 0x%x (0x%08x), inspected 0x%08x, create 0x%08x, %wZ\n"
                .as_ptr(),
            record.sequence,
            record.nest_depth,
            record.before_remaining,
            record.inside_remaining,
            record.after_remaining,
            outcome.as_ptr(),
            record.reservation_bytes,
            record.reservation_status.0,
            record.inspect_status.0,
            create_status,
            path.as_raw(),
        );
    }
}

/// A setting is not used. `PASSIVE_LEVEL`.
pub(crate) fn rejected(rejection: &Rejection) {
    let (setting, reason) = (
        rejection.setting.name().unwrap_or_default(),
        rejection.reason.name().unwrap_or_default(),
    );
    #[expect(clippy::cast_possible_truncation, reason = "names of a few letters")]
    let (setting_length, reason_length) = (setting.len() as u32, reason.len() as u32);
    // SAFETY: the format names two strings by length and address and a number, and gets them in this order.
    unsafe {
        DbgPrintEx(
            COMPONENT,
            DPFLTR_WARNING_LEVEL,
            c"headroom: the setting %.*s %.*s (0x%x); its default is used\n".as_ptr(),
            setting_length,
            setting.as_ptr(),
            reason_length,
            reason.as_ptr(),
            rejection.value,
        );
    }
}

/// The settings cannot be read.
pub(crate) fn no_settings(status: NTSTATUS) {
    // SAFETY: the format names one number, and gets one.
    unsafe {
        DbgPrintEx(
            COMPONENT,
            DPFLTR_WARNING_LEVEL,
            c"headroom: the Parameters key cannot be opened, status 0x%08x; defaults are used\n"
                .as_ptr(),
            status,
        );
    }
}

/// The driver does not start.
pub(crate) fn not_started(status: NTSTATUS) {
    // SAFETY: the format names one number, and gets one.
    unsafe {
        DbgPrintEx(
            COMPONENT,
            DPFLTR_ERROR_LEVEL,
            c"headroom: not started, status 0x%08x\n".as_ptr(),
            status,
        );
    }
}
