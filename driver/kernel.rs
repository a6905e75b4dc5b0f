//! The kernel's clocks and identities, each behind a safe function.

use core::ptr;

use fltmgr::NtStatus;
use wdk_sys::{
    HANDLE, LARGE_INTEGER, UNICODE_STRING,
    ntddk::{
        ExFreePool, KeGetCurrentIrql, KeQueryPerformanceCounter, PsGetCurrentProcessId,
        PsGetCurrentThreadId, SeLocateProcessImageName,
    },
};

use crate::Create;

// A documented export of ntoskrnl.exe that not all headers wdk-sys may be generated from declare.
unsafe extern "C" {
    /// Windows 8. Any IRQL.
    fn KeQuerySystemTimePrecise(CurrentTime: *mut LARGE_INTEGER);
}

/// The performance counter. Any IRQL.
pub(crate) fn performance_counter() -> u64 {
    // SAFETY: the frequency is optional.
    unsigned(unsafe { KeQueryPerformanceCounter(ptr::null_mut()) })
}

/// Ticks of the performance counter per second. Any IRQL.
pub(crate) fn performance_frequency() -> u64 {
    let mut frequency = LARGE_INTEGER { QuadPart: 0 };
    // SAFETY: the argument is a writable local.
    unsafe { KeQueryPerformanceCounter(&raw mut frequency) };
    unsigned(frequency)
}

/// The system time, in units of 100 ns since 1601. Any IRQL.
pub(crate) fn system_time() -> u64 {
    let mut time = LARGE_INTEGER { QuadPart: 0 };
    // SAFETY: the argument is a writable local.
    unsafe { KeQuerySystemTimePrecise(&raw mut time) };
    unsigned(time)
}

fn unsigned(number: LARGE_INTEGER) -> u64 {
    // SAFETY: a LARGE_INTEGER is 64 bits whichever way one looks at it.
    unsafe { number.QuadPart }.cast_unsigned()
}

/// The identifier of the current process. Any IRQL.
pub(crate) fn process_id() -> u32 {
    // SAFETY: no requirements.
    identifier(unsafe { PsGetCurrentProcessId() })
}

/// The identifier of the current thread. Any IRQL.
pub(crate) fn thread_id() -> u32 {
    // SAFETY: no requirements.
    identifier(unsafe { PsGetCurrentThreadId() })
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "identifiers are 32 bits in a handle's clothes"
)]
fn identifier(handle: HANDLE) -> u32 {
    handle.addr() as u32
}

/// The current IRQL.
pub(crate) fn irql() -> u8 {
    // SAFETY: no requirements.
    unsafe { KeGetCurrentIrql() }
}

/// Calls `look` with the path of the image of the process that asked for a create; with an empty one where the kernel has
/// none to give. `PASSIVE_LEVEL`.
pub(crate) fn with_process_image<T>(create: &Create<'_>, look: impl FnOnce(&[u16]) -> T) -> T {
    let mut name: *mut UNICODE_STRING = ptr::null_mut();
    // Not the current process: a worker may be looking at the create.
    let process = create.requestor_process();
    if process.is_null() {
        return look(&[]);
    }
    // SAFETY: the process stays for the time of the create, and the second argument is a writable local.
    let status = unsafe { SeLocateProcessImageName(process, &raw mut name) };
    if NtStatus::check(status).is_err() || name.is_null() {
        return look(&[]);
    }
    // SAFETY: on success the name is a valid string in pool that is this caller's alone.
    let string = unsafe { &*name };
    // SAFETY: the string's buffer lies in the same allocation.
    let result = look(unsafe { fltmgr::units(string) });
    // SAFETY: the caller frees the name, once; nothing borrows it any more.
    unsafe { ExFreePool(name.cast()) };
    result
}
