//! The native file calls: what a scenario opens paths with, since only they take every spelling of a name, and a root to start from.
//!
//! Results are NTSTATUS values as they are, because those are what a scenario checks. Every handle is opened for synchronous use, so that no
//! call returns before the kernel is done with its buffers.

mod directory;
mod reparse;

use std::os::windows::io::{
    AsHandle, AsRawHandle as _, BorrowedHandle, FromRawHandle as _, OwnedHandle,
};
use std::ptr;

use protocol::NtStatus;
use windows_sys::Wdk::Foundation::OBJECT_ATTRIBUTES;
use windows_sys::Wdk::Storage::FileSystem as wdk;
use windows_sys::Win32::Foundation::{HANDLE, OBJ_CASE_INSENSITIVE, UNICODE_STRING};
use windows_sys::Win32::Storage::FileSystem as win;
use windows_sys::Win32::System::IO::IO_STATUS_BLOCK;

pub use directory::Entry;
pub use reparse::Reparse;

use crate::Wide;

/// What the calls of this module give: a failing status, or what was asked for.
pub type NtResult<T> = std::result::Result<T, NtStatus>;

/// Rights to ask for.
pub mod access {
    pub use windows_sys::Win32::Storage::FileSystem::{
        DELETE, FILE_GENERIC_READ as READ, FILE_GENERIC_WRITE as WRITE,
        FILE_LIST_DIRECTORY as LIST, FILE_READ_ATTRIBUTES as READ_ATTRIBUTES,
        FILE_READ_DATA as READ_DATA, FILE_WRITE_ATTRIBUTES as WRITE_ATTRIBUTES,
        FILE_WRITE_DATA as WRITE_DATA,
    };
}

/// Create options.
pub mod options {
    pub use windows_sys::Wdk::Storage::FileSystem::{
        FILE_DELETE_ON_CLOSE as DELETE_ON_CLOSE, FILE_DIRECTORY_FILE as DIRECTORY,
        FILE_NON_DIRECTORY_FILE as NON_DIRECTORY, FILE_OPEN_FOR_BACKUP_INTENT as FOR_BACKUP_INTENT,
        FILE_OPEN_REPARSE_POINT as REPARSE_POINT,
    };
}

/// Create dispositions.
pub mod disposition {
    pub use windows_sys::Wdk::Storage::FileSystem::{
        FILE_CREATE as CREATE, FILE_OPEN as OPEN, FILE_OPEN_IF as OPEN_IF,
        FILE_OVERWRITE as OVERWRITE, FILE_OVERWRITE_IF as OVERWRITE_IF,
        FILE_SUPERSEDE as SUPERSEDE,
    };
}

/// How to open.
#[derive(Clone, Copy, Debug)]
pub struct How {
    /// Rights ([`access`]); SYNCHRONIZE is added.
    pub access: u32,
    /// Attributes of a file that is made.
    pub attributes: u32,
    /// FILE_SHARE_*; read, write and delete by default.
    pub share: u32,
    /// What to do if it is there, or not ([`disposition`]).
    pub disposition: u32,
    /// Options ([`options`]); FILE_SYNCHRONOUS_IO_NONALERT is added.
    pub options: u32,
    /// Names differ by their case.
    pub case_sensitive: bool,
}

impl How {
    /// Opens what is there, file or folder, to read its attributes.
    #[must_use]
    pub const fn existing() -> Self {
        Self {
            access: win::FILE_READ_ATTRIBUTES,
            attributes: win::FILE_ATTRIBUTE_NORMAL,
            share: win::FILE_SHARE_READ | win::FILE_SHARE_WRITE | win::FILE_SHARE_DELETE,
            disposition: wdk::FILE_OPEN,
            options: 0,
            case_sensitive: false,
        }
    }

    /// Opens a folder to list it, or to start relative names from.
    #[must_use]
    pub const fn folder() -> Self {
        Self {
            access: win::FILE_LIST_DIRECTORY | win::FILE_READ_ATTRIBUTES,
            options: wdk::FILE_DIRECTORY_FILE,
            ..Self::existing()
        }
    }
}

