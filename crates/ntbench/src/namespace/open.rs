//! Opening and making files below a folder, by the rules that `NtCreateFile` documents.

use std::{os::fd::OwnedFd, sync::Arc};

use rustix::fs::{FileType, Stat};

use super::{
    folder::{self, Folder, Found, Walk},
    names::Path,
    sharing::{FileId, ShareHold, ShareTable},
};
use crate::abi::{
    file::{
        DELETE, FILE_APPEND_DATA, FILE_ATTRIBUTE_DIRECTORY, FILE_ATTRIBUTE_READONLY, FILE_CREATE,
        FILE_CREATED, FILE_DELETE_ON_CLOSE, FILE_DIRECTORY_FILE, FILE_NON_DIRECTORY_FILE,
        FILE_OPEN, FILE_OPEN_IF, FILE_OPEN_REPARSE_POINT, FILE_OPENED, FILE_OVERWRITE,
        FILE_OVERWRITE_IF, FILE_OVERWRITTEN, FILE_SUPERSEDE, FILE_SUPERSEDED, FILE_WRITE_DATA,
        GENERIC_ALL, GENERIC_EXECUTE, GENERIC_READ, GENERIC_WRITE, IO_REPARSE_TAG_SYMLINK,
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
}

/// A volume or share: its folder, and who has what open on it.
#[derive(Debug)]
pub(crate) struct Tree {
    folder: Folder,
    sharing: ShareTable,
}

/// An open file. Dropping it is the last close: it leaves the share table and, if so opened, deletes.
#[derive(Debug)]
pub(crate) struct OpenFile {
    fd: Option<OwnedFd>,
    reparse_tag: u32,
    id: Option<FileId>,
    attributes: u32,
    delete: Option<(Arc<OwnedFd>, String)>,
    hold: Option<ShareHold>,
}

/// How a create went on.
#[derive(Debug)]
pub(crate) enum Opened {
    /// It opened a file; the second is `IoStatus.Information`.
    File(OpenFile, usize),
    /// It met a symbolic link: how many components lead to it, and the text in it.
    Link(usize, String),
}

impl Tree {
    pub(crate) fn new(folder: Folder) -> Self {
        Self {
            folder,
            sharing: ShareTable::default(),
        }
    }

    /// The components of `path` as the volume spells them; the last one need not exist.
    pub(crate) fn canonical(&self, path: &Path) -> Result<Vec<String>, NtStatus> {
        self.folder.canonical(&path.components)
    }

    /// Opens or makes `path`.
    pub(crate) fn create(&self, path: &Path, request: &Request) -> Result<Opened, NtStatus> {
        match self.folder.walk(&path.components, request.case_sensitive)? {
            Walk::Link { consumed, target } => Ok(Opened::Link(consumed, target)),
            Walk::Missing { parent, name } => {
                self.make(&parent, &name, path.trailing_backslash, request)
            }
            Walk::Found(found) => {
                if found.kind() == FileType::Symlink
                    && request.options & FILE_OPEN_REPARSE_POINT == 0
                {
                    return Ok(Opened::Link(
                        path.components.len(),
                        folder::link_target(&found.fd)?,
                    ));
                }
                self.open(found, path.trailing_backslash, request)
            }
        }
    }

    fn make(
        &self,
        parent: &Arc<OwnedFd>,
        name: &str,
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
        let found = folder::make(parent, name, directory, read_only)?;
        self.enter(found, request, FILE_CREATED)
    }

    fn open(&self, found: Found, trailing: bool, request: &Request) -> Result<Opened, NtStatus> {
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
        self.enter(found, request, information)
    }

    /// Takes the open's place in the share table, then does to the file what the disposition says.
    fn enter(
        &self,
        found: Found,
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
        let access = granted(request.access) | implied;
        let id = (found.stat.st_dev, found.stat.st_ino);
        let hold = if request.ignore_share_access {
            None
        } else {
            self.sharing.enter(id, access, request.share)?
        };
        if replaces {
            found.truncate()?;
        }
        let attributes = found.attributes();
        let reparse_tag = if found.kind() == FileType::Symlink {
            IO_REPARSE_TAG_SYMLINK
        } else {
            0
        };
        let Found { fd, place, .. } = found;
        let delete = if request.options & FILE_DELETE_ON_CLOSE != 0 {
            place
        } else {
            None
        };
        Ok(Opened::File(
            OpenFile {
                fd: Some(fd),
                attributes,
                reparse_tag,
                id: Some(id),
                delete,
                hold,
            },
            information,
        ))
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

impl OpenFile {
    /// A directory that no folder of the host stands for: a DFS root, or the way to a link.
    pub(crate) fn virtual_directory() -> Self {
        Self {
            fd: None,
            attributes: FILE_ATTRIBUTE_DIRECTORY,
            reparse_tag: 0,
            id: None,
            delete: None,
            hold: None,
        }
    }

    /// Its attributes.
    pub(crate) fn attributes(&self) -> u32 {
        self.attributes
    }

    /// Its reparse tag; 0 if it is no reparse point.
    pub(crate) fn reparse_tag(&self) -> u32 {
        self.reparse_tag
    }

    /// What tells it from other files; `None` for a directory that is not the host's.
    pub(crate) fn id(&self) -> Option<FileId> {
        self.id
    }

    /// Whether it is a directory.
    pub(crate) fn is_directory(&self) -> bool {
        self.attributes & FILE_ATTRIBUTE_DIRECTORY != 0
    }

    /// Whether its last close deletes it.
    pub(crate) fn delete_pending(&self) -> bool {
        self.delete.is_some()
    }

    /// The last handle is closed: it leaves the share table and, if so opened, is deleted. Its attributes stay known.
    pub(crate) fn clean_up(&mut self) {
        self.hold = None;
        if let Some((parent, name)) = self.delete.take() {
            // A directory that has been filled meanwhile stays, as on Windows, and nobody is left to be told.
            let _ = folder::remove(&parent, &name, self.is_directory());
        }
    }

    /// What the host says of it now; `None` for a directory that is not the host's.
    pub(crate) fn stat(&self) -> Option<Stat> {
        self.fd.as_ref().and_then(|fd| rustix::fs::fstat(fd).ok())
    }
}

impl Drop for OpenFile {
    fn drop(&mut self) {
        self.clean_up();
    }
}
