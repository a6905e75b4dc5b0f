//! The C library's comparisons of texts, which look at nothing behind the first difference: a text need not end where another
//! one of so many characters does.

use super::memory::Guest;
use crate::namespace::names::upcase;

/// -1, 0 or 1, of at most so many elements, each changed by `fold` first.
fn compare<T: Copy + Default + Ord>(
    left: Guest<T>,
    right: Guest<T>,
    most: usize,
    fold: impl Fn(T) -> T,
) -> i32 {
    for index in 0..most {
        let element = left.add(index).read();
        match fold(element).cmp(&fold(right.add(index).read())) {
            std::cmp::Ordering::Less => return -1,
            std::cmp::Ordering::Greater => return 1,
            std::cmp::Ordering::Equal if element == T::default() => return 0,
            std::cmp::Ordering::Equal => {}
        }
    }
    0
}

fn same<T>(element: T) -> T {
    element
}

exports! { "ntoskrnl.exe";
    /// Which string comes first.
    fn strcmp(left: Guest<u8>, right: Guest<u8>) -> i32 {
        compare(left, right, usize::MAX, same)
    }

    /// Which string comes first, of so many bytes at most.
    fn strncmp(left: Guest<u8>, right: Guest<u8>, most: usize) -> i32 {
        compare(left, right, most, same)
    }

    /// Which string comes first, without regard to case.
    fn _stricmp(left: Guest<u8>, right: Guest<u8>) -> i32 {
        compare(left, right, usize::MAX, |byte| byte.to_ascii_lowercase())
    }

    /// The same, of so many bytes at most.
    fn _strnicmp(left: Guest<u8>, right: Guest<u8>, most: usize) -> i32 {
        compare(left, right, most, |byte| byte.to_ascii_lowercase())
    }

    /// Which wide string comes first.
    fn wcscmp(left: Guest<u16>, right: Guest<u16>) -> i32 {
        compare(left, right, usize::MAX, same)
    }

    /// Which wide string comes first, of so many units at most.
    fn wcsncmp(left: Guest<u16>, right: Guest<u16>, most: usize) -> i32 {
        compare(left, right, most, same)
    }

    /// Which wide string comes first, without regard to case.
    fn _wcsicmp(left: Guest<u16>, right: Guest<u16>) -> i32 {
        compare(left, right, usize::MAX, upcase)
    }

    /// The same, of so many units at most.
    fn _wcsnicmp(left: Guest<u16>, right: Guest<u16>, most: usize) -> i32 {
        compare(left, right, most, upcase)
    }
}
