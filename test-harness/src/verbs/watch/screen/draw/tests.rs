//! The screen, drawn on a terminal of memory.

use std::collections::VecDeque;

use insta::assert_snapshot;
use protocol::{Flags, NtStatus, Outcome, Policy, Record};
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::Cell;

use super::*;
use crate::report::stats::{DepthMarks, MarksView, ProcessMarks, Stats};
use crate::verbs::watch::Lowest;

/// A create so many deep, with so much stack left.
fn entry(sequence: u64, depth: u32, before: u32, outcome: Outcome, status: u32) -> Entry {
    let mut record = Record {
        sequence,
        system_time: 133_801_200_001_230_000,
        before_low: 0x1000,
        before_high: 0x7000,
        before_remaining: before,
        nest_depth: depth - 1,
        outcome,
        policy: Policy::ALWAYS,
        create_status: NtStatus(status),
        flags: Flags::BEFORE_SAMPLED.with(Flags::CREATE_STATUS_KNOWN),
        ..Record::EMPTY
    };
    record.set_image_name(b"winword.exe");
    let path: Vec<u16> = r"\Device\Mup\server\share\a\long\way\to\a\document.docx"
        .encode_utf16()
        .collect();
    record.set_path(&path);
    Entry::new(&record, Some(10_000_000))
}

fn marks(creates: u64, lowest: u32, deepest: u32) -> MarksView {
    MarksView {
        lowest_before: Some(lowest),
        lowest_inside: Some(lowest + 3000),
        most_spent: Some(464),
        deepest: Some(deepest),
        creates,
    }
}

fn view() -> View {
    let depths = (1..=9).map(|depth| DepthMarks {
        depth,
        and_deeper: false,
        marks: marks(10, 24_000 - 2_600 * depth, depth),
    });
    let processes = [("winword.exe", 900), ("a-long-name.exe", 12_345)];
    let processes = processes.map(|(process, lowest)| ProcessMarks {
        process: process.to_owned(),
        marks: marks(45, lowest, 9),
    });
    let snapshot = Snapshot {
        time: "2024-12-31T12:00:01.000Z".to_owned(),
        seconds: 0.5,
        records: 21,
        lowest_now: Some(Lowest {
            before: 5_000,
            segment: 0x6000,
            process: "winword.exe".to_owned(),
            depth: 7,
            path: r"\Device\Mup\server\share".to_owned(),
        }),
        outcomes: Vec::new(),
        lost: 1_234,
        since_reset: Stats {
            generation: 1,
            system: marks(90, 900, 9),
            depths: depths.collect(),
            processes: processes.into(),
            ..Stats::default()
        },
    };
    View {
        title: "headroom.sys 0.1.0, ExpandPolicy Always".to_owned(),
        snapshot: Some(snapshot),
        history: VecDeque::from([Some(24_000), None, Some(12_000), Some(900)]),
        events: vec![
            entry(3, 1, 21_632, Outcome::SWITCHED, 0),
            entry(2, 2, 900, Outcome::FAILED, 0xc000_009a),
            entry(1, 7, 5_000, Outcome::DIRECT, 0),
        ],
        held: false,
    }
}

fn drawn(width: u16, height: u16, view: &View) -> Terminal<TestBackend> {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| all(frame, view)).unwrap();
    terminal
}

#[test]
fn the_screen() {
    assert_snapshot!(drawn(100, 26, &view()).backend());
}

#[test]
fn the_screen_before_anything_came_by() {
    let mut view = view();
    view.events.clear();
    view.history.clear();
    if let Some(snapshot) = &mut view.snapshot {
        snapshot.lowest_now = None;
        snapshot.since_reset = Stats::default();
    }
    view.held = true;
    assert_snapshot!(drawn(80, 24, &view).backend());
}

/// However small a terminal is, it is drawn.
#[test]
fn every_size_of_screen() {
    for width in [1, 2, 7, 20, 41, 300] {
        for height in [1, 2, 5, 9, 14, 100] {
            drawn(width, height, &view());
        }
    }
}

#[test]
fn little_is_red_and_enough_is_green() {
    let terminal = drawn(100, 26, &view());
    let buffer = terminal.backend().buffer();
    let colour_of = |text: &str| {
        let symbols: Vec<String> = text.chars().map(String::from).collect();
        let mut places = buffer.content().windows(symbols.len());
        let found = places.find(|cells| cells.iter().map(Cell::symbol).eq(&symbols));
        found.map(|cells| cells[0].fg)
    };
    assert_eq!(colour_of("5,000"), Some(Color::Yellow));
    assert_eq!(colour_of("900"), Some(Color::Red));
    assert_eq!(colour_of("12,345"), Some(Color::Green));
}
