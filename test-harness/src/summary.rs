//! The report as text for a terminal.

use std::fmt::Write as _;

use anstyle::Style;

use protocol::NtStatus;

use crate::model::{Counts, End, Open, Run};
use crate::report::{Report, Written};
use crate::scenario::Plan;
use crate::{listing, table, tally};

/// Lines of a dead stack that are printed from its newest end: two creates and more.
const NEWEST_LINES: usize = 32;
/// And from its oldest.
const OLDEST_LINES: usize = 12;

const BOLD: Style = Style::new().bold();

/// Everything, with the paths of what was written.
#[must_use]
pub fn summary(report: &Report, written: &Written) -> String {
    let mut text = String::new();
    if report.runs.is_empty() {
        let mut counts = Counts::default();
        for open in &report.without_driver {
            counts.add(open.action, open.status.unwrap_or(NtStatus::SUCCESS));
        }
        let _ = writeln!(
            text,
            "{BOLD}{}, without the driver{BOLD:#}\n\n{}Nothing was recorded: no driver was asked for.\n",
            report.plan.scenario.title(),
            calls(&report.plan, &report.without_driver, &counts)
        );
    }
    for (run, stack) in report.runs.iter().zip(&written.stacks) {
        let stack = stack
            .as_ref()
            .map(|path| path.display().to_string())
            .unwrap_or_default();
        text.push_str(&of_run(&report.plan, run, &stack));
    }
    text.push_str(&table::checks(&report.checks));
    let _ = writeln!(text, "\nPicture: {}", written.picture.display());
    let _ = writeln!(text, "Page:    {}", written.page.display());
    let _ = writeln!(text, "Data:    {}", written.data.display());
    text
}

/// The scenario's calls: each of them, or how many of which kind.
fn calls(plan: &Plan, opens: &[Open], counts: &Counts) -> String {
    let mut text = String::new();
    if opens.len() > tally::READABLE {
        let _ = writeln!(text, "{}", tally::counts(counts));
    } else if !plan.scenario.nests() {
        let _ = writeln!(text, "{}", table::opens(opens));
    }
    let notes = tally::notes(opens);
    if !notes.is_empty() {
        let _ = writeln!(text, "{notes}");
    }
    text
}

fn of_run(plan: &Plan, run: &Run, stack_file: &str) -> String {
    let mut text = format!("{BOLD}{}{BOLD:#}\n\n", plan.headline(run.expand));
    if run.interrupted {
        text.push_str("Interrupted by Ctrl-C: this is what was seen until then.\n\n");
    }
    if let Some(why) = &run.unrecorded {
        let _ = writeln!(text, "Nothing was recorded: {why}\n");
    } else if tally::is_readable(run) {
        let _ = writeln!(text, "{}", table::creates(plan, run));
    } else {
        let _ = writeln!(
            text,
            "Of {} creates, those with the least stack left:\n\n{}",
            table::grouped(run.records.len().max(run.arrivals.len()) as u64),
            table::creates(plan, &tally::lowest(run))
        );
    }
    text.push_str(&calls(plan, &run.opens, &run.counts));
    if let Some(deepest) = run.deepest_listing() {
        let _ = writeln!(
            text,
            "The stack as {} was entered:\n\n{}",
            deepest.taken_at,
            listing::full(deepest)
        );
    }
    if let End::BugCheck(bug_check) = &run.end {
        let code = format!("Bug check {:#04X} {}", bug_check.code, bug_check.name);
        let parameters = bug_check
            .parameters
            .map(|parameter| format!("{parameter:#x}"))
            .join(", ");
        let stack = listing::folded(&bug_check.stack, NEWEST_LINES, OLDEST_LINES, stack_file);
        let _ = writeln!(
            text,
            "{BOLD}{code}{BOLD:#}: {}\nParameters: {parameters}\n\n{stack}",
            bug_check.text
        );
        let _ = writeln!(text, "{}", table::modules(&bug_check.stack.by_module));
        if let Some(told) = &bug_check.crash_dump {
            let _ = writeln!(text, "{told}");
        }
    }
    text
}
