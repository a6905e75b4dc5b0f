//! Failing every call that can fail, once for each way in which the driver comes to it.

use std::collections::{HashSet, VecDeque};
use std::fmt;

use super::{Machine, MachineError};
use crate::status::NtStatus;
use crate::wire::{CallStack, FaultRule, FinalReport, Finding, MachineConfig, When};

/// What came of failing one call.
#[derive(Debug)]
pub struct Failure<T> {
    /// The call, and how the driver came to it.
    pub stack: CallStack,
    /// What it failed with; where it answers with a pointer, NULL.
    pub status: NtStatus,
    /// What had to fail before it in the same run for the driver to come there; usually nothing.
    pub after: Vec<CallStack>,
    /// What makes it happen again, with [`MachineConfig::faults`]: this call's rule behind those of `after`.
    pub rules: Vec<FaultRule>,
    /// Whether it came to that call again: with threads that depend on timing it may not.
    pub happened: bool,
    /// What the scenario made of it.
    pub outcome: Result<T, MachineError>,
    /// What the driver did then that its contracts forbid: leaks at unload, and the like.
    pub findings: Vec<Finding>,
}

/// What came of failing each call.
#[derive(Debug)]
pub struct Failures<T> {
    /// The scenario's outcome when nothing fails.
    pub undisturbed: T,
    /// What is found even then.
    pub findings: Vec<Finding>,
    /// One for each unique call stack, in the order in which they were met.
    pub failures: Vec<Failure<T>>,
}

impl<T> Failures<T> {
    /// The failures after which the machine died or something was found.
    pub fn bad(&self) -> impl Iterator<Item = &Failure<T>> {
        let bad = |failure: &&Failure<T>| failure.outcome.is_err() || !failure.findings.is_empty();
        self.failures.iter().filter(bad)
    }

    /// How many calls were made to fail.
    #[must_use]
    pub fn forced(&self) -> usize {
        let forced = |failure: &&Failure<T>| failure.happened;
        self.failures.iter().filter(forced).count()
    }
}

impl<T> fmt::Display for Failure<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.stack.call)?;
        for frame in &self.stack.frames {
            write!(f, "\n    from {frame}")?;
        }
        for earlier in &self.after {
            write!(f, "\n  after {} failed", earlier.call)?;
        }
        if !self.happened {
            write!(f, "\n  did not happen again")?;
        }
        if let Err(error) = &self.outcome {
            write!(f, "\n  {error}")?;
        }
        for finding in &self.findings {
            write!(f, "\n  {finding}")?;
        }
        Ok(())
    }
}

/// Runs `scenario` on a machine of its own for each unique call stack of a call that can fail, and lets that one call
/// fail. What the driver does only then brings more call stacks; they are failed in their turn, together with what led
/// to them, until none is left.
///
/// The scenario loads the driver, uses it and unloads it, and says what came of it; a driver that refuses to load is no
/// error. The machine is shut down afterwards, and its findings belong to the failure.
///
/// # Errors
/// When the scenario fails although no call was made to.
pub fn each_failure<T>(
    config: &MachineConfig,
    scenario: impl FnMut(&Machine) -> Result<T, MachineError>,
) -> Result<Failures<T>, MachineError> {
    each_failure_with(config, |stack| vec![usual(stack)], |_| {}, scenario)
}

/// How far [`each_failure_with`] is.
#[derive(Clone, Copy, Debug)]
pub struct Progress<'a> {
    /// Runs that are over.
    pub done: usize,
    /// Runs that are known to come, the next one included.
    pub left: usize,
    /// What fails in the next one.
    pub next: &'a CallStack,
}

/// As [`each_failure`], with the statuses of `statuses`: a run for each of a call stack's, none where there are none. `progress` is told
/// before each run.
///
/// # Errors
/// When the scenario fails although no call was made to.
pub fn each_failure_with<T>(
    config: &MachineConfig,
    statuses: impl Fn(&CallStack) -> Vec<NtStatus>,
    mut progress: impl FnMut(Progress<'_>),
    mut scenario: impl FnMut(&Machine) -> Result<T, MachineError>,
) -> Result<Failures<T>, MachineError> {
    let mut known = HashSet::new();
    let mut open = VecDeque::new();
    let mut run = |known: &HashSet<u64>, failing: &[Forced]| {
        let rules = failing.iter().map(rule);
        let config = MachineConfig {
            faults: config.faults.iter().cloned().chain(rules).collect(),
            call_stacks: Some(known.iter().copied().collect()),
            ..config.clone()
        };
        let machine = Machine::boot(config)?;
        let outcome = scenario(&machine)?;
        Ok::<_, MachineError>((outcome, machine.shutdown()?))
    };
    let (undisturbed, report) = run(&known, &[])?;
    add(&report, &[], &statuses, &mut known, &mut open);
    let mut failures = Vec::new();
    while let Some(failing) = open.pop_front() {
        let Some(((stack, status), after)) = failing.split_last() else {
            continue;
        };
        progress(Progress {
            done: failures.len(),
            left: open.len() + 1,
            next: stack,
        });
        let (happened, outcome, findings) = match run(&known, &failing) {
            Ok((outcome, report)) => {
                add(&report, &failing, &statuses, &mut known, &mut open);
                let happened = report.faults.last().is_some_and(|count| count.failed > 0);
                (happened, Ok(outcome), report.findings)
            }
            Err(MachineError::BugCheck(report)) => {
                let findings = report.findings.clone();
                (true, Err(MachineError::BugCheck(report)), findings)
            }
            Err(MachineError::TimeLimit {
                request,
                limit,
                stacks,
                findings,
            }) => {
                let found = findings.clone();
                let error = MachineError::TimeLimit {
                    request,
                    limit,
                    stacks,
                    findings,
                };
                (true, Err(error), found)
            }
            Err(error) => (true, Err(error), Vec::new()),
        };
        failures.push(Failure {
            stack: stack.clone(),
            status: *status,
            after: after.iter().map(|(stack, _)| stack.clone()).collect(),
            rules: failing.iter().map(rule).collect(),
            happened,
            outcome,
            findings,
        });
    }
    Ok(Failures {
        undisturbed,
        findings: report.findings,
        failures,
    })
}

/// A call stack, and what its call fails with.
type Forced = (CallStack, NtStatus);

/// Queues the call stacks that a run has met for the first time; `failing` is what failed in it.
fn add(
    report: &FinalReport,
    failing: &[Forced],
    statuses: &impl Fn(&CallStack) -> Vec<NtStatus>,
    known: &mut HashSet<u64>,
    open: &mut VecDeque<Vec<Forced>>,
) {
    for stack in &report.call_stacks {
        if known.insert(stack.hash) {
            for status in statuses(stack) {
                let last = [(stack.clone(), status)];
                open.push_back(failing.iter().cloned().chain(last).collect());
            }
        }
    }
}

/// The status that each call documents for want of memory.
fn usual(stack: &CallStack) -> NtStatus {
    match stack.call.as_str() {
        "KeExpandKernelStackAndCalloutEx" => NtStatus::NO_MEMORY,
        _ => NtStatus::INSUFFICIENT_RESOURCES,
    }
}

/// Fails the first call that comes this way.
fn rule((stack, status): &Forced) -> FaultRule {
    FaultRule {
        call: stack.call.clone(),
        status: *status,
        when: When::Stack(stack.hash),
    }
}
