//! Counted strings, and the C library's functions that the kernel exports.

use super::memory::{Guest, terminated_wide};
use super::{MACHINE, irql, pool};
use crate::abi::base::UnicodeString;
use crate::cpu::guarded;
use crate::namespace::names::upcase;
use crate::status::NtStatus;
use crate::thread::{APC_LEVEL, DISPATCH_LEVEL, PASSIVE_LEVEL};
use crate::wire::WINDOWS_BUILD;

const TAG_STRING: u32 = u32::from_le_bytes(*b"Rtlu");
/// The size of `RTL_OSVERSIONINFOEXW`.
const OS_VERSION_EX: u32 = 284;

fn folded(units: Vec<u16>, fold: u8) -> Vec<u16> {
    if fold == 0 {
        units
    } else {
        units.into_iter().map(upcase).collect()
    }
}

/// Appends as many units as fit; `STATUS_BUFFER_TOO_SMALL` and nothing done if they do not.
fn append(destination: Guest<UnicodeString>, more: &[u16]) -> NtStatus {
    let mut string = destination.read();
    let length = usize::from(string.length);
    let room = usize::from(string.maximum_length);
    let Some(new) = length
        .checked_add(more.len() * 2)
        .filter(|new| *new <= room)
    else {
        return NtStatus::BUFFER_TOO_SMALL;
    };
    let end = Guest(string.buffer).add(length / 2);
    end.write_many(more);
    if new + 2 <= room {
        end.add(more.len()).write(0);
    }
    string.length = u16::try_from(new).unwrap_or(u16::MAX);
    destination.write(string);
    NtStatus::SUCCESS
}

