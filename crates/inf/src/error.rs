//! What is wrong, where, and what would be right.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use thiserror::Error as Derive;

/// A place in the file, counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// The line.
    pub line: usize,
    /// The character in the line.
    pub column: usize,
}

impl Position {
    /// The beginning of the file, where an error concerns all of it.
    pub const START: Self = Self { line: 1, column: 1 };
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// Why a file is no INF, or does not say what was asked of it.
#[derive(Clone, Debug, PartialEq, Eq, Derive)]
#[error("{}{at}: {kind}", .file.as_ref().map(|file| format!("{}:", file.display())).unwrap_or_default())]
pub struct Error {
    /// The file, where it is known.
    pub file: Option<PathBuf>,
    /// The place in it.
    pub at: Position,
    /// What is wrong.
    pub kind: ErrorKind,
}

impl Error {
    pub(crate) const fn new(at: Position, kind: ErrorKind) -> Self {
        Self {
            file: None,
            at,
            kind,
        }
    }

    /// The same error, naming the file it is about.
    #[must_use]
    pub fn in_file(mut self, file: &Path) -> Self {
        self.file = Some(file.to_path_buf());
        self
    }
}

/// What is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Derive)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The file cannot be read.
    #[error("cannot be read: {0}")]
    Unreadable(String),
    /// Bytes that are no text.
    #[error("this is not {0}: save the file as UTF-16LE with a byte order mark, or as plain ASCII")]
    Encoding(&'static str),
    /// A character that no text has.
    #[error("character U+{0:04X} cannot stand in an INF file")]
    Character(u32),
    /// An entry ahead of the first section.
    #[error("expected a section, such as [Version], before the first entry")]
    EntryOutsideSection,
    /// `[name` without its end.
    #[error("expected `]` after the section's name")]
    UnclosedSection,
    /// `[]`.
    #[error("expected a section's name between `[` and `]`")]
    EmptySectionName,
    /// More text after `]`.
    #[error("expected the end of the line after a section's name, not `{0}`")]
    AfterSection(String),
    /// A name that is too long.
    #[error("a section's name has at most 255 characters, this one {0}")]
    SectionNameTooLong(usize),
    /// A quotation that does not end.
    #[error("expected `\"` before the end of the line")]
    UnclosedQuotation,
    /// A line that says it goes on, and does not.
    #[error("expected another line after `\\` at the end of this one")]
    ContinuedNowhere,
    /// A field that is too long.
    #[error("a field has at most 4095 characters, this one {0}")]
    FieldTooLong(usize),
    /// A file that has no sections.
    #[error("expected a section, such as [Version]; there is none")]
    NoSections,
    /// No section installs anything here.
    #[error(
        "expected a section [DefaultInstall{decoration}] or one for an older Windows; there are {have}"
    )]
    NoInstallSection {
        /// The decoration for the Windows that was asked for.
        decoration: String,
        /// The install sections that there are.
        have: String,
    },
    /// A section that is referred to and is not there.
    #[error("section [{0}] is not in the file")]
    NoSection(String),
    /// A directive that is not there.
    #[error("expected `{directive} = …` in section [{section}]")]
    NoDirective {
        /// The section.
        section: String,
        /// The directive.
        directive: &'static str,
    },
    /// A directive without its value.
    #[error("expected {0} here")]
    Expected(&'static str),
    /// A number that is none.
    #[error("expected a number, decimal or with 0x, not `{0}`")]
    NotANumber(String),
    /// No service of a file system's kind.
    #[error("no AddService in [{0}] installs a file system driver (ServiceType = 2)")]
    NoFilterService(String),
    /// A registry root that does not exist.
    #[error("expected a registry root (HKR, HKLM, HKCR, HKCU or HKU), not `{0}`")]
    RegistryRoot(String),
    /// A type of registry values that is not known.
    #[error("the flags {0:#010x} name no type of registry value")]
    RegistryType(u32),
    /// No instances.
    #[error(
        "the service's AddReg writes no `DefaultInstance` below Instances or Parameters\\Instances: Filter Manager would attach nothing"
    )]
    NoInstances,
    /// An instance that is named and not defined.
    #[error("instance `{0}` has no `Altitude`")]
    NoAltitude(String),
    /// An altitude that is none.
    #[error("an altitude is a decimal number such as \"378600.5\", not `{0}`")]
    Altitude(String),
}