/// An open file or folder.
#[derive(Debug)]
pub struct File(OwnedHandle);

/// What an open gave.
#[derive(Debug)]
pub struct Opened {
    /// What was opened.
    pub file: File,
    /// The status: success, or a status that is none and no failure either.
    pub status: NtStatus,
    /// What was done: FILE_OPENED, FILE_CREATED and so on.
    pub information: usize,
}

/// NtCreateFile: `name` as the object manager takes it (`\??\UNC\server\share\file`), or relative to `root`.
///
/// # Errors
/// The status.
pub fn create(name: &Wide, root: Option<&File>, how: &How) -> NtResult<Opened> {
    let counted = name.counted();
    let attributes = attributes(&counted, root, how.case_sensitive);
    let (mut handle, mut block): (HANDLE, _) = (ptr::null_mut(), IO_STATUS_BLOCK::default());
    // SAFETY: `attributes` names a counted string and a root that both live on; handle and block are written; no extended attributes.
    let status = unsafe {
        wdk::NtCreateFile(
            &raw mut handle,
            how.access | win::SYNCHRONIZE,
            &raw const attributes,
            &raw mut block,
            ptr::null(),
            how.attributes,
            how.share,
            how.disposition,
            how.options | wdk::FILE_SYNCHRONOUS_IO_NONALERT,
            ptr::null(),
            0,
        )
    };
    let status = succeeded(status)?;
    // SAFETY: the call has succeeded and given a handle that is ours to close.
    let handle = unsafe { OwnedHandle::from_raw_handle(handle) };
    let file = File(handle);
    let information = block.Information;
    Ok(Opened {
        file,
        status,
        information,
    })
}

/// NtQueryAttributesFile: the attributes of what has that name, without a handle. This is the call of the published nested open.
///
/// # Errors
/// The status.
pub fn query_attributes(name: &Wide, root: Option<&File>) -> NtResult<u32> {
    windows_link::link!("ntdll.dll" "system" fn NtQueryAttributesFile(attributes: *const OBJECT_ATTRIBUTES, information: *mut wdk::FILE_BASIC_INFORMATION) -> i32);

    let counted = name.counted();
    let attributes = attributes(&counted, root, false);
    let mut basic = wdk::FILE_BASIC_INFORMATION::default();
    // SAFETY: as for NtCreateFile; `basic` is written.
    let status = unsafe { NtQueryAttributesFile(&raw const attributes, &raw mut basic) };
    succeeded(status).map(|_| basic.FileAttributes)
}

fn attributes(
    name: &UNICODE_STRING,
    root: Option<&File>,
    case_sensitive: bool,
) -> OBJECT_ATTRIBUTES {
    OBJECT_ATTRIBUTES {
        Length: u32::try_from(size_of::<OBJECT_ATTRIBUTES>()).unwrap_or(0),
        RootDirectory: root.map_or(ptr::null_mut(), |root| root.0.as_raw_handle()),
        ObjectName: name,
        Attributes: if case_sensitive {
            0
        } else {
            OBJ_CASE_INSENSITIVE
        },
        SecurityDescriptor: ptr::null(),
        SecurityQualityOfService: ptr::null(),
    }
}

impl File {
    /// NtClose, with its status, which a mere drop does not show.
    ///
    /// # Errors
    /// The status.
    pub fn close(self) -> NtResult<()> {
        use std::os::windows::io::IntoRawHandle as _;
        // SAFETY: the handle is ours, and given up here.
        let status = unsafe { windows_sys::Wdk::Foundation::NtClose(self.0.into_raw_handle()) };
        succeeded(status).map(drop)
    }

