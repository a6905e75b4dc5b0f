//! The machine that a scenario runs on.
//!
//! On Linux that is the bench, which loads the very `headroom.sys` that Windows loads. A backend that talks to the
//! installed driver on Windows has the same shape: it starts, opens, and hands back what the driver recorded.

use std::path::PathBuf;

use protocol::{DecodeError, NtStatus};
use thiserror::Error;

use crate::model::{Arrival, BugCheck, Expand, Listing, Losses, RecordView};

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
pub mod bench;

/// What a machine is to look like before the first open.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The driver; `None`: none is loaded, to learn what the opens do without it.
    pub driver: Option<Driver>,
    /// Servers and their shares: name, share, the folder behind it.
    pub shares: Vec<(String, String, PathBuf)>,
    /// DFS links: namespace server, root, link, target server, target share.
    pub dfs_links: Vec<[String; 5]>,
    /// The opener's kernel stack is a large one.
    pub large_stack: bool,
    /// Where a bug check leaves a crash dump, if anywhere.
    pub crash_dump: Option<PathBuf>,
    /// Frames at whose entry the stack is listed.
    pub list_stack_at: Vec<String>,
}

/// The driver and its configuration.
#[derive(Clone, Debug)]
pub struct Driver {
    /// The .sys file.
    pub image: PathBuf,
    /// `ExpandPolicy`.
    pub expand: Expand,
    /// `AncestorOpens` is `Top`: nested creates; else `Below`.
    pub ancestors_from_top: bool,
    /// `MaxNestDepth`.
    pub max_nest_depth: u32,
    /// `LogCapacity`.
    pub log_capacity: u32,
    /// `ReservationBytes`; `None`: the driver's own default.
    pub reservation_bytes: Option<u32>,
}

/// What a system call returned.
#[derive(Clone, Copy, Debug)]
pub struct Returned {
    /// Its status.
    pub status: NtStatus,
    /// The handle, where one was opened.
    pub handle: u64,
}

/// What a machine told at its end.
#[derive(Clone, Debug, Default)]
pub struct Told {
    /// Creates that arrived at the driver.
    pub arrivals: Vec<Arrival>,
    /// The driver's records.
    pub records: Vec<RecordView>,
    /// What it lost of them.
    pub losses: Option<Losses>,
    /// Listings that were asked for.
    pub listings: Vec<Listing>,
    /// Contract violations.
    pub findings: Vec<String>,
}

/// A running machine.
pub trait Machine {
    /// `NtCreateFile` for a file or folder that exists, relative to `root` unless that is 0.
    ///
    /// # Errors
    /// [`Stopped`] where the call did not return.
    fn open(&mut self, name: &str, root: u64) -> Result<Returned, Stopped>;

    /// `NtQueryAttributesFile`.
    ///
    /// # Errors
    /// [`Stopped`] where the call did not return.
    fn query_attributes(&mut self, name: &str) -> Result<Returned, Stopped>;

    /// `NtClose`.
    ///
    /// # Errors
    /// [`Stopped`] where the call did not return.
    fn close(&mut self, handle: u64) -> Result<(), Stopped>;

    /// Reads the driver's records, unloads it, and ends the machine.
    ///
    /// # Errors
    /// [`Stopped`] where one of those steps fails.
    fn finish(self: Box<Self>) -> Result<Told, Stopped>;
}

/// Why a machine does not go on.
#[derive(Debug, Error)]
pub enum Stopped {
    /// It bug-checked; for a run that shows the problem, this is the result.
    #[error("bug check {:#04X} {}: {}", .0.code, .0.name, .0.text)]
    BugCheck(Box<BugCheck>, Box<Told>),
    /// Something else is wrong: the environment, the driver's image, the bench.
    #[error(transparent)]
    Environment(#[from] Environment),
}

/// What keeps a scenario from running at all.
#[derive(Debug, Error)]
pub enum Environment {
    /// The driver's image is not there.
    #[error(
        "there is no driver at {0}: build it with `cargo xtask build`, or name another with --driver"
    )]
    NoDriver(PathBuf),
    /// The machine refused something or failed.
    #[error("{doing}: {why}")]
    Machine {
        /// What was being done.
        doing: String,
        /// What the machine said.
        why: String,
    },
    /// The driver's `DriverEntry` failed.
    #[error(
        "DriverEntry of {image} returned {status}; the driver's own messages were:\n{messages}"
    )]
    DriverEntry {
        /// The image.
        image: PathBuf,
        /// What it returned.
        status: String,
        /// Its debug output.
        messages: String,
    },
    /// The records could not be read.
    #[error("the driver's records cannot be read: {0}")]
    Records(#[from] DecodeError),
    /// The host's file system failed.
    #[error("{doing} {path}: {error}")]
    Files {
        /// What was being done.
        doing: &'static str,
        /// To which file or folder.
        path: PathBuf,
        /// The host's error.
        error: std::io::Error,
    },
    /// This build has no machine to run on.
    #[error(
        "this build has no machine to run a scenario on: ntbench, which loads headroom.sys, runs on 64-bit x86 Linux"
    )]
    NoMachine,
}

/// Starts the machine that this build has.
///
/// # Errors
/// [`Stopped`]: the environment lacks something, or the driver killed the machine as it was loaded.
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
pub fn start(setup: Setup) -> Result<Box<dyn Machine>, Stopped> {
    Ok(Box::new(bench::Bench::start(setup)?))
}

/// Starts the machine that this build has: none.
///
/// # Errors
/// Always [`Environment::NoMachine`].
#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
pub fn start(_setup: Setup) -> Result<Box<dyn Machine>, Stopped> {
    Err(Environment::NoMachine.into())
}
