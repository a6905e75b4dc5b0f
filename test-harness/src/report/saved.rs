//! Reading back what was saved: a report's data, or records line by line.
//!
//! A file says first what it is and by which schema it was written, so that one from another version, or of another
//! program, is told by name instead of by the first field that is missing.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::error::Category;
use thiserror::Error;

use super::{Report, SweepReport};
use crate::model::{Expand, Losses, RecordView, Run};

/// Grows by one whenever an older reader would misread, or a newer one could not read, what is saved.
pub const SCHEMA: u32 = 1;

/// What a report's data calls itself.
pub const REPORT_FORMAT: &str = "headroom report";

/// What a sweep's data calls itself.
pub const SWEEP_FORMAT: &str = "headroom sweep";

/// What the first line of saved records calls itself.
pub const RECORDS_FORMAT: &str = "headroom records";

/// A file that was saved.
#[derive(Clone, Debug)]
pub enum Saved {
    /// A report's data.
    Report(Box<Report>),
    /// Records, as they were logged.
    Records(Records),
    /// A sweep's data.
    Sweep(SweepReport),
}

impl Saved {
    /// What it is, in words.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Report(_) => "a report",
            Self::Records(_) => "a log",
            Self::Sweep(_) => "a sweep",
        }
    }
}

/// Records that no scenario stands behind.
#[derive(Clone, Debug, Default)]
pub struct Records {
    /// In the order of the file.
    pub records: Vec<RecordView>,
    /// What the driver said of its losses last, where it did.
    pub losses: Option<Losses>,
}

/// What a file starts with.
#[derive(Debug, Serialize, Deserialize)]
pub struct Head {
    /// What it is.
    pub format: String,
    /// By which schema.
    pub schema: u32,
}

/// Something with its head.
#[derive(Serialize)]
pub(super) struct Document<'a, T> {
    format: &'static str,
    schema: u32,
    #[serde(flatten)]
    data: &'a T,
}

impl<'a> From<&'a Report> for Document<'a, Report> {
    fn from(data: &'a Report) -> Self {
        Self {
            format: REPORT_FORMAT,
            schema: SCHEMA,
            data,
        }
    }
}

impl<'a> From<&'a SweepReport> for Document<'a, SweepReport> {
    fn from(data: &'a SweepReport) -> Self {
        Self {
            format: SWEEP_FORMAT,
            schema: SCHEMA,
            data,
        }
    }
}

impl Records {
    /// The records of each policy, as a run that no scenario stands behind.
    #[must_use]
    pub fn runs(&self) -> Vec<Run> {
        let mut runs: Vec<Run> = Vec::new();
        for record in &self.records {
            let Some(expand) = policy(&record.policy) else {
                continue;
            };
            match runs.iter_mut().find(|run| run.expand == expand) {
                Some(run) => run.records.push(record.clone()),
                None => runs.push(Run {
                    records: vec![record.clone()],
                    losses: self.losses,
                    ..Run::new(expand)
                }),
            }
        }
        runs
    }
}

fn policy(name: &str) -> Option<Expand> {
    [Expand::Always, Expand::RedZone, Expand::Never]
        .into_iter()
        .find(|expand| expand.name() == name)
}

/// Why a file cannot be used. Each says what to do.
#[derive(Debug, Error)]
pub enum Unreadable {
    /// It cannot be read at all.
    #[error("{}: {error}; {WHAT_TO_GIVE}", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The host's error.
        error: std::io::Error,
    },
    /// There is nothing in it.
    #[error("{}: the file is empty; {WHAT_TO_GIVE}", .0.display())]
    Empty(PathBuf),
    /// It ends too early.
    #[error("{}:{line}: the file ends in the middle of a value: it was cut off as it was written or copied; save or copy it again{}", .path.display(), .also)]
    Truncated {
        /// The file.
        path: PathBuf,
        /// Its last line.
        line: usize,
        /// What else would help.
        also: &'static str,
    },
    /// It is not JSON.
    #[error("{}:{line}:{column}: this is not JSON ({why}); {WHAT_TO_GIVE}", .path.display())]
    NotJson {
        /// The file.
        path: PathBuf,
        /// Where.
        line: usize,
        /// Where.
        column: usize,
        /// What is wrong.
        why: String,
    },
    /// It is JSON of something else.
    #[error("{}:1: this is JSON, but nothing that headroom saved; {WHAT_TO_GIVE}", .0.display())]
    Foreign(PathBuf),
    /// Another version wrote it.
    #[error("{}:1: this was saved with schema {found}, and this headroom reads schema {SCHEMA}; {}", .path.display(), if *.found > SCHEMA { "read it with the newer headroom that saved it" } else { "run again to save it anew" })]
    Schema {
        /// The file.
        path: PathBuf,
        /// Its schema.
        found: u32,
    },
    /// It calls itself ours, but a field is missing or wrong.
    #[error("{}:{line}:{column}: {why}; the file was changed after headroom saved it, or by a headroom in between versions: run again to save it anew", .path.display())]
    Shape {
        /// The file.
        path: PathBuf,
        /// Where.
        line: usize,
        /// Where.
        column: usize,
        /// What is wrong.
        why: String,
    },
}

