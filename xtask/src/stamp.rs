//! Generated directories that are either whole or not there.
//!
//! A directory is made beside its place and renamed into it together with a stamp: the digest of everything it was made from. The next run
//! compares stamps and does nothing when they are equal. An interrupted run leaves only a directory with another name, which the next
//! one removes.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use sha2::{Digest as _, Sha256};

const STAMP: &str = ".stamp";

/// A digest over named inputs.
#[derive(Clone)]
pub(crate) struct Key(Sha256);

impl Key {
    /// A key for things of one kind; raise `revision` when the code that makes them changes what it makes.
    pub(crate) fn new(kind: &str, revision: u32) -> Self {
        Self(Sha256::new())
            .with("kind", kind)
            .with("revision", revision.to_string())
    }

    /// Adds an input. Lengths are hashed too, so that no two lists of inputs run into each other.
    pub(crate) fn with(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        for part in [name.as_bytes(), value.as_ref()] {
            self.0.update((part.len() as u64).to_le_bytes());
            self.0.update(part);
        }
        self
    }

    /// Adds a file's path and content.
    pub(crate) fn with_file(self, path: &Path) -> Result<Self> {
        let content = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        Ok(self.with(&path.to_string_lossy(), content))
    }

    /// The digest in hexadecimal.
    pub(crate) fn hex(self) -> String {
        self.0
            .finalize()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }
}

/// Whether `dest` was made from exactly the inputs in `key`.
pub(crate) fn is_current(dest: &Path, key: &str) -> bool {
    fs::read_to_string(dest.join(STAMP)).is_ok_and(|stamp| stamp == key)
}

/// Makes `dest` with `make`, which is given an empty directory to fill, unless it is current already.
pub(crate) fn produce(
    dest: &Path,
    key: &str,
    make: impl FnOnce(&Path) -> Result<()>,
) -> Result<()> {
    if is_current(dest, key) {
        return Ok(());
    }
    let aside = beside(dest, "making");
    remove(&aside)?;
    fs::create_dir_all(&aside).with_context(|| format!("cannot create {}", aside.display()))?;
    make(&aside)?;
    fs::write(aside.join(STAMP), key)
        .with_context(|| format!("cannot write the stamp in {}", aside.display()))?;
    replace(&aside, dest)
}

/// Puts `new` where `dest` is.
fn replace(new: &Path, dest: &Path) -> Result<()> {
    let old = beside(dest, "old");
    remove(&old)?;
    if dest.exists() {
        fs::rename(dest, &old).with_context(|| format!("cannot move {} aside", dest.display()))?;
    }
    fs::rename(new, dest).with_context(|| format!("cannot put {} in place", dest.display()))?;
    remove(&old)
}

/// Removes a directory that may not be there.
pub(crate) fn remove(dir: &Path) -> Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", dir.display()))
        }
        _ => Ok(()),
    }
}

/// Copies a file so that whoever looks at `dest` sees the old one or the new one, never half of it.
pub(crate) fn copy_into_place(source: &Path, dest: &Path) -> Result<()> {
    let aside = beside(dest, "copying");
    fs::copy(source, &aside)
        .with_context(|| format!("cannot copy {} to {}", source.display(), aside.display()))?;
    fs::rename(&aside, dest).with_context(|| format!("cannot put {} in place", dest.display()))
}

fn beside(dest: &Path, what: &str) -> PathBuf {
    let name = dest.file_name().unwrap_or_default().to_string_lossy();
    dest.with_file_name(format!(".{name}.{what}"))
}

#[cfg(test)]
mod tests {
    use anyhow::bail;

    use super::*;

    fn fill(text: &'static str) -> impl FnOnce(&Path) -> Result<()> {
        move |dir| Ok(fs::write(dir.join("f"), text)?)
    }

    #[test]
    fn made_once_for_one_key_and_again_for_another() {
        let root = tempfile::tempdir().unwrap();
        let dest = root.path().join("thing");
        produce(&dest, "k1", fill("one")).unwrap();
        produce(&dest, "k1", |_| bail!("made a second time")).unwrap();
        assert_eq!(fs::read_to_string(dest.join("f")).unwrap(), "one");
        produce(&dest, "k2", fill("two")).unwrap();
        assert_eq!(fs::read_to_string(dest.join("f")).unwrap(), "two");
        assert_eq!(
            fs::read_dir(root.path()).unwrap().count(),
            1,
            "nothing is left beside it"
        );
    }

    #[test]
    fn an_interrupted_making_is_not_believed_and_leaves_the_old_thing_alone() {
        let root = tempfile::tempdir().unwrap();
        let dest = root.path().join("thing");
        produce(&dest, "k1", fill("one")).unwrap();
        let broken = produce(&dest, "k2", |dir| {
            fs::write(dir.join("f"), "half")?;
            bail!("interrupted")
        });
        broken.unwrap_err();
        assert!(is_current(&dest, "k1") && !is_current(&dest, "k2"));
        assert_eq!(fs::read_to_string(dest.join("f")).unwrap(), "one");
        produce(&dest, "k2", fill("two")).unwrap();
        assert_eq!(fs::read_to_string(dest.join("f")).unwrap(), "two");
    }

    #[test]
    fn keys_differ_by_name_value_and_boundary() {
        let key = |parts: &[(&str, &str)]| {
            parts
                .iter()
                .fold(Key::new("t", 1), |key, (name, value)| key.with(name, value))
                .hex()
        };
        let all = [
            key(&[("a", "bc")]),
            key(&[("ab", "c")]),
            key(&[("a", "b"), ("", "c")]),
            key(&[]),
            Key::new("t", 2).hex(),
        ];
        for (at, one) in all.iter().enumerate() {
            assert!(all[at + 1..].iter().all(|other| other != one), "{all:?}");
        }
    }
}
