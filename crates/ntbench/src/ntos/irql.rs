//! IRQL: raising, lowering, and the documented limits of the functions that a driver calls.

use std::cell::{Cell, RefCell};

use crate::thread::{self, DISPATCH_LEVEL};
use crate::{bugcheck, gate, verifier};

/// Reports a call above the IRQL that the function's documentation allows.
///
/// Windows does not check most of these: the function touches paged code or data, and whether that
/// is resident is luck. Driver Verifier makes it certain; so does the bench, as a finding.
pub(crate) fn at_most(function: &str, limit: u8) {
    let irql = thread::irql();
    if irql > limit {
        verifier::finding(
            "irql",
            format!(
                "{function} was called at IRQL {irql}; its documentation allows at most {limit}"
            ),
        );
    }
}

/// Reports a call with kernel APCs disabled where the documentation wants them enabled.
pub(crate) fn apcs_enabled(function: &str) {
    use std::sync::atomic::Ordering;
    let thread = thread::current();
    let special = thread.special_apc_disable.load(Ordering::Relaxed);
    if special != 0 {
        verifier::finding(
            "apcs-enabled",
            format!(
                "{function} was called in a guarded region ({special} deep); its documentation wants \
                 special kernel APCs enabled, or the I/O it starts never completes"
            ),
        );
    }
}

/// Reports a lock that is taken with normal kernel APCs enabled where its documentation wants them disabled.
pub(crate) fn critical_region(function: &str) {
    use std::sync::atomic::Ordering;
    let thread = thread::current();
    let enabled = thread.kernel_apc_disable.load(Ordering::Relaxed) == 0
        && thread.special_apc_disable.load(Ordering::Relaxed) == 0
        && thread.irql() < thread::APC_LEVEL;
    if enabled && !thread.is_system() {
        verifier::finding(
            "critical-region",
            format!(
                "{function} was called with normal kernel APCs enabled: the thread can be suspended while it holds the lock, and \
                 everybody else waits"
            ),
        );
    }
}

/// Whether no kernel APC can be delivered to the current thread.
pub(crate) fn all_apcs_disabled() -> bool {
    use std::sync::atomic::Ordering;
    let thread = thread::current();
    thread.special_apc_disable.load(Ordering::Relaxed) != 0 || thread.irql() >= thread::APC_LEVEL
}

exports! { "ntoskrnl.exe";
    /// The current IRQL. Compilers usually read CR8 instead.
    fn KeGetCurrentIrql() -> u8 {
        thread::irql()
    }

    /// Raises the IRQL; gives the old one.
    fn KfRaiseIrql(new: u8) -> u8 {
        let old = thread::irql();
        if new < old {
            // Driver Verifier's 0x30: KeRaiseIrql to a lower level.
            bugcheck::raise(0xC4, [0x30, old.into(), new.into(), 0], "KeRaiseIrql to an IRQL below the current one");
        }
        RAISED.set(verifier::here());
        thread::current().set_irql(new)
    }

    /// Raises to `DISPATCH_LEVEL`; gives the old one.
    fn KeRaiseIrqlToDpcLevel() -> u8 {
        KfRaiseIrql(DISPATCH_LEVEL)
    }

    /// Lowers the IRQL.
    fn KeLowerIrql(new: u8) {
        let old = thread::irql();
        if new > old {
            // Driver Verifier's 0x31: KeLowerIrql to a higher level.
            bugcheck::raise(0xC4, [0x31, old.into(), new.into(), 0], "KeLowerIrql to an IRQL above the current one");
        }
        thread::current().set_irql(new);
    }

    /// Disables normal kernel APCs.
    fn KeEnterCriticalRegion() {
        at_most("KeEnterCriticalRegion", thread::APC_LEVEL);
        enter(&thread::current().kernel_apc_disable);
    }

    /// Enables them again.
    fn KeLeaveCriticalRegion() {
        leave(&thread::current().kernel_apc_disable, "KeLeaveCriticalRegion");
    }

    /// Disables all kernel APCs.
    fn KeEnterGuardedRegion() {
        at_most("KeEnterGuardedRegion", thread::APC_LEVEL);
        enter(&thread::current().special_apc_disable);
    }

    /// Enables them again.
    fn KeLeaveGuardedRegion() {
        leave(&thread::current().special_apc_disable, "KeLeaveGuardedRegion");
    }

    /// Whether normal kernel APCs are disabled.
    fn KeAreApcsDisabled() -> u8 {
        use std::sync::atomic::Ordering;
        let thread = thread::current();
        let disabled = thread.kernel_apc_disable.load(Ordering::Relaxed) != 0
            || thread.special_apc_disable.load(Ordering::Relaxed) != 0
            || thread.irql() >= thread::APC_LEVEL;
        u8::from(disabled)
    }

    /// Whether all kernel APCs are disabled.
    fn KeAreAllApcsDisabled() -> u8 {
        u8::from(all_apcs_disabled())
    }
}

