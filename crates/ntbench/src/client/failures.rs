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
    /// What had to fail before it in the same run for the driver to come there; usually nothing.
    pub after: Vec<CallStack>,
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
            write!(f, "\n  {}: {}", finding.rule, finding.text)?;
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
    mut scenario: impl FnMut(&Machine) -> Result<T, MachineError>,
) -> Result<Failures<T>, MachineError> {
    let mut known = HashSet::new();
    let mut open = VecDeque::new();
    let mut run = |known: &HashSet<u64>, failing: &[CallStack]| {
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
    add(&report, &[], &mut known, &mut open);
    let mut failures = Vec::new();
    while let Some((stack, after)) = open.pop_front() {
        let failing: Vec<CallStack> = after.iter().chain([&stack]).cloned().collect();
        let (happened, outcome, findings) = match run(&known, &failing) {
            Ok((outcome, report)) => {
                add(&report, &failing, &mut known, &mut open);
                let happened = report.faults.last().is_some_and(|count| count.failed > 0);
                (happened, Ok(outcome), report.findings)
            }
            Err(error) => (true, Err(error), Vec::new()),
        };
        failures.push(Failure {
            stack,
            after,
            happened,
            outcome,
            findings,
        });
    }
    Ok(Failures {
        undisturbed,
        failures,
    })
}

/// Queues the call stacks that a run has met for the first time; `failing` is what failed in it.
fn add(
    report: &FinalReport,
    failing: &[CallStack],
    known: &mut HashSet<u64>,
    open: &mut VecDeque<(CallStack, Vec<CallStack>)>,
) {
    for stack in &report.call_stacks {
        if known.insert(stack.hash) {
            open.push_back((stack.clone(), failing.to_vec()));
        }
    }
}

/// Fails the first call that comes this way.
fn rule(stack: &CallStack) -> FaultRule {
    let status = match stack.call.as_str() {
        "KeExpandKernelStackAndCalloutEx" => NtStatus::NO_MEMORY,
        _ => NtStatus::INSUFFICIENT_RESOURCES,
    };
    FaultRule {
        call: stack.call.clone(),
        status,
        when: When::Stack(stack.hash),
    }
}
