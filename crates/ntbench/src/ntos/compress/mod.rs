//! Compressed buffers: `RtlCompressBuffer`, `RtlDecompressBuffer`, `RtlDecompressFragment`.
//!
//! The formats are LZNT1 and plain LZ77 (`COMPRESSION_FORMAT_XPRESS`), as [MS-XCA] publishes them. The work space that a driver
//! brings is written to from end to end, so that one that is too small is found.

mod lznt1;
mod xpress;

use super::irql;
use super::memory::Guest;
use crate::status::NtStatus;
use crate::thread::APC_LEVEL;

/// `COMPRESSION_FORMAT_…`, the low byte of a format and engine.
const NONE: u16 = 0;
const DEFAULT: u16 = 1;
const LZNT1: u16 = 2;
const XPRESS: u16 = 3;
/// `COMPRESSION_ENGINE_STANDARD` and `_MAXIMUM`.
const MOST_ENGINE: u16 = 0x100;
/// What compressing needs beside the buffers: for a whole one, and for a fragment.
const WORK_SPACE: u32 = 0x1_0010;
const FRAGMENT_SPACE: u32 = 0x1000;

/// Data that is not in the format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Corrupt;

/// A compressor's answer: nothing where there is no room.
type Packed = Option<Vec<u8>>;

fn format(format_and_engine: u16) -> Result<u16, NtStatus> {
    let engine = format_and_engine & 0xFF00;
    match format_and_engine & 0xFF {
        NONE | DEFAULT => Err(NtStatus::INVALID_PARAMETER),
        format @ (LZNT1 | XPRESS) if engine <= MOST_ENGINE => Ok(format),
        LZNT1 | XPRESS => Err(NtStatus::NOT_SUPPORTED),
        _ => Err(NtStatus::UNSUPPORTED_COMPRESSION),
    }
}

fn unpack(format: u16, packed: &[u8], room: usize) -> Result<Vec<u8>, NtStatus> {
    let unpacked = if format == LZNT1 {
        lznt1::unpack(packed, room)
    } else {
        xpress::unpack(packed, room)
    };
    unpacked.map_err(|Corrupt| NtStatus::BAD_COMPRESSION_BUFFER)
}

fn length(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

fn decompress(
    format_and_engine: u16,
    (to, room): (Guest<u8>, u32),
    (from, size): (Guest<u8>, u32),
    told: Guest<u32>,
) -> NtStatus {
    let format = match format(format_and_engine) {
        Ok(format) => format,
        Err(status) => return status,
    };
    match unpack(format, &from.read_many(size as usize), room as usize) {
        Ok(bytes) => {
            to.write_many(&bytes);
            told.write(length(bytes.len()));
            NtStatus::SUCCESS
        }
        Err(status) => status,
    }
}

exports! { "ntoskrnl.exe";
    /// How much room compressing needs for itself.
    fn RtlGetCompressionWorkSpaceSize(format_and_engine: u16, whole: Guest<u32>, fragment: Guest<u32>) -> NtStatus {
        irql::at_most("RtlGetCompressionWorkSpaceSize", APC_LEVEL);
        match format(format_and_engine) {
            Ok(_) => {
                whole.write(WORK_SPACE);
                fragment.write(FRAGMENT_SPACE);
                NtStatus::SUCCESS
            }
            Err(status) => status,
        }
    }

    /// Compresses a buffer.
    partial "LZNT1 and XPRESS; STATUS_UNSUPPORTED_COMPRESSION for other formats; both engines do the same"
    fn RtlCompressBuffer(
        format_and_engine: u16, from: Guest<u8>, size: u32, to: Guest<u8>, room: u32, chunk: u32, told: Guest<u32>,
        work: Guest<u8>,
    ) -> NtStatus {
        irql::at_most("RtlCompressBuffer", APC_LEVEL);
        let format = match format(format_and_engine) {
            Ok(format) => format,
            Err(status) => return status,
        };
        // Chunks of uncompressed data: 4 KB is the one size that LZNT1 has.
        if !matches!(chunk, 512 | 1024 | 2048 | 4096) {
            return NtStatus::INVALID_PARAMETER;
        }
        work.write_many(&vec![0; WORK_SPACE as usize]);
        let bytes = from.read_many(size as usize);
        let packed = if format == LZNT1 {
            lznt1::pack(&bytes, room as usize)
        } else {
            xpress::pack(&bytes, room as usize)
        };
        let Some(packed) = packed else { return NtStatus::BUFFER_TOO_SMALL };
        to.write_many(&packed);
        told.write(length(packed.len()));
        if format == LZNT1 && bytes.iter().all(|byte| *byte == 0) {
            return NtStatus::BUFFER_ALL_ZEROS;
        }
        NtStatus::SUCCESS
    }

    /// Decompresses a buffer.
    partial "LZNT1 and XPRESS; STATUS_UNSUPPORTED_COMPRESSION for other formats"
    fn RtlDecompressBuffer(
        format_and_engine: u16, to: Guest<u8>, room: u32, from: Guest<u8>, size: u32, told: Guest<u32>,
    ) -> NtStatus {
        irql::at_most("RtlDecompressBuffer", APC_LEVEL);
        decompress(format_and_engine, (to, room), (from, size), told)
    }

    /// The same, for formats that need work space.
    partial "LZNT1 and XPRESS; STATUS_UNSUPPORTED_COMPRESSION for other formats"
    fn RtlDecompressBufferEx(
        format_and_engine: u16, to: Guest<u8>, room: u32, from: Guest<u8>, size: u32, told: Guest<u32>, _work: usize,
    ) -> NtStatus {
        irql::at_most("RtlDecompressBufferEx", APC_LEVEL);
        decompress(format_and_engine, (to, room), (from, size), told)
    }

    /// Decompresses a part of a buffer, from an offset in what it was.
    partial "LZNT1 and XPRESS; STATUS_UNSUPPORTED_COMPRESSION for other formats"
    fn RtlDecompressFragment(
        format_and_engine: u16, to: Guest<u8>, room: u32, from: Guest<u8>, size: u32, offset: u32, told: Guest<u32>,
        work: Guest<u8>,
    ) -> NtStatus {
        irql::at_most("RtlDecompressFragment", APC_LEVEL);
        let format = match format(format_and_engine) {
            Ok(format) => format,
            Err(status) => return status,
        };
        work.write_many(&vec![0; FRAGMENT_SPACE as usize]);
        let end = (offset as usize).saturating_add(room as usize);
        match unpack(format, &from.read_many(size as usize), end) {
            Ok(bytes) => {
                let part = bytes.get(offset as usize..).unwrap_or_default();
                to.write_many(part);
                told.write(length(part.len()));
                NtStatus::SUCCESS
            }
            Err(status) => status,
        }
    }
}
