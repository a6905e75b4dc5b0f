//! Work items: what a filter has done later, on a system worker thread.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

use super::callback::{self, About};
use super::flight::{self, name_of};
use super::objects::{self, Filter, Instance, Object};
use crate::abi::flt::{CallbackData, FLTFL_CALLBACK_DATA_POST_OPERATION};
use crate::abi::io::{IRP_MJ_FLUSH_BUFFERS, IRP_MJ_READ, IRP_MJ_WRITE, IRP_PAGING_IO};
use crate::ntos::memory::Guest;
use crate::ntos::{driver, irql, pool, worker};
use crate::status::NtStatus;
use crate::thread::DISPATCH_LEVEL;
use crate::verifier::{self, Leak};
use crate::{bugcheck, faults};

struct Item {
    service: String,
    site: usize,
    queued: bool,
}

static ITEMS: LazyLock<Mutex<HashMap<usize, Item>>> = LazyLock::new(Mutex::default);
const TAG: u32 = u32::from_le_bytes(*b"FMwi");
const BYTES: usize = 64;
/// `CriticalWorkQueue`, `DelayedWorkQueue` and the hyper-critical one.
const MOST_QUEUE_TYPE: u32 = 2;

fn lock() -> MutexGuard<'static, HashMap<usize, Item>> {
    ITEMS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What keeps the filter from going while an item of it is queued.
enum Hold {
    Filter(Arc<Filter>),
    Instance(Arc<Instance>),
}

impl Hold {
    fn take(object: usize) -> Result<Self, NtStatus> {
        let (hold, entered) = match objects::at(object) {
            Some(Object::Filter(filter)) => {
                let entered = filter.rundown.enter();
                (Self::Filter(filter), entered)
            }
            Some(Object::Instance(instance)) => {
                let entered = instance.rundown.enter();
                (Self::Instance(instance), entered)
            }
            _ => return Err(NtStatus::INVALID_PARAMETER),
        };
        if entered {
            Ok(hold)
        } else {
            Err(NtStatus::FLT_DELETING_OBJECT)
        }
    }

    fn filter(&self) -> &str {
        match self {
            Self::Filter(filter) => &filter.service,
            Self::Instance(instance) => &instance.filter.service,
        }
    }

    fn release(self) {
        match self {
            Self::Filter(filter) => filter.rundown.leave(),
            Self::Instance(instance) => instance.rundown.leave(),
        }
    }
}

fn allocate(function: &str) -> usize {
    irql::at_most(function, DISPATCH_LEVEL);
    if faults::check(function).is_some() {
        return 0;
    }
    let Some(address) = pool::lend(BYTES, TAG, true) else {
        return 0;
    };
    let service = driver::calling().map_or_else(String::new, |driver| driver.service.clone());
    let site = verifier::here();
    lock().insert(
        address,
        Item {
            service,
            site,
            queued: false,
        },
    );
    address
}

fn wrong(item: usize, function: &str) -> ! {
    bugcheck::no_such(
        item,
        format!("{function} was given {item:#x}, which is no work item (any more)"),
    )
}

fn free(item: usize, function: &str) {
    let Some(known) = lock().remove(&item) else {
        wrong(item, function)
    };
    if known.queued {
        verifier::finding(
            "work-item-freed-queued",
            format!("{function} on a work item that is still queued"),
        );
    }
    pool::free(item, None);
}

/// Has a worker call `routine(item, object, context)`.
fn queue(
    function: &'static str,
    item: usize,
    hold: Hold,
    routine: usize,
    object: usize,
    context: usize,
) -> NtStatus {
    let mut items = lock();
    let Some(known) = items.get_mut(&item) else {
        drop(items);
        wrong(item, function)
    };
    if known.queued {
        drop(items);
        hold.release();
        // WORKER_INVALID: a work item is queued that is queued already.
        bugcheck::raise(
            0xE4,
            [1, item as u64, 0, 0],
            format!("{function} on a work item that is queued already"),
        );
    }
    known.queued = true;
    drop(items);
    worker::queue(move || {
        // From here on the item is the routine's, to queue again or to free.
        if let Some(known) = lock().get_mut(&item) {
            known.queued = false;
        }
        let about = About {
            filter: hold.filter(),
            phase: "work item",
            operation: "",
            path: String::new(),
        };
        callback::call(
            about,
            routine,
            &[item as u64, object as u64, context as u64],
        );
        hold.release();
    });
    NtStatus::SUCCESS
}

