//! Whether a run showed what it had to show.

use serde::{Deserialize, Serialize};

use crate::model::{End, Expand, Open, RecordView, Run};
use crate::scenario::{Kind, Plan};

/// From this many nested creates on, a run that never expands has to overflow its 24 KB: each create leaves more than
/// 0x400 bytes of kernel frames alone (0x440 between FltpCreate and IopParseDevice on the published stack).
const SURE_TO_OVERFLOW: u32 = 24;

/// One thing that had to be so.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// What.
    pub what: String,
    /// Whether it is.
    pub holds: bool,
    /// What was seen.
    pub seen: String,
}

/// Everything that had to be so in `runs`, given what the opens came to without the driver.
#[must_use]
pub fn judge(plan: &Plan, runs: &[Run], without_driver: &[Open]) -> Vec<Check> {
    let mut checks = Checks::default();
    checks.add(
        "without the driver, every open returns its status",
        without_driver
            .iter()
            .all(|open| open.status == Some(open.expected)),
        statuses(without_driver),
    );
    for run in runs {
        checks.policy = run.expand.name();
        judge_run(&mut checks, plan, run, without_driver);
    }
    checks.list
}

/// Whether every check holds.
#[must_use]
pub fn passed(checks: &[Check]) -> bool {
    checks.iter().all(|check| check.holds)
}

#[derive(Default)]
struct Checks {
    policy: &'static str,
    list: Vec<Check>,
}

impl Checks {
    fn add(&mut self, what: &str, holds: bool, seen: String) {
        let what = if self.policy.is_empty() {
            what.to_owned()
        } else {
            format!("{}: {what}", self.policy)
        };
        self.list.push(Check { what, holds, seen });
    }
}

fn judge_run(checks: &mut Checks, plan: &Plan, run: &Run, without_driver: &[Open]) {
    let findings = run
        .findings
        .first()
        .cloned()
        .unwrap_or_else(|| "none".to_owned());
    checks.add(
        "the verifier found nothing",
        run.findings.is_empty(),
        findings,
    );
    match &run.end {
        End::BugCheck(bug_check) => {
            let depth = run
                .arrivals
                .iter()
                .map(|arrival| arrival.depth)
                .max()
                .unwrap_or(0);
            let seen = format!(
                "bug check {:#04X} ({:#X}) at depth {depth}",
                bug_check.code, bug_check.parameters[0]
            );
            let overflows = plan.scenario == Kind::Nested && run.expand == Expand::Never;
            if overflows {
                let what = "nested creates overflow the kernel stack: bug check 0x7F (8)";
                checks.add(what, bug_check.is_double_fault(), seen);
            } else {
                checks.add("every open comes back", false, seen);
            }
        }
        End::Completed => {
            if plan.scenario == Kind::Nested
                && run.expand == Expand::Never
                && plan.depth >= SURE_TO_OVERFLOW
            {
                let what = "nested creates overflow the kernel stack: bug check 0x7F (8)";
                checks.add(
                    what,
                    false,
                    format!("{} of them came back", run.records.len()),
                );
            }
            judge_completed(checks, plan, run, without_driver);
        }
    }
}

fn judge_completed(checks: &mut Checks, plan: &Plan, run: &Run, without_driver: &[Open]) {
    let same = run
        .opens
        .iter()
        .map(|open| open.status)
        .eq(without_driver.iter().map(|open| open.status));
    checks.add(
        "every open returns what it returns without the driver",
        same,
        statuses(&run.opens),
    );

    let losses = run.losses.unwrap_or_default();
    let lost = losses.overwritten + losses.skipped + losses.skipped_low_stack;
    checks.add(
        "no record was lost",
        lost == 0 && losses.written > 0,
        format!("{} written, {lost} lost", losses.written),
    );

    judge_samples(checks, run);
    if plan.scenario == Kind::Nested {
        let mut depths: Vec<u32> = run.records.iter().map(|record| record.depth).collect();
        depths.sort_unstable();
        let what = format!(
            "{} creates nest on one thread, each with its record",
            plan.depth
        );
        let deepest = depths.last().copied().unwrap_or(0);
        checks.add(
            &what,
            depths.iter().copied().eq(1..=plan.depth),
            format!("{} records, deepest {deepest}", depths.len()),
        );

        let failed = run.records.iter().find(|record| {
            record
                .create_status
                .is_none_or(|status| !status.is_success())
        });
        let seen = failed.map_or_else(
            || "all of them".to_owned(),
            |record| format!("not at depth {}", record.depth),
        );
        checks.add("every nested create succeeds", failed.is_none(), seen);
    }
    if run.expand == Expand::Always {
        let expanded: Vec<&RecordView> = run
            .records
            .iter()
            .filter(|record| record.reservation_bytes != 0)
            .collect();
        let short = expanded.iter().find(|record| {
            // Without an inside sample it did not start at all.
            record
                .inside
                .is_none_or(|inside| inside + INSIDE_FRAMES < record.reservation_bytes)
        });
        let seen = match short {
            Some(record) => format!(
                "record {} has {} bytes",
                record.sequence,
                record.inside.unwrap_or(0)
            ),
            None => format!("all {} expansions", expanded.len()),
        };
        checks.add(
            "each inspection starts with its reservation",
            short.is_none() && !expanded.is_empty(),
            seen,
        );
    }
}

/// What lies between the free stack that the expansion promised and the inspection's own sample of it: the kernel's
/// frame of the call (0x90) and the callout's own.
const INSIDE_FRAMES: u32 = 0x200;

/// What lies between the callback's first instruction, where the machine measures, and the driver's first sample.
const BEFORE_FRAMES: u64 = 0x200;

/// The first sample against the machine's own measure of the same create.
fn judge_samples(checks: &mut Checks, run: &Run) {
    let mut furthest = 0;
    let mut wrong = None;
    for (record, arrival) in run.pairs() {
        let Some((arrival, before)) = arrival.zip(record.before) else {
            wrong = Some(format!(
                "record {} tells of no create that arrived",
                record.sequence
            ));
            continue;
        };
        let segment = [arrival.segment_low, arrival.segment_high];
        match arrival.remaining.checked_sub(before.into()) {
            Some(distance) if distance <= BEFORE_FRAMES && record.caller_segment == segment => {
                furthest = furthest.max(distance);
            }
            _ => {
                wrong = Some(format!(
                    "record {} says {before}, the machine {}",
                    record.sequence, arrival.remaining
                ));
            }
        }
    }
    let holds = wrong.is_none();
    let seen = wrong.unwrap_or_else(|| {
        format!(
            "{} records, at most {furthest:#x} bytes apart",
            run.records.len()
        )
    });
    checks.add(
        "each first sample agrees with the machine's own measure",
        holds,
        seen,
    );
}

fn statuses(opens: &[Open]) -> String {
    let wrong = opens.iter().find(|open| open.status != Some(open.expected));
    match wrong {
        None => format!("{} as expected", opens.len()),
        Some(Open {
            name,
            status: Some(status),
            expected,
        }) => format!("{name}: {status}, expected {expected}"),
        Some(Open {
            name, status: None, ..
        }) => format!("{name}: did not return"),
    }
}
