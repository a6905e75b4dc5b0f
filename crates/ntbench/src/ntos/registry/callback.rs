//! Drivers that are told of each registry operation before and after, and may forbid it or do it themselves.
//!
//! `CmRegisterCallbackEx`, `EX_CALLBACK_FUNCTION`, "Filtering Registry Calls". Before an operation the highest altitude is asked
//! first, after it the lowest. Whoever let an operation pass is told how it ended; whoever failed or did it is not.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::objects;
use crate::abi::base::UnicodeString;
use crate::fltmgr::Altitude;
use crate::ntos::memory::Guest;
use crate::ntos::notify::{self, Place};
use crate::ntos::{driver, irql};
use crate::status::NtStatus;
use crate::thread::APC_LEVEL;
use crate::{faults, gate, verifier};

/// A callback that a driver has registered.
struct Callback {
    cookie: i64,
    routine: usize,
    context: u64,
    altitude: Altitude,
    service: String,
    site: usize,
    running: AtomicUsize,
}

/// From the highest altitude to the lowest.
static CALLBACKS: Mutex<Vec<Arc<Callback>>> = Mutex::new(Vec::new());
/// Whether there are any: most machines have none.
static ANY: AtomicBool = AtomicBool::new(false);
/// What drivers keep with an open key (`CmSetCallbackObjectContext`), by key object and cookie.
static CONTEXTS: Mutex<BTreeMap<(usize, i64), u64>> = Mutex::new(BTreeMap::new());

/// `RegNtCallbackObjectContextCleanup`.
const CONTEXT_CLEANUP: u64 = 40;
/// `RegNtPreKeyHandleClose` and `RegNtPostKeyHandleClose`.
const CLOSE: (u64, u64) = (14, 25);
const WHAT: &str = "registry-callback";
const REMOVER: &str = "CmUnRegisterCallback";

/// Whether there is a callback of that cookie.
pub(super) fn is_registered(cookie: i64) -> bool {
    lock().iter().any(|known| known.cookie == cookie)
}

/// Keeps what a driver gives with a key's object; gives what it kept before. 0: nothing.
pub(super) fn keep(object: usize, cookie: i64, context: u64) -> u64 {
    let former = if context == 0 {
        contexts().remove(&(object, cookie))
    } else {
        contexts().insert((object, cookie), context)
    };
    former.unwrap_or(0)
}

fn lock() -> MutexGuard<'static, Vec<Arc<Callback>>> {
    CALLBACKS.lock().unwrap_or_else(PoisonError::into_inner)
}

fn contexts() -> MutexGuard<'static, BTreeMap<(usize, i64), u64>> {
    CONTEXTS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An operation as callbacks see it.
pub(super) struct Operation {
    /// The classes (`REG_NOTIFY_CLASS`) before and after it.
    pub(super) classes: (u64, u64),
    /// The `REG_…_INFORMATION` of before, in words.
    pub(super) words: Vec<u64>,
    /// Which of them is `CallContext`; `ObjectContext` follows it.
    pub(super) call_context: usize,
    /// The key's object.
    pub(super) object: usize,
}

impl Callback {
    fn place(&self) -> Place<'_> {
        Place {
            service: &self.service,
            what: WHAT,
            routine: self.routine,
            running: &self.running,
        }
    }

    fn call(&self, class: u64, information: usize) -> NtStatus {
        let arguments = [self.context, class, information as u64];
        let returned = self.place().call(&format!("class {class}"), &arguments);
        driver::status_of(returned)
    }

    fn object_context(&self, object: usize) -> u64 {
        contexts().get(&(object, self.cookie)).copied().unwrap_or(0)
    }
}

/// Does an operation with whoever wants to be told of it. `after` finds the object that the operation is about where it
/// makes one.
pub(super) fn run(
    describe: impl FnOnce() -> Operation,
    perform: impl FnOnce() -> NtStatus,
    after: impl FnOnce() -> Option<usize>,
) -> NtStatus {
    if !ANY.load(Ordering::Acquire) {
        return perform();
    }
    let callbacks = lock().clone();
    let Operation {
        classes: (before, behind),
        mut words,
        call_context,
        object,
    } = describe();
    let at = words.as_mut_ptr().expose_provenance();
    let call_word = Guest::<u64>::at(at + call_context * 8);
    let object_word = call_word.add(1);
    let mut passed: Vec<(Arc<Callback>, u64)> = Vec::new();
    let mut stopped = None;
    for callback in callbacks {
        call_word.write(0);
        object_word.write(callback.object_context(object));
        let status = callback.call(before, at);
        if status.is_success() {
            passed.push((callback, call_word.read()));
            continue;
        }
        stopped = Some(if status == NtStatus::CALLBACK_BYPASS {
            NtStatus::SUCCESS
        } else {
            status
        });
        break;
    }
    let mut status = stopped.unwrap_or_else(perform);
    let object = after().unwrap_or(object);
    for (callback, context) in passed.into_iter().rev() {
        call_word.write(context);
        let returned = u64::from(status.0.cast_unsigned());
        let object_context = callback.object_context(object);
        // REG_POST_OPERATION_INFORMATION.
        let mut post = [
            object as u64,
            returned,
            at as u64,
            returned,
            context,
            object_context,
            0,
        ];
        let post = Guest::<[u64; 7]>::at((&raw mut post).expose_provenance());
        if callback.call(behind, post.address()) == NtStatus::CALLBACK_BYPASS {
            status = driver::status_of(post.read()[3]);
        }
    }
    drop(words);
    status
}

