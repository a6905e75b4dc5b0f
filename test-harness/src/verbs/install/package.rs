//! The driver's package, as it lies in a folder.

use std::path::{Path, PathBuf};

use inf::Inf;

/// A package that is whole.
#[derive(Clone, Debug)]
pub(in crate::verbs) struct Package {
    /// headroom.inf.
    pub(in crate::verbs) inf: PathBuf,
    /// What it says.
    pub(in crate::verbs) content: Inf,
    /// headroom.sys.
    pub(in crate::verbs) image: PathBuf,
    /// The test certificate, where the package has one.
    pub(in crate::verbs) certificate: Option<PathBuf>,
}

impl Package {
    /// Reads a folder.
    pub(in crate::verbs) fn read(folder: &Path) -> Result<Self, String> {
        let file = |name: &str| {
            let path = folder.join(name);
            path.is_file().then_some(path).ok_or_else(|| {
                format!(
                    "{} holds no {name}: name the folder of a driver package, which `cargo xtask package` makes",
                    folder.display()
                )
            })
        };
        let (path, image) = (file("headroom.inf")?, file("headroom.sys")?);
        file("headroom.cat")?;
        Ok(Self {
            content: inf::read(&path).map_err(|error| error.to_string())?,
            inf: path,
            image,
            certificate: file("headroom-test.cer").ok(),
        })
    }
}
