//! The driver's watermarks in words: for tables, JSON and monitoring.

use std::collections::BTreeMap;

use protocol::port::StatusReply;
use protocol::{Marks, NEST_SLOTS, Watermarks};
use serde::{Deserialize, Serialize};

use crate::model::Losses;

/// The watermarks, and what is known about records.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stats {
    /// How often the marks were started afresh, from 1.
    pub generation: u64,
    /// The whole system's.
    pub system: MarksView,
    /// By depth of nesting, from the outermost on.
    pub depths: Vec<DepthMarks>,
    /// By process image, the one that came closest to the end of its stack first.
    pub processes: Vec<ProcessMarks>,
    /// What the marks by process do not hold, since there are only so many places.
    pub missed: Missed,
    /// The driver's version, where it was asked.
    pub driver: Option<String>,
    /// What became of the records, where the driver was asked.
    pub losses: Option<Losses>,
}

/// One set of marks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MarksView {
    /// Least stack left where a create arrived.
    pub lowest_before: Option<u32>,
    /// Least stack left where an inspection started.
    pub lowest_inside: Option<u32>,
    /// Most stack that an inspection is known to have used.
    pub most_spent: Option<u32>,
    /// Most creates that were under way on one thread.
    pub deepest: Option<u32>,
    /// Creates.
    pub creates: u64,
}

/// The marks of one depth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DepthMarks {
    /// Creates under way on the thread, from 1.
    pub depth: u32,
    /// Deeper ones are counted here too.
    pub and_deeper: bool,
    /// Its marks.
    #[serde(flatten)]
    pub marks: MarksView,
}

/// The marks of one process image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessMarks {
    /// The end of the image's name.
    pub process: String,
    /// Its marks.
    #[serde(flatten)]
    pub marks: MarksView,
}

/// What the marks by process do not hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Missed {
    /// Images whose marks were given up for those of an image that had come closer to the end of its stack.
    pub evicted: u64,
    /// Creates whose image found its places taken.
    pub turned_away: u64,
    /// Creates that came while an entry was being replaced.
    pub skipped: u64,
}

impl From<Marks> for MarksView {
    fn from(marks: Marks) -> Self {
        Self {
            lowest_before: marks.lowest_before,
            lowest_inside: marks.lowest_inside,
            most_spent: marks.most_spent,
            // The driver counts the creates around this one; people count this one too.
            deepest: marks.deepest.map(|depth| depth.saturating_add(1)),
            creates: marks.creates,
        }
    }
}

impl From<&StatusReply> for Losses {
    fn from(status: &StatusReply) -> Self {
        Self {
            written: status.written,
            overwritten: status.overwritten,
            skipped: status.skipped,
            skipped_low_stack: status.skipped_low_stack,
            ticks_per_second: status.qpc_frequency,
        }
    }
}

impl MarksView {
    /// The least stack that was seen at either place.
    #[must_use]
    pub fn lowest(&self) -> Option<u32> {
        self.lowest_before
            .into_iter()
            .chain(self.lowest_inside)
            .min()
    }

    /// Takes in another set of marks of the same thing.
    fn merge(&mut self, other: &Self) {
        let least = |a: Option<u32>, b: Option<u32>| a.into_iter().chain(b).min();
        self.lowest_before = least(self.lowest_before, other.lowest_before);
        self.lowest_inside = least(self.lowest_inside, other.lowest_inside);
        self.most_spent = self.most_spent.max(other.most_spent);
        self.deepest = self.deepest.max(other.deepest);
        self.creates += other.creates;
    }
}

impl Stats {
    /// What `watermarks` tell, and the driver of itself where it could be asked.
    #[must_use]
    pub fn of(watermarks: &Watermarks, status: Option<&StatusReply>) -> Self {
        let depths = watermarks.depths().map(|(index, marks)| DepthMarks {
            depth: u32::try_from(index + 1).unwrap_or(u32::MAX),
            and_deeper: index + 1 == NEST_SLOTS,
            marks: marks.into(),
        });
        // A name that was given up while it was entered can stand in two places.
        let mut by_name: BTreeMap<String, MarksView> = BTreeMap::new();
        for (image, marks) in watermarks.images() {
            by_name
                .entry(readable(image))
                .or_default()
                .merge(&marks.into());
        }
        let mut processes: Vec<ProcessMarks> = by_name
            .into_iter()
            .map(|(process, marks)| ProcessMarks { process, marks })
            .collect();
        processes.sort_by_key(|process| process.marks.lowest().unwrap_or(u32::MAX));
        Self {
            generation: watermarks.generation,
            system: watermarks.system().into(),
            depths: depths.collect(),
            processes,
            missed: Missed {
                evicted: watermarks.evicted,
                turned_away: watermarks.turned_away,
                skipped: watermarks.skipped,
            },
            driver: status.map(|status| {
                let [major, minor, patch, _] = status.driver;
                format!("{major}.{minor}.{patch}")
            }),
            losses: status.map(Losses::from),
        }
    }

    /// A JSON object a line: the system's marks, each depth's, each process's, and the losses, told apart by `scope`.
    ///
    /// # Errors
    /// None is known: every field is a number, a name or nothing.
    pub fn json_lines(&self) -> Result<String, serde_json::Error> {
        #[derive(Serialize)]
        struct Line<T> {
            scope: &'static str,
            #[serde(flatten)]
            told: T,
        }
        fn line<T: Serialize>(scope: &'static str, told: T) -> Result<String, serde_json::Error> {
            serde_json::to_string(&Line { scope, told }).map(|line| line + "\n")
        }
        let mut text = line("system", self.system)?;
        for depth in &self.depths {
            text += &line("depth", depth)?;
        }
        for process in &self.processes {
            text += &line("process", process)?;
        }
        text += &line("missed", self.missed)?;
        if let Some(losses) = self.losses {
            text += &line("losses", losses)?;
        }
        Ok(text)
    }
}

/// The name as text. Bytes that are no UTF-8 are spelt out, so that different names stay different.
fn readable(name: &[u8]) -> String {
    match std::str::from_utf8(name) {
        Ok(name) => name.to_owned(),
        Err(_) => name.escape_ascii().to_string(),
    }
}
