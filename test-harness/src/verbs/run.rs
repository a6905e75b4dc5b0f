//! `headroom run`: a scenario under one policy or several, or a sweep.

use std::io::Write as _;
use std::path::PathBuf;

use clap::ValueEnum;
use protocol::Setting;

use super::{Failure, Verdict};
use crate::backend::Environment;
use crate::model::Expand;
use crate::report::{Origin, Report, SweepReport};
use crate::scenario::{self, Control, Kind, Plan, sweep};
use crate::settings;
use crate::summary::summary;
use crate::tally;
use crate::verdict;

/// What is said below the help of `run`.
pub const AFTER_HELP: &str = "\
Exit status: 0 what had to be seen was seen; 1 it was not; 2 it could not be tried; 130 Ctrl-C ended it, and what was seen until \
then is reported and holds. A second Ctrl-C ends it at once, without cleaning up.

Examples:
  headroom run nested --depth 64             the picture: without expansion the machine dies, with it 64 creates nest
  headroom run wide --threads 16 --duration 30s --policy always
  headroom run nested --until-it-breaks --policy all --reservation 0x1000,0x3000,0x6000,0x11800
  headroom run forms --root \\\\server\\share --without-driver";

/// What to run, and where its report goes.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The scenario.
    #[arg(value_enum)]
    pub scenario: Kind,

    /// How many creates nest (nested), directories lie in each other (relative, flat, long), links lead to each other (links), opens
    /// make a round (wide), files there are at most (mixed). Without it, what suits the scenario: 64, for long 128, links 24, mixed 12.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=i64::from(sweep::BOUND)))]
    pub depth: Option<u32>,

    /// How many threads play the scenario at the same time. Without it 1; for wide 8, for mixed 4.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub threads: Option<u32>,

    /// How often each thread plays it.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..), conflicts_with = "duration")]
    pub repeats: u32,

    /// For how long each thread plays it again and again: 30s, 5m, 1h.
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    pub duration: Option<std::time::Duration>,

    /// What random choices (wide, mixed) start from: the same seed makes the same calls.
    #[arg(long, default_value_t = 0)]
    pub seed: u64,

    /// The UNC folder to work below, \\server\share or deeper. Without it one is made for the run: on Windows a share of this
    /// computer, which takes an administrator; under Wine a folder of its UNC names. In ntbench it only names the simulated share.
    #[arg(long, value_name = "UNC")]
    pub root: Option<String>,

    /// The driver's ExpandPolicy. Without it both on a machine of the run's own, and always on Windows and with --loaded.
    #[arg(long, value_enum)]
    pub policy: Option<PolicyChoice>,

    /// On Windows and with --loaded: run also what can stop the machine with a bug check, which the policy `never` is there to show.
    #[arg(long)]
    pub allow_bug_check: bool,

    /// Make the opens and check their statuses with no driver: nothing is recorded.
    #[arg(long, conflicts_with_all = ["policy", "until_it_breaks", "reservation", "red_zone"])]
    pub without_driver: bool,

    /// Run on the driver that is loaded already (`headroom load`), with its other settings as they are. On Windows there is no other.
    #[arg(long, conflicts_with_all = ["until_it_breaks", "segments", "crash_dump", "driver"])]
    pub loaded: bool,

    /// The driver to load. Only in ntbench; on Windows the loaded one is asked.
    #[arg(
        long,
        value_name = "SYS",
        default_value = "target/headroom/headroom.sys"
    )]
    pub driver: PathBuf,

    /// The opener's kernel stack: 24 KB, or 72 KB of which 24 are committed at first. Only in ntbench. Without it: large for dfs, since
    /// the published thread's expansion ran in place, which takes such a stack; else ordinary.
    #[arg(long, value_enum)]
    pub stack: Option<StackChoice>,

    /// The driver's ReservationBytes, decimal or 0x…; without it, the driver's own default. Several, separated by commas, for
    /// --until-it-breaks.
    #[arg(long, value_name = "BYTES", value_parser = bytes, value_delimiter = ',')]
    pub reservation: Vec<u32>,

    /// The driver's RedZoneBytes, for the policy red-zone; without it, the driver's own default.
    #[arg(long, value_name = "BYTES", value_parser = bytes)]
    pub red_zone: Option<u32>,

    /// Another setting of the driver, by the name that it has in the registry: MinimumStackBytes=0x2000, OnExpandFailure=Deny. Can be
    /// given several times.
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = setting)]
    pub settings: Vec<(String, u32)>,

    /// How many extra stack segments the simulated machine has to give. Windows has such a limit and documents no number.
    #[arg(long, value_name = "NUMBER")]
    pub segments: Option<u32>,

    /// Search, under each policy and with each reservation, for the most creates that nest, up to --depth (without it 512), and say what
    /// ended the next nest. Only for nested, only in ntbench: it kills machines.
    #[arg(long)]
    pub until_it_breaks: bool,

    /// Where a machine that dies leaves a crash dump, which `headroom dump` and kernel debuggers read. Only in ntbench.
    #[arg(long, value_name = "FILE")]
    pub crash_dump: Option<PathBuf>,

    /// The folder for the report.
    #[arg(long, value_name = "DIR", default_value = "target/headroom/report")]
    pub out: PathBuf,

    /// Print the report as JSON instead of tables.
    #[arg(long)]
    pub json: bool,
}

