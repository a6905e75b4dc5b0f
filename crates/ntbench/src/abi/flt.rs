//! The Filter Manager's structures.

use super::{
    base::{ListEntry, Ptr, UnicodeString},
    io::{FileObject, IoStatusBlock},
    layout,
    params::Parameters,
};

/// `FLT_IO_PARAMETER_BLOCK`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(crate) struct IoParameterBlock {
    pub(crate) irp_flags: u32,
    pub(crate) major_function: u8,
    pub(crate) minor_function: u8,
    pub(crate) operation_flags: u8,
    pub(crate) reserved: u8,
    pub(crate) target_file_object: *mut FileObject,
    pub(crate) target_instance: Ptr,
    pub(crate) parameters: Parameters,
}
layout!(
    IoParameterBlock, 72, major_function @ 4, minor_function @ 5, operation_flags @ 6, target_file_object @ 8,
    target_instance @ 16, parameters @ 24
);

/// `FLT_CALLBACK_DATA`.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct CallbackData {
    pub(crate) flags: u32,
    pub(crate) thread: Ptr,
    pub(crate) iopb: *mut IoParameterBlock,
    pub(crate) io_status: IoStatusBlock,
    pub(crate) tag_data: Ptr,
    pub(crate) queue_links: ListEntry,
    pub(crate) queue_context: [Ptr; 2],
    pub(crate) requestor_mode: i8,
}
layout!(
    CallbackData, 88, thread @ 8, iopb @ 16, io_status @ 24, tag_data @ 40, queue_links @ 48, queue_context @ 64,
    requestor_mode @ 80
);
pub(crate) const FLTFL_CALLBACK_DATA_IRP_OPERATION: u32 = 0x1;
/// `FLTFL_CALLBACK_DATA_FAST_IO_OPERATION`.
pub(crate) const FLTFL_CALLBACK_DATA_FAST_IO_OPERATION: u32 = 0x2;
/// `FLTFL_CALLBACK_DATA_FS_FILTER_OPERATION`.
pub(crate) const FLTFL_CALLBACK_DATA_FS_FILTER_OPERATION: u32 = 0x4;
pub(crate) const FLTFL_CALLBACK_DATA_SYSTEM_BUFFER: u32 = 0x8;
pub(crate) const FLTFL_CALLBACK_DATA_GENERATED_IO: u32 = 0x1_0000;
pub(crate) const FLTFL_CALLBACK_DATA_REISSUED_IO: u32 = 0x2_0000;
pub(crate) const FLTFL_CALLBACK_DATA_POST_OPERATION: u32 = 0x8_0000;
pub(crate) const FLTFL_CALLBACK_DATA_DIRTY: u32 = 0x8000_0000;

/// `KernelMode`, the requestor of what the kernel opens for itself.
pub(crate) const KERNEL_MODE: i8 = 0;
/// `UserMode`.
pub(crate) const USER_MODE: i8 = 1;

/// `FLT_RELATED_OBJECTS`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(crate) struct RelatedObjects {
    pub(crate) size: u16,
    pub(crate) transaction_context: u16,
    pub(crate) filter: Ptr,
    pub(crate) volume: Ptr,
    pub(crate) instance: Ptr,
    pub(crate) file_object: *mut FileObject,
    pub(crate) transaction: Ptr,
}
layout!(RelatedObjects, 48, filter @ 8, volume @ 16, instance @ 24, file_object @ 32, transaction @ 40);

/// `FLT_OPERATION_REGISTRATION`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(crate) struct OperationRegistration {
    pub(crate) major_function: u8,
    pub(crate) flags: u32,
    pub(crate) pre_operation: usize,
    pub(crate) post_operation: usize,
    pub(crate) reserved1: usize,
}
layout!(OperationRegistration, 32, flags @ 4, pre_operation @ 8, post_operation @ 16, reserved1 @ 24);
/// `IRP_MJ_OPERATION_END`.
pub(crate) const IRP_MJ_OPERATION_END: u8 = 0x80;

/// `FLT_CONTEXT_REGISTRATION`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(crate) struct ContextRegistration {
    pub(crate) context_type: u16,
    pub(crate) flags: u16,
    pub(crate) cleanup: usize,
    pub(crate) size: usize,
    pub(crate) pool_tag: u32,
    pub(crate) allocate: usize,
    pub(crate) free: usize,
    pub(crate) reserved1: usize,
}
layout!(
    ContextRegistration, 56, flags @ 2, cleanup @ 8, size @ 16, pool_tag @ 24, allocate @ 32, free @ 40, reserved1 @ 48
);
/// `FLT_CONTEXT_END`.
pub(crate) const FLT_CONTEXT_END: u16 = 0xFFFF;

