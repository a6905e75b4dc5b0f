//! An operation under way: what a filter knows as `PFLT_CALLBACK_DATA`, what the host keeps beside it, and the
//! functions that filters call with it.

use std::cell::RefCell;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::sync::{Arc, Condvar, LazyLock, Mutex, MutexGuard, PoisonError, RwLock};

use super::cancel::Cancel;
use super::create_info;
use super::extension;
use super::mdls;
use super::objects::{self, Instance};
use super::pending::{Pending, take_stray_completion};
use crate::abi::base::ListEntry;
use crate::abi::flt::{
    CallbackData, FLTFL_CALLBACK_DATA_DIRTY, FLTFL_CALLBACK_DATA_FAST_IO_OPERATION,
    FLTFL_CALLBACK_DATA_FS_FILTER_OPERATION, FLTFL_CALLBACK_DATA_IRP_OPERATION, IoParameterBlock,
    RelatedObjects,
};
use crate::abi::io::{IRP_MJ_CREATE, IRP_MJ_PNP, IRP_MJ_SHUTDOWN, IoStatusBlock, major_name};
use crate::maps::HashMap;
use crate::namespace::reparse::ReparseData;
use crate::ntos::file::File;
use crate::ntos::memory::Guest;
use crate::ntos::{irql, object, ps};
use crate::status::NtStatus;
use crate::thread;
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
    /// Whether it is fast I/O, for which there is no IRP.
    pub(crate) fast: bool,
    /// Whether it is a file system filter callback, for which there is none either.
    pub(crate) callback: bool,
    /// Whether user mode asked for it.
    pub(crate) user: bool,
    /// The process that asked for it.
    pub(crate) process: usize,
    /// That process's id.
    pub(crate) pid: u64,
    /// The instance whose callback is running or was pended.
    pub(crate) instance: Mutex<Option<Arc<Instance>>>,
    /// The id of the thread that it came in on, and that waits for it; 0: none does.
    pub(super) tid: u64,
    /// The callback data by which a filter sent it; 0: none.
    pub(super) origin: usize,
    /// Whether it is cancelled, and who wants to know.
    pub(super) cancel: Mutex<Cancel>,
    /// What is known of its pending.
    pub(super) pending: Mutex<Pending>,
    /// Told when that changes.
    pub(super) resumed: Condvar,
    /// What lives as long as the operation.
    kept: Mutex<Kept>,
}

/// What lives as long as an operation.
#[derive(Default)]
struct Kept {
    /// The objects of callbacks that pended.
    objects: Vec<Objects>,
    /// Descriptions of buffers that go with the operation: those that filters without a post-operation callback put in,
    /// and those of locked buffers.
    swapped: Vec<usize>,
    /// The locked buffer's: in which of the parameters' quadwords, and what.
    locked: Option<(usize, usize)>,
    /// Who wants to know the status that the dispatch returns: the instance, the routine and its context.
    told: Vec<(Arc<Instance>, usize, usize)>,
    /// The one that the filter put in whose post-operation callback is running.
    now: Option<usize>,
    /// Who changed its parameters last: the filter's name, and the callback.
    changed: Option<Doer>,
    /// Who pended it last.
    pended: Option<Doer>,
}

/// An instance and a callback of its filter's.
pub(super) type Doer = (Arc<Instance>, usize);

/// The objects around a callback.
struct Objects(
    #[expect(dead_code, reason = "kept for whoever has its address")] Box<RelatedObjects>,
);

// SAFETY: addresses that the host hands out and never follows through this value.
unsafe impl Send for Objects {}

static OPERATIONS: LazyLock<RwLock<HashMap<usize, Arc<Operation>>>> =
    LazyLock::new(RwLock::default);

thread_local! {
    /// Those that came in on this thread, the newest last: nearly every question is about one of them, and asked there.
    static OWN: RefCell<Vec<(usize, Arc<Operation>)>> = const { RefCell::new(Vec::new()) };
}

/// Every operation that is under way.
pub(super) fn all() -> Vec<Arc<Operation>> {
    let operations = OPERATIONS.read().unwrap_or_else(PoisonError::into_inner);
    operations.values().cloned().collect()
}

/// The operation of that `PFLT_CALLBACK_DATA`; `None`: there is none (any more).
pub(crate) fn at(data: usize) -> Option<Arc<Operation>> {
    let own = OWN.with_borrow(|own| {
        let mut newest_first = own.iter().rev();
        let found = newest_first.find(|(at, _)| *at == data);
        found.map(|(_, operation)| Arc::clone(operation))
    });
    if own.is_some() {
        return own;
    }
    OPERATIONS
        .read()
        .unwrap_or_else(PoisonError::into_inner)
        .get(&data)
        .cloned()
}

