//! The page: everything that a reader needs who was not there, in one file that asks nothing of a network.

use askama::Template;

use super::cells::Table;
use super::drawing::Drawing;
use super::measures::{Create, Histogram, OutcomeRow, by_depth, creates, outcomes as outcome_rows};
use super::panel::class;
use super::sections;
use super::{Origin, bands, calls, chart, costs, histogram, outcomes, sweep, unmeasured, words};
use crate::model::{End, Listing, Open, Run, Sweep};
use crate::scenario::Plan;
use crate::table::{self, grouped};
use crate::verdict::Check;

/// What a page tells of.
pub(super) struct Subject<'a> {
    pub(super) title: &'a str,
    pub(super) origin: &'a Origin,
    /// None: these are records from a log.
    pub(super) plan: Option<&'a Plan>,
    pub(super) runs: &'a [Run],
    pub(super) checks: &'a [Check],
    /// What the calls came to with no driver loaded.
    pub(super) without_driver: &'a [Open],
    pub(super) sweep: Option<&'a Sweep>,
}

#[derive(Template)]
#[template(path = "page.html")]
pub(super) struct Page {
    title: String,
    verdict: Verdict,
    facts: Vec<(String, String)>,
    glance: Option<Table>,
    picture: String,
    sweep: Option<(String, Table)>,
    runs: Vec<RunPart>,
    /// The calls with no driver loaded, where no run with one shows them.
    without_driver: Option<Table>,
    histogram: Option<(String, Table)>,
    outcomes: Option<(String, Table)>,
    losses: Option<Table>,
    unmeasured: Vec<String>,
    checks: Option<Table>,
    glossary: &'static [(&'static str, &'static str)],
}

struct Verdict {
    class: &'static str,
    word: &'static str,
    sentence: String,
}

/// What is told of each run by itself.
struct RunPart {
    policy: &'static str,
    headline: String,
    bug_check: Option<(String, String)>,
    bands: Option<(String, Table)>,
    worst: Option<Table>,
    stack: Option<StackPart>,
    counts: Option<Table>,
    calls: Option<Table>,
    rows: Table,
    /// What the rows are, where they are not the driver's records.
    arrived: &'static str,
}

struct StackPart {
    summary: String,
    modules: Table,
    /// A line, and whether a loaded driver's own code stands on it.
    lines: Vec<(String, bool)>,
}

impl Page {
    pub(super) fn of(subject: &Subject) -> Result<Self, askama::Error> {
        let all: Vec<Vec<Create>> = subject.runs.iter().map(creates).collect();
        let names: Vec<(&str, &str)> = subject
            .runs
            .iter()
            .map(|run| (run.expand.name(), class(run.expand)))
            .collect();
        let outcome_rows: Vec<Vec<OutcomeRow>> = subject.runs.iter().map(outcome_rows).collect();
        let told: Vec<(&Run, &[Create])> = subject
            .runs
            .iter()
            .zip(&all)
            .map(|(run, creates)| (run, creates.as_slice()))
            .collect();
        let picture = match subject.plan {
            Some(plan) if !subject.runs.is_empty() => {
                chart::draw(subject.title, plan, subject.runs).render()?
            }
            _ => String::new(),
        };
        let histogram = match Histogram::of(&all) {
            None => None,
            Some(counted) => with_table(
                histogram::draw("histogram", &names, &counted),
                sections::histogram(&names, &counted),
            )?,
        };
        let bars: Vec<(&str, &[OutcomeRow])> = names
            .iter()
            .zip(&outcome_rows)
            .map(|((name, _), rows)| (*name, rows.as_slice()))
            .collect();
        let outcomes = with_table(
            outcomes::draw("outcomes", &bars),
            costs::outcomes(subject.runs, &outcome_rows),
        )?;
        let sweep = match subject.sweep {
            None => None,
            Some(found) => with_table(Some(sweep::draw(found)), sections::sweep(found))?,
        };
        let of_scenario = subject.plan.is_some() || subject.sweep.is_some();
        let no_driver = subject.runs.is_empty() && subject.plan.is_some();
        Ok(Self {
            title: subject.title.to_owned(),
            verdict: Verdict::of(subject),
            facts: words::facts(subject.origin, subject.plan),
            glance: (!subject.runs.is_empty()).then(|| sections::glance(subject.runs)),
            picture,
            sweep,
            runs: subject
                .runs
                .iter()
                .zip(&all)
                .map(|(run, creates)| RunPart::of(subject.plan, run, creates))
                .collect::<Result<_, _>>()?,
            without_driver: (subject.runs.is_empty())
                .then(|| calls::each(subject.without_driver))
                .flatten(),
            histogram,
            outcomes,
            losses: (!subject.runs.is_empty()).then(|| costs::losses(subject.runs)),
            unmeasured: unmeasured::sentences(subject.origin, &told, of_scenario, no_driver),
            checks: (!subject.checks.is_empty()).then(|| sections::checks(subject.checks)),
            glossary: words::GLOSSARY,
        })
    }
}

/// A picture and the table behind it.
fn with_table(
    picture: Option<Drawing>,
    table: Table,
) -> Result<Option<(String, Table)>, askama::Error> {
    picture
        .map(|picture| Ok((picture.render()?, table)))
        .transpose()
}

impl Verdict {
    fn of(subject: &Subject) -> Self {
        let failed: Vec<&Check> = subject.checks.iter().filter(|check| !check.holds).collect();
        let (class, word, sentence) = match (subject.checks.len(), failed.as_slice()) {
            (0, _) => (
                "none",
                "No verdict",
                "Nothing was expected of these numbers, so nothing is judged.".to_owned(),
            ),
            (all, []) => (
                "good",
                "Holds",
                format!("All {all} checks hold: what had to be seen was seen."),
            ),
            (all, [first, ..]) => (
                "bad",
                "Fails",
                format!(
                    "{} of {all} checks fail, the first: {} ({}).",
                    failed.len(),
                    first.what,
                    first.seen
                ),
            ),
        };
        Self {
            class,
            word,
            sentence,
        }
    }
}

impl RunPart {
    fn of(plan: Option<&Plan>, run: &Run, creates: &[Create]) -> Result<Self, askama::Error> {
        let depths = by_depth(creates);
        let policy = run.expand.name();
        let bands = bands::draw(&format!("bands-{}", policy.to_lowercase()), policy, &depths);
        let bug_check = match &run.end {
            End::Completed => None,
            End::BugCheck(check) => Some((
                format!("Bug check {:#04X} {}", check.code, check.name),
                check.text.clone(),
            )),
        };
        Ok(Self {
            policy,
            headline: plan.map_or_else(
                || format!("Records under ExpandPolicy {policy}"),
                |plan| plan.headline(run.expand),
            ),
            bug_check,
            bands: with_table(bands, sections::depths(&depths))?,
            worst: (!creates.is_empty()).then(|| sections::worst(creates)),
            stack: run.told_stack().map(StackPart::of),
            counts: calls::counts(&run.counts),
            calls: calls::each(&run.opens),
            rows: sections::rows(plan, run),
            arrived: if table::are_arrivals(run) {
                table::ARRIVED
            } else {
                ""
            },
        })
    }
}

impl StackPart {
    fn of(listing: &Listing) -> Self {
        Self {
            summary: format!(
                "{} frames of {} bytes, taken at: {}",
                listing.frames.len(),
                grouped(listing.bytes()),
                listing.taken_at
            ),
            modules: sections::modules(&listing.by_module),
            lines: crate::listing::lines(listing),
        }
    }
}
