//! The tests of the debugger's script, `debugger/headroom.js`, in Node: those that need no driver.

use std::fs;

use anyhow::{Context as _, Result};

use crate::{layout::Layout, run::Tool, setup};

/// Runs them. What compares the script with `crates/protocol` over the driver's own memory is a test of the harness.
pub(crate) fn run(layout: &Layout) -> Result<()> {
    setup::ensure_node()?;
    let folder = layout.root.join("debugger/tests");
    let entries =
        fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut tests: Vec<_> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.to_string_lossy().ends_with(".test.mjs"))
        .collect();
    tests.sort();
    Tool::new("test the debugger's script", "node")
        .dir(&layout.root)
        .arg("--test")
        .args(&tests)
        .remedy("node --test debugger/tests/<file>; it needs Node.js 18 or newer")
        .run()
        .inspect(|()| eprintln!("what these cannot prove: debugger/tests/README.md"))
}
