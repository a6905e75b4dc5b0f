//! More of the run-time library: other strings, numbers and GUIDs as text, and the C library's searches.

use super::memory::{Guest, terminated, terminated_wide};
use super::{irql, pool};
use crate::abi::base::{AnsiString, Guid, UnicodeString};
use crate::namespace::names::upcase;
use crate::status::NtStatus;
use crate::thread::{APC_LEVEL, DISPATCH_LEVEL, PASSIVE_LEVEL};

const TAG_STRING: u32 = u32::from_le_bytes(*b"Rtls");

/// A string's buffer, from pool where the caller asks for one; `Err`: the status.
fn room(
    allocate: u8,
    present: usize,
    maximum: u16,
    bytes: usize,
    short: NtStatus,
) -> Result<(usize, u16), NtStatus> {
    if allocate == 0 {
        return if bytes <= usize::from(maximum) {
            Ok((present, maximum))
        } else {
            Err(short)
        };
    }
    let maximum = u16::try_from(bytes).map_err(|_| NtStatus::INVALID_PARAMETER)?;
    let block = pool::allocate(bytes.max(1), TAG_STRING, pool::Kind::Paged, false);
    block
        .map(|block| (block, maximum))
        .ok_or(NtStatus::NO_MEMORY)
}

/// Writes units into a counted string, with a terminator where there is room.
fn put(string: Guest<UnicodeString>, allocate: u8, units: &[u16], short: NtStatus) -> NtStatus {
    let present = string.read();
    let wanted = units.len() * 2 + if allocate == 0 { 0 } else { 2 };
    let (buffer, maximum_length) = match room(
        allocate,
        Guest(present.buffer).address(),
        present.maximum_length,
        wanted,
        short,
    ) {
        Ok(room) => room,
        Err(status) => return status,
    };
    let start = Guest::<u16>::at(buffer);
    start.write_many(units);
    if units.len() * 2 + 2 <= usize::from(maximum_length) {
        start.add(units.len()).write(0);
    }
    let length = u16::try_from(units.len() * 2).unwrap_or(0);
    string.write(UnicodeString {
        length,
        maximum_length,
        buffer: start.0,
    });
    NtStatus::SUCCESS
}

fn digits(mut value: u64, base: u32) -> Option<Vec<u16>> {
    let base = u64::from(match base {
        0 => 10,
        2 | 8 | 10 | 16 => base,
        _ => return None,
    });
    let mut digits = Vec::new();
    loop {
        let digit = u32::try_from(value % base).ok()?;
        digits.push(
            u16::try_from(u32::from(char::from_digit(digit, 16)?.to_ascii_uppercase())).ok()?,
        );
        value /= base;
        if value == 0 {
            digits.reverse();
            return Some(digits);
        }
    }
}

/// A number at the start of a text, as `RtlUnicodeStringToInteger` reads one; what follows it is not looked at.
fn parse(units: &[u16], base: u32) -> Option<u32> {
    let text: String = units
        .iter()
        .map(|unit| char::from_u32((*unit).into()).unwrap_or(' '))
        .collect();
    let text = text.trim_start_matches(|c: char| c <= ' ');
    let (negative, text) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (base, text) = match (base, text.get(..2)) {
        (0, Some("0x")) => (16, &text[2..]),
        (0, Some("0o")) => (8, &text[2..]),
        (0, Some("0b")) => (2, &text[2..]),
        (0, _) => (10, text),
        (2 | 8 | 10 | 16, _) => (base, text),
        _ => return None,
    };
    let value = text
        .chars()
        .map_while(|c| c.to_digit(base))
        .fold(0_u32, |value, digit| {
            value.wrapping_mul(base).wrapping_add(digit)
        });
    Some(if negative {
        value.wrapping_neg()
    } else {
        value
    })
}

