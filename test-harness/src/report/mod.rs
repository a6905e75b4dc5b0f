//! The run as files: a picture, a page, the data, the stacks.

mod bands;
mod calls;
mod cells;
mod chart;
pub mod compare;
mod costs;
mod drawing;
mod glance;
mod histogram;
mod measures;
mod origin;
mod outcomes;
mod page;
mod panel;
pub mod prometheus;
pub mod saved;
mod scale;
mod sections;
mod series;
mod shown;
pub mod stats;
mod strip;
mod sweep;
mod unmeasured;
mod words;

use std::fs;
use std::path::{Path, PathBuf};

use askama::Template as _;
use serde::{Deserialize, Serialize};

use crate::backend::Environment;
use crate::model::{Open, Run};
use crate::scenario::Plan;
use crate::verdict::Check;
pub use origin::Origin;
use page::{Page, Subject};
pub use shown::{Summary, SweepReport};

/// Everything a scenario showed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Report {
    /// Where and when.
    #[serde(default)]
    pub origin: Origin,
    /// What was run.
    pub plan: Plan,
    /// What the opens came to with no driver loaded.
    pub without_driver: Vec<Open>,
    /// The runs, in order.
    pub runs: Vec<Run>,
    /// What had to be so.
    pub checks: Vec<Check>,
}

/// The files that were written.
#[derive(Clone, Debug)]
pub struct Written {
    /// The page.
    pub page: PathBuf,
    /// The picture.
    pub picture: PathBuf,
    /// The data.
    pub data: PathBuf,
    /// For each run that has one, its whole stack listing.
    pub stacks: Vec<Option<PathBuf>>,
}

impl Report {
    /// The data, indented.
    ///
    /// # Errors
    /// None is known: every map in a report has string keys, and no number is outside JSON's.
    pub fn json(&self) -> Result<String, Environment> {
        serde_json::to_string_pretty(&saved::Document::from(self))
            .map_err(|error| shown::unjson(&error))
    }

    /// The picture, as SVG.
    ///
    /// # Errors
    /// None is known: a template that is written to memory does not fail.
    pub fn picture(&self) -> Result<String, Environment> {
        let mut picture = chart::draw(self.title(), &self.plan, &self.runs);
        picture.standalone = true;
        picture.render().map_err(|error| unwritten(&error))
    }

    /// The page, self-contained.
    ///
    /// # Errors
    /// As [`picture`](Self::picture).
    pub fn page(&self) -> Result<String, Environment> {
        let subject = Subject {
            title: self.title(),
            origin: &self.origin,
            plan: Some(&self.plan),
            runs: &self.runs,
            checks: &self.checks,
            without_driver: &self.without_driver,
            sweep: None,
        };
        page(&subject).map_err(|error| unwritten(&error))
    }

    /// Writes everything into `folder`, which is made where it is not there.
    ///
    /// # Errors
    /// [`Environment::Files`] names the file that could not be written.
    pub fn write(&self, folder: &Path) -> Result<Written, Environment> {
        make(folder)?;
        let name = self.plan.scenario.name();
        let file = |ending: &str| folder.join(format!("{name}{ending}"));
        let written = Written {
            page: file(".html"),
            picture: file(".svg"),
            data: file(".json"),
            stacks: self
                .runs
                .iter()
                .map(|run| {
                    run.told_stack()
                        .map(|_| file(&format!("-{}-stack.txt", run.expand.name().to_lowercase())))
                })
                .collect(),
        };
        write(&written.picture, &self.picture()?)?;
        write(&written.page, &self.page()?)?;
        write(&written.data, &self.json()?)?;
        for (run, path) in self.runs.iter().zip(&written.stacks) {
            if let (Some(stack), Some(path)) = (run.told_stack(), path) {
                let lines: Vec<String> = crate::listing::lines(stack)
                    .into_iter()
                    .map(|(line, _)| line)
                    .collect();
                write(path, &(lines.join("\n") + "\n"))?;
            }
        }
        Ok(written)
    }

    /// What the report is about, in a line.
    #[must_use]
    pub const fn title(&self) -> &'static str {
        self.plan.scenario.title()
    }
}

fn make(folder: &Path) -> Result<(), Environment> {
    fs::create_dir_all(folder).map_err(|error| Environment::Files {
        doing: "making the report's folder",
        path: folder.to_owned(),
        error,
    })
}

fn write(path: &Path, text: &str) -> Result<(), Environment> {
    fs::write(path, text).map_err(|error| Environment::Files {
        doing: "writing",
        path: path.to_owned(),
        error,
    })
}

fn page(subject: &Subject) -> Result<String, askama::Error> {
    Page::of(subject)?.render()
}

fn unwritten(error: &askama::Error) -> Environment {
    Environment::Machine {
        doing: "drawing the report".to_owned(),
        why: error.to_string(),
    }
}
