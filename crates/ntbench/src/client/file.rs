//! System calls on open files, typed: what a program would do with the handle that `NtCreateFile` gave it.

use super::link::protocol;
use super::reparse::{ReparsePoint, wide};
use super::{MachineError, Thread};
use crate::wire::{FileCall, IoCall, NtStatus, Reply, Request, SystemCall, Transferred};

/// `FileIdBothDirectoryInformation`, the class by which Windows' own shells list.
const ID_BOTH: u32 = 37;
/// How many bytes one query of a listing may bring.
const LISTING: u32 = 64 << 10;
const RENAME: u32 = 10;
const LINK: u32 = 11;
const DISPOSITION: u32 = 13;
const SET_REPARSE_POINT: u32 = 0x0009_00A4;
const GET_REPARSE_POINT: u32 = 0x0009_00A8;
const DELETE_REPARSE_POINT: u32 = 0x0009_00AC;

/// An entry of a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirectoryEntry {
    /// Its name.
    pub name: String,
    /// `FileAttributes`.
    pub attributes: u32,
    /// `EndOfFile`.
    pub end_of_file: i64,
    /// `FileId`.
    pub id: u64,
    /// Its reparse tag; 0: none.
    pub tag: u32,
}

fn entries(data: &[u8]) -> Vec<DirectoryEntry> {
    let mut found = Vec::new();
    let mut at = 0;
    loop {
        let entry = data.get(at..).unwrap_or_default();
        let long = |at: usize| {
            let bytes = entry.get(at..).and_then(|rest| rest.first_chunk());
            bytes.map_or(0, |bytes| u32::from_le_bytes(*bytes))
        };
        let quad = |at: usize| {
            let bytes = entry.get(at..).and_then(|rest| rest.first_chunk());
            bytes.map_or(0, |bytes| u64::from_le_bytes(*bytes))
        };
        let Some(name) = entry.get(104..104 + long(60) as usize) else {
            return found;
        };
        let units = name.chunks_exact(2).map(|pair| [pair[0], pair[1]]);
        let units: Vec<u16> = units.map(u16::from_le_bytes).collect();
        let attributes = long(56);
        found.push(DirectoryEntry {
            name: String::from_utf16_lossy(&units),
            attributes,
            end_of_file: quad(40).cast_signed(),
            id: quad(96),
            // The size of extended attributes gives way to the tag.
            tag: if attributes & 0x400 != 0 { long(64) } else { 0 },
        });
        match long(0) as usize {
            0 => return found,
            next => at += next,
        }
    }
}

/// `FILE_RENAME_INFORMATION` and `FILE_LINK_INFORMATION`.
fn target(name: &str, root: u64, replace: bool) -> Vec<u8> {
    let name = wide(name);
    let mut bytes = u64::from(replace).to_le_bytes().to_vec();
    bytes.extend(root.to_le_bytes());
    bytes.extend(u32::try_from(name.len()).unwrap_or(u32::MAX).to_le_bytes());
    bytes.extend(name);
    bytes
}

impl Thread {
    /// A call on an open file.
    ///
    /// # Errors
    /// When the machine dies of it. A failed call is no error but a status.
    pub fn file(&self, handle: u64, call: FileCall) -> Result<Transferred, MachineError> {
        let call = SystemCall::File(IoCall { handle, call });
        match self.link.ask(Request::SystemCall {
            thread: self.info.thread,
            call,
        })? {
            Reply::Transferred(done) => Ok(done),
            other => Err(protocol("SystemCall", &other)),
        }
    }

    /// `NtReadFile`. `offset`: `None` reads where a file opened for synchronous I/O is.
    ///
    /// # Errors
    /// When the machine dies of it.
    pub fn read(
        &self,
        handle: u64,
        offset: Option<i64>,
        length: u32,
    ) -> Result<Transferred, MachineError> {
        let paging = false;
        self.file(
            handle,
            FileCall::Read {
                length,
                offset,
                paging,
            },
        )
    }

    /// `NtWriteFile`.
    ///
    /// # Errors
    /// When the machine dies of it.
    pub fn write(
        &self,
        handle: u64,
        offset: Option<i64>,
        data: &[u8],
    ) -> Result<Transferred, MachineError> {
        let data = data.to_vec();
        self.file(
            handle,
            FileCall::Write {
                data,
                offset,
                paging: false,
            },
        )
    }

    /// `NtQueryInformationFile`.
    ///
    /// # Errors
    /// When the machine dies of it.
    pub fn query_information(
        &self,
        handle: u64,
        class: u32,
        length: u32,
    ) -> Result<Transferred, MachineError> {
        self.file(handle, FileCall::QueryInformation { class, length })
    }

    /// `NtSetInformationFile`.
    ///
    /// # Errors
    /// When the machine dies of it.
    pub fn set_information(
        &self,
        handle: u64,
        class: u32,
        data: &[u8],
    ) -> Result<Transferred, MachineError> {
        let data = data.to_vec();
        self.file(handle, FileCall::SetInformation { class, data })
    }

    /// Renames (`FileRenameInformation`): to a name in the same directory, relative to the open directory `root`, or to a
    /// whole object name. The handle needs the right to delete.
    ///
    /// # Errors
    /// When the machine dies of it.
    pub fn rename(
        &self,
        handle: u64,
        name: &str,
        root: u64,
        replace: bool,
    ) -> Result<Transferred, MachineError> {
        self.set_information(handle, RENAME, &target(name, root, replace))
    }

