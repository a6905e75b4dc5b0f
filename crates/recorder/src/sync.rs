//! The atomics, and the cell that is shared through them: core's, or loom's stand-ins which see every access.

#[cfg(feature = "loom")]
pub(crate) use crate::weaken::{AtomicPtr, AtomicU64};
#[cfg(not(feature = "loom"))]
pub(crate) use core::sync::atomic::{AtomicPtr, AtomicU64, Ordering};
#[cfg(feature = "loom")]
pub(crate) use loom::cell::UnsafeCell;
#[cfg(feature = "loom")]
pub(crate) use loom::sync::atomic::Ordering;

/// Core's `UnsafeCell` in loom's words: asking for the pointer is what loom takes for the access.
#[cfg(not(feature = "loom"))]
#[repr(transparent)]
pub(crate) struct UnsafeCell<T>(core::cell::UnsafeCell<T>);

#[cfg(not(feature = "loom"))]
impl<T> UnsafeCell<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self(core::cell::UnsafeCell::new(value))
    }

    #[inline]
    pub(crate) fn with<A>(&self, access: impl FnOnce(*const T) -> A) -> A {
        access(self.0.get())
    }

    #[inline]
    pub(crate) fn with_mut<A>(&self, access: impl FnOnce(*mut T) -> A) -> A {
        access(self.0.get())
    }
}
