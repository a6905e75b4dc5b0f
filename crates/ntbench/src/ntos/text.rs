//! More of the run-time library's strings: counted ones of bytes, UTF-8, and conversions of plain buffers. The ANSI code page is
//! Latin-1.

use super::memory::{Guest, terminated, terminated_wide};
use crate::abi::base::{AnsiString, UnicodeString};
use crate::namespace::names::upcase;
use crate::ntos::pool;
use crate::status::NtStatus;

/// `STATUS_SOME_NOT_MAPPED`.
const SOME_NOT_MAPPED: NtStatus = NtStatus(0x107);

pub(super) fn bytes(string: Guest<AnsiString>) -> Vec<u8> {
    string.read_opt().map_or_else(Vec::new, |string| {
        Guest(string.buffer).read_many(string.length.into())
    })
}

fn folded(bytes: Vec<u8>, fold: u8) -> Vec<u8> {
    if fold == 0 {
        bytes
    } else {
        bytes.to_ascii_uppercase()
    }
}

/// Copies what fits, and says how much that is.
pub(super) fn put<T: Copy>(to: Guest<T>, room: usize, text: &[T], written: Guest<u32>) -> NtStatus {
    let kept = text.len().min(room);
    to.write_many(&text[..kept]);
    written.write_opt(u32::try_from(kept * size_of::<T>()).unwrap_or(0));
    if kept < text.len() {
        NtStatus::BUFFER_TOO_SMALL
    } else {
        NtStatus::SUCCESS
    }
}

/// As `put`, or only how much it would be where there is no buffer; `mapped`: whether all had a place.
fn convert<T: Copy>(
    to: Guest<T>,
    room: u32,
    text: &[T],
    written: Guest<u32>,
    mapped: bool,
) -> NtStatus {
    let fine = if mapped {
        NtStatus::SUCCESS
    } else {
        SOME_NOT_MAPPED
    };
    if to.is_null() {
        written.write_opt(u32::try_from(size_of_val(text)).unwrap_or(0));
        return fine;
    }
    match put(to, room as usize / size_of::<T>(), text, written) {
        NtStatus::SUCCESS => fine,
        status => status,
    }
}

fn append(destination: Guest<AnsiString>, more: &[u8]) -> NtStatus {
    let present = destination.read();
    let length = usize::from(present.length) + more.len();
    if length > usize::from(present.maximum_length) {
        return NtStatus::BUFFER_TOO_SMALL;
    }
    Guest(present.buffer)
        .add(present.length.into())
        .write_many(more);
    destination.write(AnsiString {
        length: u16::try_from(length).unwrap_or(u16::MAX),
        ..present
    });
    NtStatus::SUCCESS
}

