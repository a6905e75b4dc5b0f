//! Opening and making files below a folder, by the rules that `NtCreateFile` documents.

use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, OnceLock};

use rustix::fs::FileType;

use super::{
    folder::{self, Folder, Found, Walk},
    links::{Link, Links, Place},
    listing::Listing,
    locks::Locks,
    names::Path,
    notes::Notes,
    opened,
    oplocks::Oplocks,
    reparse::ReparseData,
    sharing::{FileId, ShareHold, ShareTable},
    streams::{Stream, StreamName},
    undo,
    watch::{
        Action, CHANGE_ATTRIBUTES, CHANGE_FILE_NAME, CHANGE_LAST_WRITE, CHANGE_SIZE, Change,
        Watches,
    },
};
use crate::abi::{
    file::{
        DELETE, FILE_APPEND_DATA, FILE_ATTRIBUTE_READONLY, FILE_CREATE, FILE_CREATED,
        FILE_DELETE_ON_CLOSE, FILE_DIRECTORY_FILE, FILE_DOES_NOT_EXIST, FILE_EXISTS,
        FILE_NON_DIRECTORY_FILE, FILE_OPEN, FILE_OPEN_IF, FILE_OPEN_REPARSE_POINT, FILE_OPENED,
        FILE_OVERWRITE, FILE_OVERWRITE_IF, FILE_OVERWRITTEN, FILE_SUPERSEDE, FILE_SUPERSEDED,
        FILE_WRITE_DATA, GENERIC_ALL, GENERIC_EXECUTE, GENERIC_READ, GENERIC_WRITE,
    },
    status::NtStatus,
};

/// What a create asks of a file system.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request {
    pub(crate) access: u32,
    pub(crate) share: u32,
    pub(crate) disposition: u32,
    pub(crate) options: u32,
    pub(crate) attributes: u32,
    pub(crate) case_sensitive: bool,
    pub(crate) ignore_share_access: bool,
    /// `SL_OPEN_TARGET_DIRECTORY`: opens the directory that the last component is in, for a rename to there.
    pub(crate) target_directory: bool,
    /// The transaction that it is opened in; 0: none.
    pub(crate) transaction: usize,
}

/// A volume or share: its folder, and who has what open on it.
#[derive(Debug)]
pub(crate) struct Tree {
    pub(super) folder: Folder,
    sharing: ShareTable,
    pub(super) links: Links,
    pub(crate) notes: Notes,
    pub(crate) locks: Locks,
    pub(crate) watches: Watches,
    /// As long as the machine runs, as whoever waits refers to it from there.
    oplocks: &'static Oplocks,
}

/// An open file. Dropping it is the last close: it leaves the share table and, if so asked, deletes.
#[derive(Debug)]
pub(crate) struct OpenFile {
    pub(super) tree: Option<Arc<Tree>>,
    /// An `O_PATH` descriptor.
    pub(super) fd: Option<OwnedFd>,
    /// A descriptor to read and write by, once one was needed.
    pub(super) data: OnceLock<OwnedFd>,
    /// What tells its stream from others.
    pub(super) id: Option<FileId>,
    /// What tells its file from others: the same where the stream is the file's own data.
    pub(super) file_id: Option<FileId>,
    /// The named stream that it is.
    pub(super) stream: Option<Arc<Stream>>,
    pub(super) directory: bool,
    pub(super) access: u32,
    /// The transaction that it was opened in; 0: none.
    pub(super) transaction: usize,
    /// The length and the bytes taken, where looking for the file told them and its open changed nothing about them.
    pub(super) found_size: Option<(i64, i64)>,
    pub(super) state: Mutex<State>,
    /// Where an enumeration of it is.
    pub(super) listing: Mutex<Option<Listing>>,
}

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) hold: Option<ShareHold>,
    pub(super) link: Option<Link>,
    pub(super) delete_on_close: bool,
    /// Whether the name goes when this open does, whoever else has the file open (`FILE_DISPOSITION_POSIX_SEMANTICS`).
    pub(super) posix: bool,
    /// Whether its clean-up took the stream or the file away.
    pub(super) deleted: bool,
    /// Where the next query of its extended attributes begins.
    pub(super) next_ea: u32,
    /// Whether it has left its named stream.
    pub(super) left: bool,
}

