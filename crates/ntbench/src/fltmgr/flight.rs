//! An operation under way: what a filter knows as `PFLT_CALLBACK_DATA`, what the host keeps beside it, and the
//! functions that filters call with it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::sync::{Arc, Condvar, LazyLock, Mutex, MutexGuard, PoisonError, RwLock};

use super::objects::{self, Instance};
use crate::abi::base::ListEntry;
use crate::abi::flt::{
    CallbackData, FLTFL_CALLBACK_DATA_DIRTY, FLTFL_CALLBACK_DATA_GENERATED_IO,
    FLTFL_CALLBACK_DATA_IRP_OPERATION, IoParameterBlock,
};
use crate::abi::io::{IRP_MJ_CLEANUP, IRP_MJ_CLOSE, IRP_MJ_CREATE, IoStatusBlock};
use crate::ntos::file::File;
use crate::ntos::memory::Guest;
use crate::ntos::{irql, object, ps};
use crate::status::NtStatus;
use crate::thread::{self, DISPATCH_LEVEL};
use crate::{bugcheck, verifier};

/// An operation under way.
pub(crate) struct Operation {
    /// What kind.
    pub(crate) major: u8,
    /// On which file.
    pub(crate) file: Arc<File>,
    /// Whether the file system has done its part.
    pub(crate) after: AtomicBool,
    /// Its list of extra create parameters; 0: none.
    pub(crate) ecps: AtomicUsize,
    /// Whether it is a create whose name is a file ID.
    pub(crate) by_file_id: bool,
    /// Whether user mode asked for it.
    pub(crate) user: bool,
    /// The process that asked for it.
    pub(crate) process: usize,
    /// That process's id.
    pub(crate) pid: u64,
    /// The instance whose callback is running or was pended.
    pub(crate) instance: Mutex<Option<Arc<Instance>>>,
    pended: Mutex<Option<Verdict>>,
    resumed: Condvar,
}

/// How a pended pre-operation was completed.
#[derive(Clone, Copy)]
pub(super) struct Verdict {
    /// The callback status.
    pub(super) status: i32,
    /// The completion context; 0: the one that the callback left.
    pub(super) context: usize,
}

static OPERATIONS: LazyLock<RwLock<HashMap<usize, Arc<Operation>>>> =
    LazyLock::new(RwLock::default);

/// The operation of that `PFLT_CALLBACK_DATA`; `None`: there is none (any more).
pub(crate) fn at(data: usize) -> Option<Arc<Operation>> {
    OPERATIONS
        .read()
        .unwrap_or_else(PoisonError::into_inner)
        .get(&data)
        .cloned()
}

/// The status that a `PFLT_CALLBACK_DATA` of an operation under way has now.
pub(super) fn status_at(data: usize) -> NtStatus {
    Guest::<NtStatus>::at(data + std::mem::offset_of!(CallbackData, io_status)).read()
}

/// The name of an operation.
pub(super) fn name_of(major: u8) -> &'static str {
    match major {
        IRP_MJ_CREATE => "IRP_MJ_CREATE",
        IRP_MJ_CLEANUP => "IRP_MJ_CLEANUP",
        IRP_MJ_CLOSE => "IRP_MJ_CLOSE",
        _ => "IRP_MJ_OTHER",
    }
}

/// What lies in memory for the time of an operation.
pub(super) struct Flight {
    /// The operation.
    pub(super) operation: Arc<Operation>,
    data: *mut CallbackData,
    /// Its parameters, as filters see them.
    pub(super) iopb: *mut IoParameterBlock,
}

impl Flight {
    pub(super) fn new(operation: Operation, iopb: IoParameterBlock, generated: bool) -> Self {
        let null = std::ptr::null_mut();
        let iopb = Box::into_raw(Box::new(iopb));
        let flags = FLTFL_CALLBACK_DATA_IRP_OPERATION
            | if generated {
                FLTFL_CALLBACK_DATA_GENERATED_IO
            } else {
                0
            };
        let data = Box::into_raw(Box::new(CallbackData {
            flags,
            thread: Guest::at(thread::current().object).0,
            iopb,
            io_status: IoStatusBlock::new(NtStatus::SUCCESS, 0),
            tag_data: null,
            queue_links: ListEntry {
                flink: std::ptr::null_mut(),
                blink: std::ptr::null_mut(),
            },
            queue_context: [null; 2],
            requestor_mode: i8::from(operation.user),
        }));
        let operation = Arc::new(operation);
        OPERATIONS
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(data.expose_provenance(), Arc::clone(&operation));
        Self {
            operation,
            data,
            iopb,
        }
    }

