//! More of the C library's formatting: without a bound, and with two (`…_s`).

use super::memory::{Guest, terminated, terminated_wide};
use super::print::{at, format, next};
use super::secure::{TRUNCATE, invalid};
use super::wide::{bytes, narrowed, pointer, room};
use crate::export::VaList;

fn wide_text(template: Guest<u16>, arguments: &mut VaList) -> Vec<u16> {
    format(&narrowed(&terminated_wide(template)), arguments)
        .encode_utf16()
        .collect()
}

fn text(template: Guest<u8>, arguments: &mut VaList) -> Vec<u8> {
    bytes(&format(&terminated(template), arguments))
}

fn length<T>(text: &[T]) -> i32 {
    i32::try_from(text.len()).unwrap_or(-1)
}

/// Puts all of a text and a terminator.
fn put_all<T: Copy + Default>(to: Guest<T>, text: &[T]) -> i32 {
    to.write_many(text);
    to.add(text.len()).write(T::default());
    length(text)
}

/// Puts at most `most` elements and a terminator into a buffer of `size`; -1: it was cut, or did not fit.
fn put_bounded<T: Copy + Default>(
    function: &str,
    to: Guest<T>,
    size: usize,
    most: Option<usize>,
    text: &[T],
) -> i32 {
    if to.is_null() || size == 0 {
        invalid(function, "no buffer");
        return -1;
    }
    let wanted = most.unwrap_or(TRUNCATE).min(text.len());
    let kept = if wanted < size {
        wanted
    } else if most == Some(TRUNCATE) {
        size - 1
    } else {
        to.write(T::default());
        invalid(function, "the text does not fit into the buffer");
        return -1;
    };
    put_all(to, &text[..kept]);
    if kept < text.len() { -1 } else { length(text) }
}

exports! { "ntoskrnl.exe";
    /// Formats into characters: whoever calls it knows that there is room.
    variadic fn sprintf(arguments: VaList) -> i32 {
        let mut arguments = arguments;
        let to = pointer(&mut arguments);
        let template = at(&mut arguments);
        put_all(to, &bytes(&format(&template, &mut arguments)))
    }

    /// Formats into characters, with the arguments in a list.
    fn vsprintf(to: Guest<u8>, template: Guest<u8>, arguments: VaList) -> i32 {
        let mut arguments = arguments;
        put_all(to, &text(template, &mut arguments))
    }

    /// Formats into wide characters: the kernel's takes no size.
    variadic fn swprintf(arguments: VaList) -> i32 {
        let mut arguments = arguments;
        let to = pointer(&mut arguments);
        let template = pointer(&mut arguments);
        put_all(to, &wide_text(template, &mut arguments))
    }

    /// Formats into a buffer that has the room for it.
    variadic fn sprintf_s(arguments: VaList) -> i32 {
        let mut arguments = arguments;
        let (to, size) = (pointer(&mut arguments), room(&mut arguments));
        let template = pointer(&mut arguments);
        put_bounded("sprintf_s", to, size, None, &text(template, &mut arguments))
    }

    /// Formats into a buffer that has the room for it, with the arguments in a list.
    fn vsprintf_s(to: Guest<u8>, size: usize, template: Guest<u8>, arguments: VaList) -> i32 {
        let mut arguments = arguments;
        put_bounded("vsprintf_s", to, size, None, &text(template, &mut arguments))
    }

    /// Formats into a buffer of wide characters that has the room for it.
    variadic fn swprintf_s(arguments: VaList) -> i32 {
        let mut arguments = arguments;
        let (to, size) = (pointer(&mut arguments), room(&mut arguments));
        let template = pointer(&mut arguments);
        put_bounded("swprintf_s", to, size, None, &wide_text(template, &mut arguments))
    }

    /// Formats into a buffer of wide characters that has the room for it, with the arguments in a list.
    fn vswprintf_s(to: Guest<u16>, size: usize, template: Guest<u16>, arguments: VaList) -> i32 {
        let mut arguments = arguments;
        put_bounded("vswprintf_s", to, size, None, &wide_text(template, &mut arguments))
    }

    /// Formats at most so many characters.
    variadic fn _snprintf_s(arguments: VaList) -> i32 {
        let mut arguments = arguments;
        let (to, size) = (pointer(&mut arguments), room(&mut arguments));
        let most = room(&mut arguments);
        let template = pointer(&mut arguments);
        put_bounded("_snprintf_s", to, size, Some(most), &text(template, &mut arguments))
    }

    /// Formats at most so many characters, with the arguments in a list.
    fn _vsnprintf_s(to: Guest<u8>, size: usize, most: usize, template: Guest<u8>, arguments: VaList) -> i32 {
        let mut arguments = arguments;
        put_bounded("_vsnprintf_s", to, size, Some(most), &text(template, &mut arguments))
    }

    /// Formats at most so many wide characters.
    variadic fn _snwprintf_s(arguments: VaList) -> i32 {
        let mut arguments = arguments;
        let (to, size) = (pointer(&mut arguments), room(&mut arguments));
        let most = usize::try_from(next(&mut arguments)).unwrap_or(0);
        let template = pointer(&mut arguments);
        put_bounded("_snwprintf_s", to, size, Some(most), &wide_text(template, &mut arguments))
    }

    /// Formats at most so many wide characters, with the arguments in a list.
    fn _vsnwprintf_s(to: Guest<u16>, size: usize, most: usize, template: Guest<u16>, arguments: VaList) -> i32 {
        let mut arguments = arguments;
        put_bounded("_vsnwprintf_s", to, size, Some(most), &wide_text(template, &mut arguments))
    }
}
