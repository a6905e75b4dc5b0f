//! Waiting for changes of keys: `ZwNotifyChangeKey`.
//!
//! The first call by a handle begins to watch; what changes between two calls ends the next one at once, as it does on Windows, where the
//! block of the handle remembers it.

use std::sync::{Arc, Condvar, LazyLock, Mutex, MutexGuard, PoisonError};

use super::handles::of_handle;
use crate::abi::flt::KERNEL_MODE;
use crate::abi::io::IoStatusBlock;
use crate::maps::HashMap;
use crate::namespace::names;
use crate::ntos::irql;
use crate::ntos::memory::Guest;
use crate::ntos::object::Counted;
use crate::ntos::sync::by_handle;
use crate::ntos::work_item::ExQueueWorkItem;
use crate::status::NtStatus;
use crate::thread::PASSIVE_LEVEL;
use crate::{faults, schedule};

/// `REG_NOTIFY_CHANGE_NAME`, `_LAST_SET`, and all four of them.
pub(super) const NAME: u32 = 1;
pub(super) const LAST_SET: u32 = 4;
const ALL: u32 = 0xF;

/// How a call is told: by its status block, its event, its work item, or by waking its thread.
struct Waiter {
    block: usize,
    event: Option<Arc<Counted>>,
    item: usize,
    queue: u32,
    said: Arc<(Mutex<Option<NtStatus>>, Condvar)>,
}

impl Waiter {
    fn tell(self, status: NtStatus) {
        Guest::<IoStatusBlock>::at(self.block).write_opt(IoStatusBlock::new(status, 0));
        if let Some(event) = &self.event {
            by_handle::set(event);
        }
        if self.item != 0 {
            ExQueueWorkItem(Guest::at(self.item), self.queue);
        }
        *self.said.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(status);
        self.said.1.notify_all();
    }
}

/// What an open key watches.
struct Watch {
    path: Vec<u16>,
    filter: u32,
    tree: bool,
    waiters: Vec<Waiter>,
    /// Something has changed that nobody was told of.
    missed: bool,
}

/// By the address of the open key's object.
static WATCHES: LazyLock<Mutex<HashMap<usize, Watch>>> = LazyLock::new(Mutex::default);

fn lock() -> MutexGuard<'static, HashMap<usize, Watch>> {
    WATCHES.lock().unwrap_or_else(PoisonError::into_inner)
}

fn tell(waiters: Vec<Waiter>, status: NtStatus) {
    waiters.into_iter().for_each(|waiter| waiter.tell(status));
}

/// Something has changed in a key.
pub(super) fn changed(path: &str, what: u32) {
    let path = names::key(path);
    let mut due = Vec::new();
    for watch in lock().values_mut() {
        let below =
            path.starts_with(&watch.path) && path.get(watch.path.len()) == Some(&names::BACKSLASH);
        let there = path == watch.path || (watch.tree && below);
        if !there || watch.filter & what == 0 {
            continue;
        }
        watch.missed = watch.waiters.is_empty();
        due.append(&mut watch.waiters);
    }
    tell(due, NtStatus::NOTIFY_ENUM_DIR);
}

/// A key is closed.
pub(super) fn closed(address: usize) {
    let watch = lock().remove(&address);
    if let Some(watch) = watch {
        tell(watch.waiters, NtStatus::NOTIFY_CLEANUP);
    }
}

exports! { "ntoskrnl.exe";
    /// Tells of the next change of a key, or of one below it: by an event, a work item, or by returning.
    partial "of keys that are made or deleted and of values; attributes and security do not change"
    fn ZwNotifyChangeKey(
        handle: u64, event: u64, item: usize, queue: u64, block: Guest<IoStatusBlock>, filter: u32, tree: u8, _buffer: usize,
        _length: u32, asynchronous: u8,
    ) -> NtStatus {
        const CALL: &str = "ZwNotifyChangeKey";
        irql::at_most(CALL, PASSIVE_LEVEL);
        if let Some(status) = faults::check(CALL) {
            return status;
        }
        if filter == 0 || filter & !ALL != 0 {
            return NtStatus::INVALID_PARAMETER;
        }
        let key = match of_handle(handle, KERNEL_MODE) {
            Ok(key) => key,
            Err(status) => return status,
        };
        if key.with(|_| ()).is_err() {
            return NtStatus::KEY_DELETED;
        }
        let event = match by_handle::event_to_set(event) {
            Ok(event) => event,
            Err(status) => return status,
        };
        let said = Arc::new((Mutex::new(None), Condvar::new()));
        let waiter = Waiter {
            block: block.address(),
            event,
            item,
            queue: u32::try_from(queue).unwrap_or(0),
            said: Arc::clone(&said),
        };
        let missed = {
            let mut watches = lock();
            let watch = watches.entry(key.address()).or_insert_with(|| Watch {
                path: names::key(&key.path),
                filter,
                tree: tree != 0,
                waiters: Vec::new(),
                missed: false,
            });
            if std::mem::take(&mut watch.missed) {
                Some(waiter)
            } else {
                watch.waiters.push(waiter);
                None
            }
        };
        if let Some(waiter) = missed {
            waiter.tell(NtStatus::NOTIFY_ENUM_DIR);
        } else if asynchronous != 0 {
            return NtStatus::PENDING;
        }
        let (slot, condition) = &*said;
        let mut told = slot.lock().unwrap_or_else(PoisonError::into_inner);
        while told.is_none() {
            told = schedule::wait(condition, slot, told, None);
        }
        told.unwrap_or(NtStatus::SUCCESS)
    }
}
