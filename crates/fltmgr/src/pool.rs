//! Non-paged pool: one value, or zeroed bytes, each under a tag of its own.
//!
//! A filter that allocates here alone needs no global allocator, and without one nothing can allocate behind its back:
//! `Box::new`, which has no answer to an empty pool, does not link. Every allocation is a `try_` one.

use core::{
    ops::{Deref, DerefMut},
    ptr::NonNull,
    slice,
};

use wdk_sys::{
    POOL_FLAG_NON_PAGED, SIZE_T,
    ntddk::{ExAllocatePool2, ExFreePoolWithTag},
};

use crate::irql;

/// What the pool aligns to on 64-bit Windows.
pub const POOL_ALIGNMENT: usize = 16;

/// A pool tag: four characters, as `!poolused` and Driver Verifier print them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tag(pub(crate) u32);

impl Tag {
    /// A tag of four printable characters.
    #[must_use]
    pub const fn new(name: &[u8; 4]) -> Self {
        let mut at = 0;
        while at < name.len() {
            assert!(name[at].is_ascii_graphic());
            at += 1;
        }
        Self(u32::from_le_bytes(*name))
    }
}

/// A value in non-paged pool. <= `DISPATCH_LEVEL`.
pub struct PoolBox<T> {
    value: NonNull<T>,
    tag: Tag,
}

// SAFETY: it owns its value, as a `Box` does.
unsafe impl<T: Send> Send for PoolBox<T> {}
// SAFETY: a shared reference to it is one to its value.
unsafe impl<T: Sync> Sync for PoolBox<T> {}

impl<T> PoolBox<T> {
    /// Moves a value into the pool.
    ///
    /// # Errors
    ///
    /// The value itself, where there is no memory.
    pub fn try_new(tag: Tag, value: T) -> Result<Self, T> {
        const { assert!(align_of::<T>() <= POOL_ALIGNMENT) };
        let Some(place) = allocate(size_of::<T>(), tag) else {
            return Err(value);
        };
        let place: NonNull<T> = place.cast();
        // SAFETY: the memory is large and aligned enough for a `T`, and nobody else's.
        unsafe { place.write(value) };
        Ok(Self { value: place, tag })
    }

    /// Gives the value's address away, to be taken back by [`from_raw`](Self::from_raw).
    #[must_use]
    pub const fn into_raw(self) -> NonNull<T> {
        let value = self.value;
        core::mem::forget(self);
        value
    }

    /// Takes back what [`into_raw`](Self::into_raw) gave away.
    ///
    /// # Safety
    ///
    /// `value` came from `into_raw` of a box with this tag, and is taken back once.
    #[must_use]
    pub const unsafe fn from_raw(tag: Tag, value: NonNull<T>) -> Self {
        Self { value, tag }
    }

    /// Moves the value out and frees its memory.
    #[must_use]
    pub fn into_inner(self) -> T {
        // SAFETY: the box holds a value; its memory is freed below without dropping it.
        let value = unsafe { self.value.read() };
        free(self.value.cast(), self.tag);
        core::mem::forget(self);
        value
    }
}

impl<T> Deref for PoolBox<T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: the box holds a value until it is dropped.
        unsafe { self.value.as_ref() }
    }
}

impl<T> DerefMut for PoolBox<T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: the box holds a value until it is dropped, and `self` is borrowed for writing.
        unsafe { self.value.as_mut() }
    }
}

impl<T> Drop for PoolBox<T> {
    fn drop(&mut self) {
        // SAFETY: the box holds a value, and this is its end.
        unsafe { self.value.drop_in_place() };
        free(self.value.cast(), self.tag);
    }
}

/// Bytes in non-paged pool, zeroed at first and aligned to [`POOL_ALIGNMENT`]. <= `DISPATCH_LEVEL`.
pub struct PoolBytes {
    start: NonNull<u8>,
    length: usize,
    tag: Tag,
}

// SAFETY: it owns its bytes.
unsafe impl Send for PoolBytes {}
// SAFETY: bytes can be read from any thread.
unsafe impl Sync for PoolBytes {}

impl PoolBytes {
    /// So many bytes; `None` where there is no memory, or where they are none.
    #[must_use]
    pub fn try_zeroed(tag: Tag, length: usize) -> Option<Self> {
        // ExAllocatePool2 zeroes what it gives.
        let start = allocate(length, tag)?;
        Some(Self { start, length, tag })
    }

    /// Gives the memory away, to be taken back by [`from_raw`](Self::from_raw).
    #[must_use]
    pub const fn into_raw(self) -> NonNull<u8> {
        let start = self.start;
        core::mem::forget(self);
        start
    }

    /// Takes back what [`into_raw`](Self::into_raw) gave away.
    ///
    /// # Safety
    ///
    /// `start` came from `into_raw` of so many bytes with this tag, and is taken back once.
    #[must_use]
    pub const unsafe fn from_raw(tag: Tag, start: NonNull<u8>, length: usize) -> Self {
        Self { start, length, tag }
    }
}

impl Deref for PoolBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: so many initialised bytes that this value owns.
        unsafe { slice::from_raw_parts(self.start.as_ptr(), self.length) }
    }
}

impl DerefMut for PoolBytes {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: so many initialised bytes that this value owns, borrowed for writing.
        unsafe { slice::from_raw_parts_mut(self.start.as_ptr(), self.length) }
    }
}

impl Drop for PoolBytes {
    fn drop(&mut self) {
        free(self.start, self.tag);
    }
}

fn allocate(bytes: usize, tag: Tag) -> Option<NonNull<u8>> {
    irql::at_most(irql::DISPATCH_LEVEL);
    if bytes == 0 {
        return None;
    }
    // SAFETY: at this IRQL non-paged pool may be allocated; without POOL_FLAG_RAISE_ON_FAILURE the answer is NULL where
    // there is none.
    let memory = unsafe { ExAllocatePool2(POOL_FLAG_NON_PAGED, bytes as SIZE_T, tag.0) };
    NonNull::new(memory.cast())
}

fn free(memory: NonNull<u8>, tag: Tag) {
    // SAFETY: allocated by `allocate` with this tag, and freed once: by the end of its owner.
    unsafe { ExFreePoolWithTag(memory.as_ptr().cast(), tag.0) };
}
