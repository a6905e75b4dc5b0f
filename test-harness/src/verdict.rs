//! Whether a run showed what it had to show.

use protocol::{Config, NtStatus, Setting};
use serde::{Deserialize, Serialize};

use crate::model::{BugCheck, End, Expand, Open, RecordView, Run, Sweep, SweepEnd, SweepRow};
use crate::scenario::{MOST_RECORDS, Plan};
use crate::settings;

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
        !without_driver.is_empty() && without_driver.iter().all(Open::is_as_expected),
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
            if plan.scenario.nests() && run.expand == Expand::Never {
                let what = "nested creates overflow the kernel stack: bug check 0x7F (8)";
                checks.add(what, bug_check.is_double_fault(), seen);
            } else {
                checks.add("every open comes back", false, seen);
            }
        }
        End::Completed => {
            if plan.scenario.nests()
                && run.expand == Expand::Never
                && plan.depth >= SURE_TO_OVERFLOW
                && !run.interrupted
                && run.unrecorded.is_none()
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
    judge_statuses(checks, run, without_driver);
    if run.unrecorded.is_some() {
        return; // Why there is nothing more to judge stands above the checks.
    }
    let losses = run.losses.unwrap_or_default();
    let lost = losses.skipped + losses.skipped_low_stack;
    let mut seen = format!("{} written, {lost} lost", losses.written);
    // The largest ring holds the newest records of a long run, and is meant to.
    let full = run.records.len() as u64 >= u64::from(MOST_RECORDS);
    if losses.overwritten > 0 {
        seen += &format!(", {} of them replaced by newer ones", losses.overwritten);
    }
    let kept = losses.overwritten == 0 || full;
    let any = losses.written > 0 || run.interrupted;
    checks.add("no record was lost", lost == 0 && kept && any, seen);

    judge_samples(checks, run);
    if plan.scenario.nests() && !run.interrupted && losses.overwritten == 0 {
        judge_nest(checks, plan, run);
    }
    if run.expand != Expand::Never {
        judge_expansions(checks, run);
    }
}

/// The opens' statuses, and that they are those without the driver: as far as both went, thread by thread.
fn judge_statuses(checks: &mut Checks, run: &Run, without_driver: &[Open]) {
    checks.add(
        "every call returns its status",
        run.opens
            .iter()
            .all(|open| open.is_as_expected() || run.interrupted && open.status.is_none()),
        statuses(&run.opens),
    );
    let of = |opens: &[Open], thread: u32| -> Vec<(String, Option<protocol::NtStatus>)> {
        let mine = opens.iter().filter(|open| open.thread == thread);
        mine.map(|open| (open.name.clone(), open.status)).collect()
    };
    let threads = run.opens.iter().map(|open| open.thread).max().unwrap_or(0);
    let mut compared = 0;
    let mut other = None;
    for thread in 0..=threads {
        let (with, without) = (of(&run.opens, thread), of(without_driver, thread));
        for (with, without) in with.iter().zip(&without) {
            if with == without {
                compared += 1;
            } else if with.0 == without.0 && with.1.is_some() {
                other.get_or_insert_with(|| {
                    let text = |status: Option<protocol::NtStatus>| {
                        status.map_or_else(|| "nothing".to_owned(), |status| status.to_string())
                    };
                    format!(
                        "{}: {}, without the driver {}",
                        brief(&with.0),
                        text(with.1),
                        text(without.1)
                    )
                });
            } else {
                break; // One of them went another way from here on, because of what was told already, or ended.
            }
        }
    }
    let same = other.is_none() && (compared > 0 || run.interrupted);
    checks.add(
        "every open returns what it returns without the driver",
        same,
        other.unwrap_or_else(|| format!("{compared} compared")),
    );
}

/// As many creates as the plan has, nested on one thread, for each open; each with its record.
fn judge_nest(checks: &mut Checks, plan: &Plan, run: &Run) {
    let calls = run.counts.total().max(run.opens.len() as u64).max(1);
    let outermost = usize::try_from(calls).unwrap_or(usize::MAX);
    let mut depths: Vec<u32> = run.records.iter().map(|record| record.depth).collect();
    depths.sort_unstable();
    let what = format!(
        "{} creates nest on one thread, each with its record",
        plan.depth
    );
    let deepest = depths.last().copied().unwrap_or(0);
    let wanted = (1..=plan.depth).flat_map(|depth| std::iter::repeat_n(depth, outermost));
    checks.add(
        &what,
        depths.iter().copied().eq(wanted),
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

/// Each inspection that asked for stack got it.
fn judge_expansions(checks: &mut Checks, run: &Run) {
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
    // In the red zone's policy an expansion is the exception.
    let any = !expanded.is_empty() || run.expand == Expand::RedZone || run.interrupted;
    checks.add(
        "each inspection starts with its reservation",
        short.is_none() && any,
        seen,
    );
}

/// What lies between the free stack that the expansion promised and the inspection's own sample of it: the kernel's
/// frame of the call (0x90) and the callout's own.
const INSIDE_FRAMES: u32 = 0x200;

/// What lies between the callback's first instruction, where the machine measures, and the driver's first sample.
const BEFORE_FRAMES: u64 = 0x200;

/// The first sample against the machine's own measure of the same create.
fn judge_samples(checks: &mut Checks, run: &Run) {
    if run.arrivals.is_empty() {
        return; // Only a simulated machine measures by itself.
    }
    let mut furthest = 0;
    let mut wrong = None;
    let mut forgotten = 0;
    for (record, arrival) in run.pairs() {
        if arrival.is_none() && run.arrivals_dropped > 0 {
            forgotten += 1;
            continue;
        }
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
            run.records.len() - forgotten
        )
    });
    checks.add(
        "each first sample agrees with the machine's own measure",
        holds,
        seen,
    );
}

