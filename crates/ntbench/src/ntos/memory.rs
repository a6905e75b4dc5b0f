//! Memory that a driver points to.
//!
//! A driver's code may write anywhere in this process, so whether memory is what it seems to be
//! rests on the driver from the moment it is loaded; that is why the machine is a process of its
//! own that holds nothing else. [`Guest`] says where the host follows a pointer on the driver's word.
//! A system address that leads nowhere faults, and the fault becomes the bug check that Windows has for it. A user
//! address that leads nowhere is an exception, which the driver may have guarded its call against: nothing is read or
//! written, what was to be read is zeroes, and the exception is raised when the function that the driver called returns.

use std::mem::MaybeUninit;

use crate::abi::base::UnicodeString;
use crate::cpu::guarded;
use crate::seh::passing;
use crate::{bugcheck, gate, user};

/// As many bytes of zeroes stand for what is not there.
const MOST_ZEROES: usize = 0x10_0000;
/// Nothing is ever mapped below this address.
const LOWEST: usize = 0x1_0000;

/// A pointer that a driver passed, or that was found in memory of a driver's.
#[repr(transparent)]
#[derive(Debug)]
pub(crate) struct Guest<T>(pub(crate) *mut T);

impl<T> Clone for Guest<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Guest<T> {}

impl<T> Guest<T> {
    /// The pointer to that address.
    pub(crate) fn at(address: usize) -> Self {
        Self(std::ptr::with_exposed_provenance_mut(address))
    }

    /// Where it points.
    pub(crate) fn address(self) -> usize {
        self.0.expose_provenance()
    }

    /// Whether it is NULL.
    pub(crate) fn is_null(self) -> bool {
        self.0.is_null()
    }

    /// Whether it is a user address that a driver has passed to the running import: a program may take it away at any
    /// time, and the exception is the driver's. What the bench itself finds out about a program's buffers it has probed.
    fn is_guarded(self, what: &str) -> bool {
        if !user::is_user(self.address()) {
            return false;
        }
        if gate::call_site().is_some() {
            return true;
        }
        if self.address() < LOWEST {
            bugcheck::no_such(
                self.address(),
                format!(
                    "the driver gave the kernel a pointer to {:#x} to {what}",
                    self.address()
                ),
            );
        }
        false
    }
}

impl<T: Copy> Guest<T> {
    /// What is there.
    pub(crate) fn read(self) -> T {
        if self.is_guarded("read from") {
            let mut value = MaybeUninit::<T>::zeroed();
            let to = value.as_mut_ptr().expose_provenance();
            guarded::copy(to, self.address(), size_of::<T>());
            // SAFETY: what drivers' memory is read as is plain data, of which zeroes are a value.
            return unsafe { value.assume_init() };
        }
        // SAFETY: on the driver's word, see the module; unaligned is allowed on x64.
        unsafe { self.0.read_unaligned() }
    }

    /// Puts `value` there.
    pub(crate) fn write(self, value: T) {
        if self.is_guarded("write to") {
            let from = (&raw const value).expose_provenance();
            guarded::copy(self.address(), from, size_of::<T>());
            return;
        }
        // SAFETY: on the driver's word, see the module; unaligned is allowed on x64.
        unsafe { self.0.write_unaligned(value) }
    }

    /// Puts `value` there unless the pointer is NULL: for optional results.
    pub(crate) fn write_opt(self, value: T) {
        if !self.is_null() {
            self.write(value);
        }
    }

    /// What is there unless the pointer is NULL.
    pub(crate) fn read_opt(self) -> Option<T> {
        (!self.is_null()).then(|| self.read())
    }

    /// The element so many further on.
    pub(crate) fn add(self, count: usize) -> Self {
        Self(self.0.wrapping_add(count))
    }

