//! `IRP_MJ_QUERY_SECURITY` and `IRP_MJ_SET_SECURITY`: a file has a security descriptor by which everybody may do everything until
//! another one is set, and nobody is denied anything by any.

use super::memory::Bytes;
use super::{Answer, Context};
use crate::abi::params::{QuerySecurity, SetSecurity};
use crate::abi::status;
use crate::namespace::watch::{Action, CHANGE_SECURITY};
use crate::ntos::memory::Guest;
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

/// Where in a descriptor the offset of each part is.
const PARTS: [(u32, usize); 3] = [(OWNER, 4), (GROUP, 8), (DACL, 16)];

/// How long the identifier or the list is that begins there.
fn length(bytes: &[u8], part: u32) -> Option<usize> {
    match part {
        DACL => Some(usize::from(u16::from_le_bytes([
            *bytes.get(2)?,
            *bytes.get(3)?,
        ]))),
        _ => Some(8 + 4 * usize::from(*bytes.get(1)?)),
    }
}

pub(super) fn set(context: &Context<'_>) -> Answer {
    let arm: SetSecurity = context.arm();
    let (Some(tree), Some(id)) = (context.open.tree(), context.open.file_id()) else {
        return Err(NtStatus::NOT_SUPPORTED);
    };
    let at = Guest::<u8>::at(arm.descriptor);
    let head = at.read_many(20);
    if u32::from(u16::from_le_bytes([head[2], head[3]])) & SELF_RELATIVE == 0 {
        return Err(status::BAD_DESCRIPTOR_FORMAT);
    }
    let mut set: [Option<Vec<u8>>; 3] = [const { None }; 3];
    for ((part, offset_at), set) in PARTS.into_iter().zip(&mut set) {
        let offset = head[offset_at..]
            .first_chunk()
            .map(|four| u32::from_le_bytes(*four));
        let Some(offset) = offset.filter(|offset| arm.information & part != 0 && *offset != 0)
        else {
            continue;
        };
        let begin = Guest::<u8>::at(arm.descriptor + offset as usize);
        let length = length(&begin.read_many(8), part).ok_or(NtStatus::INVALID_PARAMETER)?;
        *set = Some(begin.read_many(length));
    }
    context.open.pin();
    tree.notes.change(id, |note| {
        for (kept, set) in note.security.iter_mut().zip(set) {
            if set.is_some() {
                *kept = set;
            }
        }
    });
    context.open.tell(CHANGE_SECURITY, Action::Modified);
    Ok((NtStatus::SUCCESS, 0))
}

/// The self-relative descriptor of what was asked for.
fn descriptor(information: u32, kept: [Option<Vec<u8>>; 3]) -> Vec<u8> {
    let [owner, group, list] = kept;
    let part = |kept: Option<Vec<u8>>, else_: Bytes| kept.map_or(else_, Bytes);
    let parts = [
        (OWNER, part(owner, administrators())),
        (GROUP, part(group, administrators())),
        (DACL, part(list, everybody())),
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
    let known = context.open.tree().zip(context.open.file_id());
    let kept = known.map(|(tree, id)| tree.notes.get(id).security);
    let bytes = descriptor(query.information, kept.unwrap_or_default());
    if bytes.len() > query.length as usize {
        return Ok((NtStatus::BUFFER_OVERFLOW, bytes.len()));
    }
    context.put(query.buffer, query.mdl, &bytes)?;
    Ok((NtStatus::SUCCESS, bytes.len()))
}
