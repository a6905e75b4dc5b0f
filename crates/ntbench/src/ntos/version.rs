//! Which Windows this is, on what processor, and who debugs or verifies it.
//!
//! `RtlVerifyVersionInfo`, `VerSetConditionMask`, `PsGetVersion`, `NtBuildNumber`, `KdRefreshDebuggerNotPresent`,
//! `MmIsDriverVerifying`, `ExIsProcessorFeaturePresent`.

use std::sync::LazyLock;

use super::memory::Guest;
use super::{MACHINE, driver, irql, object, special};
use crate::abi::base::UnicodeString;
use crate::status::NtStatus;
use crate::thread::{APC_LEVEL, DISPATCH_LEVEL, PASSIVE_LEVEL};
use crate::wire::WINDOWS_BUILD;

/// `VER_…` type bits, in the order of their three bits each in a condition mask.
const MINOR: u32 = 0x1;
const MAJOR: u32 = 0x2;
const BUILD: u32 = 0x4;
const PLATFORM: u32 = 0x8;
const PACK_MINOR: u32 = 0x10;
const PACK_MAJOR: u32 = 0x20;
const SUITE: u32 = 0x40;
const PRODUCT: u32 = 0x80;
const BITS_PER_TYPE: u32 = 3;

/// `VER_EQUAL` and its kin; of suites, `VER_AND` and `VER_OR`.
const EQUAL: u64 = 1;
const GREATER: u64 = 2;
const GREATER_EQUAL: u64 = 3;
const LESS: u64 = 4;
const LESS_EQUAL: u64 = 5;
const AND: u64 = 6;
const OR: u64 = 7;

/// `VER_SUITE_SINGLEUSERTS` and `VER_NT_WORKSTATION`, as `RtlGetVersion` says.
const SUITES: u16 = 0x100;
const WORKSTATION: u8 = 1;
const PLATFORM_NT: u32 = 2;
/// `RTL_OSVERSIONINFOEXW`: where the part behind the service pack's name begins.
const EXTENDED: usize = 276;

/// `NTDDI_WIN10`.
const NTDDI: u32 = 0x0A00_0000;

fn build() -> u32 {
    MACHINE
        .get()
        .map_or(WINDOWS_BUILD, |machine| machine.windows)
}

fn condition(mask: u64, kind: u32) -> u64 {
    mask >> (kind.trailing_zeros() * BITS_PER_TYPE) & 7
}

fn holds(have: u32, wanted: u32, condition: u64) -> bool {
    match condition {
        EQUAL => have == wanted,
        GREATER => have > wanted,
        GREATER_EQUAL => have >= wanted,
        LESS => have < wanted,
        LESS_EQUAL => have <= wanted,
        _ => false,
    }
}

/// Versions and service packs are one number of several parts: the first part that differs decides, by its own condition.
fn ordered(parts: &[(u32, u32, u64)]) -> bool {
    let differs = parts.iter().find(|(have, wanted, _)| have != wanted);
    let decisive = differs.or_else(|| parts.last());
    decisive.is_none_or(|(have, wanted, condition)| holds(*have, *wanted, *condition))
}

/// `VerSetConditionMask` for one type; of several the highest counts.
fn with_condition(mask: u64, kinds: u32, condition: u8) -> u64 {
    let condition = u64::from(condition & 7);
    if kinds == 0 || condition == 0 {
        return mask;
    }
    let kind = 31 - kinds.leading_zeros();
    mask | condition << (kind * BITS_PER_TYPE)
}

