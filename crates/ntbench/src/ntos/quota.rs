//! How much pool all drivers together may hold, so that a driver that takes without end exhausts the machine and not its host.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// More than a filter should ever hold, and what a host can spare.
const USUAL: u64 = 512 << 20;

static LIMIT: AtomicU64 = AtomicU64::new(USUAL);
static HELD: AtomicU64 = AtomicU64::new(0);
static TOLD: AtomicBool = AtomicBool::new(false);

/// Sets the limit, in bytes, before a driver is loaded.
pub(crate) fn configure(limit: Option<u64>) {
    LIMIT.store(limit.unwrap_or(USUAL), Ordering::Relaxed);
}

/// The limit, in bytes.
pub(super) fn limit() -> u64 {
    LIMIT.load(Ordering::Relaxed)
}

/// Takes a block's cost; false: there is not so much left.
pub(super) fn charge(size: usize) -> bool {
    let take = |held: u64| {
        held.checked_add(size as u64)
            .filter(|held| *held <= limit())
    };
    HELD.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take)
        .is_ok()
}

/// Gives it back, where it was taken.
pub(super) fn refund(size: usize, charged: bool) {
    if charged {
        HELD.fetch_sub(size as u64, Ordering::Relaxed);
    }
}

/// Whether this is the first time that there is not enough: it is told once.
pub(super) fn tell() -> bool {
    !TOLD.swap(true, Ordering::Relaxed)
}
