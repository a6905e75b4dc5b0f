//! `headroom uninstall`: takes the driver off this machine, however it came there and however much of it is left.

use std::path::PathBuf;

use super::{Failure, Verdict, install};

/// What follows the help.
pub const HELP: &str = "\
Unloads the driver, removes its service and its file. Safe to run where nothing, or only half of it, is installed. The prompt has to be an
administrator's.";

/// What to take away.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The folder of the package that was installed; needed only for --remove-test-certificate, and on systems without a driver store.
    #[arg(long, value_name = "PACKAGE")]
    pub package: Option<PathBuf>,

    /// Take the package's test certificate out of the machine's Root and TrustedPublisher stores as well.
    #[arg(long, requires = "package")]
    pub remove_test_certificate: bool,

    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

impl Args {
    /// Uninstalls.
    ///
    /// # Errors
    /// [`Failure`]: nothing was changed, since something is missing; or standard output cannot be written to.
    #[cfg(windows)]
    pub fn run(&self) -> Result<Verdict, Failure> {
        use install::{Refusal, finish, flow, package::Package, windows::Windows};
        let package = match &self.package {
            Some(folder) => Package::read(folder).map(Some),
            None => Ok(None),
        };
        let done = package.and_then(|package| {
            let mut system = Windows::new();
            flow::uninstall(&mut system, package.as_ref(), self.remove_test_certificate)
        });
        finish(done.map_err(Refusal), self.json)
    }

    /// Says that this is not Windows.
    ///
    /// # Errors
    /// Always.
    #[cfg(not(windows))]
    pub fn run(&self) -> Result<Verdict, Failure> {
        Err(install::elsewhere("uninstalling a driver"))
    }
}
