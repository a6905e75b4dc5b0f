//! Where the machine in the background is found: a folder that is the user's own and nobody else's.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::MachineError;

/// The environment's variable that names another folder.
pub const PLACE_VARIABLE: &str = "HEADROOM_MACHINE";

/// The longest path of a socket: `sun_path` of unix(7), with its terminating zero.
const LONGEST_SOCKET: usize = 107;

/// A machine's folder.
#[derive(Clone, Debug)]
pub struct Place {
    folder: PathBuf,
}

impl Place {
    /// The folder that the environment names; else one in the user's runtime folder, or among the temporary files.
    #[must_use]
    pub fn here() -> Self {
        let named = |variable| std::env::var_os(variable).filter(|value| !value.is_empty());
        let folder = match (named(PLACE_VARIABLE), named("XDG_RUNTIME_DIR")) {
            (Some(folder), _) => folder.into(),
            (None, Some(runtime)) => PathBuf::from(runtime).join("headroom"),
            (None, None) => std::env::temp_dir()
                .join(format!("headroom-{}", rustix::process::getuid().as_raw())),
        };
        Self { folder }
    }

    /// That folder.
    #[must_use]
    pub fn at(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
        }
    }

    /// The folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The socket that the machine serves.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.folder.join("socket")
    }

    /// What the machine's processes write to their standard error.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.folder.join("log")
    }

    /// The folder behind the share, where none is named.
    #[must_use]
    pub fn share(&self) -> PathBuf {
        self.folder.join("share")
    }

    /// The folder behind the local volume.
    #[must_use]
    pub fn volume(&self) -> PathBuf {
        self.folder.join("volume")
    }

    /// Makes the folder where it is not there.
    ///
    /// # Errors
    /// As [`check`](Self::check); or it cannot be made.
    pub fn prepare(&self) -> Result<(), MachineError> {
        let made = DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.folder);
        made.map_err(MachineError::files("making the folder", &self.folder))?;
        self.check()
    }

    /// Whether the folder is the user's and nobody else's. One that is not there is no danger.
    ///
    /// # Errors
    /// [`MachineError::Foreign`], [`MachineError::Exposed`], [`MachineError::TooLong`].
    pub fn check(&self) -> Result<(), MachineError> {
        if self.socket().as_os_str().as_bytes().len() > LONGEST_SOCKET {
            return Err(MachineError::TooLong(self.socket()));
        }
        let about = match fs::metadata(&self.folder) {
            Ok(about) => about,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(MachineError::files("looking at", &self.folder)(error)),
        };
        if about.uid() != rustix::process::getuid().as_raw() {
            return Err(MachineError::Foreign {
                path: self.folder.clone(),
                owner: about.uid(),
            });
        }
        let mode = about.mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(MachineError::Exposed {
                path: self.folder.clone(),
                mode,
            });
        }
        Ok(())
    }

    /// Takes the place, as long as the file lives; `None`: another machine has it.
    ///
    /// # Errors
    /// [`MachineError::Files`].
    pub fn lock(&self) -> Result<Option<File>, MachineError> {
        let path = self.folder.join("lock");
        let file =
            File::create(&path).map_err(MachineError::files("making the lock file", &path))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(file)),
            Err(Errno::WOULDBLOCK) => Ok(None),
            Err(errno) => Err(MachineError::files("locking", &path)(errno.into())),
        }
    }
}
