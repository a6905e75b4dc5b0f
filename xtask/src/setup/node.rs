//! Node.js, which the debugger's script is tested in.

use anyhow::{Result, bail};

use super::apt;
use crate::run;

/// Makes sure that `node` is there: 18, which Debian 12 has, or newer.
pub(super) fn ensure() -> Result<()> {
    const WHY: &str = "runs WinDbg's script over what the driver wrote";
    if run::which("node").is_none() {
        apt::install(&[apt::Need {
            anyone_of: &["nodejs"],
            why: WHY,
            otherwise: "install Node.js 18 or newer, so that node is in PATH",
        }])?;
    }
    if run::which("node").is_none() {
        bail!(
            "step `find Node.js` failed\n  node is not in PATH; it {WHY}\n  to do:   install Node.js 18 or newer"
        );
    }
    Ok(())
}
