//! The files behind the scenarios' shares.

use std::fs;
use std::path::{Path, PathBuf};

use crate::backend::Environment;

pub(super) const SERVER: &str = "server";
pub(super) const SHARE: &str = "share";

/// The share's root, as a caller of `NtCreateFile` names it.
pub(super) fn share_root() -> String {
    format!(r"\??\UNC\{SERVER}\{SHARE}")
}

/// The name of the directory so many levels below the share.
pub(super) fn level(depth: u32) -> String {
    format!("d{depth:02}")
}

/// Makes `levels` directories, one in the other, and gives back the deepest.
pub(super) fn directories(folder: &Path, levels: u32) -> Result<PathBuf, Environment> {
    let mut path = folder.to_owned();
    path.extend((1..=levels).map(level));
    fs::create_dir_all(&path).map_err(|error| failed("making the directories", &path, error))?;
    Ok(path)
}

/// Makes a small file.
pub(super) fn file(folder: &Path, name: &str) -> Result<(), Environment> {
    let path = folder.join(name);
    fs::write(&path, "headroom\n").map_err(|error| failed("writing", &path, error))
}

fn failed(doing: &'static str, path: &Path, error: std::io::Error) -> Environment {
    Environment::Files {
        doing,
        path: path.to_owned(),
        error,
    }
}
