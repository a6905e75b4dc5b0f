//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;

use crate::defect::Defect;
use crate::round::Order;

/// Random scenarios on a minifilter in ntbench, with everything going wrong at once, and its invariants held throughout.
///
/// Exit status: 0, everything held; 1, something did not, and how to replay it is printed; 2, it could not be tried; 130, Ctrl-C.
#[derive(Debug, Parser)]
#[command(name = "soak", version)]
pub(crate) struct Args {
    /// The driver.
    #[arg(
        long,
        value_name = "SYS",
        default_value = "target/headroom/headroom.sys"
    )]
    pub(crate) driver: PathBuf,

    /// The INF of another driver, for its service, its instances and its parameters. Headroom needs none: each round chooses its
    /// settings.
    #[arg(long)]
    pub(crate) inf: Option<PathBuf>,

    /// For how many minutes rounds are played; the last one is ended. Without it, and without --rounds: 1.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) minutes: Option<u64>,

    /// How many rounds are played, instead.
    #[arg(long, conflicts_with = "minutes", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) rounds: Option<u64>,

    /// What every choice comes from.
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,

    /// Plays the round of this number alone: a replay.
    #[arg(long, conflicts_with_all = ["minutes", "rounds"])]
    pub(crate) round: Option<u64>,

    /// Programs that open at the same time, in every other round; of these every other one is run by a seeded schedule. The rounds
    /// between have one program. 1: all of them.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u64).range(1..=64))]
    pub(crate) threads: u64,

    /// Stretches of a round. After each one everybody stops, and the invariants are checked.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) stretches: u64,

    /// Things that each program does in a stretch.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) acts: u64,

    /// Puts a defect into what the soak sees, which it has to find.
    #[arg(long, value_enum)]
    pub(crate) inject: Option<Defect>,

    /// The folder for soak.json.
    #[arg(long, value_name = "DIR", default_value = "target/headroom/soak")]
    pub(crate) out: PathBuf,

    /// Print the summary as JSON, too.
    #[arg(long)]
    pub(crate) json: bool,
}

impl Args {
    /// When rounds end to be begun.
    pub(crate) fn limit(&self) -> Option<Duration> {
        match (self.rounds, self.round) {
            (None, None) => Some(Duration::from_secs(60 * self.minutes.unwrap_or(1))),
            _ => None,
        }
    }

    /// Programs in the round of that number, and in which order they run.
    pub(crate) const fn programs(&self, round: u64) -> (u64, Order) {
        match round % 4 {
            0 if self.threads > 1 => (self.threads, Order::Host),
            2 if self.threads > 1 => (self.threads, Order::Seeded),
            _ => (1, Order::InTurn),
        }
    }

    /// The command that plays a round again.
    pub(crate) fn replay(&self, round: u64) -> String {
        let mut command = format!(
            "cargo xtask soak --seed {} --round {round} --threads {} --stretches {} --acts {}",
            self.seed, self.threads, self.stretches, self.acts
        );
        if self
            .driver
            .file_name()
            .is_none_or(|name| name != "headroom.sys")
        {
            command += &format!(" --driver {}", self.driver.display());
        }
        if let Some(inf) = &self.inf {
            command += &format!(" --inf {}", inf.display());
        }
        if let Some(defect) = self.inject {
            command += &format!(" --inject {}", defect.name());
        }
        command
    }
}
