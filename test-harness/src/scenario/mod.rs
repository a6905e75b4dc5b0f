//! What is opened, and on what.

mod actor;
mod control;
mod dfs;
mod files;
mod flat;
mod forms;
mod kind;
mod links;
mod long;
mod mixed;
mod nested;
mod relative;
mod root;
mod status;
pub mod sweep;
mod wide;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::backend::{self, Driver, Environment, Machine, Setup, Stopped, Told};
use crate::model::{Counts, End, Expand, Open, Run};
use actor::{Actor, Done};
pub use control::Control;
use control::Rounds;
pub use kind::Kind;
use root::Root;

/// A run in ntbench keeps so many records at most: the newest of a long one. What is in them does not change with more, and they
/// are read from the machine's memory as a debugger reads it, which takes its time.
pub const MOST_RECORDS: u32 = 0x2000;

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
    /// `RedZoneBytes`; `None`: the driver's own default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub red_zone_bytes: Option<u32>,
    /// Other settings of the driver, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub settings: Vec<(String, u32)>,
    /// How many threads play it at the same time.
    #[serde(default = "one")]
    pub threads: u32,
    /// How often each thread plays it.
    #[serde(default = "one")]
    pub repeats: u32,
    /// For how many seconds each thread plays it, instead of [`repeats`](Self::repeats).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds: Option<u64>,
    /// What its random choices start from.
    #[serde(default)]
    pub seed: u64,
    /// The root that the user named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root: Option<String>,
    /// How many extra stack segments the machine has to give; `None`: as many as it likes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub segment_limit: Option<u32>,
    /// It runs on the driver that is loaded already; on Windows it always does.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub loaded: bool,
    /// Where a bug check leaves a crash dump.
    #[serde(skip)]
    pub crash_dump: Option<PathBuf>,
}

const fn one() -> u32 {
    1
}

/// One kind of scenario.
trait Scenario: Sync {
    /// Makes the files behind the root, and says what a simulated machine has to look like.
    fn prepare(&self, root: &Root, setup: &mut Setup) -> Result<(), Environment>;

    /// Whether ancestors are opened from the top of the stack, and so nest.
    fn ancestors_from_top(&self) -> bool {
        false
    }

    /// About how many creates a thread's round makes the driver see.
    fn creates(&self) -> u32;