/// Which policies to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PolicyChoice {
    /// Expand for each inspection.
    Always,
    /// Expand where less than RedZoneBytes of stack is left.
    RedZone,
    /// Inspect on the caller's stack.
    Never,
    /// Never and always, one after the other.
    Both,
    /// Never, red-zone and always, one after the other.
    All,
}

/// The opener's kernel stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum StackChoice {
    /// 24 KB.
    Ordinary,
    /// 72 KB.
    Large,
}

/// Reservations that a sweep tries: from too little to the most there is (MAXIMUM_EXPANSION_SIZE).
const RESERVATIONS: [u32; 7] = [0x800, 0x1000, 0x2000, 0x3000, 0x6000, 0xc000, 0x1_1800];

impl PolicyChoice {
    /// The policies in the order they are run: the problem first.
    #[must_use]
    pub const fn policies(self) -> &'static [Expand] {
        match self {
            Self::Always => &[Expand::Always],
            Self::RedZone => &[Expand::RedZone],
            Self::Never => &[Expand::Never],
            Self::Both => &[Expand::Never, Expand::Always],
            Self::All => &[Expand::Never, Expand::RedZone, Expand::Always],
        }
    }
}

impl Args {
    /// Runs the scenario under each policy, judges what was seen, writes the report and prints the tables.
    ///
    /// # Errors
    /// [`Failure`]: the scenario could not be run, or its report could not be written.
    pub fn run(&self) -> Result<Verdict, Failure> {
        self.check()?;
        let control = Control::of_program();
        if self.until_it_breaks {
            return self.sweep(&control);
        }
        let plan = self.plan();
        let without_driver = scenario::run_without_driver(&plan, &control)?;
        let mut runs = Vec::new();
        for &expand in self.policies() {
            if control.is_interrupted() {
                break;
            }
            runs.push(scenario::run(&plan, expand, &control)?);
        }
        let interrupted = control.is_interrupted();
        drop(control);
        let checks = verdict::judge(&plan, &runs, &without_driver);
        let report = Report {
            origin: Origin::here(&plan.driver),
            plan,
            without_driver,
            runs,
            checks,
        };
        let written = report.write(&self.out)?;
        let text = if self.json {
            report.json()? + "\n"
        } else {
            summary(&report, &written)
        };
        // A reader that has seen enough (`| head`) changes nothing about the verdict.
        let _ = anstream::stdout().write_all(text.as_bytes());
        Ok(judged(verdict::passed(&report.checks), interrupted))
    }

    /// Searches for what ends nests, and writes and prints what was found.
    fn sweep(&self, control: &Control) -> Result<Verdict, Failure> {
        let plan = self.plan();
        let reservations = match self.reservation.as_slice() {
            [] => &RESERVATIONS,
            some => some,
        };
        let found = sweep::sweep(&plan, self.policies(), reservations, control)?;
        let checks = verdict::judge_sweep(&found);
        let interrupted = found.interrupted;
        let report = SweepReport {
            origin: Origin::here(&plan.driver),
            sweep: found,
            checks,
        };
        let written = report.write(&self.out)?;
        let text = if self.json {
            report.json()? + "\n"
        } else {
            tally::sweep(&report, &written)
        };
        let _ = anstream::stdout().write_all(text.as_bytes());
        Ok(judged(verdict::passed(&report.checks), interrupted))
    }

