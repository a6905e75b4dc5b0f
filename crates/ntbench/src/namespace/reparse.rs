//! Reparse points: `REPARSE_DATA_BUFFER` (MS-FSCC 2.1.2) and where the tags of the system itself lead.
//!
//! A symbolic link of the host is a symbolic link of the volume: its text is the substitute name, relative unless it
//! begins with `\??\`. What `FSCTL_SET_REPARSE_POINT` sets is kept beside the host's file ([`super::notes`]), for as long
//! as the machine runs.

use crate::abi::file::{IO_REPARSE_TAG_MOUNT_POINT, IO_REPARSE_TAG_SYMLINK};
use crate::abi::status::{self, NtStatus};

/// `MAXIMUM_REPARSE_DATA_BUFFER_SIZE`.
const LARGEST: usize = 16 << 10;
/// The header of every reparse buffer, and of one whose tag is not Microsoft's: that has a GUID too.
const HEADER: usize = 8;
const GUID_HEADER: usize = 24;
/// A tag of Microsoft's.
const MICROSOFT: u32 = 0x8000_0000;
/// `SYMLINK_FLAG_RELATIVE`.
const RELATIVE: u32 = 1;

/// What a reparse point holds: a whole `REPARSE_DATA_BUFFER` or `REPARSE_GUID_DATA_BUFFER`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ReparseData {
    tag: u32,
    bytes: Vec<u8>,
}

/// Where a reparse point of the system's own leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// The substitute name.
    pub(crate) name: Vec<u16>,
    /// Whether it begins at the directory that the link is in.
    pub(crate) relative: bool,
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    let pair = bytes.get(at..at + 2)?;
    Some(u16::from_le_bytes([pair[0], pair[1]]))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let four = bytes.get(at..at + 4)?.try_into().ok()?;
    Some(u32::from_le_bytes(four))
}

impl ReparseData {
    /// Checks a buffer as `FSCTL_SET_REPARSE_POINT` does.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, NtStatus> {
        if bytes.len() < HEADER || bytes.len() > LARGEST {
            return Err(status::IO_REPARSE_DATA_INVALID);
        }
        let tag = u32_at(bytes, 0).unwrap_or(0);
        if tag <= 1 {
            // IO_REPARSE_TAG_RESERVED_ZERO and _ONE.
            return Err(status::IO_REPARSE_TAG_INVALID);
        }
        let header = if tag & MICROSOFT == 0 {
            GUID_HEADER
        } else {
            HEADER
        };
        let length = usize::from(u16_at(bytes, 4).unwrap_or(0));
        if bytes.len() != header + length {
            return Err(status::IO_REPARSE_DATA_INVALID);
        }
        let data = Self {
            tag,
            bytes: bytes.to_vec(),
        };
        let named = matches!(tag, IO_REPARSE_TAG_SYMLINK | IO_REPARSE_TAG_MOUNT_POINT);
        match data.target() {
            None if named => Err(status::IO_REPARSE_DATA_INVALID),
            // A mount point's name is a whole one.
            Some(target) if tag == IO_REPARSE_TAG_MOUNT_POINT && !absolute(&target.name) => {
                Err(status::IO_REPARSE_DATA_INVALID)
            }
            _ => Ok(data),
        }
    }

    /// The symbolic link with that text.
    pub(crate) fn symlink(text: &str) -> Self {
        let name: Vec<u16> = text.encode_utf16().collect();
        let relative = !absolute(&name);
        let length = u16::try_from(name.len() * 2).unwrap_or(u16::MAX - 1);
        let mut bytes = IO_REPARSE_TAG_SYMLINK.to_le_bytes().to_vec();
        bytes.extend((12 + 2 * length).to_le_bytes());
        bytes.extend([0, 0]);
        // Substitute name and print name are the same text, one after the other.
        for field in [0, length, length, length] {
            bytes.extend(field.to_le_bytes());
        }
        bytes.extend(u32::from(relative).to_le_bytes());
        for unit in name.iter().chain(&name) {
            bytes.extend(unit.to_le_bytes());
        }
        Self {
            tag: IO_REPARSE_TAG_SYMLINK,
            bytes,
        }
    }

    /// The GUID of a tag that is not Microsoft's.
    pub(crate) fn guid(&self) -> Option<[u8; 16]> {
        let own = self.tag & MICROSOFT == 0;
        let bytes = self.bytes.get(HEADER..GUID_HEADER)?.try_into().ok()?;
        own.then_some(bytes)
    }

    /// Its header alone, by which it is deleted.
    pub(crate) fn bare(&self) -> Self {
        let header = if self.tag & MICROSOFT == 0 {
            GUID_HEADER
        } else {
            HEADER
        };
        let mut bytes = self.bytes.get(..header).unwrap_or_default().to_vec();
        bytes[4..HEADER].fill(0);
        Self {
            tag: self.tag,
            bytes,
        }
    }

    /// The header alone, without data: what says whose reparse point is to be deleted.
    pub(crate) fn header(bytes: &[u8]) -> Result<Self, NtStatus> {
        let tag = u32_at(bytes, 0).filter(|tag| *tag > 1);
        let tag = tag.ok_or(status::IO_REPARSE_TAG_INVALID)?;
        let header = if tag & MICROSOFT == 0 {
            GUID_HEADER
        } else {
            HEADER
        };
        if bytes.len() != header {
            return Err(status::IO_REPARSE_DATA_INVALID);
        }
        Ok(Self {
            tag,
            bytes: bytes.to_vec(),
        })
    }

    /// The tag.
    pub(crate) fn tag(&self) -> u32 {
        self.tag
    }

    /// The whole buffer.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The GUID of whoever the tag belongs to, where it is not Microsoft's.
    fn owner(&self) -> Option<&[u8]> {
        (self.tag & MICROSOFT == 0)
            .then(|| self.bytes.get(8..24))
            .flatten()
    }

    /// Whether this may replace or delete what is there: same tag, same owner.
    pub(crate) fn matches(&self, there: &Self) -> bool {
        self.tag == there.tag && self.owner() == there.owner()
    }

    /// Where a symbolic link or mount point leads; `None`: it is neither, or its names are not within it.
    pub(crate) fn target(&self) -> Option<Target> {
        let (names, relative) = match self.tag {
            IO_REPARSE_TAG_SYMLINK => (20, u32_at(&self.bytes, 16)? & RELATIVE != 0),
            IO_REPARSE_TAG_MOUNT_POINT => (16, false),
            _ => return None,
        };
        let offset = usize::from(u16_at(&self.bytes, 8)?);
        let length = usize::from(u16_at(&self.bytes, 10)?);
        let start = names + offset;
        let name = self.bytes.get(start..start + length)?;
        if length == 0 || !length.is_multiple_of(2) {
            return None;
        }
        let name = name
            .chunks_exact(2)
            .map(|unit| u16::from_le_bytes([unit[0], unit[1]]))
            .collect();
        Some(Target { name, relative })
    }
}

