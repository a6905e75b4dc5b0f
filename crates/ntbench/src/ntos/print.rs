//! `DbgPrint` and its kind: the kernel's `printf`.

use super::memory::{Guest, terminated, units};
use crate::abi::base::{AnsiString, UnicodeString};
use crate::export::VaList;
use crate::status::NtStatus;
use crate::thread::{self, PASSIVE_LEVEL};
use crate::{trace, verifier};

/// Longer lines are cut, as documented for one call of `DbgPrint`.
const LONGEST: usize = 512;

/// A conversion specification.
#[derive(Default)]
struct Spec {
    left: bool,
    plus: bool,
    space: bool,
    alternate: bool,
    zero: bool,
    width: usize,
    precision: Option<usize>,
    size: Size,
    /// The function that prints, where what it prints is narrow text.
    printer: Option<&'static str>,
}

impl Spec {
    /// A Unicode text or character is taken: to print it, it is converted, by tables that can be paged out. Formatting into a
    /// buffer is documented for any IRQL as long as the strings are resident.
    fn unicode(&self) {
        if let Some(printer) = self.printer
            && thread::irql() > PASSIVE_LEVEL
        {
            verifier::finding(
                "dbgprint-unicode-irql",
                format!(
                    "{printer} with a Unicode format code is documented for PASSIVE_LEVEL only"
                ),
            );
        }
    }
}

#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum Size {
    #[default]
    Int,
    Char,
    Short,
    Long,
    Quad,
    Wide,
}

pub(super) fn next(arguments: &mut VaList) -> u64 {
    // SAFETY: on the driver's word: its format says how many arguments it passed.
    unsafe { arguments.take() }
}

/// Formats into a buffer as the kernel does.
pub(super) fn format(format: &[u8], arguments: &mut VaList) -> String {
    formatted(format, arguments, None)
}

fn formatted(format: &[u8], arguments: &mut VaList, printer: Option<&'static str>) -> String {
    let mut out = String::new();
    let mut bytes = format.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(char::from(byte));
            continue;
        }
        let mut spec = Spec {
            printer,
            ..Spec::default()
        };
        while let Some(flag) = bytes.peek() {
            match flag {
                b'-' => spec.left = true,
                b'+' => spec.plus = true,
                b' ' => spec.space = true,
                b'#' => spec.alternate = true,
                b'0' => spec.zero = true,
                _ => break,
            }
            bytes.next();
        }
        spec.width = number(&mut bytes, arguments).unwrap_or(0);
        if bytes.next_if_eq(&b'.').is_some() {
            spec.precision = Some(number(&mut bytes, arguments).unwrap_or(0));
        }
        spec.size = size(&mut bytes);
        match bytes.next() {
            Some(b'%') => out.push('%'),
            Some(conversion) => convert(&mut out, &spec, conversion, arguments),
            None => {}
        }
    }
    out
}

type Bytes<I> = std::iter::Peekable<I>;

fn number(bytes: &mut Bytes<impl Iterator<Item = u8>>, arguments: &mut VaList) -> Option<usize> {
    if bytes.next_if_eq(&b'*').is_some() {
        return usize::try_from(next(arguments) & 0x7FFF_FFFF).ok();
    }
    let mut value = None;
    while let Some(digit) = bytes.next_if(u8::is_ascii_digit) {
        value = Some(
            value
                .unwrap_or(0_usize)
                .saturating_mul(10)
                .saturating_add(usize::from(digit - b'0')),
        );
    }
    value.map(|value| value.min(LONGEST))
}

fn size(bytes: &mut Bytes<impl Iterator<Item = u8>>) -> Size {
    match bytes.peek() {
        Some(b'h') => {
            bytes.next();
            if bytes.next_if_eq(&b'h').is_some() {
                Size::Char
            } else {
                Size::Short
            }
        }
        Some(b'l') => {
            bytes.next();
            if bytes.next_if_eq(&b'l').is_some() {
                Size::Quad
            } else {
                Size::Long
            }
        }
        Some(b'w') => {
            bytes.next();
            Size::Wide
        }
        Some(b'j' | b'z' | b't') => {
            bytes.next();
            Size::Quad
        }
        Some(b'I') => {
            bytes.next();
            if bytes.next_if_eq(&b'6').is_some() {
                bytes.next_if_eq(&b'4');
                Size::Quad
            } else if bytes.next_if_eq(&b'3').is_some() {
                bytes.next_if_eq(&b'2');
                Size::Int
            } else {
                Size::Quad
            }
        }
        _ => Size::Int,
    }
}

