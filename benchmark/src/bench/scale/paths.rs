//! Paths to open: made below the machines' folder, as deep and as long as is asked for.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::bench::rig::{REMOTE, Workshop};

/// One component's name.
const SHORT: &str = "d";
/// As long as a component is made, which can have 255, and some room.
const LONG: usize = 240;
/// What the filters' name of a file on the share begins with, up to the backslash.
const SHARE: &str = r"\Device\Mup\server\share";

/// Makes a chain of directories below the machines' folder and gives its name on the share.
pub(super) fn chain<'n>(
    workshop: &Workshop,
    names: impl IntoIterator<Item = &'n str>,
) -> Result<String> {
    // One step after the other: a path as long as this is more than the host takes at once.
    let mut at = Dir::open(&workshop.folder)?;
    let mut path = String::new();
    for name in names {
        at = at.enter(name)?;
        if !path.is_empty() {
            path.push('\\');
        }
        path.push_str(name);
    }
    Ok(format!("{REMOTE}{path}"))
}

/// So many directories with short names, one in the other.
pub(super) fn deep(workshop: &Workshop, depth: u64) -> Result<String> {
    chain(workshop, (0..depth).map(|_| SHORT))
}

/// The components of a path of which the filters see so many characters, as few as that takes.
pub(super) fn spread(characters: u64) -> Vec<usize> {
    let mut left = usize::try_from(characters).unwrap_or(0);
    left = left.saturating_sub(SHARE.len() + 1);
    let mut components = Vec::new();
    while left > LONG + 1 {
        // What is left behind this one's backslash is a component, too.
        let one = LONG.min(left - 2);
        components.push(one);
        left -= one + 1;
    }
    if left > 0 {
        components.push(left);
    }
    components
}

/// A directory, named in a way that stays short.
struct Dir {
    handle: fs::File,
}

impl Dir {
    /// Opens one.
    fn open(path: &Path) -> Result<Self> {
        Ok(Self {
            handle: fs::File::open(path)?,
        })
    }

    /// Goes to a directory in it, which is made if need be.
    fn enter(&self, name: &str) -> Result<Self> {
        use std::os::fd::AsRawFd as _;
        let path: PathBuf = format!("/proc/self/fd/{}/{name}", self.handle.as_raw_fd()).into();
        if !path.is_dir() {
            fs::create_dir(&path)?;
        }
        Self::open(&path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_of_so_many_characters_has_no_empty_component() {
        for characters in [26, 27, 264, 265, 266, 267, 268, 500, 32_767] {
            let components = spread(characters);
            assert!(components.iter().all(|length| (1..=255).contains(length)));
            let path = components.len() + components.iter().sum::<usize>();
            assert_eq!((SHARE.len() + path) as u64, characters);
        }
    }
}