fn statuses(opens: &[Open]) -> String {
    let Some(wrong) = opens.iter().find(|open| !open.is_as_expected()) else {
        let otherwise = opens.iter().filter(|open| open.note.is_some()).count();
        return match otherwise {
            0 => format!("{} as expected", opens.len()),
            _ => format!(
                "{} as expected, {otherwise} of them known to be other than on Windows",
                opens.len()
            ),
        };
    };
    let Open {
        action,
        name,
        expected,
        ..
    } = wrong;
    let name = brief(name);
    match (wrong.status, &wrong.problem) {
        (None, _) => format!("{action} {name}: did not return"),
        (Some(_), Some(problem)) => format!("{action} {name}: {problem}"),
        (Some(status), None) => format!("{action} {name}: {status}, expected {expected}"),
    }
}

/// A name, or both ends of one that would fill the screen.
fn brief(name: &str) -> String {
    const ENDS: usize = 60;
    let length = name.chars().count();
    if length <= 2 * ENDS {
        return name.to_owned();
    }
    let head: String = name.chars().take(ENDS).collect();
    let tail: String = name.chars().skip(length - ENDS).collect();
    format!("{head}…{tail} ({length} characters)")
}

/// What has to be so in a sweep, for each policy and reservation: what `docs/reliability.md` says ends a nest is what ended it.
#[must_use]
pub fn judge_sweep(sweep: &Sweep) -> Vec<Check> {
    let mut checks = Checks::default();
    let minimum = sweep
        .settings
        .iter()
        .find(|(name, _)| settings::named(name) == Ok(Setting::MINIMUM_STACK_BYTES))
        .map_or(Config::DEFAULT.minimum_stack_bytes, |(_, value)| *value);
    for row in &sweep.rows {
        judge_row(sweep, row, minimum, &mut checks);
    }
    for (index, row) in sweep.rows.iter().enumerate() {
        let more = sweep.rows[index..].iter().find(|more| {
            more.expand == row.expand
                && more.red_zone_bytes == row.red_zone_bytes
                && more.reservation_bytes > row.reservation_bytes
                && dies(more)
        });
        if let Some(more) = more.filter(|_| !dies(row)) {
            let (policy, less) = (row.expand.name(), row.reservation_bytes);
            let what = format!("{policy}: what {less:#x} bytes prevent, more prevent, too");
            let seen = format!("with {:#x} bytes {}", more.reservation_bytes, more.end);
            checks.add(&what, false, seen);
        }
    }
    checks.list
}

fn dies(row: &SweepRow) -> bool {
    matches!(row.end, SweepEnd::BugCheck { .. })
}

fn judge_row(sweep: &Sweep, row: &SweepRow, minimum: u32, checks: &mut Checks) {
    let SweepRow {
        expand,
        reservation_bytes: reserved,
        deepest,
        end,
        ..
    } = row;
    let overflow = matches!(
        end,
        SweepEnd::BugCheck {
            code: BugCheck::UNEXPECTED_KERNEL_MODE_TRAP,
            parameter: 8,
            ..
        }
    );
    let seen = format!("{deepest} creates, then {end}");
    let policy = expand.name();
    if *expand == Expand::Never {
        if minimum >= SUFFICES {
            let what = format!(
                "Never, nothing inspected below {minimum:#x}: the nest ends by that, not the machine"
            );
            checks.add(&what, *end == SweepEnd::Minimum, seen);
        } else if sweep.bound >= SURE_TO_OVERFLOW {
            let what = "Never: nested creates overflow the kernel stack: bug check 0x7F (8)";
            checks.add(what, overflow, seen);
        }
        return;
    }
    let zone = row.red_zone_bytes.unwrap_or(u32::MAX);
    if *reserved < SUFFICES || zone < SUFFICES {
        let what = format!(
            "{policy}, {reserved:#x} reserved: too little ends in bug check 0x7F (8) and nothing else"
        );
        checks.add(&what, overflow || !dies(row), seen);
        return;
    }
    let what = format!("{policy}, {reserved:#x} reserved: no nest ends the machine");
    checks.add(&what, !dies(row) && *deepest > 0, seen.clone());
    // As many segments as creates are enough for any reservation.
    let enough = sweep.segment_limit >= sweep.bound.saturating_add(1);
    match end {
        SweepEnd::Fallback { status } => {
            let what = format!("{policy}, {reserved:#x} reserved: only segments run out");
            let expected = NtStatus(0xc000_00fd);
            checks.add(&what, !enough && *status == expected, seen);
        }
        SweepEnd::Minimum => {
            let what = format!("{policy}, {reserved:#x} reserved: the minimum was set");
            checks.add(&what, minimum > Config::DEFAULT.minimum_stack_bytes, seen);
        }
        _ => {}
    }
}

/// From so many bytes reserved on, and with a red zone of as many, nothing of an inspection runs off its stack: what it takes itself,
/// and what the kernel takes to open a file below it.
pub const SUFFICES: u32 = 0x2000;
