//! A folder of the host as the root of a volume or share: looking names up below it, never outside it.
//!
//! Every step opens one component relative to the directory reached so far, with `O_NOFOLLOW`; a component is never `..`
//! nor does it hold a slash ([`names::Path`]), so no name and no symbolic link leads out.
//!
//! Where a path's directories are there just as they are spelled and no reparse point is among them, which is how nearly all
//! paths are, the host goes through them in one call (`openat2`, with `RESOLVE_BENEATH` and `RESOLVE_NO_SYMLINKS`): three
//! calls for each component would be what a path of a thousand components costs. All else goes step by step.

use std::{
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::Arc,
};

use rustix::{
    fs::{self, AtFlags, FileType, Mode, OFlags, ResolveFlags, Stat},
    io::Errno,
};

use super::links::Place;
use super::names;
use super::notes::Notes;
use super::reparse::ReparseData;
use crate::abi::{file, status, status::NtStatus};

/// How long a path the host takes at once, its end included.
const AT_ONCE: usize = 4096;

/// The root of a volume or share.
#[derive(Debug)]
pub(crate) struct Folder {
    root: Arc<OwnedFd>,
}

/// Something found below the root.
#[derive(Debug)]
pub(crate) struct Found {
    /// An `O_PATH` descriptor of it; of the link itself where it is one.
    pub(crate) fd: OwnedFd,
    /// What the host says of it.
    pub(crate) stat: Stat,
    /// Where it is; `None`: it is the root.
    pub(crate) place: Option<Place>,
}

/// How far a path leads.
pub(crate) enum Walk {
    /// To something.
    Found(Found),
    /// To a directory that lacks the last component, which would be there.
    Missing(Place),
    /// To a reparse point with components after it.
    Link {
        /// How many components lead to it, it included.
        consumed: usize,
        /// What it holds.
        data: ReparseData,
    },
}

impl Folder {
    /// Opens the host's folder.
    pub(crate) fn open(path: &std::path::Path) -> Result<Self, std::io::Error> {
        let root = fs::open(
            path,
            OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        )?;
        Ok(Self {
            root: Arc::new(root),
        })
    }

    /// Follows `components` from the root.
    pub(crate) fn walk(
        &self,
        components: &[String],
        case_sensitive: bool,
        notes: &Notes,
    ) -> Result<Walk, NtStatus> {
        let Some((last, parents)) = components.split_last() else {
            let fd = self
                .root
                .try_clone()
                .map_err(|_| NtStatus::INSUFFICIENT_RESOURCES)?;
            let stat = fs::fstat(&fd).map_err(refused)?;
            return Ok(Walk::Found(Found {
                fd,
                stat,
                place: None,
            }));
        };
        let mut spelled = Vec::with_capacity(components.len());
        let straight = if notes.has_reparse_points() {
            None
        } else {
            self.straight(parents)
        };
        let directory = if let Some(directory) = straight {
            spelled.extend_from_slice(parents);
            directory
        } else {
            let mut directory = Arc::clone(&self.root);
            for (index, name) in parents.iter().enumerate() {
                let (name, fd, stat) = look_up(directory.as_fd(), name, case_sensitive)?
                    .ok_or(NtStatus::OBJECT_PATH_NOT_FOUND)?;
                if let Some(data) = reparse_of(&fd, &stat, notes)? {
                    return Ok(Walk::Link {
                        consumed: index + 1,
                        data,
                    });
                }
                match FileType::from_raw_mode(stat.st_mode) {
                    FileType::Directory => directory = Arc::new(fd),
                    // A file in the middle of a path: the file systems of Windows say that the path was not found.
                    _ => return Err(NtStatus::OBJECT_PATH_NOT_FOUND),
                }
                spelled.push(name);
            }
            directory
        };
        let found = look_up(directory.as_fd(), last, case_sensitive)?;
        let name = found.as_ref().map_or(last, |(name, ..)| name).clone();
        spelled.push(name.clone());
        let place = Place {
            parent: directory,
            name,
            components: Arc::new(spelled),
        };
        Ok(match found {
            Some((_, fd, stat)) => Walk::Found(Found {
                fd,
                stat,
                place: Some(place),
            }),
            None => Walk::Missing(place),
        })
    }

    /// The directory that `components` lead to, where each is there by exactly that name and is no symbolic link. `None`
    /// where one is not, or where the host does not go that way: step by step is told why.
    fn straight(&self, components: &[String]) -> Option<Arc<OwnedFd>> {
        let mut directory = Arc::clone(&self.root);
        let mut left = components;
        let mut path = String::new();
        while !left.is_empty() {
            path.clear();
            let fits = |name: &&String| {
                let room = path.len() + 1 + name.len() < AT_ONCE;
                if room {
                    path.push_str(name);
                    path.push('/');
                }
                room
            };
            let taken = left.iter().take_while(fits).count();
            // A component is no longer than 255 units: one always fits.
            left = left.get(taken.max(1)..)?;
            directory = Arc::new(
                fs::openat2(
                    &directory,
                    path.as_str(),
                    OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
                    Mode::empty(),
                    ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS,
                )
                .ok()?,
            );
        }
        Some(directory)
    }
}

