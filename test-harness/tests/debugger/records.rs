//! Records, watermarks, settings and the segments of a stack, over the memory of a live machine.

use ntbench::Machine;
use ntbench::wire::{MachineConfig, StackKind, StackListing, TraceEvent};
use protocol::{
    ANCHOR_SYMBOL, Anchor, CONFIG_SYMBOL, Config, ConfigBlock, Flags, Marks, NtStatus, Record,
    SlotView, WATERMARKS_SYMBOL,
};
use serde_json::{Value, json};

use crate::common::{booted, config, directories, dword, end, open, text, thread, watermarks};
use crate::node::{self, Snapshot};

/// A frame of the modelled kernel that every create passes.
const DEEP: &str = "nt!IopParseDevice";

/// A machine on which creates nested, more of them than the ring keeps, and its deepest stack.
fn nested() -> (Machine, StackListing, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let path = directories(folder.path(), 20);
    let machine = booted(
        MachineConfig {
            snapshot_at: vec![DEEP.to_owned()],
            ..config(folder.path())
        },
        &[
            text("AncestorOpens", "Top"),
            dword("LogCapacity", 32),
            dword("RedZoneBytes", 0x2800),
        ],
    );
    let thread = thread(&machine, StackKind::Ordinary);
    for _ in 0..2 {
        assert_eq!(open(&thread, &path), NtStatus::SUCCESS);
    }
    assert_ne!(open(&thread, r"\no\such\folder"), NtStatus::SUCCESS);
    let listings = machine.trace().unwrap().events.into_iter();
    let deepest = listings
        .filter_map(|event| match event {
            TraceEvent::Snapshot(listing) => Some(*listing),
            _ => None,
        })
        .max_by_key(|listing| listing.frames.len())
        .unwrap();
    (machine, deepest, folder)
}

fn address(machine: &Machine, symbol: &str) -> u64 {
    machine.symbol(&format!("headroom!{symbol}")).unwrap()
}

/// What the debugger sees of it, with symbols or without.
fn snapshot(machine: &Machine, stack: &StackListing, symbols: bool) -> Snapshot {
    let mut snapshot = Snapshot::new("test.exe", 8);
    snapshot.module(machine, "headroom");
    if symbols {
        for symbol in [ANCHOR_SYMBOL, WATERMARKS_SYMBOL, CONFIG_SYMBOL] {
            snapshot.symbol(&format!("headroom!{symbol}"), address(machine, symbol));
        }
    }
    let anchor = anchor(machine);
    let length = usize::try_from(anchor.ring_bytes().unwrap()).unwrap();
    snapshot.region(anchor.ring, &machine.read(anchor.ring, length).unwrap());
    snapshot.thread(stack);
    snapshot
}

fn anchor(machine: &Machine) -> Anchor {
    let at = address(machine, ANCHOR_SYMBOL);
    Anchor::decode(&machine.read(at, size_of::<Anchor>()).unwrap()).unwrap()
}

/// The ring as `crates/protocol` reads it, oldest first.
fn records(machine: &Machine) -> Vec<Record> {
    let anchor = anchor(machine);
    let length = usize::try_from(anchor.ring_bytes().unwrap()).unwrap();
    let ring = machine.read(anchor.ring, length).unwrap();
    let mut records: Vec<Record> = ring
        .chunks(protocol::SLOT_BYTES)
        .filter_map(|slot| SlotView::decode(slot).unwrap().whole().copied())
        .collect();
    records.sort_by_key(|record| record.sequence);
    records
}

fn hex(value: u64) -> String {
    format!("{value:#x}")
}

