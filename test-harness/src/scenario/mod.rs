//! What is opened, and on what.

mod dfs;
mod files;
mod flat;
mod nested;
mod relative;

use std::path::{Path, PathBuf};

use clap::ValueEnum;
use protocol::NtStatus;
use serde::{Deserialize, Serialize};

use crate::backend::{self, Driver, Environment, Machine, Setup, Stopped, Told};
use crate::model::{End, Expand, Open, Run};

/// The scenarios.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A UNC path whose ancestors are opened from the top of the stack, each by the inspection of the one below it:
    /// as many creates nest on one thread as the path has components.
    Nested,
    /// An attribute query on a DFS path: its referral opens IPC$ inside the create, on the same thread.
    Dfs,
    /// Each directory opened relative to the handle of the one before.
    Relative,
    /// One open after the other, those that fail included.
    Flat,
}

impl Kind {
    /// Its name on the command line and in files.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Nested => "nested",
            Self::Dfs => "dfs",
            Self::Relative => "relative",
            Self::Flat => "flat",
        }
    }

    /// What its report is about, in a line.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::Nested => "Kernel stack under nested UNC opens",
            Self::Dfs => "Kernel stack under an attribute query on a DFS path",
            Self::Relative => "Kernel stack under relative opens",
            Self::Flat => "Kernel stack under opens one after the other",
        }
    }
}

/// A scenario with its measures.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Plan {
    /// Which.
    pub scenario: Kind,
    /// How deep.
    pub depth: u32,
    /// The driver's image.
    pub driver: PathBuf,
    /// The opener has a large kernel stack.
    pub large_stack: bool,
    /// What each expansion asks for; `None`: the driver's own default.
    pub reservation_bytes: Option<u32>,
    /// Where a bug check leaves a crash dump.
    #[serde(skip)]
    pub crash_dump: Option<PathBuf>,
}

/// One kind of scenario.
trait Scenario {
    /// Makes the files behind the shares below `folder`, and says what the machine has to look like.
    fn prepare(&self, folder: &Path, setup: &mut Setup) -> Result<(), Environment>;

    /// Whether ancestors are opened from the top of the stack, and so nest.
    fn ancestors_from_top(&self) -> bool {
        false
    }

    /// Makes the opens. What was opened before the machine stopped stays in `opens`.
    fn play(&self, machine: &mut dyn Machine, opens: &mut Vec<Open>) -> Result<(), Stopped>;
}

/// Runs the plan under one policy, on a machine of its own.
///
/// # Errors
/// [`Environment`]: what keeps it from running. A bug check is a result.
pub fn run(plan: &Plan, expand: Expand) -> Result<Run, Environment> {
    let scenario = plan.scenario();
    let driver = Driver {
        image: plan.driver.clone(),
        expand,
        ancestors_from_top: scenario.ancestors_from_top(),
        max_nest_depth: plan.depth,
        reservation_bytes: plan.reservation_bytes,
        log_capacity: plan.depth.saturating_mul(4).next_power_of_two().max(256),
    };
    let mut run = Run {
        expand,
        opens: Vec::new(),
        arrivals: Vec::new(),
        records: Vec::new(),
        losses: None,
        listings: Vec::new(),
        findings: Vec::new(),
        end: End::Completed,
    };
    let told = match play(plan, Some(driver), &mut run.opens) {
        Ok(told) => told,
        Err(Stopped::BugCheck(bug_check, told)) => {
            run.end = End::BugCheck(bug_check);
            *told
        }
        Err(Stopped::Environment(error)) => return Err(error),
    };
    run.arrivals = told.arrivals;
    run.records = told.records;
    run.losses = told.losses;
    run.listings = told.listings;
    run.findings = told.findings;
    if plan.scenario == Kind::Dfs {
        run.count_all_creates();
    }
    Ok(run)
}

/// Runs the plan with no driver loaded: what its opens have to come to with one.
///
/// # Errors
/// [`Environment`]: what keeps it from running.
pub fn run_without_driver(plan: &Plan) -> Result<Vec<Open>, Environment> {
    let mut opens = Vec::new();
    match play(plan, None, &mut opens) {
        Ok(_) => Ok(opens),
        Err(Stopped::Environment(error)) => Err(error),
        Err(Stopped::BugCheck(bug_check, _)) => Err(Environment::Machine {
            doing: "running the scenario with no driver".to_owned(),
            why: format!("bug check {:#04X}: {}", bug_check.code, bug_check.text),
        }),
    }
}

fn play(plan: &Plan, driver: Option<Driver>, opens: &mut Vec<Open>) -> Result<Told, Stopped> {
    let scenario = plan.scenario();
    let folder = tempfile::tempdir().map_err(|error| Environment::Files {
        doing: "making a folder in",
        path: std::env::temp_dir(),
        error,
    })?;
    let mut setup = Setup {
        driver,
        shares: Vec::new(),
        dfs_links: Vec::new(),
        large_stack: plan.large_stack,
        crash_dump: plan.crash_dump.clone(),
        list_stack_at: Vec::new(),
    };
    scenario.prepare(folder.path(), &mut setup)?;
    let mut machine = backend::start(setup)?;
    scenario.play(&mut *machine, opens)?;
    machine.finish()
}

impl Plan {
    /// What a run of it under that policy is, in a line.
    #[must_use]
    pub fn headline(&self, expand: Expand) -> String {
        let what = match self.scenario {
            Kind::Nested => format!("Nested UNC opens, {} deep", self.depth),
            Kind::Dfs => "An attribute query on a DFS path".to_owned(),
            Kind::Relative => format!("Relative opens, {} deep", self.depth),
            Kind::Flat => "Opens one after the other".to_owned(),
        };
        let stack = if self.large_stack { "72 KB" } else { "24 KB" };
        format!("{what}, on a {stack} stack, ExpandPolicy {}", expand.name())
    }

    fn scenario(&self) -> Box<dyn Scenario> {
        match self.scenario {
            Kind::Nested => Box::new(nested::Nested { depth: self.depth }),
            Kind::Dfs => Box::new(dfs::Dfs),
            Kind::Relative => Box::new(relative::Relative { depth: self.depth }),
            Kind::Flat => Box::new(flat::Flat { depth: self.depth }),
        }
    }
}

/// Opens `name`, keeps it in `opens` whether or not the call returns, and gives back the handle.
fn open(
    machine: &mut dyn Machine,
    opens: &mut Vec<Open>,
    name: &str,
    root: u64,
    expected: NtStatus,
) -> Result<u64, Stopped> {
    opens.push(Open {
        name: name.to_owned(),
        status: None,
        expected,
    });
    let returned = machine.open(name, root)?;
    if let Some(open) = opens.last_mut() {
        open.status = Some(returned.status);
    }
    Ok(returned.handle)
}

/// Closes what [`open`] gave back, if that was a handle.
fn close(machine: &mut dyn Machine, handle: u64) -> Result<(), Stopped> {
    if handle == 0 {
        Ok(())
    } else {
        machine.close(handle)
    }
}