    pub(super) fn data(&self) -> u64 {
        self.data.expose_provenance() as u64
    }

    pub(super) fn with_data<R>(&self, change: impl FnOnce(&mut CallbackData) -> R) -> R {
        // SAFETY: made in `new`, freed in `drop`; the driver is not running while the host changes it.
        change(unsafe { &mut *self.data })
    }

    pub(super) fn status(&self) -> IoStatusBlock {
        self.with_data(|data| data.io_status)
    }

    pub(super) fn parameters(&self) -> IoParameterBlock {
        // SAFETY: as in `with_data`.
        unsafe { *self.iopb }
    }

    pub(super) fn set_parameters(&self, parameters: IoParameterBlock) {
        // SAFETY: as in `with_data`.
        unsafe { self.iopb.write(parameters) };
    }
}

impl Operation {
    /// An operation of the current thread.
    pub(super) fn new(file: &Arc<File>, major: u8, user: bool, ecps: usize) -> Self {
        Self {
            major,
            file: Arc::clone(file),
            after: AtomicBool::new(false),
            by_file_id: false,
            ecps: AtomicUsize::new(ecps),
            user,
            process: ps::current_process(),
            pid: thread::current().pid(),
            instance: Mutex::new(None),
            pended: Mutex::new(None),
            resumed: Condvar::new(),
        }
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        OPERATIONS
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&self.data.expose_provenance());
        // SAFETY: made in `new` by Box::into_raw, and nobody frees it but this.
        drop(unsafe { Box::from_raw(self.data) });
        // SAFETY: as above.
        drop(unsafe { Box::from_raw(self.iopb) });
    }
}

fn pended(operation: &Operation) -> MutexGuard<'_, Option<Verdict>> {
    operation
        .pended
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
}

/// Whether an operation was completed that nobody pended; it is forgotten then.
pub(super) fn take_stray_completion(operation: &Operation) -> bool {
    pended(operation).take().is_some()
}

/// Waits until a pended operation is completed.
pub(super) fn wait_for_completion(operation: &Operation) -> Verdict {
    let mut verdict = pended(operation);
    loop {
        if let Some(verdict) = verdict.take() {
            return verdict;
        }
        verdict = operation
            .resumed
            .wait(verdict)
            .unwrap_or_else(PoisonError::into_inner);
    }
}

fn complete(data: usize, verdict: Verdict, function: &str) {
    irql::at_most(function, DISPATCH_LEVEL);
    let Some(operation) = at(data) else {
        bugcheck::raise(
            0xF5,
            [0x6D, data as u64, 0, 0],
            format!(
                "{function} on {data:#x}, which is no operation under way: was it completed twice?"
            ),
        )
    };
    let mut slot = pended(&operation);
    if slot.is_some() {
        verifier::finding(
            "completed-twice",
            format!("{function} was called twice for one operation"),
        );
        return;
    }
    *slot = Some(verdict);
    drop(slot);
    operation.resumed.notify_all();
}

exports! { "fltmgr.sys";
    /// Lets a pended operation go on.
    fn FltCompletePendedPreOperation(data: usize, status: i32, context: usize) {
        complete(data, Verdict { status, context }, "FltCompletePendedPreOperation");
    }

    /// Lets an operation go on whose post-operation callback asked for more processing.
    fn FltCompletePendedPostOperation(data: usize) {
        complete(data, Verdict { status: 0, context: 0 }, "FltCompletePendedPostOperation");
    }

    /// Says that the parameters were changed on purpose.
    fn FltSetCallbackDataDirty(data: Guest<u32>) {
        data.write(data.read() | FLTFL_CALLBACK_DATA_DIRTY);
    }

    /// Takes that back.
    fn FltClearCallbackDataDirty(data: Guest<u32>) {
        data.write(data.read() & !FLTFL_CALLBACK_DATA_DIRTY);
    }

    /// Whether it was said.
    fn FltIsCallbackDataDirty(data: Guest<u32>) -> u8 {
        u8::from(data.read() & FLTFL_CALLBACK_DATA_DIRTY != 0)
    }

    /// Undoes a successful open from a post-create callback.
    fn FltCancelFileOpen(instance: usize, file: usize) {
        irql::at_most("FltCancelFileOpen", thread::PASSIVE_LEVEL);
        let _ = objects::instance(instance, "FltCancelFileOpen");
        let file = object::file(file, "FltCancelFileOpen");
        if file.has_handles() {
            bugcheck::raise(0xF5, [0x6A, file.address() as u64, 0, 0], "FltCancelFileOpen on a file that has handles");
        }
        file.cancel_open();
    }
}
