//! The driver's settings and what its inspection does with them, and each of its calls failing in turn.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod common;

use common::{booted, config, directories, dword, end, load, open, printed, records, text, thread};
use ntbench::Machine;
use ntbench::wire::{CreateFile, FaultRule, RegistryValue, StackKind, Volume, When};
use protocol::{AncestorScope, Flags, NtStatus, Outcome, Policy, Record};

const DIRECTORY: u32 = 0x10;
const INSUFFICIENT_RESOURCES: u32 = 0xc000_009a;

/// The records of one open of a path three directories deep.
fn one_open(parameters: &[(String, RegistryValue)]) -> Vec<Record> {
    let folder = tempfile::tempdir().unwrap();
    let path = directories(folder.path(), 3);
    let machine = booted(config(folder.path()), parameters);
    assert_eq!(
        open(&thread(&machine, StackKind::Ordinary), &path),
        NtStatus::SUCCESS
    );
    let (_, records) = records(&machine);
    end(machine);
    records
}

#[test]
fn without_settings_the_defaults_hold() {
    let records = one_open(&[]);
    let [record] = records.as_slice() else {
        panic!("{records:#?}")
    };
    assert_eq!(
        (record.policy, record.ancestor_scope),
        (Policy::ALWAYS, AncestorScope::BELOW)
    );
    assert_eq!(record.reservation_bytes, 0x6000);
    // The share's root, and two directories.
    assert_eq!(
        (
            record.ancestors_opened,
            record.ancestor_attributes & DIRECTORY
        ),
        (3, DIRECTORY)
    );
    assert_eq!(record.image(), b"test.exe");
}

#[test]
fn a_setting_that_is_not_allowed_is_not_used_and_is_reported() {
    let folder = tempfile::tempdir().unwrap();
    let path = directories(folder.path(), 2);
    let (unknown, wrong_type) = ("is none of the values", "has the wrong type");
    let bad = [
        (text("ExpandPolicy", "Sometimes"), unknown),
        (dword("AncestorOpens", 1), wrong_type),
        (dword("ReservationBytes", 0x1_1801), "is too large"),
        (text("RedZoneBytes", "4096"), wrong_type),
        (dword("MaxNestDepth", 1025), "is too large"),
        (dword("UncOnly", 2), unknown),
        (
            ("DebugPrint".to_owned(), RegistryValue::Qword(1)),
            wrong_type,
        ),
        (dword("LogCapacity", 1000), "is no power of two"),
        (text("MinimumStackBytes", "2048"), wrong_type),
        (text("OnExpandFailure", "Panic"), unknown),
    ];
    let (bad, reasons): (Vec<_>, Vec<_>) = bad.into_iter().unzip();
    let machine = booted(config(folder.path()), &bad);
    let lines = printed(&machine);
    for ((name, _), reason) in bad.iter().zip(reasons) {
        let about: Vec<&String> = lines.iter().filter(|line| line.contains(name)).collect();
        assert!(
            matches!(about.as_slice(), [line] if line.contains(reason)),
            "{name} {reason}: {lines:#?}"
        );
    }
    assert_eq!(
        open(&thread(&machine, StackKind::Ordinary), &path),
        NtStatus::SUCCESS
    );
    let (anchor, records) = records(&machine);
    assert_eq!(anchor.capacity, 1024);
    assert_eq!(
        (records[0].policy, records[0].ancestor_scope),
        (Policy::ALWAYS, AncestorScope::BELOW)
    );
    assert_eq!(records[0].reservation_bytes, 0x6000);
    end(machine);
}

#[test]
fn words_are_read_in_any_case_and_numbers_to_their_limits() {
    let records = one_open(&[
        text("ExpandPolicy", "aLWAYS"),
        text("AncestorOpens", "TOP"),
        dword("ReservationBytes", 0x1_1800),
        dword("MaxNestDepth", 1024),
    ]);
    assert_eq!(records.len(), 4);
    assert!(
        records
            .iter()
            .all(|record| record.reservation_bytes == 0x1_1800)
    );
}

#[test]
fn the_red_zone_decides() {
    let outside = one_open(&[
        text("ExpandPolicy", "RedZone"),
        dword("RedZoneBytes", 0x1000),
    ]);
    assert_eq!(
        (outside[0].outcome, outside[0].reservation_bytes),
        (Outcome::NOT_EXPANDED, 0)
    );
    assert_eq!(outside[0].ancestors_opened, 3);
    let inside = one_open(&[
        text("ExpandPolicy", "RedZone"),
        dword("RedZoneBytes", 0x6000),
    ]);
    assert_eq!(
        (inside[0].outcome, inside[0].reservation_bytes),
        (Outcome::SWITCHED, 0x6000)
    );
}

#[test]
fn the_bound_on_nesting_holds_and_is_recorded() {
    let records = one_open(&[text("AncestorOpens", "Top"), dword("MaxNestDepth", 2)]);
    let depths: Vec<_> = records.iter().map(|record| record.nest_depth).collect();
    assert_eq!(depths, [0, 1, 2]);
    let skipped: Vec<_> = records
        .iter()
        .map(|record| record.flags.contains(Flags::SKIPPED_NEST_BOUND))
        .collect();
    assert_eq!(skipped, [false, false, true]);
}

#[test]
fn a_full_log_changes_nothing_but_the_log() {
    let folder = tempfile::tempdir().unwrap();
    let path = directories(folder.path(), 5);
    let machine = booted(
        config(folder.path()),
        &[text("AncestorOpens", "Top"), dword("LogCapacity", 2)],
    );
    assert_eq!(
        open(&thread(&machine, StackKind::Ordinary), &path),
        NtStatus::SUCCESS
    );
    let (anchor, _) = records(&machine);
    assert_eq!(
        (anchor.written, anchor.skipped),
        (2, 4),
        "six creates nested, whatever could be recorded of them"
    );
    end(machine);
}

