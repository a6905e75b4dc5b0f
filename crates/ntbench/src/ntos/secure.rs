//! The C library's functions that know how much room there is (`…_s`), as the kernel exports them.
//!
//! The reference calls NULL or too little room an invalid parameter: the invalid parameter handler runs before the function
//! returns its `errno_t`. Here that is a finding, as such a call is a driver's mistake even if the result is looked at.

use super::memory::{Guest, bounded};
use crate::verifier;

const EINVAL: i32 = 22;
const ERANGE: i32 = 34;
const STRUNCATE: i32 = 80;
/// `_TRUNCATE`: as many as there is room for.
pub(super) const TRUNCATE: usize = usize::MAX;

/// A call that the reference forbids.
pub(super) fn invalid(function: &str, what: &str) {
    verifier::finding(
        "crt-invalid-parameter",
        format!("{function}: {what}, an invalid parameter by its reference"),
    );
}

fn refused(function: &str, what: &str, answer: i32) -> i32 {
    invalid(function, what);
    answer
}

/// Where a buffer of so many elements is written from and what with.
struct Target<T> {
    function: &'static str,
    buffer: Guest<T>,
    size: usize,
}

impl<T: Copy + Default + PartialEq> Target<T> {
    fn new(function: &'static str, buffer: Guest<T>, size: usize) -> Self {
        Self {
            function,
            buffer,
            size,
        }
    }

    /// Puts at most `most` elements of a text behind the first `used`, and a terminator.
    fn put(&self, used: usize, from: Guest<T>, most: Option<usize>) -> i32 {
        let room = self.size - used;
        let text = bounded(from, most.unwrap_or(TRUNCATE).min(room));
        let cut = text.len() == room;
        if cut && most != Some(TRUNCATE) {
            self.buffer.write(T::default());
            return refused(
                self.function,
                "the text does not fit into the buffer",
                ERANGE,
            );
        }
        let kept = text.len() - usize::from(cut);
        let start = self.buffer.add(used);
        start.write_many(&text[..kept]);
        start.add(kept).write(T::default());
        if cut { STRUNCATE } else { 0 }
    }

    /// What is wrong with the arguments, answered as the reference says.
    fn wrong(&self, from: Guest<T>) -> Option<i32> {
        if self.buffer.is_null() {
            return Some(refused(self.function, "no buffer", EINVAL));
        }
        if self.size == 0 {
            return Some(refused(self.function, "a buffer without room", ERANGE));
        }
        if from.is_null() {
            self.buffer.write(T::default());
            return Some(refused(self.function, "no text", EINVAL));
        }
        None
    }

    fn copy(&self, from: Guest<T>, most: Option<usize>) -> i32 {
        if most == Some(0) && self.buffer.is_null() && self.size == 0 {
            return 0;
        }
        self.wrong(from).unwrap_or_else(|| self.put(0, from, most))
    }

    fn append(&self, from: Guest<T>, most: Option<usize>) -> i32 {
        if let Some(answer) = self.wrong(from) {
            return answer;
        }
        let used = bounded(self.buffer, self.size).len();
        if used == self.size {
            self.buffer.write(T::default());
            return refused(self.function, "the text to append to has no end", EINVAL);
        }
        self.put(used, from, most)
    }
}

/// The next part of a text between separators, as `strtok_s` cuts it.
fn token(text: Guest<u8>, separators: Guest<u8>, rest: Guest<usize>) -> usize {
    if rest.is_null() || separators.is_null() || (text.is_null() && rest.read() == 0) {
        invalid("strtok_s", "no text, separators or context");
        return 0;
    }
    let separators = bounded(separators, TRUNCATE);
    let mut start = if text.is_null() {
        Guest::at(rest.read())
    } else {
        text
    };
    while start.read() != 0 && separators.contains(&start.read()) {
        start = start.add(1);
    }
    let mut end = start;
    while end.read() != 0 && !separators.contains(&end.read()) {
        end = end.add(1);
    }
    let more = end.read() != 0;
    if more {
        end.write(0);
    }
    rest.write(end.add(usize::from(more)).address());
    if start.address() == end.address() {
        0
    } else {
        start.address()
    }
}

exports! { "ntoskrnl.exe";
    /// Copies a text.
    fn strcpy_s(to: Guest<u8>, size: usize, from: Guest<u8>) -> i32 {
        Target::new("strcpy_s", to, size).copy(from, None)
    }

    /// Copies a text.
    fn wcscpy_s(to: Guest<u16>, size: usize, from: Guest<u16>) -> i32 {
        Target::new("wcscpy_s", to, size).copy(from, None)
    }

    /// Copies so much of a text.
    fn strncpy_s(to: Guest<u8>, size: usize, from: Guest<u8>, most: usize) -> i32 {
        Target::new("strncpy_s", to, size).copy(from, Some(most))
    }

    /// Copies so much of a text.
    fn wcsncpy_s(to: Guest<u16>, size: usize, from: Guest<u16>, most: usize) -> i32 {
        Target::new("wcsncpy_s", to, size).copy(from, Some(most))
    }

    /// Appends a text.
    fn strcat_s(to: Guest<u8>, size: usize, from: Guest<u8>) -> i32 {
        Target::new("strcat_s", to, size).append(from, None)
    }

    /// Appends a text.
    fn wcscat_s(to: Guest<u16>, size: usize, from: Guest<u16>) -> i32 {
        Target::new("wcscat_s", to, size).append(from, None)
    }

    /// Appends so much of a text.
    fn strncat_s(to: Guest<u8>, size: usize, from: Guest<u8>, most: usize) -> i32 {
        Target::new("strncat_s", to, size).append(from, Some(most))
    }

    /// Appends so much of a text.
    fn wcsncat_s(to: Guest<u16>, size: usize, from: Guest<u16>, most: usize) -> i32 {
        Target::new("wcsncat_s", to, size).append(from, Some(most))
    }

    /// The next part of a text between separators, where the caller keeps how far it is.
    fn strtok_s(text: Guest<u8>, separators: Guest<u8>, rest: Guest<usize>) -> usize {
        token(text, separators, rest)
    }

    /// Copies memory, or makes what cannot be copied to zeroes.
    fn memcpy_s(to: Guest<u8>, room: usize, from: Guest<u8>, count: usize) -> i32 {
        if count == 0 {
            return 0;
        }
        if to.is_null() {
            return refused("memcpy_s", "no buffer", EINVAL);
        }
        if from.is_null() || room < count {
            to.write_many(&vec![0; room]);
            let answer = if from.is_null() { EINVAL } else { ERANGE };
            return refused("memcpy_s", "nothing to copy, or no room for it", answer);
        }
        to.write_many(&from.read_many(count));
        0
    }

    /// Copies memory that may overlap.
    fn memmove_s(to: Guest<u8>, room: usize, from: Guest<u8>, count: usize) -> i32 {
        if count == 0 {
            return 0;
        }
        if to.is_null() || from.is_null() {
            return refused("memmove_s", "no buffer, or nothing to copy", EINVAL);
        }
        if room < count {
            return refused("memmove_s", "no room", ERANGE);
        }
        to.write_many(&from.read_many(count));
        0
    }
}