/// Whether this thread is within an operation that came in on it.
pub(super) fn on_this_thread() -> bool {
    OWN.with_borrow(|own| !own.is_empty())
}

/// The operations that came in on a thread, with their `PFLT_CALLBACK_DATA`.
pub(super) fn of_thread(tid: u64) -> Vec<(usize, Arc<Operation>)> {
    chosen(|operation| operation.tid == tid)
}

/// The operations that a filter sent by that callback data, with their `PFLT_CALLBACK_DATA`.
pub(super) fn sent_by(origin: usize) -> Vec<(usize, Arc<Operation>)> {
    chosen(|operation| operation.origin == origin)
}

fn chosen(which: impl Fn(&Operation) -> bool) -> Vec<(usize, Arc<Operation>)> {
    OPERATIONS
        .read()
        .unwrap_or_else(PoisonError::into_inner)
        .iter()
        .filter(|(_, operation)| which(operation))
        .map(|(data, operation)| (*data, Arc::clone(operation)))
        .collect()
}

/// The status that a `PFLT_CALLBACK_DATA` of an operation under way has now.
pub(super) fn status_at(data: usize) -> NtStatus {
    Guest::<NtStatus>::at(data + std::mem::offset_of!(CallbackData, io_status)).read()
}

/// The name of an operation.
pub(super) fn name_of(major: u8) -> &'static str {
    major_name(major)
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
    pub(super) fn new(operation: Operation, iopb: IoParameterBlock, flags: u32) -> Self {
        let null = std::ptr::null_mut();
        let iopb = Box::into_raw(Box::new(iopb));
        let kind = if operation.fast {
            FLTFL_CALLBACK_DATA_FAST_IO_OPERATION
        } else if operation.callback {
            FLTFL_CALLBACK_DATA_FS_FILTER_OPERATION
        } else {
            FLTFL_CALLBACK_DATA_IRP_OPERATION
        };
        let flags = kind | flags;
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
        OWN.with_borrow_mut(|own| own.push((data.expose_provenance(), Arc::clone(&operation))));
        Self {
            operation,
            data,
            iopb,
        }
    }

    pub(super) fn data(&self) -> u64 {
        self.data.expose_provenance() as u64
    }

    /// The thread that it came in on goes its own way: from here on nothing there is within it.
    pub(super) fn leave_thread(&self) {
        OWN.with_borrow_mut(|own| {
            let at = self.data.expose_provenance();
            if let Some(index) = own.iter().rposition(|(data, _)| *data == at) {
                own.remove(index);
            }
        });
    }

    /// Gives it the extension of another operation.
    pub(super) fn extend(&self, origin: usize) {
        extension::copy(origin, self.data.expose_provenance());
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

    /// Puts what a file system says of the reparse point that it met where filters see it: `TagData`, whose layout is
    /// that of a reparse buffer with the length of the rest of the name in its reserved field.
    pub(super) fn set_tag(&self, data: &ReparseData, unparsed: usize) {
        let mut bytes = data.bytes().to_vec();
        if let Some(reserved) = bytes.get_mut(6..8) {
            reserved.copy_from_slice(&u16::try_from(unparsed).unwrap_or(u16::MAX).to_le_bytes());
        }
        let Some(block) = crate::ntos::pool::lend(bytes.len(), TAG, false) else {
            return;
        };
        Guest::<u8>::at(block).write_many(&bytes);
        self.free_tag();
        self.with_data(|data| data.tag_data = Guest::at(block).0);
    }

    fn free_tag(&self) {
        let old =
            self.with_data(|data| std::mem::replace(&mut data.tag_data, std::ptr::null_mut()));
        if !old.is_null() {
            crate::ntos::pool::free(old.expose_provenance(), None);
        }
    }

    /// The reparse buffer that the operation ended with, and how many bytes of the name come after it.
    pub(super) fn take_tag(&self) -> Option<(ReparseData, usize)> {
        let tag = self.with_data(|data| data.tag_data);
        if tag.is_null() {
            return None;
        }
        let start = Guest::<u8>::at(tag.expose_provenance());
        let head = start.read_many(8);
        let word = |at: usize| usize::from(u16::from_le_bytes([head[at], head[at + 1]]));
        // A tag that is not Microsoft's has a GUID before its data.
        let header = if head[3] & 0x80 == 0 { 24 } else { 8 };
        let mut bytes = start.read_many(header + word(4));
        let unparsed = word(6);
        bytes[6..8].fill(0);
        ReparseData::parse(&bytes).ok().map(|data| (data, unparsed))
    }
}

