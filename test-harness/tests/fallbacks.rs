//! What becomes of a create for which there is no stack: each fallback, under each status that the system has for it.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod common;

use std::sync::atomic::{AtomicBool, Ordering};

use common::{
    booted, config, directories, dword, end, expansion_fails, open, records, settle, text, thread,
};
use ntbench::wire::{FinalReport, ScheduleConfig, StackKind, When};
use protocol::{Flags, NtStatus, Outcome, Record};

const NO_MEMORY: u32 = 0xc000_0017;
const STACK_OVERFLOW: u32 = 0xc000_00fd;
const INSUFFICIENT_RESOURCES: u32 = 0xc000_009a;
const CANCELLED: NtStatus = NtStatus(0xc000_0120);
const NOT_FOUND: u32 = 0xc000_0034;

struct Seen {
    existing: NtStatus,
    absent: NtStatus,
    records: Vec<Record>,
    report: FinalReport,
}

/// An open of what exists, three levels deep, and one of what does not, under an expansion that fails like that.
fn under(status: u32, when: When, fallback: &str, ancestors: &str) -> Seen {
    let folder = tempfile::tempdir().unwrap();
    let path = directories(folder.path(), 3);
    let mut config = config(folder.path());
    let mut fault = expansion_fails(status);
    fault.when = when;
    config.faults = vec![fault];
    let machine = booted(
        config,
        &[
            text("OnExpandFailure", fallback),
            text("AncestorOpens", ancestors),
        ],
    );
    let opener = thread(&machine, StackKind::Ordinary);
    let existing = open(&opener, &path);
    let absent = open(&opener, r"\d01\absent");
    let (anchor, mut records) = records(&machine);
    assert_eq!(
        anchor.written,
        records.len() as u64,
        "the ring holds them all"
    );
    records.sort_by_key(|record| record.sequence);
    Seen {
        existing,
        absent,
        records,
        report: end(machine),
    }
}

#[track_caller]
fn says_why(record: &Record, status: u32) {
    assert_eq!(record.reservation_status, NtStatus(status), "{record:#?}");
    assert_eq!(record.reservation_bytes, 0x6000);
    assert!(
        record.flags.contains(Flags::BEFORE_SAMPLED),
        "{}",
        record.flags
    );
}

#[test]
fn pass_through_lets_creates_go_on_uninspected() {
    for status in [NO_MEMORY, STACK_OVERFLOW] {
        let seen = under(status, When::Always, "PassThrough", "Top");
        assert_eq!(
            (seen.existing, seen.absent),
            (NtStatus::SUCCESS, NtStatus(NOT_FOUND))
        );
        assert_eq!(seen.records.len(), 2);
        for record in &seen.records {
            says_why(record, status);
            assert_eq!(
                (record.outcome, record.ancestors_opened),
                (Outcome::FAILED, 0)
            );
            assert!(
                !record.flags.contains(Flags::DEFERRED) && !record.flags.contains(Flags::DENIED),
                "{}",
                record.flags
            );
        }
    }
}

#[test]
fn deny_fails_creates_and_says_so() {
    for status in [NO_MEMORY, STACK_OVERFLOW] {
        let seen = under(status, When::Always, "Deny", "Top");
        assert_eq!(
            (seen.existing, seen.absent),
            (
                NtStatus(INSUFFICIENT_RESOURCES),
                NtStatus(INSUFFICIENT_RESOURCES)
            )
        );
        assert_eq!(seen.records.len(), 2);
        for record in &seen.records {
            says_why(record, status);
            assert_eq!(record.outcome, Outcome::FAILED);
            assert!(record.flags.contains(Flags::DENIED), "{}", record.flags);
            assert_eq!(
                record.create_status(),
                Some(NtStatus(INSUFFICIENT_RESOURCES))
            );
        }
    }
}

/// A denied open in the middle of a nest fails the inspection that issued it, and no more than that.
#[test]
fn a_denied_ancestor_is_a_failed_inspection_and_not_a_failed_create() {
    let seen = under(NO_MEMORY, When::Nth(2), "Deny", "Top");
    assert_eq!(
        (seen.existing, seen.absent),
        (NtStatus::SUCCESS, NtStatus(NOT_FOUND))
    );
    let denied: Vec<&Record> = seen
        .records
        .iter()
        .filter(|record| record.flags.contains(Flags::DENIED))
        .collect();
    assert_eq!(denied.len(), 1);
    assert_eq!(denied[0].nest_depth, 1);
    assert_eq!(
        seen.records[0].inspect_status,
        NtStatus(INSUFFICIENT_RESOURCES),
        "what the inspection above it met"
    );
}

#[test]
fn a_worker_inspects_what_had_no_stack_and_the_create_completes_once() {
    for status in [NO_MEMORY, STACK_OVERFLOW] {
        let seen = under(status, When::Always, "Worker", "Below");
        assert_eq!(
            (seen.existing, seen.absent),
            (NtStatus::SUCCESS, NtStatus(NOT_FOUND))
        );
        assert_eq!(seen.records.len(), 2);
        for (record, (opened, create)) in seen.records.iter().zip([(3, 0), (2, NOT_FOUND)]) {
            says_why(record, status);
            assert_eq!(record.outcome, Outcome::WORKER);
            assert!(
                record
                    .flags
                    .contains(Flags::DEFERRED.with(Flags::INSIDE_SAMPLED)),
                "{}",
                record.flags
            );
            assert_eq!(
                (record.ancestors_opened, record.inspect_status),
                (opened, NtStatus::SUCCESS),
                "the inspection was whole"
            );
            assert_ne!(
                record.inside_low, record.before_low,
                "on another thread's stack"
            );
            assert_eq!(record.create_status(), Some(NtStatus(create)));
        }
        assert_eq!(
            (seen.report.faults[0].calls, seen.report.faults[0].failed),
            (2, 2),
            "the worker's own stack was enough"
        );
    }
}

