//! Cargo for the machine at hand: the one that runs this tool, with the user's own settings.

use std::path::PathBuf;

use anyhow::Result;

use crate::{
    layout::Layout,
    run::{Tool, which},
    setup::install_subcommand,
};

/// The profile for host programs that are run, not debugged: optimised, without the link-time optimisation that the driver wants.
pub(crate) const PROFILE: &str = "host";

/// A Cargo command in the workspace.
pub(crate) fn cargo(step: &str, layout: &Layout) -> Tool {
    let cargo = std::env::var_os("CARGO").map_or_else(|| PathBuf::from("cargo"), PathBuf::from);
    Tool::new(step, cargo).dir(&layout.root)
}

/// Whether cargo-nextest is installed.
pub(crate) fn has_nextest() -> bool {
    which("cargo-nextest").is_some()
}

/// Makes sure that a Cargo subcommand (`fmt`, `clippy`) is there.
pub(crate) fn ensure_subcommand(layout: &Layout, name: &str) -> Result<()> {
    let there = || {
        cargo("look for a Cargo subcommand", layout)
            .args([name, "--version"])
            .output()
    };
    if there().is_ok() {
        return Ok(());
    }
    install_subcommand(name, std::env::var_os("RUSTUP_TOOLCHAIN").as_deref())?;
    there().map(drop)
}