exports! { "ntoskrnl.exe";
    /// Whether a string of bytes begins with another.
    fn RtlPrefixString(prefix: Guest<AnsiString>, string: Guest<AnsiString>, fold: u8) -> u8 {
        u8::from(folded(bytes(string), fold).starts_with(&folded(bytes(prefix), fold)))
    }

    /// Appends a string of bytes where there is room for all of it.
    fn RtlAppendStringToString(destination: Guest<AnsiString>, source: Guest<AnsiString>) -> NtStatus {
        append(destination, &bytes(source))
    }

    /// Appends a terminated text where there is room for all of it.
    fn RtlAppendAsciizToString(destination: Guest<AnsiString>, source: Guest<u8>) -> NtStatus {
        append(destination, &if source.is_null() { Vec::new() } else { terminated(source) })
    }

    /// A copy in capitals, cut where there is no room.
    fn RtlUpperString(destination: Guest<AnsiString>, source: Guest<AnsiString>) {
        RtlCopyString(destination, source);
        let copied = folded(bytes(destination), 1);
        Guest(destination.read().buffer).write_many(&copied);
    }

    /// A counted string over a terminated one.
    fn RtlInitString(destination: Guest<AnsiString>, source: Guest<u8>) {
        super::strings::RtlInitAnsiString(destination, source);
    }

    /// A counted string over a terminated one, unless it is too long.
    fn RtlInitUnicodeStringEx(destination: Guest<UnicodeString>, source: Guest<u16>) -> NtStatus {
        const LONGEST: usize = 32_766;
        if !source.is_null() && terminated_wide(source).len() > LONGEST {
            return NtStatus::NAME_TOO_LONG;
        }
        super::rtl::RtlInitUnicodeString(destination, source);
        NtStatus::SUCCESS
    }

    /// Whether a string is one: even lengths, room for what it holds, and somewhere to hold it.
    fn RtlValidateUnicodeString(flags: u32, string: Guest<UnicodeString>) -> NtStatus {
        let Some(string) = string.read_opt() else { return NtStatus::SUCCESS };
        let odd = (string.length | string.maximum_length) & 1 != 0;
        let missing = string.buffer.is_null() && string.maximum_length != 0;
        if flags != 0 || odd || missing || string.length > string.maximum_length {
            return NtStatus::INVALID_PARAMETER;
        }
        NtStatus::SUCCESS
    }

    /// A string in small letters.
    fn RtlDowncaseUnicodeString(
        destination: Guest<UnicodeString>, source: Guest<UnicodeString>, allocate: u8,
    ) -> NtStatus {
        let units: Vec<u16> = source.units().into_iter().map(|unit| super::strings::RtlDowncaseUnicodeChar(unit)).collect();
        let length = u16::try_from(units.len() * 2).unwrap_or(u16::MAX);
        let mut string = if allocate == 0 {
            destination.read()
        } else {
            let Some(block) = pool::allocate(usize::from(length).max(1), u32::from_le_bytes(*b"Strg"), pool::Kind::Paged, true)
            else {
                return NtStatus::NO_MEMORY;
            };
            UnicodeString { length: 0, maximum_length: length, buffer: Guest::at(block).0 }
        };
        if string.maximum_length < length {
            return NtStatus::BUFFER_OVERFLOW;
        }
        Guest(string.buffer).write_many(&units);
        string.length = length;
        destination.write(string);
        NtStatus::SUCCESS
    }

    /// Whether a string ends in another one.
    fn RtlSuffixUnicodeString(suffix: Guest<UnicodeString>, string: Guest<UnicodeString>, fold: u8) -> u8 {
        let units = |string: Guest<UnicodeString>| -> Vec<u16> {
            string.units().into_iter().map(|unit| if fold == 0 { unit } else { upcase(unit) }).collect()
        };
        u8::from(units(string).ends_with(&units(suffix)))
    }

    /// Whether two strings are equal.
    fn RtlEqualString(left: Guest<AnsiString>, right: Guest<AnsiString>, fold: u8) -> u8 {
        u8::from(folded(bytes(left), fold) == folded(bytes(right), fold))
    }

    /// Which of two strings comes first.
    fn RtlCompareString(left: Guest<AnsiString>, right: Guest<AnsiString>, fold: u8) -> i32 {
        folded(bytes(left), fold).cmp(&folded(bytes(right), fold)) as i32
    }

    /// Copies what fits.
    fn RtlCopyString(destination: Guest<AnsiString>, source: Guest<AnsiString>) {
        let mut string = destination.read();
        let source = bytes(source);
        let kept = source.len().min(string.maximum_length.into());
        Guest(string.buffer).write_many(&source[..kept]);
        string.length = u16::try_from(kept).unwrap_or(0);
        destination.write(string);
    }

    /// The capital of a letter.
    fn RtlUpperChar(c: u8) -> u8 {
        c.to_ascii_uppercase()
    }

    /// The number that a text is, with a sign and a base's mark before it.
    fn RtlCharToInteger(text: Guest<u8>, base: u32, value: Guest<u32>) -> NtStatus {
        let bytes = terminated(text);
        let text = String::from_utf8_lossy(&bytes).trim_start().to_owned();
        let (negative, digits) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix('+').unwrap_or(&text)),
        };
        let (base, digits) = match (base, digits.get(..2)) {
            (0, Some("0x")) => (16, &digits[2..]),
            (0, Some("0o")) => (8, &digits[2..]),
            (0, Some("0b")) => (2, &digits[2..]),
            (0, _) => (10, digits),
            (2 | 8 | 10 | 16, _) => (base, digits),
            _ => return NtStatus::INVALID_PARAMETER,
        };
        let number = digits
            .chars()
            .map_while(|c| c.to_digit(base))
            .fold(0_u32, |number, digit| number.wrapping_mul(base).wrapping_add(digit));
        value.write(if negative { number.wrapping_neg() } else { number });
        NtStatus::SUCCESS
    }

    /// Wide characters as UTF-8; a surrogate without its other half becomes U+FFFD.
    fn RtlUnicodeToUTF8N(to: Guest<u8>, room: u32, written: Guest<u32>, from: Guest<u16>, length: u32) -> NtStatus {
        let units = from.read_many(length as usize / 2);
        let text = String::from_utf16_lossy(&units);
        let mapped = String::from_utf16(&units).is_ok();
        convert(to, room, text.as_bytes(), written, mapped)
    }

    /// UTF-8 as wide characters; what is none becomes U+FFFD.
    fn RtlUTF8ToUnicodeN(to: Guest<u16>, room: u32, written: Guest<u32>, from: Guest<u8>, length: u32) -> NtStatus {
        let bytes = from.read_many(length as usize);
        let text = String::from_utf8_lossy(&bytes);
        let mapped = std::str::from_utf8(&bytes).is_ok();
        let units: Vec<u16> = text.encode_utf16().collect();
        convert(to, room, &units, written, mapped)
    }

    /// Wide characters in the ANSI code page.
    partial "the ANSI code page is Latin-1; what it lacks becomes ?"
    fn RtlUnicodeToMultiByteN(to: Guest<u8>, room: u32, written: Guest<u32>, from: Guest<u16>, length: u32) -> NtStatus {
        let narrow = |unit: u16| u8::try_from(unit).unwrap_or(b'?');
        let fits = (length as usize / 2).min(room as usize);
        let bytes: Vec<u8> = from.read_many(fits).into_iter().map(narrow).collect();
        put(to, room as usize, &bytes, written);
        NtStatus::SUCCESS
    }

    /// Characters of the ANSI code page as wide ones.
    partial "the ANSI code page is Latin-1"
    fn RtlMultiByteToUnicodeN(to: Guest<u16>, room: u32, written: Guest<u32>, from: Guest<u8>, length: u32) -> NtStatus {
        let fits = (length as usize).min(room as usize / 2);
        let units: Vec<u16> = from.read_many(fits).into_iter().map(u16::from).collect();
        put(to, room as usize / 2, &units, written);
        NtStatus::SUCCESS
    }

    /// How many bytes a string is in the ANSI code page, its terminator among them.
    partial "the ANSI code page is Latin-1"
    fn RtlxUnicodeStringToAnsiSize(string: Guest<UnicodeString>) -> u32 {
        u32::try_from(string.units().len() + 1).unwrap_or(0)
    }

    /// How many bytes a string is in wide characters, its terminator among them.
    partial "the ANSI code page is Latin-1"
    fn RtlxAnsiStringToUnicodeSize(string: Guest<AnsiString>) -> u32 {
        u32::try_from((bytes(string).len() + 1) * 2).unwrap_or(0)
    }
}
