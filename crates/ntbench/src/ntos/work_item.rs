//! The I/O manager's work items, and the executive's: routines that a system worker thread calls at `PASSIVE_LEVEL`.
//!
//! "IoAllocateWorkItem", "IoQueueWorkItem", "ExQueueWorkItem". The I/O manager keeps a driver loaded while an item of one of its
//! devices is queued or running; of the executive's items nobody does.

use std::collections::HashMap;
use std::sync::{Arc, Condvar, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::memory::Guest;
use super::{Entered, device, driver, irql, pool, worker};
use crate::thread::DISPATCH_LEVEL;
use crate::{bugcheck, faults, gate, schedule, seh, verifier};

/// An item: opaque to its driver.
#[derive(Clone)]
struct Item {
    /// The device or driver object that it was made for.
    object: usize,
    service: String,
    site: usize,
    queued: bool,
}

#[derive(Default)]
struct Items {
    known: HashMap<usize, Item>,
    /// How many of a driver's are queued or running.
    under_way: HashMap<String, usize>,
    /// Those of `ExQueueWorkItem`, which nothing waits for: their drivers and routines.
    unguarded: Vec<(String, usize)>,
}

static ITEMS: LazyLock<Mutex<Items>> = LazyLock::new(Mutex::default);
static DONE: Condvar = Condvar::new();
/// How long a routine of `ExQueueWorkItem` may take to return after it has said that it is done.
const LAST_STEPS: Duration = Duration::from_millis(100);
const TAG: u32 = u32::from_le_bytes(*b"IoWI");
/// `sizeof(IO_WORKITEM)`, which a driver asks for.
const SIZE: usize = 0x58;

fn lock() -> MutexGuard<'static, Items> {
    ITEMS.lock().unwrap_or_else(PoisonError::into_inner)
}

fn make(address: usize, object: usize) {
    let item = Item {
        object,
        service: driver::calling().map_or_else(String::new, |driver| driver.service.clone()),
        site: verifier::here(),
        queued: false,
    };
    lock().known.insert(address, item);
}

fn wrong(function: &str, address: usize) -> ! {
    bugcheck::no_such(
        address,
        format!("{function} was given {address:#x}, which is no work item (any more)"),
    )
}

/// What a work item is for: a device, or the driver itself ("IoAllocateWorkItem").
fn known(function: &str, object: usize) {
    if driver::of_object(object).is_none() {
        device::known(function, object);
    }
}

fn forget(function: &str, address: usize) {
    irql::at_most(function, DISPATCH_LEVEL);
    let Some(item) = lock().known.remove(&address) else {
        wrong(function, address)
    };
    if item.queued {
        verifier::finding(
            "work-item-freed-queued",
            format!("{} freed a work item that is queued", item.service),
        );
    }
}

/// Calls a routine of a driver's in a worker.
fn run(service: &str, routine: usize, arguments: &[u64]) {
    let entered = Entered::now();
    // SAFETY: the driver queued the routine to be called with these.
    unsafe { gate::call(routine, arguments) };
    entered.check("a work item's routine", service);
}

fn queue(function: &str, address: usize, routine: usize, context: usize, extended: bool) {
    irql::at_most(function, DISPATCH_LEVEL);
    let mut items = lock();
    let Some(item) = items.known.get_mut(&address) else {
        drop(items);
        wrong(function, address)
    };
    if std::mem::replace(&mut item.queued, true) {
        drop(items);
        bugcheck::raise(
            0xE4,
            [0x1, address as u64, 0, 0],
            format!("{function} on a work item that is queued already"),
        );
    }
    let (object, service) = (item.object, Arc::new(item.service.clone()));
    if !extended && driver::of_object(object).is_some() {
        verifier::finding(
            "work-item-without-device",
            format!(
                "{function} on a work item that was allocated for a driver object: its routine is to be given a device"
            ),
        );
    }
    *items.under_way.entry(String::clone(&service)).or_default() += 1;
    drop(items);
    worker::queue(move || {
        // It may be queued again, or freed, from its routine on.
        if let Some(item) = lock().known.get_mut(&address) {
            item.queued = false;
        }
        let arguments = [object as u64, context as u64, address as u64];
        run(
            &service,
            routine,
            &arguments[..if extended { 3 } else { 2 }],
        );
        if let Some(count) = lock().under_way.get_mut(&*service) {
            *count -= 1;
        }
        DONE.notify_all();
    });
}