fn matches(version: usize, kinds: u32, mask: u64) -> bool {
    let long = |offset: usize| Guest::<u32>::at(version + offset).read();
    let short = |offset: usize| Guest::<u16>::at(version + EXTENDED + offset).read();
    let asked = |kind: u32| kinds & kind != 0;
    let single = [(BUILD, build(), 12), (PLATFORM, PLATFORM_NT, 16)];
    let singles = single.iter().all(|(kind, have, offset)| {
        !asked(*kind) || holds(*have, long(*offset), condition(mask, *kind))
    });
    let mut parts = Vec::new();
    if asked(MAJOR) {
        parts.push((10, long(4), condition(mask, MAJOR)));
    }
    if asked(MINOR) {
        parts.push((0, long(8), condition(mask, MINOR)));
    }
    if asked(PACK_MAJOR) {
        parts.push((0, short(0).into(), condition(mask, PACK_MAJOR)));
    }
    if asked(PACK_MINOR) {
        parts.push((0, short(2).into(), condition(mask, PACK_MINOR)));
    }
    let suites = !asked(SUITE) || {
        let wanted = short(4);
        match condition(mask, SUITE) {
            AND => SUITES & wanted == wanted,
            OR => SUITES & wanted != 0 || wanted == 0,
            _ => false,
        }
    };
    let product = !asked(PRODUCT) || {
        let wanted = Guest::<u8>::at(version + EXTENDED + 6).read();
        holds(WORKSTATION.into(), wanted.into(), condition(mask, PRODUCT))
    };
    singles && suites && product && ordered(&parts)
}

/// A variable of the kernel's that drivers read.
fn variable(value: u64) -> usize {
    let at = object::allocate(8);
    Guest::at(at).write(value);
    at
}

/// `PF_…` numbers and whether the host's processor has them.
fn feature(number: u32) -> bool {
    match number {
        // RDTSC, PAE, MMX, SSE and SSE2, compare and exchange, NX: what every x64 processor has.
        2 | 3 | 6 | 8 | 9 | 10 | 12 | 14 => true,
        13 => std::is_x86_feature_detected!("sse3"),
        17 => std::is_x86_feature_detected!("xsave"),
        28 => std::is_x86_feature_detected!("rdrand"),
        36 => std::is_x86_feature_detected!("ssse3"),
        37 => std::is_x86_feature_detected!("sse4.1"),
        38 => std::is_x86_feature_detected!("sse4.2"),
        39 => std::is_x86_feature_detected!("avx"),
        40 => std::is_x86_feature_detected!("avx2"),
        41 => std::is_x86_feature_detected!("avx512f"),
        _ => false,
    }
}

static ABSENT: LazyLock<usize> = LazyLock::new(|| variable(1));
static DISABLED: LazyLock<usize> = LazyLock::new(|| variable(0));

