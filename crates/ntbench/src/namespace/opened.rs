//! An open file, asked about and closed.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use rustix::fs::Stat;

use super::folder;
use super::links::{Link, Place};
use super::listing::Listing;
use super::open::{OpenFile, State, Tree};
use super::reparse::ReparseData;
use super::sharing::FileId;
use crate::abi::file::{
    FILE_ATTRIBUTE_DIRECTORY, FILE_ATTRIBUTE_READONLY, FILE_ATTRIBUTE_REPARSE_POINT,
};

impl OpenFile {
    /// A directory that no folder of the host stands for: a DFS root, or the way to a link. `names`: what is in it.
    pub(crate) fn virtual_directory(names: Vec<String>) -> Self {
        Self {
            tree: None,
            fd: None,
            data: OnceLock::new(),
            id: None,
            directory: true,
            access: 0,
            state: Mutex::default(),
            listing: Mutex::new(Some(Listing::of_names(names))),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
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

    /// What tells it from other files; `None` for a directory that is not the host's.
    pub(crate) fn id(&self) -> Option<FileId> {
        self.id
    }

    /// Whether it is a directory.
    pub(crate) fn is_directory(&self) -> bool {
        self.directory
    }

    /// Whether its last close deletes it.
    pub(crate) fn delete_pending(&self) -> bool {
        self.with_link(Link::delete_pending).unwrap_or(false) || self.lock().delete_on_close
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
        drop(state);
        drop(hold);
        let Some(link) = link else { return };
        if delete {
            link.set_delete(true);
        }
        if let Some(place) = link.leave() {
            let last = self.stat().is_some_and(|stat| stat.st_nlink <= 1) || self.directory;
            // A directory that has been filled meanwhile stays, as on Windows, and nobody is left to be told.
            let gone = folder::remove(&place.parent, &place.name, self.directory).is_ok();
            if let (true, true, Some(tree), Some(id)) = (gone, last, &self.tree, self.id) {
                tree.notes.forget(id);
            }
        }
    }

    /// What the host says of it now; `None` for a directory that is not the host's.
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
