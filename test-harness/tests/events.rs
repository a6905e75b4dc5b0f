//! What the driver tells a trace session (ETW).
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod common;

use std::path::Path;

use common::{
    booted, config, directories, dword, end, expansion_fails, open, records, text, thread,
};
use headroom_harness::backend::bench::SERVICE;
use ntbench::Machine;
use ntbench::wire::{
    CreateFile, EtwEvent, EtwSession, MachineConfig, RegistryValue, StackKind, TraceEvent, Volume,
};
use protocol::{Flags, NtStatus};

/// The GUID that every tool makes of the provider's name `Headroom`.
const PROVIDER: &str = "1ea0e5ed-3b84-5624-0045-69d229fe2966";

const WARNING: u8 = 3;
const INFORMATION: u8 = 4;
const VERBOSE: u8 = 5;

/// A machine on which somebody listens.
fn listened_to(folder: &Path, level: u8) -> MachineConfig {
    let mut config = config(folder);
    config.etw = vec![EtwSession {
        provider: PROVIDER.to_owned(),
        level,
        ..EtwSession::default()
    }];
    config
}

/// All events of a machine, which ends.
fn events(machine: Machine) -> Vec<EtwEvent> {
    let mut events = machine.trace().unwrap().events;
    events.extend(end(machine).trace.events);
    events
        .into_iter()
        .filter_map(|event| match event {
            TraceEvent::Etw(event) => Some(*event),
            _ => None,
        })
        .collect()
}

fn names(events: &[EtwEvent]) -> Vec<&str> {
    events
        .iter()
        .map(|event| event.name.as_deref().unwrap())
        .collect()
}

/// The text at the start of an event's fields: its length in bytes, then the text.
fn first_text(payload: &[u8]) -> &str {
    let length = usize::from(u16::from_le_bytes([payload[0], payload[1]]));
    std::str::from_utf8(&payload[2..2 + length]).unwrap()
}

/// The numbers of 32 bits that an event's fields are.
fn numbers(payload: &[u8]) -> Vec<u32> {
    let (words, rest) = payload.as_chunks::<4>();
    assert!(rest.is_empty());
    words.iter().map(|word| u32::from_le_bytes(*word)).collect()
}

fn of<'e>(events: &'e [EtwEvent], name: &str) -> Vec<&'e EtwEvent> {
    events
        .iter()
        .filter(|event| event.name.as_deref() == Some(name))
        .collect()
}

#[test]
fn start_stop_and_each_bad_setting_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let machine = booted(
        listened_to(folder.path(), INFORMATION),
        &[
            text("ExpandPolicy", "Sometimes"),
            dword("ReservationBytes", 0x1_1801),
            ("UncOnly".to_owned(), RegistryValue::Qword(1)),
            dword("RedZoneBytes", 0x800),
        ],
    );
    let events = events(machine);
    assert_eq!(
        names(&events),
        [
            "BadSetting",
            "BadSetting",
            "BadSetting",
            "Started",
            "Stopped"
        ]
    );
    for event in &events {
        assert_eq!(
            (event.provider.as_str(), event.provider_name.as_deref()),
            (PROVIDER, Some("Headroom"))
        );
    }
    let told: Vec<(&str, u8)> = of(&events, "BadSetting")
        .into_iter()
        .map(|event| (first_text(&event.payload), event.level))
        .collect();
    assert_eq!(
        told,
        [
            ("ExpandPolicy", WARNING),
            ("ReservationBytes", WARNING),
            ("UncOnly", WARNING)
        ]
    );
}

