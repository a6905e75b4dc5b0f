//! The run as a table: a row for each create.

use anstyle::{AnsiColor, Style};
use num_format::{Locale, ToFormattedString as _};
use tabled::builder::Builder;
use tabled::settings::object::Columns;
use tabled::settings::{Alignment, Padding, Style as Lines};
use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

use crate::model::{Arrival, End, Open, RecordView, Run};
use crate::scenario::{Kind, Plan};
use crate::verdict::Check;

/// Units of a path that a table shows, its end.
const PATH_WIDTH: usize = 30;

const SWITCHED: Style = AnsiColor::Cyan.on_default().bold();
const FAILED: Style = AnsiColor::Red.on_default().bold();
const GOOD: Style = AnsiColor::Green.on_default();
const FAINT: Style = Style::new().dimmed();

/// The columns of [`rows`].
pub const COLUMNS: [&str; 8] = [
    "depth", "path", "before", "inside", "after", "outcome", "segment", "status",
];

/// What a cell says beside its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// Nothing.
    Plain,
    /// The inspection ran on another segment.
    Switched,
    /// Something failed.
    Failed,
    /// Something got better.
    Good,
    /// Of less weight.
    Faint,
}

/// A cell.
#[derive(Clone, Debug)]
pub struct Cell {
    /// Its text.
    pub text: String,
    /// Its tone.
    pub tone: Tone,
}

/// What stands below a table whose rows are arrivals.
pub const ARRIVED: &str = "before: measured by the machine as each create entered the driver. None of them returned, so \
                           the driver wrote no record.";

/// What the creates of `run` found: the driver's records, or, where the machine died before they were written, the
/// creates' arrivals as the machine saw them. Creates that are `nested` are told from the outermost inwards.
#[must_use]
pub fn rows(nested: bool, run: &Run) -> Vec<[Cell; 8]> {
    let segments = Segments::of(run);
    if are_arrivals(run) {
        return run
            .arrivals
            .iter()
            .map(|arrival| arrived(arrival, &segments))
            .collect();
    }
    let mut records: Vec<&RecordView> = run.records.iter().collect();
    if nested {
        // The innermost is done first.
        records.sort_by_key(|record| record.depth);
    }
    records
        .into_iter()
        .map(|record| recorded(record, &segments))
        .collect()
}

/// Whether the rows are arrivals.
#[must_use]
pub fn are_arrivals(run: &Run) -> bool {
    run.records.is_empty() && matches!(run.end, End::BugCheck(_))
}

/// [`rows`] for a terminal.
#[must_use]
pub fn creates(plan: &Plan, run: &Run) -> String {
    let mut builder = Builder::new();
    builder.push_record(COLUMNS);
    for row in rows(plan.scenario == Kind::Nested, run) {
        builder.push_record(row.map(|cell| painted(&cell)));
    }
    let note = if are_arrivals(run) {
        format!("{FAINT}{ARRIVED}{FAINT:#}\n")
    } else {
        String::new()
    };
    format!("{}\n{note}", aligned(builder, &[0, 2, 3, 4]))
}

pub(crate) fn painted(cell: &Cell) -> String {
    let style = match cell.tone {
        _ if cell.text.is_empty() => return String::new(),
        Tone::Plain => return cell.text.clone(),
        Tone::Switched => SWITCHED,
        Tone::Failed => FAILED,
        Tone::Good => GOOD,
        Tone::Faint => FAINT,
    };
    format!("{style}{}{style:#}", cell.text)
}

/// The scenario's own opens, where there are few enough of them to be told one by one.
#[must_use]
pub fn opens(opens: &[Open]) -> String {
    let mut builder = Builder::new();
    builder.push_record(["open", "status"]);
    for open in opens {
        builder.push_record([end_of(&open.name, 2 * PATH_WIDTH), status_of(open)]);
    }
    format!("{}\n", aligned(builder, &[]))
}

/// Bytes of stack by module.
#[must_use]
pub fn modules(by_module: &[(String, u64)]) -> String {
    let total: u64 = by_module.iter().map(|(_, bytes)| bytes).sum();
    let mut builder = Builder::new();
    builder.push_record(["module", "bytes", "share"]);
    for (module, bytes) in by_module {
        let share = 100.0 * *bytes as f64 / total.max(1) as f64;
        builder.push_record([module.clone(), grouped(*bytes), format!("{share:.1} %")]);
    }
    builder.push_record(["total".to_owned(), grouped(total), String::new()]);
    format!("{}\n", aligned(builder, &[1, 2]))
}

/// What had to be so, and whether it is.
#[must_use]
pub fn checks(checks: &[Check]) -> String {
    let mut text = String::new();
    for Check { what, holds, seen } in checks {
        let (mark, style) = if *holds {
            ("ok  ", GOOD)
        } else {
            ("FAIL", FAILED)
        };
        text.push_str(&format!(
            "{style}{mark}{style:#} {what} {FAINT}({seen}){FAINT:#}\n"
        ));
    }
    text
}

/// A number with a comma between thousands.
#[must_use]
pub fn grouped(number: u64) -> String {
    number.to_formatted_string(&Locale::en)
}

/// The segments of a run, numbered as they came into use.
pub(crate) struct Segments(Vec<u64>);

impl Segments {
    pub(crate) fn of(run: &Run) -> Self {
        let mut known = Self(Vec::new());
        let mut records: Vec<&RecordView> = run.records.iter().collect();
        records.sort_by_key(|record| record.depth);
        for record in records {
            known.add(record.caller_segment[1]);
            known.add(record.inside_segment[1]);
        }
        for arrival in &run.arrivals {
            known.add(arrival.segment_high);
        }
        known
    }

