//! What reparse points hold, as `FSCTL_SET_REPARSE_POINT` takes it (MS-FSCC 2.1.2).

const TAG_SYMLINK: u32 = 0xA000_000C;
const TAG_MOUNT_POINT: u32 = 0xA000_0003;

/// What a reparse point holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReparsePoint {
    /// A symbolic link.
    Symlink {
        /// The substitute name: `\??\UNC\server\share\folder`, or relative.
        target: String,
        /// Whether it begins in the directory that the link is in.
        relative: bool,
    },
    /// A mount point (junction).
    MountPoint {
        /// The substitute name: `\??\C:\folder`.
        target: String,
    },
    /// A tag that the system does not know: the whole buffer.
    Other(Vec<u8>),
}

/// Text as bytes of UTF-16.
pub(super) fn wide(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

impl ReparsePoint {
    /// The buffer that `FSCTL_SET_REPARSE_POINT` takes.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        let (tag, target, flags) = match self {
            Self::Symlink { target, relative } => (TAG_SYMLINK, target, Some(u32::from(*relative))),
            Self::MountPoint { target } => (TAG_MOUNT_POINT, target, None),
            Self::Other(bytes) => return bytes.clone(),
        };
        let name = wide(target);
        let print = wide(target.trim_start_matches("\\??\\"));
        let length = |bytes: &[u8]| u16::try_from(bytes.len()).unwrap_or(u16::MAX).to_le_bytes();
        let mut data = Vec::new();
        data.extend([0, 0]);
        data.extend(length(&name));
        // A mount point's names are terminated.
        let gap: &[u8] = if flags.is_none() { &[0, 0] } else { &[] };
        data.extend(length(&[&name[..], gap].concat()));
        data.extend(length(&print));
        if let Some(flags) = flags {
            data.extend(flags.to_le_bytes());
        }
        for part in [&name[..], gap, &print, gap] {
            data.extend(part);
        }
        let mut bytes = tag.to_le_bytes().to_vec();
        bytes.extend(length(&data));
        bytes.extend([0, 0]);
        bytes.extend(data);
        bytes
    }

    /// Reads such a buffer; `None`: it is damaged.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let word = |at: usize| Some(u16::from_le_bytes(*bytes.get(at..)?.first_chunk()?));
        let long = |at: usize| Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?));
        let name = |names: usize| {
            let start = names + usize::from(word(8)?);
            let units = bytes.get(start..start + usize::from(word(10)?))?;
            let units = units.chunks_exact(2).map(|pair| [pair[0], pair[1]]);
            let units: Vec<u16> = units.map(u16::from_le_bytes).collect();
            String::from_utf16(&units).ok()
        };
        Some(match long(0)? {
            TAG_SYMLINK => Self::Symlink {
                target: name(20)?,
                relative: long(16)? & 1 != 0,
            },
            TAG_MOUNT_POINT => Self::MountPoint { target: name(16)? },
            _ => Self::Other(bytes.to_vec()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reparse_points_read_back() {
        for point in [
            ReparsePoint::Symlink {
                target: "\\??\\UNC\\s\\x\\a".to_owned(),
                relative: false,
            },
            ReparsePoint::Symlink {
                target: "..\\b".to_owned(),
                relative: true,
            },
            ReparsePoint::MountPoint {
                target: "\\??\\C:\\a".to_owned(),
            },
        ] {
            assert_eq!(ReparsePoint::parse(&point.bytes()), Some(point));
        }
        assert_eq!(ReparsePoint::parse(&[0x0C, 0, 0, 0xA0]), None);
    }
}
