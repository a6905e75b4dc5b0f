//! What a transaction has done to files, to be undone when it is rolled back: data that were written or cut off, files that were made,
//! deleted or renamed.
//!
//! Everybody sees at once what is done in a transaction, and a commit has nothing left to do: the isolation of TxF is not modelled. Named
//! streams, attributes, times and security stay as they were set.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use rustix::fs::{self, AtFlags, Mode, OFlags, RenameFlags, Stat};

use super::change;
use super::links::Place;
use super::open::OpenFile;
use super::sharing::FileId;

/// A step back.
#[derive(Debug)]
enum Step {
    /// The file had this data.
    Data {
        id: FileId,
        file: OwnedFd,
        bytes: Vec<u8>,
    },
    /// The name was not there.
    Made { place: Place, directory: bool },
    /// There was this file, or a directory.
    Removed {
        place: Place,
        mode: Mode,
        bytes: Option<Vec<u8>>,
    },
    /// It had the other name.
    Moved { from: Place, to: Place },
}

static STEPS: LazyLock<Mutex<HashMap<usize, Vec<Step>>>> = LazyLock::new(Mutex::default);

fn lock() -> MutexGuard<'static, HashMap<usize, Vec<Step>>> {
    STEPS.lock().unwrap_or_else(PoisonError::into_inner)
}

fn note(transaction: usize, step: Step) {
    lock().entry(transaction).or_default().push(step);
}

/// All that a file of the host holds.
fn content(file: &OwnedFd) -> Option<Vec<u8>> {
    let length = usize::try_from(fs::fstat(file).ok()?.st_size).ok()?;
    let mut bytes = vec![0; length];
    let mut got = 0;
    while got < length {
        match rustix::io::pread(file, &mut bytes[got..], got as u64).ok()? {
            0 => break,
            more => got += more,
        }
    }
    bytes.truncate(got);
    Some(bytes)
}

fn put(file: &OwnedFd, bytes: &[u8]) {
    // Where the host refuses, there is nobody to tell: the transaction is over.
    let _ = fs::ftruncate(file, 0);
    let mut done = 0;
    while done < bytes.len() {
        match rustix::io::pwrite(file, &bytes[done..], done as u64) {
            Ok(more) if more > 0 => done += more,
            _ => return,
        }
    }
}

impl Step {
    fn undo(self) {
        match self {
            Self::Data { file, bytes, .. } => put(&file, &bytes),
            Self::Made { place, directory } => {
                let flags = if directory {
                    AtFlags::REMOVEDIR
                } else {
                    AtFlags::empty()
                };
                let _ = fs::unlinkat(&place.parent, place.name.as_str(), flags);
            }
            Self::Removed { place, mode, bytes } => match bytes {
                None => drop(fs::mkdirat(&place.parent, place.name.as_str(), mode)),
                Some(bytes) => {
                    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::RDWR | OFlags::CLOEXEC;
                    let made = fs::openat(&place.parent, place.name.as_str(), flags, mode);
                    if let Ok(file) = made {
                        put(&file, &bytes);
                    }
                }
            },
            Self::Moved { from, to } => {
                let _ = fs::renameat_with(
                    &to.parent,
                    to.name.as_str(),
                    &from.parent,
                    from.name.as_str(),
                    RenameFlags::NOREPLACE,
                );
            }
        }
    }
}

/// What a file held before a transaction changed it, where it has.
fn kept(transaction: usize, id: FileId) -> Option<Vec<u8>> {
    lock()
        .get(&transaction)?
        .iter()
        .find_map(|step| match step {
            Step::Data { id: of, bytes, .. } if *of == id => Some(bytes.clone()),
            _ => None,
        })
}

fn keep(transaction: usize, id: FileId, file: OwnedFd) {
    if kept(transaction, id).is_none()
        && let Some(bytes) = content(&file)
    {
        note(transaction, Step::Data { id, file, bytes });
    }
}

/// A file is about to be emptied by a create in a transaction.
pub(super) fn replaced(transaction: usize, id: FileId, place: &Place) {
    let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    if transaction != 0
        && let Ok(file) = fs::openat(&place.parent, place.name.as_str(), flags, Mode::empty())
    {
        keep(transaction, id, file);
    }
}

/// A file was made in a transaction.
pub(super) fn made(transaction: usize, place: &Place, directory: bool) {
    if transaction != 0 {
        let place = place.clone();
        note(transaction, Step::Made { place, directory });
    }
}

/// A transaction is over: what was done in it is undone, the newest first, or stays.
pub(crate) fn end(transaction: usize, committed: bool) {
    let steps = lock().remove(&transaction).unwrap_or_default();
    if committed || steps.is_empty() {
        return;
    }
    steps.into_iter().rev().for_each(Step::undo);
    change::names_changed();
}

impl OpenFile {
    /// Before its data change: what they were, if it is a transaction's that changes them for the first time.
    pub(super) fn keep_data(&self) {
        let (transaction, Some(id)) = (self.transaction, self.id) else {
            return;
        };
        if transaction == 0 || self.stream.is_some() {
            return;
        }
        if let Some(file) = self.data().ok().and_then(|file| file.try_clone().ok()) {
            keep(transaction, id, file);
        }
    }

    /// It was renamed.
    pub(super) fn keep_names(&self, from: &Place, to: &Place) {
        if self.transaction != 0 {
            let (from, to) = (from.clone(), to.clone());
            note(self.transaction, Step::Moved { from, to });
        }
    }

    /// It is about to be deleted from there.
    pub(super) fn keep_all(&self, place: &Place) {
        let Some(stat) = self.stat().filter(|_| self.transaction != 0) else {
            return;
        };
        let known = self.id.and_then(|id| kept(self.transaction, id));
        let bytes = if self.is_directory() {
            None
        } else {
            known.or_else(|| self.data().ok().and_then(content))
        };
        let step = Step::Removed {
            place: place.clone(),
            mode: mode(&stat),
            bytes,
        };
        note(self.transaction, step);
    }
}

fn mode(stat: &Stat) -> Mode {
    Mode::from_raw_mode(stat.st_mode & 0o7777)
}
