//! Scalars, counted strings, lists and the dispatcher objects whose storage belongs to the driver.

use core::ffi::c_void;

use super::layout;

/// `PVOID` and every pointer to something opaque.
pub(crate) type Ptr = *mut c_void;

/// `UNICODE_STRING`: lengths in bytes, not necessarily terminated.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(crate) struct UnicodeString {
    pub(crate) length: u16,
    pub(crate) maximum_length: u16,
    pub(crate) buffer: *mut u16,
}
layout!(UnicodeString, 16, length @ 0, maximum_length @ 2, buffer @ 8);

impl UnicodeString {
    pub(crate) const EMPTY: Self = Self {
        length: 0,
        maximum_length: 0,
        buffer: core::ptr::null_mut(),
    };
}

/// `ANSI_STRING`, which has the same shape over bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(crate) struct AnsiString {
    pub(crate) length: u16,
    pub(crate) maximum_length: u16,
    pub(crate) buffer: *mut u8,
}
layout!(AnsiString, 16, buffer @ 8);

/// `LIST_ENTRY`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(crate) struct ListEntry {
    pub(crate) flink: *mut ListEntry,
    pub(crate) blink: *mut ListEntry,
}
layout!(ListEntry, 16, flink @ 0, blink @ 8);

/// `GUID`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Guid {
    pub(crate) data1: u32,
    pub(crate) data2: u16,
    pub(crate) data3: u16,
    pub(crate) data4: [u8; 8],
}
layout!(Guid, 16, data2 @ 4, data3 @ 6, data4 @ 8);

/// `DISPATCHER_HEADER`, of which a driver may know only that it is there.
#[repr(C)]
pub(crate) struct DispatcherHeader {
    pub(crate) kind: u8,
    pub(crate) signalling: u8,
    pub(crate) size: u8,
    pub(crate) reserved: u8,
    pub(crate) signal_state: i32,
    pub(crate) wait_list: ListEntry,
}
layout!(DispatcherHeader, 24, signal_state @ 4, wait_list @ 8);

/// `KEVENT`.
#[repr(C)]
pub(crate) struct KEvent {
    pub(crate) header: DispatcherHeader,
}
layout!(KEvent, 24, header @ 0);

/// `FAST_MUTEX`: the fields are the kernel's; a driver only sees the size.
#[repr(C)]
pub(crate) struct FastMutex {
    pub(crate) count: i32,
    pub(crate) owner: Ptr,
    pub(crate) contention: u32,
    pub(crate) event: KEvent,
    pub(crate) old_irql: u32,
}
layout!(FastMutex, 56, owner @ 8, contention @ 16, event @ 24, old_irql @ 48);

/// `CLIENT_ID`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(crate) struct ClientId {
    pub(crate) process: Ptr,
    pub(crate) thread: Ptr,
}
layout!(ClientId, 16, thread @ 8);
