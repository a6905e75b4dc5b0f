//! The I/O manager's objects.

use super::{
    base::{KEvent, ListEntry, Ptr, UnicodeString},
    layout,
    status::NtStatus,
};

/// Number of `MajorFunction` entries of a driver object.
pub(crate) const MAJOR_FUNCTIONS: usize = 28;

/// `DRIVER_OBJECT`.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct DriverObject {
    pub(crate) kind: i16,
    pub(crate) size: i16,
    pub(crate) device_object: Ptr,
    pub(crate) flags: u32,
    pub(crate) driver_start: Ptr,
    pub(crate) driver_size: u32,
    pub(crate) driver_section: Ptr,
    pub(crate) driver_extension: *mut DriverExtension,
    pub(crate) driver_name: UnicodeString,
    pub(crate) hardware_database: *mut UnicodeString,
    pub(crate) fast_io_dispatch: Ptr,
    pub(crate) driver_init: usize,
    pub(crate) driver_start_io: usize,
    pub(crate) driver_unload: usize,
    pub(crate) major_function: [usize; MAJOR_FUNCTIONS],
}
layout!(
    DriverObject, 336, device_object @ 8, flags @ 16, driver_start @ 24, driver_size @ 32, driver_extension @ 48,
    driver_name @ 56, hardware_database @ 72, driver_init @ 88, driver_unload @ 104, major_function @ 112
);
/// `IO_TYPE_DRIVER`.
pub(crate) const IO_TYPE_DRIVER: i16 = 4;

/// `DRIVER_EXTENSION`: the documented part.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct DriverExtension {
    pub(crate) driver_object: *mut DriverObject,
    pub(crate) add_device: usize,
    pub(crate) count: u32,
    pub(crate) service_key_name: UnicodeString,
}
layout!(DriverExtension, 40, add_device @ 8, count @ 16, service_key_name @ 24);

/// `DEVICE_OBJECT`, of which minifilters read little.
#[repr(C)]
pub(crate) struct DeviceObject {
    pub(crate) kind: i16,
    pub(crate) size: u16,
    pub(crate) reference_count: i32,
    pub(crate) driver_object: *mut DriverObject,
    pub(crate) next_device: *mut DeviceObject,
    pub(crate) attached_device: *mut DeviceObject,
    pub(crate) current_irp: Ptr,
    pub(crate) timer: Ptr,
    pub(crate) flags: u32,
    pub(crate) characteristics: u32,
    pub(crate) vpb: Ptr,
    pub(crate) device_extension: Ptr,
    pub(crate) device_type: u32,
    pub(crate) stack_size: i8,
    pub(crate) rest: [u64; 31],
}
layout!(
    DeviceObject, 328, reference_count @ 4, driver_object @ 8, flags @ 48, characteristics @ 52, vpb @ 56,
    device_extension @ 64, device_type @ 72, stack_size @ 76
);
/// `IO_TYPE_DEVICE`.
pub(crate) const IO_TYPE_DEVICE: i16 = 3;
/// `FILE_DEVICE_DISK`.
pub(crate) const FILE_DEVICE_DISK: u32 = 0x7;
/// `FILE_DEVICE_DISK_FILE_SYSTEM`.
pub(crate) const FILE_DEVICE_DISK_FILE_SYSTEM: u32 = 0x8;
/// `FILE_DEVICE_NETWORK_FILE_SYSTEM`.
pub(crate) const FILE_DEVICE_NETWORK_FILE_SYSTEM: u32 = 0x14;
/// `FILE_REMOTE_DEVICE`, a characteristic.
pub(crate) const FILE_REMOTE_DEVICE: u32 = 0x10;

