//! What a scenario opens things below: a UNC root, and the folder behind it where files are made without the driver's seeing it.
//!
//! In ntbench the root is a share of the simulated namespace, backed by a folder of this machine. On Windows it is a folder below
//! the root that the user named, or a share of this computer made for the run. Under Wine, which has no server, it is a folder
//! where Wine looks UNC names up. Whatever was made is removed when the run ends, however it ends.

#[cfg(windows)]
mod windows;

use std::path::{Path, PathBuf};

use crate::backend::{Environment, Setup};

/// A root, and what has to be taken away after the run.
#[derive(Debug)]
pub(crate) struct Root {
    server: String,
    /// The share, and what lies between it and the folder.
    share: String,
    folder: PathBuf,
    /// Dropped after the run: it removes what was made.
    made: Made,
}

#[cfg(not(windows))]
type Made = tempfile::TempDir;
#[cfg(windows)]
type Made = windows::Made;

/// The drive letter under which a simulated machine has the root's folder too.
const LETTER: char = 'L';

/// The names of a simulated root.
#[cfg(not(windows))]
const SIMULATED: (&str, &str) = ("server", "share");

impl Root {
    /// Makes a root: below `named` (`\\server\share\…`), or of its own; for a machine in the background, on its share.
    ///
    /// # Errors
    /// [`Environment`] says what could not be made, and what to do.
    #[cfg(not(windows))]
    pub(crate) fn make(named: Option<&str>, loaded: bool) -> Result<Self, Environment> {
        if loaded {
            return Self::on_loaded(named);
        }
        let made = tempfile::tempdir().map_err(|error| Environment::Files {
            doing: "making a folder in",
            path: std::env::temp_dir(),
            error,
        })?;
        let (server, share) = match named {
            None => (SIMULATED.0.to_owned(), SIMULATED.1.to_owned()),
            Some(named) => match split(named)?.as_slice() {
                [server, share] => (server.clone(), share.clone()),
                _ => {
                    return Err(not_unc(
                        named,
                        "in ntbench the root is a share of the simulated network: \\\\server\\share",
                    ));
                }
            },
        };
        Ok(Self {
            server,
            share,
            folder: made.path().to_owned(),
            made,
        })
    }

    /// A folder on the share of the machine in the background.
    #[cfg(all(target_os = "linux", target_arch = "x86_64"))]
    fn on_loaded(named: Option<&str>) -> Result<Self, Environment> {
        let standing = crate::machine::Connection::open()
            .and_then(|mut machine| machine.standing())
            .map_err(|error| Environment::Machine {
                doing: "asking the machine in the background for its share".to_owned(),
                why: error.to_string(),
            })?;
        let (unc, folder) = standing.share;
        if named.is_some_and(|named| !named.eq_ignore_ascii_case(&unc)) {
            return Err(not_unc(
                named.unwrap_or_default(),
                &format!("the machine in the background has {unc} and no other"),
            ));
        }
        // The same name with the driver and without, so that what they open is the same.
        let made = tempfile::Builder::new()
            .prefix(&format!("headroom-{}", std::process::id()))
            .rand_bytes(0)
            .tempdir_in(&folder)
            .map_err(|error| Environment::Files {
                doing: "making a folder in",
                path: folder.clone(),
                error,
            })?;
        let name = made.path().file_name().unwrap_or_default();
        let parts = split(&unc)?;
        Ok(Self {
            server: parts[0].clone(),
            share: format!(r"{}\{}", parts[1..].join("\\"), name.to_string_lossy()),
            folder: made.path().to_owned(),
            made,
        })
    }

    /// There is no such machine here.
    #[cfg(not(any(windows, all(target_os = "linux", target_arch = "x86_64"))))]
    fn on_loaded(_named: Option<&str>) -> Result<Self, Environment> {
        Err(Environment::NoMachine)
    }

    /// How many components lie between the share and the root.
    pub(crate) fn below_share(&self) -> u32 {
        u32::try_from(self.share.matches('\\').count()).unwrap_or(u32::MAX)
    }

    /// The server's name.
    pub(crate) fn server(&self) -> &str {
        &self.server
    }

    /// The share's name, without what may lie between it and the root.
    pub(crate) fn share(&self) -> &str {
        self.share.split('\\').next().unwrap_or_default()
    }

    /// The root as `NtCreateFile` takes it, without a backslash at its end.
    pub(crate) fn name(&self) -> String {
        format!(r"\??\UNC\{}", self.unc())
    }

    /// `server\share\…`.
    pub(crate) fn unc(&self) -> String {
        format!(r"{}\{}", self.server, self.share)
    }

    /// The folder behind it, to make files in.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// A folder on a local volume, where there is one that goes with the root, as `NtCreateFile` takes it.
    #[cfg(not(windows))]
    pub(crate) fn local(&self) -> Option<String> {
        // On the machine in the background nobody has shared a volume with the run.
        (self.below_share() == 0).then(|| format!(r"\??\{LETTER}:"))
    }

    /// Adds it to what a simulated machine has to have.
    pub(crate) fn share_in(&self, setup: &mut Setup) {
        setup
            .shares
            .push((self.server.clone(), self.share.clone(), self.folder.clone()));
        setup.volumes.push((LETTER, self.folder.clone()));
    }

    /// Removes what was made.
    ///
    /// # Errors
    /// [`Environment`] names what is left behind.
    pub(crate) fn remove(self) -> Result<(), Environment> {
        let folder = self.folder;
        self.made.close().map_err(|error| Environment::Files {
            doing: "removing what the run made in",
            path: folder,
            error,
        })
    }
}

/// The components of `\\server\share\…`, two at least.
fn split(named: &str) -> Result<Vec<String>, Environment> {
    let Some(rest) = named.strip_prefix(r"\\") else {
        return Err(not_unc(named, "a root is written \\\\server\\share"));
    };
    let parts: Vec<String> = rest
        .trim_end_matches('\\')
        .split('\\')
        .map(str::to_owned)
        .collect();
    let usable = parts.len() >= 2
        && parts.iter().all(|part| !part.is_empty())
        && !matches!(parts[0].as_str(), "." | "?");
    if usable {
        Ok(parts)
    } else {
        Err(not_unc(
            named,
            "a root is written \\\\server\\share, without empty parts",
        ))
    }
}

fn not_unc(named: &str, why: &str) -> Environment {
    Environment::Machine {
        doing: format!("taking {named} as the root"),
        why: why.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::split;

    #[test]
    fn a_root_has_a_server_and_a_share() {
        assert_eq!(split(r"\\a\b").unwrap(), ["a", "b"]);
        assert_eq!(split(r"\\a\b\c\").unwrap(), ["a", "b", "c"]);
        for bad in [
            r"a\b",
            r"\\a",
            r"\\a\",
            r"\\\b",
            r"\\?\UNC\a\b",
            r"\\a\\b",
            "",
        ] {
            assert!(split(bad).is_err(), "{bad}");
        }
    }
}
