//! Names under which files are open: what a rename changes and a delete removes.
//!
//! A file is deleted when the last handle that came through the name is closed, and opens nothing more from the moment
//! that its deletion was asked for (`FILE_DISPOSITION_INFORMATION`, `FILE_DELETE_ON_CLOSE`).

use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::abi::status::NtStatus;
use crate::maps::HashMap;

/// Where a name is: the directory, the name there, and the whole path from the root.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    /// The directory.
    pub(crate) parent: Arc<OwnedFd>,
    /// The name in it.
    pub(crate) name: String,
    /// Every component from the root, as the volume spells it.
    pub(crate) components: Arc<Vec<String>>,
}

#[derive(Debug)]
struct Entry {
    place: Place,
    opens: usize,
    delete: bool,
    moved: bool,
}

/// The names of one volume that are open.
#[derive(Clone, Debug, Default)]
pub(crate) struct Links(Arc<Mutex<Table>>);

#[derive(Debug, Default)]
struct Table {
    entries: HashMap<u64, Entry>,
    by_path: HashMap<Arc<Vec<String>>, u64>,
    next: u64,
}

/// An open's share in a name.
#[derive(Debug)]
pub(crate) struct Link {
    table: Links,
    number: u64,
}

impl Links {
    fn lock(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes an open by that name; refused while the name is to be deleted.
    pub(crate) fn enter(&self, place: &Place) -> Result<Link, NtStatus> {
        let mut table = self.lock();
        let known = table.by_path.get(&place.components).copied();
        let number = known.unwrap_or(table.next);
        if known.is_none() {
            table.next += 1;
            table.by_path.insert(Arc::clone(&place.components), number);
        }
        let entry = table.entries.entry(number).or_insert_with(|| Entry {
            place: place.clone(),
            opens: 0,
            delete: false,
            moved: false,
        });
        if entry.delete {
            return Err(NtStatus::DELETE_PENDING);
        }
        entry.opens += 1;
        drop(table);
        Ok(Link {
            table: self.clone(),
            number,
        })
    }

    /// Whether that name, or one below it, is open.
    pub(crate) fn is_open(&self, components: &[String], below: bool) -> bool {
        let table = self.lock();
        table.by_path.keys().any(|path| {
            if below {
                path.len() > components.len() && path.starts_with(components)
            } else {
                path.as_slice() == components
            }
        })
    }
}

impl Link {
    /// Where the name is now.
    pub(crate) fn place(&self) -> Option<Place> {
        let table = self.table.lock();
        table
            .entries
            .get(&self.number)
            .map(|entry| entry.place.clone())
    }

    /// Whether it is to be deleted.
    pub(crate) fn delete_pending(&self) -> bool {
        let table = self.table.lock();
        table
            .entries
            .get(&self.number)
            .is_some_and(|entry| entry.delete)
    }

    /// Whether it was moved since it was first opened.
    pub(crate) fn was_moved(&self) -> bool {
        let table = self.table.lock();
        table
            .entries
            .get(&self.number)
            .is_some_and(|entry| entry.moved)
    }

    /// Asks for its deletion, or takes that back.
    pub(crate) fn set_delete(&self, delete: bool) {
        if let Some(entry) = self.table.lock().entries.get_mut(&self.number) {
            entry.delete = delete;
        }
    }

    /// The name was moved.
    pub(crate) fn moved(&self, place: Place) {
        let mut table = self.table.lock();
        let Some(entry) = table.entries.get_mut(&self.number) else {
            return;
        };
        entry.moved = true;
        let to = Arc::clone(&place.components);
        let from = std::mem::replace(&mut entry.place, place).components;
        table.by_path.remove(&from);
        table.by_path.insert(to, self.number);
    }

    /// The open ends; gives the name where it is to be deleted now: by the last open of it, or `at_once`.
    pub(crate) fn leave(self, at_once: bool) -> Option<Place> {
        let mut table = self.table.lock();
        let entry = table.entries.get_mut(&self.number)?;
        entry.opens -= 1;
        if entry.opens > 0 && !(at_once && entry.delete) {
            return None;
        }
        let entry = table.entries.remove(&self.number)?;
        table.by_path.remove(&entry.place.components);
        entry.delete.then_some(entry.place)
    }
}