/// `FILE_OBJECT`.
#[repr(C)]
pub(crate) struct FileObject {
    pub(crate) kind: i16,
    pub(crate) size: i16,
    pub(crate) device_object: *mut DeviceObject,
    pub(crate) vpb: Ptr,
    pub(crate) fs_context: Ptr,
    pub(crate) fs_context2: Ptr,
    pub(crate) section_object_pointer: Ptr,
    pub(crate) private_cache_map: Ptr,
    pub(crate) final_status: NtStatus,
    pub(crate) related_file_object: *mut FileObject,
    pub(crate) lock_operation: u8,
    pub(crate) delete_pending: u8,
    pub(crate) read_access: u8,
    pub(crate) write_access: u8,
    pub(crate) delete_access: u8,
    pub(crate) shared_read: u8,
    pub(crate) shared_write: u8,
    pub(crate) shared_delete: u8,
    pub(crate) flags: u32,
    pub(crate) file_name: UnicodeString,
    pub(crate) current_byte_offset: i64,
    pub(crate) waiters: u32,
    pub(crate) busy: u32,
    pub(crate) last_lock: Ptr,
    pub(crate) lock: KEvent,
    pub(crate) event: KEvent,
    pub(crate) completion_context: Ptr,
    pub(crate) irp_list_lock: u64,
    pub(crate) irp_list: ListEntry,
    pub(crate) file_object_extension: Ptr,
}
layout!(
    FileObject, 216, device_object @ 8, vpb @ 16, fs_context @ 24, fs_context2 @ 32, final_status @ 56,
    related_file_object @ 64, lock_operation @ 72, shared_delete @ 79, flags @ 80, file_name @ 88,
    current_byte_offset @ 104, lock @ 128, event @ 152, irp_list @ 192, file_object_extension @ 208
);
/// `IO_TYPE_FILE`.
pub(crate) const IO_TYPE_FILE: i16 = 5;
pub(crate) const FO_SYNCHRONOUS_IO: u32 = 0x2;
pub(crate) const FO_ALERTABLE_IO: u32 = 0x4;
pub(crate) const FO_NO_INTERMEDIATE_BUFFERING: u32 = 0x8;
pub(crate) const FO_WRITE_THROUGH: u32 = 0x10;
pub(crate) const FO_SEQUENTIAL_ONLY: u32 = 0x20;
pub(crate) const FO_CLEANUP_COMPLETE: u32 = 0x4000;
pub(crate) const FO_DELETE_ON_CLOSE: u32 = 0x1_0000;
pub(crate) const FO_HANDLE_CREATED: u32 = 0x4_0000;
pub(crate) const FO_RANDOM_ACCESS: u32 = 0x10_0000;

/// `MDL`; the array of page numbers that follows it is nobody's but the memory manager's.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mdl {
    pub(crate) next: Ptr,
    pub(crate) size: i16,
    pub(crate) flags: u16,
    pub(crate) processor: u16,
    pub(crate) reserved: u16,
    pub(crate) process: Ptr,
    pub(crate) mapped: usize,
    pub(crate) start: usize,
    pub(crate) byte_count: u32,
    pub(crate) byte_offset: u32,
}
layout!(Mdl, 48, size @ 8, flags @ 10, process @ 16, mapped @ 24, start @ 32, byte_count @ 40, byte_offset @ 44);
pub(crate) const MDL_MAPPED_TO_SYSTEM_VA: u16 = 0x1;
pub(crate) const MDL_PAGES_LOCKED: u16 = 0x2;
pub(crate) const MDL_SOURCE_IS_NONPAGED_POOL: u16 = 0x4;
pub(crate) const MDL_PARTIAL: u16 = 0x10;
pub(crate) const MDL_WRITE_OPERATION: u16 = 0x80;

/// `IO_STATUS_BLOCK`: the status lies in a union with a pointer.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(crate) struct IoStatusBlock {
    pub(crate) status: NtStatus,
    pub(crate) pad: u32,
    pub(crate) information: usize,
}
layout!(IoStatusBlock, 16, status @ 0, information @ 8);

impl IoStatusBlock {
    pub(crate) const fn new(status: NtStatus, information: usize) -> Self {
        Self {
            status,
            pad: 0,
            information,
        }
    }
}

/// `IO_SECURITY_CONTEXT`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(crate) struct IoSecurityContext {
    pub(crate) security_qos: Ptr,
    pub(crate) access_state: *mut AccessState,
    pub(crate) desired_access: u32,
    pub(crate) full_create_options: u32,
}
layout!(IoSecurityContext, 24, access_state @ 8, desired_access @ 16, full_create_options @ 20);

