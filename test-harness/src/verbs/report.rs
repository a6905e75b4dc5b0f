//! `headroom report`: pages and pictures from what was saved.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use super::{Failure, Verdict, say};
use crate::backend::Environment;
use crate::report::saved;

/// What follows the help.
pub const HELP: &str = "\
Saved files are the .json that `headroom run` leaves beside its report or prints with --json, and the lines of `headroom log --format
jsonl`. For each, NAME.html is written (self-contained: it can be sent, kept and printed), NAME.svg where there is a picture, and
NAME.summary.json with its numbers.

Exit status: 0 it was written; 2 a file cannot be read or written.";

/// What to show, and where to.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Saved files.
    #[arg(required = true, value_name = "SAVED")]
    pub saved: Vec<PathBuf>,

    /// The folder to write to; without it, each file's own.
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,

    /// Print the numbers as JSON instead of tables.
    #[arg(long)]
    pub json: bool,
}

impl Args {
    /// Reads every file, then writes every page: with one that cannot be read, none is written.
    ///
    /// # Errors
    /// [`Failure`]: a file cannot be read or written.
    pub fn run(&self) -> Result<Verdict, Failure> {
        let all = self
            .saved
            .iter()
            .map(|path| Ok((path, saved::read(path)?)))
            .collect::<Result<Vec<_>, saved::Unreadable>>()?;
        let mut text = String::new();
        let mut summaries = Vec::new();
        let mut names: Vec<PathBuf> = Vec::new();
        for (path, saved) in &all {
            let name = self.name(path, &mut names);
            let mut written = vec![with_ending(&name, ".html")];
            write(&written[0], &saved.page()?)?;
            if let Some(picture) = saved.picture()? {
                written.push(with_ending(&name, ".svg"));
                write(&with_ending(&name, ".svg"), &picture)?;
            }
            let summary = saved.summary();
            written.push(with_ending(&name, ".summary.json"));
            write(&with_ending(&name, ".summary.json"), &summary.json()?)?;
            summaries.push(summary.json()?);
            text += &format!("{}, {}\n\n{}\n", path.display(), saved.kind(), saved.text());
            for path in written {
                text += &format!("wrote {}\n", path.display());
            }
            text.push('\n');
        }
        if self.json {
            text = match summaries.as_slice() {
                [one] => format!("{one}\n"),
                many => format!("[{}]\n", many.join(",\n")),
            };
        }
        say(&format!("{}\n", text.trim_end()))?;
        Ok(Verdict::Holds)
    }

    /// Where a file's page goes, without its ending; two files of one name in different folders are told apart.
    fn name(&self, path: &Path, names: &mut Vec<PathBuf>) -> PathBuf {
        let stem = path
            .file_stem()
            .map_or_else(|| OsString::from("report"), OsString::from);
        let folder = match (&self.out, path.parent()) {
            (Some(out), _) => out.clone(),
            (None, Some(parent)) => parent.to_owned(),
            (None, None) => PathBuf::new(),
        };
        let first = folder.join(&stem);
        let mut name = first.clone();
        for number in 2.. {
            if !names.contains(&name) {
                break;
            }
            name = with_ending(&first, &format!("-{number}"));
        }
        names.push(name.clone());
        name
    }
}

fn with_ending(name: &Path, ending: &str) -> PathBuf {
    let mut name = name.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

fn write(path: &Path, text: &str) -> Result<(), Environment> {
    let failed = |doing, path: &Path, error| Environment::Files {
        doing,
        path: path.to_owned(),
        error,
    };
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(|error| failed("making the folder", folder, error))?;
    }
    fs::write(path, text).map_err(|error| failed("writing", path, error))
}
