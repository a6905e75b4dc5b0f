//! What a post-operation callback at a raised IRQL does: `FltDoCompletionProcessingWhenSafe`; and word of what became of
//! an operation: `FltRequestOperationStatusCallback`.

use super::callback::{self, About};
use super::flight::{self, name_of};
use super::pending::{self, Verdict};
use crate::abi::flt::{
    CallbackData, FLTFL_POST_OPERATION_DRAINING, POSTOP_FINISHED_PROCESSING,
    POSTOP_MORE_PROCESSING_REQUIRED,
};
use crate::abi::io::IRP_PAGING_IO;
use crate::ntos::memory::Guest;
use crate::ntos::{irql, worker};
use crate::status::NtStatus;
use crate::thread::{self, APC_LEVEL, DISPATCH_LEVEL};
use crate::verifier;

/// Calls the routine that is only for a safe place.
fn call(data: usize, routine: usize, arguments: &[u64; 4]) -> i32 {
    let operation = flight::at(data);
    let filter = operation
        .as_ref()
        .and_then(|operation| operation.current())
        .map_or_else(String::new, |instance| instance.filter.service.clone());
    let about = About {
        filter: &filter,
        phase: "safe post",
        operation: operation
            .as_ref()
            .map_or("", |operation| name_of(operation.major)),
        path: operation.map_or_else(String::new, |operation| operation.file.full_name()),
    };
    let returned = callback::call(about, routine, arguments);
    i32::from_le_bytes(returned.to_le_bytes()[..4].try_into().unwrap_or_default())
}

exports! { "fltmgr.sys";
    /// Calls a post-operation routine: at once at `APC_LEVEL` or below, else in a system thread, if that is safe.
    fn FltDoCompletionProcessingWhenSafe(
        data: usize, objects: usize, context: usize, flags: u32, routine: usize, status: Guest<i32>,
    ) -> u8 {
        irql::at_most("FltDoCompletionProcessingWhenSafe", DISPATCH_LEVEL);
        if flags & FLTFL_POST_OPERATION_DRAINING != 0 {
            verifier::finding(
                "safe-while-draining",
                "FltDoCompletionProcessingWhenSafe for an operation that is drained",
            );
            status.write(POSTOP_FINISHED_PROCESSING);
            return 0;
        }
        let arguments = [data as u64, objects as u64, context as u64, u64::from(flags)];
        if thread::irql() <= APC_LEVEL {
            status.write(call(data, routine, &arguments));
            return 1;
        }
        let block = Guest::<CallbackData>::at(data).iopb().read();
        if block.irp_flags & IRP_PAGING_IO != 0 {
            // Documented: what may not wait for a worker thread is not posted.
            status.write(POSTOP_FINISHED_PROCESSING);
            return 0;
        }
        status.write(POSTOP_MORE_PROCESSING_REQUIRED);
        worker::queue(move || {
            if call(data, routine, &arguments) == POSTOP_FINISHED_PROCESSING {
                pending::complete(data, Verdict::POST, "FltDoCompletionProcessingWhenSafe");
            }
        });
        1
    }

    /// Has a routine called with the status that the operation's dispatch returns.
    fn FltRequestOperationStatusCallback(data: usize, routine: usize, context: usize) -> NtStatus {
        irql::at_most("FltRequestOperationStatusCallback", DISPATCH_LEVEL);
        let Some(operation) = flight::at(data) else { return NtStatus::INVALID_PARAMETER };
        operation.tell_status(routine, context);
        NtStatus::SUCCESS
    }
}