/// `ACCESS_STATE`.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct AccessState {
    pub(crate) operation_id: u64,
    pub(crate) security_evaluated: u8,
    pub(crate) generate_audit: u8,
    pub(crate) generate_on_close: u8,
    pub(crate) privileges_allocated: u8,
    pub(crate) flags: u32,
    pub(crate) remaining_desired_access: u32,
    pub(crate) previously_granted_access: u32,
    pub(crate) original_desired_access: u32,
    pub(crate) subject_security_context: [Ptr; 4],
    pub(crate) security_descriptor: Ptr,
    pub(crate) aux_data: Ptr,
    pub(crate) privileges: [u32; 11],
    pub(crate) audit_privileges: u8,
    pub(crate) object_name: UnicodeString,
    pub(crate) object_type_name: UnicodeString,
}
layout!(
    AccessState, 160, flags @ 12, remaining_desired_access @ 16, previously_granted_access @ 20,
    original_desired_access @ 24, subject_security_context @ 32, security_descriptor @ 64, aux_data @ 72, privileges @ 80,
    audit_privileges @ 124, object_name @ 128, object_type_name @ 144
);

/// `IO_DRIVER_CREATE_CONTEXT` as of Windows 10, with `SiloContext`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(crate) struct IoDriverCreateContext {
    pub(crate) size: i16,
    pub(crate) extra_create_parameter: Ptr,
    pub(crate) device_object_hint: Ptr,
    pub(crate) txn_parameters: Ptr,
    pub(crate) silo_context: Ptr,
}
layout!(
    IoDriverCreateContext, 40, extra_create_parameter @ 8, device_object_hint @ 16, txn_parameters @ 24, silo_context @ 32
);
/// Its size before `SiloContext` was added; callers built for an older system say this.
pub(crate) const IO_DRIVER_CREATE_CONTEXT_SIZE_V1: i16 = 32;

/// `IO_IGNORE_SHARE_ACCESS_CHECK`.
pub(crate) const IO_IGNORE_SHARE_ACCESS_CHECK: u32 = 0x800;
/// `IO_FORCE_ACCESS_CHECK`.
pub(crate) const IO_FORCE_ACCESS_CHECK: u32 = 0x1;
/// `SL_FORCE_ACCESS_CHECK` of a create's stack location flags.
pub(crate) const SL_FORCE_ACCESS_CHECK: u8 = 0x1;
/// `SL_CASE_SENSITIVE`.
pub(crate) const SL_CASE_SENSITIVE: u8 = 0x80;

/// `IRP_CREATE_OPERATION`.
pub(crate) const IRP_CREATE_OPERATION: u32 = 0x80;
/// `IRP_SYNCHRONOUS_API`.
pub(crate) const IRP_SYNCHRONOUS_API: u32 = 0x4;
/// `IRP_DEFER_IO_COMPLETION`.
pub(crate) const IRP_DEFER_IO_COMPLETION: u32 = 0x800;

pub(crate) const IRP_NOCACHE: u32 = 0x1;
pub(crate) const IRP_PAGING_IO: u32 = 0x2;
/// `IRP_SYNCHRONOUS_PAGING_IO`.
pub(crate) const IRP_SYNCHRONOUS_PAGING_IO: u32 = 0x40;
/// `IRP_BUFFERED_IO`.
pub(crate) const IRP_BUFFERED_IO: u32 = 0x10;
/// `IRP_DEALLOCATE_BUFFER`.
pub(crate) const IRP_DEALLOCATE_BUFFER: u32 = 0x20;
/// `IRP_INPUT_OPERATION`.
pub(crate) const IRP_INPUT_OPERATION: u32 = 0x40;
/// `IRP_READ_OPERATION`.
pub(crate) const IRP_READ_OPERATION: u32 = 0x100;
/// `IRP_WRITE_OPERATION`.
pub(crate) const IRP_WRITE_OPERATION: u32 = 0x200;

// Stack location flags.
pub(crate) const SL_RESTART_SCAN: u8 = 0x1;
pub(crate) const SL_RETURN_SINGLE_ENTRY: u8 = 0x2;
pub(crate) const SL_WATCH_TREE: u8 = 0x1;
pub(crate) const SL_INDEX_SPECIFIED: u8 = 0x4;
pub(crate) const SL_FAIL_IMMEDIATELY: u8 = 0x1;
pub(crate) const SL_EXCLUSIVE_LOCK: u8 = 0x2;
/// `SL_OPEN_TARGET_DIRECTORY`.
pub(crate) const SL_OPEN_TARGET_DIRECTORY: u8 = 0x4;
pub(crate) const SL_WRITE_THROUGH: u8 = 0x4;

