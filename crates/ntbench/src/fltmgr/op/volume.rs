//! `IRP_MJ_QUERY_VOLUME_INFORMATION` and `IRP_MJ_SET_VOLUME_INFORMATION` (MS-FSCC 2.5): of what can be set, the label.

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex, PoisonError};

use super::memory::Bytes;
use super::{Answer, Context};
use crate::abi::io::{DeviceObject, FILE_DEVICE_DISK, FILE_REMOTE_DEVICE};
use crate::abi::params::QueryInformation;
use crate::namespace::DeviceId;
use crate::ntos::memory::Guest;
use crate::status::NtStatus;

const VOLUME: u32 = 1;
const SIZE: u32 = 3;
const DEVICE: u32 = 4;
const ATTRIBUTE: u32 = 5;
const FULL_SIZE: u32 = 7;
const SECTOR_SIZE: u32 = 11;
/// The unit of transfers without the cache.
pub(crate) const BYTES_PER_SECTOR: u32 = 512;
const SECTORS_PER_UNIT: u32 = 8;
/// Case preserved and searched, Unicode, reparse points, hard links.
const ATTRIBUTES: u32 = 0x1 | 0x2 | 0x4 | 0x80 | 0x0040_0000;
/// `FILE_DEVICE_IS_MOUNTED`.
const MOUNTED: u32 = 0x20;

/// `FileFsLabelInformation`.
const LABEL: u32 = 2;
/// The longest label, in UTF-16 units.
const LONGEST_LABEL: usize = 32;

/// The labels that were set, by the volumes' addresses.
static LABELS: LazyLock<Mutex<HashMap<usize, Vec<u16>>>> = LazyLock::new(Mutex::default);

/// Sets the label of a local volume; a server says that others than administrators of its own may not.
pub(super) fn set(context: &Context<'_>) -> Answer {
    let set: QueryInformation = context.arm();
    if context.file.volume.device == DeviceId::Mup {
        return Err(NtStatus::INVALID_DEVICE_REQUEST);
    }
    if set.class != LABEL {
        return Err(NtStatus::INVALID_INFO_CLASS);
    }
    let bytes = context.get(set.buffer, 0, set.length as usize)?;
    let Some((length, rest)) = bytes.split_first_chunk() else {
        return Err(NtStatus::INFO_LENGTH_MISMATCH);
    };
    let length = u32::from_le_bytes(*length) as usize;
    let name = rest.get(..length).ok_or(NtStatus::INFO_LENGTH_MISMATCH)?;
    if !length.is_multiple_of(2) || length > 2 * LONGEST_LABEL {
        return Err(NtStatus(0xC000_0086_u32.cast_signed()));
    }
    let units = name
        .chunks_exact(2)
        .map(|pair| u16::from_le_bytes([pair[0], pair[1]]));
    let mut labels = LABELS.lock().unwrap_or_else(PoisonError::into_inner);
    labels.insert(context.file.volume.address, units.collect());
    Ok((NtStatus::SUCCESS, 0))
}

/// Free and all allocation units; the host's, as Windows counts them.
fn units(context: &Context<'_>) -> (i64, i64) {
    let unit = u64::from(BYTES_PER_SECTOR * SECTORS_PER_UNIT);
    let whole = |blocks: u64, size: u64| i64::try_from(blocks.saturating_mul(size) / unit);
    context.open.space().map_or((0, 0), |(free, all, size)| {
        (
            whole(free, size).unwrap_or(0),
            whole(all, size).unwrap_or(0),
        )
    })
}

pub(super) fn query(context: &Context<'_>) -> Answer {
    let query: QueryInformation = context.arm();
    let remote = context.file.volume.device == DeviceId::Mup;
    let text = |text: &str| text.encode_utf16().collect::<Vec<u16>>();
    let length = |units: &[u16]| u32::try_from(units.len() * 2).unwrap_or(0);
    let whole = match query.class {
        VOLUME => {
            let labels = LABELS.lock().unwrap_or_else(PoisonError::into_inner);
            let label = labels.get(&context.file.volume.address).cloned();
            let label = label.unwrap_or_else(|| text("bench"));
            let serial = u32::from_le_bytes(*b"Bnch");
            let bytes = Bytes::default()
                .i64(0)
                .u32(serial)
                .u32(length(&label))
                .u8(0)
                .zeroes(1)
                .units(&label);
            return context.put_cut(query.buffer, query.length, 18, &bytes.0);
        }
        ATTRIBUTE => {
            let name = text("NTFS");
            let bytes = Bytes::default()
                .u32(ATTRIBUTES)
                .u32(255)
                .u32(length(&name))
                .units(&name);
            return context.put_cut(query.buffer, query.length, 12, &bytes.0);
        }
        SIZE => {
            let (free, all) = units(context);
            Bytes::default()
                .i64(all)
                .i64(free)
                .u32(SECTORS_PER_UNIT)
                .u32(BYTES_PER_SECTOR)
        }
        FULL_SIZE => {
            let (free, all) = units(context);
            Bytes::default()
                .i64(all)
                .i64(free)
                .i64(free)
                .u32(SECTORS_PER_UNIT)
                .u32(BYTES_PER_SECTOR)
        }
        DEVICE => {
            let object = Guest::<DeviceObject>::at(context.file.volume.device_object);
            let offset = std::mem::offset_of!(DeviceObject, characteristics);
            let flags = Guest::<u32>::at(object.address() + offset).read();
            let remote = if remote { FILE_REMOTE_DEVICE } else { 0 };
            Bytes::default()
                .u32(FILE_DEVICE_DISK)
                .u32(flags | remote | MOUNTED)
        }
        SECTOR_SIZE if !remote => Bytes::default()
            .u32(BYTES_PER_SECTOR)
            .u32(BYTES_PER_SECTOR)
            .u32(BYTES_PER_SECTOR)
            .u32(BYTES_PER_SECTOR)
            .zeroes(12),
        _ => return Err(NtStatus::INVALID_INFO_CLASS),
    };
    let put = context.put_whole(query.buffer, query.length, &whole.0)?;
    Ok((NtStatus::SUCCESS, put))
}