#[test]
fn a_low_stack_and_a_failed_expansion_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = directories(folder.path(), 2);
    let machine = booted(
        listened_to(folder.path(), WARNING),
        &[dword("MinimumStackBytes", 0x6000)],
    );
    assert_eq!(
        open(&thread(&machine, StackKind::Ordinary), &path),
        NtStatus::SUCCESS
    );
    let (_, low) = records(&machine);
    let told = events(machine);
    assert_eq!(names(&told), ["LowStack"], "and no more at this level");
    assert_eq!(numbers(&told[0].payload), [low[0].before_remaining, 0x6000]);

    let mut config = listened_to(folder.path(), WARNING);
    config.faults = vec![expansion_fails(0xc000_00fd)];
    let machine = booted(config, &[]);
    let opener = thread(&machine, StackKind::Ordinary);
    assert_eq!(open(&opener, &path), NtStatus::SUCCESS);
    assert_eq!(open(&opener, r"\absent"), NtStatus(0xc000_0034));
    let (_, failed) = records(&machine);
    let told = events(machine);
    assert_eq!(names(&told), ["ExpansionFailed", "ExpansionFailed"]);
    for (event, record) in told.iter().zip(&failed) {
        assert_eq!(event.level, WARNING);
        assert_eq!(
            numbers(&event.payload),
            [record.before_remaining, 0x6000, 0xc000_00fd]
        );
    }
}

#[test]
fn creates_are_told_to_who_asks_for_everything() {
    let folder = tempfile::tempdir().unwrap();
    let path = directories(folder.path(), 3);
    for (level, told) in [(INFORMATION, 0), (VERBOSE, 4)] {
        let machine = booted(
            listened_to(folder.path(), level),
            &[text("AncestorOpens", "Top")],
        );
        assert_eq!(
            open(&thread(&machine, StackKind::Ordinary), &path),
            NtStatus::SUCCESS
        );
        let (_, mut records) = records(&machine);
        let events = events(machine);
        let creates = of(&events, "Create");
        assert_eq!(creates.len(), told, "at level {level}");
        // A create is told when it has come up: the innermost first.
        records.sort_by_key(|record| std::cmp::Reverse(record.sequence));
        for (event, record) in creates.iter().zip(&records) {
            assert_eq!(
                event.payload[..8],
                record.sequence.to_le_bytes(),
                "{event:?}"
            );
            assert_eq!(event.payload[8..12], record.nest_depth.to_le_bytes());
            let path: Vec<u8> = record
                .tail()
                .iter()
                .flat_map(|unit| unit.to_le_bytes())
                .collect();
            assert!(event.payload.ends_with(&path));
        }
    }
}

/// Where the stack is short, an event is left out and counted: none is lost silently.
#[test]
fn what_is_left_out_for_want_of_stack_is_counted() {
    let folder = tempfile::tempdir().unwrap();
    let path = directories(folder.path(), 7);
    let mut config = listened_to(folder.path(), VERBOSE);
    config.namespace.volumes = vec![Volume {
        device: r"\Device\HarddiskVolume1".to_owned(),
        letter: Some('C'),
        folder: folder.path().to_owned(),
    }];
    let machine = booted(
        config,
        &[
            text("AncestorOpens", "Top"),
            text("ExpandPolicy", "Never"),
            dword("UncOnly", 0),
        ],
    );
    // A local volume's frames are few: the nest comes near the end of the stack without running through it.
    let create = CreateFile {
        name: format!(r"\??\C:{path}"),
        ..CreateFile::default()
    };
    let completion = thread(&machine, StackKind::Ordinary)
        .create_file(&create)
        .unwrap();
    assert!(completion.status.is_success(), "{}", completion.status);
    let (anchor, seen) = records(&machine);
    let address = machine
        .symbol(&format!("{SERVICE}!HEADROOM_EVENTS_SKIPPED"))
        .unwrap();
    let skipped = machine.read(address, 8).unwrap();
    let skipped = u64::from_le_bytes(skipped.try_into().unwrap());
    // A line for each create, and one more for the create at the bottom, which was not inspected any more.
    let low = seen
        .iter()
        .filter(|record| record.flags.contains(Flags::SKIPPED_LOW_STACK));
    let due = anchor.written + low.count() as u64;
    let events = events(machine);
    let told = (of(&events, "Create").len() + of(&events, "LowStack").len()) as u64;
    assert_eq!(told + skipped, due);
    assert!(skipped > 0 && told > 0, "{skipped} left out, {told} told");
}