// Minor functions.
pub(crate) const IRP_MN_QUERY_DIRECTORY: u8 = 1;
pub(crate) const IRP_MN_NOTIFY_CHANGE_DIRECTORY: u8 = 2;
pub(crate) const IRP_MN_NOTIFY_CHANGE_DIRECTORY_EX: u8 = 3;
pub(crate) const IRP_MN_USER_FS_REQUEST: u8 = 0;
pub(crate) const IRP_MN_LOCK: u8 = 1;
pub(crate) const IRP_MN_UNLOCK_SINGLE: u8 = 2;
pub(crate) const IRP_MN_UNLOCK_ALL: u8 = 3;
pub(crate) const IRP_MN_UNLOCK_ALL_BY_KEY: u8 = 4;

pub(crate) const IRP_MN_QUERY_REMOVE_DEVICE: u8 = 0x1;
pub(crate) const IRP_MN_REMOVE_DEVICE: u8 = 0x2;
pub(crate) const IRP_MN_CANCEL_REMOVE_DEVICE: u8 = 0x3;
pub(crate) const IRP_MN_SURPRISE_REMOVAL: u8 = 0x17;

/// `FO_FILE_MODIFIED`, `FO_FILE_SIZE_CHANGED`.
pub(crate) const FO_FILE_MODIFIED: u32 = 0x1000;
pub(crate) const FO_FILE_SIZE_CHANGED: u32 = 0x2000;
/// `FO_VOLUME_OPEN`.
pub(crate) const FO_VOLUME_OPEN: u32 = 0x40_0000;

pub(crate) const IRP_MJ_CREATE: u8 = 0x00;
pub(crate) const IRP_MJ_CLOSE: u8 = 0x02;
pub(crate) const IRP_MJ_READ: u8 = 0x03;
pub(crate) const IRP_MJ_WRITE: u8 = 0x04;
pub(crate) const IRP_MJ_QUERY_INFORMATION: u8 = 0x05;
pub(crate) const IRP_MJ_SET_INFORMATION: u8 = 0x06;
pub(crate) const IRP_MJ_QUERY_EA: u8 = 0x07;
pub(crate) const IRP_MJ_SET_EA: u8 = 0x08;
pub(crate) const IRP_MJ_FLUSH_BUFFERS: u8 = 0x09;
pub(crate) const IRP_MJ_QUERY_VOLUME_INFORMATION: u8 = 0x0A;
pub(crate) const IRP_MJ_SET_VOLUME_INFORMATION: u8 = 0x0B;
pub(crate) const IRP_MJ_DIRECTORY_CONTROL: u8 = 0x0C;
pub(crate) const IRP_MJ_FILE_SYSTEM_CONTROL: u8 = 0x0D;
pub(crate) const IRP_MJ_DEVICE_CONTROL: u8 = 0x0E;
/// `IRP_MJ_INTERNAL_DEVICE_CONTROL`.
pub(crate) const IRP_MJ_INTERNAL_DEVICE_CONTROL: u8 = 0x0F;
/// `IRP_MJ_SHUTDOWN`.
pub(crate) const IRP_MJ_SHUTDOWN: u8 = 0x10;
pub(crate) const IRP_MJ_LOCK_CONTROL: u8 = 0x11;
pub(crate) const IRP_MJ_CLEANUP: u8 = 0x12;
pub(crate) const IRP_MJ_QUERY_SECURITY: u8 = 0x14;
pub(crate) const IRP_MJ_SET_SECURITY: u8 = 0x15;
pub(crate) const IRP_MJ_QUERY_QUOTA: u8 = 0x19;
pub(crate) const IRP_MJ_SET_QUOTA: u8 = 0x1A;
pub(crate) const IRP_MJ_PNP: u8 = 0x1B;
pub(crate) const IRP_MJ_ACQUIRE_FOR_SECTION_SYNCHRONIZATION: u8 = 0xFF;
pub(crate) const IRP_MJ_RELEASE_FOR_SECTION_SYNCHRONIZATION: u8 = 0xFE;
pub(crate) const IRP_MJ_ACQUIRE_FOR_MOD_WRITE: u8 = 0xFD;
pub(crate) const IRP_MJ_RELEASE_FOR_MOD_WRITE: u8 = 0xFC;
pub(crate) const IRP_MJ_NETWORK_QUERY_OPEN: u8 = 0xF2;
pub(crate) const IRP_MJ_MDL_READ: u8 = 0xF1;
pub(crate) const IRP_MJ_MDL_READ_COMPLETE: u8 = 0xF0;
pub(crate) const IRP_MJ_PREPARE_MDL_WRITE: u8 = 0xEF;
pub(crate) const IRP_MJ_MDL_WRITE_COMPLETE: u8 = 0xEE;