impl Folder {
    /// `components` as the directories spell them. The last one need not exist; links are not followed, and what comes
    /// after one stays as it was given.
    pub(crate) fn canonical(&self, components: &[String]) -> Result<Vec<String>, NtStatus> {
        let mut spelled = Vec::with_capacity(components.len());
        let mut directory = Some(Arc::clone(&self.root));
        for (index, component) in components.iter().enumerate() {
            let Some(at) = directory.take() else {
                spelled.push(component.clone());
                continue;
            };
            let last = index + 1 == components.len();
            match look_up(at.as_fd(), component, false)? {
                Some((name, fd, stat)) => {
                    spelled.push(name);
                    match FileType::from_raw_mode(stat.st_mode) {
                        FileType::Directory => directory = Some(Arc::new(fd)),
                        FileType::Symlink => {}
                        _ if last => {}
                        _ => return Err(NtStatus::OBJECT_PATH_NOT_FOUND),
                    }
                }
                None if last => spelled.push(component.clone()),
                None => return Err(NtStatus::OBJECT_PATH_NOT_FOUND),
            }
        }
        Ok(spelled)
    }
}

impl Folder {
    /// The components that lead to the file or directory with that number, by one of its names; `None`: none has it.
    pub(crate) fn find_id(&self, id: u64) -> Result<Option<Vec<String>>, NtStatus> {
        let root = self
            .root
            .try_clone()
            .map_err(|_| NtStatus::INSUFFICIENT_RESOURCES)?;
        let stat = fs::fstat(&root).map_err(refused)?;
        if stat.st_ino == id {
            return Ok(Some(Vec::new()));
        }
        let mut left: Vec<(OwnedFd, Vec<String>)> = vec![(root, Vec::new())];
        while let Some((directory, path)) = left.pop() {
            // A directory that the host lets nobody read holds nothing for anybody.
            let listing = fs::openat(
                &directory,
                ".",
                OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
                Mode::empty(),
            )
            .and_then(fs::Dir::new);
            let Ok(listing) = listing else { continue };
            for entry in listing {
                let entry = entry.map_err(refused)?;
                let Ok(name) = entry.file_name().to_str() else {
                    continue;
                };
                if matches!(name, "." | "..") {
                    continue;
                }
                let Some((fd, below)) = open_entry(directory.as_fd(), name)? else {
                    continue;
                };
                let mut path = path.clone();
                path.push(name.to_owned());
                if below.st_ino == id && below.st_dev == stat.st_dev {
                    return Ok(Some(path));
                }
                if FileType::from_raw_mode(below.st_mode) == FileType::Directory
                    && below.st_dev == stat.st_dev
                {
                    left.push((fd, path));
                }
            }
        }
        Ok(None)
    }
}

/// What a reparse point holds; `None`: it is none.
pub(crate) fn reparse_of(
    fd: &OwnedFd,
    stat: &Stat,
    notes: &Notes,
) -> Result<Option<ReparseData>, NtStatus> {
    if FileType::from_raw_mode(stat.st_mode) == FileType::Symlink {
        return link_target(fd).map(|text| Some(ReparseData::symlink(&text)));
    }
    Ok(notes.reparse((stat.st_dev, stat.st_ino)))
}

/// Finds `name` in `directory`: exactly if there is such an entry, else without regard to case.
fn look_up(
    directory: BorrowedFd<'_>,
    name: &str,
    case_sensitive: bool,
) -> Result<Option<(String, OwnedFd, Stat)>, NtStatus> {
    if let Some((fd, stat)) = open_entry(directory, name)? {
        return Ok(Some((name.to_owned(), fd, stat)));
    }
    if case_sensitive {
        return Ok(None);
    }
    let listing = fs::openat(
        directory,
        ".",
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )
    .and_then(fs::Dir::new)
    .map_err(refused)?;
    for entry in listing {
        let entry = entry.map_err(refused)?;
        // A host name that is not text has no name on a Windows volume.
        let Ok(candidate) = entry.file_name().to_str() else {
            continue;
        };
        if names::same(candidate, name)
            && let Some((fd, stat)) = open_entry(directory, candidate)?
        {
            return Ok(Some((candidate.to_owned(), fd, stat)));
        }
    }
    Ok(None)
}

/// What the host calls it, if it has a name there.
pub(crate) fn open_entry(
    directory: BorrowedFd<'_>,
    name: &str,
) -> Result<Option<(OwnedFd, Stat)>, NtStatus> {
    match fs::openat(
        directory,
        name,
        OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC,
        Mode::empty(),
    ) {
        Ok(fd) => {
            let stat = fs::fstat(&fd).map_err(refused)?;
            Ok(Some((fd, stat)))
        }
        Err(Errno::NOENT | Errno::NAMETOOLONG) => Ok(None),
        Err(errno) => Err(refused(errno)),
    }
}

