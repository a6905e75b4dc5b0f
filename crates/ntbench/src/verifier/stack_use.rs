//! What each callback used of its caller's stack, and whether that is more than somebody allows it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::finding_in;
use crate::loader::Image;
use crate::stack::{Deepest, Used};
use crate::wire::StackUse;
use crate::{machine, symbols, unwind};

/// Whose calls are counted together.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    /// The driver's service.
    pub(crate) driver: String,
    /// `pre`, `post`, `setup`, ….
    pub(crate) phase: String,
    /// `IRP_MJ_CREATE`, …; empty where there is none.
    pub(crate) operation: String,
}

/// The most that anybody has seen.
#[derive(Default)]
struct Most {
    calls: u64,
    own: u64,
    whole: u64,
    elsewhere: u64,
    deepest: Place,
    /// Whether it was found to be too much already.
    judged: bool,
}

/// How the driver came to the most of its own. Symbols are read when somebody wants to know, or when the driver goes.
enum Place {
    Seen(Deepest),
    Described(Option<String>),
}

impl Default for Place {
    fn default() -> Self {
        Self::Seen(Deepest::Unknown)
    }
}

impl Place {
    /// In words.
    fn described(&mut self) -> Option<String> {
        if let Self::Seen(deepest) = self {
            *self = Self::Described(match *deepest {
                Deepest::Unknown => None,
                Deepest::Call(site) => Some(symbols::describe_call(site)),
                Deepest::Below(within) => {
                    Some(symbols::describe(start_of(within).unwrap_or(within)))
                }
            });
        }
        match self {
            Self::Seen(_) => None,
            Self::Described(text) => text.clone(),
        }
    }

    /// Whether it is still an address within that image.
    fn lies_in(&self, image: &Image) -> bool {
        match self {
            Self::Seen(Deepest::Call(at) | Deepest::Below(at)) => image.contains(*at),
            Self::Seen(Deepest::Unknown) | Self::Described(_) => false,
        }
    }
}

static CALLBACKS: Mutex<BTreeMap<Key, Most>> = Mutex::new(BTreeMap::new());
static LIMIT: AtomicU64 = AtomicU64::new(u64::MAX);

fn callbacks() -> MutexGuard<'static, BTreeMap<Key, Most>> {
    CALLBACKS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Sets how many bytes a callback's own frames may take.
pub(crate) fn configure(limit: Option<u64>) {
    LIMIT.store(limit.unwrap_or(u64::MAX), Ordering::Release);
}

/// A callback has returned.
pub(crate) fn note(key: Key, used: &Used) {
    let mut callbacks = callbacks();
    let most = callbacks.entry(key).or_default();
    most.calls += 1;
    most.whole = most.whole.max(used.whole);
    most.elsewhere = most.elsewhere.max(used.elsewhere);
    if used.own > most.own {
        most.own = used.own;
        most.deepest = Place::Seen(used.deepest);
    }
}

/// An image is about to go: what is known of it is looked up while it is there.
pub(crate) fn about_to_go(image: &Image) {
    for most in callbacks().values_mut() {
        if most.deepest.lies_in(image) {
            most.deepest.described();
        }
    }
}

/// Where the function at an address begins.
fn start_of(address: usize) -> Option<usize> {
    unwind::start(&machine::module_at(address)?.image, address)
}

/// All of them.
pub(crate) fn all() -> Vec<StackUse> {
    let row = |(key, most): (&Key, &mut Most)| StackUse {
        driver: key.driver.clone(),
        callback: key.phase.clone(),
        operation: key.operation.clone(),
        calls: most.calls,
        own: most.own,
        with_callees: most.whole,
        expanded: most.elsewhere,
        deepest: most.deepest.described(),
    };
    callbacks().iter_mut().map(row).collect()
}

/// Tells of those that use more than is allowed, each once: at the end, with the most that it came to.
pub(crate) fn judge() {
    let limit = LIMIT.load(Ordering::Acquire);
    for (key, most) in callbacks().iter_mut() {
        if most.own <= limit || std::mem::replace(&mut most.judged, true) {
            continue;
        }
        let about = match key.operation.as_str() {
            "" => key.phase.clone(),
            operation => format!("{}-operation callback for {operation}", key.phase),
        };
        let text = format!(
            "the {about} of {} takes {:#x} bytes of its caller's stack in its own frames, with {limit:#x} allowed",
            key.driver, most.own
        );
        finding_in("stack-use", &key.driver, most.deepest.described(), text);
    }
}
