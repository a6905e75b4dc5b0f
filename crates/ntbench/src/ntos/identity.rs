//! Processes, threads and objects by id, by pointer and by name: what filters ask to know with whom they deal.

use super::memory::{Guest, wide};
use super::object::{self, Kind};
use super::{device, handle, irql, pool, ps};
use crate::abi::base::UnicodeString;
use crate::abi::flt::{KERNEL_MODE, USER_MODE};
use crate::cpu::memory::read_checked;
use crate::namespace::DeviceId;
use crate::status::NtStatus;
use crate::thread::{self, APC_LEVEL, DISPATCH_LEVEL, PASSIVE_LEVEL};
use crate::{faults, stack};

/// `OBJECT_NAME_INFORMATION`: a counted string, its text behind it.
fn put_name(name: &[u16], to: Guest<UnicodeString>) {
    let length = u16::try_from(name.len() * 2).unwrap_or(u16::MAX - 3);
    let text = Guest::<u16>::at(to.address() + size_of::<UnicodeString>());
    text.write_many(name);
    text.add(name.len()).write(0);
    to.write(UnicodeString {
        length,
        maximum_length: length + 2,
        buffer: text.0,
    });
}

/// The name of an object; `None`: there is no such object.
fn name_of(address: usize) -> Option<Vec<u16>> {
    if let Some(device) = device::at(address) {
        return Some(wide(&device.volume.name));
    }
    if let Some(volume) = crate::fltmgr::volume_of_device(address) {
        return Some(wide(&volume.name));
    }
    match object::at(address)? {
        Kind::File(file) => {
            let mut name = wide(&file.volume.name);
            name.extend(file.full());
            Some(name)
        }
        _ => Some(wide(&super::registry::name_of(address).unwrap_or_default())),
    }
}

/// A file's name as programs have it: with its volume's letter, or from its server on.
fn dos_name_of(file: &super::file::File) -> Option<Vec<u16>> {
    let machine = super::MACHINE.get()?;
    let mut name = match file.volume.device {
        DeviceId::Mup => wide("\\"),
        DeviceId::Volume(index) => wide(&format!("{}:", machine.namespace.letter(index)?)),
        DeviceId::Driver => return None,
    };
    name.extend(file.full());
    Some(name)
}

