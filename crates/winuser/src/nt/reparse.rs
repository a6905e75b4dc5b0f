//! Symbolic links and junctions, set by FSCTL_SET_REPARSE_POINT, so that a link can lead where no tool would point one.

use std::ptr;

use windows_sys::Wdk::Storage::FileSystem as wdk;
use windows_sys::Win32::System::IO::IO_STATUS_BLOCK;

use super::{File, NtResult, NtStatus, succeeded};
use crate::Wide;

/// What a reparse point says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reparse {
    /// A symbolic link, of a file or a folder.
    Symlink {
        /// Where it leads, as the object manager has it (`\??\UNC\server\share`), or relative.
        target: Wide,
        /// The target is relative to the link's own folder.
        relative: bool,
    },
    /// A junction (mount point) of a folder.
    Junction {
        /// Where it leads, as the object manager has it.
        target: Wide,
    },
}

const IO_REPARSE_TAG_SYMLINK: u32 = 0xa000_000c;
const IO_REPARSE_TAG_MOUNT_POINT: u32 = 0xa000_0003;
const SYMLINK_FLAG_RELATIVE: u32 = 1;
const FSCTL_SET_REPARSE_POINT: u32 = 0x0009_00a4;
const FSCTL_DELETE_REPARSE_POINT: u32 = 0x0009_00ac;
const NAME_TOO_LONG: NtStatus = NtStatus(0xc000_0106);

impl Reparse {
    const fn tag(&self) -> u32 {
        match self {
            Self::Symlink { .. } => IO_REPARSE_TAG_SYMLINK,
            Self::Junction { .. } => IO_REPARSE_TAG_MOUNT_POINT,
        }
    }

    /// REPARSE_DATA_BUFFER. The name that people are shown is the target without the object manager's prefix.
    fn encode(&self) -> Option<Vec<u8>> {
        let (Self::Symlink { target, .. } | Self::Junction { target }) = self;
        let print = shown(target.units());
        let bytes = |units: &[u16]| units.iter().flat_map(|unit| unit.to_le_bytes()).collect();
        let (substitute, print): (Vec<u8>, Vec<u8>) = (bytes(target.units()), bytes(&print));
        // A junction's names end with a NUL each, which their lengths do not count.
        let nul: &[u8] = match self {
            Self::Symlink { .. } => &[],
            Self::Junction { .. } => &[0, 0],
        };
        let length = |bytes: usize| u16::try_from(bytes).ok();
        let mut data = Vec::new();
        for field in [
            0,
            length(substitute.len())?,
            length(substitute.len() + nul.len())?,
            length(print.len())?,
        ] {
            data.extend(field.to_le_bytes());
        }
        if let Self::Symlink { relative, .. } = self {
            let flags = if *relative { SYMLINK_FLAG_RELATIVE } else { 0 };
            data.extend(flags.to_le_bytes());
        }
        for part in [&*substitute, nul, &*print, nul] {
            data.extend(part);
        }
        let mut whole = self.tag().to_le_bytes().to_vec();
        whole.extend(length(data.len())?.to_le_bytes());
        whole.extend([0, 0]);
        whole.extend(data);
        // MAXIMUM_REPARSE_DATA_BUFFER_SIZE.
        (whole.len() <= 16 * 1024).then_some(whole)
    }
}

/// A target as people write it: `\??\UNC\server` is `\\server`, `\??\C:\x` is `C:\x`.
fn shown(target: &[u16]) -> Vec<u16> {
    let text = String::from_utf16_lossy(target);
    let strip = |prefix| text.strip_prefix(prefix);
    match (strip(r"\??\UNC\"), strip(r"\??\")) {
        (Some(rest), _) => [r"\\", rest].concat().encode_utf16().collect(),
        (None, Some(rest)) => rest.encode_utf16().collect(),
        (None, None) => target.to_vec(),
    }
}

impl File {
    /// Makes this file or folder, opened with [`REPARSE_POINT`](super::options::REPARSE_POINT) and
    /// [`WRITE_ATTRIBUTES`](super::access::WRITE_ATTRIBUTES), a reparse point. A junction's folder must be empty. A symbolic link needs
    /// SeCreateSymbolicLinkPrivilege.
    ///
    /// # Errors
    /// The status; STATUS_NAME_TOO_LONG where the target does not go into one (16 KB).
    pub fn set_reparse_point(&self, reparse: &Reparse) -> NtResult<()> {
        let data = reparse.encode().ok_or(NAME_TOO_LONG)?;
        self.control(FSCTL_SET_REPARSE_POINT, &data)
    }

    /// Takes a reparse point of the given kind away; file or folder stays.
    ///
    /// # Errors
    /// The status.
    pub fn delete_reparse_point(&self, reparse: &Reparse) -> NtResult<()> {
        let mut header = reparse.tag().to_le_bytes().to_vec();
        header.extend([0; 4]);
        self.control(FSCTL_DELETE_REPARSE_POINT, &header)
    }

    /// NtFsControlFile with input only.
    fn control(&self, code: u32, input: &[u8]) -> NtResult<()> {
        let mut block = IO_STATUS_BLOCK::default();
        let length = u32::try_from(input.len()).unwrap_or(u32::MAX);
        // SAFETY: the handle is synchronous, so buffer and block are in use only until this returns. Both codes are METHOD_BUFFERED.
        let status = unsafe {
            wdk::NtFsControlFile(
                self.raw(),
                ptr::null_mut(),
                None,
                ptr::null(),
                &raw mut block,
                code,
                input.as_ptr().cast(),
                length,
                ptr::null_mut(),
                0,
            )
        };
        succeeded(status).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_symlink_is_laid_out_as_documented() {
        let target = Wide::new(r"\??\UNC\s\x").unwrap();
        let relative = false;
        let bytes = Reparse::Symlink { target, relative }.encode().unwrap();
        let word = |at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
        assert_eq!(&bytes[..4], [0x0c, 0, 0, 0xa0]);
        assert_eq!(usize::from(word(4)), bytes.len() - 8);
        let names = [word(8), word(10), word(12), word(14)];
        assert_eq!(names, [0, 22, 22, 10]);
        assert_eq!(&bytes[16..20], [0; 4], "not relative");
        assert_eq!(&bytes[20 + 22..], b"\\\0\\\0s\0\\\0x\0");
    }

    #[test]
    fn a_junctions_names_end_with_nuls_that_are_not_counted() {
        let target = Wide::new(r"\??\C:\a").unwrap();
        let bytes = Reparse::Junction { target }.encode().unwrap();
        let word = |at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
        assert_eq!([word(8), word(10), word(12), word(14)], [0, 16, 18, 8]);
        assert_eq!(bytes.len(), 16 + 16 + 2 + 8 + 2);
    }

    #[test]
    fn a_target_that_does_not_fit_is_refused() {
        let target = Wide::from_units(vec![0x61; 9000]).unwrap();
        assert_eq!(Reparse::Junction { target }.encode(), None);
    }
}