pub(crate) fn told(record: &Record) -> Value {
    let tail = usize::from(record.tail_length);
    let cut = if record.path_length > record.tail_length {
        "…"
    } else {
        ""
    };
    let used = record
        .image_name
        .iter()
        .take_while(|byte| **byte != 0)
        .count();
    let known = record.flags.contains(Flags::CREATE_STATUS_KNOWN);
    let status = if known {
        record.create_status.to_string()
    } else {
        "not known".to_owned()
    };
    json!({
        "index": record.sequence,
        "Sequence": record.sequence,
        "Before": record.before_remaining,
        "Inside": record.inside_remaining,
        "After": record.after_remaining,
        "BeforeSampled": record.flags.contains(Flags::BEFORE_SAMPLED),
        "InsideSampled": record.flags.contains(Flags::INSIDE_SAMPLED),
        "AfterSampled": record.flags.contains(Flags::AFTER_SAMPLED),
        "Depth": record.nest_depth,
        "Outcome": record.outcome.to_string(),
        "Policy": record.policy.to_string(),
        "Path": cut.to_owned() + &String::from_utf16_lossy(&record.path_tail[..tail]),
        "PathLength": record.path_length,
        "PathHash": hex(record.path_hash),
        "Image": String::from_utf8_lossy(&record.image_name[..used]),
        "ProcessId": record.process_id,
        "ThreadId": record.thread_id,
        "StatusKnown": known,
        "StatusCode": record.create_status.0,
        "Status": status,
        "ReservationBytes": record.reservation_bytes,
        "ReservationStatus": record.reservation_status.to_string(),
        "InspectStatus": record.inspect_status.to_string(),
        "InspectTicks": hex(record.inspect_ticks),
        "Flags": record.flags.to_string(),
        "BeforeLow": hex(record.before_low),
        "BeforeHigh": hex(record.before_high),
        "InsideLow": hex(record.inside_low),
        "InsideHigh": hex(record.inside_high),
        "AfterLow": hex(record.after_low),
        "AncestorsOpened": record.ancestors_opened,
        "AncestorScope": record.ancestor_scope.to_string(),
        "Irql": record.irql,
        "Qpc": hex(record.qpc),
        "SystemTime": hex(record.system_time),
    })
}

pub(crate) fn marks(marks: &Marks) -> Value {
    json!({
        "LowestBefore": marks.lowest_before,
        "LowestInside": marks.lowest_inside,
        "MostSpent": marks.most_spent,
        "Deepest": marks.deepest,
        "Creates": marks.creates,
    })
}

pub(crate) fn losses(anchor: &Anchor) -> Value {
    json!({
        "Overwritten": anchor.overwritten, "Skipped": anchor.skipped, "SkippedLowStack": anchor.skipped_low_stack,
        "Voided": anchor.voided, "Abandoned": anchor.abandoned,
    })
}

pub(crate) fn settings(config: &Config) -> Value {
    json!({
        "ExpandPolicy": config.expand_policy.to_string(), "ReservationBytes": config.reservation_bytes,
        "RedZoneBytes": config.red_zone_bytes, "MinimumStackBytes": config.minimum_stack_bytes,
        "OnExpandFailure": config.on_expand_failure.to_string(), "MaxNestDepth": config.max_nest_depth,
        "AncestorOpens": config.ancestor_opens.to_string(), "UncOnly": config.unc_only,
        "LogCapacity": config.log_capacity, "DebugPrint": config.debug_print,
    })
}

fn indexed(index: Value, mut value: Value) -> Value {
    value["index"] = index;
    value
}

/// Everything that the script says of the machine's memory is what the protocol's own reader says of it.
fn compare(machine: &Machine, stack: &StackListing, symbols: bool) {
    let snapshot = snapshot(machine, stack, symbols);
    let Some(mut said) = node::run_json(&[&snapshot.write()]) else {
        return;
    };
    let records = records(machine);
    let items = said["Records"]["items"].as_array_mut().unwrap();
    for (item, record) in items.iter_mut().zip(&records) {
        let time = item.as_object_mut().unwrap().remove("Time").unwrap();
        // 1601-01-01 as humantime cannot have it: from 1970 on, in whole milliseconds.
        let since = record.system_time / 10_000 - 11_644_473_600_000;
        let when = std::time::UNIX_EPOCH + std::time::Duration::from_millis(since);
        assert_eq!(time, humantime::format_rfc3339_millis(when).to_string());
    }
    let expected: Vec<Value> = records.iter().map(told).collect();
    assert_eq!(expected.len(), 32, "the ring is full");
    assert_eq!(said["Records"]["items"], Value::from(expected));

    let anchor = anchor(machine);
    assert_eq!(said["Losses"], losses(&anchor));
    assert!(anchor.overwritten > 0);

    let watermarks = watermarks(machine);
    let depths: Vec<Value> = watermarks
        .depths()
        .map(|(depth, told)| indexed(json!(depth), marks(&told)))
        .collect();
    let images: Vec<Value> = watermarks
        .images()
        .map(|(image, told)| indexed(json!(String::from_utf8_lossy(image)), marks(&told)))
        .collect();
    assert_eq!((depths.len(), images.len()), (21, 1));
    assert_eq!(
        said["Watermarks"],
        json!({
            "System": marks(&watermarks.system()), "Depths": { "items": depths }, "Images": { "items": images },
            "Generation": watermarks.generation, "Evicted": watermarks.evicted, "TurnedAway": watermarks.turned_away,
            "Skipped": watermarks.skipped,
        })
    );

    let at = address(machine, CONFIG_SYMBOL);
    let bytes = machine.read(at, size_of::<ConfigBlock>()).unwrap();
    let config = ConfigBlock::decode(&bytes).unwrap().config;
    assert_eq!((config.log_capacity, config.red_zone_bytes), (32, 0x2800));
    assert_eq!(said["Config"], settings(&config));

    segments(&said["Analysis"], stack);
}

