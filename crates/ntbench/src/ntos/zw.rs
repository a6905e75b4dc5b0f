//! `ZwCreateFile` and its kin: files that a driver opens and uses by handles, from the top of the stack, as the kernel; and
//! the one question that needs no handle, by the file object.

use super::handle::{self, Target};
use super::iomgr::{self, Create, Eas};
use super::memory::Guest;
use super::notify::{self, Wanted};
use super::sync::by_handle;
use super::{away, irql, object};
use crate::abi::base::UnicodeString;
use crate::abi::file::{FILE_OPEN, FILE_STANDARD_INFORMATION_CLASS};
use crate::abi::flt::KERNEL_MODE;
use crate::abi::io::{
    IRP_MJ_DEVICE_CONTROL, IRP_MJ_FILE_SYSTEM_CONTROL, IRP_MJ_FLUSH_BUFFERS,
    IRP_MJ_QUERY_INFORMATION, IRP_MJ_QUERY_VOLUME_INFORMATION, IRP_MJ_READ, IRP_MJ_WRITE,
    IoStatusBlock, SL_RESTART_SCAN, SL_RETURN_SINGLE_ENTRY,
};
use crate::abi::ob::{OBJ_KERNEL_HANDLE, ObjectAttributes};
use crate::abi::params::Parameters;
use crate::fltmgr::operation::Request;
use crate::fltmgr::requests::Caller;
use crate::fltmgr::transfers::TransferCall;
use crate::stack::Frame;
use crate::status::NtStatus;
use crate::thread::PASSIVE_LEVEL;
use crate::{cost, faults, stack};

/// What a create of a driver's asks for, beside its name.
pub(super) struct Open {
    pub(super) access: u32,
    pub(super) share: u32,
    pub(super) disposition: u32,
    pub(super) options: u32,
    pub(super) attributes: u32,
    pub(super) allocation: i64,
    pub(super) eas: (usize, u32),
}

/// `FILE_STANDARD_INFORMATION`.
#[derive(Default, Clone, Copy)]
#[repr(C)]
struct Standard {
    allocation: i64,
    end: i64,
    links: u32,
    delete_pending: u8,
    directory: u8,
    pad: [u8; 2],
}

fn open(
    function: &str,
    out: Guest<u64>,
    attributes: Guest<ObjectAttributes>,
    status: Guest<IoStatusBlock>,
    open: &Open,
) -> NtStatus {
    irql::at_most(function, PASSIVE_LEVEL);
    irql::apcs_enabled(function);
    out.write(0);
    if let Some(status) = faults::check(function) {
        return status;
    }
    let attributes = attributes.read();
    if attributes.length as usize != size_of::<ObjectAttributes>() {
        return NtStatus::INVALID_PARAMETER;
    }
    match open_file(&attributes, open) {
        Ok((made, block)) => {
            status.write_opt(block);
            out.write(made);
            block.status
        }
        Err(block) => {
            status.write_opt(block);
            block.status
        }
    }
}

/// Opens a file from the top as the kernel; gives its handle.
pub(super) fn open_file(
    attributes: &ObjectAttributes,
    open: &Open,
) -> Result<(u64, IoStatusBlock), IoStatusBlock> {
    let root = attributes.root_directory.expose_provenance() as u64;
    let root = iomgr::root(root, KERNEL_MODE).map_err(|status| IoStatusBlock::new(status, 0))?;
    let (ea_buffer, ea_length) = open.eas;
    let eas = if ea_buffer == 0 {
        Vec::new()
    } else {
        Guest::<u8>::at(ea_buffer).read_many(ea_length as usize)
    };
    let eas = Eas::of(&eas)?;
    let created = stack::with_frames(&service_frames(), || {
        iomgr::create(&Create {
            eas,
            root,
            object_attributes: attributes.attributes,
            access: open.access,
            share: open.share,
            disposition: open.disposition,
            options: open.options,
            attributes: open.attributes,
            allocation: open.allocation,
            ..Create::open(Guest(attributes.object_name).units())
        })
    });
    let block = IoStatusBlock::new(created.status, created.information);
    let file = created.file.ok_or(block)?;
    file.add_handle();
    let target = Target::File(file.clone());
    let made = handle::open(target, open.access, attributes.attributes, KERNEL_MODE);
    file.dereference();
    Ok((made, block))
}

