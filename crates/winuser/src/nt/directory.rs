//! What is in a folder.

use std::ptr;

use windows_sys::Wdk::Storage::FileSystem as wdk;
use windows_sys::Win32::System::IO::IO_STATUS_BLOCK;

use super::{File, NtResult, NtStatus, succeeded};
use crate::Wide;

/// An entry of a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name.
    pub name: String,
    /// Its attributes.
    pub attributes: u32,
    /// Its length.
    pub end_of_file: i64,
}

const NO_MORE_FILES: NtStatus = NtStatus(0x8000_0006);
/// FILE_DIRECTORY_INFORMATION's fields.
const END_OF_FILE: usize = std::mem::offset_of!(wdk::FILE_DIRECTORY_INFORMATION, EndOfFile);
const ATTRIBUTES: usize = std::mem::offset_of!(wdk::FILE_DIRECTORY_INFORMATION, FileAttributes);
const NAME_LENGTH: usize = std::mem::offset_of!(wdk::FILE_DIRECTORY_INFORMATION, FileNameLength);
const NAME: usize = std::mem::offset_of!(wdk::FILE_DIRECTORY_INFORMATION, FileName);

impl File {
    /// NtQueryDirectoryFile, again and again: everything in the folder that matches the pattern, from its start. Needs
    /// [`LIST`](super::access::LIST).
    ///
    /// # Errors
    /// The status of the call that failed; STATUS_NO_SUCH_FILE where nothing matches.
    pub fn list(&self, pattern: Option<&Wide>) -> NtResult<Vec<Entry>> {
        let mut entries = Vec::new();
        let mut restart = true;
        loop {
            match self.list_some(pattern, restart) {
                Ok(some) => entries.extend(some),
                Err(NO_MORE_FILES) => return Ok(entries),
                Err(status) => return Err(status),
            }
            restart = false;
        }
    }

    /// NtQueryDirectoryFile once (FileDirectoryInformation, 4 KB).
    ///
    /// # Errors
    /// The status; STATUS_NO_MORE_FILES at the end.
    pub fn list_some(&self, pattern: Option<&Wide>, restart: bool) -> NtResult<Vec<Entry>> {
        let mut buffer = [0_u64; 512];
        let mut block = IO_STATUS_BLOCK::default();
        let counted = pattern.map(Wide::counted);
        // SAFETY: the handle is synchronous, so buffer and block are in use only until this returns; the pattern lives as long.
        let status = unsafe {
            wdk::NtQueryDirectoryFile(
                self.raw(),
                ptr::null_mut(),
                None,
                ptr::null(),
                &raw mut block,
                buffer.as_mut_ptr().cast(),
                4096,
                wdk::FileDirectoryInformation,
                false,
                counted.as_ref().map_or(ptr::null(), ptr::from_ref),
                restart,
            )
        };
        succeeded(status)?;
        let bytes = buffer.iter().flat_map(|word| word.to_le_bytes());
        let bytes: Vec<_> = bytes.take(block.Information).collect();
        Ok(entries(&bytes))
    }
}

/// Entries that follow each other by NextEntryOffset; what lies outside of the buffer is left out.
fn entries(mut bytes: &[u8]) -> Vec<Entry> {
    let mut entries = Vec::new();
    while let Some((entry, next)) = first(bytes) {
        entries.push(entry);
        match bytes.get(next..) {
            Some(rest) if next != 0 => bytes = rest,
            _ => break,
        }
    }
    entries
}

fn first(bytes: &[u8]) -> Option<(Entry, usize)> {
    let half = |at: usize| Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?));
    let length = usize::try_from(half(NAME_LENGTH)?).ok()?;
    let name = bytes.get(NAME..)?.get(..length)?.chunks_exact(2);
    let name: Vec<_> = name
        .map(|unit| u16::from_le_bytes([unit[0], unit[1]]))
        .collect();
    let entry = Entry {
        name: String::from_utf16_lossy(&name),
        attributes: half(ATTRIBUTES)?,
        end_of_file: i64::from_le_bytes(*bytes.get(END_OF_FILE..)?.first_chunk()?),
    };
    Some((entry, usize::try_from(half(0)?).ok()?))
}