    /// What clap cannot say: what goes with which scenario, and what is not to be done by mistake.
    fn check(&self) -> Result<(), Environment> {
        let refuse = |why: &str| {
            Err(Environment::Machine {
                doing: "taking these options together".to_owned(),
                why: why.to_owned(),
            })
        };
        if self.until_it_breaks && !self.scenario.nests() {
            return refuse(
                "--until-it-breaks is for nested: only there the driver's own opens nest",
            );
        }
        if self.until_it_breaks && cfg!(windows) {
            return refuse("--until-it-breaks kills one machine after the other: only in ntbench");
        }
        if self.loaded && matches!(self.scenario, Kind::Dfs | Kind::Links) && !cfg!(windows) {
            return refuse(
                "the machine in the background has no DFS namespace, and remembers links whose files were taken away behind its back: run \
                 dfs and links without --loaded",
            );
        }
        if !self.until_it_breaks && self.reservation.len() > 1 {
            return refuse("several reservations are for --until-it-breaks");
        }
        let dies = self.policies().contains(&Expand::Never);
        if self.is_shared() && dies && !self.allow_bug_check {
            return refuse(
                "under the policy never nested creates overflow the kernel stack, which stops the machine that the driver is loaded on \
                 with a bug check: add --allow-bug-check if that is what you want",
            );
        }
        Ok(())
    }

    /// Whether the run is on a machine that others use, too.
    const fn is_shared(&self) -> bool {
        cfg!(windows) || self.loaded
    }

    fn policies(&self) -> &'static [Expand] {
        if self.without_driver {
            return &[];
        }
        let usual = match (self.is_shared(), self.until_it_breaks) {
            (true, _) => PolicyChoice::Always,
            (false, true) => PolicyChoice::All,
            (false, false) => PolicyChoice::Both,
        };
        self.policy.unwrap_or(usual).policies()
    }

    /// What these arguments ask for.
    #[must_use]
    pub fn plan(&self) -> Plan {
        let usual = Plan::new(self.scenario, self.driver.clone());
        let depth = if self.until_it_breaks {
            sweep::BOUND
        } else {
            usual.depth
        };
        Plan {
            depth: self.depth.unwrap_or(depth),
            threads: self.threads.unwrap_or(usual.threads),
            repeats: self.repeats,
            seconds: self.duration.map(|duration| duration.as_secs().max(1)),
            seed: self.seed,
            root: self.root.clone(),
            reservation_bytes: self.reservation.first().copied(),
            red_zone_bytes: self.red_zone,
            segment_limit: self.segments,
            settings: self.settings.clone(),
            loaded: self.loaded,
            crash_dump: self.crash_dump.clone(),
            large_stack: match self.stack {
                Some(stack) => stack == StackChoice::Large,
                None => usual.large_stack,
            },
            ..usual
        }
    }
}

const fn judged(passed: bool, interrupted: bool) -> Verdict {
    match (passed, interrupted) {
        (false, _) => Verdict::Fails,
        (true, true) => Verdict::Interrupted,
        (true, false) => Verdict::Holds,
    }
}

/// A setting that has no option of its own.
fn setting(text: &str) -> Result<(String, u32), String> {
    let (name, value) = text
        .split_once('=')
        .ok_or_else(|| format!("{text}: a setting is given as NAME=VALUE"))?;
    let setting = settings::named(name)?;
    let option = match setting {
        Setting::EXPAND_POLICY => "--policy",
        Setting::RESERVATION_BYTES => "--reservation",
        Setting::RED_ZONE_BYTES => "--red-zone",
        Setting::MAX_NEST_DEPTH => "--depth",
        Setting::ANCESTOR_OPENS | Setting::LOG_CAPACITY => {
            return Err(format!("{setting} is what the scenario needs it to be"));
        }
        _ => {
            return Ok((
                settings::name(setting).to_owned(),
                settings::value(setting, value)?,
            ));
        }
    };
    Err(format!("{setting} is set with {option}"))
}

/// A number of bytes, decimal or hexadecimal.
fn bytes(text: &str) -> Result<u32, std::num::ParseIntError> {
    match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) => u32::from_str_radix(digits, 16),
        None => text.parse(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_read_in_both_notations() {
        assert_eq!(
            [bytes("24576"), bytes("0x6000"), bytes("0X10")],
            [Ok(0x6000), Ok(0x6000), Ok(16)]
        );
        assert!(bytes("6000h").is_err());
    }

    #[test]
    fn settings_without_an_option_are_read_by_name() {
        assert_eq!(
            setting("minimumstackbytes=0x2000"),
            Ok(("MinimumStackBytes".to_owned(), 0x2000))
        );
        assert_eq!(
            setting("OnExpandFailure=deny"),
            Ok(("OnExpandFailure".to_owned(), 3))
        );
        for (text, why) in [
            ("ExpandPolicy=Never", "--policy"),
            ("LogCapacity=16", "what the scenario needs"),
            ("MinimumStackBytes", "NAME=VALUE"),
            ("OnExpandFailure=Perhaps", "it takes"),
        ] {
            let error = setting(text).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
    }
}
