//! Small facts about processes and threads that filters ask for.
//!
//! `PsGetProcessWow64Process`, `PsIsProtectedProcess`, `PsGetThreadExitStatus`, `ZwOpenThread` and their kin, of which most are
//! exported without a page of their own and used widely.

use super::memory::Guest;
use super::notify::{self, Wanted};
use super::{attach, handle, irql, ps, thread_type};
use crate::abi::base::ClientId;
use crate::abi::flt::KERNEL_MODE;
use crate::abi::ob::{OBJ_KERNEL_HANDLE, ObjectAttributes};
use crate::bugcheck;
use crate::status::NtStatus;
use crate::thread::{self, APC_LEVEL, PASSIVE_LEVEL};

/// What is no process is a bug check: the kernel reads from there.
fn process(call: &str, object: usize) -> std::sync::Arc<thread::Process> {
    ps::process_at(object).unwrap_or_else(|| {
        bugcheck::raise(
            0x3B,
            [0xC000_0005, 0, object as u64, 0],
            format!("{call} was given {object:#x}, which is no process"),
        )
    })
}

exports! { "ntoskrnl.exe";
    /// The current thread's object.
    fn PsGetCurrentThread() -> usize {
        thread::current().object
    }

    /// The current thread's process, whatever it is attached to.
    fn PsGetCurrentThreadProcess() -> usize {
        thread::current().process.object
    }

    /// Its id.
    fn PsGetCurrentThreadProcessId() -> u64 {
        thread::current().process.pid
    }

    /// The 32-bit part of a process: none has one.
    partial "NULL always: there are no WoW64 processes"
    fn PsGetProcessWow64Process(object: usize) -> usize {
        process("PsGetProcessWow64Process", object);
        0
    }

    /// A process's environment block in its own memory: none has one.
    partial "NULL always: programs are the bench's clients and have no environment block"
    fn PsGetProcessPeb(object: usize) -> usize {
        process("PsGetProcessPeb", object);
        0
    }

    /// Whether a process is protected: the system's is.
    fn PsIsProtectedProcess(object: usize) -> u8 {
        u8::from(process("PsIsProtectedProcess", object).pid == thread::SYSTEM_PID)
    }

    /// Whether it is protected lightly.
    partial "FALSE always: no program is protected"
    fn PsIsProtectedProcessLight(object: usize) -> u8 {
        process("PsIsProtectedProcessLight", object);
        0
    }

    /// Whether a process is the system's.
    fn PsIsSystemProcess(object: usize) -> u8 {
        u8::from(process("PsIsSystemProcess", object).pid == thread::SYSTEM_PID)
    }

    /// Whether a process is being debugged.
    partial "FALSE always: nobody debugs programs"
    fn PsIsProcessBeingDebugged(object: usize) -> u8 {
        process("PsIsProcessBeingDebugged", object);
        0
    }

    /// Whether a process has begun to end.
    fn PsGetProcessExitProcessCalled(object: usize) -> u8 {
        use std::sync::atomic::Ordering;
        let status = process("PsGetProcessExitProcessCalled", object).exit_status.load(Ordering::Acquire);
        u8::from(status != NtStatus::PENDING.0)
    }

    /// When the current process ended: it has not.
    fn PsGetProcessExitTime() -> i64 {
        0
    }

    /// A thread's block in its process's memory: none has one.
    partial "NULL always: programs are the bench's clients and have no thread blocks"
    fn PsGetThreadTeb(_thread: usize) -> usize {
        0
    }

    /// Whether a thread has begun to end.
    fn PsIsThreadTerminating(object: usize) -> u8 {
        u8::from(ps::thread_at(object).is_none())
    }

    /// How a thread ended; `STATUS_PENDING` before.
    partial "STATUS_SUCCESS for each that has ended"
    fn PsGetThreadExitStatus(object: usize) -> NtStatus {
        if ps::thread_at(object).is_some() { NtStatus::PENDING } else { NtStatus::SUCCESS }
    }

    /// A thread's session.
    partial "programs are all in session 1"
    fn PsGetThreadSessionId(object: usize) -> u32 {
        ps::thread_at(object).map_or(u32::MAX, |thread| ps::session(&thread.process))
    }

    /// Whether the current thread prefetches: none does.
    fn PsIsCurrentThreadPrefetching() -> u8 {
        irql::at_most("PsIsCurrentThreadPrefetching", APC_LEVEL);
        0
    }

    /// The process and thread of a pair of ids, referenced.
    fn PsLookupProcessThreadByCid(client: Guest<ClientId>, process: Guest<usize>, thread: Guest<usize>) -> NtStatus {
        irql::at_most("PsLookupProcessThreadByCid", APC_LEVEL);
        let wanted = client.read();
        let (pid, tid) = (wanted.process.expose_provenance() as u64, wanted.thread.expose_provenance() as u64);
        let found = thread::all().into_iter().find(|known| known.tid == tid && (pid == 0 || known.pid() == pid));
        let Some(found) = found else { return NtStatus::INVALID_CID };
        if !process.is_null() {
            super::object::lend(found.process.object, "process object");
            process.write(found.process.object);
        }
        super::object::lend(found.object, "thread object");
        thread.write(found.object);
        NtStatus::SUCCESS
    }

    /// A handle for the thread with an id.
    partial "nobody is denied access but by object callbacks"
    fn ZwOpenThread(out: Guest<u64>, access: u32, attributes: Guest<ObjectAttributes>, client: Guest<ClientId>) -> NtStatus {
        irql::at_most("ZwOpenThread", PASSIVE_LEVEL);
        let attributes = attributes.read();
        // A thread has no name to be opened by: the id alone says which one is meant.
        if !attributes.object_name.is_null() || client.is_null() {
            return NtStatus::INVALID_PARAMETER_MIX;
        }
        let wanted = client.read();
        let (pid, tid) = (wanted.process.expose_provenance() as u64, wanted.thread.expose_provenance() as u64);
        let found = thread::all().into_iter().find(|known| known.tid == tid && (pid == 0 || known.pid() == pid));
        let Some(found) = found else { return NtStatus::INVALID_CID };
        let asked = Wanted {
            operation: notify::HANDLE_CREATE,
            object: found.object,
            object_type: thread_type(),
            access,
            kernel: attributes.attributes & OBJ_KERNEL_HANDLE != 0,
            processes: (0, 0),
        };
        let (made, status) = notify::handle_filtered(asked, |access| {
            let target = handle::Target::Thread(found.object);
            (handle::open(target, access, attributes.attributes, KERNEL_MODE), NtStatus::SUCCESS)
        });
        out.write(made);
        status
    }

    /// Whether a process that a thread is attached to is another than its own.
    fn KeIsAttachedProcess() -> u8 {
        u8::from(attach::object() != thread::current().process.object)
    }
}
