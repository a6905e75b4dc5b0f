//! Processes and threads, as far as drivers ask who is calling.

use std::cell::Cell;
use std::sync::atomic::Ordering;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use super::memory::{Guest, wide};
use super::{attach, irql, pool};
use crate::abi::base::UnicodeString;
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
    attach::with(|process| {
        if MADE_KNOWN.replace(process.object) != process.object {
            KNOWN
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .insert(process.object, Arc::clone(process));
        }
        process.object
    })
}

/// The process of that object.
pub(crate) fn process_at(object: usize) -> Option<Arc<Process>> {
    let current = &thread::current().process;
    if current.object == object {
        return Some(Arc::clone(current));
    }
    let known = KNOWN
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .get(&object)
        .cloned();
    known.or_else(|| {
        let theirs = |thread: &&thread::Thread| thread.process.object == object;
        let found = thread::all().into_iter().find(theirs)?;
        Some(Arc::clone(&found.process))
    })
}

/// The thread of that object, if it has not ended.
pub(crate) fn thread_at(object: usize) -> Option<&'static thread::Thread> {
    let current = thread::current();
    if current.object == object {
        return Some(current);
    }
    thread::all()
        .into_iter()
        .find(|thread| thread.object == object)
}

/// Whether that thread is one of that process.
pub(crate) fn has_thread(pid: u64, tid: u64) -> bool {
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

/// A process's session.
pub(crate) fn session(process: &Process) -> u32 {
    u32::from(process.pid != thread::SYSTEM_PID)
}

/// Where every image lies, on the first volume.
pub(crate) const FOLDER: &str = r"\Windows\System32\";
/// That volume.
const VOLUME: &str = r"\Device\HarddiskVolume1";

/// Where a process's image lies.
pub(crate) fn image_path(process: &Process) -> Vec<u16> {
    wide(&format!("{VOLUME}{FOLDER}{}", process.image))
}

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

    /// The current thread's object. Compilers usually read it from the processor's block.
    fn KeGetCurrentThread() -> usize {
        thread::current().object
    }

    /// A process's id.
    fn PsGetProcessId(process: usize) -> u64 {
        process_at(process).map_or(0, |process| process.pid)
    }

    /// The id of a thread.
    partial "0 for a thread that has ended"
    fn PsGetThreadId(object: usize) -> u64 {
        thread_at(object).map_or(0, |thread| thread.tid)
    }

    /// A thread's process.
    partial "NULL for a thread that has ended"
    fn IoThreadToProcess(object: usize) -> usize {
        thread_at(object).map_or(0, |thread| thread.process.object)
    }

    /// A thread's process.
    partial "NULL for a thread that has ended"
    fn PsGetThreadProcess(object: usize) -> usize {
        IoThreadToProcess(object)
    }

    /// Whether a thread is one of the system process.
    partial "FALSE for a thread that has ended"
    fn PsIsSystemThread(object: usize) -> u8 {
        u8::from(thread_at(object).is_some_and(thread::Thread::is_system))
    }

    /// When a process was created: 100 ns units since 1601.
    fn PsGetProcessCreateTimeQuadPart(process: usize) -> i64 {
        process_at(process).map_or(0, |process| process.created)
    }

    /// How a process ended; `STATUS_PENDING` before.
    fn PsGetProcessExitStatus(process: usize) -> NtStatus {
        let status = process_at(process).map(|process| process.exit_status.load(Ordering::Acquire));
        NtStatus(status.unwrap_or(NtStatus::PENDING.0))
    }

    /// A process's session: the system's is 0, programs' 1.
    partial "programs are all in session 1"
    fn PsGetProcessSessionId(process: usize) -> u32 {
        process_at(process).map_or(u32::MAX, |process| session(&process))
    }

    /// The current process's session.
    partial "programs are all in session 1"
    fn PsGetCurrentProcessSessionId() -> u32 {
        attach::with(|process| session(process))
    }

    /// The id of the process that started a process: nobody documents it, many use it.
    fn PsGetProcessInheritedFromUniqueProcessId(process: usize) -> u64 {
        process_at(process).map_or(0, |process| process.parent)
    }

    /// The session of the process that asked for an operation; `STATUS_SUCCESS` always with a thread's IRP.
    partial "of the current process: programs are all in session 1"
    fn IoGetRequestorSessionId(_irp: usize, session: Guest<u32>) -> NtStatus {
        session.write(PsGetCurrentProcessSessionId());
        NtStatus::SUCCESS
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
        let path = image_path(&process);
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