/// The frames of a service that the kernel calls itself. The listing's oldest one is the driver's own return address,
/// which lies on its stack already.
pub(super) fn service_frames() -> Vec<Frame> {
    let chain = cost::chain("zw_create");
    let mut frames = chain.get(1..).unwrap_or_default().to_vec();
    if let (Some(first), Some(linkage)) = (frames.first_mut(), chain.first()) {
        first.bytes += linkage.bytes;
    }
    frames
}

/// Runs a call on the file of a handle, and puts its end into the status block.
pub(super) fn on_file(
    function: &'static str,
    symbol: &'static str,
    handle: u64,
    status: Guest<IoStatusBlock>,
    call: impl FnOnce(Caller) -> Result<IoStatusBlock, NtStatus>,
) -> NtStatus {
    with_file(function, symbol, handle, |caller| {
        waited(status, call(caller))
    })
}

/// Runs a call on the file of a handle.
fn with_file(
    function: &'static str,
    symbol: &'static str,
    handle: u64,
    call: impl FnOnce(Caller) -> NtStatus,
) -> NtStatus {
    irql::at_most(function, PASSIVE_LEVEL);
    irql::apcs_enabled(function);
    if let Some(status) = faults::check(function) {
        return status;
    }
    let file = match handle::look_up(handle, KERNEL_MODE) {
        Ok((Target::File(file), _)) => file,
        Ok(_) => return NtStatus::OBJECT_TYPE_MISMATCH,
        Err(status) => return status,
    };
    file.reference();
    let done = call(Caller {
        instance: None,
        file: file.clone(),
        symbol,
    });
    file.dereference();
    done
}

/// A transfer as a handle's file has it done: waited for, or not.
fn transfer(transfer: TransferCall, event: u64, status: Guest<IoStatusBlock>) -> NtStatus {
    if !away::is_synchronous(&transfer.caller.file) {
        let caller = transfer.caller.clone();
        return away::begin(&caller, event, status, |told| {
            transfer.start(move |_, done| told(done))
        });
    }
    waited(status, signalling(event, || transfer.run()))
}

/// Puts how a call ended into its status block.
fn waited(status: Guest<IoStatusBlock>, done: Result<IoStatusBlock, NtStatus>) -> NtStatus {
    match done {
        Ok(done) => {
            status.write_opt(done);
            done.status
        }
        Err(status) => status,
    }
}

/// Waits for what is done; an event is set then.
fn signalling(event: u64, call: impl FnOnce() -> IoStatusBlock) -> Result<IoStatusBlock, NtStatus> {
    let event = by_handle::event_to_set(event)?;
    let done = call();
    if let Some(event) = event {
        by_handle::set(&event);
    }
    Ok(done)
}

