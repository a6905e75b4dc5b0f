//! Whose pages they are: a program's buffers are there for threads in its own process, as on Windows.
//!
//! All processes share the host's one address space, and give out different addresses of it. Pages stay accessible while only
//! threads in their owner's process run driver code. When a thread in another one is about to ([`enter`]: it is called, has
//! waited, or attaches itself), they are taken away; whoever touches one then faults, and the fault handler gives a page back
//! to a thread in the owner's process and to the bench itself ([`give_back`]), and to nobody else. So no access of the owner's
//! is refused, ever; one of another process is let through only if the owner's thread has touched the same page since.

use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::arena::{self, BASE, PAGES, State};
use crate::cpu::memory::PAGE;

/// Each page's owner; 0: nobody's, or everybody's.
static OWNERS: [AtomicU32; PAGES] = [const { AtomicU32::new(0) }; PAGES];
/// What the owner may do with each page.
static SHOWN: [AtomicU8; PAGES] = [const { AtomicU8::new(0) }; PAGES];

/// The buffers that have an owner: first page, number of pages, owner.
static OWNED: Mutex<Vec<(usize, usize, u64)>> = Mutex::new(Vec::new());
/// How many there are: mostly none.
static COUNT: AtomicUsize = AtomicUsize::new(0);
/// The process whose pages are the only ones that can be accessed, as far as that is known; 0: it is not.
static ONLY: AtomicU64 = AtomicU64::new(0);

fn lock() -> MutexGuard<'static, Vec<(usize, usize, u64)>> {
    OWNED.lock().unwrap_or_else(PoisonError::into_inner)
}

fn page(address: usize) -> Option<usize> {
    let index = address.checked_sub(BASE)? / PAGE;
    (index < PAGES).then_some(index)
}

/// The process that a page belongs to; 0: none.
pub(crate) fn owner(address: usize) -> u64 {
    page(address).map_or(0, |page| OWNERS[page].load(Ordering::Acquire).into())
}

/// Whether every page of a range belongs to that process, or to none.
pub(super) fn all(address: usize, length: usize, pid: u64) -> bool {
    let last = address.saturating_add(length.saturating_sub(1));
    (address / PAGE..=last / PAGE).all(|page| [0, pid].contains(&owner(page * PAGE)))
}

/// Pages become a process's.
pub(super) fn own(first: usize, count: usize, pid: u64) {
    if pid == 0 {
        return;
    }
    let pid32 = u32::try_from(pid).unwrap_or(0);
    for owner in &OWNERS[first..first + count] {
        owner.store(pid32, Ordering::Release);
    }
    let mut owned = lock();
    owned.push((first, count, pid));
    COUNT.store(owned.len(), Ordering::Release);
    accessed(pid);
}

/// They become nobody's.
pub(super) fn disown(first: usize, count: usize) {
    for owner in &OWNERS[first..first + count] {
        owner.store(0, Ordering::Release);
    }
    let mut owned = lock();
    owned.retain(|(start, ..)| *start != first);
    COUNT.store(owned.len(), Ordering::Release);
}

/// Changes what the owner may do with pages. Safe in a signal handler.
pub(super) fn show(address: usize, length: usize, state: State) {
    if let Some(first) = page(address) {
        for shown in SHOWN.iter().skip(first).take(length / PAGE) {
            shown.store(state as u8, Ordering::Release);
        }
    }
}

/// Pages of that process can be accessed now.
fn accessed(pid: u64) {
    if ONLY.load(Ordering::Acquire) != pid {
        ONLY.store(0, Ordering::Release);
    }
}

/// The current thread, in that process, is about to run driver code.
#[inline]
pub(super) fn enter(pid: impl FnOnce() -> Option<u64>) {
    if COUNT.load(Ordering::Relaxed) != 0
        && let Some(pid) = pid()
        && ONLY.load(Ordering::Acquire) != pid
    {
        take_away(pid);
    }
}

#[cold]
fn take_away(pid: u64) {
    let owned = lock();
    ONLY.store(pid, Ordering::Release);
    for (first, count, _) in owned.iter().filter(|(.., owner)| *owner != pid) {
        // A failure leaves pages accessible, which is only less strict.
        let _ = arena::access(BASE + first * PAGE, count * PAGE, State::Absent);
    }
}

/// A fault at that address, of a thread in that process, or of the bench itself (`None`): whether the page was only taken away,
/// and is there again. Safe in a signal handler.
pub(super) fn give_back(address: usize, write: bool, pid: Option<u64>) -> bool {
    let Some(index) = page(address) else {
        return false;
    };
    let owner = owner(address);
    let shown = SHOWN[index].load(Ordering::Acquire);
    let allowed = match State::of(shown) {
        State::Absent => false,
        State::ReadOnly => !write,
        State::ReadWrite => true,
    };
    if owner == 0 || !allowed || pid.is_some_and(|pid| pid != owner) {
        return false;
    }
    accessed(owner);
    arena::access(address & !(PAGE - 1), PAGE, State::of(shown)).is_ok()
}
