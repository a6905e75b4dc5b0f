//! The files behind the scenarios' roots.

use std::fs;
use std::path::{Path, PathBuf};

use super::actor::Expected;
use super::root::Root;
use super::status;
use crate::backend::{Environment, System};

/// The name of the directory so many levels below the root.
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

/// Makes a directory.
pub(super) fn directory(folder: &Path, name: &str) -> Result<PathBuf, Environment> {
    let path = folder.join(name);
    fs::create_dir(&path).map_err(|error| failed("making the directory", &path, error))?;
    Ok(path)
}

/// Makes a small file.
pub(super) fn file(folder: &Path, name: &str) -> Result<(), Environment> {
    let path = folder.join(name);
    fs::write(&path, "headroom\n").map_err(|error| failed("writing", &path, error))
}

pub(super) fn failed(doing: &'static str, path: &Path, error: std::io::Error) -> Environment {
    Environment::Files {
        doing,
        path: path.to_owned(),
        error,
    }
}

/// A share and a server that are not there.
pub(super) fn absent_servers(root: &Root) -> [(String, Expected); 2] {
    const WINE: &str = "Wine looks UNC names up in a folder, where servers and shares are directories like any other";
    let expected =
        |status| Expected::from(status).but(System::Wine, status::OBJECT_PATH_NOT_FOUND, WINE);
    [
        (
            format!(r"\??\UNC\{}\headroom-absent\file.txt", root.server()),
            expected(status::BAD_NETWORK_NAME),
        ),
        (
            format!(r"\??\UNC\headroom-absent\{}\file.txt", root.share()),
            expected(status::BAD_NETWORK_PATH),
        ),
    ]
}
