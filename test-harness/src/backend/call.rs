//! The system calls that scenarios make, in the terms that every machine has: the simulated one, the one behind a socket, Windows.

use protocol::NtStatus;
use serde::{Deserialize, Serialize};

/// A system call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Call {
    /// `NtCreateFile`.
    Open {
        /// The object name, e.g. `\??\UNC\server\share\file`; with a root, relative to it.
        name: String,
        /// `RootDirectory`; 0: none.
        root: u64,
        /// What it is opened for.
        purpose: Purpose,
    },
    /// `NtQueryAttributesFile`.
    QueryAttributes {
        /// The object name.
        name: String,
        /// `RootDirectory`; 0: none.
        root: u64,
    },
    /// `NtQueryDirectoryFile`, from the start and until nothing is left.
    List {
        /// A directory opened to be [listed](Purpose::List).
        handle: u64,
    },
    /// `NtSetInformationFile` with `FileRenameInformation`; an existing file is not replaced.
    Rename {
        /// A file or directory opened to be [moved](Purpose::Move).
        handle: u64,
        /// The new name, a whole object name or one without backslashes.
        to: String,
    },
    /// `NtFsControlFile` with `FSCTL_SET_REPARSE_POINT`.
    SetReparse {
        /// An empty directory or a file opened to be [made a link](Purpose::Link).
        handle: u64,
        /// What it becomes.
        link: Link,
    },
    /// `NtClose`.
    Close {
        /// The handle.
        handle: u64,
    },
}

/// What a file is opened for, which decides on rights, disposition and options.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Purpose {
    /// It exists: its attributes are read, links are followed.
    Attributes,
    /// It exists: its entries are read.
    List,
    /// It exists and is a file: its data are read.
    Read,
    /// It does not exist, and becomes a file.
    MakeFile,
    /// It does not exist, and becomes a directory.
    MakeDirectory,
    /// It exists and is renamed; itself, if it is a link.
    Move,
    /// It exists and is deleted when it is closed; itself, if it is a link.
    Delete,
    /// It exists and is made a link, or has one looked at: itself, if it is a link.
    Link,
}

/// `NtCreateFile`'s parameters for a [`Purpose`]; every open is for synchronous use and shares everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parameters {
    /// `DesiredAccess`, without `SYNCHRONIZE`.
    pub access: u32,
    /// `CreateDisposition`.
    pub disposition: u32,
    /// `CreateOptions`, without `FILE_SYNCHRONOUS_IO_NONALERT`.
    pub options: u32,
}

impl Purpose {
    /// The parameters.
    #[must_use]
    pub const fn parameters(self) -> Parameters {
        const READ_DATA: u32 = 0x1;
        const WRITE_DATA: u32 = 0x2;
        const READ_ATTRIBUTES: u32 = 0x80;
        const WRITE_ATTRIBUTES: u32 = 0x100;
        const DELETE: u32 = 0x1_0000;
        const OPEN: u32 = 1;
        const CREATE: u32 = 2;
        const DIRECTORY: u32 = 0x1;
        const NON_DIRECTORY: u32 = 0x40;
        const DELETE_ON_CLOSE: u32 = 0x1000;
        const REPARSE_POINT: u32 = 0x20_0000;
        let (access, disposition, options) = match self {
            Self::Attributes => (READ_ATTRIBUTES, OPEN, 0),
            Self::List => (READ_DATA | READ_ATTRIBUTES, OPEN, DIRECTORY),
            Self::Read => (READ_DATA | READ_ATTRIBUTES, OPEN, NON_DIRECTORY),
            Self::MakeFile => (WRITE_DATA | READ_ATTRIBUTES, CREATE, NON_DIRECTORY),
            Self::MakeDirectory => (READ_DATA | READ_ATTRIBUTES, CREATE, DIRECTORY),
            Self::Move => (DELETE | READ_ATTRIBUTES, OPEN, REPARSE_POINT),
            Self::Delete => (DELETE, OPEN, DELETE_ON_CLOSE | REPARSE_POINT),
            Self::Link => (READ_ATTRIBUTES | WRITE_ATTRIBUTES, OPEN, REPARSE_POINT),
        };
        Parameters {
            access,
            disposition,
            options,
        }
    }
}

/// A link to make.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Link {
    /// A symbolic link whose target is seen from the link's own directory.
    Relative(String),
    /// A symbolic link whose target is a whole object name: `\??\UNC\server\share\directory`.
    Absolute(String),
    /// A mount point: a directory that stands for one of a local volume, by its whole object name.
    Junction(String),
}

/// What a system call returned.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Returned {
    /// Its status.
    #[serde(with = "crate::model::status")]
    pub status: NtStatus,
    /// The handle, where one was opened; else 0.
    pub handle: u64,
    /// The attributes, where they were asked for; else 0.
    pub attributes: u32,
    /// The names that a listing gave, `.` and `..` among them where the file system has them.
    pub names: Vec<String>,
}

impl From<NtStatus> for Returned {
    fn from(status: NtStatus) -> Self {
        Self {
            status,
            handle: 0,
            attributes: 0,
            names: Vec::new(),
        }
    }
}
