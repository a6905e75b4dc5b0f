//! Reading a directory: a snapshot that queries of one open go through, filtered by the pattern of the first.

use rustix::fs::{FileType, Mode, OFlags, Stat};

use super::folder;
use super::names::{key, upcase};
use super::open::OpenFile;
use crate::abi::file::FILE_ATTRIBUTE_DIRECTORY;
use crate::abi::status::NtStatus;
use crate::ntos::{name, time};

/// An entry of a directory.
#[derive(Clone, Debug, Default)]
pub(crate) struct Entry {
    /// Its name.
    pub(crate) name: String,
    /// Creation, last access, last write, change: 100 ns since 1601.
    pub(crate) times: [i64; 4],
    /// How long it is.
    pub(crate) end_of_file: i64,
    /// How many bytes it takes.
    pub(crate) allocation: i64,
    /// Its attributes.
    pub(crate) attributes: u32,
    /// Its reparse tag; 0: none.
    pub(crate) tag: u32,
    /// Its number on the volume.
    pub(crate) id: u64,
}

/// An enumeration.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    entries: Vec<Entry>,
    /// Whether the entries are there whatever the host has: a directory that is not the host's.
    fixed: bool,
    pattern: Option<Vec<u16>>,
    next: usize,
    /// Whether a query has found something since the start.
    any: bool,
    read: bool,
}

/// What one query asks.
pub(crate) struct Query<'a> {
    /// The pattern; only the first query's counts.
    pub(crate) pattern: Option<&'a [u16]>,
    /// From the beginning.
    pub(crate) restart: bool,
}

impl Listing {
    /// The enumeration of a directory of these directories.
    pub(crate) fn of_names(mut names: Vec<String>) -> Self {
        names.sort_by_cached_key(|name| key(name));
        names.dedup_by_key(|name| key(name));
        let entry = |name: String| Entry {
            name,
            attributes: FILE_ATTRIBUTE_DIRECTORY,
            ..Entry::default()
        };
        let dots = [".", ".."].map(str::to_owned);
        Self {
            entries: dots.into_iter().chain(names).map(entry).collect(),
            fixed: true,
            ..Self::default()
        }
    }
}

/// The four times of what the host describes so; it does not tell when a file was made.
pub(crate) fn times(stat: &Stat, created: Option<i64>) -> [i64; 4] {
    let time = |seconds: i64, nanoseconds: u64| {
        time::from_unix(seconds, i64::try_from(nanoseconds).unwrap_or(0))
    };
    let write = time(stat.st_mtime, stat.st_mtime_nsec);
    [
        created.unwrap_or(write),
        time(stat.st_atime, stat.st_atime_nsec),
        write,
        time(stat.st_ctime, stat.st_ctime_nsec),
    ]
}

impl OpenFile {
    /// Gives `take` the entries from where the last query ended, until it wants no more (`false`: it did not take that
    /// one). The first query of an open sets the pattern.
    pub(crate) fn list(
        &self,
        query: &Query<'_>,
        mut take: impl FnMut(&Entry) -> Result<bool, NtStatus>,
    ) -> NtStatus {
        if !self.is_directory() {
            return NtStatus::INVALID_PARAMETER;
        }
        self.with_listing(|listing| {
            let listing = listing.get_or_insert_default();
            let first = !listing.read;
            if (first || query.restart) && !listing.fixed {
                match self.snapshot() {
                    Ok(entries) => listing.entries = entries,
                    Err(status) => return status,
                }
            }
            if first {
                let folded = |units: &[u16]| units.iter().copied().map(upcase).collect();
                listing.pattern = query.pattern.map(folded);
                listing.read = true;
            }
            if query.restart {
                listing.next = 0;
                listing.any = false;
            }
            let mut status = None;
            while let Some(entry) = listing.entries.get(listing.next) {
                let wanted = listing
                    .pattern
                    .as_ref()
                    .is_none_or(|wanted| name::matches(wanted, &key(&entry.name)));
                if wanted {
                    match take(entry) {
                        Ok(true) => status = Some(NtStatus::SUCCESS),
                        Ok(false) => break,
                        Err(error) => {
                            // An entry that did not fit whole is given, cut, and gone over.
                            if error == NtStatus::BUFFER_OVERFLOW {
                                listing.next += 1;
                                listing.any = true;
                            }
                            return error;
                        }
                    }
                    listing.any = true;
                }
                listing.next += 1;
            }
            status.unwrap_or(if listing.any || listing.next < listing.entries.len() {
                NtStatus::NO_MORE_FILES
            } else {
                NtStatus::NO_SUCH_FILE
            })
        })
    }

    /// The directory's entries as they are now, in the order of their names, as NTFS has them.
    fn snapshot(&self) -> Result<Vec<Entry>, NtStatus> {
        let (Some(fd), Some(tree)) = (&self.fd, &self.tree) else {
            return Ok(Vec::new());
        };
        let directory = rustix::fs::openat(
            fd,
            ".",
            OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        )
        .map_err(folder::refused)?;
        let describe = |name: String, stat: &Stat| {
            let id = (stat.st_dev, stat.st_ino);
            let kind = FileType::from_raw_mode(stat.st_mode);
            let note = tree.notes.get(id);
            let linked = kind == FileType::Symlink;
            let plain = kind != FileType::Directory && !linked;
            Entry {
                name,
                times: times(stat, note.created),
                end_of_file: if plain { stat.st_size } else { 0 },
                allocation: if plain { stat.st_blocks * 512 } else { 0 },
                attributes: tree.attributes(stat),
                tag: if linked {
                    crate::abi::file::IO_REPARSE_TAG_SYMLINK
                } else {
                    note.reparse.map_or(0, |data| data.tag())
                },
                id: stat.st_ino,
            }
        };
        let mut entries = Vec::new();
        for entry in rustix::fs::Dir::read_from(&directory).map_err(folder::refused)? {
            let entry = entry.map_err(folder::refused)?;
            // A host name that is not text, or that no Windows volume would take, has no name there.
            let Ok(name) = entry.file_name().to_str() else {
                continue;
            };
            if matches!(name, "." | "..") || name.contains(['\\', ':']) {
                continue;
            }
            if let Ok(Some((_, stat))) =
                folder::open_entry(rustix::fd::AsFd::as_fd(&directory), name)
            {
                entries.push(describe(name.to_owned(), &stat));
            }
        }
        entries.sort_by_cached_key(|entry| key(&entry.name));
        if self.place().is_some()
            && let Some(stat) = self.stat()
        {
            // Every directory but the root has these two.
            let dots = [".", ".."].map(|name| describe(name.to_owned(), &stat));
            entries.splice(0..0, dots);
        }
        Ok(entries)
    }
}