    /// The handle as a number, to name the file by.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.0.as_raw_handle().addr() as u64
    }

    /// NtReadFile from a place; gives how many bytes were read.
    ///
    /// # Errors
    /// The status; STATUS_END_OF_FILE behind the end.
    pub fn read(&self, at: i64, into: &mut [u8]) -> NtResult<usize> {
        let mut block = IO_STATUS_BLOCK::default();
        let length = u32::try_from(into.len()).unwrap_or(u32::MAX);
        // SAFETY: the handle is synchronous, so buffer and block are in use only until this returns.
        let status = unsafe {
            wdk::NtReadFile(
                self.raw(),
                ptr::null_mut(),
                None,
                ptr::null(),
                &raw mut block,
                into.as_mut_ptr().cast(),
                length,
                &raw const at,
                ptr::null(),
            )
        };
        succeeded(status).map(|_| block.Information)
    }

    /// NtWriteFile at a place; gives how many bytes were written.
    ///
    /// # Errors
    /// The status.
    pub fn write(&self, at: i64, from: &[u8]) -> NtResult<usize> {
        let mut block = IO_STATUS_BLOCK::default();
        let length = u32::try_from(from.len()).unwrap_or(u32::MAX);
        // SAFETY: the handle is synchronous, so buffer and block are in use only until this returns.
        let status = unsafe {
            wdk::NtWriteFile(
                self.raw(),
                ptr::null_mut(),
                None,
                ptr::null(),
                &raw mut block,
                from.as_ptr().cast(),
                length,
                &raw const at,
                ptr::null(),
            )
        };
        succeeded(status).map(|_| block.Information)
    }

    /// NtSetInformationFile(FileRenameInformation): a new name, full or relative to `root`. Needs [`access::DELETE`].
    ///
    /// # Errors
    /// The status.
    pub fn rename(&self, to: &Wide, root: Option<&Self>, replace: bool) -> NtResult<()> {
        let root = root.map_or(0, |root| root.0.as_raw_handle().addr() as u64);
        let name = to.units();
        // FILE_RENAME_INFORMATION: a flag padded to 8 bytes, the root, the name's length in bytes, the name.
        let mut words = vec![u64::from(replace), root];
        let mut bytes = u32::try_from(name.len() * 2)
            .unwrap_or(u32::MAX)
            .to_le_bytes()
            .to_vec();
        bytes.extend(name.iter().flat_map(|unit| unit.to_le_bytes()));
        let length = 16 + bytes.len();
        words.extend(bytes.chunks(8).map(|chunk| {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            u64::from_le_bytes(word)
        }));
        self.set(wdk::FileRenameInformation, &words, length)
    }

    /// NtSetInformationFile(FileDispositionInformation): it goes when its last handle does. Needs [`access::DELETE`].
    ///
    /// # Errors
    /// The status.
    pub fn delete(&self) -> NtResult<()> {
        self.set(wdk::FileDispositionInformation, &[1], 1)
    }

    fn set(
        &self,
        class: wdk::FILE_INFORMATION_CLASS,
        words: &[u64],
        length: usize,
    ) -> NtResult<()> {
        let mut block = IO_STATUS_BLOCK::default();
        let length = u32::try_from(length.min(size_of_val(words))).unwrap_or(0);
        // SAFETY: `words` hold at least `length` bytes, aligned as any of these structures is.
        let status = unsafe {
            wdk::NtSetInformationFile(
                self.raw(),
                &raw mut block,
                words.as_ptr().cast(),
                length,
                class,
            )
        };
        succeeded(status).map(drop)
    }

    pub(super) fn raw(&self) -> HANDLE {
        self.0.as_raw_handle()
    }
}

impl AsHandle for File {
    fn as_handle(&self) -> BorrowedHandle<'_> {
        self.0.as_handle()
    }
}

/// NT_SUCCESS or the status. With synchronous handles none of these calls returns STATUS_PENDING.
fn succeeded(status: i32) -> NtResult<NtStatus> {
    let status = NtStatus(status.cast_unsigned());
    if status.is_success() {
        Ok(status)
    } else {
        Err(status)
    }
}

#[cfg(test)]
mod tests;
