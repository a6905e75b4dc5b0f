//! The C library's numbers: as text in any base, sorted, searched for, at random.

use std::sync::atomic::{AtomicU32, Ordering};

use super::memory::{Guest, bounded};
use super::secure::invalid;
use crate::gate;
use crate::seh::passing;

const EINVAL: i32 = 22;

/// A number's digits, the sign before them.
fn digits(negative: bool, mut value: u64, base: u32) -> Vec<u8> {
    let mut digits = Vec::new();
    loop {
        let digit = u32::try_from(value % u64::from(base)).unwrap_or(0);
        let digit = char::from_digit(digit, 36).unwrap_or('0');
        digits.push(u8::try_from(digit).unwrap_or(b'0'));
        value /= u64::from(base);
        if value == 0 {
            break;
        }
    }
    if negative {
        digits.push(b'-');
    }
    digits.reverse();
    digits
}

/// The digits of a number that has a sign in base 10 and is a pattern of `bits` elsewhere.
fn signed(value: i64, bits: u32, base: u32) -> Vec<u8> {
    if base == 10 {
        return digits(value < 0, value.unsigned_abs(), base);
    }
    let pattern = value.cast_unsigned();
    digits(false, pattern & (u64::MAX >> (64 - bits)), base)
}

/// Writes digits and a terminator; `room`: how many elements the buffer has, where the caller says so.
fn put<T: Copy + From<u8>>(
    function: &str,
    to: Guest<T>,
    room: Option<usize>,
    base: u32,
    digits: impl FnOnce(u32) -> Vec<u8>,
) -> bool {
    if to.is_null() || room == Some(0) {
        invalid(function, "no buffer");
        return false;
    }
    if !(2..=36).contains(&base) {
        to.write(T::from(0));
        invalid(function, "a base that is not 2 to 36");
        return false;
    }
    let text = digits(base);
    if room.is_some_and(|room| text.len() >= room) {
        to.write(T::from(0));
        invalid(function, "the number does not fit into the buffer");
        return false;
    }
    let text: Vec<T> = text.into_iter().chain([0]).map(T::from).collect();
    to.write_many(&text);
    true
}

fn errno(good: bool) -> i32 {
    if good { 0 } else { EINVAL }
}

/// How two elements compare by the driver's own routine.
fn compare(routine: usize, left: usize, right: usize) -> std::cmp::Ordering {
    // SAFETY: the driver passed the routine for this: it takes two elements.
    let answer = unsafe { gate::call_within(routine, &[left as u64, right as u64]) };
    let answer = u32::try_from(answer & 0xFFFF_FFFF).unwrap_or(0);
    answer.cast_signed().cmp(&0)
}

/// The seed of `rand`: one for all, where Windows has one for each thread.
static SEED: AtomicU32 = AtomicU32::new(1);

