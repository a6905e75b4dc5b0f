//! Operations that filters make themselves: `FltAllocateCallbackData` and what sends it, and `FltReissueSynchronousIo`.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

use super::cancel;
use super::depart::{self, Sent};
use super::extension;
use super::flight;
use super::frames::frames;
use super::later;
use super::objects::{self, Instance};
use super::operation::{self, send_block};
use crate::abi::base::ListEntry;
use crate::abi::flt::{
    CallbackData, FLTFL_CALLBACK_DATA_DIRTY, FLTFL_CALLBACK_DATA_GENERATED_IO,
    FLTFL_CALLBACK_DATA_IRP_OPERATION, FLTFL_CALLBACK_DATA_REISSUED_IO,
    FLTFL_CALLBACK_DATA_SYSTEM_BUFFER, IoParameterBlock, KERNEL_MODE,
};
use crate::abi::io::{IRP_MJ_CREATE, IRP_SYNCHRONOUS_API, IoStatusBlock};
use crate::abi::params::Parameters;
use crate::ntos::file::File;
use crate::ntos::memory::Guest;
use crate::ntos::{driver, irql, object, pool};
use crate::status::NtStatus;
use crate::thread::{self, APC_LEVEL, DISPATCH_LEVEL, PASSIVE_LEVEL};
use crate::verifier::{self, Leak};
use crate::{bugcheck, faults, stack};

/// The pool tag of callback data.
pub(super) const TAG: u32 = u32::from_le_bytes(*b"FMcd");

/// What the host knows of one that was allocated.
struct Issued {
    service: String,
    site: usize,
    instance: Arc<Instance>,
    file: usize,
    under_way: bool,
    /// Sent since it was made or made new again.
    spent: bool,
    /// Its driver has freed it while it was under way.
    freed: bool,
    /// `FltCancelIo` was called for it.
    cancelled: bool,
}

/// Cancels one that is under way: before it is sent, or where it is pended, now or later.
pub(super) fn cancel_one(data: usize) -> bool {
    {
        let mut all = lock();
        let Some(issued) = all.get_mut(&data).filter(|issued| issued.under_way) else {
            return false;
        };
        issued.cancelled = true;
    }
    cancel::sent_by(data)
}

/// Whether what a filter sent by that callback data was cancelled before it was pended.
pub(super) fn is_cancelled(data: usize) -> bool {
    lock()
        .get(&data)
        .is_some_and(|issued| issued.under_way && issued.cancelled)
}

static ISSUED: LazyLock<Mutex<HashMap<usize, Issued>>> = LazyLock::new(Mutex::default);

fn lock() -> MutexGuard<'static, HashMap<usize, Issued>> {
    ISSUED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The block behind the callback data, in the same allocation.
fn block_address(data: usize) -> usize {
    data + size_of::<CallbackData>().next_multiple_of(16)
}

/// Makes callback data as it is before it is filled in.
pub(super) fn initialise(data: usize, instance: &Instance, file: usize) {
    let block = block_address(data);
    Guest::at(block).write(IoParameterBlock {
        irp_flags: IRP_SYNCHRONOUS_API,
        major_function: 0,
        minor_function: 0,
        operation_flags: 0,
        reserved: 0,
        target_file_object: Guest::at(file).0,
        target_instance: Guest::at(instance.address).0,
        parameters: Parameters::default(),
    });
    let null = std::ptr::null_mut();
    let fresh = CallbackData {
        flags: FLTFL_CALLBACK_DATA_IRP_OPERATION | FLTFL_CALLBACK_DATA_GENERATED_IO,
        thread: Guest::at(thread::current().object).0,
        iopb: Guest::at(block).0,
        io_status: IoStatusBlock::new(NtStatus::SUCCESS, 0),
        tag_data: null,
        queue_links: ListEntry {
            flink: std::ptr::null_mut(),
            blink: std::ptr::null_mut(),
        },
        queue_context: [null; 2],
        requestor_mode: KERNEL_MODE,
    };
    let to: *mut CallbackData = Guest::at(data).0;
    // SAFETY: the allocation is large enough, aligned to 16, and this function's alone until it is handed out.
    unsafe { to.write(fresh) };
}

