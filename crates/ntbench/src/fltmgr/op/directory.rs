//! `IRP_MJ_DIRECTORY_CONTROL`: `IRP_MN_QUERY_DIRECTORY` in the classes of `NtQueryDirectoryFile`.

use super::memory::Bytes;
use super::{Answer, Context, notify};
use crate::abi::base::UnicodeString;
use crate::abi::io::{
    IRP_MN_NOTIFY_CHANGE_DIRECTORY, IRP_MN_NOTIFY_CHANGE_DIRECTORY_EX, IRP_MN_QUERY_DIRECTORY,
    SL_INDEX_SPECIFIED, SL_RESTART_SCAN, SL_RETURN_SINGLE_ENTRY,
};
use crate::abi::params::QueryDirectory;
use crate::namespace::listing::{Entry, Query};
use crate::ntos::memory::Guest;
use crate::status::NtStatus;

const DIRECTORY: u32 = 1;
const FULL: u32 = 2;
const BOTH: u32 = 3;
const NAMES: u32 = 12;
const ID_BOTH: u32 = 37;
const ID_FULL: u32 = 38;

/// How long the fixed part of a class's entry is; `None`: the class is not one of a directory.
pub(crate) fn fixed(class: u32) -> Option<usize> {
    Some(match class {
        DIRECTORY => 64,
        FULL => 68,
        BOTH => 94,
        NAMES => 12,
        ID_BOTH => 104,
        ID_FULL => 80,
        _ => return None,
    })
}

/// An entry, its name behind it; the offset to the next one is left 0.
fn entry(class: u32, entry: &Entry) -> Vec<u8> {
    let name: Vec<u16> = entry.name.encode_utf16().collect();
    let length = u32::try_from(name.len() * 2).unwrap_or(0);
    // NTFS gives no index.
    let head = Bytes::default().u32(0).u32(0);
    if class == NAMES {
        return head.u32(length).units(&name).0;
    }
    let common = entry
        .times
        .into_iter()
        .fold(head, Bytes::i64)
        .i64(entry.end_of_file)
        .i64(entry.allocation)
        .u32(match entry.attributes {
            0 => crate::abi::file::FILE_ATTRIBUTE_NORMAL,
            attributes => attributes,
        })
        .u32(length);
    // The size of extended attributes gives way to the tag of a reparse point.
    let tagged = |bytes: Bytes| bytes.u32(entry.tag);
    let short = |bytes: Bytes| bytes.zeroes(2 + 24);
    match class {
        DIRECTORY => common,
        FULL => tagged(common),
        BOTH => short(tagged(common)),
        ID_BOTH => short(tagged(common)).zeroes(2).u64(entry.id),
        _ => tagged(common).zeroes(4).u64(entry.id),
    }
    .units(&name)
    .0
}

pub(super) fn control(context: &Context<'_>) -> Answer {
    match context.block.minor_function {
        IRP_MN_QUERY_DIRECTORY => query(context),
        IRP_MN_NOTIFY_CHANGE_DIRECTORY => notify::plain(context),
        IRP_MN_NOTIFY_CHANGE_DIRECTORY_EX => notify::extended(context),
        _ => Err(NtStatus::INVALID_DEVICE_REQUEST),
    }
}

fn query(context: &Context<'_>) -> Answer {
    let query: QueryDirectory = context.arm();
    let fixed = fixed(query.class).ok_or(NtStatus::INVALID_INFO_CLASS)?;
    let room = query.length as usize;
    if room < fixed {
        return Err(NtStatus::INFO_LENGTH_MISMATCH);
    }
    let flags = context.block.operation_flags;
    if flags & SL_INDEX_SPECIFIED != 0 {
        // NTFS's index is 0 for every entry: nothing can be begun from it.
        return Err(NtStatus::NOT_SUPPORTED);
    }
    let name = Guest::<UnicodeString>::at(query.file_name).read_opt();
    let pattern = name
        .map(crate::ntos::memory::units)
        .filter(|units| !units.is_empty());
    let ask = Query {
        pattern: pattern.as_deref(),
        restart: flags & SL_RESTART_SCAN != 0,
    };
    let mut out: Vec<u8> = Vec::new();
    let mut last = None;
    let single = flags & SL_RETURN_SINGLE_ENTRY != 0;
    let status = context.open.list(&ask, |found| {
        if single && last.is_some() {
            return Ok(false);
        }
        let at = out.len().next_multiple_of(8);
        let bytes = entry(query.class, found);
        if at + bytes.len() > room {
            if last.is_some() {
                return Ok(false);
            }
            // Not even the first one: what fits of its name, the length being the whole one.
            out.extend(&bytes[..room.min(bytes.len())]);
            return Err(NtStatus::BUFFER_OVERFLOW);
        }
        out.resize(at, 0);
        out.extend(bytes);
        if let Some(last) = last.replace(at) {
            let distance = u32::try_from(at - last).unwrap_or(0);
            out[last..last + 4].copy_from_slice(&distance.to_le_bytes());
        }
        Ok(true)
    });
    context.put(query.buffer, query.mdl, &out)?;
    Ok((status, out.len()))
}
