//! `IRP_MJ_QUERY_INFORMATION`: the information classes of a file (MS-FSCC 2.4).

use super::memory::Bytes;
use super::{Answer, Context};
use crate::abi::file::{
    FILE_ATTRIBUTE_NORMAL, FILE_ATTRIBUTE_TAG_INFORMATION_CLASS, FILE_BASIC_INFORMATION_CLASS,
    FILE_DELETE_ON_CLOSE, FILE_INTERNAL_INFORMATION_CLASS, FILE_NETWORK_OPEN_INFORMATION_CLASS,
    FILE_NO_INTERMEDIATE_BUFFERING, FILE_SEQUENTIAL_ONLY, FILE_STANDARD_INFORMATION_CLASS,
    FILE_SYNCHRONOUS_IO_ALERT, FILE_SYNCHRONOUS_IO_NONALERT, FILE_WRITE_THROUGH,
};
use crate::abi::io::{
    FO_ALERTABLE_IO, FO_DELETE_ON_CLOSE, FO_NO_INTERMEDIATE_BUFFERING, FO_SEQUENTIAL_ONLY,
    FO_SYNCHRONOUS_IO, FO_WRITE_THROUGH,
};
use crate::abi::params::QueryInformation;
use crate::namespace::DeviceId;
use crate::namespace::listing;
use crate::namespace::open::OpenFile;
use crate::ntos::MACHINE;
use crate::ntos::file::File;
use crate::status::NtStatus;

pub(crate) const EA: u32 = 7;
pub(crate) const ACCESS: u32 = 8;
pub(crate) const NAME: u32 = 9;
pub(crate) const POSITION: u32 = 14;
pub(crate) const MODE: u32 = 16;
pub(crate) const ALIGNMENT: u32 = 17;
pub(crate) const ALL: u32 = 18;
pub(crate) const ALTERNATE_NAME: u32 = 21;
pub(crate) const STREAM: u32 = 22;
pub(crate) const COMPRESSION: u32 = 28;
pub(crate) const NORMALIZED_NAME: u32 = 48;
pub(crate) const IS_REMOTE_DEVICE: u32 = 51;
pub(crate) const ID: u32 = 59;
pub(crate) const STAT: u32 = 68;

/// `FileFullEaInformation`.
pub(crate) const FULL_EA: u32 = 15;

/// `FileModeInformation`: with which of the create options that matter later a file was opened.
pub(crate) fn mode(file_flags: u32) -> u32 {
    [
        (FO_WRITE_THROUGH, FILE_WRITE_THROUGH),
        (FO_SEQUENTIAL_ONLY, FILE_SEQUENTIAL_ONLY),
        (FO_NO_INTERMEDIATE_BUFFERING, FILE_NO_INTERMEDIATE_BUFFERING),
        (FO_DELETE_ON_CLOSE, FILE_DELETE_ON_CLOSE),
    ]
    .into_iter()
    .filter(|(flag, _)| file_flags & flag != 0)
    .map(|(_, option)| option)
    .chain(
        (file_flags & FO_SYNCHRONOUS_IO != 0).then_some(if file_flags & FO_ALERTABLE_IO != 0 {
            FILE_SYNCHRONOUS_IO_ALERT
        } else {
            FILE_SYNCHRONOUS_IO_NONALERT
        }),
    )
    .fold(0, |mode, option| mode | option)
}

/// A file as most classes tell of it.
pub(super) struct Facts {
    times: [i64; 4],
    end: i64,
    allocation: i64,
    links: u32,
    id: u64,
    device: u64,
    attributes: u32,
}

pub(super) fn facts(open: &OpenFile) -> Facts {
    let stat = open.stat();
    let (end, allocation) = open.size();
    let attributes = match open.attributes() {
        0 => FILE_ATTRIBUTE_NORMAL,
        attributes => attributes,
    };
    let created = open
        .tree()
        .zip(open.file_id())
        .and_then(|(tree, id)| tree.created(id));
    Facts {
        times: stat.map_or([0; 4], |stat| listing::times(&stat, created)),
        end,
        allocation,
        links: stat.map_or(1, |stat| u32::try_from(stat.st_nlink).unwrap_or(1)),
        id: stat.map_or(0, |stat| stat.st_ino),
        device: stat.map_or(0, |stat| stat.st_dev),
        attributes,
    }
}

impl Facts {
    fn times(&self, bytes: Bytes) -> Bytes {
        self.times.into_iter().fold(bytes, Bytes::i64)
    }

    /// `FILE_NETWORK_OPEN_INFORMATION`.
    pub(super) fn network_open(&self) -> Bytes {
        self.times(Bytes::default())
            .i64(self.allocation)
            .i64(self.end)
            .u32(self.attributes)
            .zeroes(4)
    }

    /// `FILE_STAT_INFORMATION` but for what the opener may do.
    fn stat(&self, tag: u32) -> Bytes {
        self.times(Bytes::default().u64(self.id))
            .i64(self.allocation)
            .i64(self.end)
            .u32(self.attributes)
            .u32(tag)
            .u32(self.links)
    }