fn guid_text(guid: Guid) -> String {
    let [a, b, rest @ ..] = guid.data4;
    let rest: String = rest.iter().map(|byte| format!("{byte:02X}")).collect();
    format!(
        "{{{:08X}-{:04X}-{:04X}-{a:02X}{b:02X}-{rest}}}",
        guid.data1, guid.data2, guid.data3
    )
}

fn guid(units: &[u16]) -> Option<Guid> {
    let text = String::from_utf16(units).ok()?;
    let inner = text.strip_prefix('{')?.strip_suffix('}')?;
    let parts: Vec<&str> = inner.split('-').collect();
    let [a, b, c, d, e] = parts.as_slice() else {
        return None;
    };
    if [a, b, c, d, e].map(|part| part.len()) != [8, 4, 4, 4, 12] {
        return None;
    }
    let tail = u64::from_str_radix(&format!("{d}{e}"), 16).ok()?;
    Some(Guid {
        data1: u32::from_str_radix(a, 16).ok()?,
        data2: u16::from_str_radix(b, 16).ok()?,
        data3: u16::from_str_radix(c, 16).ok()?,
        data4: tail.to_be_bytes(),
    })
}

/// The address of the element at that index.
fn found<T: Copy>(start: Guest<T>, index: Option<usize>) -> usize {
    index.map_or(0, |index| start.add(index).address())
}

