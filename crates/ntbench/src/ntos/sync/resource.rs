//! `ERESOURCE`: shared or exclusive, recursive, with owners that are threads.
//!
//! The driver's 104 bytes hold nothing but a mark; who owns what is in a table here. Documentation: "Introduction to ERESOURCE
//! Routines": normal kernel APCs have to be off from before a resource is acquired until after it is released, or the
//! thread may be suspended with it. `RESOURCE_NOT_OWNED` (0xE3) is what a release without an acquisition ends in.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, LazyLock, Mutex, MutexGuard, PoisonError};

use super::{about_to_take, gave, order, took};
use crate::ntos::memory::Guest;
use crate::ntos::{driver, irql};
use crate::status::NtStatus;
use crate::thread::{self, APC_LEVEL, DISPATCH_LEVEL};
use crate::{bugcheck, schedule, verifier};

/// Its size in a driver's memory.
const BYTES: usize = 104;

#[derive(Default)]
struct Resource {
    /// The exclusive owner and how often it has acquired.
    exclusive: Option<(u64, u32)>,
    /// Shared owners and how often each has acquired.
    shared: BTreeMap<u64, u32>,
    waiting_exclusive: u32,
    waiting_shared: u32,
    /// The service that initialised it.
    owner: Option<String>,
    /// Where.
    site: usize,
}

static RESOURCES: LazyLock<Mutex<BTreeMap<usize, Resource>>> = LazyLock::new(Mutex::default);
/// Whether there ever was one.
static ANY: AtomicBool = AtomicBool::new(false);
static CHANGED: Condvar = Condvar::new();

type Resources = MutexGuard<'static, BTreeMap<usize, Resource>>;