#[test]
fn a_line_is_printed_for_a_record_when_the_create_is_known() {
    let folder = tempfile::tempdir().unwrap();
    let machine = booted(config(folder.path()), &[dword("DebugPrint", 1)]);
    let opener = thread(&machine, StackKind::Ordinary);
    assert_eq!(open(&opener, r"\absent"), NtStatus(0xc000_0034));
    let lines = printed(&machine);
    let [line] = lines.as_slice() else {
        panic!("{lines:#?}")
    };
    let (_, records) = records(&machine);
    let before = format!(
        "before 0x{:x} inside 0x{:x}",
        records[0].before_remaining, records[0].inside_remaining
    );
    for part in [
        "headroom: #1 ",
        before.as_str(),
        "switched",
        "create 0xc0000034",
        r"\Device\Mup\server\share\absent",
    ] {
        assert!(line.contains(part), "{part}: {line}");
    }
    end(machine);
}

#[test]
fn what_has_no_directories_is_not_walked() {
    let folder = tempfile::tempdir().unwrap();
    let machine = booted(config(folder.path()), &[]);
    let opener = thread(&machine, StackKind::Ordinary);
    let create = |name: &str| {
        let completion = opener
            .create_file(&CreateFile {
                name: name.to_owned(),
                ..CreateFile::default()
            })
            .unwrap();
        if completion.handle != 0 {
            opener.close(completion.handle).unwrap();
        }
    };
    create(r"\??\UNC\server\share");
    create(r"\??\UNC\server\IPC$");
    // The device itself: a volume open, which has no path and no record.
    create(r"\Device\Mup");
    let (anchor, mut records) = records(&machine);
    assert_eq!(anchor.written, 2);
    records.sort_by_key(|record| record.sequence);
    assert!(
        records[0].flags.contains(Flags::SKIPPED_ROOT),
        "{}",
        records[0].flags
    );
    assert!(
        records[1].flags.contains(Flags::SKIPPED_NOT_DISK),
        "{}",
        records[1].flags
    );
    end(machine);
}

#[test]
fn local_volumes_are_looked_at_only_when_asked() {
    let folder = tempfile::tempdir().unwrap();
    directories(folder.path(), 3);
    for (unc_only, scope, opened) in [(1, "Below", 0), (0, "Below", 3), (0, "Top", 1)] {
        let mut config = config(folder.path());
        config.namespace.volumes = vec![Volume {
            device: r"\Device\HarddiskVolume1".to_owned(),
            letter: Some('C'),
            folder: folder.path().to_owned(),
        }];
        let machine = booted(
            config,
            &[dword("UncOnly", unc_only), text("AncestorOpens", scope)],
        );
        let opener = thread(&machine, StackKind::Ordinary);
        let create = CreateFile {
            name: r"\??\C:\d01\d02\d03".to_owned(),
            ..CreateFile::default()
        };
        let completion = opener.create_file(&create).unwrap();
        assert!(completion.status.is_success(), "{}", completion.status);
        opener.close(completion.handle).unwrap();
        let (_, records) = records(&machine);
        assert_eq!(
            records.first().map_or(0, |record| record.ancestors_opened),
            opened,
            "{unc_only} {scope}"
        );
        end(machine);
    }
}

#[test]
fn a_set_up_that_fails_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    for call in ["FltRegisterFilter", "ExAllocatePool2", "FltStartFiltering"] {
        let mut config = config(folder.path());
        config.faults = vec![fails(call, 1)];
        let machine = Machine::boot(config).unwrap();
        assert_eq!(
            load(&machine, &[]),
            NtStatus(INSUFFICIENT_RESOURCES),
            "{call}"
        );
        // The second time it is not made to fail, and finds nothing in its way.
        assert_eq!(load(&machine, &[]), NtStatus::SUCCESS, "{call}");
        end(machine);
    }
}

/// Every call of a nested inspection that can fail, each of its occurrences in turn: the create is as it would be, what
/// failed is recorded, and nothing leaks.
#[test]
fn an_inspection_that_fails_harms_nobody() {
    let calls = [
        "FltGetFileNameInformation",
        "FltAllocateExtraCreateParameterList",
        "FltAllocateExtraCreateParameter",
        "FltInsertExtraCreateParameter",
        "FltCreateFileEx2",
        "FltQueryInformationFile",
    ];
    let folder = tempfile::tempdir().unwrap();
    let path = directories(folder.path(), 2);
    for call in calls {
        for nth in 1.. {
            let mut config = config(folder.path());
            config.faults = vec![fails(call, nth)];
            let machine = booted(config, &[text("AncestorOpens", "Top")]);
            assert_eq!(
                open(&thread(&machine, StackKind::Ordinary), &path),
                NtStatus::SUCCESS,
                "{call} {nth}"
            );
            let (_, records) = records(&machine);
            let report = end(machine);
            let failed = records
                .iter()
                .filter(|record| !record.inspect_status.is_success())
                .count();
            if report.faults[0].failed == 0 {
                assert!(
                    nth > 2,
                    "{call} was called {} times",
                    report.faults[0].calls
                );
                assert_eq!(failed, 0, "{call} {nth}");
                break;
            }
            assert_eq!(failed, 1, "{call} {nth}");
            assert!(
                records
                    .iter()
                    .any(|record| record.inspect_status == NtStatus(INSUFFICIENT_RESOURCES))
            );
        }
    }
}

fn fails(call: &str, nth: u64) -> FaultRule {
    FaultRule {
        call: call.to_owned(),
        status: ntbench::NtStatus(INSUFFICIENT_RESOURCES.cast_signed()),
        when: When::Nth(nth),
    }
}
