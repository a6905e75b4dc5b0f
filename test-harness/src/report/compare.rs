//! Two runs against each other: did headroom get better or worse?

mod text;

use serde::Serialize;
use thiserror::Error;

use super::Report;
use super::glance::Glance;
use super::measures::{by_depth, creates};
use super::saved::{Records, Saved};
use crate::model::{Run, Sweep, SweepEnd, SweepRow};
use crate::table::grouped;
use crate::verdict;

/// Two runs, measure by measure.
#[derive(Clone, Debug, Serialize)]
pub struct Comparison {
    /// Changes of so many bytes and fewer are none.
    pub threshold: u64,
    /// What is different about the two runs themselves.
    pub differences: Vec<String>,
    /// The measures.
    pub measures: Vec<Measure>,
    /// Whether any got worse.
    pub worse: bool,
}

/// One measure of both.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Measure {
    /// Of which policy, and of which reservation in a sweep.
    pub of: String,
    /// What.
    pub what: String,
    /// The first run's; `None`: not known.
    pub a: Option<u64>,
    /// The second's.
    pub b: Option<u64>,
    /// What became of it.
    pub change: Change,
}

/// What became of a measure from the first run to the second.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Change {
    /// It got better.
    Better,
    /// It did not change, or not by more than the threshold.
    Same,
    /// It got worse.
    Worse,
    /// One of the two does not have it.
    Unknown,
}

/// Why two files cannot be compared; each says what to do.
#[derive(Debug, Error)]
pub enum NotComparable {
    /// One is a report, the other something else.
    #[error("{a} and {b} cannot be compared: compare two reports, two logs or two sweeps")]
    Kinds {
        /// What the first is.
        a: &'static str,
        /// What the second is.
        b: &'static str,
    },
    /// They are of different things.
    #[error(
        "the two cannot be compared: {what} is {a} in the first and {b} in the second; run both alike"
    )]
    Plans {
        /// What differs.
        what: &'static str,
        /// In the first.
        a: String,
        /// In the second.
        b: String,
    },
    /// No policy is in both.
    #[error("the two have no policy in common ({a}; {b}): run both with the same --policy")]
    Policies {
        /// Those of the first.
        a: String,
        /// Those of the second.
        b: String,
    },
}

/// Which way is good.
#[derive(Clone, Copy)]
enum Good {
    More,
    Less,
}

impl Comparison {
    /// Compares `b` with `a`, which came first.
    ///
    /// # Errors
    /// [`NotComparable`].
    pub fn of(a: &Saved, b: &Saved, threshold: u64) -> Result<Self, NotComparable> {
        let mut comparison = Self {
            threshold,
            differences: Vec::new(),
            measures: Vec::new(),
            worse: false,
        };
        match (a, b) {
            (Saved::Report(a), Saved::Report(b)) => comparison.reports(a, b)?,
            (Saved::Records(a), Saved::Records(b)) => comparison.records(a, b)?,
            (Saved::Sweep(a), Saved::Sweep(b)) => comparison.sweeps(&a.sweep, &b.sweep)?,
            (a, b) => {
                return Err(NotComparable::Kinds {
                    a: a.kind(),
                    b: b.kind(),
                });
            }
        }
        comparison.worse = comparison
            .measures
            .iter()
            .any(|measure| measure.change == Change::Worse);
        Ok(comparison)
    }

    fn reports(&mut self, a: &Report, b: &Report) -> Result<(), NotComparable> {
        let same = |what, a: &dyn std::fmt::Display, b: &dyn std::fmt::Display| {
            let (a, b) = (a.to_string(), b.to_string());
            if a == b {
                Ok(())
            } else {
                Err(NotComparable::Plans { what, a, b })
            }
        };
        same(
            "the scenario",
            &a.plan.scenario.name(),
            &b.plan.scenario.name(),
        )?;
        same("the depth", &a.plan.depth, &b.plan.depth)?;
        same("the machine", &a.origin.machine, &b.origin.machine)?;
        let stack = |large| if large { "large" } else { "ordinary" };
        same(
            "the opener's stack",
            &stack(a.plan.large_stack),
            &stack(b.plan.large_stack),
        )?;
        let asked = |report: &Report| {
            report.plan.reservation_bytes.map_or_else(
                || "the driver's default".to_owned(),
                |bytes| format!("{bytes:#x}"),
            )
        };
        self.differs("reservation", &asked(a), &asked(b));
        let size = |report: &Report| {
            report.origin.driver_bytes.map_or_else(
                || "not known".to_owned(),
                |bytes| format!("{} bytes", grouped(bytes)),
            )
        };
        self.differs("driver's image", &size(a), &size(b));
        self.differs("program", &a.origin.headroom, &b.origin.headroom);
        self.runs(&a.runs, &b.runs)?;
        let failed = |report: &Report| {
            let checks = &report.checks;
            checks.iter().filter(|check| !check.holds).count() as u64
        };
        if !(verdict::passed(&a.checks) && verdict::passed(&b.checks)) {
            self.add(
                "all",
                "checks that fail",
                Some(failed(a)),
                Some(failed(b)),
                Good::Less,
                0,
            );
        }
        Ok(())
    }

    fn records(&mut self, a: &Records, b: &Records) -> Result<(), NotComparable> {
        self.runs(&a.runs(), &b.runs())
    }

    fn differs(&mut self, what: &str, a: &str, b: &str) {
        if a != b {
            self.differences.push(format!("{what}: {a} > {b}"));
        }
    }

