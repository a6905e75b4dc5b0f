//! What programs are told of a status: the error codes of Windows's own interface.
//!
//! `RtlNtStatusToDosError`. The pairs are those of Knowledge Base article 113996 that file systems and their filters have to do with; the
//! meaning of either side is in MS-ERREF 2.2 and 2.3. Wine's `ntdll.dll`, asked for each of them, gives the same codes.

use super::irql;
use crate::status::NtStatus;
use crate::thread::APC_LEVEL;

/// `ERROR_MR_MID_NOT_FOUND`, for what has no code.
const NONE: u32 = 317;
/// `FACILITY_NTWIN32`: a status that holds a code.
const OF_CODE: u32 = 0xC007_0000;

#[rustfmt::skip]
const CODES: &[(u32, u32)] = &[
    (0x0000_0000, 0), (0x0000_0103, 997), (0x8000_0002, 998), (0x8000_0005, 234), (0x8000_0006, 18), (0x8000_000D, 299),
    (0x8000_0011, 170), (0x8000_001A, 259), (0xC000_0001, 31), (0xC000_0002, 1), (0xC000_0003, 87), (0xC000_0004, 24),
    (0xC000_0005, 998), (0xC000_0008, 6), (0xC000_000D, 87), (0xC000_000E, 433), (0xC000_000F, 2), (0xC000_0010, 1),
    (0xC000_0011, 38), (0xC000_0013, 21), (0xC000_0014, 1785), (0xC000_0015, 27), (0xC000_0017, 8), (0xC000_0018, 487),
    (0xC000_001C, 1), (0xC000_0021, 5), (0xC000_0022, 5), (0xC000_0023, 122), (0xC000_0024, 6), (0xC000_002A, 158),
    (0xC000_0033, 123), (0xC000_0034, 2), (0xC000_0035, 183), (0xC000_0039, 161), (0xC000_003A, 3), (0xC000_003B, 161),
    (0xC000_003F, 23), (0xC000_0040, 8), (0xC000_0043, 32), (0xC000_0044, 1816), (0xC000_0054, 33), (0xC000_0055, 33),
    (0xC000_0056, 5), (0xC000_007A, 127), (0xC000_007B, 193), (0xC000_007C, 1008), (0xC000_007E, 158), (0xC000_007F, 112),
    (0xC000_009A, 1450), (0xC000_00A2, 19), (0xC000_00A3, 21), (0xC000_00B5, 121), (0xC000_00BA, 5), (0xC000_00BB, 50),
    (0xC000_00C9, 64), (0xC000_00D4, 17), (0xC000_00FD, 1001), (0xC000_0101, 145), (0xC000_0103, 267), (0xC000_0106, 206),
    (0xC000_010A, 5), (0xC000_0120, 995), (0xC000_0121, 5), (0xC000_0123, 5), (0xC000_0128, 6), (0xC000_0147, 578),
    (0xC000_0184, 22), (0xC000_0185, 1117), (0xC000_0189, 19),
];

fn code(status: u32) -> Option<u32> {
    if status & 0xFFFF_0000 == OF_CODE {
        return Some(status & 0xFFFF);
    }
    CODES
        .binary_search_by_key(&status, |(status, _)| *status)
        .ok()
        .and_then(|found| CODES.get(found))
        .map(|(_, code)| *code)
}

exports! { "ntoskrnl.exe";
    /// The error code for a status; `ERROR_MR_MID_NOT_FOUND`: it has none.
    partial "the common statuses of file systems; ERROR_MR_MID_NOT_FOUND for others"
    fn RtlNtStatusToDosError(status: NtStatus) -> u32 {
        irql::at_most("RtlNtStatusToDosError", APC_LEVEL);
        code(status.0.cast_unsigned()).unwrap_or(NONE)
    }

    /// The same.
    partial "as RtlNtStatusToDosError"
    fn RtlNtStatusToDosErrorNoTeb(status: NtStatus) -> u32 {
        irql::at_most("RtlNtStatusToDosErrorNoTeb", APC_LEVEL);
        code(status.0.cast_unsigned()).unwrap_or(NONE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pairs_are_in_order() {
        assert!(CODES.is_sorted_by(|one, next| one.0 < next.0));
        assert_eq!(code(0xC000_0034), Some(2));
        assert_eq!(code(0xC007_0005), Some(5));
        assert_eq!(code(0xC0FF_EE00), None);
    }
}