    /// A round of one thread's calls.
    fn play(&self, actor: &mut Actor<'_>) -> Result<(), Stopped>;
}

/// Runs the plan under one policy: in ntbench on a machine of its own.
///
/// # Errors
/// [`Environment`]: what keeps it from running. A bug check is a result, and so is an interruption.
pub fn run(plan: &Plan, expand: Expand, control: &Control) -> Result<Run, Environment> {
    let driver = Driver {
        image: plan.driver.clone(),
        expand,
        ancestors_from_top: plan.scenario().ancestors_from_top(),
        max_nest_depth: plan.depth,
        reservation_bytes: plan.reservation_bytes,
        red_zone_bytes: plan.red_zone_bytes,
        settings: plan.settings.clone(),
        log_capacity: plan
            .creates()
            .saturating_mul(4)
            .checked_next_power_of_two()
            .unwrap_or(u32::MAX)
            .clamp(256, MOST_RECORDS),
    };
    control.say(plan.headline(expand));
    let (done, end) = play(plan, Some(driver), control)?;
    let mut run = Run {
        opens: done.opens,
        counts: done.counts,
        interrupted: done.interrupted,
        ..Run::new(expand)
    };
    let told = match end {
        Ok(told) => told,
        Err(Stopped::BugCheck(bug_check, told)) => {
            run.end = End::BugCheck(bug_check);
            *told
        }
        Err(Stopped::Environment(error)) => return Err(error),
        Err(Stopped::Interrupted) => Told::default(),
    };
    run.arrivals = told.arrivals;
    run.records = told.records;
    run.losses = told.losses;
    run.listings = told.listings;
    run.findings = told.findings;
    run.arrivals_dropped = told.arrivals_dropped;
    run.unrecorded = told.unrecorded;
    if plan.scenario == Kind::Dfs {
        run.count_all_creates();
    }
    Ok(run)
}

/// Runs the plan with no driver loaded: what its opens have to come to with one.
///
/// # Errors
/// [`Environment`]: what keeps it from running.
pub fn run_without_driver(plan: &Plan, control: &Control) -> Result<Vec<Open>, Environment> {
    control.say(format!("{}, without the driver", plan.scenario.name()));
    let (done, end) = play(plan, None, control)?;
    match end {
        Ok(_) | Err(Stopped::Interrupted) => Ok(done.opens),
        Err(Stopped::Environment(error)) => Err(error),
        Err(Stopped::BugCheck(bug_check, _)) => Err(Environment::Machine {
            doing: "running the scenario with no driver".to_owned(),
            why: format!("bug check {:#04X}: {}", bug_check.code, bug_check.text),
        }),
    }
}

/// What all threads' calls came to.
#[derive(Default)]
struct Played {
    opens: Vec<Open>,
    counts: Counts,
    interrupted: bool,
}

type Ended = (Played, Result<Told, Stopped>);

/// Prepares root and machine, lets the threads play, and takes down what was prepared.
fn play(plan: &Plan, driver: Option<Driver>, control: &Control) -> Result<Ended, Environment> {
    let scenario = plan.scenario();
    let root = Root::make(plan.root.as_deref(), plan.loaded)?;
    let mut setup = Setup {
        driver,
        shares: Vec::new(),
        volumes: Vec::new(),
        dfs_links: Vec::new(),
        loaded: plan.loaded,
        large_stack: plan.large_stack,
        crash_dump: plan.crash_dump.clone(),
        list_stack_at: Vec::new(),
        segment_limit: plan.segment_limit,
        creates: plan.creates(),
    };
    scenario.prepare(&root, &mut setup)?;
    let mut played = Played::default();
    let ended = match backend::start(setup) {
        Ok(machine) => perform(&*scenario, plan, &*machine, &root, control, &mut played)
            .and_then(|()| machine.finish()),
        Err(stopped) => Err(stopped),
    };
    // What is under way has ended. What keeps a folder from being removed is told unless something worse is.
    match (root.remove(), &ended) {
        (Err(error), Ok(_)) => Err(error),
        _ => Ok((played, ended)),
    }
}

/// Lets each thread play its rounds. What they did stays in `played` however that ends.
fn perform(
    scenario: &dyn Scenario,
    plan: &Plan,
    machine: &dyn Machine,
    root: &Root,
    control: &Control,
    played: &mut Played,
) -> Result<(), Stopped> {
    let rounds = match plan.seconds {
        Some(seconds) => Rounds::Until(Instant::now() + Duration::from_secs(seconds)),
        None => Rounds::Count(plan.repeats),
    };
    let actors = (0..plan.threads)
        .map(|index| {
            let thread = machine.thread()?;
            let identity = (index, plan.seed);
            Ok(Actor::new(
                thread,
                control,
                root,
                machine.system(),
                identity,
            ))
        })
        .collect::<Result<Vec<_>, Stopped>>()?;
    let one = |mut actor: Actor<'_>| -> (Done, Result<(), Stopped>) {
        let mut result = Ok(());
        while result.is_ok() && rounds.goes_on(actor.round) {
            result = scenario.play(&mut actor);
            actor.round += 1;
        }
        (actor.finish(), result)
    };
    let ends: Vec<_> = std::thread::scope(|scope| {
        let playing: Vec<_> = actors
            .into_iter()
            .map(|actor| scope.spawn(move || one(actor)))
            .collect();
        let join = |thread: std::thread::ScopedJoinHandle<'_, _>| {
            thread
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        };
        playing.into_iter().map(join).collect()
    });
    let mut worst = Ok(());
    for (done, result) in ends {
        played.opens.extend(done.opens);
        played.counts.merge(&done.counts);
        match result {
            Err(Stopped::Interrupted) => played.interrupted = true,
            // What killed the machine tells more than what its death did to the others.
            Err(error) if !matches!(worst, Err(Stopped::BugCheck(..))) => worst = Err(error),
            _ => {}
        }
    }
    worst
}

impl Plan {
    /// The scenario with its usual measures and the driver at `image`.
    #[must_use]
    pub fn new(scenario: Kind, image: PathBuf) -> Self {
        Self {
            scenario,
            depth: scenario.depth(),
            driver: image,
            large_stack: scenario == Kind::Dfs,
            reservation_bytes: None,
            red_zone_bytes: None,
            settings: Vec::new(),
            threads: scenario.threads(),
            repeats: 1,
            seconds: None,
            seed: 0,
            root: None,
            segment_limit: None,
            loaded: false,
            crash_dump: None,
        }
    }

    /// About how many creates it makes the driver see.
    fn creates(&self) -> u32 {
        let rounds = match self.seconds {
            Some(_) => u32::MAX,
            None => self.repeats,
        };
        self.scenario()
            .creates()
            .saturating_mul(self.threads)
            .saturating_mul(rounds)
    }

    /// What a run of it under that policy is, in a line.
    #[must_use]
    pub fn headline(&self, expand: Expand) -> String {
        let mut what = self.scenario.headline(self.depth);
        if self.threads > 1 {
            what += &format!(", on {} threads", self.threads);
        }
        match self.seconds {
            Some(seconds) => what += &format!(", for {seconds} s"),
            None if self.repeats > 1 => what += &format!(", {} times", self.repeats),
            None => {}
        }
        let stack = if self.large_stack { "72 KB" } else { "24 KB" };
        format!("{what}, on a {stack} stack, ExpandPolicy {}", expand.name())
    }

    fn scenario(&self) -> Box<dyn Scenario> {
        let depth = self.depth;
        match self.scenario {
            Kind::Nested => Box::new(nested::Nested { depth }),
            Kind::Dfs => Box::new(dfs::Dfs {
                named: self.root.is_some(),
            }),
            Kind::Relative => Box::new(relative::Relative { depth }),
            Kind::Flat => Box::new(flat::Flat { depth }),
            Kind::Links => Box::new(links::Links { depth }),
            Kind::Wide => Box::new(wide::Wide { opens: depth }),
            Kind::Mixed => Box::new(mixed::Mixed { files: depth }),
            Kind::Long => Box::new(long::Long { components: depth }),
            Kind::Forms => Box::new(forms::Forms),
        }
    }
}