/// How a create went on.
#[derive(Debug)]
pub(crate) enum Opened {
    /// It opened a file; the second is `IoStatus.Information`.
    File(Arc<OpenFile>, usize),
    /// It met a reparse point: how many components lead to it, and what it holds.
    Link(usize, ReparseData),
}

impl Tree {
    pub(crate) fn new(folder: Folder) -> Self {
        Self {
            folder,
            sharing: ShareTable::default(),
            links: Links::default(),
            notes: Notes::default(),
            locks: Locks::default(),
            watches: Watches::default(),
            oplocks: Box::leak(Box::default()),
        }
    }

    /// Its oplocks.
    pub(crate) fn oplocks(&self) -> &'static Oplocks {
        self.oplocks
    }

    /// Whether an open would conflict with what others share.
    pub(crate) fn conflicts(&self, id: FileId, access: u32, share: u32) -> bool {
        self.sharing.enter(id, granted(access), share).is_err()
    }

    /// The components of `path` as the volume spells them; the last one need not exist.
    pub(crate) fn canonical(&self, path: &Path) -> Result<Vec<String>, NtStatus> {
        self.folder.canonical(&path.components)
    }

    /// Opens or makes `path`.
    pub(crate) fn create(
        self: &Arc<Self>,
        path: &Path,
        request: &Request,
    ) -> Result<Opened, NtStatus> {
        if request.target_directory {
            return self.open_parent(path, request);
        }
        match self.walk(&path.components, request)? {
            Walk::Link { consumed, data } => Ok(Opened::Link(consumed, data)),
            Walk::Missing(place) => match &path.stream {
                Some((StreamName::Named(name), _)) => self.make_both(place, name, request),
                Some((StreamName::Index, _)) if request.options & FILE_DIRECTORY_FILE == 0 => {
                    Err(NtStatus::OBJECT_NAME_NOT_FOUND)
                }
                _ => self.make(place, path.trailing_backslash, request),
            },
            Walk::Found(found) => {
                if request.options & FILE_OPEN_REPARSE_POINT == 0
                    && let Some(data) = folder::reparse_of(&found.fd, &found.stat, &self.notes)?
                {
                    return Ok(Opened::Link(path.components.len(), data));
                }
                let directory = found.kind() == FileType::Directory;
                match &path.stream {
                    Some((StreamName::Named(name), _)) => self.open_stream(found, name, request),
                    Some((StreamName::Data, _)) if directory => Err(NtStatus::FILE_IS_A_DIRECTORY),
                    Some((StreamName::Index, _)) if !directory => Err(NtStatus::NOT_A_DIRECTORY),
                    _ => self.open(found, path.trailing_backslash, request),
                }
            }
        }
    }

    /// Makes a file and a named stream of it.
    fn make_both(
        self: &Arc<Self>,
        place: Place,
        name: &str,
        request: &Request,
    ) -> Result<Opened, NtStatus> {
        if matches!(request.disposition, FILE_OPEN | FILE_OVERWRITE) {
            return Err(NtStatus::OBJECT_NAME_NOT_FOUND);
        }
        if request.options & FILE_DIRECTORY_FILE != 0 {
            return Err(NtStatus::NOT_A_DIRECTORY);
        }
        let found = folder::make(place, false, false)?;
        if let Some(place) = &found.place {
            undo::made(request.transaction, place, false);
        }
        let place = found.place.clone();
        let opened = self.open_stream(found, name, request)?;
        if let (Opened::File(file, _), Some(place)) = (&opened, place)
            && self.watches.any()
        {
            let made = file.change(&place, CHANGE_FILE_NAME, Action::Added);
            self.watches.tell(&[Change {
                stream: None,
                ..made
            }]);
        }
        Ok(opened)
    }

    /// Opens or makes a named stream of what is there.
    fn open_stream(
        self: &Arc<Self>,
        found: Found,
        name: &str,
        request: &Request,
    ) -> Result<Opened, NtStatus> {
        if request.options & FILE_DIRECTORY_FILE != 0 {
            return Err(NtStatus::NOT_A_DIRECTORY);
        }
        let file_id = (found.stat.st_dev, found.stat.st_ino);
        let there = self.notes.stream(file_id, name);
        let replaces = matches!(
            request.disposition,
            FILE_SUPERSEDE | FILE_OVERWRITE | FILE_OVERWRITE_IF
        );
        match (&there, request.disposition) {
            (Some(_), FILE_CREATE) => return Err(NtStatus::OBJECT_NAME_COLLISION),
            (None, FILE_OPEN | FILE_OVERWRITE) => return Err(NtStatus::OBJECT_NAME_NOT_FOUND),
            _ => {}
        }
        let wants_write = granted(request.access) & (FILE_WRITE_DATA | FILE_APPEND_DATA) != 0;
        let directory = found.kind() == FileType::Directory;
        if found.attributes() & FILE_ATTRIBUTE_READONLY != 0 && !directory {
            if wants_write || replaces || there.is_none() {
                return Err(NtStatus::ACCESS_DENIED);
            }
            if request.options & FILE_DELETE_ON_CLOSE != 0 {
                return Err(NtStatus::CANNOT_DELETE);
            }
        }
        let (stream, information) = match (there, request.disposition) {
            (None, _) => {
                self.notes.pin(file_id, &found.fd);
                (self.notes.make_stream(file_id, name)?, FILE_CREATED)
            }
            (Some(stream), FILE_SUPERSEDE) => (stream, FILE_SUPERSEDED),
            (Some(stream), _) if replaces => (stream, FILE_OVERWRITTEN),
            (Some(stream), _) => (stream, FILE_OPENED),
        };
        self.enter(found, Some(stream), request, information)
    }

    fn walk(&self, components: &[String], request: &Request) -> Result<Walk, NtStatus> {
        self.folder
            .walk(components, request.case_sensitive, &self.notes)
    }

    fn open_parent(self: &Arc<Self>, path: &Path, request: &Request) -> Result<Opened, NtStatus> {
        let Some((_, parents)) = path.components.split_last() else {
            return Err(NtStatus::OBJECT_NAME_INVALID);
        };
        let there = match self.walk(&path.components, request)? {
            Walk::Link { consumed, data } => return Ok(Opened::Link(consumed, data)),
            Walk::Found(_) => FILE_EXISTS,
            Walk::Missing(_) => FILE_DOES_NOT_EXIST,
        };
        let parent = Request {
            disposition: FILE_OPEN,
            options: FILE_DIRECTORY_FILE,
            ..*request
        };
        match self.walk(parents, &parent)? {
            Walk::Found(found) => match self.open(found, false, &parent)? {
                Opened::File(file, _) => Ok(Opened::File(file, there)),
                link @ Opened::Link(..) => Ok(link),
            },
            _ => Err(NtStatus::OBJECT_PATH_NOT_FOUND),
        }
    }

    fn make(
        self: &Arc<Self>,
        place: Place,
        trailing: bool,
        request: &Request,
    ) -> Result<Opened, NtStatus> {
        if matches!(request.disposition, FILE_OPEN | FILE_OVERWRITE) {
            return Err(NtStatus::OBJECT_NAME_NOT_FOUND);
        }
        let directory = request.options & FILE_DIRECTORY_FILE != 0;
        if trailing && !directory {
            return Err(NtStatus::OBJECT_NAME_INVALID);
        }
        let read_only = request.attributes & FILE_ATTRIBUTE_READONLY != 0;
        if read_only && request.options & FILE_DELETE_ON_CLOSE != 0 {
            return Err(NtStatus::CANNOT_DELETE);
        }
        let found = folder::make(place, directory, read_only)?;
        if let Some(place) = &found.place {
            undo::made(request.transaction, place, directory);
        }
        self.enter(found, None, request, FILE_CREATED)
    }

    fn open(
        self: &Arc<Self>,
        found: Found,
        trailing: bool,
        request: &Request,
    ) -> Result<Opened, NtStatus> {
        let directory = found.kind() == FileType::Directory;
        if request.disposition == FILE_CREATE {
            return Err(NtStatus::OBJECT_NAME_COLLISION);
        }
        if directory && request.options & FILE_NON_DIRECTORY_FILE != 0 {
            return Err(NtStatus::FILE_IS_A_DIRECTORY);
        }
        if !directory && request.options & FILE_DIRECTORY_FILE != 0 {
            return Err(NtStatus::NOT_A_DIRECTORY);
        }
        if trailing && !directory {
            return Err(NtStatus::OBJECT_NAME_INVALID);
        }
        let replaces = matches!(
            request.disposition,
            FILE_SUPERSEDE | FILE_OVERWRITE | FILE_OVERWRITE_IF
        );
        if directory && replaces {
            // Documented for FILE_DIRECTORY_FILE as an invalid parameter; without that flag the directory collides.
            return Err(NtStatus::OBJECT_NAME_COLLISION);
        }
        let attributes = found.attributes();
        let wants_write = granted(request.access) & (FILE_WRITE_DATA | FILE_APPEND_DATA) != 0;
        if attributes & FILE_ATTRIBUTE_READONLY != 0 && !directory && (wants_write || replaces) {
            return Err(NtStatus::ACCESS_DENIED);
        }
        if request.options & FILE_DELETE_ON_CLOSE != 0
            && (attributes & FILE_ATTRIBUTE_READONLY != 0 || found.place.is_none())
        {
            return Err(NtStatus::CANNOT_DELETE);
        }
        debug_assert!(matches!(request.disposition, FILE_OPEN | FILE_OPEN_IF) || replaces);
        let information = match request.disposition {
            FILE_SUPERSEDE => FILE_SUPERSEDED,
            FILE_OVERWRITE | FILE_OVERWRITE_IF => FILE_OVERWRITTEN,
            _ => FILE_OPENED,
        };
        self.enter(found, None, request, information)
    }

    /// Takes the open's place in the share table, then does to the file what the disposition says.
    fn enter(
        self: &Arc<Self>,
        found: Found,
        stream: Option<Arc<Stream>>,
        request: &Request,
        information: usize,
    ) -> Result<Opened, NtStatus> {
        let replaces = matches!(information, FILE_SUPERSEDED | FILE_OVERWRITTEN);
        // Replacing a file's contents needs the right that a supersede (delete) or overwrite (write) implies.
        let implied = match information {
            FILE_SUPERSEDED => DELETE,
            FILE_OVERWRITTEN => FILE_WRITE_DATA,
            _ => 0,
        };
        let access = granted(request.access);
        let file_id = (found.stat.st_dev, found.stat.st_ino);
        let id = stream.as_ref().map_or(file_id, |stream| stream.id);
        let hold = if request.ignore_share_access {
            None
        } else {
            self.sharing.enter(id, access | implied, request.share)?
        };
        let link = match &found.place {
            Some(place) => Some(self.links.enter(place)?),
            None => None,
        };
        if let Some(stream) = &stream {
            if replaces {
                stream.truncate()?;
            }
            stream.enter()?;
        } else if replaces {
            if let Some(place) = &found.place {
                undo::replaced(request.transaction, file_id, place);
            }
            found.truncate()?;
        }
        let state = State {
            hold,
            link,
            delete_on_close: request.options & FILE_DELETE_ON_CLOSE != 0,
            ..State::default()
        };
        let directory = stream.is_none() && found.kind() == FileType::Directory;
        let plain = stream.is_none() && !directory && information == FILE_OPENED;
        let file = Arc::new(OpenFile {
            tree: Some(Arc::clone(self)),
            directory,
            fd: Some(found.fd),
            data: OnceLock::new(),
            id: Some(id),
            file_id: Some(file_id),
            stream,
            access,
            transaction: request.transaction,
            found_size: plain.then(|| opened::size_of(&found.stat)),
            state: Mutex::new(state),
            listing: Mutex::default(),
        });
        match information {
            FILE_CREATED if file.stream.is_some() => {
                file.tell(file.name_kind(), Action::AddedStream);
            }
            FILE_CREATED => file.tell(file.name_kind(), Action::Added),
            FILE_OVERWRITTEN | FILE_SUPERSEDED if file.stream.is_some() => file.tell_written(true),
            FILE_OVERWRITTEN | FILE_SUPERSEDED => file.tell(
                CHANGE_ATTRIBUTES | CHANGE_SIZE | CHANGE_LAST_WRITE,
                Action::Modified,
            ),
            _ => {}
        }
        Ok(Opened::File(file, information))
    }
}

/// The specific rights that an access mask comes to for a file.
pub(crate) fn granted(access: u32) -> u32 {
    let mut specific = access & !(GENERIC_ALL | GENERIC_EXECUTE | GENERIC_READ | GENERIC_WRITE);
    for (generic, rights) in [
        (GENERIC_ALL, 0x1F_01FF),
        (GENERIC_EXECUTE, 0x12_00A0),
        (GENERIC_READ, 0x12_0089),
        (GENERIC_WRITE, 0x12_0116),
    ] {
        if access & generic != 0 {
            specific |= rights;
        }
    }
    specific
}
