//! `headroom stats`: the watermarks.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use tabled::builder::Builder;

use super::{Failure, Verdict, say};
use crate::link::{self, Client, LinkError};
use crate::report::prometheus;
use crate::report::stats::{MarksView, Stats};
use crate::table::{aligned, grouped};

/// What follows the help.
pub const HELP: &str = "\
lowest before: the least stack that was left where a create arrived; lowest inside: where its inspection began, after it got its
stack; most spent: the most that an inspection is known to have used; all in bytes, since the driver was loaded or `headroom reset`.";

/// How to tell them.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Print JSON.
    #[arg(long, group = "form")]
    pub json: bool,

    /// Print a JSON object a line, told apart by `scope`.
    #[arg(long, group = "form")]
    pub jsonl: bool,

    /// Print the Prometheus text format, for windows_exporter's textfile collector.
    #[arg(long, group = "form")]
    pub prometheus: bool,

    /// Write to this file instead of the screen, whole or not at all: a collector never reads half of it.
    #[arg(long, value_name = "FILE", requires = "form")]
    pub file: Option<PathBuf>,
}

impl Args {
    /// Shows them.
    ///
    /// # Errors
    /// [`Failure`]: no driver answers.
    pub fn run(&self) -> Result<Verdict, Failure> {
        let stats = read(&mut link::connect()?)?;
        let json = |error| Failure::Output(io::Error::from(error));
        let text = if self.prometheus {
            prometheus::text(&stats)
        } else if self.jsonl {
            stats.json_lines().map_err(json)?
        } else if self.json {
            serde_json::to_string_pretty(&stats).map_err(json)? + "\n"
        } else {
            text(&stats)
        };
        match &self.file {
            Some(path) => replace(path, &text)?,
            None => {
                say(&text)?;
            }
        }
        Ok(Verdict::Holds)
    }
}

/// Asks the driver for its watermarks, and for what it can tell of itself.
///
/// # Errors
/// [`LinkError`].
pub(super) fn read(driver: &mut Client) -> Result<Stats, LinkError> {
    let marks = driver.watermarks()?;
    Ok(Stats::of(&marks, driver.status()?.as_ref()))
}

/// Puts a new file in the place of the old one, in one step.
fn replace(path: &Path, text: &str) -> Result<(), Failure> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let mut part = tempfile::Builder::new();
    part.prefix(".headroom-").suffix(".part");
    // A collector runs as another user: the file is for everybody to read.
    #[cfg(unix)]
    part.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644));
    let write = || {
        let mut file = part.tempfile_in(folder)?;
        file.write_all(text.as_bytes())?;
        file.persist(path)?;
        Ok(())
    };
    write().map_err(|error| Failure::File {
        path: path.to_owned(),
        error,
    })
}

const MARKS: [&str; 5] = [
    "creates",
    "lowest before",
    "lowest inside",
    "most spent",
    "deepest",
];

fn cells(row: &MarksView) -> [String; 5] {
    let bytes =
        |mark: Option<u32>| mark.map_or_else(|| "-".to_owned(), |mark| grouped(mark.into()));
    [
        grouped(row.creates),
        bytes(row.lowest_before),
        bytes(row.lowest_inside),
        bytes(row.most_spent),
        bytes(row.deepest),
    ]
}

fn table(name: &str, rows: impl Iterator<Item = (String, MarksView)>, right: bool) -> String {
    let mut builder = Builder::new();
    builder.push_record([name].into_iter().chain(MARKS));
    for (name, row) in rows {
        builder.push_record([name].into_iter().chain(cells(&row)));
    }
    let first = if right { 0 } else { 1 };
    aligned(builder, &(first..=MARKS.len()).collect::<Vec<_>>()) + "\n"
}

/// All of them for a terminal.
#[must_use]
pub fn text(stats: &Stats) -> String {
    if stats.system.creates == 0 {
        return "No create has come by since the driver was loaded or the marks were reset.\n"
            .to_owned();
    }
    let system = [("the whole system".to_owned(), stats.system)];
    let mut text = table("", system.into_iter(), false);
    let processes = stats
        .processes
        .iter()
        .map(|row| (row.process.clone(), row.marks));
    text += "\n";
    text += &table("process", processes, false);
    let depths = stats.depths.iter().map(|row| {
        let and_deeper = if row.and_deeper { "+" } else { "" };
        (format!("{}{and_deeper}", row.depth), row.marks)
    });
    text += "\n";
    text += &table("depth", depths, true);
    let missed = stats.missed;
    if missed.turned_away + missed.skipped + missed.evicted > 0 {
        text += &format!(
            "\nNot in the table of processes: {} creates of programs that found no place, {} of an entry that was being replaced; {} \
             programs gave their place up to others that came closer.\n",
            grouped(missed.turned_away),
            grouped(missed.skipped),
            grouped(missed.evicted)
        );
    }
    text
}
