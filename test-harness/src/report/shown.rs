//! What was saved, shown again: its page, its picture, its lines, its numbers.

use std::path::{Path, PathBuf};

use askama::Template as _;
use serde::{Deserialize, Serialize};

use super::glance::Glance;
use super::page::Subject;
use super::saved::{Document, Records, Saved};
use super::{Origin, page, sections, sweep, unwritten, write};
use crate::backend::Environment;
use crate::model::Sweep;
use crate::verdict::{self, Check};

/// A sweep, with where and when.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SweepReport {
    /// Where and when.
    #[serde(default)]
    pub origin: Origin,
    /// What was found.
    pub sweep: Sweep,
    /// What had to be so.
    #[serde(default)]
    pub checks: Vec<Check>,
}

const SWEEP_TITLE: &str = "How deep creates nest on one thread";

impl SweepReport {
    /// The data, indented.
    ///
    /// # Errors
    /// None is known: there is no map in it.
    pub fn json(&self) -> Result<String, Environment> {
        serde_json::to_string_pretty(&Document::from(self)).map_err(|error| unjson(&error))
    }

    /// The picture, as SVG.
    ///
    /// # Errors
    /// None is known: a template that is written to memory does not fail.
    pub fn picture(&self) -> Result<String, Environment> {
        let mut picture = sweep::draw(&self.sweep);
        picture.standalone = true;
        picture.render().map_err(|error| unwritten(&error))
    }

    /// The page, self-contained.
    ///
    /// # Errors
    /// As [`picture`](Self::picture).
    pub fn page(&self) -> Result<String, Environment> {
        page(&Subject {
            title: SWEEP_TITLE,
            origin: &self.origin,
            plan: None,
            runs: &[],
            checks: &self.checks,
            without_driver: &[],
            sweep: Some(&self.sweep),
        })
        .map_err(|error| unwritten(&error))
    }

    /// Writes `sweep.html`, `sweep.svg` and `sweep.json` into `folder`, which is made where it is not there.
    ///
    /// # Errors
    /// [`Environment::Files`] names the file that could not be written.
    pub fn write(&self, folder: &Path) -> Result<[PathBuf; 3], Environment> {
        super::make(folder)?;
        let files = ["sweep.html", "sweep.svg", "sweep.json"].map(|name| folder.join(name));
        write(&files[0], &self.page()?)?;
        write(&files[1], &self.picture()?)?;
        write(&files[2], &self.json()?)?;
        Ok(files)
    }
}

/// The numbers of what was saved, for programs.
#[derive(Debug, Serialize)]
pub struct Summary {
    /// What it is.
    kind: &'static str,
    /// Where and when.
    origin: Origin,
    /// Whether every check holds; `None`: nothing was checked.
    holds: Option<bool>,
    /// The checks that do not hold.
    failed: Vec<Check>,
    /// Each policy's run in a line.
    runs: Vec<Glance>,
    /// A sweep's rows.
    sweep: Option<Sweep>,
}

impl Saved {
    /// Its page, self-contained.
    ///
    /// # Errors
    /// None is known: a template that is written to memory does not fail.
    pub fn page(&self) -> Result<String, Environment> {
        match self {
            Self::Report(report) => report.page(),
            Self::Sweep(sweep) => sweep.page(),
            Self::Records(records) => records.page(),
        }
    }

    /// Its picture, where it has one: a log has none beside its page.
    ///
    /// # Errors
    /// As [`page`](Self::page).
    pub fn picture(&self) -> Result<Option<String>, Environment> {
        match self {
            Self::Report(report) => report.picture().map(Some),
            Self::Sweep(sweep) => sweep.picture().map(Some),
            Self::Records(_) => Ok(None),
        }
    }

    /// Its numbers.
    #[must_use]
    pub fn summary(&self) -> Summary {
        let (origin, checks, runs, sweep) = match self {
            Self::Report(report) => (
                report.origin.clone(),
                report.checks.as_slice(),
                report.runs.iter().map(Glance::of).collect(),
                None,
            ),
            Self::Sweep(sweep) => (
                sweep.origin.clone(),
                sweep.checks.as_slice(),
                Vec::new(),
                Some(sweep.sweep.clone()),
            ),
            Self::Records(records) => (
                Origin::default(),
                &[][..],
                records.runs().iter().map(Glance::of).collect(),
                None,
            ),
        };
        Summary {
            kind: self.kind(),
            origin,
            holds: (!checks.is_empty()).then(|| verdict::passed(checks)),
            failed: checks
                .iter()
                .filter(|check| !check.holds)
                .cloned()
                .collect(),
            runs,
            sweep,
        }
    }

    /// Its lines for a terminal.
    #[must_use]
    pub fn text(&self) -> String {
        match self {
            Self::Report(report) => sections::glance(&report.runs).text(),
            Self::Sweep(sweep) => sections::sweep(&sweep.sweep).text(),
            Self::Records(records) => sections::glance(&records.runs()).text(),
        }
    }
}

impl Summary {
    /// The numbers, indented.
    ///
    /// # Errors
    /// None is known: there is no map in them.
    pub fn json(&self) -> Result<String, Environment> {
        serde_json::to_string_pretty(self).map_err(|error| unjson(&error))
    }
}

impl Records {
    fn page(&self) -> Result<String, Environment> {
        page(&Subject {
            title: "Kernel stack by the driver's own records",
            origin: &Origin::default(),
            plan: None,
            runs: &self.runs(),
            checks: &[],
            without_driver: &[],
            sweep: None,
        })
        .map_err(|error| unwritten(&error))
    }
}

pub(super) fn unjson(error: &serde_json::Error) -> Environment {
    Environment::Machine {
        doing: "writing the data".to_owned(),
        why: error.to_string(),
    }
}