fn allocate(instance: usize, file: usize, out: Guest<usize>, function: &str) -> NtStatus {
    irql::at_most(function, DISPATCH_LEVEL);
    let instance = objects::instance(instance, function);
    out.write(0);
    if let Some(status) = faults::check(function) {
        return status;
    }
    let size = size_of::<CallbackData>().next_multiple_of(16) + size_of::<IoParameterBlock>();
    let Some(data) = pool::lend(size, TAG, true) else {
        return NtStatus::INSUFFICIENT_RESOURCES;
    };
    initialise(data, &instance, file);
    let service = driver::calling().map_or_else(String::new, |driver| driver.service.clone());
    let issued = Issued {
        service,
        site: verifier::here(),
        instance,
        file,
        under_way: false,
        spent: false,
        freed: false,
        cancelled: false,
    };
    lock().insert(data, issued);
    out.write(data);
    NtStatus::SUCCESS
}

fn wrong(data: usize, function: &str) -> ! {
    bugcheck::no_such(
        data,
        format!(
            "{function} was given {data:#x}, which FltAllocateCallbackData did not give (any more)"
        ),
    )
}

/// Marks one as under way.
pub(super) fn begin(data: usize, function: &str) -> Arc<Instance> {
    let mut all = lock();
    let Some(issued) = all.get_mut(&data) else {
        drop(all);
        wrong(data, function)
    };
    issued.under_way = true;
    issued.cancelled = false;
    if std::mem::replace(&mut issued.spent, true) {
        verifier::finding(
            "callback-data-in-use",
            format!("{function} on an operation that was sent before"),
        );
    }
    Arc::clone(&issued.instance)
}

/// Puts what came of it into the callback data.
pub(super) fn set_status(data: usize, done: IoStatusBlock) {
    Guest::at(data + std::mem::offset_of!(CallbackData, io_status)).write(done);
}

/// Sends it, and puts what came of it back.
pub(super) fn perform(data: usize, instance: &Arc<Instance>, function: &str) {
    let at = Guest::<CallbackData>::at(data).iopb();
    let mut block = at.read();
    let (file, data_flags, user) = asked(data, &block, function);
    let around = frames(["fltmgr!FltPerformSynchronousIo"]);
    let done = stack::with_frames(&around, || {
        send_block(&file, &mut block, data_flags, user, (Some(instance), data))
    });
    at.write(block);
    over(data, done);
}

/// Sends it without waiting; `told` is called at its end, in whichever thread that is. Gives what the dispatch comes to.
pub(super) fn send_away(
    data: usize,
    instance: &Arc<Instance>,
    function: &str,
    told: impl FnOnce() + Send + 'static,
) -> NtStatus {
    let at = Guest::<CallbackData>::at(data).iopb();
    let mut block = at.read();
    block.irp_flags &= !IRP_SYNCHRONOUS_API;
    let (file, data_flags, user) = asked(data, &block, function);
    let sent = Sent {
        file: &file,
        block,
        data_flags,
        user,
        below: Some(instance),
        origin: data,
    };
    let around = frames(["fltmgr!FltPerformSynchronousIo"]);
    stack::with_frames(&around, || {
        depart::send(&sent, move |done, block| {
            Guest::<CallbackData>::at(data).iopb().write(block);
            over(data, done);
            told();
        })
    })
}

/// The file, the flags and whose request it is, as the callback data have it.
fn asked(data: usize, block: &IoParameterBlock, function: &str) -> (Arc<File>, u32, bool) {
    let target = block.target_file_object.expose_provenance();
    let flags = Guest::<CallbackData>::at(data).flags();
    let mode: i8 = Guest::at(data + std::mem::offset_of!(CallbackData, requestor_mode)).read();
    (
        object::file(target, function),
        FLTFL_CALLBACK_DATA_GENERATED_IO | flags & FLTFL_CALLBACK_DATA_SYSTEM_BUFFER,
        mode != KERNEL_MODE,
    )
}

/// It is over, and its callback data are the filter's again.
fn over(data: usize, done: IoStatusBlock) {
    set_status(data, done);
    if let Some(issued) = lock().get_mut(&data) {
        issued.under_way = false;
    }
}

/// It is not sent after all.
pub(super) fn abandon(data: usize, status: NtStatus) {
    over(data, IoStatusBlock::new(status, 0));
}

/// Frees it where its driver has done so while it was under way.
pub(super) fn settle(data: usize) {
    let mut all = lock();
    if all.get(&data).is_some_and(|issued| issued.freed) {
        all.remove(&data);
        drop(all);
        pool::free(data, None);
    }
}

