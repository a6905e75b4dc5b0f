//! `IRP_MJ_QUERY_SECURITY`: every file has the same security descriptor, by which everybody may do everything.

use super::memory::Bytes;
use super::{Answer, Context};
use crate::abi::params::QuerySecurity;
use crate::status::NtStatus;

const OWNER: u32 = 1;
const GROUP: u32 = 2;
const DACL: u32 = 4;
/// `SE_SELF_RELATIVE`, `SE_DACL_PRESENT`.
const SELF_RELATIVE: u32 = 0x8000;
const DACL_PRESENT: u32 = 0x4;
/// `FILE_ALL_ACCESS`.
const ALL_ACCESS: u32 = 0x001F_01FF;

/// `BUILTIN\Administrators`, S-1-5-32-544.
fn administrators() -> Bytes {
    Bytes::default()
        .u8(1)
        .u8(2)
        .zeroes(5)
        .u8(5)
        .u32(32)
        .u32(544)
}

/// A list with one entry: everybody, S-1-1-0, everything.
fn everybody() -> Bytes {
    let mut acl = Bytes::default().u8(2).u8(0);
    acl.0.extend(28_u16.to_le_bytes());
    acl = acl.u32(1).u8(0).u8(0);
    acl.0.extend(20_u16.to_le_bytes());
    acl.u32(ALL_ACCESS).u8(1).u8(1).zeroes(5).u8(1).u32(0)
}

/// The self-relative descriptor of what was asked for.
fn descriptor(information: u32) -> Vec<u8> {
    let parts = [
        (OWNER, administrators()),
        (GROUP, administrators()),
        (DACL, everybody()),
    ];
    let mut offsets = [0_u32; 3];
    let mut body: Vec<u8> = Vec::new();
    for ((bit, part), offset) in parts.into_iter().zip(&mut offsets) {
        if information & bit != 0 {
            *offset = u32::try_from(20 + body.len()).unwrap_or(0);
            body.extend(part.0);
        }
    }
    let present = if information & DACL != 0 {
        DACL_PRESENT
    } else {
        0
    };
    // Revision, padding, control; owner, group, SACL, DACL.
    let head = Bytes::default().u32(1 | (SELF_RELATIVE | present) << 16);
    let mut whole = head
        .u32(offsets[0])
        .u32(offsets[1])
        .u32(0)
        .u32(offsets[2])
        .0;
    whole.extend(body);
    whole
}

pub(super) fn query(context: &Context<'_>) -> Answer {
    let query: QuerySecurity = context.arm();
    let bytes = descriptor(query.information);
    if bytes.len() > query.length as usize {
        return Ok((NtStatus::BUFFER_OVERFLOW, bytes.len()));
    }
    context.put(query.buffer, query.mdl, &bytes)?;
    Ok((NtStatus::SUCCESS, bytes.len()))
}
