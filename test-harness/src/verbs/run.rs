//! `headroom run`: a scenario under one policy or both.

use std::io::Write as _;
use std::path::PathBuf;

use clap::ValueEnum;

use super::{Failure, Verdict};
use crate::model::Expand;
use crate::report::{Origin, Report};
use crate::scenario::{self, Kind, Plan};
use crate::summary::summary;
use crate::verdict;

/// What to run, and where its report goes.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The scenario.
    #[arg(value_enum)]
    pub scenario: Kind,

    /// How many creates nest (nested), or how many directories deep the opens go (relative, flat). Not for dfs.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=512))]
    pub depth: u32,

    /// The driver's ExpandPolicy.
    #[arg(long, value_enum, default_value_t = PolicyChoice::Both)]
    pub policy: PolicyChoice,

    /// The driver to load.
    #[arg(
        long,
        value_name = "SYS",
        default_value = "target/headroom/headroom.sys"
    )]
    pub driver: PathBuf,

    /// The opener's kernel stack: 24 KB, or 72 KB of which 24 are committed at first. Without it: large for dfs, since the
    /// published thread's expansion ran in place, which takes such a stack; else ordinary.
    #[arg(long, value_enum)]
    pub stack: Option<StackChoice>,

    /// The driver's ReservationBytes, decimal or 0x…; without it, the driver's own default.
    #[arg(long, value_name = "BYTES", value_parser = bytes)]
    pub reservation: Option<u32>,

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
    /// Inspect on the caller's stack.
    Never,
    /// One after the other, each on a machine of its own.
    Both,
}

/// The opener's kernel stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum StackChoice {
    /// 24 KB.
    Ordinary,
    /// 72 KB.
    Large,
}

impl PolicyChoice {
    /// The policies in the order they are run: the problem first.
    #[must_use]
    pub const fn policies(self) -> &'static [Expand] {
        match self {
            Self::Always => &[Expand::Always],
            Self::Never => &[Expand::Never],
            Self::Both => &[Expand::Never, Expand::Always],
        }
    }
}

impl Args {
    /// Runs the scenario under each policy, judges what was seen, writes the report and prints the tables.
    ///
    /// # Errors
    /// [`Failure`]: the scenario could not be run, or its report could not be written.
    pub fn run(&self) -> Result<Verdict, Failure> {
        let plan = self.plan();
        let without_driver = scenario::run_without_driver(&plan)?;
        let policies = self.policy.policies();
        let runs = policies
            .iter()
            .map(|&expand| scenario::run(&plan, expand))
            .collect::<Result<Vec<_>, _>>()?;
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
        Ok(Verdict::from_checks(verdict::passed(&report.checks)))
    }

    /// What these arguments ask for.
    #[must_use]
    pub fn plan(&self) -> Plan {
        Plan {
            scenario: self.scenario,
            depth: self.depth,
            driver: self.driver.clone(),
            reservation_bytes: self.reservation,
            crash_dump: self.crash_dump.clone(),
            large_stack: match self.stack {
                Some(stack) => stack == StackChoice::Large,
                None => self.scenario == Kind::Dfs,
            },
        }
    }
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
}