exports! { "ntoskrnl.exe";
    /// Whether this Windows is at least that one (`NTDDI_WIN10` and its like), which is named without its service pack.
    fn RtlIsNtDdiVersionAvailable(version: u32) -> u8 {
        irql::at_most("RtlIsNtDdiVersionAvailable", PASSIVE_LEVEL);
        u8::from(version & 0xFFFF == 0 && version <= NTDDI)
    }

    /// Whether that service pack, or a later one, of this very Windows is installed: there is none.
    fn RtlIsServicePackVersionInstalled(version: u32) -> u8 {
        irql::at_most("RtlIsServicePackVersionInstalled", PASSIVE_LEVEL);
        u8::from(version == NTDDI)
    }

    /// Compares this Windows with what a driver wants.
    fn RtlVerifyVersionInfo(version: usize, kinds: u32, mask: u64) -> NtStatus {
        irql::at_most("RtlVerifyVersionInfo", PASSIVE_LEVEL);
        if kinds == 0 || mask == 0 {
            return NtStatus::INVALID_PARAMETER;
        }
        if matches(version, kinds, mask) { NtStatus::SUCCESS } else { NtStatus::REVISION_MISMATCH }
    }

    /// Adds a condition to a mask for the above.
    fn VerSetConditionMask(mask: u64, kinds: u32, condition: u8) -> u64 {
        with_condition(mask, kinds, condition)
    }

    /// The version, older form; whether this is a checked build.
    fn PsGetVersion(major: Guest<u32>, minor: Guest<u32>, number: Guest<u32>, pack: Guest<UnicodeString>) -> u8 {
        major.write_opt(10);
        minor.write_opt(0);
        number.write_opt(build());
        if let Some(string) = pack.read_opt() {
            if !string.buffer.is_null() && string.maximum_length >= 2 {
                Guest(string.buffer).write(0);
            }
            pack.write(UnicodeString { length: 0, ..string });
        }
        0
    }

    /// The build, in the low half; 0xF in the highest digit for a free build.
    data NtBuildNumber = || {
        static NUMBER: LazyLock<usize> = LazyLock::new(|| variable(u64::from(build() | 0xF000_0000)));
        *NUMBER
    };

    /// Whether a kernel debugger is enabled: none is.
    data KdDebuggerEnabled = || *DISABLED;
    data KdDebuggerNotPresent = || *ABSENT;

    /// Looks again whether a kernel debugger is there: TRUE, none is.
    fn KdRefreshDebuggerNotPresent() -> u8 {
        1
    }

    /// Keeps the kernel debugger away: there is none.
    partial "STATUS_DEBUGGER_INACTIVE always: there is no kernel debugger"
    fn KdDisableDebugger() -> NtStatus {
        NtStatus::DEBUGGER_INACTIVE
    }

    /// Lets it in again.
    partial "STATUS_DEBUGGER_INACTIVE always: there is no kernel debugger"
    fn KdEnableDebugger() -> NtStatus {
        NtStatus::DEBUGGER_INACTIVE
    }

    /// Whether the driver of that object is verified: those here are, unless special pool is off.
    fn MmIsDriverVerifying(object: usize) -> u32 {
        irql::at_most("MmIsDriverVerifying", DISPATCH_LEVEL);
        u32::from(special::is_on() && driver::of_object(object).is_some())
    }

    /// Whether the driver at an address is verified.
    fn MmIsDriverVerifyingByAddress(address: usize) -> u32 {
        irql::at_most("MmIsDriverVerifyingByAddress", DISPATCH_LEVEL);
        u32::from(special::is_on() && driver::at(address).is_some())
    }

    /// Whether Driver Verifier is on, and with which of its options.
    fn MmIsVerifierEnabled(flags: Guest<u32>) -> NtStatus {
        irql::at_most("MmIsVerifierEnabled", DISPATCH_LEVEL);
        if !special::is_on() {
            flags.write(0);
            return NtStatus::NOT_SUPPORTED;
        }
        // Special pool, forced IRQL checking, pool tracking, I/O verification, deadlock detection.
        flags.write(0x3B);
        NtStatus::SUCCESS
    }

    /// Whether this is a server.
    fn MmIsThisAnNtAsSystem() -> u8 {
        0
    }

    /// How much memory the system has: `MmLargeSystem`.
    fn MmQuerySystemSize() -> u32 {
        2
    }

    /// Whether the processor can do something.
    partial "what the compiler's own detection knows; FALSE for other features"
    fn ExIsProcessorFeaturePresent(number: u32) -> u8 {
        u8::from(feature(number))
    }

    /// Whether this edition has one of the suites.
    fn ExVerifySuite(suite: u32) -> u8 {
        irql::at_most("ExVerifySuite", APC_LEVEL);
        // SingleUserTS is the ninth of SUITE_TYPE.
        u8::from(suite == 8)
    }

    /// Whether the driver model has at least that version: 6.0 is the last that was counted.
    fn IoIsWdmVersionAvailable(major: u8, minor: u8) -> u8 {
        u8::from((major, minor) <= (6, 0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_one_number_of_several_parts() {
        // 10.0 is at least 6.1, although 0 is not at least 1.
        assert!(ordered(&[(10, 6, GREATER_EQUAL), (0, 1, GREATER_EQUAL)]));
        assert!(!ordered(&[(10, 11, GREATER_EQUAL), (0, 0, GREATER_EQUAL)]));
        assert!(!ordered(&[(10, 10, GREATER), (0, 0, GREATER)]));
        assert!(ordered(&[(10, 10, EQUAL), (0, 0, LESS_EQUAL)]));
        assert!(ordered(&[]));
    }

    #[test]
    fn conditions_have_three_bits_for_each_type() {
        let mask = with_condition(0, MAJOR, 3);
        let mask = with_condition(mask, PRODUCT, 1);
        assert_eq!(mask, 3 << 3 | 1 << 21);
        assert_eq!((condition(mask, MAJOR), condition(mask, PRODUCT)), (3, 1));
        assert_eq!(with_condition(mask, 0, 3), mask);
    }
}
