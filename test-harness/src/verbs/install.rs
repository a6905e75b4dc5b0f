//! `headroom install`: puts the driver's package on this machine and loads it; what the package's scripts do, without PowerShell.
//!
//! What is done in which order, and what is taken back when a step fails, stands in `flow`, apart from the calls that do it (`system`):
//! so that each step is made to fail in tests, on any machine.

#[cfg(any(windows, test))]
pub(super) mod flow;
#[cfg(any(windows, test))]
pub(super) mod journal;
#[cfg(any(windows, test))]
pub(super) mod package;
#[cfg(any(windows, test))]
pub(super) mod system;
#[cfg(test)]
mod tests;
#[cfg(windows)]
pub(super) mod windows;

use std::path::PathBuf;

use super::{Failure, Verdict};

/// What follows the help.
pub const HELP: &str = "\
The package is what `cargo xtask package` makes: headroom.sys, headroom.inf, headroom.cat and a certificate. Installing again repairs, or puts
a newer package in place; settings are kept. If a step fails, the ones before it are taken back, and each says so. Test signing is never turned
on by this: it says whether it has to be (`headroom doctor` does, too). The prompt has to be an administrator's.";

/// What to install.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The package's folder.
    #[arg(value_name = "PACKAGE")]
    pub package: PathBuf,

    /// Put the package's test certificate into the machine's Root and TrustedPublisher stores, without which a package that is signed with
    /// it does not install. For machines for tests only: whoever has its key is then trusted there.
    #[arg(long)]
    pub trust_test_certificate: bool,

    /// Install, and do not load: `headroom load` does that.
    #[arg(long)]
    pub no_load: bool,

    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

impl Args {
    /// Installs.
    ///
    /// # Errors
    /// [`Failure`]: nothing was changed, since something is missing; or standard output cannot be written to.
    #[cfg(windows)]
    pub fn run(&self) -> Result<Verdict, Failure> {
        let mut system = windows::Windows::new();
        let wish = flow::Wish {
            trust_test_certificate: self.trust_test_certificate,
            load: !self.no_load,
        };
        let done = package::Package::read(&self.package)
            .map_err(Refusal)
            .and_then(|package| flow::install(&mut system, &package, wish).map_err(Refusal));
        finish(done, self.json)
    }

    /// Says that this is not Windows.
    ///
    /// # Errors
    /// Always.
    #[cfg(not(windows))]
    pub fn run(&self) -> Result<Verdict, Failure> {
        Err(elsewhere("installing a driver"))
    }
}

/// Why nothing was begun.
#[cfg(windows)]
pub(super) struct Refusal(pub(super) String);

/// Prints what was done.
#[cfg(windows)]
pub(super) fn finish(
    done: Result<journal::Journal, Refusal>,
    json: bool,
) -> Result<Verdict, Failure> {
    let journal = done.map_err(|Refusal(what)| Failure::System {
        what,
        advice: "nothing was changed",
    })?;
    if json {
        super::say_json(&journal)?;
    } else {
        super::say(&journal.text())?;
    }
    Ok(Verdict::from_checks(journal.finished))
}

/// What these verbs say where there is no Windows.
#[cfg(not(windows))]
pub(super) fn elsewhere(what: &str) -> Failure {
    Failure::System {
        what: format!("{what} is for Windows"),
        advice: "here `headroom load` runs the driver on a simulated machine",
    }
}