/// Creates are cancelled while they wait for a worker: each ends once, as cancelled or as it would have.
#[test]
fn a_create_that_waits_can_be_cancelled() {
    // Whether any is, where the host decides who runs, is chance.
    opened_and_cancelled(None, 300);
    let mut both = [0, 0];
    for seed in 1..=4 {
        let (opened, cancelled) = opened_and_cancelled(Some(ScheduleConfig { seed }), 40);
        println!("seed {seed}: {opened} opened, {cancelled} cancelled");
        both[0] += opened;
        both[1] += cancelled;
    }
    assert!(both.iter().all(|&count| count >= 20), "{both:?}");
}

/// Opens so often while another thread cancels, and holds the driver's records against what came of it.
fn opened_and_cancelled(schedule: Option<ScheduleConfig>, creates: u64) -> (u64, u64) {
    let folder = tempfile::tempdir().unwrap();
    let path = directories(folder.path(), 3);
    let mut config = config(folder.path());
    config.faults = vec![expansion_fails(NO_MEMORY)];
    config.schedule = schedule;
    let machine = booted(
        config,
        &[
            text("OnExpandFailure", "Worker"),
            dword("LogCapacity", 4096),
        ],
    );
    let opener = thread(&machine, StackKind::Ordinary);
    let canceller = thread(&machine, StackKind::Ordinary);
    let over = AtomicBool::new(false);
    let (mut opened, mut cancelled) = (0, 0);
    let both = [opener.clone(), canceller.clone()];
    machine.schedule_together(&both).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut pause = (0..40).step_by(8).cycle();
            while !over.load(Ordering::Relaxed) {
                canceller.cancel_io(&opener).unwrap();
                // Now and then a create is left alone for long enough.
                for _ in 0..pause.next().unwrap_or(0) {
                    canceller.query_attributes(r"\??\Nothing").unwrap();
                }
            }
            canceller.leave_together().unwrap();
        });
        while opened + cancelled < creates {
            match open(&opener, &path) {
                NtStatus::SUCCESS => opened += 1,
                CANCELLED => cancelled += 1,
                other => panic!("{other}"),
            }
        }
        over.store(true, Ordering::Relaxed);
        opener.leave_together().unwrap();
    });
    settle(&machine);
    let (anchor, records) = records(&machine);
    assert_eq!(anchor.written, opened + cancelled, "one record each");
    let told = records
        .iter()
        .filter(|record| record.create_status() == Some(CANCELLED))
        .count() as u64;
    assert_eq!(told, cancelled);
    assert!(records.iter().all(|record| {
        record.flags.contains(Flags::DEFERRED) && record.create_status().is_some()
    }));
    end(machine);
    (opened, cancelled)
}

/// An open of the driver's own is never deferred: the inspection that waits for it may itself be a worker's.
#[test]
fn only_creates_from_outside_are_deferred() {
    let seen = under(NO_MEMORY, When::Always, "Worker", "Top");
    assert_eq!(
        (seen.existing, seen.absent),
        (NtStatus::SUCCESS, NtStatus(NOT_FOUND))
    );
    let (outer, nested): (Vec<&Record>, Vec<_>) = seen
        .records
        .iter()
        .partition(|record| record.nest_depth == 0);
    assert_eq!(outer.len(), 2);
    assert!(
        outer
            .iter()
            .all(|record| record.flags.contains(Flags::DEFERRED)
                && record.outcome == Outcome::WORKER
                && record.ancestors_opened == 1)
    );
    assert!(!nested.is_empty());
    assert!(
        nested
            .iter()
            .all(|record| record.outcome == Outcome::FAILED
                && !record.flags.contains(Flags::DEFERRED))
    );
}

/// Below the minimum nothing deep is tried, not even the expansion.
#[test]
fn below_the_minimum_nothing_deep_is_tried() {
    let folder = tempfile::tempdir().unwrap();
    let path = directories(folder.path(), 3);
    // More than an ordinary stack has, and less than a large one.
    for (minimum, stack, inspected) in [
        (0x6000, StackKind::Ordinary, false),
        (0x1000, StackKind::Ordinary, true),
        (0, StackKind::Ordinary, true),
    ] {
        let machine = booted(
            config(folder.path()),
            &[dword("MinimumStackBytes", minimum)],
        );
        assert_eq!(open(&thread(&machine, stack), &path), NtStatus::SUCCESS);
        let (anchor, records) = records(&machine);
        let [record] = records.as_slice() else {
            panic!("{records:#?}")
        };
        assert_eq!(record.ancestors_opened > 0, inspected, "{minimum:#x}");
        assert_eq!(
            record.flags.contains(Flags::SKIPPED_LOW_STACK),
            !inspected,
            "{minimum:#x}: {}",
            record.flags
        );
        assert_eq!(
            record.create_status(),
            Some(NtStatus::SUCCESS),
            "{minimum:#x}"
        );
        if !inspected {
            assert_eq!(
                (record.outcome, record.reservation_bytes),
                (Outcome::NOT_TRIED, 0)
            );
            assert!(record.before_remaining > 0 && record.before_remaining < minimum);
        }
        assert_eq!(anchor.skipped_low_stack, 0);
        end(machine);
    }
}
