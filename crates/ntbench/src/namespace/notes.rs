//! What a volume keeps of a file that the host's file system cannot: reparse data, attributes that only Windows has, the
//! time of creation, named streams. By the host's device and inode, for as long as the machine runs.

use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::eas::Ea;
use super::reparse::ReparseData;
use super::sharing::FileId;
use super::streams::Stream;
use crate::maps::HashMap;

/// What is kept of one file.
#[derive(Clone, Debug, Default)]
pub(crate) struct Note {
    /// What was set with `FSCTL_SET_REPARSE_POINT`.
    pub(crate) reparse: Option<ReparseData>,
    /// Attributes that were set, without those that the host keeps.
    pub(crate) attributes: Option<u32>,
    /// `CreationTime`, in 100 ns since 1601.
    pub(crate) created: Option<i64>,
    /// Owner, group and list of its security descriptor, where they were set.
    pub(crate) security: [Option<Vec<u8>>; 3],
    /// Its extended attributes, in the order in which they were set.
    pub(super) eas: Vec<Ea>,
    /// Its named streams.
    pub(super) streams: Vec<Arc<Stream>>,
    /// Keeps the host from giving the file's number to another one, whoever deletes it.
    pin: Option<Arc<OwnedFd>>,
}

/// The notes of one volume.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    files: Mutex<HashMap<FileId, Note>>,
    /// Whether a file was ever made a reparse point.
    reparse_points: AtomicBool,
}

impl Notes {
    fn lock(&self) -> MutexGuard<'_, HashMap<FileId, Note>> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is known of a file.
    pub(crate) fn get(&self, id: FileId) -> Note {
        self.lock().get(&id).cloned().unwrap_or_default()
    }

    /// The reparse data that was set.
    pub(crate) fn reparse(&self, id: FileId) -> Option<ReparseData> {
        self.lock().get(&id).and_then(|note| note.reparse.clone())
    }

    /// Begins to know something of the file that `fd` stands for: until it is forgotten no other has its number.
    pub(super) fn pin(&self, id: FileId, fd: &OwnedFd) {
        // Where the host has no descriptor left, the note may outlive its file.
        self.change(id, |note| {
            if note.pin.is_none() {
                note.pin = fd.try_clone().ok().map(Arc::new);
            }
        });
    }

    /// Whether there may be reparse points that the host knows nothing of.
    pub(crate) fn has_reparse_points(&self) -> bool {
        self.reparse_points.load(Ordering::Acquire)
    }

    /// Changes what is known.
    pub(crate) fn change<R>(&self, id: FileId, change: impl FnOnce(&mut Note) -> R) -> R {
        let mut files = self.lock();
        let note = files.entry(id).or_default();
        let changed = change(note);
        if note.reparse.is_some() {
            self.reparse_points.store(true, Ordering::Release);
        }
        changed
    }

    /// The file is gone; the host may use its inode again.
    pub(crate) fn forget(&self, id: FileId) {
        self.lock().remove(&id);
    }
}
