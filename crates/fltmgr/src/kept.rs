//! Where a driver keeps what it set up, until it takes it down.

use core::{
    cell::UnsafeCell,
    mem::MaybeUninit,
    sync::atomic::{AtomicU8, Ordering},
};

/// A place for one value: a static. Nothing waits for anything.
pub struct Kept<T> {
    state: AtomicU8,
    value: UnsafeCell<MaybeUninit<T>>,
}

const EMPTY: u8 = 0;
const BUSY: u8 = 1;
const FULL: u8 = 2;

// SAFETY: the value is reached only by whoever has changed the state to BUSY, and goes from one thread to another.
unsafe impl<T: Send> Sync for Kept<T> {}

impl<T> Kept<T> {
    /// An empty place.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            state: AtomicU8::new(EMPTY),
            value: UnsafeCell::new(MaybeUninit::uninit()),
        }
    }

    fn enter(&self, from: u8) -> bool {
        self.state
            .compare_exchange(from, BUSY, Ordering::Acquire, Ordering::Relaxed)
            .is_ok()
    }

    /// Puts a value there.
    ///
    /// # Errors
    ///
    /// The value, where there is one already.
    pub fn put(&self, value: T) -> Result<(), T> {
        if !self.enter(EMPTY) {
            return Err(value);
        }
        // SAFETY: nobody else reaches the value now.
        unsafe { self.value.get().write(MaybeUninit::new(value)) };
        self.state.store(FULL, Ordering::Release);
        Ok(())
    }

    /// Takes it away.
    #[must_use]
    pub fn take(&self) -> Option<T> {
        if !self.enter(FULL) {
            return None;
        }
        // SAFETY: nobody else reaches the value now.
        let value = unsafe { self.value.get().read() };
        self.state.store(EMPTY, Ordering::Release);
        // SAFETY: the place was full.
        Some(unsafe { value.assume_init() })
    }
}

impl<T> Default for Kept<T> {
    fn default() -> Self {
        Self::new()
    }
}
