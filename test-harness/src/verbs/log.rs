//! `headroom log`: the driver's records as they come.

mod entry;
mod form;

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, IsTerminal as _, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::ValueEnum;
use ratatui::crossterm::terminal;

use super::follow::Follower;
use super::{Failure, Verdict};
use crate::table::grouped;
use crate::{interrupt, link};
pub use entry::Entry;
use form::Form;

/// What follows the help.
pub const HELP: &str = "\
It begins with the oldest record that the driver keeps (--new: with the next one), and goes on until Ctrl-C, --count, --for, or until
the driver is unloaded. before, inside, after: bytes of kernel stack left before the expansion, where the inspection began, and after
the return. At its end it says on standard error how many records there were, and how many were lost: overwritten by newer ones before
they could be read.
  headroom log --format jsonl --file records.jsonl --for 10m
  headroom log --new | grep winword.exe";

/// What to write, and where to.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Write to this file instead of the screen: JSON lines, or CSV where its name ends in .csv.
    #[arg(long, value_name = "FILE")]
    pub file: Option<PathBuf>,

    /// Let a file that exists grow.
    #[arg(long, requires = "file")]
    pub append: bool,

    /// How to write them; without it, a table on the screen.
    #[arg(long, value_enum)]
    pub format: Option<Format>,

    /// The same as --format jsonl.
    #[arg(long, conflicts_with = "format")]
    pub json: bool,

    /// Begin with the next record instead of the oldest that the driver keeps.
    #[arg(long)]
    pub new: bool,

    /// End after so many records.
    #[arg(long, value_name = "N")]
    pub count: Option<u64>,

    /// End after this time: 90s, 10m, …
    #[arg(long = "for", value_name = "TIME", value_parser = humantime::parse_duration)]
    pub time: Option<Duration>,
}

/// How to write records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Aligned columns.
    Table,
    /// A JSON object on each line.
    Jsonl,
    /// Comma-separated values, with a line of names.
    Csv,
}

impl Args {
    /// Writes records until it is told to end.
    ///
    /// # Errors
    /// [`Failure`]: no driver answers, or the file cannot be written.
    pub fn run(&self) -> Result<Verdict, Failure> {
        let mut follower = Follower::start(link::connect()?, self.new)?;
        let mut out = self.out()?;
        interrupt::heed();
        let mut written = 0;
        let ended = self.write_all(&mut follower, &mut out, &mut written);
        let closed = out.flush();
        let place = self
            .file
            .as_ref()
            .map_or_else(String::new, |path| format!(" in {}", path.display()));
        let lost = match follower.lost() {
            0 => "none was lost".to_owned(),
            lost => format!("up to {} were lost", grouped(lost)),
        };
        let plural = if written == 1 { "" } else { "s" };
        let told = format!("{} record{plural}{place}; {lost}\n", grouped(written));
        match ended {
            Err(error) if error.is_over() => {
                tell(&format!("The driver was unloaded. {told}"));
            }
            ended => {
                tell(&told);
                ended?;
            }
        }
        closed?;
        Ok(Verdict::Holds)
    }

    fn write_all(
        &self,
        follower: &mut Follower,
        out: &mut Out,
        written: &mut u64,
    ) -> Result<(), Failure> {
        let frequency = follower.frequency();
        let deadline = self.time.map(|time| Instant::now() + time);
        let mut lost = 0;
        loop {
            let records = follower.read()?;
            let quiet = records.is_empty();
            for record in records {
                if self.count.is_some_and(|count| *written >= count) {
                    return Ok(());
                }
                if !out.entry(&Entry::new(&record, frequency))? {
                    return Ok(());
                }
                *written += 1;
            }
            if follower.lost() > lost && !out.lost(follower.lost() - lost)? {
                return Ok(());
            }
            lost = follower.lost();
            let enough = self.count.is_some_and(|count| *written >= count)
                || deadline.is_some_and(|deadline| Instant::now() >= deadline)
                || interrupt::asked();
            if !out.flush()? || enough {
                return Ok(());
            }
            if quiet {
                follower.wait(deadline)?;
            }
        }
    }

    fn out(&self) -> Result<Out, Failure> {
        let is_csv = |path: &Path| {
            path.extension()
                .is_some_and(|extension| extension.eq_ignore_ascii_case("csv"))
        };
        let format = match (self.format, &self.file) {
            (Some(format), _) => format,
            (None, Some(path)) if is_csv(path) && !self.json => Format::Csv,
            (None, Some(_)) => Format::Jsonl,
            (None, None) if self.json => Format::Jsonl,
            (None, None) => Format::Table,
        };
        match &self.file {
            None => Ok(Out::to_screen(format)),
            Some(path) => Out::to_file(path, self.append, format),
        }
    }
}

/// Where the records go.
struct Out {
    form: Form,
    writer: Box<dyn Write>,
    path: Option<PathBuf>,
    begun: bool,
}

impl Out {
    fn to_screen(format: Format) -> Self {
        let width = io::stdout()
            .is_terminal()
            .then(|| terminal::size().map_or(80, |(width, _)| width));
        Self {
            form: Form::new(format, width),
            writer: Box::new(BufWriter::new(anstream::stdout())),
            path: None,
            begun: false,
        }
    }

    fn to_file(path: &Path, append: bool, format: Format) -> Result<Self, Failure> {
        let opened = if append {
            OpenOptions::new().append(true).create(true).open(path)
        } else {
            File::create_new(path)
        };
        let file = opened.map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => Failure::Exists(path.to_owned()),
            _ => Failure::File {
                path: path.to_owned(),
                error,
            },
        })?;
        // A file that grows has its head already.
        let begun = file.metadata().is_ok_and(|about| about.len() > 0);
        Ok(Self {
            form: Form::new(format, None),
            writer: Box::new(BufWriter::new(anstream::StripStream::new(file))),
            path: Some(path.to_owned()),
            begun,
        })
    }

    /// `false`: nobody reads any more.
    fn entry(&mut self, entry: &Entry) -> Result<bool, Failure> {
        let mut text = self.head();
        text.extend(self.form.entry(entry));
        self.put(&text)
    }

    fn lost(&mut self, count: u64) -> Result<bool, Failure> {
        let text = self.form.lost(count);
        self.put(&text)
    }

    fn flush(&mut self) -> Result<bool, Failure> {
        // The names of the columns stand there before the first record comes.
        let head = self.head();
        let put = self.put(&head)?;
        let flushed = self.writer.flush();
        Ok(put && self.readers_left(flushed)?)
    }

    fn head(&mut self) -> Vec<u8> {
        if std::mem::replace(&mut self.begun, true) {
            return Vec::new();
        }
        self.form.head()
    }

    fn put(&mut self, text: &[u8]) -> Result<bool, Failure> {
        let written = self.writer.write_all(text);
        self.readers_left(written)
    }

    fn readers_left(&self, done: io::Result<()>) -> Result<bool, Failure> {
        match (done, &self.path) {
            (Ok(()), _) => Ok(true),
            (Err(error), None) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
            (Err(error), None) => Err(Failure::Output(error)),
            (Err(error), Some(path)) => Err(Failure::File {
                path: path.clone(),
                error,
            }),
        }
    }
}

/// Says something that does not belong to the records.
fn tell(text: &str) {
    let _ = anstream::stderr().write_all(text.as_bytes());
}
