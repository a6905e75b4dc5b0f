//! `headroom stats`: the watermarks.

use protocol::{Marks, NEST_SLOTS, Watermarks};
use serde::Serialize;
use tabled::builder::Builder;

use super::{Failure, Verdict, say, say_json};
use crate::link;
use crate::table::{aligned, grouped};

/// What follows the help.
pub const HELP: &str = "\
lowest before: the least stack that was left where a create arrived; lowest inside: where its inspection began, after it got its
stack; most spent: the most that an inspection is known to have used; all in bytes, since the driver was loaded or `headroom reset`.";

/// How to tell them.
#[derive(Debug, clap::Args)]
#[group(id = "form", multiple = false)]
pub struct Args {
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// All of them, for people and programs.
#[derive(Clone, Debug, Serialize)]
pub struct Stats {
    /// How often they were started afresh, from 1.
    pub generation: u64,
    /// The whole system's.
    pub system: Row,
    /// By nest depth, from 1; the last one that there can be stands for all deeper ones.
    pub depths: Vec<DepthRow>,
    /// By process image, the one that came closest to the end of its stack first.
    pub processes: Vec<ProcessRow>,
    /// Images that were given up for others that had come closer.
    pub evicted: u64,
    /// Creates whose image found no place.
    pub turned_away: u64,
    /// Creates that are missing in their image's marks.
    pub skipped: u64,
}

/// A set of marks.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Row {
    /// Creates.
    pub creates: u64,
    /// Least stack left where a create arrived.
    pub lowest_before: Option<u32>,
    /// Least stack left where an inspection began.
    pub lowest_inside: Option<u32>,
    /// Most stack that an inspection is known to have used.
    pub most_spent: Option<u32>,
    /// The deepest nest, 1 for a create inside none.
    pub deepest: Option<u32>,
}

/// The marks of a depth.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct DepthRow {
    /// The depth, from 1.
    pub depth: usize,
    /// Whether deeper ones are in it.
    pub and_deeper: bool,
    /// Its marks.
    #[serde(flatten)]
    pub marks: Row,
}

/// The marks of a process image.
#[derive(Clone, Debug, Serialize)]
pub struct ProcessRow {
    /// The image's name.
    pub process: String,
    /// Its marks.
    #[serde(flatten)]
    pub marks: Row,
}

impl From<Marks> for Row {
    fn from(marks: Marks) -> Self {
        Self {
            creates: marks.creates,
            lowest_before: marks.lowest_before,
            lowest_inside: marks.lowest_inside,
            most_spent: marks.most_spent,
            deepest: marks.deepest.map(|deepest| deepest.saturating_add(1)),
        }
    }
}

impl From<&Watermarks> for Stats {
    fn from(marks: &Watermarks) -> Self {
        let depths = marks.depths().map(|(depth, told)| DepthRow {
            depth: depth + 1,
            and_deeper: depth + 1 == NEST_SLOTS,
            marks: told.into(),
        });
        let mut processes: Vec<ProcessRow> = marks
            .images()
            .map(|(image, told)| ProcessRow {
                process: String::from_utf8_lossy(image).into_owned(),
                marks: told.into(),
            })
            .collect();
        processes.sort_by(|a, b| {
            let key = |row: &ProcessRow| row.marks.lowest_before.unwrap_or(u32::MAX);
            (key(a), &a.process).cmp(&(key(b), &b.process))
        });
        Self {
            generation: marks.generation,
            system: marks.system().into(),
            depths: depths.collect(),
            processes,
            evicted: marks.evicted,
            turned_away: marks.turned_away,
            skipped: marks.skipped,
        }
    }
}

impl Args {
    /// Shows them.
    ///
    /// # Errors
    /// [`Failure`]: no driver answers.
    pub fn run(&self) -> Result<Verdict, Failure> {
        let marks = link::connect()?.watermarks()?;
        let stats = Stats::from(&*marks);
        if self.json {
            say_json(&stats)?;
        } else {
            say(&text(&stats))?;
        }
        Ok(Verdict::Holds)
    }
}

const MARKS: [&str; 5] = [
    "creates",
    "lowest before",
    "lowest inside",
    "most spent",
    "deepest",
];

fn cells(row: &Row) -> [String; 5] {
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

fn table(name: &str, rows: impl Iterator<Item = (String, Row)>, right: bool) -> String {
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
    let missing = stats.turned_away + stats.skipped;
    if missing + stats.evicted > 0 {
        text += &format!(
            "\nNot in the table of processes: {} creates of programs that found no place, {} of an entry that was being replaced; {} \
             programs gave their place up to others that came closer.\n",
            grouped(stats.turned_away),
            grouped(stats.skipped),
            grouped(stats.evicted)
        );
    }
    text
}