fn convert(out: &mut String, spec: &Spec, conversion: u8, arguments: &mut VaList) {
    match conversion {
        b'd' | b'i' => {
            let value = signed(next(arguments), spec.size);
            let sign = if value < 0 {
                "-"
            } else if spec.plus {
                "+"
            } else if spec.space {
                " "
            } else {
                ""
            };
            integer(out, spec, sign, &value.unsigned_abs().to_string());
        }
        b'u' => integer(
            out,
            spec,
            "",
            &unsigned(next(arguments), spec.size).to_string(),
        ),
        b'o' => integer(
            out,
            spec,
            "",
            &format!("{:o}", unsigned(next(arguments), spec.size)),
        ),
        b'x' | b'X' => {
            let value = unsigned(next(arguments), spec.size);
            let prefix = if spec.alternate && value != 0 {
                "0x"
            } else {
                ""
            };
            let digits = if conversion == b'x' {
                format!("{value:x}")
            } else {
                format!("{value:X}")
            };
            integer(out, spec, prefix, &digits);
        }
        b'p' | b'P' => pad(out, spec, &format!("{:016X}", next(arguments))),
        b'c' | b'C' => {
            let unit = next(arguments) & 0xFFFF;
            let wide = (conversion == b'C') != matches!(spec.size, Size::Wide | Size::Long);
            if wide {
                spec.unicode();
            }
            let value = u32::try_from(if wide { unit } else { unit & 0xFF }).unwrap_or(0);
            pad(
                out,
                spec,
                &char::from_u32(value).unwrap_or('\u{FFFD}').to_string(),
            );
        }
        b's' | b'S' => {
            let wide = (conversion == b'S') != matches!(spec.size, Size::Wide | Size::Long);
            if wide {
                spec.unicode();
            }
            text(out, spec, next(arguments), wide);
        }
        b'Z' => counted(out, spec, next(arguments)),
        // Floating point is not for kernel mode, and what is unknown is shown as it was written.
        other => {
            out.push('%');
            out.push(char::from(other));
        }
    }
}

#[allow(
    clippy::cast_possible_truncation,
    reason = "the size in the format says how much of the slot counts"
)]
fn signed(slot: u64, size: Size) -> i64 {
    match size {
        Size::Quad => slot.cast_signed(),
        Size::Char => i64::from((slot as u8).cast_signed()),
        Size::Short => i64::from((slot as u16).cast_signed()),
        Size::Int | Size::Long | Size::Wide => i64::from((slot as u32).cast_signed()),
    }
}

#[allow(
    clippy::cast_possible_truncation,
    reason = "the size in the format says how much of the slot counts"
)]
fn unsigned(slot: u64, size: Size) -> u64 {
    match size {
        Size::Quad => slot,
        Size::Char => u64::from(slot as u8),
        Size::Short => u64::from(slot as u16),
        Size::Int | Size::Long | Size::Wide => u64::from(slot as u32),
    }
}

fn integer(out: &mut String, spec: &Spec, prefix: &str, digits: &str) {
    let least = spec.precision.unwrap_or(1);
    let mut digits = if digits == "0" && least == 0 {
        String::new()
    } else {
        digits.to_owned()
    };
    while digits.len() < least {
        digits.insert(0, '0');
    }
    if spec.zero && !spec.left && spec.precision.is_none() {
        while prefix.len() + digits.len() < spec.width {
            digits.insert(0, '0');
        }
    }
    pad(out, spec, &format!("{prefix}{digits}"));
}

fn pad(out: &mut String, spec: &Spec, text: &str) {
    let missing = spec.width.saturating_sub(text.chars().count());
    if !spec.left {
        out.extend(std::iter::repeat_n(' ', missing));
    }
    out.push_str(text);
    if spec.left {
        out.extend(std::iter::repeat_n(' ', missing));
    }
}

fn narrow(bytes: &[u8]) -> String {
    bytes.iter().copied().map(char::from).collect()
}

fn text(out: &mut String, spec: &Spec, address: u64, wide: bool) {
    let address = usize::try_from(address).unwrap_or(0);
    // What prints cuts; what formats into a buffer knows its own bound.
    let limit = spec.precision.unwrap_or(usize::from(u16::MAX));
    let found = if address == 0 {
        "(null)".to_owned()
    } else if wide {
        // With a precision the string need not be terminated: it is read no further.
        let units = bounded(Guest::<u16>::at(address), limit);
        String::from_utf16_lossy(&units)
    } else if spec.precision.is_some() {
        let bytes = bounded(Guest::<u8>::at(address), limit);
        narrow(&bytes)
    } else {
        narrow(&terminated(Guest::at(address)))
    };
    pad(out, spec, &found);
}

fn bounded<T: Copy + Default + PartialEq>(start: Guest<T>, limit: usize) -> Vec<T> {
    let mut found = Vec::new();
    while found.len() < limit {
        let element = start.add(found.len()).read();
        if element == T::default() {
            break;
        }
        found.push(element);
    }
    found
}

