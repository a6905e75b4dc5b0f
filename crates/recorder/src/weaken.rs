//! Loom's atomics, of which any one ordering can be weakened from outside: so that a test can show of each that it is needed.
//!
//! An ordering is known by where it stands in the source. Two variables of the environment, both for the tests' own processes, say
//! what to do: [`LIST`] names a file for the orderings that were met, [`WEAKEN`] has one of that file's lines.

extern crate std;

use core::panic::Location;
use std::collections::HashSet;
use std::format;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::string::String;
use std::sync::{LazyLock, Mutex};

use loom::sync::atomic::Ordering;

/// The file to which each ordering that is met is added, once for every way to weaken it: `FILE:LINE:COLUMN ORDERING WEAKER`.
pub const LIST: &str = "RECORDER_ORDERINGS_LIST";
/// The line of such a file that is done.
pub const WEAKEN: &str = "RECORDER_ORDERINGS_WEAKEN";

/// `AtomicU64` of loom.
pub struct AtomicU64(loom::sync::atomic::AtomicU64);

impl AtomicU64 {
    /// Loom's are made at run time.
    #[must_use]
    pub fn new(value: u64) -> Self {
        Self(loom::sync::atomic::AtomicU64::new(value))
    }

    #[track_caller]
    pub(crate) fn load(&self, order: Ordering) -> u64 {
        self.0.load(chosen(order))
    }

    #[track_caller]
    pub(crate) fn store(&self, value: u64, order: Ordering) {
        self.0.store(value, chosen(order));
    }

    #[track_caller]
    pub(crate) fn fetch_add(&self, value: u64, order: Ordering) -> u64 {
        self.0.fetch_add(value, chosen(order))
    }

    #[track_caller]
    pub(crate) fn fetch_sub(&self, value: u64, order: Ordering) -> u64 {
        self.0.fetch_sub(value, chosen(order))
    }

    #[track_caller]
    pub(crate) fn compare_exchange(
        &self,
        current: u64,
        new: u64,
        success: Ordering,
        failure: Ordering,
    ) -> Result<u64, u64> {
        assert_eq!(
            failure,
            Ordering::Relaxed,
            "an ordering that would not be weakened"
        );
        self.0
            .compare_exchange(current, new, chosen(success), failure)
    }
}

/// `AtomicPtr` of loom.
pub struct AtomicPtr<T>(loom::sync::atomic::AtomicPtr<T>);

impl<T> AtomicPtr<T> {
    /// Loom's are made at run time.
    #[must_use]
    pub fn new(value: *mut T) -> Self {
        Self(loom::sync::atomic::AtomicPtr::new(value))
    }

    #[track_caller]
    pub(crate) fn load(&self, order: Ordering) -> *mut T {
        self.0.load(chosen(order))
    }

    #[track_caller]
    pub(crate) fn store(&self, value: *mut T, order: Ordering) {
        self.0.store(value, chosen(order));
    }
}

/// The ordering that stands at the caller's place, or the weaker one.
#[track_caller]
fn chosen(asked: Ordering) -> Ordering {
    static WEAKENED: LazyLock<Option<String>> = LazyLock::new(|| std::env::var(WEAKEN).ok());
    static LISTED: LazyLock<Option<String>> = LazyLock::new(|| std::env::var(LIST).ok());
    if asked == Ordering::Relaxed || WEAKENED.is_none() && LISTED.is_none() {
        return asked;
    }
    let place = Location::caller();
    let line = |weaker: Ordering| format!("{place} {asked:?} {weaker:?}");
    if let Some(file) = &*LISTED {
        weaker(asked)
            .iter()
            .for_each(|&weaker| list(file, &line(weaker)));
    }
    let Some(weakened) = &*WEAKENED else {
        return asked;
    };
    weaker(asked)
        .iter()
        .copied()
        .find(|&weaker| *weakened == line(weaker))
        .unwrap_or(asked)
}

const fn weaker(order: Ordering) -> &'static [Ordering] {
    match order {
        Ordering::Acquire | Ordering::Release => &[Ordering::Relaxed],
        Ordering::AcqRel => &[Ordering::Acquire, Ordering::Release],
        _ => &[],
    }
}

fn list(file: &str, line: &str) {
    static MET: LazyLock<Mutex<HashSet<String>>> = LazyLock::new(Mutex::default);
    let Ok(mut met) = MET.lock() else { return };
    if met.insert(line.into()) {
        let mut file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(file)
            .expect("the list of orderings can be written to");
        writeln!(file, "{line}").expect("the list of orderings can be written to");
    }
}
