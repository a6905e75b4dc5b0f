//! An open file, asked about and closed.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use rustix::fs::Stat;

use super::folder;
use super::links::{Link, Place};
use super::listing::Listing;
use super::open::{OpenFile, State, Tree};
use super::reparse::ReparseData;
use super::sharing::FileId;
use super::watch::{Action, CHANGE_STREAM_NAME};
use crate::abi::file::{
    FILE_ATTRIBUTE_DIRECTORY, FILE_ATTRIBUTE_READONLY, FILE_ATTRIBUTE_REPARSE_POINT,
};

/// How long a file's own data are, and how many bytes they take.
pub(super) fn size_of(stat: &Stat) -> (i64, i64) {
    (stat.st_size, stat.st_blocks * 512)
}

impl OpenFile {
    /// A directory that no folder of the host stands for: a DFS root, or the way to a link. `names`: what is in it.
    pub(crate) fn virtual_directory(names: Vec<String>) -> Arc<Self> {
        Arc::new(Self {
            tree: None,
            fd: None,
            data: OnceLock::new(),
            id: None,
            file_id: None,
            stream: None,
            directory: true,
            access: 0,
            transaction: 0,
            found_size: None,
            state: Mutex::default(),
            listing: Mutex::new(Some(Listing::of_names(names))),
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes what is known of the open.
    pub(super) fn change_state(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.lock());
    }

    /// Runs `with` on the place where an enumeration of the directory is kept.
    pub(super) fn with_listing<R>(&self, with: impl FnOnce(&mut Option<Listing>) -> R) -> R {
        with(&mut self.listing.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The rights that it was opened with.
    pub(crate) fn access(&self) -> u32 {
        self.access
    }

    /// Its attributes.
    pub(crate) fn attributes(&self) -> u32 {
        let Some(stat) = self.stat() else {
            return FILE_ATTRIBUTE_DIRECTORY;
        };
        self.attributes_of(&stat)
    }

    pub(super) fn attributes_of(&self, stat: &Stat) -> u32 {
        self.tree
            .as_ref()
            .map_or_else(|| folder::attributes(stat), |tree| tree.attributes(stat))
    }

    /// Its reparse tag; 0 if it is no reparse point.
    pub(crate) fn reparse_tag(&self) -> u32 {
        self.reparse().map_or(0, |data| data.tag())
    }

    /// What it holds as a reparse point.
    pub(crate) fn reparse(&self) -> Option<ReparseData> {
        let (fd, tree) = (self.fd.as_ref()?, self.tree.as_ref()?);
        folder::reparse_of(fd, &self.stat()?, &tree.notes).ok()?
    }

    /// What tells its stream from others; `None` for a directory that is not the host's.
    pub(crate) fn id(&self) -> Option<FileId> {
        self.id
    }

    /// What tells its file from others, whichever stream of it this is.
    pub(crate) fn file_id(&self) -> Option<FileId> {
        self.file_id
    }

    /// The name of the named stream that it is.
    pub(crate) fn stream_name(&self) -> Option<String> {
        self.stream.as_ref().map(|stream| stream.name())
    }

    /// How long its data are, and how many bytes they take; of a directory neither.
    pub(crate) fn size(&self) -> (i64, i64) {
        match &self.stream {
            Some(stream) => stream.size(),
            None if self.directory => (0, 0),
            None => self.stat().map_or((0, 0), |stat| size_of(&stat)),
        }
    }

    /// The same as of its open, which mostly costs no call of the host's.
    pub(crate) fn size_when_opened(&self) -> (i64, i64) {
        self.found_size.unwrap_or_else(|| self.size())
    }

    /// The file's streams with their lengths, its own data first.
    pub(crate) fn streams(&self) -> Vec<(String, (i64, i64))> {
        let (Some(stat), Some(id), Some(tree)) = (self.stat(), self.file_id, &self.tree) else {
            return Vec::new();
        };
        let mut streams = Vec::new();
        if folder::attributes(&stat) & FILE_ATTRIBUTE_DIRECTORY == 0 {
            streams.push((String::new(), size_of(&stat)));
        }
        let named = tree.notes.streams(id);
        streams.extend(named.iter().map(|stream| (stream.name(), stream.size())));
        streams
    }

    /// Whether its clean-up took it away: it can be asked about no more.
    pub(crate) fn is_deleted(&self) -> bool {
        self.lock().deleted
    }

    /// Whether it is a directory.
    pub(crate) fn is_directory(&self) -> bool {
        self.directory
    }

    /// Whether its last close deletes it.
    pub(crate) fn delete_pending(&self) -> bool {
        let pending = match &self.stream {
            Some(stream) => stream.delete_pending(),
            None => self.with_link(Link::delete_pending).unwrap_or(false),
        };
        pending || self.lock().delete_on_close
    }

    /// Runs `look` on the name that it was opened by; `None`: it is the root, or has been cleaned up.
    pub(super) fn with_link<R>(&self, look: impl FnOnce(&Link) -> R) -> Option<R> {
        self.lock().link.as_ref().map(look)
    }

    /// Whether it was renamed while it was open.
    pub(crate) fn was_moved(&self) -> bool {
        self.with_link(Link::was_moved).unwrap_or(false)
    }

    /// Where it is now; `None`: it is the root, or has been cleaned up.
    pub(crate) fn place(&self) -> Option<Place> {
        self.with_link(Link::place).flatten()
    }

    /// The volume or share that it is on.
    pub(crate) fn tree(&self) -> Option<&Arc<Tree>> {
        self.tree.as_ref()
    }

    /// The last handle is closed: it leaves the share table and, if so asked, is deleted. It can still be asked about.
    pub(crate) fn clean_up(&self) {
        let mut state = self.lock();
        let hold = state.hold.take();
        let link = state.link.take();
        let delete = std::mem::take(&mut state.delete_on_close);
        let posix = state.posix;
        drop(state);
        drop(hold);
        let Some(link) = link else {
            self.leave_stream(delete, None);
            return;
        };
        self.leave_stream(delete, link.place().as_ref());
        if delete && self.stream.is_none() {
            link.set_delete(true);
        }
        if let Some(place) = link.leave(posix) {
            let last = self.stat().is_some_and(|stat| stat.st_nlink <= 1) || self.directory;
            // A directory that has been filled meanwhile stays, as on Windows, and nobody is left to be told.
            let directory = self
                .stat()
                .is_some_and(|stat| folder::attributes(&stat) & FILE_ATTRIBUTE_DIRECTORY != 0);
            self.keep_all(&place);
            let gone = folder::remove(&place.parent, &place.name, directory).is_ok();
            self.lock().deleted |= gone;
            if gone {
                self.tell_at(&place, self.name_kind(), Action::Removed);
            }
            if let (true, true, Some(tree), Some(id)) = (gone, last, &self.tree, self.file_id) {
                tree.notes.forget(id);
            }
        }
    }

    /// Its part in a named stream ends, and with the last one what was to be deleted goes.
    fn leave_stream(&self, delete: bool, place: Option<&Place>) {
        let mut state = self.lock();
        let Some(stream) = self.stream.as_ref().filter(|_| !state.left) else {
            return;
        };
        state.left = true;
        if delete {
            stream.set_delete(true);
        }
        if stream.leave() {
            state.deleted = true;
            drop(state);
            if let (Some(tree), Some(id)) = (&self.tree, self.file_id) {
                tree.notes.remove_stream(id, stream);
            }
            if let Some(place) = place {
                self.tell_at(place, CHANGE_STREAM_NAME, Action::RemovedStream);
            }
        }
    }

    /// Something is about to be known of it that the host does not keep.
    pub(crate) fn pin(&self) {
        if let (Some(tree), Some(id), Some(fd)) = (&self.tree, self.file_id, &self.fd) {
            tree.notes.pin(id, fd);
        }
    }

    /// What the host says of its file now; `None` for a directory that is not the host's.
    pub(crate) fn stat(&self) -> Option<Stat> {
        self.fd.as_ref().and_then(|fd| rustix::fs::fstat(fd).ok())
    }
}

impl Tree {
    /// When a file was made, if that was set.
    pub(crate) fn created(&self, id: FileId) -> Option<i64> {
        self.notes.get(id).created
    }

    /// The attributes of what the host describes so.
    pub(super) fn attributes(&self, stat: &Stat) -> u32 {
        let host = folder::attributes(stat);
        let note = self.notes.get((stat.st_dev, stat.st_ino));
        let mut attributes = host;
        if let Some(set) = note.attributes {
            let kept = FILE_ATTRIBUTE_DIRECTORY | FILE_ATTRIBUTE_READONLY;
            attributes = host & (kept | FILE_ATTRIBUTE_REPARSE_POINT) | set & !kept;
        }
        if note.reparse.is_some() {
            attributes |= FILE_ATTRIBUTE_REPARSE_POINT;
        }
        attributes
    }
}

impl Drop for OpenFile {
    fn drop(&mut self) {
        self.clean_up();
    }
}
