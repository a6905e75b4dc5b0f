//! What came of a machine, on a terminal.

use std::collections::BTreeSet;

use ntbench::MachineError;
use ntbench::wire::Refusal;

use super::Left;
use crate::cli::args::Run;
use crate::cli::report::Report;
use crate::cli::scenario::PlayError;
use crate::cli::session::Plan;
use crate::cli::{show, stack_table, table};

/// Tells it on a terminal.
pub(super) fn tell(run: &Run, plan: &Plan, report: &Report, outcome: &Result<Left, PlayError>) {
    entries(report);
    for call in &report.calls {
        println!("{:<40} {}", call.call, call.status);
    }
    let several = report.drivers.len() > 1;
    table::steps(&report.steps);
    if report.steps.is_empty() {
        for driver in report.drivers.iter().rev() {
            if let Some(status) = &driver.unload {
                let what = if several {
                    format!("unload of {}", driver.service)
                } else {
                    "unload".to_owned()
                };
                println!("{what:<40} {status}");
            }
        }
    }
    let hints: BTreeSet<&String> = report
        .steps
        .iter()
        .filter_map(|step| step.hint.as_ref())
        .collect();
    for hint in hints {
        eprintln!("ntbench: hint: {hint}");
    }
    if run.trace || report.steps.is_empty() {
        show::events(&report.trace);
    }
    match outcome {
        Ok(left) if left.report.trace.dropped != 0 => {
            println!("({} older events were dropped)", left.report.trace.dropped);
        }
        Err(PlayError::Machine(error)) => failed(error),
        Err(PlayError::Sites(error)) => eprintln!("ntbench: {error}"),
        Ok(_) => {}
    }
    for driver in &report.drivers {
        if let Some(why) = driver.stays {
            eprintln!("ntbench: hint: {} stays loaded: {why}", driver.service);
        }
    }
    table::findings(&report.findings, several);
    if run.stack_limit.is_some() || !report.steps.is_empty() {
        stack_table::uses(&report.stack_use, several);
    }
    if several || !report.steps.is_empty() {
        table::drivers(report);
    }
    if !report.steps.is_empty() {
        table::verdict(report);
    } else if plan.scenarios.is_empty()
        && plan.create.is_empty()
        && plan.query.is_empty()
        && outcome.is_ok()
    {
        eprintln!(
            "ntbench: hint: the driver had nothing to do; --scenario basic, or all, puts it to work"
        );
    }
}

pub(super) fn entries(report: &Report) {
    for driver in &report.drivers {
        if let Some(status) = &driver.entry {
            println!(
                "{:<40} {status}",
                format!("DriverEntry of {}", driver.service)
            );
        }
    }
}

fn failed(error: &MachineError) {
    match error {
        MachineError::BugCheck(report) => show::bug_check(report),
        MachineError::TimeLimit { stacks, .. } => {
            eprintln!("ntbench: {error}");
            stacks.iter().for_each(show::stack);
        }
        MachineError::Refused(Refusal::Image(text)) => eprintln!("ntbench: {text}"),
        other => eprintln!("ntbench: {other}"),
    }
}