    fn runs(&mut self, a: &[Run], b: &[Run]) -> Result<(), NotComparable> {
        let mut common = false;
        for before in a {
            if let Some(after) = b.iter().find(|run| run.expand == before.expand) {
                common = true;
                self.run(before, after);
            }
        }
        let names = |runs: &[Run]| {
            let names: Vec<&str> = runs.iter().map(|run| run.expand.name()).collect();
            if names.is_empty() {
                "none".to_owned()
            } else {
                names.join(", ")
            }
        };
        self.differs("policies", &names(a), &names(b));
        if common {
            Ok(())
        } else {
            Err(NotComparable::Policies {
                a: names(a),
                b: names(b),
            })
        }
    }

    fn run(&mut self, a: &Run, b: &Run) {
        let of = a.expand.name();
        let (first, second) = (Glance::of(a), Glance::of(b));
        let (a, b) = (creates(a), creates(b));
        let bytes = self.threshold;
        let mut add = |what: &str, pick: fn(&Glance) -> Option<u64>, good, threshold| {
            self.add(of, what, pick(&first), pick(&second), good, threshold);
        };
        add(
            "deaths of the machine",
            |run| Some(run.died.is_some().into()),
            Good::Less,
            0,
        );
        add(
            "deepest create",
            |run| Some(run.deepest.into()),
            Good::More,
            0,
        );
        add(
            "lowest left",
            |run| run.lowest.map(|(bytes, _)| bytes),
            Good::More,
            bytes,
        );
        add("lowest inside", |run| run.lowest_inside, Good::More, bytes);
        add(
            "stack of a nested create",
            |run| run.per_create,
            Good::Less,
            bytes,
        );
        add(
            "of it the driver's frames",
            |run| run.driver_per_create,
            Good::Less,
            bytes,
        );
        add(
            "expansions refused",
            |run| Some(run.refused as u64),
            Good::Less,
            0,
        );
        add(
            "not inspected: low stack",
            |run| Some(run.low_stack as u64),
            Good::Less,
            0,
        );
        add(
            "opens with another status",
            |run| Some(run.wrong_opens as u64),
            Good::Less,
            0,
        );
        add("records lost", |run| run.lost, Good::Less, 0);
        let lowest = |creates: &[super::measures::Create]| {
            let depths = by_depth(creates).into_iter();
            let least = depths.filter_map(|depth| {
                let samples = depth.samples.iter().flatten();
                Some((depth.depth, samples.map(|spread| spread.least).min()?))
            });
            least.collect::<std::collections::BTreeMap<u32, u64>>()
        };
        let (a, b) = (lowest(&a), lowest(&b));
        for (depth, bytes) in &a {
            if let Some(after) = b.get(depth) {
                let what = format!("lowest left at depth {depth}");
                self.add(
                    of,
                    &what,
                    Some(*bytes),
                    Some(*after),
                    Good::More,
                    self.threshold,
                );
            }
        }
    }

    fn sweeps(&mut self, a: &Sweep, b: &Sweep) -> Result<(), NotComparable> {
        if a.large_stack != b.large_stack {
            let stack = |large: bool| if large { "large" } else { "ordinary" }.to_owned();
            return Err(NotComparable::Plans {
                what: "the opener's stack",
                a: stack(a.large_stack),
                b: stack(b.large_stack),
            });
        }
        self.differs(
            "bound of the search",
            &a.bound.to_string(),
            &b.bound.to_string(),
        );
        let mut common = false;
        for first in &a.rows {
            let same = |row: &&SweepRow| {
                row.expand == first.expand
                    && row.reservation_bytes == first.reservation_bytes
                    && row.red_zone_bytes == first.red_zone_bytes
            };
            let Some(second) = b.rows.iter().find(same) else {
                continue;
            };
            common = true;
            let of = match first.reservation_bytes {
                0 => first.expand.name().to_owned(),
                bytes => format!("{}, {bytes:#x}", first.expand.name()),
            };
            let dies = |row: &SweepRow| u64::from(matches!(row.end, SweepEnd::BugCheck { .. }));
            let (a, b) = (Some(dies(first)), Some(dies(second)));
            self.add(&of, "ends with a bug check", a, b, Good::Less, 0);
            let (a, b) = (first.deepest.into(), second.deepest.into());
            self.add(&of, "deepest nest", Some(a), Some(b), Good::More, 0);
            let (a, b) = (
                first.lowest_inside.map(u64::from),
                second.lowest_inside.map(u64::from),
            );
            self.add(&of, "lowest inside", a, b, Good::More, self.threshold);
        }
        if common {
            return Ok(());
        }
        let rows = |sweep: &Sweep| {
            let rows: Vec<String> = sweep
                .rows
                .iter()
                .map(|row| format!("{} {:#x}", row.expand.name(), row.reservation_bytes))
                .collect();
            rows.join(", ")
        };
        Err(NotComparable::Policies {
            a: rows(a),
            b: rows(b),
        })
    }

    fn add(
        &mut self,
        of: &str,
        what: &str,
        a: Option<u64>,
        b: Option<u64>,
        good: Good,
        threshold: u64,
    ) {
        let change = match (a, b) {
            (None, None) => return,
            (Some(a), Some(b)) if a.abs_diff(b) <= threshold => Change::Same,
            (Some(a), Some(b)) if (b > a) == matches!(good, Good::More) => Change::Better,
            (Some(_), Some(_)) => Change::Worse,
            _ => Change::Unknown,
        };
        self.measures.push(Measure {
            of: of.to_owned(),
            what: what.to_owned(),
            a,
            b,
            change,
        });
    }
}