fn lock() -> Resources {
    RESOURCES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How a shared acquisition stands to those who wait for the resource alone.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Share {
    /// Waits behind them, unless the thread is an owner already.
    Ordinary,
    /// Goes before them.
    Starve,
    /// Waits behind them in any case.
    Wait,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Want {
    Exclusive,
    Shared(Share),
}

impl Resource {
    fn grant(&mut self, want: Want, me: u64) -> bool {
        if let Some((owner, count)) = &mut self.exclusive {
            let mine = *owner == me;
            if mine {
                *count += 1;
            }
            return mine;
        }
        match want {
            Want::Exclusive => {
                let free = self.shared.is_empty();
                if free {
                    self.exclusive = Some((me, 1));
                }
                free
            }
            Want::Shared(share) => {
                let may = match share {
                    Share::Starve => true,
                    Share::Ordinary => self.waiting_exclusive == 0 || self.shared.contains_key(&me),
                    Share::Wait => self.waiting_exclusive == 0,
                };
                if may {
                    *self.shared.entry(me).or_default() += 1;
                }
                may
            }
        }
    }

    fn waiting(&mut self, want: Want) -> &mut u32 {
        match want {
            Want::Exclusive => &mut self.waiting_exclusive,
            Want::Shared(_) => &mut self.waiting_shared,
        }
    }
}

fn me() -> u64 {
    thread::current().object as u64
}

/// The resource, or the end: an acquisition of memory that is none follows a list that is not there.
fn known(resources: &mut Resources, at: usize, call: &str) {
    if !resources.contains_key(&at) {
        bugcheck::raise(
            0xE3,
            [at as u64, me(), 0, 0],
            format!(
                "{call} was given {at:#x}, which is no initialised resource: ExInitializeResourceLite comes first, and the memory must be \
                 non-paged"
            ),
        );
    }
}

/// Acquires; `false`: `wait` is not set and it is not free.
fn acquire(at: usize, want: Want, wait: bool, call: &str) -> bool {
    irql::at_most(call, APC_LEVEL);
    irql::critical_region(call);
    about_to_take("resource", at);
    let me = me();
    let mut resources = lock();
    known(&mut resources, at, call);
    let resource = resources.entry(at).or_default();
    if resource.grant(want, me) {
        drop(resources);
        took("resource", at);
        return true;
    }
    if !wait {
        return false;
    }
    if want == Want::Exclusive && resource.shared.contains_key(&me) {
        drop(resources);
        verifier::finding(
            "resource-upgrade",
            format!(
                "{call} with Wait by a thread that owns the resource at {at:#x} shared: it waits for itself"
            ),
        );
        bugcheck::raise(
            0xC4,
            [0x1000, at as u64, 0, 0],
            "a resource is acquired exclusive by a thread that owns it shared: a deadlock",
        );
    }
    *resource.waiting(want) += 1;
    loop {
        if let Some(resource) = resources.get_mut(&at)
            && resource.grant(want, me)
        {
            *resource.waiting(want) -= 1;
            break;
        }
        resources = schedule::wait(&CHANGED, &RESOURCES, resources, None);
    }
    drop(resources);
    took("resource", at);
    true
}

/// Releases one acquisition of a thread.
fn release(at: usize, owner: u64, call: &str) {
    irql::at_most(call, DISPATCH_LEVEL);
    if owner == me() {
        irql::critical_region(call);
    }
    let mut resources = lock();
    known(&mut resources, at, call);
    let resource = resources.entry(at).or_default();
    let released = match &mut resource.exclusive {
        Some((exclusive, count)) if *exclusive == owner => {
            *count -= 1;
            if *count == 0 {
                resource.exclusive = None;
            }
            true
        }
        _ => match resource.shared.get_mut(&owner) {
            Some(count) => {
                *count -= 1;
                if *count == 0 {
                    resource.shared.remove(&owner);
                }
                true
            }
            None => false,
        },
    };
    drop(resources);
    if !released {
        bugcheck::raise(
            0xE3,
            [at as u64, owner, 0, 0],
            format!("{call}: the thread does not own the resource at {at:#x}"),
        );
    }
    CHANGED.notify_all();
    if owner == me() {
        gave("resource", at);
    }
}

/// Whether a block that is about to be freed holds a resource that is still in use by the system's list of them.
pub(super) fn in_memory(start: usize, length: usize) -> Option<usize> {
    if !ANY.load(Ordering::Acquire) {
        return None;
    }
    let range = start..start + length;
    lock().range(range).next().map(|(at, _)| *at)
}

/// Reports resources that a driver which goes away has not deleted.
pub(super) fn report_leaks(service: &str) {
    let mut left = Vec::new();
    lock().retain(|at, resource| {
        let mine = resource.owner.as_deref() == Some(service);
        if mine {
            left.push((*at, resource.site));
        }
        !mine
    });
    left.sort_unstable();
    for (at, site) in left {
        verifier::finding_at(
            "resource-not-deleted",
            site,
            format!(
                "{service} went away without ExDeleteResourceLite for the resource at {at:#x}, which stays in the system's list of resources"
            ),
        );
    }
}

fn owned(at: usize) -> (bool, u32) {
    let me = me();
    let resources = lock();
    let Some(resource) = resources.get(&at) else {
        return (false, 0);
    };
    match resource.exclusive {
        Some((owner, count)) if owner == me => (true, count),
        _ => (false, resource.shared.get(&me).copied().unwrap_or(0)),
    }
}

exports! { "ntoskrnl.exe";
    /// Initialises a resource.
    fn ExInitializeResourceLite(resource: usize) -> NtStatus {
        irql::at_most("ExInitializeResourceLite", DISPATCH_LEVEL);
        if !resource.is_multiple_of(8) {
            verifier::finding("resource-alignment", format!("the resource at {resource:#x} is not aligned to 8 bytes"));
        }
        order::forget(resource, BYTES);
        super::resident(resource, "a resource");
        Guest::<[u8; BYTES]>::at(resource).write([0; BYTES]);
        let owner = driver::calling().map(|driver| driver.service.clone());
        ANY.store(true, Ordering::Release);
        let former = lock().insert(resource, Resource { owner, site: verifier::here(), ..Resource::default() });
        if former.is_some() {
            verifier::finding("resource-initialised-twice", format!("the resource at {resource:#x} is initialised again without ExDeleteResourceLite"));
        }
        NtStatus::SUCCESS
    }

    /// Makes a resource as new; nobody may own it.
    fn ExReinitializeResourceLite(resource: usize) -> NtStatus {
        let mut resources = lock();
        known(&mut resources, resource, "ExReinitializeResourceLite");
        NtStatus::SUCCESS
    }

    /// Ends the use of a resource.
    fn ExDeleteResourceLite(resource: usize) -> NtStatus {
        irql::at_most("ExDeleteResourceLite", DISPATCH_LEVEL);
        let former = lock().remove(&resource);
        match former {
            None => bugcheck::raise(0xE3, [resource as u64, me(), 0, 0], format!("ExDeleteResourceLite of {resource:#x}, which is no initialised resource")),
            Some(former) if former.exclusive.is_some() || !former.shared.is_empty() => {
                verifier::finding("resource-deleted-in-use", format!("ExDeleteResourceLite of the resource at {resource:#x}, which somebody owns"));
            }
            Some(_) => {}
        }
        order::forget(resource, BYTES);
        NtStatus::SUCCESS
    }

    /// Acquires for itself alone.
    fn ExAcquireResourceExclusiveLite(resource: usize, wait: u8) -> u8 {
        acquire(resource, Want::Exclusive, wait != 0, "ExAcquireResourceExclusiveLite").into()
    }

    /// Acquires together with others.
    fn ExAcquireResourceSharedLite(resource: usize, wait: u8) -> u8 {
        acquire(resource, Want::Shared(Share::Ordinary), wait != 0, "ExAcquireResourceSharedLite").into()
    }

    /// Acquires together with others, before those who wait for it alone.
    fn ExAcquireSharedStarveExclusive(resource: usize, wait: u8) -> u8 {
        acquire(resource, Want::Shared(Share::Starve), wait != 0, "ExAcquireSharedStarveExclusive").into()
    }

    /// Acquires together with others, behind those who wait for it alone.
    fn ExAcquireSharedWaitForExclusive(resource: usize, wait: u8) -> u8 {
        acquire(resource, Want::Shared(Share::Wait), wait != 0, "ExAcquireSharedWaitForExclusive").into()
    }

    /// Enters a critical region and acquires for itself alone.
    fn ExEnterCriticalRegionAndAcquireResourceExclusive(resource: usize) -> usize {
        irql::KeEnterCriticalRegion();
        acquire(resource, Want::Exclusive, true, "ExEnterCriticalRegionAndAcquireResourceExclusive");
        0
    }

    /// Enters a critical region and acquires together with others.
    fn ExEnterCriticalRegionAndAcquireResourceShared(resource: usize) -> usize {
        irql::KeEnterCriticalRegion();
        acquire(resource, Want::Shared(Share::Ordinary), true, "ExEnterCriticalRegionAndAcquireResourceShared");
        0
    }

    /// Releases.
    fn ExReleaseResourceLite(resource: usize) {
        release(resource, me(), "ExReleaseResourceLite");
    }

    /// Releases what that thread acquired.
    fn ExReleaseResourceForThreadLite(resource: usize, owner: u64) {
        release(resource, owner, "ExReleaseResourceForThreadLite");
    }

    /// Releases and leaves the critical region.
    fn ExReleaseResourceAndLeaveCriticalRegion(resource: usize) {
        release(resource, me(), "ExReleaseResourceAndLeaveCriticalRegion");
        irql::KeLeaveCriticalRegion();
    }

    /// Turns the thread's exclusive ownership into a shared one.
    fn ExConvertExclusiveToSharedLite(resource: usize) {
        let mut resources = lock();
        known(&mut resources, resource, "ExConvertExclusiveToSharedLite");
        let held = resources.entry(resource).or_default();
        match held.exclusive.take() {
            Some((owner, count)) if owner == me() => drop(held.shared.insert(owner, count)),
            _ => {
                drop(resources);
                bugcheck::raise(0xE3, [resource as u64, me(), 0, 0], "ExConvertExclusiveToSharedLite by a thread that does not own the resource exclusive");
            }
        }
        drop(resources);
        CHANGED.notify_all();
    }

    /// Whether the thread owns it alone.
    fn ExIsResourceAcquiredExclusiveLite(resource: usize) -> u8 {
        owned(resource).0.into()
    }

    /// How often the thread has acquired it, alone or not.
    fn ExIsResourceAcquiredSharedLite(resource: usize) -> u32 {
        owned(resource).1
    }

    /// How many wait for it alone.
    fn ExGetExclusiveWaiterCount(resource: usize) -> u32 {
        lock().get(&resource).map_or(0, |resource| resource.waiting_exclusive)
    }

    /// How many wait for it together with others.
    fn ExGetSharedWaiterCount(resource: usize) -> u32 {
        lock().get(&resource).map_or(0, |resource| resource.waiting_shared)
    }
}

/// The Filter Manager's: with a critical region of their own.
pub(super) mod filter_manager {
    use super::{Share, Want, acquire, irql, me, release};

    exports! { "fltmgr.sys";
        /// Acquires for itself alone.
        fn FltAcquireResourceExclusive(resource: usize) {
            irql::enter_critical_region();
            acquire(resource, Want::Exclusive, true, "FltAcquireResourceExclusive");
        }

        /// Acquires together with others.
        fn FltAcquireResourceShared(resource: usize) {
            irql::enter_critical_region();
            acquire(resource, Want::Shared(Share::Ordinary), true, "FltAcquireResourceShared");
        }

        /// Releases.
        fn FltReleaseResource(resource: usize) {
            release(resource, me(), "FltReleaseResource");
            irql::KeLeaveCriticalRegion();
        }
    }
}