exports! { "ntoskrnl.exe";
    /// A number as text, of as many characters as it takes.
    fn _itoa(value: i32, to: Guest<u8>, base: u32) -> usize {
        put("_itoa", to, None, base, |base| signed(value.into(), 32, base));
        to.address()
    }

    /// A number as wide text, of as many characters as it takes.
    fn _itow(value: i32, to: Guest<u16>, base: u32) -> usize {
        put("_itow", to, None, base, |base| signed(value.into(), 32, base));
        to.address()
    }

    /// A number as text.
    fn _itoa_s(value: i32, to: Guest<u8>, room: usize, base: u32) -> i32 {
        errno(put("_itoa_s", to, Some(room), base, |base| signed(value.into(), 32, base)))
    }

    /// A number as wide text.
    fn _itow_s(value: i32, to: Guest<u16>, room: usize, base: u32) -> i32 {
        errno(put("_itow_s", to, Some(room), base, |base| signed(value.into(), 32, base)))
    }

    /// A number as text.
    fn _ltoa_s(value: i32, to: Guest<u8>, room: usize, base: u32) -> i32 {
        errno(put("_ltoa_s", to, Some(room), base, |base| signed(value.into(), 32, base)))
    }

    /// A number as wide text.
    fn _ltow_s(value: i32, to: Guest<u16>, room: usize, base: u32) -> i32 {
        errno(put("_ltow_s", to, Some(room), base, |base| signed(value.into(), 32, base)))
    }

    /// A number without a sign as text.
    fn _ultoa_s(value: u32, to: Guest<u8>, room: usize, base: u32) -> i32 {
        errno(put("_ultoa_s", to, Some(room), base, |base| digits(false, value.into(), base)))
    }

    /// A number without a sign as wide text.
    fn _ultow_s(value: u32, to: Guest<u16>, room: usize, base: u32) -> i32 {
        errno(put("_ultow_s", to, Some(room), base, |base| digits(false, value.into(), base)))
    }

    /// A number of 64 bits as text.
    fn _i64toa_s(value: i64, to: Guest<u8>, room: usize, base: u32) -> i32 {
        errno(put("_i64toa_s", to, Some(room), base, |base| signed(value, 64, base)))
    }

    /// A number of 64 bits as wide text.
    fn _i64tow_s(value: i64, to: Guest<u16>, room: usize, base: u32) -> i32 {
        errno(put("_i64tow_s", to, Some(room), base, |base| signed(value, 64, base)))
    }

    /// A number of 64 bits without a sign as text.
    fn _ui64toa_s(value: u64, to: Guest<u8>, room: usize, base: u32) -> i32 {
        errno(put("_ui64toa_s", to, Some(room), base, |base| digits(false, value, base)))
    }

    /// A number of 64 bits without a sign as wide text.
    fn _ui64tow_s(value: u64, to: Guest<u16>, room: usize, base: u32) -> i32 {
        errno(put("_ui64tow_s", to, Some(room), base, |base| digits(false, value, base)))
    }

    /// Sorts in place, by the caller's comparison. Equal elements keep their order, which the reference does not promise.
    fn qsort(elements: Guest<u8>, count: usize, size: usize, routine: usize) {
        // The comparison gets addresses of elements that lie still: their order is found first and then made.
        let at = |index: usize| elements.add(index.wrapping_mul(size));
        // By insertion, since the library's sorting panics where a comparison contradicts itself.
        let mut order = Vec::new();
        for index in 0..count {
            if passing::is_leaving() {
                return;
            }
            let before = |other: &usize| compare(routine, at(*other).address(), at(index).address()).is_le();
            order.insert(order.partition_point(before), index);
        }
        let sorted: Vec<u8> = order.into_iter().flat_map(|index| at(index).read_many(size)).collect();
        if !passing::is_leaving() {
            elements.write_many(&sorted);
        }
    }

    /// Finds an element of a sorted list; NULL: there is none.
    fn bsearch(key: usize, elements: Guest<u8>, count: usize, size: usize, routine: usize) -> usize {
        let (mut from, mut to) = (0, count);
        while from < to {
            let middle = from + (to - from) / 2;
            let element = elements.add(middle.wrapping_mul(size)).address();
            match compare(routine, key, element) {
                std::cmp::Ordering::Equal => return element,
                std::cmp::Ordering::Less => to = middle,
                std::cmp::Ordering::Greater => from = middle + 1,
            }
        }
        0
    }

    /// Where `rand` begins.
    fn srand(seed: u32) {
        SEED.store(seed, Ordering::Relaxed);
    }

    /// The next number, 0 to 32,767.
    partial "another generator's numbers, one row for all threads"
    fn rand() -> i32 {
        let next = |seed: u32| Some(seed.wrapping_mul(0x0003_43FD).wrapping_add(0x0026_9EC3));
        let seed = SEED.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).unwrap_or(0);
        i32::try_from(next(seed).unwrap_or(0) >> 16 & 0x7FFF).unwrap_or(0)
    }

    /// Wide text as bytes, of at most so many; the ANSI code page is Latin-1.
    partial "the code page is Latin-1"
    fn wcstombs(to: Guest<u8>, from: Guest<u16>, most: usize) -> usize {
        let text = bounded(from, if to.is_null() { usize::MAX } else { most });
        let Ok(text) = text.into_iter().map(u8::try_from).collect::<Result<Vec<u8>, _>>() else {
            return usize::MAX;
        };
        copied(to, &text, most)
    }

    /// Bytes as wide text, of at most so many; the ANSI code page is Latin-1.
    partial "the code page is Latin-1"
    fn mbstowcs(to: Guest<u16>, from: Guest<u8>, most: usize) -> usize {
        let text = bounded(from, if to.is_null() { usize::MAX } else { most });
        let text: Vec<u16> = text.into_iter().map(u16::from).collect();
        copied(to, &text, most)
    }
}

/// Puts a text, with a terminator where there is room; how long it is, where there is no buffer too.
fn copied<T: Copy + Default>(to: Guest<T>, text: &[T], most: usize) -> usize {
    if !to.is_null() {
        to.write_many(text);
        if text.len() < most {
            to.add(text.len()).write(T::default());
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::{digits, signed};

    #[test]
    fn numbers_have_digits_in_any_base() {
        assert_eq!(signed(-42, 32, 10), b"-42");
        assert_eq!(signed(-1, 32, 16), b"ffffffff");
        assert_eq!(signed(-1, 64, 16), b"ffffffffffffffff");
        assert_eq!(signed(i64::MIN, 64, 10), b"-9223372036854775808");
        assert_eq!(digits(false, 35, 36), b"z");
        assert_eq!(digits(false, 0, 2), b"0");
    }
}
