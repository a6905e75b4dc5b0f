//! Why a file cannot be read, and what to do instead.

use std::path::PathBuf;

use thiserror::Error;

/// Why there is no analysis.
#[derive(Debug, Error)]
pub enum Error {
    /// The file system says no.
    #[error("{path} cannot be read: {error}")]
    File {
        /// The file.
        path: PathBuf,
        /// Its error.
        error: std::io::Error,
    },
    /// It is something else.
    #[error("{path} is {what}: {}", .what.advice())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What it is.
        what: Foreign,
    },
    /// It ends too early.
    #[error(
        "{path} is cut short: its header promises {expected} bytes, {found} are there. Copy it again, or look whether the \
         disk was full when it was written"
    )]
    Truncated {
        /// The file.
        path: PathBuf,
        /// How long it says that it is.
        expected: u64,
        /// How long it is.
        found: u64,
    },
    /// It contradicts itself.
    #[error("{path} is damaged: {what}. Copy it again from the machine that wrote it")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// How.
        what: String,
    },
}

/// What a file is that is no kernel dump of 64-bit Windows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Foreign {
    /// Nothing.
    #[error("empty")]
    Empty,
    /// `PAGEDUMP`
    #[error("a kernel dump of 32-bit Windows")]
    Dump32,
    /// A dump of type 4.
    #[error("a small memory dump (minidump) of a kernel")]
    Small,
    /// A dump of a type that nobody knows.
    #[error("a kernel dump of type {0:#x}")]
    Type(u32),
    /// Not x64.
    #[error("a kernel dump of a machine of type {0:#06x}, not x64")]
    Machine(u32),
    /// `MDMP`
    #[error("a minidump of a program")]
    UserMinidump,
    /// A core file, or a program.
    #[error("an ELF file")]
    Elf,
    /// A program or driver of Windows.
    #[error("a PE image, a program or a driver")]
    Image,
    /// A .pdb.
    #[error("a .pdb")]
    Pdb,
    /// hiberfil.sys
    #[error("a hibernation file")]
    Hibernation,
    /// Packed.
    #[error("a compressed archive")]
    Archive,
    /// To be read by people.
    #[error("a text file")]
    Text,
    /// Who knows.
    #[error("no crash dump that is known here")]
    Unknown,
}

impl Foreign {
    /// What to do.
    #[must_use]
    pub const fn advice(self) -> &'static str {
        match self {
            Self::Empty => "look whether the machine had room to write it, and copy it again",
            Self::Dump32 => "only x64 is supported, as the driver is",
            Self::Small | Self::Type(_) => {
                "set the machine to write a kernel memory dump (CrashDumpEnabled 2) or a complete one (1), and use the \
                 MEMORY.DMP of the next crash"
            }
            Self::Machine(_) => "use the dump of an x64 machine",
            Self::UserMinidump => {
                "a kernel crash leaves its dump in %SystemRoot%\\MEMORY.DMP: use that one"
            }
            Self::Elf | Self::Image | Self::Text | Self::Unknown | Self::Hibernation => {
                "use the file that the crash wrote, by default %SystemRoot%\\MEMORY.DMP"
            }
            Self::Pdb => "name the dump first and the .pdb with --pdb",
            Self::Archive => "unpack it first",
        }
    }
}