const TAG: u32 = u32::from_le_bytes(*b"FMtd");

impl Operation {
    /// An operation of the current thread.
    pub(super) fn new(file: &Arc<File>, major: u8, user: bool, ecps: usize) -> Self {
        Self {
            major,
            file: Arc::clone(file),
            after: AtomicBool::new(false),
            by_file_id: false,
            fast: false,
            callback: false,
            ecps: AtomicUsize::new(ecps),
            user,
            process: ps::current_process(),
            pid: thread::current().pid(),
            instance: Mutex::new(None),
            tid: thread::current().tid,
            origin: 0,
            cancel: Mutex::default(),
            pending: Mutex::new(Pending::default()),
            resumed: Condvar::new(),
            kept: Mutex::default(),
        }
    }

    /// The file that callbacks see it on; `None`: it is on the volume.
    pub(super) fn shown(&self) -> Option<&Arc<File>> {
        (!matches!(self.major, IRP_MJ_SHUTDOWN | IRP_MJ_PNP)).then_some(&self.file)
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps the objects of a callback that pended the operation: whoever goes on with it may use them.
    pub(super) fn keep(&self, objects: Box<RelatedObjects>) {
        self.kept().objects.push(Objects(objects));
    }

    /// The instance whose callback is running or was pended.
    pub(super) fn current(&self) -> Option<Arc<Instance>> {
        self.instance
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Notes who changed its parameters.
    pub(super) fn changed_by(&self, instance: &Arc<Instance>, routine: usize) {
        self.kept().changed = Some((Arc::clone(instance), routine));
    }

    /// Looks at the filter that changed the parameters last, if one did.
    pub(super) fn blame_changer(&self) -> Option<verifier::Blame> {
        let (_, routine) = self.kept().changed.clone()?;
        Some(verifier::blame_routine(routine))
    }

    /// Notes who pends it.
    pub(super) fn pended_by(&self, instance: &Arc<Instance>, routine: usize) {
        self.kept().pended = Some((Arc::clone(instance), routine));
    }

    /// Who pended it last.
    pub(super) fn pender(&self) -> Option<Doer> {
        self.kept().pended.clone()
    }

    /// Notes who wants to know the status that the dispatch returns.
    pub(super) fn tell_status(&self, routine: usize, context: usize) {
        if let Some(instance) = self.current() {
            self.kept().told.push((instance, routine, context));
        }
    }

    /// Who wants to know, each once.
    pub(super) fn take_told(&self) -> Vec<(Arc<Instance>, usize, usize)> {
        std::mem::take(&mut self.kept().told)
    }

    /// Notes that its buffer was locked.
    pub(super) fn locked(&self, slot: usize, mdl: usize) {
        let mut kept = self.kept();
        kept.swapped.push(mdl);
        kept.locked = Some((slot, mdl));
    }

    /// In which quadword of the parameters a locked buffer's description is, and that.
    pub(super) fn lock_of_buffer(&self) -> Option<(usize, usize)> {
        self.kept().locked
    }

    /// Sets which description the filter put in whose post-operation callback runs.
    pub(super) fn set_swapped_now(&self, mdl: Option<usize>) {
        self.kept().now = mdl;
    }

    /// That.
    pub(super) fn swapped_now(&self) -> Option<usize> {
        self.kept().now
    }

    /// Notes the description of a buffer that is freed when the operation is over.
    pub(super) fn swapped_to_the_end(&self, mdl: usize) {
        self.kept().swapped.push(mdl);
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        OPERATIONS
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&self.data.expose_provenance());
        // It ends in the thread that it came in on, or has left that before.
        self.leave_thread();
        self.free_tag();
        extension::forget(self.data.expose_provenance());
        if self.operation.major == IRP_MJ_CREATE {
            create_info::forget(self.data.expose_provenance());
        }
        if take_stray_completion(&self.operation) {
            let routine = self.operation.pender().map_or(0, |(_, routine)| routine);
            let _blame = verifier::blame_routine(routine);
            verifier::finding(
                "completed-twice",
                format!(
                    "a pended {} was completed once more after it had gone on",
                    name_of(self.operation.major)
                ),
            );
        }
        let swapped = std::mem::take(&mut self.operation.kept().swapped);
        swapped.into_iter().for_each(mdls::free_swapped);
        super::over::keep(self.data, self.iopb);
    }
}

exports! { "fltmgr.sys";
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