/// `FLT_REGISTRATION` at version 0x0203.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Registration {
    pub(crate) size: u16,
    pub(crate) version: u16,
    pub(crate) flags: u32,
    pub(crate) context_registration: usize,
    pub(crate) operation_registration: usize,
    pub(crate) filter_unload: usize,
    pub(crate) instance_setup: usize,
    pub(crate) instance_query_teardown: usize,
    pub(crate) instance_teardown_start: usize,
    pub(crate) instance_teardown_complete: usize,
    pub(crate) generate_file_name: usize,
    pub(crate) normalize_name_component: usize,
    pub(crate) normalize_context_cleanup: usize,
    pub(crate) transaction_notification: usize,
    pub(crate) normalize_name_component_ex: usize,
    pub(crate) section_notification: usize,
}
layout!(
    Registration, 112, flags @ 4, context_registration @ 8, operation_registration @ 16, filter_unload @ 24,
    instance_setup @ 32, instance_query_teardown @ 40, instance_teardown_start @ 48, instance_teardown_complete @ 56,
    generate_file_name @ 64, transaction_notification @ 88, section_notification @ 104
);

/// `FLT_VOLUME_PROPERTIES`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(crate) struct VolumeProperties {
    pub(crate) device_type: u32,
    pub(crate) device_characteristics: u32,
    pub(crate) device_object_flags: u32,
    pub(crate) alignment_requirement: u32,
    pub(crate) sector_size: u16,
    pub(crate) flags: u16,
    pub(crate) file_system_driver_name: UnicodeString,
    pub(crate) file_system_device_name: UnicodeString,
    pub(crate) real_device_name: UnicodeString,
}
layout!(
    VolumeProperties, 72, sector_size @ 16, flags @ 18, file_system_driver_name @ 24, file_system_device_name @ 40,
    real_device_name @ 56
);

/// `FLT_FILE_NAME_INFORMATION`.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct FileNameInformation {
    pub(crate) size: u16,
    pub(crate) names_parsed: u16,
    pub(crate) format: u32,
    pub(crate) name: UnicodeString,
    pub(crate) volume: UnicodeString,
    pub(crate) share: UnicodeString,
    pub(crate) extension: UnicodeString,
    pub(crate) stream: UnicodeString,
    pub(crate) final_component: UnicodeString,
    pub(crate) parent_dir: UnicodeString,
}
layout!(
    FileNameInformation, 120, names_parsed @ 2, format @ 4, name @ 8, volume @ 24, share @ 40, extension @ 56, stream @ 72,
    final_component @ 88, parent_dir @ 104
);
pub(crate) const NAME_FORMAT_NORMALIZED: u32 = 1;
pub(crate) const NAME_FORMAT_OPENED: u32 = 2;
pub(crate) const NAME_FORMAT_SHORT: u32 = 3;
pub(crate) const NAME_PARSED_FINAL_COMPONENT: u16 = 1;
pub(crate) const NAME_PARSED_EXTENSION: u16 = 2;
pub(crate) const NAME_PARSED_STREAM: u16 = 4;
pub(crate) const NAME_PARSED_PARENT_DIR: u16 = 8;

// FLT_PREOP_CALLBACK_STATUS.
pub(crate) const PREOP_SUCCESS_WITH_CALLBACK: i32 = 0;
pub(crate) const PREOP_SUCCESS_NO_CALLBACK: i32 = 1;
pub(crate) const PREOP_PENDING: i32 = 2;
pub(crate) const PREOP_DISALLOW_FASTIO: i32 = 3;
pub(crate) const PREOP_COMPLETE: i32 = 4;
pub(crate) const PREOP_SYNCHRONIZE: i32 = 5;

// FLT_POSTOP_CALLBACK_STATUS.
pub(crate) const POSTOP_FINISHED_PROCESSING: i32 = 0;
pub(crate) const POSTOP_MORE_PROCESSING_REQUIRED: i32 = 1;

// Instance setup flags.
pub(crate) const FLTFL_INSTANCE_SETUP_AUTOMATIC_ATTACHMENT: u32 = 1;
pub(crate) const FLTFL_INSTANCE_SETUP_MANUAL_ATTACHMENT: u32 = 2;
pub(crate) const FLTFL_INSTANCE_SETUP_NEWLY_MOUNTED_VOLUME: u32 = 4;

// Teardown reasons.
pub(crate) const FLTFL_INSTANCE_TEARDOWN_MANUAL: u32 = 0x1;
pub(crate) const FLTFL_INSTANCE_TEARDOWN_FILTER_UNLOAD: u32 = 0x2;
pub(crate) const FLTFL_INSTANCE_TEARDOWN_MANDATORY_FILTER_UNLOAD: u32 = 0x4;
pub(crate) const FLTFL_INSTANCE_TEARDOWN_VOLUME_DISMOUNT: u32 = 0x8;

/// `FLTFL_FILTER_UNLOAD_MANDATORY`.
pub(crate) const FLTFL_FILTER_UNLOAD_MANDATORY: u32 = 1;
/// `FLTFL_REGISTRATION_DO_NOT_SUPPORT_SERVICE_STOP`.
pub(crate) const FLTFL_REGISTRATION_DO_NOT_SUPPORT_SERVICE_STOP: u32 = 1;

/// `FLTFL_POST_OPERATION_DRAINING`.
pub(crate) const FLTFL_POST_OPERATION_DRAINING: u32 = 1;

// FLT_FILESYSTEM_TYPE.
pub(crate) const FSTYPE_NTFS: u32 = 2;
pub(crate) const FSTYPE_MUP: u32 = 13;
