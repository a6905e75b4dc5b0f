//! The page for a terminal.

use std::fmt::Write as _;

use anstyle::{AnsiColor, Style};
use tabled::builder::Builder;

use super::told::{Driver, Segment, Told};
use crate::listing;
use crate::model::{self, Listing, RecordView};
use crate::report::stats::{MarksView, Stats};
use crate::table::{self, aligned, end_of, grouped};

const HEAD: Style = Style::new().bold();
const ALARM: Style = AnsiColor::Red.on_default().bold();
const FAINT: Style = Style::new().dimmed();

/// Lines of a long stack that are shown from its newest end, and from its oldest.
const NEWEST: usize = 32;
const OLDEST: usize = 12;
/// Units of a path, its end.
const PATH: usize = 44;

/// All of it.
pub(super) fn page(told: &Told, records: usize, full: bool) -> String {
    let style = if told.overflow { ALARM } else { HEAD };
    let mut text = format!("{style}{}{style:#}\n", told.sentence);
    let _ = writeln!(
        text,
        "{FAINT}{}, {} pages, Windows build {}{}{FAINT:#}\n",
        told.dump.kind,
        grouped(told.dump.pages),
        told.dump.build,
        if told.dump.comment.is_empty() {
            String::new()
        } else {
            format!("; {}", told.dump.comment)
        }
    );
    let parameters = told
        .parameters
        .map(|parameter| format!("{:#x}", parameter.0))
        .join(", ");
    let _ = writeln!(text, "Parameters: {parameters}\n");
    if !told.frames.is_empty() {
        let listing = listing_of(told);
        let stack = if full {
            listing::full(&listing)
        } else {
            listing::folded(&listing, NEWEST, OLDEST, "the whole stack: --full")
        };
        let _ = writeln!(text, "{HEAD}Stack{HEAD:#}\n\n{stack}");
    }
    for (index, segment) in told.segments.iter().enumerate() {
        text.push_str(&of_segment(told.segments.len() - index, segment));
    }
    match &told.driver {
        Some(driver) => text.push_str(&of_driver(driver, records)),
        None => {
            let _ = writeln!(
                text,
                "The Headroom driver is not in this dump: no module holds its anchor.\n"
            );
        }
    }
    for note in &told.notes {
        let _ = writeln!(text, "note: {note}");
    }
    text
}

/// The stack as the other verbs list it; what was found by a search is marked.
fn listing_of(told: &Told) -> Listing {
    let own = told
        .driver
        .as_ref()
        .and_then(|driver| driver.module.as_deref());
    let frames = told.frames.iter().map(|frame| model::Frame {
        child_sp: frame.child_sp.0,
        bytes_to_older: frame.bytes,
        symbol: match frame.found {
            "searched" => format!("{} (found by a search)", frame.symbol),
            _ => frame.symbol.clone(),
        },
        source: frame.source.clone(),
        real: frame.module.is_some() && frame.module.as_deref() == own,
        segment: frame.segment.unwrap_or(usize::MAX),
    });
    Listing {
        taken_at: "bug check".to_owned(),
        frames: frames.collect(),
        segments: told
            .segments
            .iter()
            .map(|segment| [segment.limit.0, segment.base.0])
            .collect(),
        by_module: Vec::new(),
    }
}

fn of_segment(number: usize, segment: &Segment) -> String {
    let size = segment.base.0.saturating_sub(segment.limit.0);
    let modules: Vec<(String, u64)> = segment
        .by_module
        .iter()
        .map(|(name, bytes)| {
            let name = if name.is_empty() {
                "(no known module)"
            } else {
                name
            };
            (name.to_owned(), *bytes)
        })
        .collect();
    format!(
        "{HEAD}Segment {number}{HEAD:#}: {:#x} to {:#x}, {} bytes, {} in use, {} left\n\n{}\n",
        segment.limit.0,
        segment.base.0,
        grouped(size),
        grouped(segment.used),
        grouped(size.saturating_sub(segment.used)),
        table::modules(&modules)
    )
}

