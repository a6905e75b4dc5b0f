//! What a notification of changes in a directory tells (MS-FSCC 2.7.1).

use std::fmt;

use super::{MachineError, Thread};
use crate::wire::{FileCall, Transferred};

/// Something that changed in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirectoryChange {
    /// `FILE_ACTION_…`.
    pub action: u32,
    /// The name, relative to the directory that is watched.
    pub name: String,
}

impl DirectoryChange {
    /// The changes in a notification's data; `extended`: they are `FILE_NOTIFY_EXTENDED_INFORMATION`.
    #[must_use]
    pub fn list(data: &[u8], extended: bool) -> Vec<Self> {
        let length_at = if extended { 80 } else { 8 };
        let mut found = Vec::new();
        let mut at = 0;
        while let Some(record) = data.get(at..) {
            let word = |at: usize| {
                let bytes = record.get(at..).and_then(|rest| rest.first_chunk());
                bytes.map(|bytes| u32::from_le_bytes(*bytes))
            };
            let (Some(next), Some(action), Some(length)) = (word(0), word(4), word(length_at))
            else {
                break;
            };
            let begin = length_at + 4;
            let Some(name) = record.get(begin..begin + length as usize) else {
                break;
            };
            let units = name.chunks_exact(2).map(|pair| [pair[0], pair[1]]);
            let units: Vec<u16> = units.map(u16::from_le_bytes).collect();
            found.push(Self {
                action,
                name: String::from_utf16_lossy(&units),
            });
            if next == 0 {
                break;
            }
            at += next as usize;
        }
        found
    }
}

impl fmt::Display for DirectoryChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let action = match self.action {
            1 => "added",
            2 => "removed",
            3 => "modified",
            4 => "renamed from",
            5 => "renamed to",
            6 => "added stream",
            7 => "removed stream",
            8 => "modified stream",
            other => return write!(f, "action {other} {}", self.name),
        };
        write!(f, "{action} {}", self.name)
    }
}

impl Thread {
    /// `NtNotifyChangeDirectoryFile`: waits until something changes in the directory that `handle` is open on, or until
    /// another thread ends the wait ([`cancel_io`](Self::cancel_io), or the handle's close). The handle needs the right to list
    /// (`FILE_LIST_DIRECTORY`, 1). What the data hold, [`DirectoryChange::list`] tells.
    ///
    /// # Errors
    /// When the machine dies of it.
    pub fn watch_directory(
        &self,
        handle: u64,
        filter: u32,
        tree: bool,
        length: u32,
    ) -> Result<Transferred, MachineError> {
        let call = FileCall::NotifyDirectory {
            filter,
            length,
            tree,
            extended: false,
            wait: true,
        };
        self.file(handle, call)
    }
}