    fn basic(&self) -> Bytes {
        self.times(Bytes::default()).u32(self.attributes).zeroes(4)
    }

    fn standard(&self, context: &Context<'_>) -> Bytes {
        Bytes::default()
            .i64(self.allocation)
            .i64(self.end)
            .u32(self.links)
            .u8(u8::from(context.open.delete_pending()))
            .u8(u8::from(context.open.is_directory()))
            .zeroes(2)
    }
}

/// `QUERY_ON_CREATE_FILE_STAT_INFORMATION`, which is padded to a quadword.
pub(crate) fn stat(open: &OpenFile) -> Vec<u8> {
    facts(open).stat(open.reparse_tag()).zeroes(4).0
}

/// The name below the volume's root, or below `\` where the volume is a redirector's, as the file has it now.
pub(crate) fn name_now(file: &File) -> Vec<u16> {
    let full = file.full();
    MACHINE
        .get()
        .and_then(|machine| {
            let open = file.opened()?;
            machine.namespace.name_of(file.volume.device, &full, &open)
        })
        .unwrap_or(full)
}

fn named(context: &Context<'_>) -> Bytes {
    let name = name_now(&context.file);
    let length = u32::try_from(name.len() * 2).unwrap_or(0);
    Bytes::default().u32(length).units(&name)
}

/// `FILE_STREAM_INFORMATION` for each stream: as many as fit whole.
fn streams(context: &Context<'_>, query: &QueryInformation) -> Answer {
    const FIXED: usize = 24;
    let room = query.length as usize;
    if room < FIXED {
        return Err(NtStatus::INFO_LENGTH_MISMATCH);
    }
    let mut out: Vec<u8> = Vec::new();
    let mut last = None;
    for (name, (end, allocation)) in context.open.streams() {
        let name: Vec<u16> = format!(":{name}:$DATA").encode_utf16().collect();
        let entry = Bytes::default()
            .u32(0)
            .u32(u32::try_from(name.len() * 2).unwrap_or(0))
            .i64(end)
            .i64(allocation)
            .units(&name)
            .0;
        let at = out.len().next_multiple_of(8);
        if at + entry.len() > room {
            if last.is_none() {
                out.extend(&entry[..room]);
            }
            context.put(query.buffer, 0, &out)?;
            return Ok((NtStatus::BUFFER_OVERFLOW, out.len()));
        }
        out.resize(at, 0);
        out.extend(entry);
        if let Some(last) = last.replace(at) {
            let distance = u32::try_from(at - last).unwrap_or(0);
            out[last..last + 4].copy_from_slice(&distance.to_le_bytes());
        }
    }
    context.put(query.buffer, 0, &out)?;
    Ok((NtStatus::SUCCESS, out.len()))
}

pub(super) fn query(context: &Context<'_>) -> Answer {
    let query: QueryInformation = context.arm();
    let facts = facts(&context.open);
    let whole = match query.class {
        FILE_BASIC_INFORMATION_CLASS => facts.basic(),
        FILE_STANDARD_INFORMATION_CLASS => facts.standard(context),
        FILE_INTERNAL_INFORMATION_CLASS => Bytes::default().u64(facts.id),
        EA => Bytes::default().u32(context.open.ea_size()),
        POSITION => {
            let position = context.file.object(|object| object.current_byte_offset);
            Bytes::default().i64(position)
        }
        FILE_NETWORK_OPEN_INFORMATION_CLASS => facts.network_open(),
        FILE_ATTRIBUTE_TAG_INFORMATION_CLASS => Bytes::default()
            .u32(facts.attributes)
            .u32(context.open.reparse_tag()),
        STAT => facts
            .stat(context.open.reparse_tag())
            .u32(context.open.access()),
        COMPRESSION => Bytes::default().i64(facts.end).zeroes(8),
        IS_REMOTE_DEVICE => {
            Bytes::default().u8(u8::from(context.file.volume.device == DeviceId::Mup))
        }
        ID => Bytes::default().u64(facts.device).u64(facts.id).zeroes(8),
        NAME | NORMALIZED_NAME => {
            return context.put_cut(query.buffer, query.length, 8, &named(context).0);
        }
        STREAM => return streams(context, &query),
        // No volume here has short names.
        ALTERNATE_NAME => return Err(NtStatus::OBJECT_NAME_NOT_FOUND),
        ALL => {
            let mut all = facts.basic();
            all.0.extend(facts.standard(context).0);
            let position = context.file.object(|object| object.current_byte_offset);
            // EA size, access flags, position, mode and alignment; the I/O manager fills in what is its own.
            let mut all = all
                .u64(facts.id)
                .u32(context.open.ea_size())
                .u32(0)
                .i64(position)
                .u32(0)
                .u32(0);
            all.0.extend(named(context).0);
            return context.put_cut(query.buffer, query.length, 104, &all.0);
        }
        _ => return Err(NtStatus::INVALID_INFO_CLASS),
    };
    let put = context.put_whole(query.buffer, query.length, &whole.0)?;
    Ok((NtStatus::SUCCESS, put))
}