const WHAT_TO_GIVE: &str = "give a file that `headroom run --json` printed, the .json beside its report, or the lines of \
                            `headroom log --format jsonl`";

/// Reads a file that was saved.
///
/// # Errors
/// [`Unreadable`] names the file, the line, and what to do.
pub fn read(path: &Path) -> Result<Saved, Unreadable> {
    let text = fs::read_to_string(path).map_err(|error| Unreadable::File {
        path: path.to_owned(),
        error,
    })?;
    parse(path, &text)
}

/// As [`read`], of what stands in `path`.
///
/// # Errors
/// As [`read`].
pub fn parse(path: &Path, text: &str) -> Result<Saved, Unreadable> {
    // Windows programs like to put a byte order mark in front.
    let text = text.trim_start_matches('\u{feff}');
    let Some(first) = text.lines().find(|line| !line.trim().is_empty()) else {
        return Err(Unreadable::Empty(path.to_owned()));
    };
    // A line that is a whole object, with something after it or no head of a report, is the first of many.
    let alone: Result<Line, _> = serde_json::from_str(first);
    if let Ok(line) = alone
        && !matches!(line.format.as_deref(), Some(REPORT_FORMAT | SWEEP_FORMAT))
    {
        return records(path, text);
    }
    let head: Line = serde_json::from_str(text).map_err(|error| bad(path, 0, &error, ""))?;
    match head {
        Line {
            format: Some(format),
            schema: Some(schema),
            ..
        } if [REPORT_FORMAT, SWEEP_FORMAT].contains(&format.as_str()) => {
            check_schema(path, schema)?;
            let misshapen = |error| bad(path, 0, &error, "");
            if format == SWEEP_FORMAT {
                let sweep = serde_json::from_str(text).map_err(misshapen)?;
                return Ok(Saved::Sweep(sweep));
            }
            let report = serde_json::from_str(text).map_err(misshapen)?;
            Ok(Saved::Report(Box::new(report)))
        }
        // What was printed before data had a head.
        Line { plan: true, .. } => Err(Unreadable::Schema {
            path: path.to_owned(),
            found: 0,
        }),
        _ => Err(Unreadable::Foreign(path.to_owned())),
    }
}

/// What tells lines and files apart. Every field may be missing.
#[derive(Deserialize)]
struct Line {
    #[serde(default)]
    format: Option<String>,
    #[serde(default)]
    schema: Option<u32>,
    #[serde(default)]
    losses: Option<Losses>,
    #[serde(default, deserialize_with = "is_there")]
    plan: bool,
    #[serde(default, deserialize_with = "is_there")]
    sequence: bool,
}

fn is_there<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    serde::de::IgnoredAny::deserialize(deserializer).map(|_| true)
}

fn records(path: &Path, text: &str) -> Result<Saved, Unreadable> {
    let mut records = Records::default();
    let last = text.lines().count();
    for (index, line) in text.lines().enumerate() {
        if line.trim().is_empty() {
            continue;
        }
        let also = if index + 1 == last {
            ", or remove its last line"
        } else {
            ""
        };
        let told: Line =
            serde_json::from_str(line).map_err(|error| bad(path, index, &error, also))?;
        if let Some(format) = told.format {
            if format != RECORDS_FORMAT {
                return Err(Unreadable::Foreign(path.to_owned()));
            }
            check_schema(path, told.schema.unwrap_or(0))?;
        } else if let Some(losses) = told.losses {
            records.losses = Some(losses);
        } else if told.sequence {
            let record =
                serde_json::from_str(line).map_err(|error| bad(path, index, &error, also))?;
            let record: RecordView = record;
            if policy(&record.policy).is_none() {
                return Err(Unreadable::Shape {
                    path: path.to_owned(),
                    line: index + 1,
                    column: 1,
                    why: format!("there is no policy {}", record.policy),
                });
            }
            records.records.push(record);
        } else if index == 0 {
            return Err(Unreadable::Foreign(path.to_owned()));
        } else {
            return Err(Unreadable::Shape {
                path: path.to_owned(),
                line: index + 1,
                column: 1,
                why: "this line is no record".to_owned(),
            });
        }
    }
    Ok(Saved::Records(records))
}

fn check_schema(path: &Path, found: u32) -> Result<(), Unreadable> {
    if found == SCHEMA {
        Ok(())
    } else {
        Err(Unreadable::Schema {
            path: path.to_owned(),
            found,
        })
    }
}

/// The parser's error, with the lines before the text that it saw.
fn bad(path: &Path, before: usize, error: &serde_json::Error, also: &'static str) -> Unreadable {
    let (path, line, column) = (path.to_owned(), before + error.line(), error.column());
    // serde_json ends its text with the place, which stands in front already.
    let text = error.to_string();
    let place = format!(" at line {} column {column}", error.line());
    let why = text.strip_suffix(&place).unwrap_or(&text).to_owned();
    match error.classify() {
        Category::Eof => Unreadable::Truncated { path, line, also },
        Category::Data => Unreadable::Shape {
            path,
            line,
            column,
            why,
        },
        Category::Syntax | Category::Io => Unreadable::NotJson {
            path,
            line,
            column,
            why,
        },
    }
}
