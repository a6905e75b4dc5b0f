//! `headroom doctor`: what works here, what does not, and how to mend it.
//!
//! On Windows that is everything between a built driver and its first record; what is found (`facts`) is apart from what is thought of it
//! (`judge`), so that the thinking is tested where there is no Windows. On Linux it is what this build can do: whether simulated machines
//! run, whether the driver's image is there and loads, and which tools there are to build and to look with.

#[cfg(any(windows, test))]
mod facts;
#[cfg(any(windows, test))]
mod judge;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod linux;
mod page;
#[cfg(windows)]
mod windows;

use std::path::PathBuf;

#[cfg(windows)]
pub(super) use windows::file_of;

pub use page::{Check, Group, Outcome, Page};

use super::{Failure, Verdict, say, say_json};

/// What follows the help.
pub const HELP: &str = "\
Each check is `ok`, a `warning` (it works, but), `failed` (with what to do about it), or was `not checked` (and why).
Nothing is changed. Exit status: 0 nothing failed; 1 something did; 2 the checks could not be made.";

/// What to look at.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The driver's image; without it, the installed one on Windows, and target/headroom/headroom.sys elsewhere.
    #[arg(long, value_name = "SYS")]
    pub driver: Option<PathBuf>,

    /// A folder on a server to look whether it can be reached: \\server\share.
    #[arg(long, value_name = "UNC PATH")]
    pub share: Option<String>,

    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

impl Args {
    /// Looks, and prints what it found.
    ///
    /// # Errors
    /// [`Failure`]: standard output cannot be written to.
    pub fn run(&self) -> Result<Verdict, Failure> {
        let page = self.page();
        if self.json {
            say_json(&page)?;
        } else {
            say(&page.text())?;
        }
        Ok(Verdict::from_checks(!page.has_failed()))
    }

    #[cfg(windows)]
    fn page(&self) -> Page {
        let facts = windows::gather(self.driver.as_deref(), self.share.as_deref());
        judge::judge(&facts)
    }

    #[cfg(all(target_os = "linux", target_arch = "x86_64"))]
    fn page(&self) -> Page {
        linux::page(self.driver.as_deref(), self.share.as_deref())
    }

    /// The page of a build that can do neither.
    #[cfg(not(any(windows, all(target_os = "linux", target_arch = "x86_64"))))]
    fn page(&self) -> Page {
        let mend =
            "reading saved reports works here; for the rest use Windows, or 64-bit x86 Linux";
        let check = Check::failed("driver", "this build has no machine to run it on", mend);
        Page::new(
            "another system",
            vec![Group::new("This machine", vec![check])],
        )
    }
}
