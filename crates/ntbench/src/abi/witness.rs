//! `windows-sys`, Microsoft's own metadata, as the second witness of the layouts.
//!
//! Where it disagrees, one of the two is wrong. The places where that is the metadata are listed, so that a new
//! disagreement fails the test, and so does a listed one that has been mended.

use std::mem::offset_of;

use windows_sys::Wdk::Foundation as foundation;
use windows_sys::Wdk::Storage::FileSystem::Minifilters as minifilters;
use windows_sys::Wdk::System::SystemServices as services;
use windows_sys::Win32::Foundation as win32;
use windows_sys::Win32::Storage::InstallableFileSystems as file_systems;
use windows_sys::Win32::System::IO as io_types;
use windows_sys::Win32::System::Kernel as kernel;

use super::{base, flt, io, irp, ob, params, registry};

/// What the metadata says wrongly: it does not know `POINTER_ALIGNMENT`, and packs the `Create` arm to four bytes; and
/// where a structure ends in an array of any length, it counts the array's first element and its padding.
/// (their type, field or `size`, what they say)
const KNOWN_ERRORS: &[(&str, &str, usize)] = &[
    ("minifilters::FLT_PARAMETERS_0", "size", 36),
    ("minifilters::FLT_PARAMETERS_0", "FileAttributes", 12),
    ("minifilters::FLT_PARAMETERS_0", "ShareAccess", 14),
    ("minifilters::FLT_PARAMETERS_0", "EaLength", 16),
    ("minifilters::FLT_PARAMETERS_0", "EaBuffer", 20),
    ("minifilters::FLT_PARAMETERS_0", "AllocationSize", 28),
    ("services::KEY_VALUE_FULL_INFORMATION", "size", 24),
    ("services::KEY_VALUE_PARTIAL_INFORMATION", "size", 16),
];

type Disagreement = (&'static str, &'static str, usize);

