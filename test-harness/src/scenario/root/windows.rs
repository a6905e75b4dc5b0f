//! Roots on Windows and under Wine.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use winuser::share::Share;

use super::{Environment, Root, split};

/// What a root on Windows leaves to be removed.
#[derive(Debug)]
pub(crate) enum Made {
    /// A folder below the root that the user named, or where Wine looks UNC names up.
    Folder(Folder),
    /// A share of this computer, and the folder behind it.
    Share(Share, TempDir),
}

/// A folder of ours that goes with all that is in it.
#[derive(Debug)]
pub(crate) struct Folder {
    folder: Option<PathBuf>,
    /// Folders around it that were made for it, the innermost first; they go unless others have found them useful.
    around: Vec<PathBuf>,
}

impl Folder {
    fn remove(&mut self) -> io::Result<()> {
        let removed = self.folder.take().map_or(Ok(()), fs::remove_dir_all);
        for around in self.around.drain(..) {
            if fs::remove_dir(around).is_err() {
                break; // Somebody has put something there.
            }
        }
        removed
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // Only where a run ends by an error, which is what is told then.
        let _ = self.remove();
    }
}

impl Made {
    /// Removes it.
    pub(super) fn close(self) -> io::Result<()> {
        match self {
            Self::Folder(mut folder) => folder.remove(),
            Self::Share(share, folder) => {
                share.remove().map_err(io::Error::other)?;
                folder.close()
            }
        }
    }
}

/// The computer itself, as a server.
const THIS_COMPUTER: &str = "localhost";

impl Root {
    /// Makes a root: below `named` (`\\server\share\…`), or of its own.
    ///
    /// # Errors
    /// [`Environment`] says what could not be made, and what to do.
    pub(crate) fn make(named: Option<&str>, _loaded: bool) -> Result<Self, Environment> {
        let name = format!("headroom-{}", std::process::id());
        if let Some(named) = named {
            let parts = split(named)?;
            let (server, below) = (parts[0].clone(), parts[1..].join("\\"));
            return Self::in_folder(server, format!(r"{below}\{name}"), Vec::new());
        }
        if winuser::wine::version().is_some() {
            return in_wine(&name);
        }
        let folder = tempfile::tempdir().map_err(|error| Environment::Files {
            doing: "making a folder in",
            path: std::env::temp_dir(),
            error,
        })?;
        let share = Share::add(&name, folder.path(), "headroom run").map_err(|error| {
            Environment::Machine {
                doing: format!(r"making the share \\{THIS_COMPUTER}\{name}"),
                why: format!(
                    "{error}. Run as an administrator, with the Server service started, or name a folder to work below: \
                     --root \\\\server\\share"
                ),
            }
        })?;
        Ok(Self {
            server: THIS_COMPUTER.to_owned(),
            share: name,
            folder: folder.path().to_owned(),
            made: Made::Share(share, folder),
        })
    }

    /// A folder on a local volume, where there is one that goes with the root, as `NtCreateFile` takes it.
    pub(crate) fn local(&self) -> Option<String> {
        match &self.made {
            Made::Share(_, folder) => Some(format!(r"\??\{}", folder.path().display())),
            Made::Folder(_) => None,
        }
    }

    /// A folder of ours, reached as the scenario reaches it.
    fn in_folder(server: String, share: String, around: Vec<PathBuf>) -> Result<Self, Environment> {
        let folder = PathBuf::from(format!(r"\\?\UNC\{server}\{share}"));
        fs::create_dir(&folder).map_err(|error| Environment::Files {
            doing: "making a folder of the run's own (is the root there, and may you write to it?):",
            path: folder.clone(),
            error,
        })?;
        Ok(Self {
            server,
            share,
            made: Made::Folder(Folder {
                folder: Some(folder.clone()),
                around,
            }),
            folder,
        })
    }
}

/// Wine has no servers: it looks `\\server\share` up as `server/share` in `dosdevices/unc` of its prefix, which may be a link or,
/// as here where there is none, a folder.
fn in_wine(name: &str) -> Result<Root, Environment> {
    let share = "share";
    let parent = PathBuf::from(format!(r"\\?\UNC\{THIS_COMPUTER}\{share}"));
    let mut around = Vec::new();
    if !parent.is_dir() {
        let unc = unc_folder().ok_or_else(|| Environment::Machine {
            doing: "preparing a root under Wine".to_owned(),
            why: "Wine does not say where its prefix is: set WINEPREFIX, or make dosdevices/unc/localhost/share in it".to_owned(),
        })?;
        let server = unc.join(THIS_COMPUTER);
        let folder = server.join(share);
        // What is there already is somebody else's, and stays.
        around = [&folder, &server, &unc]
            .into_iter()
            .filter(|folder| !folder.is_dir())
            .cloned()
            .collect();
        fs::create_dir_all(&folder).map_err(|error| Environment::Files {
            doing: "making Wine's folder of UNC names",
            path: folder.clone(),
            error,
        })?;
    }
    Root::in_folder(THIS_COMPUTER.to_owned(), format!(r"{share}\{name}"), around)
}

/// `dosdevices/unc` of the prefix, as Wine lets a Windows program name a path of the host.
fn unc_folder() -> Option<PathBuf> {
    let prefix = match std::env::var("WINECONFIGDIR") {
        Ok(folder) => folder.replacen(r"\??\", r"\\?\", 1),
        Err(_) => {
            let host = std::env::var("WINEPREFIX").ok()?;
            format!(r"\\?\unix{}", host.replace('/', r"\"))
        }
    };
    Some(Path::new(&prefix).join("dosdevices").join("unc"))
}
