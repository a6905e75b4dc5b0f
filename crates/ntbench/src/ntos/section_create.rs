//! Sections that drivers make for themselves: over a file of theirs, or over memory that several are to share.
//!
//! `ZwCreateSection`, `ZwOpenSection`. Over a file, filters are asked as for a program's section.

use std::sync::Arc;

use super::handle::{self, Target};
use super::memory::Guest;
use super::object::Counted;
use super::section::{self, PAGE_READONLY, PAGE_READWRITE};
use super::syscall::mapped;
use super::{irql, named, section_type};
use crate::abi::flt::KERNEL_MODE;
use crate::abi::ob::ObjectAttributes;
use crate::status::NtStatus;
use crate::thread::PASSIVE_LEVEL;

/// `SEC_COMMIT`, `SEC_RESERVE`, `SEC_NOCACHE`: what makes no difference here; one of the first two is asked for.
const COMMIT: u32 = 0x800_0000;
const RESERVE: u32 = 0x400_0000;
const NO_CACHE: u32 = 0x1000_0000;
/// `SEC_IMAGE`.
const IMAGE: u32 = 0x100_0000;

fn make(
    length: Option<i64>,
    protection: u32,
    kind: u32,
    file: u64,
) -> Result<Arc<Counted>, NtStatus> {
    let write = match protection {
        PAGE_READONLY => false,
        PAGE_READWRITE => true,
        _ => return Err(NtStatus::INVALID_PAGE_PROTECTION),
    };
    if kind & IMAGE != 0 {
        return Err(NtStatus::NOT_SUPPORTED);
    }
    if kind & (COMMIT | RESERVE) == 0 || kind & !(COMMIT | RESERVE | NO_CACHE) != 0 {
        return Err(NtStatus::INVALID_PARAMETER_6);
    }
    if file == 0 {
        let length = length.filter(|length| *length > 0);
        return section::over_memory(length.ok_or(NtStatus::INVALID_PARAMETER_4)?, write);
    }
    let Target::File(file) = handle::look_up(file, KERNEL_MODE)?.0 else {
        return Err(NtStatus::OBJECT_TYPE_MISMATCH);
    };
    mapped::section(&file, protection, 0)?;
    let open = file.opened().ok_or(NtStatus::INVALID_FILE_FOR_SECTION)?;
    let (made, end) = section::over(open, write).map_err(|status| match (status, length) {
        // Where filters scan data an empty file is at its end; here a length says whether it would be made longer.
        (NtStatus::END_OF_FILE, None) => NtStatus::MAPPED_FILE_SIZE_ZERO,
        (NtStatus::END_OF_FILE, Some(_)) => NtStatus::SECTION_TOO_BIG,
        _ => status,
    })?;
    if length.is_some_and(|length| length > end) {
        made.dereference();
        return Err(NtStatus::SECTION_TOO_BIG);
    }
    Ok(made)
}

exports! { "ntoskrnl.exe";
    /// Makes a section.
    partial "read-only and read-write; a file is not made longer, STATUS_SECTION_TOO_BIG; no image sections, STATUS_NOT_SUPPORTED"
    fn ZwCreateSection(
        out: Guest<u64>, access: u32, attributes: Guest<ObjectAttributes>, length: Guest<i64>, protection: u32,
        kind: u32, file: u64,
    ) -> NtStatus {
        irql::at_most("ZwCreateSection", PASSIVE_LEVEL);
        let length = length.read_opt().filter(|length| *length != 0);
        named::create(out, access, attributes, section_type(), || make(length, protection, kind, file))
    }

    /// Opens one by its name.
    fn ZwOpenSection(out: Guest<u64>, access: u32, attributes: Guest<ObjectAttributes>) -> NtStatus {
        irql::at_most("ZwOpenSection", PASSIVE_LEVEL);
        named::open(out, access, attributes, section_type())
    }
}
