//! The IRQL, checked in debug builds.

use wdk_sys::ntddk::KeGetCurrentIrql;

pub(crate) const PASSIVE_LEVEL: u8 = 0;
pub(crate) const APC_LEVEL: u8 = 1;
pub(crate) const DISPATCH_LEVEL: u8 = 2;

/// Stops a debug build that is called above `highest`: a bug check that names the caller's line is found sooner than the
/// page fault that would follow some day.
#[inline]
#[track_caller]
pub(crate) fn at_most(highest: u8) {
    if cfg!(debug_assertions) {
        // SAFETY: no requirements.
        let now = unsafe { KeGetCurrentIrql() };
        assert!(now <= highest, "called at too high an IRQL");
    }
}
