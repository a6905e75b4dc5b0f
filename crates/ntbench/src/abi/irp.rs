//! I/O request packets and their stack locations.

use super::{
    base::{ListEntry, Ptr},
    io::IoStatusBlock,
    layout,
};

/// `IRP`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Irp {
    pub(crate) kind: i16,
    pub(crate) size: u16,
    pub(crate) allocation_processor: u16,
    pub(crate) reserved: u16,
    pub(crate) mdl_address: usize,
    pub(crate) flags: u32,
    /// `AssociatedIrp`: here always the system buffer.
    pub(crate) system_buffer: usize,
    pub(crate) thread_list_entry: ListEntry,
    pub(crate) io_status: IoStatusBlock,
    pub(crate) requestor_mode: i8,
    pub(crate) pending_returned: u8,
    pub(crate) stack_count: i8,
    pub(crate) current_location: i8,
    pub(crate) cancel: u8,
    pub(crate) cancel_irql: u8,
    pub(crate) apc_environment: i8,
    pub(crate) allocation_flags: u8,
    pub(crate) user_iosb: usize,
    pub(crate) user_event: usize,
    /// `Overlay`: an asynchronous call's APC routine and its context.
    pub(crate) overlay: [usize; 2],
    pub(crate) cancel_routine: usize,
    pub(crate) user_buffer: usize,
    /// `Tail.Overlay.DriverContext`.
    pub(crate) driver_context: [usize; 4],
    /// `Tail.Overlay.Thread`.
    pub(crate) thread: usize,
    pub(crate) auxiliary_buffer: usize,
    /// `Tail.Overlay.ListEntry`.
    pub(crate) list_entry: [usize; 2],
    /// `Tail.Overlay.CurrentStackLocation`.
    pub(crate) current_stack_location: usize,
    /// `Tail.Overlay.OriginalFileObject`.
    pub(crate) original_file_object: usize,
    pub(crate) extension: Ptr,
}
layout!(
    Irp, 208, mdl_address @ 8, flags @ 16, system_buffer @ 24, thread_list_entry @ 32, io_status @ 48,
    requestor_mode @ 64, pending_returned @ 65, stack_count @ 66, current_location @ 67, cancel @ 68, cancel_irql @ 69,
    apc_environment @ 70, allocation_flags @ 71, user_iosb @ 72, user_event @ 80, overlay @ 88, cancel_routine @ 104,
    user_buffer @ 112, driver_context @ 120, thread @ 152, auxiliary_buffer @ 160, list_entry @ 168,
    current_stack_location @ 184, original_file_object @ 192, extension @ 200
);
/// `IO_TYPE_IRP`.
pub(crate) const IO_TYPE_IRP: i16 = 6;

/// `IO_STACK_LOCATION`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(crate) struct StackLocation {
    pub(crate) major: u8,
    pub(crate) minor: u8,
    pub(crate) flags: u8,
    pub(crate) control: u8,
    pub(crate) pad: u32,
    pub(crate) parameters: [u64; 4],
    pub(crate) device_object: usize,
    pub(crate) file_object: usize,
    pub(crate) completion_routine: usize,
    pub(crate) context: usize,
}
layout!(
    StackLocation, 72, minor @ 1, flags @ 2, control @ 3, parameters @ 8, device_object @ 40, file_object @ 48,
    completion_routine @ 56, context @ 64
);

/// `SL_PENDING_RETURNED`.
pub(crate) const SL_PENDING_RETURNED: u8 = 0x01;
/// `SL_INVOKE_ON_CANCEL`.
pub(crate) const SL_INVOKE_ON_CANCEL: u8 = 0x20;
/// `SL_INVOKE_ON_SUCCESS`.
pub(crate) const SL_INVOKE_ON_SUCCESS: u8 = 0x40;
/// `SL_INVOKE_ON_ERROR`.
pub(crate) const SL_INVOKE_ON_ERROR: u8 = 0x80;

/// Where `FAST_IO_DISPATCH` has `FastIoDeviceControl`; its size comes first.
pub(crate) const FAST_IO_DEVICE_CONTROL: usize = 80;
