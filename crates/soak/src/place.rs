//! What can be opened: the same files on the machine with the driver and on its twin, each below a folder of its own.

use std::fs;
use std::io;
use std::path::Path;

use fastrand::Rng;
use ntbench::wire::{NamespaceConfig, Server, Share, Volume};
use tempfile::TempDir;

/// The local volume.
pub(crate) const LOCAL: &str = r"\Device\HarddiskVolume1";
/// Where the share begins.
pub(crate) const SHARE: &str = r"\??\UNC\server\share";
/// Directories of the tree that everybody reads, one in the other.
pub(crate) const LEVELS: usize = 12;

/// A machine's files.
pub(crate) struct Place {
    folder: TempDir,
}

impl Place {
    /// Makes them. The contents come from `rng`: give both machines one of the same seed.
    pub(crate) fn make(rng: &mut Rng, openers: u64) -> io::Result<Self> {
        let folder = tempfile::tempdir()?;
        for root in ["share", "local"] {
            let mut at = folder.path().join(root).join("shared");
            for level in 0..=LEVELS {
                fs::create_dir_all(&at)?;
                let length = rng.usize(0..6000);
                let bytes: Vec<u8> = std::iter::repeat_with(|| rng.u8(..)).take(length).collect();
                fs::write(at.join("file.txt"), bytes)?;
                at.push(format!("d{:02}", level + 1));
            }
        }
        for opener in 0..openers {
            fs::create_dir_all(folder.path().join("share").join(own(opener)))?;
        }
        Ok(Self { folder })
    }

    /// What shows them.
    pub(crate) fn namespace(&self) -> NamespaceConfig {
        let below = |name: &str| -> std::path::PathBuf { Path::new(self.folder.path()).join(name) };
        NamespaceConfig {
            servers: vec![Server {
                name: "server".to_owned(),
                shares: vec![Share {
                    name: "share".to_owned(),
                    folder: below("share"),
                }],
            }],
            volumes: vec![Volume {
                device: LOCAL.to_owned(),
                letter: Some('C'),
                folder: below("local"),
            }],
            ..NamespaceConfig::default()
        }
    }
}

/// The directory that only this opener changes: what it finds there depends on nobody else.
pub(crate) fn own(opener: u64) -> String {
    format!("own{opener:02}")
}

/// The file below all of the levels, on the share.
pub(crate) fn deepest() -> String {
    let path: String = (1..=LEVELS).map(|level| format!(r"\d{level:02}")).collect();
    format!(r"{SHARE}\shared{path}\file.txt")
}
