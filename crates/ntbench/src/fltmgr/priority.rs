//! Priorities of I/O: hints in operations, file objects and threads, and a thread's priorities as one value that is put in and
//! put back.
//!
//! Nothing here is faster for a higher priority; the hints are kept and told.

use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use super::extension;
use crate::bugcheck;
use crate::maps::HashMap;
use crate::ntos::memory::Guest;
use crate::ntos::{irql, object, ps};
use crate::status::NtStatus;
use crate::thread::DISPATCH_LEVEL;

/// `IoPriorityNormal`.
const NORMAL: u32 = 2;
/// `MaxIoPriorityTypes`: the first that is none.
const MOST: u32 = 5;
/// What a thread has that nobody has changed: the middle of the variable priorities, `MEMORY_PRIORITY_NORMAL`.
const ORDINARY: Thread = Thread {
    priority: 8,
    page: 5,
    io: NORMAL,
};
/// `IO_PRIORITY_INFO.ThreadPriority` and `.PagePriority` of "leave it", as `IoInitializePriorityInfo` writes them.
const KEEP_THREAD: u32 = 0xFFFF;
const KEEP_PAGE: u32 = 0;
/// The priorities that there are: of threads below this, of pages up to that.
const THREAD_PRIORITIES: u32 = 32;
const HIGHEST_PAGE: u32 = 7;

/// A thread's priorities.
#[derive(Clone, Copy)]
struct Thread {
    priority: u32,
    page: u32,
    io: u32,
}

/// What was changed, by thread object.
static THREADS: LazyLock<Mutex<HashMap<usize, Thread>>> = LazyLock::new(Mutex::default);

fn threads() -> MutexGuard<'static, HashMap<usize, Thread>> {
    THREADS.lock().unwrap_or_else(PoisonError::into_inner)
}

fn of_thread(thread: usize) -> Thread {
    threads().get(&thread).copied().unwrap_or(ORDINARY)
}

/// A thread that is one.
fn thread(address: usize, function: &str) -> usize {
    if ps::thread_at(address).is_none() {
        bugcheck::no_such(
            address,
            format!("{function} was given {address:#x}, which is no thread (any more)"),
        );
    }
    address
}

fn valid(hint: u32) -> Result<(), NtStatus> {
    if hint < MOST {
        Ok(())
    } else {
        Err(NtStatus::INVALID_PARAMETER)
    }
}

fn answer(done: Result<(), NtStatus>) -> NtStatus {
    done.err().unwrap_or(NtStatus::SUCCESS)
}

/// The hint of an operation's own.
fn of_data(data: usize) -> Option<u32> {
    let hint = extension::of(data).priority;
    hint.filter(|_| extension::is_irp(data))
}

/// `IO_PRIORITY_INFO`: its size, the thread's, the page's and the I/O's priority.
pub(crate) type Info = [u32; 4];
const INFO_BYTES: u32 = 16;

/// Whether its values are some that there are.
fn is_info([size, thread, page, io]: Info) -> bool {
    size == INFO_BYTES
        && (thread == KEEP_THREAD || thread < THREAD_PRIORITIES)
        && page <= HIGHEST_PAGE
        && io < MOST
}

fn put(info: Guest<Info>, thread: Thread) {
    info.write([INFO_BYTES, thread.priority, thread.page, thread.io]);
}