/// What work items a driver that goes away has left; they are taken away.
pub(super) fn leftovers(service: &str) -> Vec<Leak> {
    let mut items = lock();
    let left: Vec<usize> = items
        .iter()
        .filter(|(_, item)| item.service == service)
        .map(|(address, _)| *address)
        .collect();
    let leaks = left
        .iter()
        .filter_map(|address| items.remove(address))
        .map(|item| Leak {
            text:
                "a work item was not freed with FltFreeGenericWorkItem or FltFreeDeferredIoWorkItem"
                    .to_owned(),
            site: item.site,
        });
    let leaks = leaks.collect();
    drop(items);
    for address in left {
        pool::free(address, None);
    }
    leaks
}

/// Documentation: what the storage stack completes itself must not wait for a worker in its completion, which may be what the worker
/// waits for.
fn check_posted(data: Guest<CallbackData>) {
    let major = data.iopb().read().major_function;
    if data.flags() & FLTFL_CALLBACK_DATA_POST_OPERATION != 0
        && matches!(major, IRP_MJ_READ | IRP_MJ_WRITE | IRP_MJ_FLUSH_BUFFERS)
    {
        verifier::finding(
            "posted-after-transfer",
            format!(
                "FltQueueDeferredIoWorkItem in the post-operation callback of {}",
                name_of(major)
            ),
        );
    }
}

exports! { "fltmgr.sys";
    /// Makes a work item.
    fn FltAllocateGenericWorkItem() -> usize {
        allocate("FltAllocateGenericWorkItem")
    }

    /// Frees it.
    fn FltFreeGenericWorkItem(item: usize) {
        irql::at_most("FltFreeGenericWorkItem", DISPATCH_LEVEL);
        free(item, "FltFreeGenericWorkItem");
    }

    /// Queues it; the filter or instance stays until the routine has returned.
    partial "the queue type is checked and then changes nothing"
    fn FltQueueGenericWorkItem(item: usize, object: usize, routine: usize, kind: u32, context: usize) -> NtStatus {
        irql::at_most("FltQueueGenericWorkItem", DISPATCH_LEVEL);
        if let Some(status) = faults::check("FltQueueGenericWorkItem") {
            return status;
        }
        if kind > MOST_QUEUE_TYPE {
            return NtStatus::INVALID_PARAMETER;
        }
        match Hold::take(object) {
            Ok(hold) => queue("FltQueueGenericWorkItem", item, hold, routine, object, context),
            Err(status) => status,
        }
    }

    /// Makes a work item for an operation.
    fn FltAllocateDeferredIoWorkItem() -> usize {
        allocate("FltAllocateDeferredIoWorkItem")
    }

    /// Frees it.
    fn FltFreeDeferredIoWorkItem(item: usize) {
        irql::at_most("FltFreeDeferredIoWorkItem", DISPATCH_LEVEL);
        free(item, "FltFreeDeferredIoWorkItem");
    }

    /// Queues it for an operation that the calling filter pends.
    partial "the queue type is checked and then changes nothing"
    fn FltQueueDeferredIoWorkItem(item: usize, data: Guest<u8>, routine: usize, kind: u32, context: usize) -> NtStatus {
        irql::at_most("FltQueueDeferredIoWorkItem", DISPATCH_LEVEL);
        if let Some(status) = faults::check("FltQueueDeferredIoWorkItem") {
            return status;
        }
        let data = data.address();
        let Some(operation) = flight::at(data).filter(|_| kind <= MOST_QUEUE_TYPE) else {
            return NtStatus::INVALID_PARAMETER;
        };
        let flags = Guest::<CallbackData>::at(data).iopb().read().irp_flags;
        if flags & IRP_PAGING_IO != 0 {
            // Documented: paging I/O must not wait for a worker thread.
            return NtStatus::FLT_NOT_SAFE_TO_POST_OPERATION;
        }
        check_posted(Guest::at(data));
        let instance = operation.instance.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(instance) = instance.filter(|instance| instance.rundown.enter()) else {
            return NtStatus::FLT_DELETING_OBJECT;
        };
        queue("FltQueueDeferredIoWorkItem", item, Hold::Instance(instance), routine, data, context)
    }
}
