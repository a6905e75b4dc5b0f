//! What a scenario's calls came to, counted: for runs with more calls than anyone reads.

use std::fmt::Write as _;
use std::path::PathBuf;

use tabled::builder::Builder;

use crate::model::{Counts, Open, Run};
use crate::report::SweepReport;
use crate::settings;
use crate::table::{aligned, checks, grouped};

/// So many calls are still told one by one.
pub const READABLE: usize = 80;

/// A line for each kind of call and status.
#[must_use]
pub fn counts(counts: &Counts) -> String {
    let mut builder = Builder::new();
    builder.push_record(["call", "status", "how many"]);
    for count in &counts.0 {
        builder.push_record([
            count.action.to_string(),
            count.status.to_string(),
            grouped(count.calls),
        ]);
    }
    builder.push_record(["all".to_owned(), String::new(), grouped(counts.total())]);
    format!("{}\n", aligned(builder, &[2]))
}

/// What is expected here otherwise than on Windows, each reason once.
#[must_use]
pub fn notes(opens: &[Open]) -> String {
    let mut reasons: Vec<(&str, usize)> = Vec::new();
    for note in opens.iter().filter_map(|open| open.note.as_deref()) {
        match reasons.iter_mut().find(|(known, _)| *known == note) {
            Some((_, count)) => *count += 1,
            None => reasons.push((note, 1)),
        }
    }
    let line =
        |(reason, count): &(&str, usize)| format!("{count} other than on Windows: {reason}\n");
    reasons.iter().map(line).collect()
}

/// Whether a run's creates are few enough to be told one by one.
#[must_use]
pub fn is_readable(run: &Run) -> bool {
    run.records.len().max(run.arrivals.len()) <= READABLE
}

/// The run with no more creates than are told: those with the least stack left, as the driver or else the machine has it.
#[must_use]
pub fn lowest(run: &Run) -> Run {
    let mut few = run.clone();
    few.records.sort_by_key(|record| {
        record
            .before
            .into_iter()
            .chain(record.inside)
            .min()
            .unwrap_or(u32::MAX)
    });
    few.records.truncate(TOLD);
    few.arrivals.sort_by_key(|arrival| arrival.remaining);
    few.arrivals.truncate(TOLD);
    few
}

/// Creates that are told of more.
const TOLD: usize = 10;

/// A sweep for a terminal.
#[must_use]
pub fn sweep(report: &SweepReport, written: &[PathBuf; 3]) -> String {
    let sweep = &report.sweep;
    let mut builder = Builder::new();
    builder.push_record([
        "policy",
        "reserved",
        "red zone",
        "deepest nest",
        "segments",
        "least inside",
        "what ended the next",
    ]);
    let bytes =
        |bytes: Option<u32>| bytes.map_or_else(|| "-".to_owned(), |bytes| format!("{bytes:#x}"));
    for row in &sweep.rows {
        let reserved = (row.reservation_bytes != 0).then_some(row.reservation_bytes);
        builder.push_record([
            row.expand.name().to_owned(),
            bytes(reserved),
            bytes(row.red_zone_bytes),
            row.deepest.to_string(),
            row.segments.to_string(),
            row.lowest_inside
                .map_or_else(|| "-".to_owned(), |bytes| grouped(bytes.into())),
            row.end.to_string(),
        ]);
    }
    let stack = if sweep.large_stack { "72 KB" } else { "24 KB" };
    let set: String = sweep
        .settings
        .iter()
        .map(|(name, value)| {
            let shown = settings::named(name).map_or_else(
                |_| value.to_string(),
                |setting| settings::shown(setting, *value),
            );
            format!(", {name} {shown}")
        })
        .collect();
    let mut text = format!(
        "The most creates that nest on a {stack} stack, up to {}, with {} extra segments to be had{set}\n\n{}\n\n",
        sweep.bound,
        grouped(sweep.segment_limit.into()),
        aligned(builder, &[1, 2, 3, 4, 5])
    );
    if sweep.interrupted {
        text.push_str("Interrupted by Ctrl-C: rows are missing.\n\n");
    }
    text.push_str(&checks(&report.checks));
    for (what, path) in ["Page:   ", "Picture:", "Data:   "].iter().zip(written) {
        let _ = writeln!(text, "{what} {}", path.display());
    }
    text
}