exports! { "ntoskrnl.exe";
    /// A counted string over a terminated one.
    fn RtlInitUnicodeString(destination: Guest<UnicodeString>, source: Guest<u16>) {
        irql::at_most("RtlInitUnicodeString", DISPATCH_LEVEL);
        let string = if source.is_null() {
            UnicodeString::EMPTY
        } else {
            let bytes = (terminated_wide(source).len() * 2).min(usize::from(u16::MAX) - 3);
            let length = u16::try_from(bytes).unwrap_or(0);
            UnicodeString { length, maximum_length: length + 2, buffer: source.0 }
        };
        destination.write(string);
    }

    /// Copies as much as fits.
    fn RtlCopyUnicodeString(destination: Guest<UnicodeString>, source: Guest<UnicodeString>) {
        let mut string = destination.read();
        let units = source.units();
        let fits = units.len().min(usize::from(string.maximum_length / 2));
        Guest(string.buffer).write_many(&units[..fits]);
        string.length = u16::try_from(fits * 2).unwrap_or(0);
        destination.write(string);
        if fits * 2 + 2 <= usize::from(string.maximum_length) {
            Guest(string.buffer).add(fits).write(0);
        }
    }

    /// Whether two strings are the same.
    fn RtlEqualUnicodeString(left: Guest<UnicodeString>, right: Guest<UnicodeString>, fold: u8) -> u8 {
        irql::at_most("RtlEqualUnicodeString", PASSIVE_LEVEL);
        u8::from(folded(left.units(), fold) == folded(right.units(), fold))
    }

    /// Which string comes first.
    fn RtlCompareUnicodeString(left: Guest<UnicodeString>, right: Guest<UnicodeString>, fold: u8) -> i32 {
        irql::at_most("RtlCompareUnicodeString", PASSIVE_LEVEL);
        let (left, right) = (folded(left.units(), fold), folded(right.units(), fold));
        let unequal = left.iter().zip(&right).find(|(left, right)| left != right);
        match unequal {
            Some((left, right)) => i32::from(*left) - i32::from(*right),
            None => i32::try_from(left.len()).unwrap_or(0) - i32::try_from(right.len()).unwrap_or(0),
        }
    }

    /// Whether the first string begins the second.
    fn RtlPrefixUnicodeString(prefix: Guest<UnicodeString>, string: Guest<UnicodeString>, fold: u8) -> u8 {
        irql::at_most("RtlPrefixUnicodeString", PASSIVE_LEVEL);
        u8::from(folded(string.units(), fold).starts_with(&folded(prefix.units(), fold)))
    }

    /// One unit in upper case.
    fn RtlUpcaseUnicodeChar(unit: u16) -> u16 {
        irql::at_most("RtlUpcaseUnicodeChar", APC_LEVEL);
        upcase(unit)
    }

    /// A string in upper case, in place or into a buffer that is allocated for it.
    fn RtlUpcaseUnicodeString(
        destination: Guest<UnicodeString>,
        source: Guest<UnicodeString>,
        allocate: u8,
    ) -> NtStatus {
        irql::at_most("RtlUpcaseUnicodeString", PASSIVE_LEVEL);
        let units = folded(source.units(), 1);
        let bytes = u16::try_from(units.len() * 2).unwrap_or(u16::MAX - 1);
        let mut string = destination.read();
        if allocate != 0 {
            let block = pool::allocate(usize::from(bytes).max(2), TAG_STRING, pool::Kind::Paged, false);
            let Some(block) = block else { return NtStatus::INSUFFICIENT_RESOURCES };
            string = UnicodeString { length: 0, maximum_length: bytes, buffer: Guest::<u16>::at(block).0 };
        }
        if string.maximum_length < bytes {
            return NtStatus::BUFFER_OVERFLOW;
        }
        Guest(string.buffer).write_many(&units);
        string.length = bytes;
        destination.write(string);
        NtStatus::SUCCESS
    }

    /// Frees what `RtlUpcaseUnicodeString` and its kind allocated.
    fn RtlFreeUnicodeString(string: Guest<UnicodeString>) {
        irql::at_most("RtlFreeUnicodeString", PASSIVE_LEVEL);
        let buffer = Guest(string.read().buffer);
        if !buffer.is_null() {
            pool::free(buffer.address(), None);
            string.write(UnicodeString::EMPTY);
        }
    }

    /// Appends a counted string.
    fn RtlAppendUnicodeStringToString(destination: Guest<UnicodeString>, source: Guest<UnicodeString>) -> NtStatus {
        append(destination, &source.units())
    }

    /// Appends a terminated string.
    fn RtlAppendUnicodeToString(destination: Guest<UnicodeString>, source: Guest<u16>) -> NtStatus {
        if source.is_null() { NtStatus::SUCCESS } else { append(destination, &terminated_wide(source)) }
    }

    /// `strlen`.
    fn strlen(text: Guest<u8>) -> usize {
        super::memory::terminated(text).len()
    }

    /// `wcslen`.
    fn wcslen(text: Guest<u16>) -> usize {
        terminated_wide(text).len()
    }

    /// `memcpy`: the ranges must not overlap, and as `ntoskrnl`'s does it works even if they do.
    fn memcpy(to: usize, from: usize, count: usize) -> usize {
        memmove(to, from, count)
    }

    /// `memmove`.
    fn memmove(to: usize, from: usize, count: usize) -> usize {
        guarded::copy(to, from, count);
        to
    }

    /// `memset`.
    fn memset(to: usize, byte: i32, count: usize) -> usize {
        guarded::fill(to, byte.to_le_bytes()[0], count);
        to
    }

    /// `memcmp`.
    fn memcmp(left: Guest<u8>, right: Guest<u8>, count: usize) -> i32 {
        match guarded::compare(left.address(), right.address(), count) {
            Some(equal) if equal < count => {
                i32::from(left.add(equal).read()) - i32::from(right.add(equal).read())
            }
            _ => 0,
        }
    }

    /// `RtlCompareMemory`: how many bytes are equal before the first that are not.
    fn RtlCompareMemory(left: Guest<u8>, right: Guest<u8>, count: usize) -> usize {
        guarded::compare(left.address(), right.address(), count).unwrap_or(0)
    }

    /// The system's version: 10.0, and the build that the machine's configuration asks for.
    partial "version, build and platform; no service pack, suite or product type"
    fn RtlGetVersion(version: Guest<u32>) -> NtStatus {
        irql::at_most("RtlGetVersion", PASSIVE_LEVEL);
        let build = MACHINE.get().map_or(WINDOWS_BUILD, |machine| machine.windows);
        for (index, value) in [10_u32, 0, build, 2].into_iter().enumerate() {
            version.add(index + 1).write(value);
        }
        // No service pack's name; then, where the caller's structure has them: its number, the suites, what kind of system.
        version.add(5).write_many(&[0; 64]);
        if version.read() >= OS_VERSION_EX {
            version.add(69).write_many(&[0, 0x0001_0100]);
        }
        NtStatus::SUCCESS
    }

    /// Makes memory zeroes.
    fn RtlZeroMemory(to: usize, count: usize) {
        memset(to, 0, count);
    }

    /// Makes memory one byte.
    fn RtlFillMemory(to: usize, count: usize, byte: u8) {
        memset(to, byte.into(), count);
    }

    /// Copies memory that may overlap.
    fn RtlMoveMemory(to: usize, from: usize, count: usize) {
        memmove(to, from, count);
    }

    /// How many bytes at the beginning are the pattern, in whole elements of four.
    fn RtlCompareMemoryUlong(memory: Guest<u32>, bytes: usize, pattern: u32) -> usize {
        let whole = bytes / 4;
        (0..whole).find(|at| memory.add(*at).read() != pattern).unwrap_or(whole) * 4
    }
}
