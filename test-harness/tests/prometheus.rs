//! The watermarks for monitoring: golden text, and an independent parser of the format.

use headroom_harness::report::{prometheus, stats::Stats};
use openmetrics_parser::prometheus::parse_prometheus;
use protocol::port::StatusReply;
use protocol::{
    IMAGE_NAME_BYTES, MarkWords, NEST_SLOTS, ProcessWords, Watermarks, entry, highest, lowest,
    process_key, tally,
};
use zerocopy::FromZeros as _;

const GENERATION: u64 = 3;

fn words(before: u32, inside: Option<u32>, deepest: u32, creates: u64) -> MarkWords {
    let measured = |word: fn(u64, u32) -> u64, value: Option<u32>| {
        value.map_or(0, |value| word(GENERATION, value))
    };
    MarkWords {
        lowest_before: lowest::word(GENERATION, before),
        lowest_inside: measured(lowest::word, inside),
        most_spent: measured(highest::word, inside.map(|_| 0x900)),
        deepest: highest::word(GENERATION, deepest),
        creates: tally::word(GENERATION, creates),
    }
}

fn process(name: &[u8], marks: MarkWords) -> ProcessWords {
    let mut image_name = [0; IMAGE_NAME_BYTES];
    image_name[..name.len()].copy_from_slice(name);
    ProcessWords {
        state: entry::of(process_key(&image_name)),
        image_name,
        marks,
    }
}

/// Names with everything that a format could stumble over; a depth that collects deeper ones; marks that are missing.
fn stats() -> Stats {
    let mut watermarks = Watermarks::new_zeroed();
    watermarks.generation = GENERATION;
    watermarks.evicted = 1;
    watermarks.turned_away = 20;
    watermarks.system = words(4_711, Some(24_000), 40, 1_234);
    watermarks.nest[0] = words(20_000, Some(24_576), 0, 1_000);
    watermarks.nest[NEST_SLOTS - 1] = words(4_711, None, 40, 234);
    // Of an older generation: no mark.
    watermarks.nest[1].creates = tally::word(GENERATION - 1, 99);
    for (index, name) in [
        &b"explorer.exe"[..],
        b"a\"b\\c\nd",
        b"\xff\xfe.exe",
        b"\xff\xfd.exe",
    ]
    .into_iter()
    .enumerate()
    {
        let low = 9_000 - 1_000 * u32::try_from(index).unwrap();
        watermarks.processes[index] = process(name, words(low, Some(24_100), 2, 7));
    }
    let status = StatusReply {
        driver: [0, 9, 1, 0],
        written: 1_234,
        overwritten: 12,
        skipped: 3,
        skipped_low_stack: 1,
        qpc_frequency: 10_000_000,
        ..StatusReply::new_zeroed()
    };
    Stats::of(&watermarks, Some(&status))
}

#[test]
fn the_text() {
    let version = format!("version=\"{}\"", env!("CARGO_PKG_VERSION"));
    insta::assert_snapshot!(prometheus::text(&stats()).replace(&version, "version=\"…\""));
}

#[test]
fn the_lines() {
    insta::assert_snapshot!(stats().json_lines().unwrap());
}

#[test]
fn another_programs_parser_reads_the_same_numbers() {
    let text = prometheus::text(&stats());
    assert!(text.ends_with('\n') && !text.contains('\r'));
    let read = parse_prometheus(&text).expect("the text is valid");
    let value = |metric: &str, wanted: &[(&str, &str)]| -> f64 {
        let family = &read.families[metric];
        let names = family.get_label_names();
        let sample = family.iter_samples().find(|sample| {
            let labels = sample.get_labelset().unwrap();
            wanted.iter().all(|(name, value)| {
                names.iter().any(|known| known == name)
                    && labels.get_label_value(name) == Some(*value)
            })
        });
        match &sample
            .unwrap_or_else(|| panic!("no {metric} {wanted:?}"))
            .value
        {
            openmetrics_parser::PrometheusValue::Gauge(number) => number.as_f64(),
            openmetrics_parser::PrometheusValue::Counter(counter) => counter.value.as_f64(),
            other => panic!("{metric} is {other:?}"),
        }
    };
    let lowest = "headroom_process_stack_lowest_remaining_bytes";
    for (process, bytes) in [
        ("explorer.exe", 9_000.0),
        // As the parser gives it back: still escaped.
        (r#"a\"b\\c\nd"#, 8_000.0),
        (r"\\xff\\xfe.exe", 7_000.0),
        (r"\\xff\\xfd.exe", 6_000.0),
    ] {
        assert_eq!(
            value(lowest, &[("process", process), ("sample", "before")]),
            bytes
        );
    }
    assert_eq!(value("headroom_nest_depth_max", &[]), 41.0);
    assert_eq!(value("headroom_creates_total", &[]), 1_234.0);
    assert_eq!(
        value("headroom_depth_creates_total", &[("depth", "32+")]),
        234.0
    );
    assert_eq!(
        value("headroom_records_lost_total", &[("reason", "overwritten")]),
        12.0
    );
    assert_eq!(
        value(
            "headroom_build_info",
            &[("version", env!("CARGO_PKG_VERSION")), ("driver", "0.9.1")]
        ),
        1.0
    );
}

#[test]
fn what_was_not_measured_has_no_sample() {
    let text = prometheus::text(&Stats::default());
    parse_prometheus(&text).expect("the text is valid");
    assert!(
        !text.contains("lowest_remaining") && !text.contains("records"),
        "{text}"
    );
    assert!(text.contains("headroom_creates_total 0"), "{text}");
}
