//! Runs that differ in one thing: which call fails, how little stack is left.

use std::collections::BTreeMap;

use ntbench::wire::{CallStack, FaultRule, Finding, MachineConfig, Refusal, TraceEvent, When};
use ntbench::{Failure, Machine, MachineError, NtStatus, each_failure_with};

use super::args::{Faults, Sweep};
use super::paint::Progress;
use super::report::{
    FaultReport, FindingReport, LowStackReport, detail, findings, outcome, without_numbers,
};
use super::run::{Left, machine, replay};
use super::scenario::{PlayError, least_left};
use super::session::{Plan, Session};

/// What came of `--faults`.
pub(super) struct FaultSweep {
    /// The run in which nothing failed.
    pub(super) undisturbed: Session,
    /// What was found even then.
    pub(super) findings: Vec<Finding>,
    /// One for each call stack and status.
    pub(super) reports: Vec<FaultReport>,
}

/// The statuses that `KeExpandKernelStackAndCalloutEx` documents for a callout that did not run.
const EXPANSION: [NtStatus; 4] = [
    NtStatus::NO_MEMORY,
    NtStatus::STACK_OVERFLOW,
    NtStatus::INVALID_PARAMETER_3,
    NtStatus::INVALID_PARAMETER_4,
];

fn statuses(which: &Faults, stack: &CallStack) -> Vec<NtStatus> {
    let usual = || match stack.call.as_str() {
        "KeExpandKernelStackAndCalloutEx" => EXPANSION.to_vec(),
        _ => vec![NtStatus::INSUFFICIENT_RESOURCES],
    };
    match which {
        Faults::All => usual(),
        Faults::One(call, status) if *call == stack.call => {
            status.map_or_else(usual, |status| vec![status])
        }
        Faults::One(..) => Vec::new(),
    }
}

/// One run for each unique call stack of a call that can fail.
///
/// # Errors
/// When the drivers fail although no call was made to.
pub(super) fn faults(plan: &Plan, which: &Faults, quiet: bool) -> Result<FaultSweep, MachineError> {
    let mut config = plan.config.clone();
    if let Faults::One(call, _) = which {
        config.fail_also.push(call.clone());
    }
    // What failing calls bring about is told here; a dump would be overwritten by the next.
    config.crash_dump = None;
    let progress = Progress::new(quiet);
    let scenario = |machine: &Machine| {
        let mut session = Session::default();
        match plan.run(machine, false, &mut session) {
            Ok(()) => Ok(session),
            Err(PlayError::Machine(error)) => Err(error),
            Err(PlayError::Sites(error)) => {
                Err(MachineError::Refused(Refusal::Config(error.to_string())))
            }
        }
    };
    let show = |at: ntbench::Progress<'_>| {
        progress.show(format!(
            "run {} of {} so far: {} fails",
            at.done + 1,
            at.done + at.left,
            at.next.call
        ));
    };
    let failures = each_failure_with(&config, |stack| statuses(which, stack), show, scenario)?;
    let reports = failures
        .failures
        .iter()
        .map(|failure| fault_report(failure, &failures.undisturbed, &failures.findings))
        .collect();
    Ok(FaultSweep {
        undisturbed: failures.undisturbed,
        findings: failures.findings,
        reports,
    })
}

/// What a run found that the undisturbed one did not.
fn new_findings(found: &[Finding], known: &[Finding]) -> Vec<FindingReport> {
    let same = |a: &Finding, b: &Finding| {
        a.rule == b.rule && a.site == b.site && without_numbers(&a.text) == without_numbers(&b.text)
    };
    let new: Vec<Finding> = found
        .iter()
        .filter(|finding| !known.iter().any(|known| same(known, finding)))
        .cloned()
        .collect();
    findings(&new)
}

fn fault_report(
    failure: &Failure<Session>,
    undisturbed: &Session,
    known: &[Finding],
) -> FaultReport {
    let new = new_findings(&failure.findings, known);
    let error = failure.outcome.as_ref().err();
    FaultReport {
        call: failure.stack.call.clone(),
        status: if ntbench::fails_with_null(&failure.stack.call) {
            "NULL".to_owned()
        } else {
            failure.status.to_string()
        },
        frames: failure.stack.frames.clone(),
        after: failure
            .after
            .iter()
            .map(|stack| stack.call.clone())
            .collect(),
        happened: failure.happened,
        outcome: outcome(error, &new),
        effect: failure
            .outcome
            .as_ref()
            .map_or_else(|_| String::new(), |session| effect(session, undisturbed)),
        detail: detail(error, &new),
        replay: replay::command(&["--faults"], &rules(failure)),
    }
}