/// The name of a major function, or of one of the Filter Manager's own.
pub(crate) fn major_name(major: u8) -> &'static str {
    const IRPS: [&str; 28] = [
        "IRP_MJ_CREATE",
        "IRP_MJ_CREATE_NAMED_PIPE",
        "IRP_MJ_CLOSE",
        "IRP_MJ_READ",
        "IRP_MJ_WRITE",
        "IRP_MJ_QUERY_INFORMATION",
        "IRP_MJ_SET_INFORMATION",
        "IRP_MJ_QUERY_EA",
        "IRP_MJ_SET_EA",
        "IRP_MJ_FLUSH_BUFFERS",
        "IRP_MJ_QUERY_VOLUME_INFORMATION",
        "IRP_MJ_SET_VOLUME_INFORMATION",
        "IRP_MJ_DIRECTORY_CONTROL",
        "IRP_MJ_FILE_SYSTEM_CONTROL",
        "IRP_MJ_DEVICE_CONTROL",
        "IRP_MJ_INTERNAL_DEVICE_CONTROL",
        "IRP_MJ_SHUTDOWN",
        "IRP_MJ_LOCK_CONTROL",
        "IRP_MJ_CLEANUP",
        "IRP_MJ_CREATE_MAILSLOT",
        "IRP_MJ_QUERY_SECURITY",
        "IRP_MJ_SET_SECURITY",
        "IRP_MJ_POWER",
        "IRP_MJ_SYSTEM_CONTROL",
        "IRP_MJ_DEVICE_CHANGE",
        "IRP_MJ_QUERY_QUOTA",
        "IRP_MJ_SET_QUOTA",
        "IRP_MJ_PNP",
    ];
    /// From 0xFF downwards.
    const FILTER_MANAGER: [&str; 21] = [
        "IRP_MJ_ACQUIRE_FOR_SECTION_SYNCHRONIZATION",
        "IRP_MJ_RELEASE_FOR_SECTION_SYNCHRONIZATION",
        "IRP_MJ_ACQUIRE_FOR_MOD_WRITE",
        "IRP_MJ_RELEASE_FOR_MOD_WRITE",
        "IRP_MJ_ACQUIRE_FOR_CC_FLUSH",
        "IRP_MJ_RELEASE_FOR_CC_FLUSH",
        "IRP_MJ_QUERY_OPEN",
        "IRP_MJ_OTHER",
        "IRP_MJ_OTHER",
        "IRP_MJ_OTHER",
        "IRP_MJ_OTHER",
        "IRP_MJ_OTHER",
        "IRP_MJ_FAST_IO_CHECK_IF_POSSIBLE",
        "IRP_MJ_NETWORK_QUERY_OPEN",
        "IRP_MJ_MDL_READ",
        "IRP_MJ_MDL_READ_COMPLETE",
        "IRP_MJ_PREPARE_MDL_WRITE",
        "IRP_MJ_MDL_WRITE_COMPLETE",
        "IRP_MJ_VOLUME_MOUNT",
        "IRP_MJ_VOLUME_DISMOUNT",
        "IRP_MJ_OTHER",
    ];
    IRPS.get(usize::from(major))
        .or_else(|| FILTER_MANAGER.get(usize::from(0xFF - major)))
        .copied()
        .unwrap_or("IRP_MJ_OTHER")
}
