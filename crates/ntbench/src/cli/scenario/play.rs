//! Playing a scenario on a machine, and noting what came of each step.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use ntbench::wire::{CallbackEvent, StackKind, ThreadSpec, TraceEvent};
use ntbench::{Machine, MachineError, NtStatus, Thread};
use serde::Serialize;

use super::actor::{Done, Handles};
use super::model::{Act, Actor, Scenario, Step};
use super::told::told;
use super::{Site, SitesError};

/// What came of a step, or of the same step done by one of several threads again and again.
#[derive(Clone, Debug, Serialize)]
pub(in crate::cli) struct StepResult {
    /// The scenario.
    pub(in crate::cli) scenario: String,
    /// Whether it is one that knows nothing of the drivers: what they change is theirs to change.
    #[serde(skip)]
    pub(in crate::cli) built_in: bool,
    /// Where it was played.
    pub(in crate::cli) place: String,
    /// The scenario's line.
    pub(in crate::cli) line: usize,
    /// The thread, where it is not the only one.
    pub(in crate::cli) thread: Option<String>,
    /// What was done.
    pub(in crate::cli) operation: String,
    /// How it ended: the statuses, and how often there was each.
    pub(in crate::cli) statuses: Vec<(String, u32)>,
    /// Calls of each filter's callbacks meanwhile.
    pub(in crate::cli) callbacks: BTreeMap<String, u64>,
    /// The fewest bytes of kernel stack left in one of them.
    pub(in crate::cli) least_stack: Option<u64>,
    /// How many of the filters' questions were answered at their ports meanwhile.
    pub(in crate::cli) answered: u32,
    /// How many things were found meanwhile.
    pub(in crate::cli) findings: usize,
    /// What was expected, where it is not what came.
    pub(in crate::cli) wrong: Option<String>,
    /// How it ends without the drivers, where that is something else.
    pub(in crate::cli) without: Option<String>,
    /// What can be done about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::cli) hint: Option<String>,
}

/// Why a scenario was not played to its end.
#[derive(Debug, thiserror::Error)]
pub(in crate::cli) enum PlayError {
    /// The machine ended.
    #[error(transparent)]
    Machine(#[from] MachineError),
    /// The host refuses the folders.
    #[error(transparent)]
    Sites(#[from] SitesError),
}

/// What a scenario is played with.
pub(in crate::cli) struct Play<'a> {
    /// The machine.
    pub(in crate::cli) machine: &'a Machine,
    /// The threads' stacks.
    pub(in crate::cli) stack: StackKind,
    /// Whether to look after each step what the filters did.
    pub(in crate::cli) observe: bool,
    /// How many questions of filters have been answered since the last step.
    pub(in crate::cli) answered: Arc<AtomicU32>,
    /// What ports are given that are connected to without a context.
    pub(in crate::cli) context: &'a [u8],
}

/// Plays a scenario. What came of the steps until a machine's death stays in `results`, and what the machine told in `trace`.
///
/// # Errors
/// When the machine dies of it.
pub(in crate::cli) fn play(
    with: &Play<'_>,
    scenario: &Scenario,
    site: &Site,
    results: &mut Vec<StepResult>,
    trace: &mut Vec<TraceEvent>,
) -> Result<(), PlayError> {
    let _folder = site.prepare(scenario)?;
    let mut threads: HashMap<String, Thread> = HashMap::new();
    let mut handles = Handles::default();
    for step in &scenario.steps {
        let known = handles.process(&step.thread).or(threads.get(&step.thread));
        let thread = match known {
            Some(thread) => thread.clone(),
            None => {
                let thread = with.thread(&step.thread)?;
                threads.insert(step.thread.clone(), thread.clone());
                thread
            }
        };
        let first = results.len();
        if let Act::Together {
            threads: actors,
            times,
        } = &step.act
        {
            // What the filters do meanwhile belongs to all of them.
            results.push(blank(scenario, site, step, None));
            with.together(scenario, site, actors, *times, &handles, results)?;
        } else {
            results.push(blank(scenario, site, step, None));
            let done = handles.act(step, with, &thread, site)?;
            if let Some(result) = results.last_mut() {
                note(result, step, &done);
                result.hint = hint(step, done.status, site, with.context);
            }
        }
        results[first].answered = with.answered.swap(0, Ordering::AcqRel);
        if with.observe {
            observe(with.machine, &mut results[first], trace)?;
        }
    }
    if let Some(thread) = threads.values().next() {
        handles.close_all(thread, &Handles::default())?;
    }
    for (_, thread) in threads {
        thread.end()?;
    }
    Ok(())
}

impl Play<'_> {
    /// A thread by its name in a scenario; one that is called like a program is that program's.
    pub(super) fn thread(&self, name: &str) -> Result<Thread, MachineError> {
        let process_image = if name.to_ascii_lowercase().ends_with(".exe") {
            name
        } else {
            "ntbench.exe"
        };
        self.machine.thread(ThreadSpec {
            process_image: process_image.to_owned(),
            process: 0,
            stack: self.stack,
        })
    }