thread_local! {
    /// Where the current thread entered the regions that it is in, the newest last.
    static ENTERED: RefCell<Vec<usize>> = const { RefCell::new(Vec::new()) };
    /// Where it raised its IRQL last.
    static RAISED: Cell<usize> = const { Cell::new(0) };
}

/// How many regions the current thread is in that it entered by a call.
pub(crate) fn regions() -> usize {
    ENTERED.with_borrow(Vec::len)
}

/// Forgets those from the given one on; gives where the first of them was entered, 0 where none was.
pub(crate) fn forget_regions(from: usize) -> usize {
    ENTERED.with_borrow_mut(|entered| {
        let first = entered.get(from).copied().unwrap_or(0);
        entered.truncate(from);
        first
    })
}

/// Where the current thread raised its IRQL last; 0: it did not.
pub(crate) fn raised() -> usize {
    RAISED.get()
}

/// The driver has raised its IRQL by CR8, as headers' inline functions do, and goes on there.
pub(crate) fn raised_by_cr8(next: usize) {
    RAISED.set(next);
}

/// Where the current thread entered the regions from the given one on.
pub(crate) fn regions_since(from: usize) -> Vec<usize> {
    ENTERED.with_borrow(|entered| entered.get(from..).unwrap_or_default().to_vec())
}

/// The region that comes with a lock, whose own IRQL has been looked at.
pub(crate) fn enter_critical_region() {
    enter(&thread::current().kernel_apc_disable);
}

fn enter(count: &std::sync::atomic::AtomicI32) {
    ENTERED.with_borrow_mut(|entered| entered.push(verifier::here()));
    count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
}

fn leave(count: &std::sync::atomic::AtomicI32, function: &str) {
    ENTERED.with_borrow_mut(Vec::pop);
    if count.fetch_sub(1, std::sync::atomic::Ordering::Relaxed) <= 0 {
        unbalanced(format!("{function} without the matching enter"));
    }
}

/// The thread's `CombinedApcDisable`, as bug check parameters have it.
pub(crate) fn apc_disable() -> u64 {
    let thread = thread::current();
    // Windows counts down where a region is entered.
    let disabled = |count: &std::sync::atomic::AtomicI32| {
        let depth = count.load(std::sync::atomic::Ordering::Relaxed);
        u64::from(depth.wrapping_neg().cast_unsigned() & 0xFFFF)
    };
    disabled(&thread.special_apc_disable) << 16 | disabled(&thread.kernel_apc_disable)
}

/// `APC_INDEX_MISMATCH`: what Windows ends with when the thread next leaves the kernel.
pub(crate) fn unbalanced(text: String) -> ! {
    let site = gate::call_site().map_or(0, |site| site.return_address as u64);
    bugcheck::raise(0x1, [site, 0, apc_disable(), 0], text)
}
