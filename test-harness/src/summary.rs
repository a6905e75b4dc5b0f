//! The report as text for a terminal.

use std::fmt::Write as _;

use anstyle::Style;

use crate::model::{End, Run};
use crate::report::{Report, Written};
use crate::scenario::{Kind, Plan};
use crate::{listing, table};

/// Lines of a dead stack that are printed from its newest end: two creates and more.
const NEWEST_LINES: usize = 32;
/// And from its oldest.
const OLDEST_LINES: usize = 12;

const BOLD: Style = Style::new().bold();

/// Everything, with the paths of what was written.
#[must_use]
pub fn summary(report: &Report, written: &Written) -> String {
    let mut text = String::new();
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

fn of_run(plan: &Plan, run: &Run, stack_file: &str) -> String {
    let mut text = format!(
        "{BOLD}{}{BOLD:#}\n\n{}\n",
        plan.headline(run.expand),
        table::creates(plan, run)
    );
    if plan.scenario != Kind::Nested {
        let _ = writeln!(text, "{}", table::opens(&run.opens));
    }
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