/// What a driver that goes away has left; it is taken away.
pub(super) fn leftovers(service: &str) -> Vec<Leak> {
    let mut all = lock();
    let left: Vec<usize> = all
        .iter()
        .filter(|(_, issued)| issued.service == service)
        .map(|(data, _)| *data)
        .collect();
    let left: Vec<(usize, Issued)> = left
        .into_iter()
        .filter_map(|data| all.remove(&data).map(|issued| (data, issued)))
        .collect();
    drop(all);
    let leak = |(data, issued): (usize, Issued)| {
        pool::free(data, None);
        Leak {
            text: "callback data was not freed with FltFreeCallbackData".to_owned(),
            site: issued.site,
        }
    };
    left.into_iter().map(leak).collect()
}

fn reissue(instance: usize, data: usize) {
    const NAME: &str = "FltReissueSynchronousIo";
    irql::at_most(NAME, PASSIVE_LEVEL);
    let instance = objects::instance(instance, NAME);
    let Some(operation) = flight::at(data) else {
        wrong(data, NAME)
    };
    let now = Guest::<CallbackData>::at(data);
    let at = now.iopb();
    let mut block = at.read();
    // Changed parameters count once they are said to be changed; saying so once is enough for this call.
    Guest::<u32>::at(data).write(now.flags() & !FLTFL_CALLBACK_DATA_DIRTY);
    let flags = now.flags()
        & (FLTFL_CALLBACK_DATA_GENERATED_IO | FLTFL_CALLBACK_DATA_SYSTEM_BUFFER)
        | FLTFL_CALLBACK_DATA_REISSUED_IO;
    let done = if block.major_function == IRP_MJ_CREATE {
        if operation.file.opened().is_some() {
            verifier::finding(
                "reissued-while-open",
                "FltReissueSynchronousIo on a create whose file is open",
            );
            return;
        }
        operation::create_again(&operation, &block, flags, &instance)
    } else {
        send_block(
            &operation.file,
            &mut block,
            flags,
            operation.user,
            (Some(&instance), data),
        )
    };
    set_status(data, done);
}

exports! { "fltmgr.sys";
    /// Makes an operation, to be filled in.
    fn FltAllocateCallbackData(instance: usize, file: usize, out: Guest<usize>) -> NtStatus {
        allocate(instance, file, out, "FltAllocateCallbackData")
    }

    /// As `FltAllocateCallbackData`; nothing is preallocated here whatever the flags say.
    partial "nothing is preallocated"
    fn FltAllocateCallbackDataEx(instance: usize, file: usize, _flags: u32, out: Guest<usize>) -> NtStatus {
        allocate(instance, file, out, "FltAllocateCallbackDataEx")
    }

    /// Frees it.
    fn FltFreeCallbackData(data: usize) {
        irql::at_most("FltFreeCallbackData", DISPATCH_LEVEL);
        let mut all = lock();
        let Some(issued) = all.get_mut(&data) else {
            drop(all);
            wrong(data, "FltFreeCallbackData")
        };
        if issued.under_way {
            // Whoever is at it still needs the memory: it goes with its end.
            issued.freed = true;
            drop(all);
            verifier::finding("callback-data-in-use", "FltFreeCallbackData on an operation that is under way");
            return;
        }
        all.remove(&data);
        drop(all);
        extension::forget(data);
        pool::free(data, None);
    }

    /// Makes it as it was when it was allocated.
    fn FltReuseCallbackData(data: usize) {
        irql::at_most("FltReuseCallbackData", DISPATCH_LEVEL);
        let known = lock().get_mut(&data).map(|issued| {
            issued.spent = false;
            (Arc::clone(&issued.instance), issued.file)
        });
        let Some((instance, file)) = known else { wrong(data, "FltReuseCallbackData") };
        extension::forget(data);
        initialise(data, &instance, file);
    }

    /// Sends it to the filters below its instance and to the file system, and waits.
    fn FltPerformSynchronousIo(data: usize) {
        irql::at_most("FltPerformSynchronousIo", APC_LEVEL);
        let instance = begin(data, "FltPerformSynchronousIo");
        perform(data, &instance, "FltPerformSynchronousIo");
        settle(data);
    }

    /// Sends it in this thread, and calls back once it is over, in whichever thread that is.
    fn FltPerformAsynchronousIo(data: usize, routine: usize, context: usize) -> NtStatus {
        later::perform(data, routine, context)
    }

    /// Sends the operation of a callback once more, to the filters below and the file system.
    fn FltReissueSynchronousIo(instance: usize, data: usize) {
        reissue(instance, data);
    }
}