exports! { "ntoskrnl.exe";
    /// The process with an id, referenced.
    partial "of processes that have threads"
    fn PsLookupProcessByProcessId(pid: u64, out: Guest<usize>) -> NtStatus {
        irql::at_most("PsLookupProcessByProcessId", APC_LEVEL);
        if let Some(status) = faults::check("PsLookupProcessByProcessId") {
            return status;
        }
        let Some(process) = ps::process_of(pid) else { return NtStatus::INVALID_CID };
        object::lend(process.object, "process object");
        out.write(process.object);
        NtStatus::SUCCESS
    }

    /// The thread with an id, referenced.
    fn PsLookupThreadByThreadId(tid: u64, out: Guest<usize>) -> NtStatus {
        irql::at_most("PsLookupThreadByThreadId", APC_LEVEL);
        if let Some(status) = faults::check("PsLookupThreadByThreadId") {
            return status;
        }
        let Some(thread) = thread::all().into_iter().find(|thread| thread.tid == tid) else {
            return NtStatus::INVALID_CID;
        };
        object::lend(thread.object, "thread object");
        out.write(thread.object);
        NtStatus::SUCCESS
    }

    /// The id of a thread's process.
    fn PsGetThreadProcessId(object: usize) -> u64 {
        let found = thread::all().into_iter().find(|thread| thread.object == object);
        found.map_or(0, thread::Thread::pid)
    }

    /// The first fifteen characters of a process's image name: nobody documents it, many use it.
    fn PsGetProcessImageFileName(process: usize) -> usize {
        let name = ps::process_at(process).map_or_else(String::new, |process| process.image.clone());
        let mut bytes: Vec<u8> = name.bytes().take(14).collect();
        bytes.resize(15, 0);
        let at = object::allocate(16);
        Guest::<u8>::at(at).write_many(&bytes);
        at
    }

    /// The system process's object, in a variable.
    data PsInitialSystemProcess = || {
        let variable = object::allocate(8);
        let system = super::MACHINE.get().map_or(0, |machine| machine.system.object);
        Guest::at(variable).write(system);
        variable
    };

    /// Whether user mode called the kernel.
    partial "user mode in every thread of a program's"
    fn ExGetPreviousMode() -> i8 {
        if thread::current().is_system() { KERNEL_MODE } else { USER_MODE }
    }

    /// Whether memory is there now: no promise that it stays.
    fn MmIsAddressValid(address: usize) -> u8 {
        irql::at_most("MmIsAddressValid", DISPATCH_LEVEL);
        u8::from(read_checked(address, &mut [0]))
    }

    /// Where the current stack begins.
    fn IoGetInitialStack() -> usize {
        usize::try_from(stack::limits().high).unwrap_or(0)
    }

    /// Whether a thread is one of the system process.
    fn IoIsSystemThread(object: usize) -> u8 {
        let found = thread::all().into_iter().find(|thread| thread.object == object);
        u8::from(found.is_some_and(thread::Thread::is_system))
    }

    /// An object's name (`OBJECT_NAME_INFORMATION`); empty where it has none.
    fn ObQueryNameString(object: usize, to: Guest<UnicodeString>, length: u32, needed: Guest<u32>) -> NtStatus {
        irql::at_most("ObQueryNameString", PASSIVE_LEVEL);
        if let Some(status) = faults::check("ObQueryNameString") {
            return status;
        }
        let Some(name) = name_of(object) else { return NtStatus::INVALID_PARAMETER };
        let text = if name.is_empty() { 0 } else { name.len() * 2 + 2 };
        let whole = u32::try_from(size_of::<UnicodeString>() + text).unwrap_or(u32::MAX);
        needed.write_opt(whole);
        if length < whole {
            return NtStatus::INFO_LENGTH_MISMATCH;
        }
        if name.is_empty() {
            to.write(UnicodeString::EMPTY);
        } else {
            put_name(&name, to);
        }
        NtStatus::SUCCESS
    }

    /// A file's name as programs have it, in pool that the caller frees with `ExFreePool`.
    fn IoQueryFileDosDeviceName(file: usize, out: Guest<usize>) -> NtStatus {
        irql::at_most("IoQueryFileDosDeviceName", PASSIVE_LEVEL);
        if let Some(status) = faults::check("IoQueryFileDosDeviceName") {
            return status;
        }
        let file = object::file(file, "IoQueryFileDosDeviceName");
        let Some(name) = dos_name_of(&file) else { return NtStatus::INVALID_PARAMETER };
        let size = size_of::<UnicodeString>() + name.len() * 2 + 2;
        let Some(block) = pool::allocate(size, u32::from_le_bytes(*b"Dosn"), pool::Kind::Paged, true) else {
            return NtStatus::INSUFFICIENT_RESOURCES;
        };
        put_name(&name, Guest::at(block));
        out.write(block);
        NtStatus::SUCCESS
    }

    /// Takes a reference to an object that is known by its pointer, if it is of that type.
    partial "the type of file objects alone is looked at"
    fn ObReferenceObjectByPointer(object: usize, _access: u32, object_type: usize, _mode: i8) -> NtStatus {
        irql::at_most("ObReferenceObjectByPointer", DISPATCH_LEVEL);
        let is_file = matches!(object::at(object), Some(Kind::File(_)));
        if object_type != 0 && is_file != (object_type == super::file_object_type()) {
            return NtStatus::OBJECT_TYPE_MISMATCH;
        }
        object::ObfReferenceObject(object);
        NtStatus::SUCCESS
    }

    /// Takes a reference; gives the new count.
    partial "as ObfReferenceObject; the tag is not kept"
    fn ObfReferenceObjectWithTag(object: usize, _tag: u32) -> i64 {
        object::ObfReferenceObject(object)
    }

    /// Gives a reference back; gives the new count.
    partial "as ObfDereferenceObject; the tag is not kept"
    fn ObfDereferenceObjectWithTag(object: usize, _tag: u32) -> i64 {
        object::ObfDereferenceObject(object)
    }

    /// Gives a reference back; what is to be deleted is deleted later.
    partial "as ObfDereferenceObject: what is to be deleted is deleted at once"
    fn ObDereferenceObjectDeferDelete(object: usize) {
        object::ObfDereferenceObject(object);
    }

    /// A handle's object, referenced.
    partial "as ObReferenceObjectByHandle; the tag is not kept"
    fn ObReferenceObjectByHandleWithTag(
        handle: u64, access: u32, object_type: usize, mode: i8, _tag: u32, result: Guest<usize>,
        information: Guest<[u32; 2]>,
    ) -> NtStatus {
        handle::ObReferenceObjectByHandle(handle, access, object_type, mode, result, information)
    }

    /// The same.
    partial "as ObfDereferenceObject: what is to be deleted is deleted at once; the tag is not kept"
    fn ObDereferenceObjectDeferDeleteWithTag(object: usize, _tag: u32) {
        object::ObfDereferenceObject(object);
    }

    /// Takes a reference to an object that is known by its pointer, if it is of that type.
    partial "as ObReferenceObjectByPointer; the tag is not kept"
    fn ObReferenceObjectByPointerWithTag(object: usize, access: u32, object_type: usize, mode: i8, _tag: u32) -> NtStatus {
        ObReferenceObjectByPointer(object, access, object_type, mode)
    }

    /// Whether a handle is one of the kernel's own.
    fn ObIsKernelHandle(handle: u64) -> u8 {
        u8::from(handle::is_kernel(handle))
    }
}
