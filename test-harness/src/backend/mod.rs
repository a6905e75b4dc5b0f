//! The machine that a scenario runs on.
//!
//! On Linux that is the bench, which loads the very `headroom.sys` that Windows loads. A backend that talks to the
//! installed driver on Windows has the same shape: it starts, opens, and hands back what the driver recorded.

use std::path::PathBuf;

use protocol::DecodeError;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::model::{Arrival, BugCheck, Expand, Listing, Losses, RecordView};

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
pub mod bench;
mod call;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
pub mod loaded;
#[cfg(any(windows, all(target_os = "linux", target_arch = "x86_64")))]
mod recording;
#[cfg(windows)]
pub mod windows;

pub use call::{Call, Link, Parameters, Purpose, Returned};

/// What a machine is to look like before the first open.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The driver; `None`: none is loaded, to learn what the opens do without it.
    pub driver: Option<Driver>,
    /// Servers and their shares: name, share, the folder behind it.
    pub shares: Vec<(String, String, PathBuf)>,
    /// Local volumes: drive letter and the folder behind it.
    pub volumes: Vec<(char, PathBuf)>,
    /// DFS links: namespace server, root, link, target server, target share.
    pub dfs_links: Vec<[String; 5]>,
    /// The driver that is loaded already is the one; in ntbench, that of the machine in the background. Windows has no other.
    pub loaded: bool,
    /// The opener's kernel stack is a large one.
    pub large_stack: bool,
    /// Where a bug check leaves a crash dump, if anywhere.
    pub crash_dump: Option<PathBuf>,
    /// Frames at whose entry the stack is listed.
    pub list_stack_at: Vec<String>,
    /// How many extra stack segments the machine has to give; `None`: as many as the machine likes.
    pub segment_limit: Option<u32>,
    /// How many creates will about be made, nested ones included: what has to be kept of them is kept.
    pub creates: u32,
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
    /// `RedZoneBytes`; `None`: the driver's own default.
    pub red_zone_bytes: Option<u32>,
    /// `ReservationBytes`; `None`: the driver's own default.
    pub reservation_bytes: Option<u32>,
    /// Other settings, by name; all that are not here are the driver's own.
    pub settings: Vec<(String, u32)>,
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
    /// Arrivals that the machine has forgotten for want of room.
    pub arrivals_dropped: u64,
    /// Why there are no records although a driver was asked for.
    pub unrecorded: Option<String>,
}

/// What makes the system calls, since not all of them answer alike everywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum System {
    /// ntbench's model of Windows.
    Ntbench,
    /// Windows.
    Windows,
    /// Wine, whose differences from Windows are known and listed where they matter.
    Wine,
}

/// A running machine.
pub trait Machine {
    /// What it is.
    fn system(&self) -> System;

    /// A thread of the opener's process, with a kernel stack of its own.
    ///
    /// # Errors
    /// [`Stopped`]: the machine is dead, or has no more threads.
    fn thread(&self) -> Result<Box<dyn Thread>, Stopped>;

    /// Reads the driver's records, puts back what was changed (on a machine of its own: unloads the driver), and lets go.
    ///
    /// # Errors
    /// [`Stopped`] where one of those steps fails.
    fn finish(self: Box<Self>) -> Result<Told, Stopped>;
}

/// A thread that makes system calls. Threads run at the same time, each called from a thread of the harness.
pub trait Thread: Send {
    /// Makes a call. One that fails is no error but a status.
    ///
    /// # Errors
    /// [`Stopped`] where the call did not return.
    fn call(&mut self, call: &Call) -> Result<Returned, Stopped>;
}

/// Why a machine does not go on.
#[derive(Debug, Error)]
pub enum Stopped {
    /// It bug-checked; for a run that shows the problem, this is the result.
    #[error("bug check {:#04X} {}: {}", .0.code, .0.name, .0.text)]
    BugCheck(Box<BugCheck>, Box<Told>),
    /// Ctrl-C.
    #[error("interrupted")]
    Interrupted,
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
    if setup.loaded {
        Ok(Box::new(loaded::Loaded::start(&setup)?))
    } else {
        Ok(Box::new(bench::Bench::start(setup)?))
    }
}

/// Starts the machine that this build has: this Windows.
///
/// # Errors
/// [`Stopped`]: a driver is asked for and none answers.
#[cfg(windows)]
pub fn start(setup: Setup) -> Result<Box<dyn Machine>, Stopped> {
    Ok(Box::new(windows::Windows::start(setup)?))
}

/// Starts the machine that this build has: none.
///
/// # Errors
/// Always [`Environment::NoMachine`].
#[cfg(not(any(windows, all(target_os = "linux", target_arch = "x86_64"))))]
pub fn start(_setup: Setup) -> Result<Box<dyn Machine>, Stopped> {
    Err(Environment::NoMachine.into())
}
