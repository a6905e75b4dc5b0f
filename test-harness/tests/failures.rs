//! The expansion forced to each of its failing statuses.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod common;

use common::{boot, config, directories, driver, end, expansion_fails, open, records, thread};
use ntbench::wire::StackKind;
use protocol::{Flags, NtStatus, Outcome};

const INVALID_PARAMETER_3: u32 = 0xc000_00f1;
const INVALID_PARAMETER_4: u32 = 0xc000_00f2;
const NO_MEMORY: u32 = 0xc000_0017;
const STACK_OVERFLOW: u32 = 0xc000_00fd;

#[track_caller]
fn passes_through(status: u32) {
    let folder = tempfile::tempdir().unwrap();
    let path = directories(folder.path(), 3);
    let mut config = config(folder.path());
    config.faults = vec![expansion_fails(status)];
    let machine = boot(config, &driver());
    let opener = thread(&machine, StackKind::Ordinary);
    assert_eq!(
        open(&opener, &path),
        NtStatus::SUCCESS,
        "the create passes on, uninspected"
    );
    assert_eq!(
        open(&opener, r"\absent"),
        NtStatus(0xc000_0034),
        "and so does one that fails"
    );

    let (anchor, records) = records(&machine);
    assert_eq!(
        (anchor.written, records.len()),
        (2, 2),
        "no inspection ran, so nothing nested"
    );
    for record in &records {
        assert_eq!(
            record.reservation_status,
            NtStatus(status),
            "the record says which"
        );
        assert_eq!(record.outcome, Outcome::FAILED);
        assert_eq!(record.ancestors_opened, 0);
        assert!(
            !record.flags.contains(Flags::INSIDE_SAMPLED),
            "{}",
            record.flags
        );
        assert!(
            record
                .flags
                .contains(Flags::BEFORE_SAMPLED.with(Flags::AFTER_SAMPLED)),
            "{}",
            record.flags
        );
    }
    assert_eq!(records[0].create_status(), Some(NtStatus::SUCCESS));
    assert_eq!(records[1].create_status(), Some(NtStatus(0xc000_0034)));
    let report = end(machine);
    assert_eq!(
        (report.faults[0].calls, report.faults[0].failed),
        (2, 2),
        "{:?}",
        report.faults
    );
}

#[test]
fn too_large_a_reservation() {
    passes_through(INVALID_PARAMETER_3);
}

#[test]
fn waiting_where_one_must_not() {
    passes_through(INVALID_PARAMETER_4);
}

#[test]
fn no_memory_for_a_segment() {
    passes_through(NO_MEMORY);
}

#[test]
fn the_systems_limit_on_stack() {
    passes_through(STACK_OVERFLOW);
}

/// The tenth expansion of a nest fails: the nine inspections above it end as usual.
#[test]
fn in_the_middle_of_a_nest() {
    let folder = tempfile::tempdir().unwrap();
    let path = directories(folder.path(), 20);
    let mut config = config(folder.path());
    let mut fault = expansion_fails(NO_MEMORY);
    fault.when = ntbench::wire::When::Nth(10);
    config.faults = vec![fault];
    let machine = boot(config, &driver());
    let opener = thread(&machine, StackKind::Ordinary);
    assert_eq!(open(&opener, &path), NtStatus::SUCCESS);
    let (_, records) = records(&machine);
    assert_eq!(records.len(), 10);
    let (failed, ran) = records.split_last().unwrap();
    assert_eq!((failed.nest_depth, failed.outcome), (9, Outcome::FAILED));
    assert!(ran.iter().all(
        |record| record.ancestors_opened == 1 && record.reservation_status == NtStatus::SUCCESS
    ));
    end(machine);
}
