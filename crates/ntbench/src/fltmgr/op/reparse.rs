//! `FSCTL_GET_REPARSE_POINT`, `FSCTL_SET_REPARSE_POINT` and `FSCTL_DELETE_REPARSE_POINT`.

use super::{Answer, Context};
use crate::abi::file::{FILE_WRITE_ATTRIBUTES, FILE_WRITE_DATA};
use crate::abi::params::Control;
use crate::abi::status;
use crate::namespace::reparse::ReparseData;
use crate::status::NtStatus;

/// The shortest buffer that says anything: the header.
const HEADER: usize = 8;

pub(super) fn get(context: &Context<'_>, control: &Control) -> Answer {
    let data = context
        .open
        .reparse()
        .ok_or(NtStatus::NOT_A_REPARSE_POINT)?;
    let room = control.output_length as usize;
    if room < HEADER {
        return Err(NtStatus::BUFFER_TOO_SMALL);
    }
    let bytes = data.bytes();
    let fits = bytes.len().min(room);
    context.output(control, &bytes[..fits])?;
    if fits < bytes.len() {
        return Ok((NtStatus::BUFFER_OVERFLOW, fits));
    }
    Ok((NtStatus::SUCCESS, fits))
}

/// Data or attributes must be the opener's to write.
fn writable(context: &Context<'_>) -> Result<(), NtStatus> {
    if context.open.access() & (FILE_WRITE_DATA | FILE_WRITE_ATTRIBUTES) == 0 {
        return Err(NtStatus::ACCESS_DENIED);
    }
    Ok(())
}

pub(super) fn set(context: &Context<'_>, control: &Control) -> Answer {
    if control.output_length != 0 {
        return Err(NtStatus::INVALID_PARAMETER);
    }
    writable(context)?;
    let data = ReparseData::parse(&context.input(control)?)?;
    context.open.set_reparse(data)?;
    Ok((NtStatus::SUCCESS, 0))
}

/// `FSCTL_SET_REPARSE_POINT_EX`: in the place of the reparse point that the caller knows (`REPARSE_DATA_BUFFER_EX`).
pub(super) fn set_ex(context: &Context<'_>, control: &Control) -> Answer {
    /// Flags, the existing tag, its GUID, a reserved quadword.
    const FIXED: usize = 32;
    /// `REPARSE_DATA_BUFFER_EX_FLAG_GIVEN_TAG_OR_NONE`.
    const OR_NONE: u32 = 1;
    if control.output_length != 0 {
        return Err(NtStatus::INVALID_PARAMETER);
    }
    writable(context)?;
    let input = context.input(control)?;
    let (fixed, data) = input
        .split_at_checked(FIXED)
        .ok_or(status::IO_REPARSE_DATA_INVALID)?;
    let word =
        |at: usize| u32::from_le_bytes([fixed[at], fixed[at + 1], fixed[at + 2], fixed[at + 3]]);
    let (flags, tag) = (word(0), word(4));
    let data = ReparseData::parse(data)?;
    match context.open.reparse() {
        None if tag == 0 || flags & OR_NONE != 0 => {}
        Some(there) if there.tag() == tag => {
            if there.guid().is_some_and(|guid| guid != fixed[8..24]) {
                return Err(status::REPARSE_ATTRIBUTE_CONFLICT);
            }
            context.open.delete_reparse(&there.bare())?;
        }
        _ => return Err(status::IO_REPARSE_TAG_MISMATCH),
    }
    context.open.set_reparse(data)?;
    Ok((NtStatus::SUCCESS, 0))
}

pub(super) fn delete(context: &Context<'_>, control: &Control) -> Answer {
    if control.output_length != 0 {
        return Err(NtStatus::INVALID_PARAMETER);
    }
    writable(context)?;
    let mut input = context.input(control)?;
    if input.len() < HEADER || input[4..6] != [0, 0] {
        // The header alone: tag, perhaps its owner, no data.
        return Err(status::IO_REPARSE_DATA_INVALID);
    }
    input[6..8].fill(0);
    context.open.delete_reparse(&ReparseData::header(&input)?)?;
    Ok((NtStatus::SUCCESS, 0))
}
