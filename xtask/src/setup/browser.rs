//! A browser, in which the pages of reports are looked at.

use std::path::PathBuf;

use anyhow::{Result, bail};

use super::apt;
use crate::run;

/// Finds Chromium or Chrome, and installs Chromium where there is neither.
pub(super) fn ensure() -> Result<PathBuf> {
    const WHY: &str = "draws the pages of reports, so that tests see that the plots are there";
    let find = || {
        ["chromium", "chromium-browser", "google-chrome"]
            .into_iter()
            .find_map(run::which)
    };
    if let Some(browser) = find() {
        return Ok(browser);
    }
    apt::install(&[apt::Need {
        anyone_of: &["chromium"],
        why: WHY,
        otherwise: "install Chromium or Chrome, so that chromium or google-chrome is in PATH",
    }])?;
    match find() {
        Some(browser) => Ok(browser),
        None => bail!(
            "step `find a browser` failed\n  neither chromium nor google-chrome is in PATH; it {WHY}"
        ),
    }
}