/// Ends the machine if a routine that `ExQueueWorkItem` was given outlives its driver: unlike an item of `IoAllocateWorkItem` it does not
/// keep the driver from being unloaded ("System Worker Threads").
fn report_unguarded(service: &str) {
    let until = Instant::now() + LAST_STEPS;
    let mut items = lock();
    while let Some(routine) = items
        .unguarded
        .iter()
        .find_map(|(owner, routine)| (owner == service).then_some(*routine))
    {
        if Instant::now() >= until {
            drop(items);
            bugcheck::raise(
                0xCE,
                [routine as u64, 8, routine as u64, 0],
                format!(
                    "{service} was unloaded while a work item of ExQueueWorkItem was queued or running: wait for its routine's end, or use \
                     IoAllocateWorkItem, which keeps the driver"
                ),
            );
        }
        items = schedule::wait(&DONE, &ITEMS, items, Some(until));
    }
}

/// Waits until no item of a driver is queued or running, and reports those that are left.
pub(crate) fn report_leaks(service: &str) {
    report_unguarded(service);
    let busy = |items: &mut Items| {
        items
            .under_way
            .get(service)
            .is_some_and(|count| *count != 0)
    };
    let mut items = DONE
        .wait_while(lock(), busy)
        .unwrap_or_else(PoisonError::into_inner);
    let mut left = Vec::new();
    items.known.retain(|_, item| {
        if item.service == service {
            left.push(item.site);
        }
        item.service != service
    });
    drop(items);
    left.sort_unstable();
    for site in left {
        verifier::finding_at(
            "work-item-leak",
            site,
            format!("{service} went away with a work item"),
        );
    }
}

exports! { "ntoskrnl.exe";
    /// Makes a work item for a device; NULL: there is no memory.
    fn IoAllocateWorkItem(object: usize) -> usize {
        irql::at_most("IoAllocateWorkItem", DISPATCH_LEVEL);
        known("IoAllocateWorkItem", object);
        if faults::check("IoAllocateWorkItem").is_some() {
            return 0;
        }
        let Some(address) = pool::lend(SIZE, TAG, true) else { return 0 };
        make(address, object);
        address
    }

    /// Frees it.
    fn IoFreeWorkItem(address: usize) {
        forget("IoFreeWorkItem", address);
        pool::free(address, None);
    }

    /// How large a work item in the driver's own memory is.
    fn IoSizeofWorkItem() -> u32 {
        u32::try_from(SIZE).unwrap_or(0)
    }

    /// Makes a work item of the driver's memory.
    fn IoInitializeWorkItem(object: usize, address: usize) {
        irql::at_most("IoInitializeWorkItem", DISPATCH_LEVEL);
        known("IoInitializeWorkItem", object);
        make(address, object);
    }

    /// Takes it away.
    fn IoUninitializeWorkItem(address: usize) {
        forget("IoUninitializeWorkItem", address);
    }

    /// Has a worker call a routine with the device and a context.
    partial "the queue type changes nothing"
    fn IoQueueWorkItem(address: usize, routine: usize, _kind: u32, context: usize) {
        queue("IoQueueWorkItem", address, routine, context, false);
    }

    /// Has a worker call a routine with the device, a context and the item.
    partial "the queue type changes nothing"
    fn IoQueueWorkItemEx(address: usize, routine: usize, _kind: u32, context: usize) {
        queue("IoQueueWorkItemEx", address, routine, context, true);
    }

    /// Has a worker call the routine of an item (`WORK_QUEUE_ITEM`: a list entry, the routine, its argument).
    partial "the queue type changes nothing"
    fn ExQueueWorkItem(item: Guest<[usize; 4]>, _kind: u32) {
        irql::at_most("ExQueueWorkItem", DISPATCH_LEVEL);
        let [link, back, routine, argument] = item.read();
        if seh::has_raised() {
            return;
        }
        if link != 0 {
            bugcheck::raise(0xE4, [0x1, item.address() as u64, 0, 0], "ExQueueWorkItem on an item that is queued already");
        }
        item.write([item.address(), back, routine, argument]);
        let (at, service) = (item.address(), driver::at(routine).map_or_else(String::new, |driver| driver.service.clone()));
        lock().unguarded.push((service.clone(), routine));
        worker::queue(move || {
            // From here on it is the driver's again.
            Guest::<usize>::at(at).write(0);
            run(&service, routine, &[argument as u64]);
            let mut items = lock();
            let ended = items.unguarded.iter().position(|(owner, queued)| *owner == service && *queued == routine);
            if let Some(index) = ended {
                items.unguarded.swap_remove(index);
            }
            drop(items);
            DONE.notify_all();
        });
    }
}