/// The text of a symbolic link, with the host's slashes turned round.
pub(crate) fn link_target(fd: &OwnedFd) -> Result<String, NtStatus> {
    let text = fs::readlinkat(fd, "", Vec::new()).map_err(refused)?;
    text.into_string()
        // A text that is a Windows name already, relative or whole, has no slashes of the host's.
        .map(|text| text.replace('/', "\\"))
        .map_err(|_| status::IO_REPARSE_DATA_INVALID)
}

impl Found {
    /// What kind of thing it is.
    pub(crate) fn kind(&self) -> FileType {
        FileType::from_raw_mode(self.stat.st_mode)
    }

    /// Its file attributes as Windows would show them: no write permission for anybody is `READONLY`.
    pub(crate) fn attributes(&self) -> u32 {
        attributes(&self.stat)
    }

    /// Empties it.
    pub(crate) fn truncate(&self) -> Result<(), NtStatus> {
        let Some(place) = &self.place else {
            return Err(NtStatus::INVALID_PARAMETER);
        };
        fs::openat(
            &place.parent,
            place.name.as_str(),
            OFlags::WRONLY | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC,
            Mode::empty(),
        )
        .map(drop)
        .map_err(refused)
    }
}

/// The file attributes of what the host describes so.
pub(crate) fn attributes(stat: &Stat) -> u32 {
    let kind = match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => return file::FILE_ATTRIBUTE_DIRECTORY,
        FileType::Symlink => {
            return file::FILE_ATTRIBUTE_REPARSE_POINT | file::FILE_ATTRIBUTE_ARCHIVE;
        }
        _ => file::FILE_ATTRIBUTE_ARCHIVE,
    };
    if stat.st_mode & 0o222 == 0 {
        kind | file::FILE_ATTRIBUTE_READONLY
    } else {
        kind
    }
}

/// Makes what is not there yet, and opens it.
pub(crate) fn make(place: Place, directory: bool, read_only: bool) -> Result<Found, NtStatus> {
    let (parent, name) = (&place.parent, place.name.as_str());
    if directory {
        fs::mkdirat(parent, name, Mode::from_raw_mode(0o755)).map_err(refused)?;
    } else {
        let mode = Mode::from_raw_mode(if read_only { 0o444 } else { 0o644 });
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        drop(fs::openat(parent, name, flags, mode).map_err(refused)?);
    }
    let (fd, stat) = open_entry(parent.as_fd(), name)?.ok_or(NtStatus::DELETE_PENDING)?;
    Ok(Found {
        fd,
        stat,
        place: Some(place),
    })
}

/// Finds a name in a directory without regard to case.
pub(crate) fn find(
    parent: &OwnedFd,
    name: &str,
) -> Result<Option<(String, OwnedFd, Stat)>, NtStatus> {
    look_up(parent.as_fd(), name, false)
}

/// Whether a directory has no entries.
pub(crate) fn is_empty(directory: &OwnedFd) -> Result<bool, NtStatus> {
    let opened = fs::openat(
        directory,
        ".",
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    );
    for entry in opened.and_then(fs::Dir::new).map_err(refused)? {
        let entry = entry.map_err(refused)?;
        if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Removes `name` from `parent`, as closing the last handle of a file that was opened with `FILE_DELETE_ON_CLOSE` does.
pub(crate) fn remove(parent: &OwnedFd, name: &str, directory: bool) -> Result<(), NtStatus> {
    fs::unlinkat(
        parent,
        name,
        if directory {
            AtFlags::REMOVEDIR
        } else {
            AtFlags::empty()
        },
    )
    .map_err(refused)
}

/// What Windows calls the host's refusal.
pub(crate) fn refused(errno: Errno) -> NtStatus {
    match errno {
        Errno::NOENT => NtStatus::OBJECT_NAME_NOT_FOUND,
        Errno::EXIST => NtStatus::OBJECT_NAME_COLLISION,
        Errno::ACCESS | Errno::PERM => NtStatus::ACCESS_DENIED,
        Errno::NOTDIR => NtStatus::NOT_A_DIRECTORY,
        Errno::ISDIR => NtStatus::FILE_IS_A_DIRECTORY,
        Errno::NOTEMPTY => NtStatus::DIRECTORY_NOT_EMPTY,
        Errno::ROFS => status::MEDIA_WRITE_PROTECTED,
        Errno::NOSPC | Errno::DQUOT => status::DISK_FULL,
        Errno::MFILE | Errno::NFILE | Errno::NOMEM => NtStatus::INSUFFICIENT_RESOURCES,
        Errno::NAMETOOLONG => NtStatus::OBJECT_NAME_INVALID,
        _ => status::UNEXPECTED_IO_ERROR,
    }
}
