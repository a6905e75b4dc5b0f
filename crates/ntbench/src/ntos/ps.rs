//! Processes and threads, as far as drivers ask who is calling.

use std::cell::Cell;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use super::memory::{Guest, wide};
use super::{handle, irql, pool};
use crate::abi::base::{ClientId, UnicodeString};
use crate::abi::flt::KERNEL_MODE;
use crate::abi::ob::ObjectAttributes;
use crate::maps::HashMap;
use crate::status::NtStatus;
use crate::thread::{self, PASSIVE_LEVEL, Process};

/// Processes whose objects a driver has been given.
static KNOWN: LazyLock<Mutex<HashMap<usize, Arc<Process>>>> = LazyLock::new(Mutex::default);

thread_local! {
    /// The process object that this thread has made known.
    static MADE_KNOWN: Cell<usize> = const { Cell::new(0) };
}

/// The current process's object, remembered so that it can be asked about later.
pub(crate) fn current_process() -> usize {
    let process = &thread::current().process;
    if MADE_KNOWN.replace(process.object) == process.object {
        return process.object;
    }
    KNOWN
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .insert(process.object, Arc::clone(process));
    process.object
}

/// The process of that object.
pub(crate) fn process_at(object: usize) -> Option<Arc<Process>> {
    let current = &thread::current().process;
    if current.object == object {
        return Some(Arc::clone(current));
    }
    KNOWN
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .get(&object)
        .cloned()
}

/// Whether that thread is one of that process.
fn has_thread(pid: u64, tid: u64) -> bool {
    thread::all()
        .into_iter()
        .any(|thread| thread.pid() == pid && thread.tid == tid)
}

/// The process with that id that has a thread, or is the calling one's.
pub(crate) fn process_of(pid: u64) -> Option<Arc<Process>> {
    let found = thread::all()
        .into_iter()
        .find(|thread| thread.pid() == pid)
        .map(|thread| Arc::clone(&thread.process))?;
    KNOWN
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .insert(found.object, Arc::clone(&found));
    Some(found)
}

/// Where every image lies.
static FOLDER: LazyLock<Vec<u16>> =
    LazyLock::new(|| wide(r"\Device\HarddiskVolume1\Windows\System32\"));

/// Tag of the image names that are handed out.
const TAG_NAME: u32 = u32::from_le_bytes(*b"PsIn");

exports! { "ntoskrnl.exe";
    /// The current process's id.
    fn PsGetCurrentProcessId() -> u64 {
        thread::current().pid()
    }

    /// The current thread's id.
    fn PsGetCurrentThreadId() -> u64 {
        thread::current().tid
    }

    /// The current process's object.
    fn IoGetCurrentProcess() -> usize {
        current_process()
    }

    /// The current process's object.
    fn PsGetCurrentProcess() -> usize {
        current_process()
    }

    /// A handle for the process with an id.
    partial "of processes that have threads; nobody is denied access"
    fn ZwOpenProcess(handle: Guest<u64>, access: u32, attributes: Guest<ObjectAttributes>, client: Guest<ClientId>) -> NtStatus {
        irql::at_most("ZwOpenProcess", PASSIVE_LEVEL);
        handle.write(0);
        if let Some(status) = crate::faults::check("ZwOpenProcess") {
            return status;
        }
        let attributes = attributes.read();
        // A process has no name to be opened by: the id alone says which one is meant.
        if !attributes.object_name.is_null() || client.is_null() {
            return NtStatus::INVALID_PARAMETER_MIX;
        }
        let client = client.read();
        let Some(process) = process_of(client.process.expose_provenance() as u64) else {
            return NtStatus::INVALID_CID;
        };
        if !client.thread.is_null() && !has_thread(process.pid, client.thread.expose_provenance() as u64) {
            return NtStatus::INVALID_CID;
        }
        handle.write(handle::open(handle::Target::Process(process.object), access, attributes.attributes, KERNEL_MODE));
        NtStatus::SUCCESS
    }

    /// The current thread's object. Compilers usually read it from the processor's block.
    fn KeGetCurrentThread() -> usize {
        thread::current().object
    }

    /// A process's id.
    fn PsGetProcessId(process: usize) -> u64 {
        process_at(process).map_or(0, |process| process.pid)
    }

    /// When a process was made.
    fn PsGetProcessCreateTimeQuadPart(process: usize) -> i64 {
        process_at(process).map_or(0, |process| process.created)
    }

    /// The id of a thread: only the current one's object is ever handed out.
    partial "of the current thread; 0 for others"
    fn PsGetThreadId(object: usize) -> u64 {
        let thread = thread::current();
        if thread.object == object { thread.tid } else { 0 }
    }

    /// A thread's process.
    partial "the current process, whichever thread is asked for"
    fn IoThreadToProcess(_thread: usize) -> usize {
        current_process()
    }

    /// Whether a thread is one of the system process: only the current one's object is ever handed out, and those of threads that drivers
    /// started.
    partial "of the current thread; FALSE for others"
    fn PsIsSystemThread(object: usize) -> u8 {
        let thread = thread::current();
        u8::from(thread.object == object && thread.is_system())
    }

    /// Not a WoW64 process: the bench has none.
    partial "FALSE always: there are no WoW64 processes"
    fn IoIs32bitProcess(_irp: usize) -> u8 {
        0
    }

    /// A process's image path in a string that the caller frees with `ExFreePool`.
    partial "every image lies in System32"
    fn SeLocateProcessImageName(process: usize, name: Guest<usize>) -> NtStatus {
        irql::at_most("SeLocateProcessImageName", PASSIVE_LEVEL);
        if let Some(status) = crate::faults::check("SeLocateProcessImageName") {
            return status;
        }
        let Some(process) = process_at(process) else { return NtStatus::INVALID_PARAMETER };
        let mut path = Vec::with_capacity(FOLDER.len() + process.image.len());
        path.extend_from_slice(&FOLDER);
        path.extend(process.image.encode_utf16());
        let header = size_of::<UnicodeString>();
        let Some(block) = pool::allocate(header + path.len() * 2 + 2, TAG_NAME, pool::Kind::NonPaged, true) else {
            return NtStatus::INSUFFICIENT_RESOURCES;
        };
        let length = u16::try_from(path.len() * 2).unwrap_or(0);
        let buffer = Guest::<u16>::at(block + header);
        buffer.write_many(&path);
        Guest::at(block).write(UnicodeString { length, maximum_length: length + 2, buffer: buffer.0 });
        name.write(block);
        NtStatus::SUCCESS
    }
}