exports! { "ntoskrnl.exe";
    /// Opens or makes a file.
    fn ZwCreateFile(
        out: Guest<u64>, access: u32, attributes: Guest<ObjectAttributes>, status: Guest<IoStatusBlock>,
        allocation: Guest<i64>, file_attributes: u32, share: u32, disposition: u32, options: u32, ea: usize,
        ea_length: u32,
    ) -> NtStatus {
        let allocation = allocation.read_opt().unwrap_or(0);
        open("ZwCreateFile", out, attributes, status, &Open {
            access, share, disposition, options, attributes: file_attributes, allocation, eas: (ea, ea_length),
        })
    }

    /// Opens a file.
    fn ZwOpenFile(
        out: Guest<u64>, access: u32, attributes: Guest<ObjectAttributes>, status: Guest<IoStatusBlock>, share: u32,
        options: u32,
    ) -> NtStatus {
        open("ZwOpenFile", out, attributes, status, &Open {
            access, share, disposition: FILE_OPEN, options, attributes: 0x80, allocation: 0, eas: (0, 0),
        })
    }

    /// Reads.
    partial "APC routines, which drivers are told to leave out, are not called"
    fn ZwReadFile(
        handle: u64, event: u64, _apc: usize, _context: usize, status: Guest<IoStatusBlock>, buffer: usize, length: u32,
        offset: Guest<i64>, _key: usize,
    ) -> NtStatus {
        with_file("ZwReadFile", "nt!NtReadFile", handle, |caller| {
            let offset = offset.read_opt();
            transfer(TransferCall { caller, major: IRP_MJ_READ, offset, length, buffer, flags: 0, key: 0, mdl: 0 }, event, status)
        })
    }

    /// Writes.
    partial "APC routines, which drivers are told to leave out, are not called"
    fn ZwWriteFile(
        handle: u64, event: u64, _apc: usize, _context: usize, status: Guest<IoStatusBlock>, buffer: usize, length: u32,
        offset: Guest<i64>, _key: usize,
    ) -> NtStatus {
        with_file("ZwWriteFile", "nt!NtWriteFile", handle, |caller| {
            let offset = offset.read_opt();
            transfer(TransferCall { caller, major: IRP_MJ_WRITE, offset, length, buffer, flags: 0, key: 0, mdl: 0 }, event, status)
        })
    }

    /// Asks about a file.
    partial "the classes that the bench's file systems answer"
    fn ZwQueryInformationFile(
        handle: u64, status: Guest<IoStatusBlock>, buffer: usize, length: u32, class: u32,
    ) -> NtStatus {
        on_file("ZwQueryInformationFile", "nt!NtQueryInformationFile", handle, status, |caller| {
            Ok(caller.query(IRP_MJ_QUERY_INFORMATION, buffer, length, class))
        })
    }

    /// Changes something about a file.
    partial "times and attributes, position, lengths, deletion, rename and link; STATUS_INVALID_INFO_CLASS for others"
    fn ZwSetInformationFile(
        handle: u64, status: Guest<IoStatusBlock>, buffer: usize, length: u32, class: u32,
    ) -> NtStatus {
        on_file("ZwSetInformationFile", "nt!NtSetInformationFile", handle, status, |caller| {
            caller.set(buffer, length, class).map(|status| IoStatusBlock::new(status, 0))
        })
    }

    /// The size of a file, by its object.
    partial "asks by an IRP, never by fast I/O; its stack is counted as NtQueryInformationFile's"
    fn FsRtlGetFileSize(file: usize, size: Guest<i64>) -> NtStatus {
        irql::at_most("FsRtlGetFileSize", PASSIVE_LEVEL);
        if let Some(status) = faults::check("FsRtlGetFileSize") {
            return status;
        }
        let mut answer = Standard::default();
        let caller = Caller {
            instance: None,
            file: object::file(file, "FsRtlGetFileSize"),
            symbol: "nt!NtQueryInformationFile",
        };
        let buffer = (&raw mut answer).expose_provenance();
        let length = size_of::<Standard>() as u32;
        let done = caller.query(IRP_MJ_QUERY_INFORMATION, buffer, length, FILE_STANDARD_INFORMATION_CLASS);
        // What the filters and the file system wrote there through its address.
        let answer = Guest::<Standard>::at(buffer).read();
        match done.status {
            status if status.0 < 0 => status,
            _ if answer.directory != 0 => NtStatus::FILE_IS_A_DIRECTORY,
            _ => {
                size.write(answer.end);
                NtStatus::SUCCESS
            }
        }
    }

    /// Lists a directory.
    partial "no asynchronous form: the call waits, then an event is set; APC routines are not called"
    fn ZwQueryDirectoryFile(
        handle: u64, event: u64, _apc: usize, _context: usize, status: Guest<IoStatusBlock>, buffer: usize, length: u32,
        class: u32, single: u8, name: Guest<UnicodeString>, restart: u8,
    ) -> NtStatus {
        let flags = if restart != 0 { SL_RESTART_SCAN } else { 0 }
            | if single != 0 { SL_RETURN_SINGLE_ENTRY } else { 0 };
        on_file("ZwQueryDirectoryFile", "nt!NtQueryDirectoryFile", handle, status, |caller| {
            signalling(event, || caller.directory((buffer, length), class, flags, name.address()))
        })
    }

    /// As `ZwQueryDirectoryFile`, with the flags in one word.
    partial "SL_RESTART_SCAN and SL_RETURN_SINGLE_ENTRY, STATUS_NOT_SUPPORTED for other flags; always waited for"
    fn ZwQueryDirectoryFileEx(
        handle: u64, event: u64, _apc: usize, _context: usize, status: Guest<IoStatusBlock>, buffer: usize, length: u32,
        class: u32, flags: u32, name: Guest<UnicodeString>,
    ) -> NtStatus {
        let known = u32::from(SL_RESTART_SCAN | SL_RETURN_SINGLE_ENTRY);
        if flags & !known != 0 {
            return NtStatus::NOT_SUPPORTED;
        }
        let flags = u8::try_from(flags).unwrap_or(0);
        on_file("ZwQueryDirectoryFileEx", "nt!NtQueryDirectoryFile", handle, status, |caller| {
            signalling(event, || caller.directory((buffer, length), class, flags, name.address()))
        })
    }

    /// Sends a control to the file system.
    partial "waited for where the code is METHOD_IN_DIRECT or METHOD_OUT_DIRECT; APC routines are not called"
    fn ZwFsControlFile(
        handle: u64, event: u64, _apc: usize, _context: usize, status: Guest<IoStatusBlock>, code: u32, input: usize,
        input_length: u32, output: usize, output_length: u32,
    ) -> NtStatus {
        with_file("ZwFsControlFile", "nt!NtFsControlFile", handle, |caller| {
            let (major, input, output) = (IRP_MJ_FILE_SYSTEM_CONTROL, (input, input_length), (output, output_length));
            if code & 3 == 0 && !away::is_synchronous(&caller.file) {
                return away::begin(&caller, event, status, |told| {
                    caller.start_buffered_control(major, code, input, output, told)
                });
            }
            waited(status, signalling(event, || caller.control(major, code, input, output)))
        })
    }

    /// Sends a control to the device.
    partial "no asynchronous form: the call waits, then an event is set; APC routines are not called"
    fn ZwDeviceIoControlFile(
        handle: u64, event: u64, _apc: usize, _context: usize, status: Guest<IoStatusBlock>, code: u32, input: usize,
        input_length: u32, output: usize, output_length: u32,
    ) -> NtStatus {
        on_file("ZwDeviceIoControlFile", "nt!NtDeviceIoControlFile", handle, status, |caller| {
            let (input, output) = ((input, input_length), (output, output_length));
            signalling(event, || caller.control(IRP_MJ_DEVICE_CONTROL, code, input, output))
        })
    }

    /// Asks about the volume that a file is on.
    partial "the classes that the bench's file systems answer"
    fn ZwQueryVolumeInformationFile(
        handle: u64, status: Guest<IoStatusBlock>, buffer: usize, length: u32, class: u32,
    ) -> NtStatus {
        on_file("ZwQueryVolumeInformationFile", "nt!NtQueryVolumeInformationFile", handle, status, |caller| {
            Ok(caller.query(IRP_MJ_QUERY_VOLUME_INFORMATION, buffer, length, class))
        })
    }

    /// Has a file's data written out.
    fn ZwFlushBuffersFile(handle: u64, status: Guest<IoStatusBlock>) -> NtStatus {
        on_file("ZwFlushBuffersFile", "nt!NtFlushBuffersFile", handle, status, |caller| {
            Ok(caller.send(Request::new(IRP_MJ_FLUSH_BUFFERS, Parameters::default())))
        })
    }

    /// A handle for an object that is known by its address: a file object, a process, a section, a transaction.
    partial "for file objects, processes, threads, sections and transactions"
    fn ObOpenObjectByPointer(
        address: usize, attributes: u32, _access_state: usize, access: u32, object_type: usize, _mode: i8,
        out: Guest<u64>,
    ) -> NtStatus {
        irql::at_most("ObOpenObjectByPointer", PASSIVE_LEVEL);
        out.write(0);
        if let Some(status) = faults::check("ObOpenObjectByPointer") {
            return status;
        }
        let (target, kind) = match object::at(address) {
            Some(object::Kind::File(file)) => (Target::File(file), super::file_object_type()),
            Some(object::Kind::Counted(counted)) => {
                let kind = counted.object_type;
                (Target::Counted(counted), kind)
            }
            _ if super::ps::process_at(address).is_some() => (Target::Process(address), super::process_type()),
            _ if super::ps::thread_at(address).is_some() => (Target::Thread(address), super::thread_type()),
            _ => return NtStatus::OBJECT_TYPE_MISMATCH,
        };
        if object_type != 0 && object_type != kind {
            return NtStatus::OBJECT_TYPE_MISMATCH;
        }
        match &target {
            Target::File(file) => file.add_handle(),
            Target::Counted(counted) => counted.add_handle(),
            _ => {}
        }
        let wanted = Wanted {
            operation: notify::HANDLE_CREATE,
            object: address,
            object_type: kind,
            access,
            kernel: attributes & OBJ_KERNEL_HANDLE != 0,
            processes: (0, 0),
        };
        let (made, status) = notify::handle_filtered(wanted, |access| {
            (handle::open(target, access, attributes, KERNEL_MODE), NtStatus::SUCCESS)
        });
        out.write(made);
        status
    }
}
