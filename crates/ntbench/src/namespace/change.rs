//! What is done to names: rename, hard link, deletion; and to what a name stands for: reparse points.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{self, AtFlags, RenameFlags};

use super::contents::is_symlink;
use super::folder::{self, refused};
use super::links::{Link, Place};
use super::names;
use super::open::OpenFile;
use super::reparse::ReparseData;
use super::undo;
use super::watch::{Action, CHANGE_ATTRIBUTES, CHANGE_FILE_NAME, CHANGE_STREAM_NAME, Change};
use crate::abi::file::FILE_ATTRIBUTE_READONLY;
use crate::abi::status::{self, NtStatus};

/// Renames so far: what was known of names before one may be wrong.
static RENAMES: AtomicU64 = AtomicU64::new(0);

/// How many renames there were.
pub(crate) fn renames() -> u64 {
    RENAMES.load(Ordering::Acquire)
}

/// Names are others now.
pub(super) fn names_changed() {
    RENAMES.fetch_add(1, Ordering::AcqRel);
}

impl OpenFile {
    /// Where `name` would be in the directory that this is.
    fn place_below(&self, name: &str) -> Result<Place, NtStatus> {
        let fd = self.fd.as_ref().filter(|_| self.is_directory());
        let fd = fd.ok_or(NtStatus::NOT_A_DIRECTORY)?;
        let mut components = self
            .place()
            .map_or_else(Vec::new, |place| Arc::unwrap_or_clone(place.components));
        components.push(name.to_owned());
        let parent = fd
            .try_clone()
            .map_err(|_| NtStatus::INSUFFICIENT_RESOURCES)?;
        Ok(Place {
            parent: Arc::new(parent),
            name: name.to_owned(),
            components: Arc::new(components),
        })
    }

    /// The place of a rename's or link's target: `name` in the directory `target`, or in this file's own.
    fn target(&self, target: Option<&Self>, name: &str) -> Result<(Place, Place), NtStatus> {
        let from = self.place().ok_or(NtStatus::INVALID_PARAMETER)?;
        let to = match target {
            Some(directory) => {
                let same = match (self.tree(), directory.tree()) {
                    (Some(ours), Some(theirs)) => Arc::ptr_eq(ours, theirs),
                    _ => false,
                };
                if !same {
                    return Err(NtStatus::NOT_SAME_DEVICE);
                }
                directory.place_below(name)?
            }
            None => {
                let mut components = Vec::clone(&from.components);
                components.pop();
                components.push(name.to_owned());
                Place {
                    parent: Arc::clone(&from.parent),
                    name: name.to_owned(),
                    components: Arc::new(components),
                }
            }
        };
        Ok((from, to))
    }

    /// What is at the target; whatever may not be replaced is refused.
    fn make_room(&self, from: &Place, to: &mut Place, replace: bool) -> Result<(), NtStatus> {
        let Some((name, fd, stat)) = folder::find(&to.parent, &to.name)? else {
            return Ok(());
        };
        let tree = self.tree().ok_or(NtStatus::INVALID_PARAMETER)?;
        let mut there = to.clone();
        there.name.clone_from(&name);
        if let Some(last) = Arc::make_mut(&mut there.components).last_mut() {
            last.clone_from(&name);
        }
        if there.components == from.components {
            // The same name, perhaps in another case.
            return Ok(());
        }
        drop(fd);
        let directory = fs::FileType::from_raw_mode(stat.st_mode) == fs::FileType::Directory;
        if !replace {
            return Err(NtStatus::OBJECT_NAME_COLLISION);
        }
        // Neither a directory nor what is open or read-only is replaced.
        if directory
            || tree.links.is_open(&there.components, false)
            || tree.attributes(&stat) & FILE_ATTRIBUTE_READONLY != 0
        {
            return Err(NtStatus::ACCESS_DENIED);
        }
        folder::remove(&to.parent, &name, false)?;
        self.tell_at(&there, CHANGE_FILE_NAME, Action::Removed);
        if stat.st_nlink <= 1 {
            tree.notes.forget((stat.st_dev, stat.st_ino));
        }
        Ok(())
    }

