//! Where things are: the workspace and everything this tool makes below its `target` directory.

use std::path::{Path, PathBuf};

/// The target triple of the driver.
pub(crate) const DRIVER_TARGET: &str = "x86_64-pc-windows-msvc";

/// The target triple of programs for Windows, built where Windows is not: mingw-w64 brings all that its link needs.
#[cfg(not(windows))]
pub(crate) const PROGRAM_TARGET: &str = "x86_64-pc-windows-gnu";

/// Paths of one workspace.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    /// The workspace's root.
    pub(crate) root: PathBuf,
}

impl Layout {
    /// The workspace that this tool was built in.
    pub(crate) fn here() -> Self {
        let xtask = Path::new(env!("CARGO_MANIFEST_DIR"));
        Self {
            root: xtask.parent().unwrap_or(xtask).to_path_buf(),
        }
    }

    /// What the user is given: `headroom.sys` and `headroom.pdb`.
    pub(crate) fn out(&self) -> PathBuf {
        self.root.join("target").join("headroom")
    }

    /// Everything that setting up generates.
    pub(crate) fn toolchain(&self) -> PathBuf {
        self.out().join("toolchain")
    }

    /// Cargo's target directory for driver builds: its own, because another compiler than the host's may build there, and inside the
    /// workspace, because wdk-build looks for Cargo.lock in the directories above.
    pub(crate) fn driver_target(&self) -> PathBuf {
        self.out().join("cargo")
    }

    /// Cargo's target directory for programs that run on Windows, when they are built elsewhere.
    #[cfg(not(windows))]
    pub(crate) fn program_target(&self) -> PathBuf {
        self.out().join("cargo-program")
    }
}
