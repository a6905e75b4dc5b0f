//! Tables of results on a terminal.

use std::fmt::Write as _;

use super::paint;
use super::place;
use super::report::{End, FindingReport, Report};
use super::scenario::StepResult;

const WIDEST: usize = 52;

/// Cuts a text in its middle, where it has most to spare.
pub(super) fn fit(text: &str, width: usize) -> String {
    let count = text.chars().count();
    if count <= width {
        return text.to_owned();
    }
    let tail = (width - 1) / 2;
    let head: String = text.chars().take(width - 1 - tail).collect();
    let tail: String = text.chars().skip(count - tail).collect();
    format!("{head}…{tail}")
}

/// How a step ended: one status, or several with their counts.
fn ended(step: &StepResult) -> String {
    match step.statuses.as_slice() {
        [] if step.operation.contains(" threads, ") => String::new(),
        [] => "(the machine ended)".to_owned(),
        [(status, 1)] => status.clone(),
        several => {
            let each: Vec<String> = several
                .iter()
                .map(|(status, count)| format!("{count} × {status}"))
                .collect();
            each.join(", ")
        }
    }
}

/// What is to be said about a step beyond its row's numbers.
fn remarks(step: &StepResult) -> String {
    let mut remarks = String::new();
    if let Some(wrong) = &step.wrong {
        let _ = write!(remarks, "  {}", paint::bad(wrong));
    }
    if let Some(without) = &step.without {
        let _ = write!(
            remarks,
            "  {}",
            paint::odd(format!("without drivers: {without}"))
        );
    }
    if step.answered > 0 {
        let _ = write!(remarks, "  answered {}", step.answered);
    }
    if step.findings > 0 {
        let text = match step.findings {
            1 => "1 finding".to_owned(),
            n => format!("{n} findings"),
        };
        let _ = write!(remarks, "  {}", paint::bad(text));
    }
    remarks
}

/// The scenarios' steps, a table for each scenario and place.
pub(super) fn steps(steps: &[StepResult]) {
    let mut rest = steps;
    while let Some(first) = rest.first() {
        let same =
            |step: &&StepResult| (&step.scenario, &step.place) == (&first.scenario, &first.place);
        let count = rest.iter().take_while(same).count();
        let (part, others) = rest.split_at(count);
        rest = others;
        scenario(part);
    }
}

fn scenario(steps: &[StepResult]) {
    println!(
        "\n{}",
        paint::head(format!("{} on {}", steps[0].scenario, steps[0].place))
    );
    let label = |step: &StepResult| match &step.thread {
        Some(thread) => fit(&format!("[{thread}] {}", step.operation), WIDEST),
        None => fit(&step.operation, WIDEST),
    };
    let width = |texts: &mut dyn Iterator<Item = String>, least: usize| {
        texts
            .map(|text| text.chars().count())
            .max()
            .unwrap_or(0)
            .max(least)
    };
    let operations = width(&mut steps.iter().map(label), 9);
    let statuses = width(&mut steps.iter().map(ended), 6);
    println!(
        "  {:>4}  {:<operations$}  {:<statuses$}  {:>9}  {:>10}",
        "line", "operation", "status", "callbacks", "stack left"
    );
    for step in steps {
        let callbacks: u64 = step.callbacks.values().sum();
        let left = step
            .least_stack
            .map_or_else(|| "-".to_owned(), |bytes| format!("{bytes:#x}"));
        println!(
            "  {:>4}  {:<operations$}  {:<statuses$}  {callbacks:>9}  {left:>10}{}",
            step.line,
            label(step),
            ended(step),
            remarks(step)
        );
    }
}

/// The drivers, where there are several or where a scenario was played.
pub(super) fn drivers(report: &Report) {
    let width = |column: fn(&super::report::DriverReport) -> &str, least: usize| {
        report
            .drivers
            .iter()
            .map(|driver| column(driver).chars().count())
            .max()
            .unwrap_or(0)
            .max(least)
    };
    let services = width(|driver| &driver.service, 6);
    let altitudes = width(|driver| &driver.altitude, 8);
    let entries = width(|driver| driver.entry.as_deref().unwrap_or("-"), 11);
    let unloads = width(|driver| driver.unload.as_deref().unwrap_or("-"), 6);
    println!(
        "\n{:<services$}  {:>altitudes$}  {:<entries$}  {:<unloads$}  {:>9}  {:>8}",
        "driver", "altitude", "DriverEntry", "unload", "callbacks", "findings"
    );
    // As fltmc lists them: the highest first.
    for driver in report.drivers.iter().rev() {
        println!(
            "{:<services$}  {:>altitudes$}  {:<entries$}  {:<unloads$}  {:>9}  {:>8}",
            driver.service,
            driver.altitude,
            driver.entry.as_deref().unwrap_or("-"),
            driver.unload.as_deref().unwrap_or("-"),
            driver.callbacks,
            driver.findings
        );
    }
}

/// What was found, driver by driver.
pub(super) fn findings(findings: &[FindingReport], several: bool) {
    let mut whose: Option<&Option<String>> = None;
    for finding in findings {
        if several && whose != Some(&finding.driver) {
            whose = Some(&finding.driver);
            let name = finding.driver.as_deref().unwrap_or("nobody in particular");
            println!("\n{}", paint::head(format!("found of {name}:")));
        }
        let times = match finding.times {
            1 => String::new(),
            times => format!(" ({times} times)"),
        };
        let site = finding.site.as_deref().unwrap_or_default();
        let (found, place) = place::place(&finding.text, site);
        println!("{} {}{times}: {found}", paint::bad("finding"), finding.rule,);
        match (place, site) {
            ("", "") => {}
            ("", site) => println!("        at {site}"),
            (place, _) => println!("        {place}"),
        }
        println!(
            "        {}",
            paint::odd(format!("to mend it: {}", finding.advice))
        );
    }
}

/// The last line: what all this means.
pub(super) fn verdict(report: &Report) {
    let steps = report.steps.len();
    let wrong = report
        .steps
        .iter()
        .filter(|step| step.wrong.is_some())
        .count();
    let other = report
        .steps
        .iter()
        .filter(|step| step.without.is_some())
        .count();
    let found = report.findings.len();
    let mut text = format!("\n{steps} operations");
    if wrong > 0 {
        let _ = write!(text, ", {}", paint::bad(format!("{wrong} not as expected")));
    }
    if other > 0 {
        let _ = write!(
            text,
            ", {}",
            paint::odd(format!("{other} other than without the drivers"))
        );
    }
    let findings = match found {
        0 => paint::good("no finding"),
        1 => paint::bad("1 finding"),
        n => paint::bad(format!("{n} findings")),
    };
    match &report.end {
        Some(End::BugCheck(bug_check)) => {
            let end = format!("bug check {:#X} {}", bug_check.code, bug_check.name);
            println!("{text}; {findings}; {}", paint::bad(end));
        }
        Some(End::TimeLimit { .. }) => {
            println!(
                "{text}; {findings}; {}",
                paint::bad("stopped by the time limit")
            );
        }
        Some(End::Other { .. }) => println!("{text}; {findings}; {}", paint::bad("not finished")),
        None => println!("{text}; {findings}"),
    }
}
