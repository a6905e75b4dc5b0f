//! The OEM code page, for what DOS could write: counted strings, plain buffers, and how much room they take. It is Latin-1 here.
//!
//! `RtlUpcaseUnicodeStringToOemString`, `RtlUnicodeToOemN` and their kin. A counted string has no terminator.

use super::code_pages::{to_bytes, to_units};
use super::memory::Guest;
use super::text::{bytes, put};
use super::{irql, pool};
use crate::abi::base::{AnsiString, UnicodeString};
use crate::namespace::names::upcase;
use crate::status::NtStatus;
use crate::thread::PASSIVE_LEVEL;

const TAG: u32 = u32::from_le_bytes(*b"Rtlt");

fn narrow(units: &[u16], up: bool) -> Vec<u8> {
    let one = |unit: &u16| {
        let unit = if up { upcase(*unit) } else { *unit };
        u8::try_from(unit).unwrap_or(b'?')
    };
    units.iter().map(one).collect()
}

fn counted(
    call: &str,
    target: Guest<AnsiString>,
    source: Guest<UnicodeString>,
    (allocate, up): (u8, bool),
) -> NtStatus {
    irql::at_most(call, PASSIVE_LEVEL);
    let text = narrow(&source.units(), up);
    let length = u16::try_from(text.len()).unwrap_or(u16::MAX);
    let mut string = target.read();
    if text.is_empty() {
        target.write(AnsiString {
            length: 0,
            maximum_length: 0,
            buffer: std::ptr::null_mut(),
        });
        return NtStatus::SUCCESS;
    }
    if allocate != 0 {
        let Some(block) = pool::allocate(text.len(), TAG, pool::Kind::Paged, false) else {
            return NtStatus::NO_MEMORY;
        };
        string.buffer = Guest::at(block).0;
        string.maximum_length = length;
    } else if length > string.maximum_length {
        return NtStatus::BUFFER_OVERFLOW;
    }
    Guest(string.buffer).write_many(&text);
    string.length = length;
    target.write(string);
    NtStatus::SUCCESS
}

fn to_buffer(
    call: &str,
    (to, room, written): (Guest<u8>, u32, Guest<u32>),
    (from, length): (Guest<u16>, u32),
    up: bool,
) -> NtStatus {
    irql::at_most(call, PASSIVE_LEVEL);
    let text = narrow(&from.read_many(length as usize / 2), up);
    match put(to, room as usize, &text, written) {
        NtStatus::SUCCESS => NtStatus::SUCCESS,
        _ => NtStatus::BUFFER_OVERFLOW,
    }
}

exports! { "ntoskrnl.exe";
    /// A Unicode string in capitals of the OEM code page.
    partial "the OEM code page is Latin-1; what it lacks becomes ?"
    fn RtlUpcaseUnicodeStringToOemString(target: Guest<AnsiString>, source: Guest<UnicodeString>, allocate: u8) -> NtStatus {
        irql::at_most("RtlUpcaseUnicodeStringToOemString", PASSIVE_LEVEL);
        to_bytes(allocate, target, &narrow(&source.units(), true), NtStatus::BUFFER_OVERFLOW)
    }

    /// The same without a terminator.
    partial "the OEM code page is Latin-1; what it lacks becomes ?"
    fn RtlUpcaseUnicodeStringToCountedOemString(
        target: Guest<AnsiString>, source: Guest<UnicodeString>, allocate: u8,
    ) -> NtStatus {
        counted("RtlUpcaseUnicodeStringToCountedOemString", target, source, (allocate, true))
    }

    /// A Unicode string in the OEM code page, without a terminator.
    partial "the OEM code page is Latin-1; what it lacks becomes ?"
    fn RtlUnicodeStringToCountedOemString(target: Guest<AnsiString>, source: Guest<UnicodeString>, allocate: u8) -> NtStatus {
        counted("RtlUnicodeStringToCountedOemString", target, source, (allocate, false))
    }

    /// A counted string of the OEM code page as a Unicode one.
    partial "the OEM code page is Latin-1; with a terminator where there is room for one"
    fn RtlOemStringToCountedUnicodeString(target: Guest<UnicodeString>, source: Guest<AnsiString>, allocate: u8) -> NtStatus {
        irql::at_most("RtlOemStringToCountedUnicodeString", PASSIVE_LEVEL);
        let text: Vec<u16> = bytes(source).into_iter().map(u16::from).collect();
        to_units(allocate, target, &text, NtStatus::BUFFER_OVERFLOW)
    }

    /// Wide characters in the OEM code page.
    partial "the OEM code page is Latin-1; what it lacks becomes ?"
    fn RtlUnicodeToOemN(to: Guest<u8>, room: u32, written: Guest<u32>, from: Guest<u16>, length: u32) -> NtStatus {
        to_buffer("RtlUnicodeToOemN", (to, room, written), (from, length), false)
    }

    /// Wide characters in capitals of the OEM code page.
    partial "the OEM code page is Latin-1; what it lacks becomes ?"
    fn RtlUpcaseUnicodeToOemN(to: Guest<u8>, room: u32, written: Guest<u32>, from: Guest<u16>, length: u32) -> NtStatus {
        to_buffer("RtlUpcaseUnicodeToOemN", (to, room, written), (from, length), true)
    }

    /// Characters of the OEM code page as wide ones.
    partial "the OEM code page is Latin-1"
    fn RtlOemToUnicodeN(to: Guest<u16>, room: u32, written: Guest<u32>, from: Guest<u8>, length: u32) -> NtStatus {
        irql::at_most("RtlOemToUnicodeN", PASSIVE_LEVEL);
        let text: Vec<u16> = from.read_many(length as usize).into_iter().map(u16::from).collect();
        match put(to, room as usize / 2, &text, written) {
            NtStatus::SUCCESS => NtStatus::SUCCESS,
            _ => NtStatus::BUFFER_OVERFLOW,
        }
    }

    /// How many bytes a string is in the OEM code page, its terminator among them.
    partial "the OEM code page is Latin-1"
    fn RtlxUnicodeStringToOemSize(string: Guest<UnicodeString>) -> u32 {
        u32::try_from(string.units().len() + 1).unwrap_or(0)
    }

    /// How many bytes a string of the OEM code page is in wide characters, its terminator among them.
    partial "the OEM code page is Latin-1"
    fn RtlxOemStringToUnicodeSize(string: Guest<AnsiString>) -> u32 {
        u32::try_from((bytes(string).len() + 1) * 2).unwrap_or(0)
    }
}
