//! The C library's formatting into buffers, as the kernel exports it; `ntstrsafe.h`'s functions are inline over these.
//!
//! All return the number of characters written, or -1 where the text does not fit; then the buffer is full and not terminated.

use super::memory::{Guest, terminated, terminated_wide};
use super::print::{at, format, next};
use crate::export::VaList;

/// A wide format as the narrow one that means the same: there `%s` is a narrow string, and here a wide one.
pub(super) fn narrowed(template: &[u16]) -> Vec<u8> {
    let mut narrow = Vec::with_capacity(template.len());
    let mut units = template
        .iter()
        .map(|unit| u8::try_from(*unit).unwrap_or(b'?'));
    while let Some(unit) = units.next() {
        narrow.push(unit);
        if unit != b'%' {
            continue;
        }
        let mut sized = false;
        for unit in units.by_ref() {
            let conversion = unit.is_ascii_alphabetic() && !b"hlwLIjzt".contains(&unit);
            sized |= b"hlw".contains(&unit);
            narrow.push(match unit {
                b's' | b'S' | b'c' | b'C' if !sized => unit ^ 0x20,
                _ => unit,
            });
            if conversion || unit == b'%' {
                break;
            }
        }
    }
    narrow
}

/// Puts text into a buffer of so many elements; -1: it did not fit.
fn put<T: Copy + Default>(buffer: Guest<T>, room: usize, text: &[T]) -> i32 {
    let fits = text.len().min(room);
    buffer.write_many(&text[..fits]);
    if fits < room {
        buffer.add(fits).write(T::default());
    }
    if text.len() > room {
        -1
    } else {
        i32::try_from(text.len()).unwrap_or(-1)
    }
}

fn wide(buffer: Guest<u16>, room: usize, template: Guest<u16>, arguments: &mut VaList) -> i32 {
    let text = format(&narrowed(&terminated_wide(template)), arguments);
    put(buffer, room, &text.encode_utf16().collect::<Vec<_>>())
}

pub(super) fn bytes(text: &str) -> Vec<u8> {
    text.chars()
        .map(|c| u8::try_from(u32::from(c)).unwrap_or(b'?'))
        .collect()
}

/// A pointer argument.
pub(super) fn pointer<T>(arguments: &mut VaList) -> Guest<T> {
    Guest::at(usize::try_from(next(arguments)).unwrap_or(0))
}

pub(super) fn room(arguments: &mut VaList) -> usize {
    usize::try_from(next(arguments)).unwrap_or(0)
}

exports! { "ntoskrnl.exe";
    /// Formats into wide characters.
    variadic fn _snwprintf(arguments: VaList) -> i32 {
        let mut arguments = arguments;
        let (buffer, room) = (pointer(&mut arguments), room(&mut arguments));
        let template = pointer(&mut arguments);
        wide(buffer, room, template, &mut arguments)
    }

    /// Formats into wide characters, with the arguments in a list.
    fn _vsnwprintf(buffer: Guest<u16>, room: usize, template: Guest<u16>, arguments: VaList) -> i32 {
        let mut arguments = arguments;
        wide(buffer, room, template, &mut arguments)
    }

    /// Formats into characters.
    variadic fn _snprintf(arguments: VaList) -> i32 {
        let mut arguments = arguments;
        let (buffer, room) = (pointer(&mut arguments), room(&mut arguments));
        let template = at(&mut arguments);
        put(buffer, room, &bytes(&format(&template, &mut arguments)))
    }

    /// Formats into characters, with the arguments in a list.
    fn _vsnprintf(buffer: Guest<u8>, room: usize, template: Guest<u8>, arguments: VaList) -> i32 {
        let mut arguments = arguments;
        put(buffer, room, &bytes(&format(&terminated(template), &mut arguments)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(template: &str) -> String {
        let units: Vec<u16> = template.encode_utf16().collect();
        String::from_utf8(narrowed(&units)).unwrap()
    }

    #[test]
    fn a_string_without_a_size_is_a_wide_one() {
        assert_eq!(shown("%s %S %-10.3s|%c"), "%S %s %-10.3S|%C");
        assert_eq!(
            shown("%ls %ws %hs %wZ %I64d 100%%s"),
            "%ls %ws %hs %wZ %I64d 100%%s"
        );
    }

    #[test]
    fn what_does_not_fit_is_cut_and_not_terminated() {
        let mut buffer = [9_u8; 4];
        let at = |buffer: &mut [u8; 4]| Guest(buffer.as_mut_ptr());
        assert_eq!(put(at(&mut buffer), 4, b"abc"), 3);
        assert_eq!(buffer, *b"abc\0");
        assert_eq!(put(at(&mut buffer), 4, b"wxyz"), 4);
        assert_eq!(buffer, *b"wxyz");
        assert_eq!(put(at(&mut buffer), 4, b"12345"), -1);
        assert_eq!(buffer, *b"1234");
    }
}
