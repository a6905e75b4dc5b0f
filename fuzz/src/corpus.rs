//! What a target starts from.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::Target;

/// An input with its name.
#[derive(Clone, Debug)]
pub struct Seed {
    /// Its file's name, or what it is.
    pub name: String,
    /// The input.
    pub bytes: Vec<u8>,
}

impl Seed {
    /// An input that is made.
    #[must_use]
    pub fn new(name: &str, bytes: impl Into<Vec<u8>>) -> Self {
        Self {
            name: name.to_owned(),
            bytes: bytes.into(),
        }
    }
}

/// The folder of a target's inputs.
#[must_use]
pub fn folder(target: &Target) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("corpus")
        .join(target.name)
}

/// The inputs that are kept in the corpus's folder, by name.
///
/// # Errors
/// The folder or a file in it cannot be read.
pub fn kept(target: &Target) -> io::Result<Vec<Seed>> {
    let folder = folder(target);
    let mut seeds = Vec::new();
    if !folder.is_dir() {
        return Ok(seeds);
    }
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        seeds.push(Seed::new(&name, fs::read(&path)?));
    }
    seeds.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(seeds)
}

/// All that a target starts from: kept inputs, then made ones.
///
/// # Errors
/// As [`kept`].
pub fn all(target: &Target) -> io::Result<Vec<Seed>> {
    let mut seeds = kept(target)?;
    seeds.extend((target.seeds)());
    Ok(seeds)
}
