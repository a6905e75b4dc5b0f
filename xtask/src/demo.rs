//! `cargo xtask demo`: from nothing to the picture.

#[cfg(not(windows))]
use std::path::{Path, PathBuf};

use anyhow::Result;

#[cfg(not(windows))]
use crate::host;
use crate::{driver, layout::Layout, setup};

/// Builds the driver and the harness and runs the scenarios that show what the driver is for.
#[cfg(not(windows))]
pub(crate) fn run(layout: &Layout, options: setup::Options) -> Result<()> {
    let toolchain = setup::ensure(layout, options)?;
    let built = driver::build_and_inspect(&toolchain, layout, "headroom")?;
    eprintln!("building the test harness");
    host::cargo("build the test harness", layout)
        .args([
            "build",
            "--locked",
            "--profile",
            host::PROFILE,
            "--package",
            "headroom-harness",
        ])
        .run()?;
    let out = layout.out().join("demo");
    for scenario in [
        &["nested", "--depth", "64", "--policy", "both"][..],
        &["dfs"],
    ] {
        println!();
        harness(layout, scenario, &built.sys, &out)?;
    }
    Ok(())
}

/// Runs the harness.
#[cfg(not(windows))]
fn harness(layout: &Layout, scenario: &[&str], sys: &Path, out: &Path) -> Result<()> {
    let name = scenario.first().copied().unwrap_or_default();
    let relative = |path: &Path| {
        path.strip_prefix(&layout.root)
            .map_or_else(|_| path.to_path_buf(), PathBuf::from)
    };
    host::cargo(&format!("run the scenario `{name}`"), layout)
        .args([
            "run",
            "--quiet",
            "--locked",
            "--profile",
            host::PROFILE,
            "--package",
            "headroom-harness",
            "--bin",
            "headroom",
            "--",
        ])
        .arg("run")
        .args(scenario)
        .arg("--driver")
        .arg(relative(sys))
        .arg("--out")
        .arg(relative(out))
        .remedy("the harness says above what it expected and what it saw")
        .run()
}

/// On Windows there is no ntbench: the driver is built, and a test machine is where it is shown.
#[cfg(windows)]
pub(crate) fn run(layout: &Layout, options: setup::Options) -> Result<()> {
    let toolchain = setup::ensure(layout, options)?;
    let built = driver::build_and_inspect(&toolchain, layout, "headroom")?;
    println!(
        "\n{} is built; it loads on a machine with test signing on, once it is signed (docs/building.md)",
        built.sys.display()
    );
    Ok(())
}