fn counted(out: &mut String, spec: &Spec, address: u64) {
    let address = usize::try_from(address).unwrap_or(0);
    let found = if address == 0 {
        "(null)".to_owned()
    } else if matches!(spec.size, Size::Wide | Size::Long) {
        spec.unicode();
        String::from_utf16_lossy(&units(Guest::<UnicodeString>::at(address).read()))
    } else {
        let string = Guest::<AnsiString>::at(address).read();
        narrow(&Guest(string.buffer).read_many(usize::from(string.length)))
    };
    let cut = spec
        .precision
        .map_or(found.clone(), |limit| found.chars().take(limit).collect());
    pad(out, spec, &cut);
}

fn print(text: &str) -> NtStatus {
    let shown: String = text.chars().take(LONGEST).collect();
    for line in shown.split_terminator('\n') {
        trace::print(line.trim_end_matches('\r'));
    }
    NtStatus::SUCCESS
}

pub(super) fn at(arguments: &mut VaList) -> Vec<u8> {
    let address = usize::try_from(next(arguments)).unwrap_or(0);
    terminated(Guest::at(address))
}

exports! { "ntoskrnl.exe";
    /// Prints. Every component's messages are shown, at every level.
    variadic fn DbgPrint(arguments: VaList) -> NtStatus {
        let mut arguments = arguments;
        let template = at(&mut arguments);
        print(&formatted(&template, &mut arguments, Some("DbgPrint")))
    }

    /// Prints, with a component and a level.
    partial "shown whatever the component and level"
    variadic fn DbgPrintEx(arguments: VaList) -> NtStatus {
        let mut arguments = arguments;
        next(&mut arguments);
        next(&mut arguments);
        let template = at(&mut arguments);
        print(&formatted(&template, &mut arguments, Some("DbgPrintEx")))
    }

    /// Prints, with the arguments in a list.
    partial "shown whatever the component and level"
    fn vDbgPrintEx(_component: u32, _level: u32, template: Guest<u8>, arguments: VaList) -> NtStatus {
        let mut arguments = arguments;
        print(&formatted(&terminated(template), &mut arguments, Some("vDbgPrintEx")))
    }

    /// Prints, with a prefix before the text.
    partial "shown whatever the component and level"
    fn vDbgPrintExWithPrefix(
        prefix: Guest<u8>,
        _component: u32,
        _level: u32,
        template: Guest<u8>,
        arguments: VaList,
    ) -> NtStatus {
        let mut arguments = arguments;
        let text = formatted(&terminated(template), &mut arguments, Some("vDbgPrintExWithPrefix"));
        print(&format!("{}{text}", narrow(&terminated(prefix))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(template: &str, slots: &[u64]) -> String {
        format(template.as_bytes(), &mut VaList(slots.as_ptr()))
    }

    #[test]
    fn integers_take_as_much_of_the_slot_as_their_size_says() {
        assert_eq!(printed("%d %u", &[u64::MAX, u64::MAX]), "-1 4294967295");
        assert_eq!(
            printed("%I64d %lld %I64x", &[u64::MAX, u64::MAX, u64::MAX]),
            "-1 -1 ffffffffffffffff"
        );
        assert_eq!(printed("%hd %hhx %Iu", &[0x1_FFFF, 0x1FF, 7]), "-1 ff 7");
    }

    #[test]
    fn flags_width_and_precision() {
        assert_eq!(
            printed("[%5d|%-5d|%05d|%+d]", &[42, 42, 42, 42]),
            "[   42|42   |00042|+42]"
        );
        assert_eq!(
            printed("[%#x|%08X|%.4x|%*d]", &[255, 0xAB, 10, 4, 7]),
            "[0xff|000000AB|000a|   7]"
        );
        assert_eq!(printed("%p", &[0x1000]), "0000000000001000");
        assert_eq!(printed("100%% %q", &[]), "100% %q");
    }

    #[test]
    fn strings_narrow_wide_and_counted() {
        let narrow = b"abc\0";
        let wide: Vec<u16> = "wörd\0".encode_utf16().collect();
        let slot = |pointer: *const u8| pointer.expose_provenance() as u64;
        let slots = [
            slot(narrow.as_ptr()),
            slot(wide.as_ptr().cast()),
            slot(wide.as_ptr().cast()),
            0,
        ];
        assert_eq!(printed("%s %ws %S %s", &slots), "abc wörd wörd (null)");
        assert_eq!(printed("[%.2s|%6s]", &[slots[0], slots[0]]), "[ab|   abc]");
        let counted = UnicodeString {
            length: 4,
            maximum_length: 4,
            buffer: wide.as_ptr().cast_mut(),
        };
        let ansi = AnsiString {
            length: 2,
            maximum_length: 2,
            buffer: narrow.as_ptr().cast_mut(),
        };
        assert_eq!(
            printed("%Z", &[slot(std::ptr::from_ref(&ansi).cast())]),
            "ab"
        );
        assert_eq!(units(counted), [0x77, 0xF6]);
        assert_eq!(printed("%c%C", &[0x41, 0xF6]), "Aö");
    }
}