fn disagreements() -> Vec<Disagreement> {
    let mut found = Vec::new();
    macro_rules! compare {
        ($($ours:path, $theirs:path { $($field:ident = $their:ident),* $(,)? })*) => {$(
            let theirs = stringify!($theirs).split_whitespace().collect::<String>().leak();
            if size_of::<$ours>() != size_of::<$theirs>() {
                found.push((&*theirs, "size", size_of::<$theirs>()));
            }
            $(if offset_of!($ours, $field) != offset_of!($theirs, $their) {
                found.push((&*theirs, stringify!($their), offset_of!($theirs, $their)));
            })*
        )*};
    }
    compare! {
        base::UnicodeString, win32::UNICODE_STRING { length = Length, maximum_length = MaximumLength, buffer = Buffer }
        base::ListEntry, kernel::LIST_ENTRY { flink = Flink, blink = Blink }
        base::KEvent, foundation::KEVENT { header = Header }
        base::FastMutex, foundation::FAST_MUTEX { count = Count, owner = Owner, contention = Contention, event = Event, old_irql = OldIrql }
        ob::ObjectAttributes, foundation::OBJECT_ATTRIBUTES { length = Length, root_directory = RootDirectory, object_name = ObjectName, attributes = Attributes, security_descriptor = SecurityDescriptor, security_quality_of_service = SecurityQualityOfService }
        io::DriverObject, foundation::DRIVER_OBJECT { kind = Type, size = Size, device_object = DeviceObject, flags = Flags, driver_start = DriverStart, driver_size = DriverSize, driver_section = DriverSection, driver_extension = DriverExtension, driver_name = DriverName, hardware_database = HardwareDatabase, fast_io_dispatch = FastIoDispatch, driver_init = DriverInit, driver_start_io = DriverStartIo, driver_unload = DriverUnload, major_function = MajorFunction }
        io::DriverExtension, foundation::DRIVER_EXTENSION { driver_object = DriverObject, add_device = AddDevice, count = Count, service_key_name = ServiceKeyName }
        io::DeviceObject, foundation::DEVICE_OBJECT { kind = Type, size = Size, reference_count = ReferenceCount, driver_object = DriverObject, next_device = NextDevice, attached_device = AttachedDevice, current_irp = CurrentIrp, timer = Timer, flags = Flags, characteristics = Characteristics, vpb = Vpb, device_extension = DeviceExtension, device_type = DeviceType, stack_size = StackSize }
        io::FileObject, foundation::FILE_OBJECT { kind = Type, size = Size, device_object = DeviceObject, vpb = Vpb, fs_context = FsContext, fs_context2 = FsContext2, section_object_pointer = SectionObjectPointer, private_cache_map = PrivateCacheMap, final_status = FinalStatus, related_file_object = RelatedFileObject, lock_operation = LockOperation, delete_pending = DeletePending, read_access = ReadAccess, write_access = WriteAccess, delete_access = DeleteAccess, shared_read = SharedRead, shared_write = SharedWrite, shared_delete = SharedDelete, flags = Flags, file_name = FileName, current_byte_offset = CurrentByteOffset, waiters = Waiters, busy = Busy, last_lock = LastLock, lock = Lock, event = Event, completion_context = CompletionContext, irp_list_lock = IrpListLock, irp_list = IrpList, file_object_extension = FileObjectExtension }
        io::Mdl, foundation::MDL { next = Next, size = Size, flags = MdlFlags, process = Process, mapped = MappedSystemVa, start = StartVa, byte_count = ByteCount, byte_offset = ByteOffset }
        irp::Irp, foundation::IRP { kind = Type, size = Size, mdl_address = MdlAddress, flags = Flags, system_buffer = AssociatedIrp, thread_list_entry = ThreadListEntry, io_status = IoStatus, requestor_mode = RequestorMode, pending_returned = PendingReturned, stack_count = StackCount, current_location = CurrentLocation, cancel = Cancel, cancel_irql = CancelIrql, apc_environment = ApcEnvironment, allocation_flags = AllocationFlags, user_event = UserEvent, overlay = Overlay, cancel_routine = CancelRoutine, user_buffer = UserBuffer, driver_context = Tail }
        irp::StackLocation, foundation::IO_STACK_LOCATION { major = MajorFunction, minor = MinorFunction, flags = Flags, control = Control, parameters = Parameters, device_object = DeviceObject, file_object = FileObject, completion_routine = CompletionRoutine, context = Context }
        io::IoStatusBlock, io_types::IO_STATUS_BLOCK { information = Information }
        io::IoSecurityContext, foundation::IO_SECURITY_CONTEXT { security_qos = SecurityQos, access_state = AccessState, desired_access = DesiredAccess, full_create_options = FullCreateOptions }
        io::AccessState, foundation::ACCESS_STATE { operation_id = OperationID, security_evaluated = SecurityEvaluated, flags = Flags, remaining_desired_access = RemainingDesiredAccess, previously_granted_access = PreviouslyGrantedAccess, original_desired_access = OriginalDesiredAccess, subject_security_context = SubjectSecurityContext, security_descriptor = SecurityDescriptor, aux_data = AuxData, privileges = Privileges, audit_privileges = AuditPrivileges, object_name = ObjectName, object_type_name = ObjectTypeName }
        io::IoDriverCreateContext, services::IO_DRIVER_CREATE_CONTEXT { size = Size, extra_create_parameter = ExtraCreateParameter, device_object_hint = DeviceObjectHint, txn_parameters = TxnParameters, silo_context = SiloContext }
        params::CreateParameters, minifilters::FLT_PARAMETERS_0 { security_context = SecurityContext, options = Options, file_attributes = FileAttributes, share_access = ShareAccess, ea_length = EaLength, ea_buffer = EaBuffer, allocation_size = AllocationSize }
        flt::IoParameterBlock, minifilters::FLT_IO_PARAMETER_BLOCK { irp_flags = IrpFlags, major_function = MajorFunction, minor_function = MinorFunction, operation_flags = OperationFlags, target_file_object = TargetFileObject, target_instance = TargetInstance, parameters = Parameters }
        flt::CallbackData, minifilters::FLT_CALLBACK_DATA { flags = Flags, thread = Thread, iopb = Iopb, io_status = IoStatus, tag_data = TagData, queue_links = Anonymous, requestor_mode = RequestorMode }
        flt::RelatedObjects, minifilters::FLT_RELATED_OBJECTS { size = Size, transaction_context = TransactionContext, filter = Filter, volume = Volume, instance = Instance, file_object = FileObject, transaction = Transaction }
        flt::OperationRegistration, minifilters::FLT_OPERATION_REGISTRATION { major_function = MajorFunction, flags = Flags, pre_operation = PreOperation, post_operation = PostOperation, reserved1 = Reserved1 }
        flt::ContextRegistration, minifilters::FLT_CONTEXT_REGISTRATION { context_type = ContextType, flags = Flags, cleanup = ContextCleanupCallback, size = Size, pool_tag = PoolTag, allocate = ContextAllocateCallback, free = ContextFreeCallback, reserved1 = Reserved1 }
        flt::Registration, minifilters::FLT_REGISTRATION { size = Size, version = Version, flags = Flags, context_registration = ContextRegistration, operation_registration = OperationRegistration, filter_unload = FilterUnloadCallback, instance_setup = InstanceSetupCallback, instance_query_teardown = InstanceQueryTeardownCallback, instance_teardown_start = InstanceTeardownStartCallback, instance_teardown_complete = InstanceTeardownCompleteCallback, generate_file_name = GenerateFileNameCallback, normalize_name_component = NormalizeNameComponentCallback, normalize_context_cleanup = NormalizeContextCleanupCallback, transaction_notification = TransactionNotificationCallback, normalize_name_component_ex = NormalizeNameComponentExCallback, section_notification = SectionNotificationCallback }
        flt::FileNameInformation, minifilters::FLT_FILE_NAME_INFORMATION { size = Size, names_parsed = NamesParsed, format = Format, name = Name, volume = Volume, share = Share, extension = Extension, stream = Stream, final_component = FinalComponent, parent_dir = ParentDir }
        flt::VolumeProperties, minifilters::FLT_VOLUME_PROPERTIES { device_type = DeviceType, device_characteristics = DeviceCharacteristics, device_object_flags = DeviceObjectFlags, alignment_requirement = AlignmentRequirement, sector_size = SectorSize, flags = Flags, file_system_driver_name = FileSystemDriverName, file_system_device_name = FileSystemDeviceName, real_device_name = RealDeviceName }
        registry::KeyValueFull, services::KEY_VALUE_FULL_INFORMATION { title_index = TitleIndex, kind = Type, data_offset = DataOffset, data_length = DataLength, name_length = NameLength }
        registry::KeyValuePartial, services::KEY_VALUE_PARTIAL_INFORMATION { title_index = TitleIndex, kind = Type, data_length = DataLength }
    }
    found
}

