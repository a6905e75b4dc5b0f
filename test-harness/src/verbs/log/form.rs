//! How a log's lines are written.

use anstyle::{AnsiColor, Style};

use super::{Entry, Format};
use crate::table::{end_of, grouped};

const FAINT: Style = Style::new().dimmed();
const WARNING: Style = AnsiColor::Yellow.on_default();
const SWITCHED: Style = AnsiColor::Cyan.on_default().bold();
const FAILED: Style = AnsiColor::Red.on_default().bold();

/// How often the names of the columns are repeated on a terminal.
const LINES_PER_HEAD: u64 = 40;

/// Characters of a line before its path.
const BEFORE_PATH: usize = 124;
/// And the least that are left to it.
const LEAST_PATH: usize = 30;

/// Names of the comma-separated columns.
const CSV: [&str; 25] = [
    "sequence",
    "time",
    "process",
    "process_id",
    "thread_id",
    "depth",
    "before",
    "inside",
    "after",
    "outcome",
    "policy",
    "reservation_bytes",
    "reservation_status",
    "inspect_status",
    "inspect_microseconds",
    "create_status",
    "ancestors_opened",
    "irql",
    "flags",
    "caller_segment_low",
    "caller_segment_high",
    "inside_segment_low",
    "inside_segment_high",
    "path_hash",
    "path",
];

/// A way to write them.
pub(super) struct Form {
    format: Format,
    /// The terminal's width; `None`: it is none.
    width: Option<u16>,
    lines: u64,
}

impl Form {
    pub(super) const fn new(format: Format, width: Option<u16>) -> Self {
        Self {
            format,
            width,
            lines: 0,
        }
    }

    /// What stands before the first.
    pub(super) fn head(&self) -> Vec<u8> {
        match self.format {
            Format::Table => columns(),
            Format::Csv => csv_line(CSV),
            Format::Jsonl => Vec::new(),
        }
    }

    pub(super) fn entry(&mut self, entry: &Entry) -> Vec<u8> {
        match self.format {
            Format::Table => {
                let again = self.width.is_some()
                    && self.lines > 0
                    && self.lines.is_multiple_of(LINES_PER_HEAD);
                self.lines += 1;
                let mut text = if again { columns() } else { Vec::new() };
                text.extend(row(entry, self.width).into_bytes());
                text
            }
            Format::Csv => csv_line(csv_cells(entry)),
            Format::Jsonl => json_line(entry),
        }
    }

    /// Records that were lost, where they would have stood.
    pub(super) fn lost(&self, count: u64) -> Vec<u8> {
        match self.format {
            Format::Table => {
                format!("{WARNING}… {} records lost{WARNING:#}\n", grouped(count)).into_bytes()
            }
            // Every line of theirs is a record: what was lost is told at the end, and by the gap between the numbers.
            Format::Csv | Format::Jsonl => Vec::new(),
        }
    }
}

/// The names of a table's columns.
fn columns() -> Vec<u8> {
    let line = line(
        [
            "record",
            "time (UTC)",
            "process",
            "pid",
            "tid",
            "depth",
            "before",
            "inside",
            "after",
        ],
        "outcome",
        "status",
        "path",
    );
    format!("{FAINT}{line}{FAINT:#}\n").into_bytes()
}

/// A line of a table: columns that a stream can keep aligned, since what has no bound stands last.
fn line(numbers: [&str; 9], outcome: &str, status: &str, path: &str) -> String {
    let [
        record,
        time,
        process,
        pid,
        tid,
        depth,
        before,
        inside,
        after,
    ] = numbers;
    format!(
        "{record:>7}  {time:<12}  {process:<16}  {pid:>6} {tid:>6}  {depth:>5}  {before:>7} {inside:>7} {after:>7}  {outcome:<14}  \
         {status:<24}  {path}"
    )
}

fn row(entry: &Entry, width: Option<u16>) -> String {
    let record = &entry.record;
    let bytes = |sample: Option<u32>| {
        sample.map_or_else(|| "-".to_owned(), |sample| grouped(sample.into()))
    };
    let skipped = record
        .flags
        .split(", ")
        .find_map(|flag| flag.strip_prefix("skipped: "));
    let outcome = skipped.unwrap_or(&record.outcome);
    let status = record
        .create_status
        .map_or_else(|| "not known yet".to_owned(), |status| status.to_string());
    // On a terminal a record is one line, with the end of its path; elsewhere all of it.
    let path = match width {
        Some(width) => {
            let room = usize::from(width).saturating_sub(BEFORE_PATH);
            end_of(&record.path, room.max(LEAST_PATH))
        }
        None => record.path.clone(),
    };
    let line = line(
        [
            &record.sequence.to_string(),
            entry.clock(),
            &record.process,
            &record.process_id.to_string(),
            &record.thread_id.to_string(),
            &record.depth.to_string(),
            &bytes(record.before),
            &bytes(record.inside),
            &bytes(record.after),
        ],
        outcome,
        &status,
        &path,
    );
    let failed = record.outcome == "failed"
        || record
            .create_status
            .is_some_and(|status| !status.is_success());
    match &*record.outcome {
        _ if failed => format!("{FAILED}{line}{FAILED:#}\n"),
        "switched" => format!("{SWITCHED}{line}{SWITCHED:#}\n"),
        "not tried" => format!("{FAINT}{line}{FAINT:#}\n"),
        _ => line + "\n",
    }
}

fn json_line(entry: &Entry) -> Vec<u8> {
    let mut line = serde_json::to_vec(entry).unwrap_or_default();
    line.push(b'\n');
    line
}

fn csv_cells(entry: &Entry) -> [String; 25] {
    let record = &entry.record;
    let bytes = |sample: Option<u32>| sample.map_or_else(String::new, |sample| sample.to_string());
    let address = |address: u64| format!("{address:#x}");
    [
        record.sequence.to_string(),
        entry.time.clone(),
        record.process.clone(),
        record.process_id.to_string(),
        record.thread_id.to_string(),
        record.depth.to_string(),
        bytes(record.before),
        bytes(record.inside),
        bytes(record.after),
        record.outcome.clone(),
        record.policy.clone(),
        record.reservation_bytes.to_string(),
        record.reservation_status.to_string(),
        record.inspect_status.to_string(),
        entry
            .inspect_microseconds
            .map_or_else(String::new, |time| time.to_string()),
        record
            .create_status
            .map_or_else(String::new, |status| status.to_string()),
        record.ancestors_opened.to_string(),
        entry.irql.to_string(),
        record.flags.clone(),
        address(record.caller_segment[0]),
        address(record.caller_segment[1]),
        address(record.inside_segment[0]),
        address(record.inside_segment[1]),
        entry.path_hash.clone(),
        record.path.clone(),
    ]
}

fn csv_line<T: AsRef<[u8]>>(cells: impl IntoIterator<Item = T>) -> Vec<u8> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    // Memory takes everything.
    let _ = writer.write_record(cells);
    writer.into_inner().unwrap_or_default()
}