    /// Runs threads at the same time, each on a thread of this host.
    fn together(
        &self,
        scenario: &Scenario,
        site: &Site,
        actors: &[Actor],
        times: u32,
        handles: &Handles,
        results: &mut Vec<StepResult>,
    ) -> Result<(), MachineError> {
        let mut threads = Vec::new();
        for actor in actors {
            threads.push(self.thread(&actor.name)?);
        }
        self.machine.schedule_together(&threads)?;
        let run = |actor: &Actor, thread: &Thread| {
            let steps = actor.steps.iter();
            let name = Some(actor.name.clone());
            let mut results: Vec<StepResult> = steps
                .map(|step| blank(scenario, site, step, name.clone()))
                .collect();
            let outcome = repeat(self, actor, thread, site, times, handles, &mut results);
            // Whatever came of it, the others need not wait for this thread.
            let left = thread.leave_together();
            (results, outcome.and(left))
        };
        let outcomes: Vec<_> = std::thread::scope(|scope| {
            let running: Vec<_> = actors
                .iter()
                .zip(&threads)
                .map(|(actor, thread)| scope.spawn(|| run(actor, thread)))
                .collect();
            running
                .into_iter()
                .map(std::thread::ScopedJoinHandle::join)
                .collect()
        });
        let mut failed = None;
        for outcome in outcomes {
            let (steps, outcome) = outcome.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            results.extend(steps);
            // All are told of the same death.
            failed = failed.or(outcome.err());
        }
        match failed {
            Some(error) => Err(error),
            None => threads.into_iter().try_for_each(Thread::end),
        }
    }
}

fn repeat(
    with: &Play<'_>,
    actor: &Actor,
    thread: &Thread,
    site: &Site,
    times: u32,
    before: &Handles,
    results: &mut [StepResult],
) -> Result<(), MachineError> {
    let mut handles = before.clone();
    for _ in 0..times {
        for (step, result) in actor.steps.iter().zip(results.iter_mut()) {
            let done = handles.act(step, with, thread, site)?;
            note(result, step, &done);
        }
    }
    handles.close_all(thread, before)
}

fn blank(scenario: &Scenario, site: &Site, step: &Step, thread: Option<String>) -> StepResult {
    let thread = thread.or_else(|| (step.thread != "main").then(|| step.thread.clone()));
    StepResult {
        scenario: scenario.name.clone(),
        built_in: scenario.built_in,
        place: site.label.clone(),
        line: step.line,
        thread,
        operation: told(step),
        statuses: Vec::new(),
        callbacks: BTreeMap::new(),
        least_stack: None,
        answered: 0,
        findings: 0,
        wrong: None,
        without: None,
        hint: None,
    }
}

/// Notes how a step ended, and whether that is right.
fn note(result: &mut StepResult, step: &Step, done: &Done) {
    let status = done.status.to_string();
    match result
        .statuses
        .iter_mut()
        .find(|(known, _)| *known == status)
    {
        Some((_, count)) => *count += 1,
        None => result.statuses.push((status, 1)),
    }
    if !step.expect.is_empty() && !step.expect.contains(&done.status) {
        let expected: Vec<String> = step.expect.iter().map(NtStatus::to_string).collect();
        result.wrong = Some(format!("expected {}", expected.join(" or ")));
    } else if let Some(expected) = &step.expect_text
        && done.text.as_ref() != Some(expected)
    {
        let found = done.text.as_deref().unwrap_or_default();
        result.wrong = Some(format!("expected {expected:?}, not {found:?}"));
    }
}

/// What to do about a port that refuses a program.
fn hint(step: &Step, status: NtStatus, site: &Site, usual: &[u8]) -> Option<String> {
    let Act::Connect { port, context, .. } = &step.act else {
        return None;
    };
    // Without a port of that name nobody was asked.
    if status.is_success() || status == NtStatus::OBJECT_NAME_NOT_FOUND {
        return None;
    }
    let port = site.fill_in(port);
    let given = match context.as_deref().unwrap_or(usual) {
        [] => "without a context".to_owned(),
        bytes => format!("with a context of {} bytes", bytes.len()),
    };
    Some(format!(
        "port {port} refused a connection {given}: {status}. If its filter wants another one, give it to the built-in scenarios by \
         --port-context TEXT or --port-context hex:0102, or write `text` or `hex` in the `connect` step of a scenario file"
    ))
}

/// Takes the machine's trace: what the filters did belongs to the step just done.
fn observe(
    machine: &Machine,
    result: &mut StepResult,
    trace: &mut Vec<TraceEvent>,
) -> Result<(), MachineError> {
    let taken = machine.trace()?;
    for event in &taken.events {
        match event {
            TraceEvent::Callback(event) => {
                *result.callbacks.entry(event.filter.clone()).or_default() += 1;
                let least = result.least_stack.unwrap_or(u64::MAX);
                result.least_stack = Some(least.min(least_left(event)));
            }
            TraceEvent::Finding(_) => result.findings += 1,
            _ => {}
        }
    }
    trace.extend(taken.events);
    Ok(())
}

/// The fewest bytes of kernel stack that a callback had left, on the segment that it began on.
pub(in crate::cli) fn least_left(event: &CallbackEvent) -> u64 {
    event
        .lowest_sp
        .and_then(|lowest| lowest.checked_sub(event.segment_low))
        .map_or(event.remaining, |left| event.remaining.min(left))
}
