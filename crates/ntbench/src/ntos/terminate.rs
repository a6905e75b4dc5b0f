//! Processes that drivers end: `ZwTerminateProcess`.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::handle::{self, Target};
use super::{irql, ps, worker};
use crate::abi::flt::KERNEL_MODE;
use crate::status::NtStatus;
use crate::thread::{self, PASSIVE_LEVEL, Process, SYSTEM_PID};
use crate::{faults, machine};

/// The process of a handle; 0 and `ZwCurrentProcess()` are the caller's.
fn target(handle: u64) -> Result<Arc<Process>, NtStatus> {
    if handle == 0 || handle == u64::MAX {
        return Ok(Arc::clone(&thread::current().process));
    }
    match handle::look_up(handle, KERNEL_MODE)?.0 {
        Target::Process(object) => ps::process_at(object).ok_or(NtStatus::PROCESS_IS_TERMINATING),
        _ => Err(NtStatus::OBJECT_TYPE_MISMATCH),
    }
}

exports! { "ntoskrnl.exe";
    /// Ends a process: its threads' waits for I/O are cancelled, they end as they leave the kernel, its handles are closed.
    partial "the caller's own process ends once its threads have left the kernel: the call returns; the system's is STATUS_ACCESS_DENIED"
    fn ZwTerminateProcess(handle: u64, status: i32) -> NtStatus {
        irql::at_most("ZwTerminateProcess", PASSIVE_LEVEL);
        if let Some(status) = faults::check("ZwTerminateProcess") {
            return status;
        }
        let process = match target(handle) {
            Ok(process) => process,
            Err(status) => return status,
        };
        let pid = process.pid;
        if pid == SYSTEM_PID {
            return NtStatus::ACCESS_DENIED;
        }
        if process.exit_status.load(Ordering::Acquire) != NtStatus::PENDING.0 {
            return NtStatus::PROCESS_IS_TERMINATING;
        }
        worker::queue_apart(move || {
            machine::terminate(pid, NtStatus(status));
        });
        NtStatus::SUCCESS
    }
}