/// A handle to a key is closed.
pub(super) fn closing(object: usize, perform: impl FnOnce() -> NtStatus) {
    let describe = || Operation {
        classes: CLOSE,
        words: vec![object as u64, 0, 0, 0],
        call_context: 1,
        object,
    };
    run(describe, perform, || None);
}

fn clean_up(callback: &Callback, object: usize, context: u64) {
    let mut information = [object as u64, context, 0];
    callback.call(CONTEXT_CLEANUP, (&raw mut information).expose_provenance());
}

/// A key's object goes: what drivers keep with it goes first.
pub(super) fn object_gone(object: usize) {
    objects::gone(object);
    let gone: Vec<((usize, i64), u64)> = {
        let mut contexts = contexts();
        let theirs = contexts.range((object, i64::MIN)..=(object, i64::MAX));
        let theirs: Vec<_> = theirs.map(|(key, context)| (*key, *context)).collect();
        for (key, _) in &theirs {
            contexts.remove(key);
        }
        theirs
    };
    for ((_, cookie), context) in gone {
        let callback = lock().iter().find(|known| known.cookie == cookie).cloned();
        if let Some(callback) = callback {
            clean_up(&callback, object, context);
        }
    }
}

fn register(routine: usize, altitude: &str, context: u64, cookie: Guest<i64>) -> NtStatus {
    static NEXT: AtomicI64 = AtomicI64::new(0x01D0_0000_0000_0001);
    let Some(parsed) = Altitude::parse(altitude) else {
        return NtStatus::INVALID_PARAMETER;
    };
    let mut callbacks = lock();
    if callbacks.iter().any(|known| known.altitude == parsed) {
        return NtStatus::FLT_INSTANCE_ALTITUDE_COLLISION;
    }
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let at = callbacks.partition_point(|known| known.altitude > parsed);
    callbacks.insert(
        at,
        Arc::new(Callback {
            cookie: number,
            routine,
            context,
            altitude: parsed,
            service: driver::calling().map_or_else(String::new, |driver| driver.service.clone()),
            site: gate::call_site().map_or(0, |site| site.return_address),
            running: AtomicUsize::new(0),
        }),
    );
    drop(callbacks);
    ANY.store(true, Ordering::Release);
    cookie.write(number);
    NtStatus::SUCCESS
}

fn unregister(cookie: i64) -> NtStatus {
    let callback = {
        let mut callbacks = lock();
        let Some(at) = callbacks.iter().position(|known| known.cookie == cookie) else {
            return NtStatus::INVALID_PARAMETER;
        };
        let callback = callbacks.remove(at);
        ANY.store(!callbacks.is_empty(), Ordering::Release);
        callback
    };
    callback.place().wait(REMOVER);
    let left: Vec<(usize, u64)> = {
        let mut contexts = contexts();
        let theirs = |known: &i64| *known == cookie;
        let left = contexts.iter().filter(|((_, known), _)| theirs(known));
        let left = left
            .map(|((object, _), context)| (*object, *context))
            .collect();
        contexts.retain(|(_, known), _| !theirs(known));
        left
    };
    for (object, context) in left {
        clean_up(&callback, object, context);
    }
    NtStatus::SUCCESS
}

/// Reports the callbacks that a driver leaves behind.
pub(crate) fn report_left(service: &str) {
    let callbacks = lock().clone();
    for callback in callbacks.iter().filter(|known| known.service == service) {
        notify::left(service, WHAT, callback.site, REMOVER);
    }
}

exports! { "ntoskrnl.exe";
    /// Registers a callback at an altitude.
    fn CmRegisterCallbackEx(
        routine: usize, altitude: Guest<UnicodeString>, driver: usize, context: u64, cookie: Guest<i64>, _reserved: usize,
    ) -> NtStatus {
        irql::at_most("CmRegisterCallbackEx", APC_LEVEL);
        if let Some(status) = faults::check("CmRegisterCallbackEx") {
            return status;
        }
        if driver::of_object(driver).is_none() {
            verifier::finding("registration", "CmRegisterCallbackEx was given a Driver that is no driver object; pass the one of DriverEntry");
        }
        register(routine, &altitude.text(), context, cookie)
    }

    /// Registers a callback below those that have an altitude.
    fn CmRegisterCallback(routine: usize, context: u64, cookie: Guest<i64>) -> NtStatus {
        irql::at_most("CmRegisterCallback", APC_LEVEL);
        if let Some(status) = faults::check("CmRegisterCallback") {
            return status;
        }
        // Legacy callbacks may be many: each has an altitude of its own, below every assigned one.
        static NEXT: AtomicI64 = AtomicI64::new(9_999);
        let altitude = format!("0.{}", NEXT.fetch_sub(1, Ordering::Relaxed));
        register(routine, &altitude, context, cookie)
    }

    /// Takes a callback away, once no thread is in it, and what it keeps with keys.
    fn CmUnRegisterCallback(cookie: i64) -> NtStatus {
        irql::at_most("CmUnRegisterCallback", APC_LEVEL);
        unregister(cookie)
    }

    /// The version of the callbacks: 1.1 since Windows Vista.
    fn CmGetCallbackVersion(major: Guest<u32>, minor: Guest<u32>) {
        irql::at_most("CmGetCallbackVersion", APC_LEVEL);
        major.write_opt(1);
        minor.write_opt(1);
    }
}
