//! A buffer that goes away at its n-th touch: what a program does that unmaps memory while a driver copies it.
//!
//! The pages are protected, so each touch faults. The fault handler counts it, lets the one instruction through with the
//! processor's single-step flag set, and protects the pages again; a string instruction is counted at each of its steps.

use std::cell::Cell;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use super::arena::{Pages, State, protect};
use crate::cpu::memory::PAGE;

/// A trap as the signal handler sees it: it may wait for no lock.
struct Slot {
    base: AtomicUsize,
    length: AtomicUsize,
    /// Touches that still go through.
    left: AtomicU64,
}

const MOST: usize = 16;
static SLOTS: [Slot; MOST] = [const {
    Slot {
        base: AtomicUsize::new(0),
        length: AtomicUsize::new(0),
        left: AtomicU64::new(0),
    }
}; MOST];

thread_local! {
    /// The slot whose page this thread's next instruction may touch, counted from 1.
    static STEPPING: Cell<usize> = const { Cell::new(0) };
}

/// A trap on pages.
pub(crate) struct Trap {
    slot: &'static Slot,
    pages: Arc<Pages>,
}

impl Trap {
    /// Has the pages go away at touch number `nth`, counted from 1. Probes find them there until then.
    pub(crate) fn set(pages: &Arc<Pages>, nth: u64) -> io::Result<Self> {
        let free = |slot: &&Slot| {
            let take =
                slot.base
                    .compare_exchange(0, pages.base(), Ordering::AcqRel, Ordering::Relaxed);
            take.is_ok()
        };
        let slot = SLOTS.iter().find(free).ok_or(io::ErrorKind::OutOfMemory)?;
        slot.left.store(nth.saturating_sub(1), Ordering::Release);
        slot.length.store(pages.length(), Ordering::Release);
        pages.protect(0, pages.length() / PAGE, State::Absent)?;
        Ok(Self {
            slot,
            pages: Arc::clone(pages),
        })
    }
}

impl Drop for Trap {
    fn drop(&mut self) {
        self.slot.length.store(0, Ordering::Release);
        // A failure leaves the pages unreadable, which whoever reads them will be told by a fault.
        let _ = self
            .pages
            .protect(0, self.pages.length() / PAGE, State::ReadWrite);
        self.slot.base.store(0, Ordering::Release);
    }
}

/// A page fault at this address: whether it was a touch that may go through, once the single-step flag is set.
pub(crate) fn touched(address: usize) -> bool {
    let holds = |slot: &Slot| {
        let base = slot.base.load(Ordering::Acquire);
        (base..base + slot.length.load(Ordering::Acquire)).contains(&address)
    };
    let Some(index) = SLOTS.iter().position(holds) else {
        return false;
    };
    let less = |left: u64| left.checked_sub(1);
    let counted = SLOTS[index]
        .left
        .fetch_update(Ordering::AcqRel, Ordering::Acquire, less);
    if counted.is_err() || protect(address & !(PAGE - 1), PAGE, State::ReadWrite).is_err() {
        return false;
    }
    STEPPING.set(index + 1);
    true
}

/// A debug exception: whether it is the end of an instruction that was let through.
pub(crate) fn stepped() -> bool {
    let Some(slot) = STEPPING
        .replace(0)
        .checked_sub(1)
        .and_then(|index| SLOTS.get(index))
    else {
        return false;
    };
    let (base, length) = (
        slot.base.load(Ordering::Acquire),
        slot.length.load(Ordering::Acquire),
    );
    length == 0 || protect(base, length, State::Absent).is_ok()
}