    fn add(&mut self, high: u64) {
        if high != 0 && !self.0.contains(&high) {
            self.0.push(high);
        }
    }

    /// The number, from 1. A segment's high end stays where it is, however it grows.
    pub(crate) fn number(&self, high: u64) -> Option<usize> {
        self.0
            .iter()
            .position(|&known| known == high)
            .map(|index| index + 1)
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self {
            text,
            tone: Tone::Plain,
        }
    }
}

impl Cell {
    fn toned(text: &impl ToString, tone: Tone) -> Self {
        Self {
            text: text.to_string(),
            tone,
        }
    }

    fn bytes(sample: Option<u32>) -> Self {
        sample.map_or_else(Self::none, |sample| grouped(sample.into()).into())
    }

    fn none() -> Self {
        Self::toned(&"-", Tone::Faint)
    }
}

fn recorded(record: &RecordView, segments: &Segments) -> [Cell; 8] {
    let number = |high: u64| {
        segments
            .number(high)
            .map_or_else(|| "-".to_owned(), |number| number.to_string())
    };
    let (caller, inside) = (record.caller_segment[1], record.inside_segment[1]);
    let segment = if inside != 0 && inside != caller {
        format!("{} > {}", number(caller), number(inside))
    } else {
        number(caller)
    };
    let outcome = match record.outcome.as_str() {
        "switched" => Cell::toned(&"switched", Tone::Switched),
        "failed" => Cell::toned(&record.reservation_status, Tone::Failed),
        "not tried" => Cell::toned(&skipped(record).unwrap_or("not tried"), Tone::Faint),
        other => other.to_owned().into(),
    };
    let status = match record.create_status {
        Some(status) if status.is_success() => status.to_string().into(),
        Some(status) => Cell::toned(&status, Tone::Failed),
        None => Cell::toned(&"not known", Tone::Faint),
    };
    [
        record.depth.to_string().into(),
        end_of(&record.path, PATH_WIDTH).into(),
        Cell::bytes(record.before),
        Cell::bytes(record.inside),
        Cell::bytes(record.after),
        outcome,
        segment.into(),
        status,
    ]
}

/// Why an inspection was left out.
fn skipped(record: &RecordView) -> Option<&str> {
    record
        .flags
        .split(", ")
        .find_map(|flag| flag.strip_prefix("skipped: "))
}

fn arrived(arrival: &Arrival, segments: &Segments) -> [Cell; 8] {
    [
        arrival.depth.to_string().into(),
        end_of(&arrival.path, PATH_WIDTH).into(),
        grouped(arrival.remaining).into(),
        Cell::none(),
        Cell::none(),
        Cell::none(),
        segments
            .number(arrival.segment_high)
            .map_or_else(String::new, |number| number.to_string())
            .into(),
        Cell::toned(&"did not return", Tone::Failed),
    ]
}

fn status_of(open: &Open) -> String {
    match open.status {
        Some(status) if status == open.expected => match &open.problem {
            Some(problem) => format!("{FAILED}{problem}{FAILED:#}"),
            None => status.to_string(),
        },
        Some(status) => format!("{FAILED}{status}{FAILED:#}, expected {}", open.expected),
        None => format!("{FAILED}did not return{FAILED:#}"),
    }
}

/// The end of a path that is at most `width` columns wide, from a separator on. What would move the cursor or change
/// colours is spelt out: a name is whatever a caller passed.
pub(crate) fn end_of(path: &str, width: usize) -> String {
    let path: String = path
        .chars()
        .map(|character| match character {
            plain if !plain.is_control() => plain.to_string(),
            control => control.escape_default().to_string(),
        })
        .collect();
    if path.width() <= width {
        return path;
    }
    let mut room = width.saturating_sub(1);
    let mut start = path.len();
    for (at, character) in path.char_indices().rev() {
        let Some(rest) = room.checked_sub(character.width().unwrap_or(0)) else {
            break;
        };
        (room, start) = (rest, at);
    }
    let end = &path[start..];
    let end = end.find('\\').map_or(end, |separator| &end[separator..]);
    format!("…{end}")
}

/// A table whose columns are aligned: those of `right` to the right.
pub(crate) fn aligned(builder: Builder, right: &[usize]) -> String {
    let mut table = builder.build();
    table
        .with(Lines::psql().remove_vertical())
        .with(Padding::new(0, 2, 0, 0));
    for &column in right {
        table.modify(Columns::one(column), Alignment::right());
    }
    let text = table.to_string();
    text.lines()
        .map(str::trim_end)
        .collect::<Vec<_>>()
        .join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_set_apart() {
        assert_eq!(
            [0, 999, 1000, 24_576, 1_234_567].map(grouped),
            ["0", "999", "1,000", "24,576", "1,234,567"]
        );
    }

    #[test]
    fn a_long_path_keeps_its_end_from_a_separator_on() {
        assert_eq!(end_of(r"\a\b", 30), r"\a\b");
        assert_eq!(
            end_of(r"\Device\Mup\server\share\d01\d02", 20),
            r"…\share\d01\d02"
        );
        assert_eq!(end_of("ääääääääää", 4), "…äää");
        // Each of these takes two columns.
        assert_eq!(end_of("共有共有共有", 6), "…共有");
        assert_eq!(end_of("a\u{1b}[31m", 30), r"a\u{1b}[31m");
    }
}
