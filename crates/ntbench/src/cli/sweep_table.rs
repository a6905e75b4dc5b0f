//! Tables of many runs.

use super::paint;
use super::report::{FaultReport, LowStackReport, SchedulesReport};
use super::table::fit;

const WAY: usize = 64;

/// A frame without its file: `module!function+0x12`.
pub(super) fn short(frame: &str) -> &str {
    frame.split(" (").next().unwrap_or(frame)
}

pub(super) fn column<'a>(texts: impl Iterator<Item = &'a str>, least: usize) -> usize {
    texts
        .map(|text| text.chars().count())
        .max()
        .unwrap_or(0)
        .max(least)
}

fn coloured(outcome: &str, width: usize) -> String {
    let text = format!("{outcome:<width$}");
    match outcome {
        "ok" => paint::good(text),
        _ => paint::bad(text),
    }
}

/// What came of failing each call.
pub(super) fn faults(reports: &[FaultReport]) {
    if reports.is_empty() {
        return;
    }
    let way = |report: &FaultReport| {
        let frames: Vec<&str> = report.frames.iter().map(|frame| short(frame)).collect();
        fit(&frames.join(" < "), WAY)
    };
    let ways: Vec<String> = reports.iter().map(way).collect();
    let calls = column(reports.iter().map(|report| report.call.as_str()), 4);
    let statuses = column(reports.iter().map(|report| report.status.as_str()), 10);
    let outcomes = column(reports.iter().map(|report| report.outcome.as_str()), 7);
    let ways_width = column(ways.iter().map(String::as_str), 15);
    println!(
        "\n{:>4}  {:<calls$}  {:<statuses$}  {:<ways_width$}  {:<outcomes$}  effect",
        "run", "call", "fails with", "called from", "outcome"
    );
    for (index, (report, way)) in reports.iter().zip(&ways).enumerate() {
        let effect = if report.happened {
            report.effect.as_str()
        } else {
            "did not happen again"
        };
        let after = if report.after.is_empty() {
            String::new()
        } else {
            format!(" (after {} failed)", report.after.join(", "))
        };
        println!(
            "{:>4}  {:<calls$}  {:<statuses$}  {way:<ways_width$}  {}  {effect}{after}",
            index + 1,
            report.call,
            report.status,
            coloured(&report.outcome, outcomes),
        );
    }
    let bad: Vec<(usize, &FaultReport)> = reports
        .iter()
        .enumerate()
        .filter(|(_, report)| report.outcome != "ok")
        .collect();
    for (index, report) in &bad {
        println!(
            "\n{} {} fails with {}, called from",
            paint::head(format!("run {}:", index + 1)),
            report.call,
            report.status
        );
        for frame in &report.frames {
            println!("        {frame}");
        }
        for line in &report.detail {
            println!("    {line}");
        }
        println!("    that run again:\n        {}", report.replay);
    }
    println!(
        "\n{} calls failed, one a run; {}",
        reports.iter().filter(|report| report.happened).count(),
        match bad.len() {
            0 => paint::good("every failure was survived, nothing leaked"),
            n => paint::bad(format!("{n} went wrong")),
        }
    );
}

/// What came of less and less stack.
pub(super) fn low_stack(reports: &[LowStackReport]) {
    let filters: Vec<&String> = {
        let mut names: Vec<&String> = reports
            .iter()
            .flat_map(|report| report.at_callback.keys())
            .collect();
        names.sort();
        names.dedup();
        names
    };
    let hex =
        |bytes: Option<u64>| bytes.map_or_else(|| "-".to_owned(), |bytes| format!("{bytes:#x}"));
    let heading = |name: &str| format!("at {name}");
    print!("\n{:>8}", "left");
    for name in &filters {
        print!(
            "  {:>width$}",
            heading(name),
            width = heading(name).len().max(8)
        );
    }
    println!("  {:>8}  outcome", "least");
    for report in reports {
        print!("{:>8}", format!("{:#x}", report.bytes));
        for name in &filters {
            let width = heading(name).len().max(8);
            print!("  {:>width$}", hex(report.at_callback.get(*name).copied()));
        }
        println!(
            "  {:>8}  {}",
            hex(report.least),
            if report.without_too {
                paint::odd(format!("{}, without the drivers too", report.outcome))
            } else {
                coloured(&report.outcome, 0)
            }
        );
    }
    let mut told: Vec<&str> = Vec::new();
    for report in reports.iter().filter(|report| report.outcome != "ok") {
        if told.contains(&report.outcome.as_str()) {
            continue;
        }
        told.push(&report.outcome);
        println!(
            "\n{} {}",
            paint::head(format!("first at {:#x}:", report.bytes)),
            report.outcome
        );
        for line in &report.detail {
            println!("    {line}");
        }
        println!("    that run again:\n        {}", report.replay);
    }
    println!(
        "\nleft: bytes of kernel stack where each create begins, in nt!NtCreateFile; at: where a filter's pre-create callback does, at \
         least; least: what a callback had left"
    );
}

/// What came of the schedules.
pub(super) fn schedules(report: &SchedulesReport) {
    match (&report.failed, &report.replay) {
        (Some(seed), Some(replay)) => {
            println!(
                "\n{}; the same schedule again:\n    {replay}",
                paint::bad(format!("seed {seed} fails"))
            );
        }
        _ => println!(
            "\n{}",
            paint::good(format!(
                "{} schedules, seeds {} to {}: none fails",
                report.tried,
                report.from,
                report.from + report.tried.saturating_sub(1)
            ))
        ),
    }
}