    /// Gives the file another name.
    pub(crate) fn rename(
        &self,
        target: Option<&Self>,
        name: &str,
        replace: bool,
    ) -> Result<(), NtStatus> {
        if self.stream.is_some() {
            // A stream has no place in a directory: it can only be given another name in its file.
            return Err(NtStatus::INVALID_PARAMETER);
        }
        let (from, mut to) = self.target(target, name)?;
        let tree = self.tree().ok_or(NtStatus::INVALID_PARAMETER)?;
        if self.is_directory() {
            if to.components.starts_with(from.components.as_slice())
                && to.components != from.components
            {
                return Err(NtStatus::INVALID_PARAMETER);
            }
            // NTFS renames no directory below which something is open.
            if tree.links.is_open(&from.components, true) {
                return Err(NtStatus::ACCESS_DENIED);
            }
        }
        self.make_room(&from, &mut to, replace)?;
        let flags = if names::same(&from.name, &to.name) {
            RenameFlags::empty()
        } else {
            RenameFlags::NOREPLACE
        };
        fs::renameat_with(
            &from.parent,
            from.name.as_str(),
            &to.parent,
            to.name.as_str(),
            flags,
        )
        .map_err(refused)?;
        self.keep_names(&from, &to);
        self.with_link(|link| link.moved(to.clone()));
        RENAMES.fetch_add(1, Ordering::AcqRel);
        self.tell_moved(&from, &to);
        Ok(())
    }

    /// Gives the file one more name.
    pub(crate) fn link(
        &self,
        target: Option<&Self>,
        name: &str,
        replace: bool,
    ) -> Result<(), NtStatus> {
        if self.is_directory() {
            return Err(NtStatus::FILE_IS_A_DIRECTORY);
        }
        if self.stream.is_some() {
            return Err(NtStatus::INVALID_PARAMETER);
        }
        let (from, mut to) = self.target(target, name)?;
        self.make_room(&from, &mut to, replace)?;
        fs::linkat(
            &from.parent,
            from.name.as_str(),
            &to.parent,
            to.name.as_str(),
            AtFlags::empty(),
        )
        .map_err(|errno| match errno {
            rustix::io::Errno::MLINK => status::TOO_MANY_LINKS,
            other => refused(other),
        })?;
        undo::made(self.transaction, &to, false);
        self.tell_at(&to, CHANGE_FILE_NAME, Action::Added);
        Ok(())
    }

    /// Tells of a rename: both names at once where the directory is the same, else one gone and one new (MS-FSA 2.1.5.15.12).
    fn tell_moved(&self, from: &Place, to: &Place) {
        let Some(tree) = self.tree().filter(|tree| tree.watches.any()) else {
            return;
        };
        let parent = |place: &Place| place.components.split_last().map(|(_, rest)| rest.to_vec());
        let actions = if parent(from) == parent(to) {
            [Action::RenamedOld, Action::RenamedNew]
        } else {
            [Action::Removed, Action::Added]
        };
        let kind = self.name_kind();
        tree.watches.tell(&[
            self.change(from, kind, actions[0]),
            self.change(to, kind, actions[1]),
        ]);
    }

    /// Gives a named stream another name in its file: what a rename to `:name` is.
    pub(crate) fn rename_stream(&self, name: &str, replace: bool) -> Result<(), NtStatus> {
        let (Some(stream), Some(id), Some(tree)) = (&self.stream, self.file_id(), self.tree())
        else {
            return Err(NtStatus::INVALID_PARAMETER);
        };
        let old = stream.name();
        tree.notes.rename_stream(id, stream, name, replace)?;
        RENAMES.fetch_add(1, Ordering::AcqRel);
        if let Some(place) = self.place().filter(|_| tree.watches.any()) {
            let gone = Change {
                stream: Some(old),
                ..self.change(&place, CHANGE_STREAM_NAME, Action::RemovedStream)
            };
            let new = self.change(&place, CHANGE_STREAM_NAME, Action::AddedStream);
            tree.watches.tell(&[gone, new]);
        }
        Ok(())
    }