#[test]
fn layouts_agree_with_the_metadata_but_for_its_known_errors() {
    assert_eq!(disagreements(), KNOWN_ERRORS);
}

#[test]
fn numbers_agree_with_the_metadata() {
    let unsigned = |value: i32| value.cast_unsigned();
    for (ours, theirs) in [
        (flt::FSTYPE_MUP, unsigned(file_systems::FLT_FSTYPE_MUP)),
        (flt::FSTYPE_NTFS, unsigned(file_systems::FLT_FSTYPE_NTFS)),
        (flt::NAME_FORMAT_OPENED, minifilters::FLT_FILE_NAME_OPENED),
        (
            flt::NAME_FORMAT_NORMALIZED,
            minifilters::FLT_FILE_NAME_NORMALIZED,
        ),
        (flt::NAME_FORMAT_SHORT, minifilters::FLT_FILE_NAME_SHORT),
        (
            flt::FLTFL_CALLBACK_DATA_DIRTY,
            minifilters::FLTFL_CALLBACK_DATA_DIRTY,
        ),
        (
            flt::FLTFL_CALLBACK_DATA_GENERATED_IO,
            minifilters::FLTFL_CALLBACK_DATA_GENERATED_IO,
        ),
        (
            flt::FLTFL_CALLBACK_DATA_POST_OPERATION,
            minifilters::FLTFL_CALLBACK_DATA_POST_OPERATION,
        ),
        (
            flt::FLTFL_INSTANCE_TEARDOWN_FILTER_UNLOAD,
            minifilters::FLTFL_INSTANCE_TEARDOWN_FILTER_UNLOAD,
        ),
        (
            unsigned(flt::PREOP_SUCCESS_WITH_CALLBACK),
            unsigned(minifilters::FLT_PREOP_SUCCESS_WITH_CALLBACK),
        ),
        (
            unsigned(flt::PREOP_SUCCESS_NO_CALLBACK),
            unsigned(minifilters::FLT_PREOP_SUCCESS_NO_CALLBACK),
        ),
        (
            unsigned(flt::PREOP_PENDING),
            unsigned(minifilters::FLT_PREOP_PENDING),
        ),
        (
            unsigned(flt::PREOP_COMPLETE),
            unsigned(minifilters::FLT_PREOP_COMPLETE),
        ),
        (
            unsigned(flt::PREOP_SYNCHRONIZE),
            unsigned(minifilters::FLT_PREOP_SYNCHRONIZE),
        ),
    ] {
        assert_eq!(ours, theirs);
    }
}
