//! The page: the picture, the verdict, the tables, the stacks.

use askama::Template;

use super::Report;
use crate::model::{End, Listing, Run};
use crate::scenario::Plan;
use crate::table::{self, grouped};

#[derive(Template)]
#[template(path = "page.html")]
pub(super) struct Page<'a> {
    heading: &'a str,
    picture: &'a str,
    report: &'a Report,
    runs: Vec<RunPart>,
}

struct RunPart {
    policy: &'static str,
    rows: Vec<[String; 8]>,
    /// What the rows are, where they are not the driver's records.
    arrived: &'static str,
    bug_check: Option<(String, String)>,
    stack: Option<StackPart>,
}

struct StackPart {
    summary: String,
    modules: Vec<(String, String)>,
    /// A line, and whether a loaded driver's own code stands on it.
    lines: Vec<(String, bool)>,
}

impl<'a> Page<'a> {
    pub(super) fn of(report: &'a Report, heading: &'a str, picture: &'a str) -> Self {
        let runs = report
            .runs
            .iter()
            .map(|run| RunPart::of(&report.plan, run))
            .collect();
        Self {
            heading,
            picture,
            report,
            runs,
        }
    }
}

impl RunPart {
    fn of(plan: &Plan, run: &Run) -> Self {
        let bug_check = match &run.end {
            End::Completed => None,
            End::BugCheck(check) => Some((
                format!("Bug check {:#04X} {}", check.code, check.name),
                check.text.clone(),
            )),
        };
        Self {
            policy: run.expand.name(),
            rows: table::rows(plan, run)
                .into_iter()
                .map(|row| row.map(|cell| cell.text))
                .collect(),
            arrived: if table::are_arrivals(run) {
                table::ARRIVED
            } else {
                ""
            },
            bug_check,
            stack: run.told_stack().map(StackPart::of),
        }
    }
}

impl StackPart {
    fn of(listing: &Listing) -> Self {
        Self {
            summary: format!(
                "The stack, {} frames of {} bytes, newest first (a loaded driver's own frames stand out)",
                listing.frames.len(),
                grouped(listing.bytes())
            ),
            modules: listing
                .by_module
                .iter()
                .map(|(module, bytes)| (module.clone(), grouped(*bytes)))
                .collect(),
            lines: crate::listing::lines(listing),
        }
    }
}
