//! headroom.exe under Wine.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

use crate::{
    host,
    layout::{Layout, PROGRAM_TARGET},
    program,
    setup::{self, Toolchain},
};

/// headroom.exe, and the script that runs it.
pub(crate) struct Wine {
    /// What runs a program for Windows.
    pub(crate) run: PathBuf,
    /// The program.
    pub(crate) program: PathBuf,
    /// What it was built with.
    toolchain: Toolchain,
}

/// The variables by which tests find them.
const RUN_VARIABLE: &str = "HEADROOM_WINE";
/// See [`RUN_VARIABLE`].
const PROGRAM_VARIABLE: &str = "HEADROOM_EXE";

/// Builds the program and makes sure of Wine.
pub(crate) fn ensure(layout: &Layout, options: setup::Options) -> Result<Wine> {
    let toolchain = setup::ensure_program(layout, options)?;
    let program = program::build(&toolchain, layout)?;
    let run = setup::ensure_wine(layout)?;
    Ok(Wine {
        run,
        program,
        toolchain,
    })
}

impl Wine {
    /// Runs the program, and ends with its exit status.
    pub(crate) fn run(&self, args: &[String]) -> Result<()> {
        let status = Command::new(&self.run)
            .arg(&self.program)
            .args(args)
            .status()
            .with_context(|| format!("cannot run {}", self.run.display()))?;
        match status.code() {
            Some(0) => Ok(()),
            Some(code) => std::process::exit(code),
            None => bail!("headroom.exe did not end by itself: {status}"),
        }
    }

    /// Lints and tests what calls Windows.
    pub(crate) fn check(&self, layout: &Layout) -> Result<()> {
        self.lint(layout)?;
        self.test_calls(layout)
    }

    /// Its prefix, which lies beside the script.
    pub(crate) fn prefix(&self) -> PathBuf {
        self.run.with_file_name("prefix")
    }

    /// The variables by which the harness's tests find both.
    pub(crate) fn variables(&self) -> [(String, PathBuf); 2] {
        [(RUN_VARIABLE, &self.run), (PROGRAM_VARIABLE, &self.program)]
            .map(|(name, path)| (name.to_owned(), absolute(path)))
    }

    /// Lints the harness and what it calls Windows with, as they are compiled for Windows.
    pub(crate) fn lint(&self, layout: &Layout) -> Result<()> {
        self.toolchain.ensure_subcommand(layout, "clippy")?;
        self.toolchain
            .cargo("lint the harness for Windows")
            .dir(&layout.root)
            .args(["clippy", "--locked", "--profile", host::PROFILE])
            .args(["--package", "winuser", "--package", "headroom-harness"])
            .args(["--target", PROGRAM_TARGET, "--target-dir"])
            .arg(layout.program_target())
            .args(["--", "-D", "warnings"])
            .remedy("mend what clippy found; the workspace's lint wall stands in Cargo.toml")
            .run()
    }

    /// Runs the tests of the crate that calls Windows, built for it, under Wine.
    pub(crate) fn test_calls(&self, layout: &Layout) -> Result<()> {
        self.toolchain
            .cargo("test the Windows calls under Wine")
            .dir(&layout.root)
            .args(["test", "--locked", "--profile", host::PROFILE])
            .args(["--package", "winuser", "--target", PROGRAM_TARGET])
            .arg("--target-dir")
            .arg(layout.program_target())
            .env(runner_variable(), absolute(&self.run))
            .remedy("the test's message stands above; winuser's tests name what Wine does otherwise than Windows")
            .run()
    }
}

/// The variable by which Cargo finds what runs a test of this target.
fn runner_variable() -> String {
    let target = PROGRAM_TARGET.to_uppercase().replace('-', "_");
    format!("CARGO_TARGET_{target}_RUNNER")
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf())
}