    /// Whether the last close of this open deletes: what `FILE_DELETE_ON_CLOSE` asked for when it was made.
    pub(crate) fn set_delete_on_close(&self, delete: bool) {
        self.change_state(|state| state.delete_on_close = delete);
    }

    /// Asks for the deletion at the last close, or takes that back. `posix`: the name goes when this open does;
    /// `even_read_only`: whatever the attribute says.
    pub(crate) fn set_delete(
        &self,
        delete: bool,
        posix: bool,
        even_read_only: bool,
    ) -> Result<(), NtStatus> {
        if delete {
            let read_only = self.attributes() & FILE_ATTRIBUTE_READONLY != 0 && !even_read_only;
            if read_only || (self.place().is_none() && self.stream.is_none()) {
                return Err(NtStatus::CANNOT_DELETE);
            }
        }
        if let Some(stream) = &self.stream {
            stream.set_delete(delete);
            return Ok(());
        }
        if delete && self.reparse_tag() == 0 && !self.is_empty()? {
            return Err(NtStatus::DIRECTORY_NOT_EMPTY);
        }
        self.change_state(|state| state.posix = delete && posix);
        self.with_link(|link: &Link| link.set_delete(delete));
        if let Some(tree) = self.tree().filter(|_| delete && self.is_directory()) {
            tree.watches.deleted(self);
        }
        Ok(())
    }

    /// Whether it is no directory, or one without entries.
    fn is_empty(&self) -> Result<bool, NtStatus> {
        let Some(fd) = self.fd.as_ref().filter(|_| self.is_directory()) else {
            return Ok(true);
        };
        folder::is_empty(fd)
    }

    /// Makes it a reparse point, or changes what it holds.
    pub(crate) fn set_reparse(&self, data: ReparseData) -> Result<(), NtStatus> {
        let (Some(id), Some(tree), Some(stat)) = (self.file_id(), self.tree(), self.stat()) else {
            return Err(NtStatus::INVALID_DEVICE_REQUEST);
        };
        if self.place().is_none() {
            // The root of a volume is no reparse point.
            return Err(NtStatus::INVALID_PARAMETER);
        }
        if is_symlink(&stat) {
            // A link of the host's own keeps the text that it was made with.
            return Err(status::IO_REPARSE_TAG_MISMATCH);
        }
        if let Some(there) = tree.notes.reparse(id) {
            if there.tag() != data.tag() {
                return Err(status::IO_REPARSE_TAG_MISMATCH);
            }
            if !data.matches(&there) {
                return Err(status::REPARSE_ATTRIBUTE_CONFLICT);
            }
        } else if !self.is_empty()? {
            return Err(NtStatus::DIRECTORY_NOT_EMPTY);
        }
        if let Some(fd) = &self.fd {
            tree.notes.pin(id, fd);
        }
        tree.notes.change(id, |note| note.reparse = Some(data));
        self.tell(CHANGE_ATTRIBUTES, Action::Modified);
        Ok(())
    }

    /// Makes it an ordinary file again; tag and owner must be those it has.
    pub(crate) fn delete_reparse(&self, data: &ReparseData) -> Result<(), NtStatus> {
        let (Some(id), Some(tree)) = (self.file_id(), self.tree()) else {
            return Err(NtStatus::INVALID_DEVICE_REQUEST);
        };
        let Some(there) = tree.notes.reparse(id) else {
            return Err(NtStatus::NOT_A_REPARSE_POINT);
        };
        if there.tag() != data.tag() {
            return Err(status::IO_REPARSE_TAG_MISMATCH);
        }
        if !data.matches(&there) {
            return Err(status::REPARSE_ATTRIBUTE_CONFLICT);
        }
        tree.notes.change(id, |note| note.reparse = None);
        self.tell(CHANGE_ATTRIBUTES, Action::Modified);
        Ok(())
    }
}