exports! { "fltmgr.sys";
    /// An operation's priority: its own, else its file object's, else its thread's.
    fn FltGetIoPriorityHint(data: usize) -> u32 {
        irql::at_most("FltGetIoPriorityHint", DISPATCH_LEVEL);
        let now = Guest::<crate::abi::flt::CallbackData>::at(data);
        let thread = now.thread();
        let file = now.iopb().read().target_file_object.expose_provenance();
        let of_file = || object::file(file, "FltGetIoPriorityHint").priority();
        of_data(data).or_else(of_file).unwrap_or_else(|| of_thread(thread).io)
    }

    /// The priority that was set in an operation.
    fn FltGetIoPriorityHintFromCallbackData(data: usize) -> u32 {
        irql::at_most("FltGetIoPriorityHintFromCallbackData", DISPATCH_LEVEL);
        of_data(data).unwrap_or(NORMAL)
    }

    /// The priority that was set in a file object.
    fn FltGetIoPriorityHintFromFileObject(file: usize) -> u32 {
        irql::at_most("FltGetIoPriorityHintFromFileObject", DISPATCH_LEVEL);
        let file = object::file(file, "FltGetIoPriorityHintFromFileObject");
        file.priority().unwrap_or(NORMAL)
    }

    /// A thread's priority of I/O.
    fn FltGetIoPriorityHintFromThread(address: usize) -> u32 {
        irql::at_most("FltGetIoPriorityHintFromThread", DISPATCH_LEVEL);
        of_thread(thread(address, "FltGetIoPriorityHintFromThread")).io
    }

    /// Sets it in an operation; fast I/O has nowhere to keep it, and the answer is success.
    fn FltSetIoPriorityHintIntoCallbackData(data: usize, hint: u32) -> NtStatus {
        irql::at_most("FltSetIoPriorityHintIntoCallbackData", DISPATCH_LEVEL);
        let done = valid(hint);
        if done.is_ok() && extension::is_irp(data) {
            extension::change(data, |extension| extension.priority = Some(hint));
        }
        answer(done)
    }

    /// Sets it in a file object.
    fn FltSetIoPriorityHintIntoFileObject(file: usize, hint: u32) -> NtStatus {
        irql::at_most("FltSetIoPriorityHintIntoFileObject", DISPATCH_LEVEL);
        let file = object::file(file, "FltSetIoPriorityHintIntoFileObject");
        answer(valid(hint).map(|()| file.set_priority(hint)))
    }

    /// Sets it in a thread.
    fn FltSetIoPriorityHintIntoThread(address: usize, hint: u32) -> NtStatus {
        irql::at_most("FltSetIoPriorityHintIntoThread", DISPATCH_LEVEL);
        let address = thread(address, "FltSetIoPriorityHintIntoThread");
        answer(valid(hint).map(|()| {
            threads().entry(address).or_insert(ORDINARY).io = hint;
        }))
    }

    /// A thread's priorities, with the I/O's of the operation or file object where they have one.
    fn FltRetrieveIoPriorityInfo(data: usize, file: usize, address: usize, info: Guest<Info>) -> NtStatus {
        irql::at_most("FltRetrieveIoPriorityInfo", DISPATCH_LEVEL);
        if info.read()[0] != INFO_BYTES {
            // IoInitializePriorityInfo has not been called.
            return NtStatus::INVALID_PARAMETER;
        }
        let own = (address != 0).then(|| of_thread(thread(address, "FltRetrieveIoPriorityInfo")));
        let hint = (data != 0).then(|| of_data(data)).flatten();
        let hint = hint.or_else(|| {
            let file = (file != 0).then(|| object::file(file, "FltRetrieveIoPriorityInfo"));
            file.and_then(|file| file.priority())
        });
        let kept = Thread { priority: KEEP_THREAD, page: KEEP_PAGE, io: NORMAL };
        let told = own.unwrap_or(kept);
        put(info, Thread { io: hint.unwrap_or(told.io), ..told });
        NtStatus::SUCCESS
    }

    /// Gives a thread priorities, and says what it had.
    fn FltApplyPriorityInfoThread(input: Guest<Info>, output: Guest<Info>, address: usize) -> NtStatus {
        irql::at_most("FltApplyPriorityInfoThread", DISPATCH_LEVEL);
        let address = thread(address, "FltApplyPriorityInfoThread");
        let info @ [_, priority, page, io] = input.read();
        if !is_info(info) {
            return NtStatus::INVALID_PARAMETER_1;
        }
        let before = of_thread(address);
        let after = Thread {
            priority: if priority == KEEP_THREAD { before.priority } else { priority },
            page: if page == KEEP_PAGE { before.page } else { page },
            io,
        };
        threads().insert(address, after);
        if !output.is_null() {
            put(output, before);
        }
        NtStatus::SUCCESS
    }
}
