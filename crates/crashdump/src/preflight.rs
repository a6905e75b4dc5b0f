//! Looks at a file before anything is made from it: what it is, and whether all that its header promises is there.
//!
//! `kdmp-parser` takes a header at its word. Here each count is held against the file's length first, so that what it
//! builds is never larger than the file, and the contradictions that it does not look for are found. The formats: `DUMP_HEADER64` and
//! `PHYSICAL_MEMORY_DESCRIPTOR` are in the Win32 metadata; the two kinds of lists of pages that follow in newer dumps are as
//! `kdmp-parser` and Volatility describe them.

use std::io::{Read, Seek, SeekFrom};

use crate::bytes;
use crate::error::Foreign;

/// `DUMP_HEADER64`'s length.
pub(crate) const HEADER: usize = 0x2000;
const PAGE: u64 = 0x1000;
const AMD64: u32 = 0x8664;

/// What is wrong.
#[derive(Debug)]
pub(crate) enum Fault {
    Io(std::io::Error),
    Foreign(Foreign),
    Truncated { expected: u64 },
    Damaged(String),
}

impl From<std::io::Error> for Fault {
    fn from(error: std::io::Error) -> Self {
        Self::Io(error)
    }
}

/// A sound file's header, and its kind in words.
pub(crate) fn check(
    file: &mut (impl Read + Seek),
    length: u64,
) -> Result<(Vec<u8>, &'static str), Fault> {
    let mut header = Vec::with_capacity(HEADER);
    file.by_ref().take(HEADER as u64).read_to_end(&mut header)?;
    foreign(&header).map_or(Ok(()), |what| Err(Fault::Foreign(what)))?;
    if header.len() < HEADER {
        return Err(Fault::Truncated {
            expected: HEADER as u64,
        });
    }
    let word = |at| bytes::u32(&header, at).unwrap_or_default();
    if word(0x30) != AMD64 {
        return Err(Fault::Foreign(Foreign::Machine(word(0x30))));
    }
    let kind = match word(0xF98) {
        1 => {
            runs(&header, length)?;
            "complete memory dump"
        }
        kind @ (5 | 6) => {
            bitmap(file, length)?;
            if kind == 5 {
                "kernel or complete memory dump"
            } else {
                "live kernel dump"
            }
        }
        kind @ (8..=10) => {
            ranges(file, length, kind)?;
            match kind {
                8 => "kernel memory dump",
                9 => "kernel and user memory dump",
                _ => "complete memory dump",
            }
        }
        4 => return Err(Fault::Foreign(Foreign::Small)),
        other => return Err(Fault::Foreign(Foreign::Type(other))),
    };
    Ok((header, kind))
}

/// What else it is.
fn foreign(header: &[u8]) -> Option<Foreign> {
    let starts = |magic: &[u8]| header.starts_with(magic);
    Some(match header {
        [] => Foreign::Empty,
        _ if starts(b"PAGEDU64") => return None,
        _ if starts(b"PAGEDUMP") => Foreign::Dump32,
        _ if starts(b"MDMP") => Foreign::UserMinidump,
        _ if starts(b"\x7FELF") => Foreign::Elf,
        _ if starts(b"Microsoft C/C++ MSF") => Foreign::Pdb,
        _ if starts(b"MZ") => Foreign::Image,
        _ if [b"hibr", b"HIBR", b"wake", b"WAKE", b"RSTR"]
            .iter()
            .any(|magic| starts(*magic)) =>
        {
            Foreign::Hibernation
        }
        _ if starts(b"PK\x03\x04")
            || starts(b"\x1F\x8B")
            || starts(b"7z\xBC\xAF")
            || starts(b"MSCF")
            || starts(b"\x28\xB5\x2F\xFD") =>
        {
            Foreign::Archive
        }
        _ if starts(b"\xFF\xFE") || starts(b"\xEF\xBB\xBF") || text(header) => Foreign::Text,
        _ => Foreign::Unknown,
    })
}

fn text(header: &[u8]) -> bool {
    let printable = |byte: &u8| matches!(byte, b'\t' | b'\n' | b'\r' | 0x20..=0x7E | 0x80..);
    header.iter().all(printable)
}

fn damaged<T>(what: impl Into<String>) -> Result<T, Fault> {
    Err(Fault::Damaged(what.into()))
}

