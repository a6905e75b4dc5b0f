//! Finds or makes everything that a driver build needs, and says what and why.
//!
//! * On Windows, or where `WDKContentRoot` names a WDK: that WDK is used, and nothing is installed.
//! * On Linux without one: a synthetic WDK (headers of mingw-w64, import libraries from lists of names), and a compiler for
//!   x86_64-pc-windows-msvc, which is rustup's where that target can be added, else the distribution's with a private sysroot.
//!
//! Everything here may be called again and again: what is there and made from the same inputs is left alone.

#[cfg(not(windows))]
mod apt;
#[cfg(not(windows))]
mod browser;
#[cfg(not(windows))]
mod c;
#[cfg(not(windows))]
mod compiler;
#[cfg(not(windows))]
mod linux;
#[cfg(not(windows))]
mod node;
#[cfg(not(windows))]
mod program;
#[cfg(not(windows))]
mod sysroot;
#[cfg(not(windows))]
mod wdk;
#[cfg(not(windows))]
mod wine;

use std::{
    ffi::{OsStr, OsString},
    path::PathBuf,
};

use anyhow::Result;

use crate::{layout::Layout, run::Tool};

/// What to run Cargo with so that it builds drivers.
#[derive(Clone, Debug)]
pub(crate) struct Toolchain {
    /// The Cargo to run.
    pub(crate) cargo: PathBuf,
    /// Environment variables to set.
    pub(crate) env: Vec<(String, OsString)>,
    /// What the compiler is and where it comes from, for people.
    pub(crate) description: String,
    /// Digest of what every compiled crate depends on beyond what Cargo itself watches.
    pub(crate) compile_key: String,
    /// Digest of what the link depends on beyond that.
    pub(crate) link_key: String,
    /// Machine paths and the names that stand for them in what is built.
    pub(crate) remap: Vec<(PathBuf, String)>,
}

/// How far setting up may go.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Options {
    /// Try again what was refused before.
    pub(crate) retry: bool,
    /// Print what is there already, not only what is being done.
    pub(crate) verbose: bool,
}

/// Makes sure that drivers can be built.
#[cfg(not(windows))]
pub(crate) fn ensure(layout: &Layout, options: Options) -> Result<Toolchain> {
    linux::ensure(layout, options)
}

/// Makes sure that drivers can be built: the installed WDK's own build finds everything by itself.
#[cfg(windows)]
pub(crate) fn ensure(_layout: &Layout, options: Options) -> Result<Toolchain> {
    let cargo = PathBuf::from(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    let found = std::env::var("WDKContentRoot").map_or_else(
        |_| "the installed WDK".to_owned(),
        |root| format!("the WDK at {root}"),
    );
    if options.verbose {
        say(&format!("using {found}; nothing to set up"));
    }
    Ok(Toolchain {
        cargo,
        env: Vec::new(),
        description: format!("this Cargo with {found}"),
        compile_key: String::new(),
        link_key: String::new(),
        remap: Vec::new(),
    })
}

/// Makes sure of what only the tests need.
#[cfg(not(windows))]
pub(crate) fn ensure_test_tools(layout: &Layout) -> Result<()> {
    linux::ensure_test_tools(layout)
}

/// Makes sure that programs for Windows can be built.
#[cfg(not(windows))]
pub(crate) fn ensure_program(layout: &Layout, options: Options) -> Result<Toolchain> {
    program::ensure(layout, options)
}

/// Makes sure of Wine; gives the script that runs a program for Windows.
#[cfg(not(windows))]
pub(crate) fn ensure_wine(layout: &Layout) -> Result<PathBuf> {
    wine::ensure(layout)
}

/// Nothing: the tests that need more run on Linux.
#[cfg(windows)]
pub(crate) fn ensure_test_tools(_layout: &Layout) -> Result<()> {
    Ok(())
}

/// Makes sure of a C++ compiler, which the engine of guided fuzzing is compiled by.
#[cfg(not(windows))]
pub(crate) fn ensure_cpp() -> Result<()> {
    linux::ensure_cpp()
}

/// Makes sure of Node.js, which the debugger's script is tested in.
#[cfg(not(windows))]
pub(crate) fn ensure_node() -> Result<()> {
    node::ensure()
}

/// Nothing: whoever has no Node.js on Windows is told by the step that wants it.
#[cfg(windows)]
pub(crate) fn ensure_node() -> Result<()> {
    Ok(())
}

/// Makes sure of what only the package needs: who signs, and who makes the certificate.
#[cfg(not(windows))]
pub(crate) fn ensure_package_tools() -> Result<()> {
    linux::ensure_package_tools()
}

/// Makes sure of a browser; where it is, for the tests to find.
#[cfg(not(windows))]
pub(crate) fn ensure_browser() -> Result<PathBuf> {
    browser::ensure()
}

/// The tests that look at pages run on Linux.
#[cfg(windows)]
pub(crate) fn ensure_browser() -> Result<PathBuf> {
    anyhow::bail!("pages are looked at in a browser on Linux")
}

/// A line about setting up.
pub(crate) fn say(what: &str) {
    eprintln!("setup: {what}");
}

impl Toolchain {
    /// Makes sure that Cargo's subcommand `name` is there for driver builds.
    pub(crate) fn ensure_subcommand(&self, layout: &Layout, name: &str) -> Result<()> {
        let there = || {
            self.cargo("look for a Cargo subcommand")
                .dir(&layout.root)
                .args([name, "--version"])
                .output()
        };
        if there().is_ok() {
            return Ok(());
        }
        let rustup = self
            .env
            .iter()
            .find(|(key, _)| key == "RUSTUP_TOOLCHAIN")
            .map(|(_, name)| name.as_os_str());
        install_subcommand(name, rustup)?;
        there().map(drop)
    }

    /// A Cargo command for driver packages.
    pub(crate) fn cargo(&self, step: &str) -> Tool {
        self.tool(step, &self.cargo)
    }

    /// Any command in the environment of driver builds.
    pub(crate) fn tool(&self, step: &str, program: impl AsRef<OsStr>) -> Tool {
        let tool = Tool::new(step, program).without_outer_cargo();
        self.env
            .iter()
            .fold(tool, |tool, (key, value)| tool.env(key, value))
    }
}

/// Installs a Cargo subcommand (`fmt`, `clippy`) from where the toolchain came from: `rustup` is its name there, if it has one.
pub(crate) fn install_subcommand(name: &str, rustup: Option<&OsStr>) -> Result<()> {
    if let (Some(program), Some(toolchain)) = (crate::run::which("rustup"), rustup) {
        let component = if name == "fmt" { "rustfmt" } else { name };
        return Tool::new(format!("install cargo {name}"), program)
            .args(["component", "add", "--toolchain"])
            .arg(toolchain)
            .arg(component)
            .run();
    }
    install_package(name)
}

#[cfg(not(windows))]
fn install_package(name: &str) -> Result<()> {
    let (anyone_of, why): (&'static [_], _) = match name {
        "fmt" => (
            &["rustfmt-web", "rustfmt"],
            "checks the format of the source",
        ),
        _ => (&["rust-web-clippy", "rust-clippy"], "lints the source"),
    };
    apt::install(&[apt::Need {
        anyone_of,
        why,
        otherwise: "rustup component add rustfmt clippy, where rustup brought the compiler",
    }])
}

#[cfg(windows)]
fn install_package(name: &str) -> Result<()> {
    anyhow::bail!("`cargo {name}` is not installed\n  to do:   rustup component add rustfmt clippy")
}
