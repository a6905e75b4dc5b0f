//! What all rounds came to: the numbers, the table, the JSON.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use headroom_harness::table::grouped;
use serde::Serialize;
use tabled::builder::Builder;
use tabled::settings::{Alignment, Style, object::Columns};

use crate::resident::{Held, later_half};
use crate::round::{Order, Outcome, Round};

/// The numbers.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Tally {
    /// The driver's file name.
    pub(crate) driver: String,
    pub(crate) seed: u64,
    pub(crate) threads: u64,
    pub(crate) seconds: f64,
    pub(crate) interrupted: bool,
    /// Rounds with one program; with several, by a seeded schedule; and with several as the host's threads come.
    pub(crate) rounds_in_turn: u64,
    pub(crate) rounds_seeded: u64,
    pub(crate) rounds_at_once: u64,
    pub(crate) stretches: u64,
    pub(crate) creates_seen: u64,
    pub(crate) records_written: u64,
    pub(crate) skipped: u64,
    pub(crate) skipped_low_stack: u64,
    pub(crate) records_drained: u64,
    /// Things done by programs, each compared with the twin's.
    pub(crate) acts_compared: u64,
    pub(crate) denied: u64,
    pub(crate) loads: u64,
    pub(crate) troubles: BTreeMap<&'static str, u64>,
    /// The machines' own memory.
    pub(crate) resident: Resident,
    /// A number for each round that is the same in each replay: what everything came to.
    pub(crate) digests: Vec<Digest>,
    pub(crate) broken: Option<Failure>,
}

/// What the machines' processes held.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Resident {
    /// The most that one held, in bytes.
    pub(crate) most_bytes: u64,
    /// How fast they grew from their first half's end on: bytes for each create. Of all rounds, the middle one and the worst.
    pub(crate) slope_median: f64,
    pub(crate) slope_worst: f64,
    #[serde(skip)]
    slopes: Vec<f64>,
}

/// See [`Tally::digests`].
#[derive(Debug, Serialize)]
pub(crate) struct Digest {
    pub(crate) round: u64,
    pub(crate) digest: String,
}

/// What did not hold.
#[derive(Debug, Serialize)]
pub(crate) struct Failure {
    pub(crate) round: u64,
    pub(crate) stretch: u64,
    pub(crate) invariant: &'static str,
    pub(crate) text: String,
    /// The command that plays the round again.
    pub(crate) replay: String,
}

impl Tally {
    /// Adds a round's. `replay` is the command that plays it again.
    pub(crate) fn add(&mut self, round: &Round, outcome: Outcome, replay: String) {
        *match round.order {
            Order::InTurn => &mut self.rounds_in_turn,
            Order::Seeded => &mut self.rounds_seeded,
            Order::Host => &mut self.rounds_at_once,
        } += 1;
        if round.replays() {
            self.digests.push(Digest {
                round: round.number,
                digest: format!("{:016x}", outcome.digest),
            });
        }
        self.stretches += outcome.stretches;
        self.creates_seen += outcome.creates;
        self.records_written += outcome.written;
        self.skipped += outcome.skipped;
        self.skipped_low_stack += outcome.skipped_low_stack;
        self.records_drained += outcome.drained;
        self.acts_compared += outcome.acts;
        self.denied += outcome.denied;
        self.loads += outcome.loads;
        for (what, count) in outcome.troubles {
            *self.troubles.entry(what).or_default() += count;
        }
        self.resident.add(&outcome.resident);
        if let Some((stretch, broken)) = outcome.broken {
            self.broken = Some(Failure {
                round: round.number,
                stretch,
                invariant: broken.invariant.text(),
                text: broken.text,
                replay,
            });
        }
    }

    /// The table, and what broke.
    pub(crate) fn text(&self) -> String {
        let mut rows = Builder::default();
        let mut row = |what: &str, count: String| rows.push_record([what.to_owned(), count]);
        row("rounds, one program", grouped(self.rounds_in_turn));
        for (count, how) in [
            (self.rounds_seeded, "by schedule"),
            (self.rounds_at_once, "at once"),
        ] {
            let what = format!("rounds, {} programs {how}", self.threads);
            row(&what, grouped(count));
        }
        row(
            "stretches, each ended by all checks",
            grouped(self.stretches),
        );
        row("creates seen", grouped(self.creates_seen));
        row("  records written", grouped(self.records_written));
        row("  skipped, no slot", grouped(self.skipped));
        row("  skipped, no stack", grouped(self.skipped_low_stack));
        let counted = self.records_written + self.skipped + self.skipped_low_stack;
        let lost = self.creates_seen.saturating_sub(counted);
        row("  counted by a driver that was unloaded", grouped(lost));
        row("records drained by clients", grouped(self.records_drained));
        row("acts compared with the twin's", grouped(self.acts_compared));
        row("opens denied, as told", grouped(self.denied));
        row("driver loaded", grouped(self.loads));
        for (what, count) in &self.troubles {
            row(what, grouped(*count));
        }
        row(
            "most memory of a machine",
            format!("{} KB", grouped(self.resident.most_bytes >> 10)),
        );
        row(
            "  growth for each create, middle",
            format!("{:.0} B", self.resident.slope_median),
        );
        row(
            "  growth for each create, worst",
            format!("{:.0} B", self.resident.slope_worst),
        );
        let mut table = rows.build();
        table
            .with(Style::empty())
            .modify(Columns::last(), Alignment::right());
        let mut text = format!(
            "{}, seed {}, {:.0} s\n\n{table}\n\n",
            self.driver, self.seed, self.seconds
        );
        match &self.broken {
            None if self.interrupted => text += "Interrupted; until then everything held.\n",
            None => text += "Everything held.\n",
            Some(Failure {
                round,
                stretch,
                invariant,
                text: why,
                replay,
            }) => {
                let _ = write!(
                    text,
                    "BROKEN in round {round}, stretch {stretch}: {invariant}\n  {why}\n\nReplay it: {replay}\n"
                );
            }
        }
        text
    }

    /// Says how long it took.
    pub(crate) fn finish(&mut self, elapsed: Duration, interrupted: bool) {
        self.seconds = elapsed.as_secs_f64();
        self.interrupted = interrupted;
    }
}

impl Resident {
    fn add(&mut self, samples: &[Held]) {
        let most = samples.iter().map(|held| held.bytes).max();
        self.most_bytes = self.most_bytes.max(most.unwrap_or(0));
        if let Some((from, to)) = later_half(samples)
            && to.creates > from.creates
        {
            let grown = to.bytes as f64 - from.bytes as f64;
            self.slopes.push(grown / (to.creates - from.creates) as f64);
        }
        self.slopes.sort_by(f64::total_cmp);
        if let (Some(median), Some(worst)) =
            (self.slopes.get(self.slopes.len() / 2), self.slopes.last())
        {
            self.slope_median = *median;
            self.slope_worst = *worst;
        }
    }
}