exports! { "ntoskrnl.exe";
    /// A counted string over a terminated one.
    fn RtlInitAnsiString(destination: Guest<AnsiString>, source: Guest<u8>) {
        irql::at_most("RtlInitAnsiString", DISPATCH_LEVEL);
        let length = if source.is_null() { 0 } else { terminated(source).len() };
        let length = u16::try_from(length).unwrap_or(u16::MAX - 1);
        let maximum_length = if source.is_null() { 0 } else { length + 1 };
        destination.write(AnsiString { length, maximum_length, buffer: source.0 });
    }

    /// A Unicode string from an ANSI one: the bench's code page is Latin-1.
    partial "the ANSI code page is Latin-1"
    fn RtlAnsiStringToUnicodeString(destination: Guest<UnicodeString>, source: Guest<AnsiString>, allocate: u8) -> NtStatus {
        irql::at_most("RtlAnsiStringToUnicodeString", PASSIVE_LEVEL);
        let source = source.read();
        let bytes = Guest(source.buffer).read_many(usize::from(source.length));
        let units: Vec<u16> = bytes.into_iter().map(u16::from).collect();
        put(destination, allocate, &units, NtStatus::BUFFER_OVERFLOW)
    }

    /// An ANSI string from a Unicode one: the bench's code page is Latin-1, and what it lacks is `?`.
    partial "the ANSI code page is Latin-1; what it lacks becomes ?"
    fn RtlUnicodeStringToAnsiString(destination: Guest<AnsiString>, source: Guest<UnicodeString>, allocate: u8) -> NtStatus {
        irql::at_most("RtlUnicodeStringToAnsiString", PASSIVE_LEVEL);
        let bytes: Vec<u8> = source.units().into_iter().map(|unit| u8::try_from(unit).unwrap_or(b'?')).collect();
        let present = destination.read();
        let wanted = bytes.len() + 1;
        let (buffer, maximum_length) =
            match room(allocate, Guest(present.buffer).address(), present.maximum_length, wanted, NtStatus::BUFFER_OVERFLOW) {
                Ok(room) => room,
                Err(status) => return status,
            };
        let start = Guest::<u8>::at(buffer);
        start.write_many(&bytes);
        start.add(bytes.len()).write(0);
        destination.write(AnsiString { length: u16::try_from(bytes.len()).unwrap_or(0), maximum_length, buffer: start.0 });
        NtStatus::SUCCESS
    }

    /// Frees what `RtlUnicodeStringToAnsiString` allocated.
    fn RtlFreeAnsiString(string: Guest<AnsiString>) {
        irql::at_most("RtlFreeAnsiString", PASSIVE_LEVEL);
        let buffer = Guest(string.read().buffer);
        if !buffer.is_null() {
            pool::free(buffer.address(), None);
            string.write(AnsiString { length: 0, maximum_length: 0, buffer: std::ptr::null_mut() });
        }
    }

    /// A new counted string with the text of a terminated one.
    fn RtlCreateUnicodeString(destination: Guest<UnicodeString>, source: Guest<u16>) -> u8 {
        irql::at_most("RtlCreateUnicodeString", PASSIVE_LEVEL);
        u8::from(put(destination, 1, &terminated_wide(source), NtStatus::NO_MEMORY).is_success())
    }

    /// A copy of a counted string in pool: flag 1, terminated; flag 2, of an empty one too.
    fn RtlDuplicateUnicodeString(flags: u32, source: Guest<UnicodeString>, copy: Guest<UnicodeString>) -> NtStatus {
        irql::at_most("RtlDuplicateUnicodeString", PASSIVE_LEVEL);
        let text = source.read_opt();
        let wrong = |text: UnicodeString| !text.length.is_multiple_of(2) || text.length > text.maximum_length;
        if copy.is_null() || !matches!(flags, 0 | 1 | 3) || text.is_some_and(wrong) {
            return NtStatus::INVALID_PARAMETER;
        }
        let units = source.units();
        if units.is_empty() && flags != 3 {
            copy.write(UnicodeString { length: 0, maximum_length: 0, buffer: std::ptr::null_mut() });
            return NtStatus::SUCCESS;
        }
        put(copy, 1, &units, NtStatus::NO_MEMORY)
    }

    /// A number as text.
    fn RtlIntegerToUnicodeString(value: u32, base: u32, string: Guest<UnicodeString>) -> NtStatus {
        match digits(value.into(), base) {
            Some(digits) => put(string, 0, &digits, NtStatus::BUFFER_OVERFLOW),
            None => NtStatus::INVALID_PARAMETER,
        }
    }

    /// A number of 64 bits as text.
    fn RtlInt64ToUnicodeString(value: u64, base: u32, string: Guest<UnicodeString>) -> NtStatus {
        match digits(value, base) {
            Some(digits) => put(string, 0, &digits, NtStatus::BUFFER_OVERFLOW),
            None => NtStatus::INVALID_PARAMETER,
        }
    }

    /// A text as a number.
    fn RtlUnicodeStringToInteger(string: Guest<UnicodeString>, base: u32, value: Guest<u32>) -> NtStatus {
        match parse(&string.units(), base) {
            Some(parsed) => {
                value.write(parsed);
                NtStatus::SUCCESS
            }
            None => NtStatus::INVALID_PARAMETER,
        }
    }

    /// A GUID as text, in a string that the caller frees with `RtlFreeUnicodeString`.
    fn RtlStringFromGUID(guid: Guest<Guid>, string: Guest<UnicodeString>) -> NtStatus {
        irql::at_most("RtlStringFromGUID", PASSIVE_LEVEL);
        let units: Vec<u16> = guid_text(guid.read()).encode_utf16().collect();
        put(string, 1, &units, NtStatus::NO_MEMORY)
    }

    /// A text as a GUID.
    fn RtlGUIDFromString(string: Guest<UnicodeString>, result: Guest<Guid>) -> NtStatus {
        irql::at_most("RtlGUIDFromString", PASSIVE_LEVEL);
        match guid(&string.units()) {
            Some(found) => {
                result.write(found);
                NtStatus::SUCCESS
            }
            None => NtStatus::INVALID_PARAMETER,
        }
    }

    /// A hash of a string: the documented default one, x65599.
    fn RtlHashUnicodeString(string: Guest<UnicodeString>, fold: u8, algorithm: u32, hash: Guest<u32>) -> NtStatus {
        irql::at_most("RtlHashUnicodeString", APC_LEVEL);
        if algorithm > 1 {
            return NtStatus::INVALID_PARAMETER;
        }
        let units = if fold == 0 { string.units() } else { string.units().into_iter().map(upcase).collect() };
        hash.write(units.into_iter().fold(0_u32, |hash, unit| hash.wrapping_mul(65_599).wrapping_add(unit.into())));
        NtStatus::SUCCESS
    }

    /// One unit in lower case.
    fn RtlDowncaseUnicodeChar(unit: u16) -> u16 {
        let lower = char::from_u32(unit.into()).and_then(|c| {
            let mut lower = c.to_lowercase();
            lower.next().filter(|_| lower.next().is_none())
        });
        lower.and_then(|c| u16::try_from(u32::from(c)).ok()).filter(|lower| upcase(*lower) == unit).unwrap_or(unit)
    }

    /// The next of a generator's numbers, below 2^31 - 1.
    partial "another generator's numbers"
    fn RtlRandom(seed: Guest<u32>) -> u32 {
        RtlRandomEx(seed)
    }

    /// The next of a generator's numbers, below 2^31 - 1.
    partial "another generator's numbers"
    fn RtlRandomEx(seed: Guest<u32>) -> u32 {
        let next = (u64::from(seed.read()) * 0x7FFF_FFED + 0x7FFF_FFC3) % 0x7FFF_FFFF;
        let next = u32::try_from(next).unwrap_or(0);
        seed.write(next);
        next
    }

    /// A unit's first place.
    fn wcschr(text: Guest<u16>, unit: u16) -> usize {
        let units = terminated_wide(text);
        let end = (unit == 0).then_some(units.len());
        found(text, units.iter().position(|found| *found == unit).or(end))
    }

    /// A unit's last place.
    fn wcsrchr(text: Guest<u16>, unit: u16) -> usize {
        let units = terminated_wide(text);
        let end = (unit == 0).then_some(units.len());
        found(text, end.or_else(|| units.iter().rposition(|found| *found == unit)))
    }

    /// A string's first place in another.
    fn wcsstr(text: Guest<u16>, part: Guest<u16>) -> usize {
        let (units, wanted) = (terminated_wide(text), terminated_wide(part));
        let index = (0..=units.len().saturating_sub(wanted.len())).find(|start| units[*start..].starts_with(&wanted));
        found(text, index)
    }

    /// A wide string's length, of so many units at most.
    fn wcsnlen(text: Guest<u16>, most: usize) -> usize {
        (0..most).find(|index| text.add(*index).read() == 0).unwrap_or(most)
    }

    /// A string's length, of so many bytes at most.
    fn strnlen(text: Guest<u8>, most: usize) -> usize {
        (0..most).find(|index| text.add(*index).read() == 0).unwrap_or(most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wide(text: &str) -> Vec<u16> {
        text.encode_utf16().collect()
    }

    #[test]
    fn numbers_are_read_as_documented() {
        for (text, base, value) in [
            ("42", 0, 42),
            ("0x2A", 0, 42),
            ("-1", 10, u32::MAX),
            ("  +7z", 10, 7),
            ("101", 2, 5),
            ("", 10, 0),
        ] {
            assert_eq!(parse(&wide(text), base), Some(value), "{text}");
        }
        assert_eq!(parse(&wide("1"), 7), None);
    }

    #[test]
    fn numbers_are_written() {
        assert_eq!(digits(0, 10), Some(wide("0")));
        assert_eq!(digits(0xABC, 16), Some(wide("ABC")));
        assert_eq!(digits(5, 3), None);
    }

    #[test]
    fn a_guid_goes_to_text_and_back() {
        let text = "{B86DFF51-A31E-4BAC-B3CF-E8CFE75C9FC2}";
        let read = guid(&wide(text)).unwrap();
        assert_eq!(guid_text(read), text);
        for broken in [
            "B86DFF51-A31E-4BAC-B3CF-E8CFE75C9FC2",
            "{B86DFF51}",
            "{}",
            "{X86DFF51-A31E-4BAC-B3CF-E8CFE75C9FC2}",
        ] {
            assert_eq!(guid(&wide(broken)), None, "{broken}");
        }
    }
}