/// The options that let a call fail again.
fn rules(failure: &Failure<Session>) -> Vec<String> {
    let mut words = Vec::new();
    for FaultRule { call, status, when } in &failure.rules {
        if let When::Stack(hash) = when {
            words.push("--fault".to_owned());
            words.push(format!("{call}={status}@stack:{hash:x}"));
        }
    }
    words
}

/// What a program, or whoever loads the driver, notices of the failure.
fn effect(session: &Session, undisturbed: &Session) -> String {
    let refused = session
        .entries
        .iter()
        .find(|(_, status)| !status.is_success());
    if let Some((service, status)) = refused {
        return format!("{service} does not load: {status}");
    }
    let statuses = |session: &Session| -> Vec<Vec<(String, u32)>> {
        let steps = session.steps.iter().map(|step| step.statuses.clone());
        let calls = session
            .calls
            .iter()
            .map(|(_, status)| vec![(status.to_string(), 1)]);
        steps.chain(calls).collect()
    };
    let (here, there) = (statuses(session), statuses(undisturbed));
    match here.iter().zip(&there).filter(|(a, b)| a != b).count() {
        0 => "nothing to be seen".to_owned(),
        1 => "1 operation ends otherwise".to_owned(),
        n => format!("{n} operations end otherwise"),
    }
}

/// One run for each number of bytes that creates find left.
pub(super) fn low_stack(plan: &Plan, sweep: Sweep, quiet: bool) -> Vec<LowStackReport> {
    let progress = Progress::new(quiet);
    let numbers = sweep.numbers();
    let count = numbers.len();
    let tried = numbers.into_iter().enumerate().map(|(index, bytes)| {
        progress.show(format!(
            "run {} of {count}: {bytes:#x} bytes left",
            index + 1
        ));
        let config = MachineConfig {
            low_stack: Some(bytes),
            crash_dump: None,
            ..plan.config.clone()
        };
        let mut session = Session::default();
        let outcome = machine(plan, config.clone(), true, &mut session);
        let mut report = low_stack_report(bytes, session, outcome);
        if report.outcome != "ok" && plan.bare_with(config).is_err() {
            report.detail.push(
                "without the drivers a machine ends here as well: the kernel's own frames need more than that".to_owned(),
            );
            report.without_too = true;
        }
        report
    });
    tried.collect()
}

fn low_stack_report(
    bytes: u32,
    mut session: Session,
    ended: Result<Left, PlayError>,
) -> LowStackReport {
    let (error, found) = match ended {
        Ok(left) => (None, left.report.findings),
        Err(PlayError::Machine(MachineError::BugCheck(report))) => {
            session.trace.extend(report.trace.events.iter().cloned());
            let found = report.findings.clone();
            (Some(MachineError::BugCheck(report)), found)
        }
        Err(PlayError::Machine(error)) => (Some(error), Vec::new()),
        Err(PlayError::Sites(error)) => (
            Some(MachineError::Refused(Refusal::Config(error.to_string()))),
            Vec::new(),
        ),
    };
    let mut at_callback: BTreeMap<String, u64> = BTreeMap::new();
    let mut least = None;
    for event in &session.trace {
        let TraceEvent::Callback(event) = event else {
            continue;
        };
        if event.operation == "IRP_MJ_CREATE" {
            if event.phase == "pre" {
                let at = at_callback.entry(event.filter.clone()).or_insert(u64::MAX);
                *at = (*at).min(event.remaining);
            }
            let left = least_left(event);
            least = Some(least.map_or(left, |least: u64| least.min(left)));
        }
    }
    let found = findings(&found);
    let mut outcome = outcome(error.as_ref(), &found);
    let mut detail = detail(error.as_ref(), &found);
    if let Some(MachineError::BugCheck(report)) = &error {
        // The stack's end may be found by anybody: by a filter, or by the kernel below or above it.
        let newest = report.stack.frames.first();
        outcome = format!(
            "{:#04X} in {}",
            report.code,
            newest.map_or("?", |frame| frame.symbol.as_str())
        );
        let by: Vec<String> = report
            .stack
            .by_module
            .iter()
            .map(|(module, bytes)| format!("{module} {bytes:#x}"))
            .collect();
        detail.push(format!("bytes by module: {}", by.join(", ")));
    }
    LowStackReport {
        bytes,
        at_callback,
        least,
        without_too: false,
        outcome,
        detail,
        replay: replay::command(
            &["--low-stack"],
            &["--low-stack".to_owned(), format!("{bytes:#x}")],
        ),
    }
}