    /// Makes a hard link (`FileLinkInformation`); `name` and `root` as in [`rename`](Self::rename).
    ///
    /// # Errors
    /// When the machine dies of it.
    pub fn hard_link(
        &self,
        handle: u64,
        name: &str,
        root: u64,
        replace: bool,
    ) -> Result<Transferred, MachineError> {
        self.set_information(handle, LINK, &target(name, root, replace))
    }

    /// Has the last close delete the file (`FileDispositionInformation`), or takes that back.
    ///
    /// # Errors
    /// When the machine dies of it.
    pub fn set_delete(&self, handle: u64, delete: bool) -> Result<Transferred, MachineError> {
        self.set_information(handle, DISPOSITION, &[u8::from(delete)])
    }

    /// `NtQueryDirectoryFile`.
    ///
    /// # Errors
    /// When the machine dies of it.
    pub fn query_directory(
        &self,
        handle: u64,
        class: u32,
        length: u32,
        pattern: Option<&str>,
        restart: bool,
        single: bool,
    ) -> Result<Transferred, MachineError> {
        let pattern = pattern.map(str::to_owned);
        self.file(
            handle,
            FileCall::QueryDirectory {
                class,
                length,
                pattern,
                restart,
                single,
            },
        )
    }

    /// Lists a directory from its beginning, as shells do: `FileIdBothDirectoryInformation` until there are no more files.
    /// The handle needs the right to list (`FILE_LIST_DIRECTORY`, 1). The status is that of the first query which was not
    /// `STATUS_NO_MORE_FILES`, a success where the listing is whole.
    ///
    /// # Errors
    /// When the machine dies of it.
    pub fn list_directory(
        &self,
        handle: u64,
        pattern: Option<&str>,
    ) -> Result<(NtStatus, Vec<DirectoryEntry>), MachineError> {
        let mut found = Vec::new();
        let mut restart = true;
        loop {
            let done = self.query_directory(handle, ID_BOTH, LISTING, pattern, restart, false)?;
            match done.status {
                NtStatus::SUCCESS => found.extend(entries(&done.data)),
                NtStatus::NO_MORE_FILES => return Ok((NtStatus::SUCCESS, found)),
                status => return Ok((status, found)),
            }
            restart = false;
        }
    }

    /// `NtFsControlFile`.
    ///
    /// # Errors
    /// When the machine dies of it.
    pub fn fs_control(
        &self,
        handle: u64,
        code: u32,
        input: &[u8],
        output: u32,
    ) -> Result<Transferred, MachineError> {
        let input = input.to_vec();
        self.file(
            handle,
            FileCall::FsControl {
                code,
                input,
                output,
            },
        )
    }

    /// `NtDeviceIoControlFile`: asks the driver of the device that a handle is open on. A device is opened as a file is, by
    /// [`create_file`](Self::create_file) with the name that programs know (`\??\Name` for `\\.\Name`) or the device's own
    /// (`\Device\Name`). The call waits until the request is completed; [`cancel_io`](Self::cancel_io) or closing the handle
    /// from another thread ends a wait.
    ///
    /// # Errors
    /// When the machine dies of it.
    pub fn device_control(
        &self,
        handle: u64,
        code: u32,
        input: &[u8],
        output: u32,
    ) -> Result<Transferred, MachineError> {
        let input = input.to_vec();
        self.file(
            handle,
            FileCall::DeviceControl {
                code,
                input,
                output,
            },
        )
    }

    /// Makes a file or an empty directory a reparse point. The handle, opened with `FILE_OPEN_REPARSE_POINT`, needs a right
    /// to write data or attributes (`FILE_WRITE_ATTRIBUTES`, 0x100).
    ///
    /// # Errors
    /// When the machine dies of it.
    pub fn set_reparse(
        &self,
        handle: u64,
        point: &ReparsePoint,
    ) -> Result<Transferred, MachineError> {
        self.fs_control(handle, SET_REPARSE_POINT, &point.bytes(), 0)
    }

    /// What a reparse point holds, in the answer's data ([`ReparsePoint::parse`]).
    ///
    /// # Errors
    /// When the machine dies of it.
    pub fn get_reparse(&self, handle: u64) -> Result<Transferred, MachineError> {
        self.fs_control(handle, GET_REPARSE_POINT, &[], 16 << 10)
    }

    /// Makes a reparse point an ordinary file again.
    ///
    /// # Errors
    /// When the machine dies of it.
    pub fn delete_reparse(&self, handle: u64, tag: u32) -> Result<Transferred, MachineError> {
        let mut header = tag.to_le_bytes().to_vec();
        header.extend([0; 4]);
        self.fs_control(handle, DELETE_REPARSE_POINT, &header, 0)
    }

    /// `NtQueryVolumeInformationFile`.
    ///
    /// # Errors
    /// When the machine dies of it.
    pub fn query_volume(
        &self,
        handle: u64,
        class: u32,
        length: u32,
    ) -> Result<Transferred, MachineError> {
        self.file(handle, FileCall::QueryVolume { class, length })
    }
}