/// Whether a substitute name begins in the object manager's name space.
fn absolute(name: &[u16]) -> bool {
    let prefix = "\\??\\".encode_utf16();
    name.len() > 4 && name.iter().copied().take(4).eq(prefix)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_symbolic_link_reads_back() {
        for (text, relative) in [("a\\..\\b", true), ("\\??\\UNC\\s\\x\\a", false)] {
            let link = ReparseData::symlink(text);
            let read = ReparseData::parse(link.bytes()).expect("valid");
            assert_eq!(read, link);
            let target = read.target().expect("a target");
            assert_eq!(String::from_utf16_lossy(&target.name), text);
            assert_eq!(target.relative, relative);
        }
    }

    #[test]
    fn what_is_no_reparse_buffer_is_refused() {
        let good = ReparseData::symlink("target").bytes().to_vec();
        for length in 0..good.len() {
            assert!(ReparseData::parse(&good[..length]).is_err(), "{length}");
        }
        for (at, value) in [(8, 0xFF), (10, 0xFF), (10, 3), (4, 1)] {
            let mut bad = good.clone();
            bad[at] = value;
            assert_eq!(
                ReparseData::parse(&bad),
                Err(status::IO_REPARSE_DATA_INVALID),
                "{at}"
            );
        }
        let mut reserved = good;
        reserved[..4].copy_from_slice(&1_u32.to_le_bytes());
        assert_eq!(
            ReparseData::parse(&reserved),
            Err(status::IO_REPARSE_TAG_INVALID)
        );
    }

    #[test]
    fn a_tag_that_is_not_microsofts_needs_its_guid() {
        let mut buffer = 0x0000_1234_u32.to_le_bytes().to_vec();
        buffer.extend([4, 0, 0, 0]);
        buffer.extend([7; 16]);
        buffer.extend([1, 2, 3, 4]);
        let data = ReparseData::parse(&buffer).expect("valid");
        assert_eq!((data.tag(), data.target()), (0x1234, None));
        let mut other = buffer.clone();
        other[8] = 8;
        assert!(!ReparseData::parse(&other).expect("valid").matches(&data));
        assert!(ReparseData::parse(&buffer[..12]).is_err());
    }
}
