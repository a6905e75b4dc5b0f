//! Counted strings from one code page to another: UTF-8, and the OEM and ANSI code pages, which are Latin-1 both.

use super::memory::Guest;
use super::text::bytes;
use super::{irql, pool};
use crate::abi::base::{AnsiString, UnicodeString};
use crate::status::NtStatus;
use crate::thread::PASSIVE_LEVEL;

const TAG_STRING: u32 = u32::from_le_bytes(*b"Rtlt");

/// A counted string of pool with what a conversion gave; `allocate`: or into the one that is there.
fn give<T: Copy + Default>(
    allocate: u8,
    present: (*mut T, u16),
    text: &[T],
    short: NtStatus,
) -> Result<(*mut T, u16, u16), NtStatus> {
    let bytes = std::mem::size_of_val(text);
    let whole = bytes + size_of::<T>();
    let (Ok(length), Ok(maximum)) = (u16::try_from(bytes), u16::try_from(whole)) else {
        return Err(NtStatus::INVALID_PARAMETER);
    };
    let (buffer, maximum) = if allocate == 0 {
        if whole > usize::from(present.1) {
            return Err(short);
        }
        present
    } else {
        let block = pool::allocate(whole, TAG_STRING, pool::Kind::Paged, false);
        let block = block.ok_or(NtStatus::NO_MEMORY)?;
        (Guest::at(block).0, maximum)
    };
    Guest(buffer).write_many(text);
    Guest(buffer).add(text.len()).write(T::default());
    Ok((buffer, length, maximum))
}

pub(super) fn to_bytes(
    allocate: u8,
    target: Guest<AnsiString>,
    text: &[u8],
    short: NtStatus,
) -> NtStatus {
    let present = target.read();
    match give(
        allocate,
        (present.buffer, present.maximum_length),
        text,
        short,
    ) {
        Ok((buffer, length, maximum_length)) => {
            target.write(AnsiString {
                length,
                maximum_length,
                buffer,
            });
            NtStatus::SUCCESS
        }
        Err(status) => status,
    }
}

pub(super) fn to_units(
    allocate: u8,
    target: Guest<UnicodeString>,
    text: &[u16],
    short: NtStatus,
) -> NtStatus {
    let present = target.read();
    match give(
        allocate,
        (present.buffer, present.maximum_length),
        text,
        short,
    ) {
        Ok((buffer, length, maximum_length)) => {
            target.write(UnicodeString {
                length,
                maximum_length,
                buffer,
            });
            NtStatus::SUCCESS
        }
        Err(status) => status,
    }
}

fn release(string: Guest<AnsiString>) {
    let buffer = Guest(string.read().buffer);
    if !buffer.is_null() {
        pool::free(buffer.address(), None);
        string.write(AnsiString {
            length: 0,
            maximum_length: 0,
            buffer: std::ptr::null_mut(),
        });
    }
}

exports! { "ntoskrnl.exe";
    /// A Unicode string as UTF-8.
    fn RtlUnicodeStringToUTF8String(target: Guest<AnsiString>, source: Guest<UnicodeString>, allocate: u8) -> NtStatus {
        let text = String::from_utf16_lossy(&source.units());
        to_bytes(allocate, target, text.as_bytes(), NtStatus::BUFFER_OVERFLOW)
    }

    /// UTF-8 as a Unicode string.
    fn RtlUTF8StringToUnicodeString(target: Guest<UnicodeString>, source: Guest<AnsiString>, allocate: u8) -> NtStatus {
        let text: Vec<u16> = String::from_utf8_lossy(&bytes(source)).encode_utf16().collect();
        to_units(allocate, target, &text, NtStatus::BUFFER_OVERFLOW)
    }

    /// Frees what `RtlUnicodeStringToUTF8String` allocated.
    fn RtlFreeUTF8String(string: Guest<AnsiString>) {
        release(string);
    }

    /// A Unicode string in the OEM code page, which is Latin-1 too.
    partial "the OEM code page is Latin-1; what it lacks becomes ?"
    fn RtlUnicodeStringToOemString(target: Guest<AnsiString>, source: Guest<UnicodeString>, allocate: u8) -> NtStatus {
        irql::at_most("RtlUnicodeStringToOemString", PASSIVE_LEVEL);
        let text: Vec<u8> = source.units().into_iter().map(|unit| u8::try_from(unit).unwrap_or(b'?')).collect();
        to_bytes(allocate, target, &text, NtStatus::BUFFER_OVERFLOW)
    }

    /// A string of the OEM code page as a Unicode one.
    partial "the OEM code page is Latin-1"
    fn RtlOemStringToUnicodeString(target: Guest<UnicodeString>, source: Guest<AnsiString>, allocate: u8) -> NtStatus {
        irql::at_most("RtlOemStringToUnicodeString", PASSIVE_LEVEL);
        let text: Vec<u16> = bytes(source).into_iter().map(u16::from).collect();
        to_units(allocate, target, &text, NtStatus::BUFFER_OVERFLOW)
    }

    /// Frees what `RtlUnicodeStringToOemString` allocated.
    fn RtlFreeOemString(string: Guest<AnsiString>) {
        irql::at_most("RtlFreeOemString", PASSIVE_LEVEL);
        release(string);
    }

    /// How many bytes of the ANSI code page so many bytes of Unicode make.
    fn RtlUnicodeToMultiByteSize(size: Guest<u32>, text: usize, bytes: u32) -> NtStatus {
        let _ = text;
        size.write(bytes / 2);
        NtStatus::SUCCESS
    }

    /// How many bytes of Unicode so many bytes of the ANSI code page make.
    fn RtlMultiByteToUnicodeSize(size: Guest<u32>, text: usize, bytes: u32) -> NtStatus {
        let _ = text;
        size.write(bytes.saturating_mul(2));
        NtStatus::SUCCESS
    }
}