    /// Copies so many elements from there.
    pub(crate) fn read_many(self, count: usize) -> Vec<T> {
        if count == 0 {
            return Vec::new();
        }
        let guarded = self.is_guarded("read from");
        // So many zeroes are of no use to anybody.
        if guarded && count.saturating_mul(size_of::<T>()) > MOST_ZEROES {
            self.read();
            if passing::is_leaving() {
                return Vec::new();
            }
        }
        let mut copy = Vec::<T>::with_capacity(count);
        if guarded {
            let (to, bytes) = (copy.as_mut_ptr(), count * size_of::<T>());
            // SAFETY: the vector has room for so many elements.
            unsafe { to.write_bytes(0, count) };
            guarded::copy(to.expose_provenance(), self.address(), bytes);
            // SAFETY: all of them are zeroes or what was read, and of plain data every pattern is a value.
            unsafe { copy.set_len(count) };
            return copy;
        }
        for index in 0..count {
            let element = self.0.wrapping_add(index);
            // SAFETY: on the driver's word, see the module.
            copy.push(unsafe { element.read_unaligned() });
        }
        copy
    }

    /// Copies these elements there.
    pub(crate) fn write_many(self, values: &[T]) {
        if values.is_empty() {
            return;
        }
        if self.is_guarded("write to") {
            let from = values.as_ptr().expose_provenance();
            guarded::copy(self.address(), from, size_of_val(values));
            return;
        }
        for (index, value) in values.iter().enumerate() {
            let element = self.0.wrapping_add(index);
            // SAFETY: on the driver's word, see the module.
            unsafe { element.write_unaligned(*value) };
        }
    }
}

impl Guest<UnicodeString> {
    /// The string's units. NULL reads as empty, as `PUNICODE_STRING` parameters that are optional do.
    pub(crate) fn units(self) -> Vec<u16> {
        self.read_opt().map_or_else(Vec::new, units)
    }

    /// The string as text for people.
    pub(crate) fn text(self) -> String {
        String::from_utf16_lossy(&self.units())
    }
}

/// A counted string's units.
pub(crate) fn units(string: UnicodeString) -> Vec<u16> {
    Guest(string.buffer).read_many(usize::from(string.length / 2))
}

/// A zero-terminated string's units, without the terminator.
pub(crate) fn terminated_wide(start: Guest<u16>) -> Vec<u16> {
    bounded(start, usize::MAX)
}

/// A zero-terminated string's bytes, without the terminator.
pub(crate) fn terminated(start: Guest<u8>) -> Vec<u8> {
    bounded(start, usize::MAX)
}

/// A string's elements up to its terminator, at most so many: what lies behind them is not touched.
pub(crate) fn bounded<T: Copy + Default + PartialEq>(start: Guest<T>, most: usize) -> Vec<T> {
    let mut elements = Vec::new();
    while elements.len() < most {
        let element = start.add(elements.len()).read();
        if element == T::default() {
            break;
        }
        elements.push(element);
    }
    elements
}

/// Text as UTF-16.
pub(crate) fn wide(text: &str) -> Vec<u16> {
    // There are never more units than bytes: no second allocation.
    let mut units = Vec::with_capacity(text.len());
    units.extend(text.encode_utf16());
    units
}

/// A `UNICODE_STRING` whose buffer this host owns.
#[derive(Debug)]
pub(crate) struct OwnedString {
    units: Box<[u16]>,
    length: u16,
}

impl OwnedString {
    /// Copies `units`, with a terminator that is not counted. Longer than a counted string can be: cut.
    pub(crate) fn new(units: &[u16]) -> Self {
        let longest = usize::from(u16::MAX / 2) - 1;
        let units = units.get(..longest).unwrap_or(units);
        let length = u16::try_from(units.len() * 2).unwrap_or(u16::MAX - 3);
        // As long as it will be, so that it is boxed where it is.
        let mut terminated = Vec::with_capacity(units.len() + 1);
        terminated.extend_from_slice(units);
        terminated.push(0);
        Self {
            units: terminated.into_boxed_slice(),
            length,
        }
    }

    /// The counted string over the buffer.
    pub(crate) fn string(&self) -> UnicodeString {
        UnicodeString {
            length: self.length,
            maximum_length: self.length + 2,
            buffer: self.units.as_ptr().cast_mut(),
        }
    }
}
