//! I/O of a filter's own that calls back at its end: it goes down in the filter's thread, and ends in whichever comes to it.
//!
//! A teardown of its instance waits for it, so that a filter is unloaded only when nothing of it is under way any more;
//! what comes once the teardown has begun is refused.

use std::sync::Arc;

use super::objects::Instance;
use super::{callback, issue};
use crate::abi::flt::{CallbackData, IoParameterBlock};
use crate::abi::io::{IRP_MJ_CREATE, IRP_PAGING_IO, IoStatusBlock};
use crate::ntos::file::File;
use crate::ntos::memory::Guest;
use crate::ntos::{away, irql, object, pool};
use crate::status::NtStatus;
use crate::thread::{APC_LEVEL, PASSIVE_LEVEL};

/// What is under way for a filter that does not wait: its instance is not torn down and its file object stays until it is over.
pub(super) struct Hold {
    instance: Arc<Instance>,
    file: Arc<File>,
}

impl Hold {
    /// Takes one; `None`: the instance is being torn down.
    pub(super) fn take(instance: &Arc<Instance>, file: &Arc<File>) -> Option<Self> {
        instance.rundown.enter().then(|| {
            file.reference();
            Self {
                instance: Arc::clone(instance),
                file: Arc::clone(file),
            }
        })
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        away::release(Arc::clone(&self.file));
        self.instance.rundown.leave();
    }
}

/// Calls the routine that is told of the end.
fn completed(data: usize, instance: &Instance, routine: usize, context: usize) {
    callback::call_unseen(
        &instance.filter.service,
        "the completion of an operation of the filter's own",
        routine,
        &[data as u64, context as u64],
    );
}

/// It is not sent: the routine is called all the same, as documented.
fn refuse(
    data: usize,
    instance: &Instance,
    (routine, context): (usize, usize),
    status: NtStatus,
) -> NtStatus {
    issue::abandon(data, status);
    if routine != 0 {
        completed(data, instance, routine, context);
    }
    status
}

/// `FltPerformAsynchronousIo`.
pub(super) fn perform(data: usize, routine: usize, context: usize) -> NtStatus {
    const NAME: &str = "FltPerformAsynchronousIo";
    let block = Guest::<CallbackData>::at(data).iopb().read();
    let paging = block.irp_flags & IRP_PAGING_IO != 0;
    irql::at_most(NAME, if paging { APC_LEVEL } else { PASSIVE_LEVEL });
    let instance = issue::begin(data, NAME);
    if routine == 0 || block.major_function == IRP_MJ_CREATE {
        let status = NtStatus::FLT_INVALID_ASYNCHRONOUS_REQUEST;
        return refuse(data, &instance, (routine, context), status);
    }
    let file = object::file(block.target_file_object.expose_provenance(), NAME);
    let Some(hold) = Hold::take(&instance, &file) else {
        let status = NtStatus::FLT_DELETING_OBJECT;
        return refuse(data, &instance, (routine, context), status);
    };
    let told = move || {
        completed(data, &hold.instance, routine, context);
        issue::settle(data);
        drop(hold);
    };
    match issue::send_away(data, &instance, NAME, told) {
        status @ (NtStatus::PENDING | NtStatus::FLT_IO_COMPLETE) => status,
        // It was sent; how it ended stands in the callback data.
        _ => NtStatus::SUCCESS,
    }
}

/// Calls the routine that a filter gave with `FltReadFile` or `FltWriteFile`: it is given callback data that holds the
/// status and lives until the routine returns.
pub(super) fn call_back(
    instance: &Arc<Instance>,
    file: &File,
    done: IoStatusBlock,
    routine: usize,
    context: usize,
) {
    let size = size_of::<CallbackData>().next_multiple_of(16) + size_of::<IoParameterBlock>();
    let Some(data) = pool::lend(size, issue::TAG, true) else {
        return;
    };
    issue::initialise(data, instance, file.address());
    issue::set_status(data, done);
    callback::call_unseen(
        &instance.filter.service,
        "the completion of a transfer of the filter's own",
        routine,
        &[data as u64, context as u64],
    );
    pool::free(data, None);
}
