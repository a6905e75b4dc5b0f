//! An operation under way: what a filter knows as `PFLT_CALLBACK_DATA`, what the host keeps beside it, and the
//! functions that filters call with it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::sync::{Arc, Condvar, LazyLock, Mutex, MutexGuard, PoisonError, RwLock};

use super::cancel::{self, Cancel};
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
use crate::thread::{self, DISPATCH_LEVEL, PASSIVE_LEVEL};
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
    /// The id of the thread that it came in on.
    pub(super) tid: u64,
    /// Whether it is cancelled, and who wants to know.
    pub(super) cancel: Mutex<Cancel>,
    pending: Mutex<Pending>,
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

/// How far an operation came on its way down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// To its end.
    Through,
    /// To a filter that pended it.
    Pended,
}

/// What is left of an operation's way down.
pub(super) trait Resume {
    /// Goes on after a pended callback was completed so.
    fn resume(&mut self, verdict: Verdict) -> Step;
}

/// The way down of an operation whose thread waits until somebody else has gone it.
struct Parked(*mut (dyn Resume + 'static));

// SAFETY: the thread that parked it touches it no more until it is told that the way is done, so it is one thread's at a
// time; what it holds is shared between threads otherwise.
unsafe impl Send for Parked {}

/// What is known of an operation that a filter pended, or that it will.
#[derive(Default)]
struct Pending {
    /// It was completed, and nobody has gone on yet.
    verdict: Option<Verdict>,
    /// It waits to be gone on with.
    parked: Option<Parked>,
    /// Somebody else went to the end of the way.
    through: bool,
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

/// The operations that came in on a thread, with their `PFLT_CALLBACK_DATA`.
pub(super) fn of_thread(tid: u64) -> Vec<(usize, Arc<Operation>)> {
    OPERATIONS
        .read()
        .unwrap_or_else(PoisonError::into_inner)
        .iter()
        .filter(|(_, operation)| operation.tid == tid)
        .map(|(data, operation)| (*data, Arc::clone(operation)))
        .collect()
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
            tid: thread::current().tid,
            cancel: Mutex::default(),
            pending: Mutex::new(Pending::default()),
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

fn pending(operation: &Operation) -> MutexGuard<'_, Pending> {
    operation
        .pending
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
}

/// Whether an operation was completed that nobody pended; it is forgotten then.
pub(super) fn take_stray_completion(operation: &Operation) -> bool {
    pending(operation).verdict.take().is_some()
}

/// Waits until a post-operation callback that asked for more processing has done it.
pub(super) fn wait_for_completion(operation: &Operation) {
    let mut state = pending(operation);
    while state.verdict.take().is_none() {
        state = operation
            .resumed
            .wait(state)
            .unwrap_or_else(PoisonError::into_inner);
    }
}

/// Waits until a pended operation has gone its way down: in the thread that completes it, or in this one where it was
/// completed before this one could wait, or at an IRQL at which the rest cannot be done.
pub(super) fn wait_for_the_way_down<'a>(operation: &Operation, descent: &mut (dyn Resume + 'a)) {
    let pointer: *mut (dyn Resume + 'a) = &raw mut *descent;
    // SAFETY: only the lifetime is changed; this function does not return before whoever took the pointer is done with it.
    let pointer = unsafe {
        std::mem::transmute::<*mut (dyn Resume + 'a), *mut (dyn Resume + 'static)>(pointer)
    };
    loop {
        let mut state = pending(operation);
        state.parked = Some(Parked(pointer));
        let mine = |state: &Pending| state.parked.is_some() && state.verdict.is_some();
        while !state.through && !mine(&state) {
            state = operation
                .resumed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        if std::mem::take(&mut state.through) {
            return;
        }
        state.parked = None;
        let Some(verdict) = state.verdict.take() else {
            continue;
        };
        drop(state);
        // SAFETY: nobody else has the pointer: it was parked, and is not any more.
        if unsafe { (*pointer).resume(verdict) } == Step::Through {
            return;
        }
    }
}

/// Goes on with a pended operation in this thread, if its own thread waits and this one may do the rest.
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
    cancel::check_cleared(&operation, function);
    let mut state = pending(&operation);
    let mut verdict = verdict;
    let here = operation.major != IRP_MJ_CREATE || thread::irql() == PASSIVE_LEVEL;
    while here && let Some(parked) = state.parked.take() {
        drop(state);
        // SAFETY: see `wait_for_the_way_down`: the operation's own thread waits, and the pointer was taken out.
        let step = unsafe { (*parked.0).resume(verdict) };
        state = pending(&operation);
        match (step, state.verdict.take()) {
            (Step::Through, _) => {
                state.through = true;
                drop(state);
                operation.resumed.notify_all();
                return;
            }
            // A lower filter pended it; and it may have been completed meanwhile.
            (Step::Pended, None) => {
                state.parked = Some(parked);
                return;
            }
            (Step::Pended, Some(next)) => {
                state.parked = Some(parked);
                verdict = next;
            }
        }
    }
    if state.verdict.replace(verdict).is_some() {
        drop(state);
        verifier::finding(
            "completed-twice",
            format!("{function} was called twice for one operation"),
        );
        return;
    }
    drop(state);
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
