//! `headroom status`: whether there is a driver, which, where, and what became of its records.

use std::fmt::Write as _;

use protocol::port::{MAXIMUM_CLIENTS, StatusReply};
use serde::Serialize;

use super::instances::Rows;
use super::{Failure, Verdict, say, say_json};
use crate::link::{self, Client, LinkError};
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
use crate::model::BugCheck;
use crate::table::grouped;

/// What follows the help.
pub const HELP: &str = "Exit status: 0 the driver is loaded; 1 it is not, or its machine has stopped; 2 it could not be found out.";

/// How to tell it.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// How it stands.
#[derive(Debug, Serialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
enum State {
    /// The driver answers.
    Loaded(Box<Standing>),
    /// There is none.
    NotLoaded,
    /// The machine has died.
    #[cfg(all(target_os = "linux", target_arch = "x86_64"))]
    BugCheck {
        /// Of what.
        #[serde(flatten)]
        bug_check: Box<BugCheck>,
    },
}

/// How the driver stands.
#[derive(Debug, Serialize)]
struct Standing {
    /// What it tells of itself; `None`: it is older than that request.
    driver: Option<Told>,
    #[serde(flatten)]
    instances: Rows,
    /// Where it runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    machine: Option<Place>,
}

#[derive(Debug, Serialize)]
struct Told {
    version: String,
    protocol: String,
    clients: u32,
    capacity: u64,
    written: u64,
    overwritten: u64,
    skipped: u64,
    skipped_low_stack: u64,
    voided: u64,
    abandoned: u64,
}

/// A machine in the background.
#[derive(Debug, Serialize)]
struct Place {
    pid: u32,
    image: String,
    share: String,
    folder: String,
    up_seconds: u64,
    traffic: u32,
}

impl Args {
    /// Finds it out.
    ///
    /// # Errors
    /// [`Failure`]: it could not be found out.
    pub fn run(&self) -> Result<Verdict, Failure> {
        let state = match link::connect() {
            Ok(mut driver) => State::Loaded(Box::new(Standing::of(&mut driver)?)),
            Err(error) => without(error)?,
        };
        if self.json {
            say_json(&state)?;
        } else {
            say(&text(&state))?;
        }
        Ok(Verdict::from_checks(matches!(state, State::Loaded(_))))
    }
}

/// What it means that there is no connection.
fn without(error: LinkError) -> Result<State, Failure> {
    match error {
        LinkError::NotLoaded => Ok(State::NotLoaded),
        #[cfg(all(target_os = "linux", target_arch = "x86_64"))]
        LinkError::Machine(crate::machine::MachineError::None) => Ok(State::NotLoaded),
        #[cfg(all(target_os = "linux", target_arch = "x86_64"))]
        LinkError::Machine(crate::machine::MachineError::BugCheck(bug_check)) => {
            Ok(State::BugCheck { bug_check })
        }
        other => Err(other.into()),
    }
}

impl Standing {
    fn of(driver: &mut Client) -> Result<Self, Failure> {
        Ok(Self {
            driver: driver.status()?.as_ref().map(Told::from),
            instances: Rows::of(driver)?,
            machine: machine()?,
        })
    }
}

impl From<&StatusReply> for Told {
    fn from(reply: &StatusReply) -> Self {
        let [major, minor, patch, _] = reply.driver;
        Self {
            version: format!("{major}.{minor}.{patch}"),
            protocol: format!("{}.{}", reply.protocol[0], reply.protocol[1]),
            clients: reply.clients,
            capacity: reply.capacity,
            written: reply.written,
            overwritten: reply.overwritten,
            skipped: reply.skipped,
            skipped_low_stack: reply.skipped_low_stack,
            voided: reply.voided,
            abandoned: reply.abandoned,
        }
    }
}

/// The machine that the driver runs on, where that is one of ours.
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
fn machine() -> Result<Option<Place>, Failure> {
    let standing = crate::machine::Connection::open()?.standing()?;
    let (share, folder) = standing.share;
    Ok(Some(Place {
        pid: standing.pid,
        image: standing.driver.display().to_string(),
        share,
        folder: folder.display().to_string(),
        up_seconds: standing
            .since
            .elapsed()
            .map_or(0, |elapsed| elapsed.as_secs()),
        traffic: standing.traffic,
    }))
}

/// The machine that the driver runs on: this one.
#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
fn machine() -> Result<Option<Place>, Failure> {
    Ok(None)
}

fn text(state: &State) -> String {
    match state {
        State::NotLoaded => "The driver is not loaded. `headroom load` loads it.\n".to_owned(),
        #[cfg(all(target_os = "linux", target_arch = "x86_64"))]
        State::BugCheck { bug_check } => format!(
            "The machine has stopped with bug check {:#04X} {}: {}\n`headroom unload` shows its stack and clears it away.\n",
            bug_check.code, bug_check.name, bug_check.text
        ),
        State::Loaded(standing) => loaded(standing),
    }
}

fn loaded(standing: &Standing) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: String| {
        let _ = writeln!(text, "{name:<9} {value}");
    };
    match &standing.driver {
        Some(told) => {
            line(
                "driver",
                format!(
                    "loaded, version {} (protocol {})",
                    told.version, told.protocol
                ),
            );
            line(
                "clients",
                format!("{} of {MAXIMUM_CLIENTS}, this one included", told.clients),
            );
            line("records", records(told));
        }
        None => line(
            "driver",
            "loaded; an older one, which does not tell more of itself".to_owned(),
        ),
    }
    if let Some(machine) = &standing.machine {
        let up = humantime::format_duration(std::time::Duration::from_secs(machine.up_seconds));
        line("image", machine.image.clone());
        line("machine", format!("process {}, up {up}", machine.pid));
        line("share", format!("{} is {}", machine.share, machine.folder));
        if machine.traffic > 0 {
            line("traffic", format!("{} opens a second", machine.traffic));
        }
    }
    let _ = write!(text, "\n{}", standing.instances.table());
    text
}

fn records(told: &Told) -> String {
    let losses = [
        (told.overwritten, "replaced by newer ones"),
        (told.skipped, "not written for want of a slot"),
        (told.skipped_low_stack, "not written for want of stack"),
        (told.abandoned, "given up unfinished"),
    ];
    let mut text = format!("{} written", grouped(told.written));
    for (count, what) in losses.iter().filter(|(count, _)| *count > 0) {
        let _ = write!(text, ", {} {what}", grouped(*count));
    }
    let _ = write!(text, "; the newest {} are kept", grouped(told.capacity));
    text
}