/// The segments that the script follows are the bench's, and each frame lies on the one that the bench put it on.
fn segments(analysis: &Value, stack: &StackListing) {
    let said = analysis["Stack"]["Segments"].as_array().unwrap();
    assert!(stack.segments.len() > 1, "the stack was never switched");
    assert_eq!(said.len(), stack.segments.len());
    assert_eq!(analysis["Stack"]["Notes"], json!([]));
    for (index, (said, segment)) in said.iter().zip(&stack.segments).enumerate() {
        assert_eq!(said["Number"], stack.segments.len() - index);
        assert_eq!(said["Limit"], hex(segment.low));
        assert_eq!(said["Base"], hex(segment.high));
        let frames: Vec<_> = stack
            .frames
            .iter()
            .filter(|frame| frame.segment == index)
            .collect();
        let expected: Vec<Value> = frames
            .iter()
            .map(|frame| {
                let bytes = frame
                    .bytes_to_older
                    .unwrap_or(segment.high - frame.child_sp);
                json!([hex(frame.child_sp), bytes])
            })
            .collect();
        let found: Vec<Value> = said["Frames"]
            .as_array()
            .unwrap()
            .iter()
            .map(|frame| json!([frame["ChildSp"], frame["Bytes"]]))
            .collect();
        assert_eq!(found, expected, "segment {index}");
        let newest = frames[0].child_sp;
        assert_eq!(said["InUse"], segment.high - newest);
        assert_eq!(said["Left"], newest - segment.low);
    }
}

#[test]
fn the_script_says_what_the_protocol_says() {
    let (machine, stack, _folder) = nested();
    compare(&machine, &stack, true);
    compare(&machine, &stack, false);
    end(machine);
}

/// The commands' text: the newest records in a table, and a segment's frames with what each module spent.
#[test]
fn the_commands_print_tables() {
    let (machine, stack, _folder) = nested();
    let snapshot = snapshot(&machine, &stack, true);
    let file = snapshot.write();
    let records = records(&machine);
    end(machine);
    if std::env::var_os("HEADROOM_SHOW").is_some() {
        for command in [
            "headroom",
            "hrrecords",
            "hrwatermarks",
            "hrconfig",
            "hrinstances",
            "hrstacks",
        ] {
            println!("!{command}\n{}", node::run(&[&file, command]).unwrap());
        }
    }
    let Some(table) = node::run(&[&file, "hrrecords", "3"]) else {
        return;
    };
    let lines: Vec<&str> = table.lines().collect();
    assert!(lines[0].starts_with("3 of 32 records; "), "{table}");
    assert_eq!(lines.len(), 5, "{table}");
    for (line, record) in lines[2..].iter().zip(&records[29..]) {
        let words: Vec<&str> = line.split_whitespace().collect();
        assert_eq!(words[0], record.sequence.to_string(), "{table}");
        assert_eq!(words[1], record.nest_depth.to_string(), "{table}");
    }
    let text = node::run(&[&file, "hrstacks"]).unwrap();
    let sums = text
        .lines()
        .filter(|line| line.contains("by module: "))
        .count();
    assert_eq!(sums, stack.segments.len(), "{text}");
    for line in text.lines() {
        assert_eq!(line, line.trim_end());
    }
}
