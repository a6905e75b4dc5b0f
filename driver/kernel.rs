//! The kernel's clocks and identities, each behind a safe function.

use core::{marker::PhantomData, ptr};

use fltmgr::NtStatus;
use recorder::images::Process;
use wdk_sys::{
    HANDLE, LARGE_INTEGER, PEPROCESS, UNICODE_STRING,
    ntddk::{
        ExFreePool, KeGetCurrentIrql, KeQueryPerformanceCounter, PsGetCurrentProcessId,
        PsGetCurrentThreadId, PsGetProcessCreateTimeQuadPart, PsGetProcessId,
        SeLocateProcessImageName,
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

/// The process that asked for a create.
#[derive(Clone, Copy)]
pub(crate) struct Requestor<'a>(PEPROCESS, PhantomData<&'a ()>);

/// The process that asked for a create; `None` where there is none. It need not be the current one: a worker may be looking
/// at the create. <= `DISPATCH_LEVEL`.
pub(crate) fn requestor<'a>(create: &'a Create<'_>) -> Option<Requestor<'a>> {
    let process = create.requestor_process();
    (!process.is_null()).then_some(Requestor(process, PhantomData))
}

/// What tells a process from all others. `PASSIVE_LEVEL`.
pub(crate) fn identity(process: Requestor<'_>) -> Process {
    let process = process.0;
    // SAFETY: the process stays for the time of the create.
    let id = unsafe { PsGetProcessId(process) };
    // SAFETY: as above.
    let created = unsafe { PsGetProcessCreateTimeQuadPart(process) };
    Process {
        object: process.addr() as u64,
        id: id.addr() as u64,
        created: created.cast_unsigned(),
    }
}

/// Calls `look` with the path of a process's image; `None` where the kernel has none to give. `PASSIVE_LEVEL`.
pub(crate) fn with_image<T>(process: Requestor<'_>, look: impl FnOnce(&[u16]) -> T) -> Option<T> {
    let mut name: *mut UNICODE_STRING = ptr::null_mut();
    // SAFETY: the process stays for the time of the create, and the second argument is a writable local.
    let status = unsafe { SeLocateProcessImageName(process.0, &raw mut name) };
    if NtStatus::check(status).is_err() || name.is_null() {
        return None;
    }
    // SAFETY: on success the name is a valid string in pool that is this caller's alone.
    let string = unsafe { &*name };
    // SAFETY: the string's buffer lies in the same allocation.
    let result = look(unsafe { fltmgr::units(string) });
    // SAFETY: the caller frees the name, once; nothing borrows it any more.
    unsafe { ExFreePool(name.cast()) };
    Some(result)
}