fn of_driver(driver: &Driver, most: usize) -> String {
    let name = driver
        .module
        .as_deref()
        .unwrap_or("a driver in no module of the list");
    let losses = &driver.losses;
    let mut text = format!(
        "{HEAD}Records of {name}{HEAD:#}: {} in the ring, {} written, {} overwritten, {} lost for want of a slot, {} for want of \
         stack, {} of creates that were under way\n\n",
        grouped(driver.records.len() as u64),
        grouped(losses.written),
        grouped(losses.overwritten),
        grouped(losses.skipped),
        grouped(losses.skipped_low_stack),
        driver.unfinished.len()
    );
    if !driver.unfinished.is_empty() && most > 0 {
        let newest: Vec<&RecordView> = driver.unfinished.iter().rev().take(most).collect();
        let _ = writeln!(
            text,
            "Creates that were under way, the newest {} of {} first:\n\n{}\n",
            newest.len(),
            driver.unfinished.len(),
            records(&newest)
        );
    }
    if !driver.records.is_empty() && most > 0 {
        let mut worst: Vec<&RecordView> = driver.records.iter().collect();
        worst.sort_by_key(|record| (least(record), std::cmp::Reverse(record.sequence)));
        let shown = worst.len().min(most);
        let _ = writeln!(
            text,
            "{} that found least stack:\n\n{}\n",
            if shown == 1 {
                "The one".to_owned()
            } else {
                format!("The {shown}")
            },
            records(&worst[..shown])
        );
        if worst.len() > shown {
            let latest: Vec<&RecordView> = driver.records.iter().rev().take(most).collect();
            let _ = writeln!(
                text,
                "The {} latest, newest first:\n\n{}\n",
                latest.len(),
                records(&latest)
            );
        }
    }
    if let Some(stats) = &driver.watermarks {
        let _ = writeln!(text, "{HEAD}Watermarks{HEAD:#}\n\n{}\n", marks(stats));
    }
    if let Some(settings) = &driver.settings {
        let mut builder = Builder::new();
        builder.push_record(["setting", "value"]);
        for (setting, value) in settings {
            builder.push_record([setting, value]);
        }
        let _ = writeln!(
            text,
            "{HEAD}Settings{HEAD:#}\n\n{}\n",
            aligned(builder, &[1])
        );
    }
    text
}

/// The least stack that a record tells of.
fn least(record: &RecordView) -> u32 {
    [record.before, record.inside, record.after]
        .into_iter()
        .flatten()
        .min()
        .unwrap_or(u32::MAX)
}

/// A process's name, where the record has one.
fn named(process: &str) -> String {
    if process.is_empty() {
        "(no name)".to_owned()
    } else {
        process.to_owned()
    }
}

fn bytes(sample: Option<u32>) -> String {
    sample.map_or_else(|| "-".to_owned(), |sample| grouped(sample.into()))
}

fn records(records: &[&RecordView]) -> String {
    let mut builder = Builder::new();
    builder.push_record([
        "record", "process", "thread", "depth", "before", "inside", "after", "outcome", "status",
        "path",
    ]);
    for record in records {
        builder.push_record([
            record.sequence.to_string(),
            named(&record.process),
            format!("{:x}.{:x}", record.process_id, record.thread_id),
            record.depth.to_string(),
            bytes(record.before),
            bytes(record.inside),
            bytes(record.after),
            record.outcome.clone(),
            record
                .create_status
                .map_or_else(|| "not known".to_owned(), |status| status.to_string()),
            end_of(&record.path, PATH),
        ]);
    }
    aligned(builder, &[0, 3, 4, 5, 6])
}

fn marks(stats: &Stats) -> String {
    let mut builder = Builder::new();
    builder.push_record([
        "",
        "creates",
        "least before",
        "least inside",
        "most spent",
        "deepest",
    ]);
    let mut push = |name: String, marks: &MarksView| {
        builder.push_record([
            name,
            grouped(marks.creates),
            bytes(marks.lowest_before),
            bytes(marks.lowest_inside),
            bytes(marks.most_spent),
            bytes(marks.deepest),
        ]);
    };
    push("all".to_owned(), &stats.system);
    for depth in &stats.depths {
        let deeper = if depth.and_deeper { " and deeper" } else { "" };
        push(format!("depth {}{deeper}", depth.depth), &depth.marks);
    }
    for process in &stats.processes {
        push(named(&process.process), &process.marks);
    }
    aligned(builder, &[1, 2, 3, 4, 5])
}