/// That `pages` pages from `first` on are in the file.
fn there(first: u64, pages: u64, length: u64) -> Result<(), Fault> {
    match pages
        .checked_mul(PAGE)
        .and_then(|bytes| bytes.checked_add(first))
    {
        Some(expected) if expected <= length => Ok(()),
        Some(expected) => Err(Fault::Truncated { expected }),
        None => damaged(format!("it claims to hold {pages} pages")),
    }
}

/// Runs of physical pages in the header.
fn runs(header: &[u8], length: u64) -> Result<(), Fault> {
    const DESCRIPTOR: usize = 0x88;
    /// 700 bytes, less the two counts.
    const MOST: usize = (700 - 16) / 16;
    let count = bytes::u32(header, DESCRIPTOR).unwrap_or_default() as usize;
    if count == 0 || count > MOST {
        return damaged(format!(
            "its header has {count} runs of pages, where 1 to {MOST} fit"
        ));
    }
    let mut pages: u64 = 0;
    for run in 0..count {
        let run = bytes::u64(header, DESCRIPTOR + 16 + 16 * run + 8).unwrap_or_default();
        pages = pages.saturating_add(run);
    }
    there(HEADER as u64, pages, length)
}

/// A bitmap of the pages that are there.
fn bitmap(file: &mut (impl Read + Seek), length: u64) -> Result<(), Fault> {
    const BITMAP: usize = 0x38;
    let mut header = [0; BITMAP];
    fill(file, &mut header, length)?;
    let signed =
        matches!(header.get(..4), Some(b"SDMP" | b"FDMP")) && header.get(4..8) == Some(b"DUMP");
    if !signed {
        return damaged("the header of its bitmap of pages is none");
    }
    let word = |at| bytes::u64(&header, at).unwrap_or_default();
    let (first, bits) = (word(0x20), word(0x30));
    let end = (HEADER + BITMAP) as u64 + bits.div_ceil(8);
    if end > first || first > length {
        return damaged(format!(
            "its bitmap of {bits} pages does not end before the first page, at {first:#x}"
        ));
    }
    let mut set: u64 = 0;
    let mut rest = file.take(bits.div_ceil(8));
    let mut chunk = vec![0; 1 << 16];
    loop {
        let read = rest.read(&mut chunk)?;
        if read == 0 {
            break;
        }
        set += chunk
            .iter()
            .take(read)
            .map(|byte| u64::from(byte.count_ones()))
            .sum::<u64>();
    }
    there(first, set, length)
}

/// A list of ranges of page numbers.
fn ranges(file: &mut (impl Read + Seek), length: u64, kind: u32) -> Result<(), Fault> {
    const LIST: usize = 0x30;
    let mut header = [0; LIST];
    fill(file, &mut header, length)?;
    let long = |at| bytes::u64(&header, at).unwrap_or_default();
    if header.get(4..12) != Some(b"RDMPDUMP") {
        return damaged("the header of its list of pages is none");
    }
    let (metadata, first, total) = (long(0x10), long(0x18), long(0x28));
    if metadata < 0x20 || first < 0x2040 || metadata > length || first > length {
        return damaged(format!(
            "its list of pages has {metadata:#x} bytes, and the first page is at {first:#x}"
        ));
    }
    let mut list: Vec<(u64, u64)> = Vec::new();
    let mut pages: u64 = 0;
    for _ in 0..metadata / 16 {
        if kind == 10 && pages >= total {
            break;
        }
        let mut range = [0; 16];
        fill(file, &mut range, length)?;
        let (number, count) = (
            bytes::u64(&range, 0).unwrap_or_default(),
            bytes::u64(&range, 8).unwrap_or_default(),
        );
        if number == 0 {
            break;
        }
        pages = pages.saturating_add(count);
        there(first, pages, length)?;
        list.push((number, number.saturating_add(count)));
    }
    list.sort_unstable();
    match list.windows(2).find(|pair| pair[0].1 > pair[1].0) {
        Some(pair) => damaged(format!("page {:#x} is in it twice", pair[1].0)),
        None => Ok(()),
    }
}

fn fill(file: &mut (impl Read + Seek), bytes: &mut [u8], length: u64) -> Result<(), Fault> {
    let position = file.stream_position()?;
    let expected = position + bytes.len() as u64;
    if expected > length {
        return Err(Fault::Truncated { expected });
    }
    file.seek(SeekFrom::Start(position))?;
    Ok(file.read_exact(bytes)?)
}
