//! Plays rounds until the time is over, something does not hold, or the user has had enough.

use std::io::{self, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser as _;
use headroom_harness::backend::bench::{INSTANCE, SERVICE};
use headroom_harness::interrupt;
use indicatif::{ProgressBar, ProgressStyle};
use ntbench::wire::{DriverSpec, InstanceSpec};

use crate::args::Args;
use crate::round::{Outcome, Round};
use crate::tally::Tally;
use crate::trouble::Subject;

/// Why it could not be tried.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(
        "there is no driver at {}: build one with `cargo xtask build`, or name another with --driver",
        .0.display()
    )]
    NoDriver(PathBuf),
    #[error(transparent)]
    Inf(#[from] inf::Error),
    #[error("cannot write {}: {error}", path.display())]
    Write { path: PathBuf, error: io::Error },
    #[error("the summary cannot be written: {0}")]
    Json(#[from] serde_json::Error),
}

/// The program.
pub(crate) fn main() -> ExitCode {
    let args = Args::parse();
    match run(&args) {
        Ok(tally) if tally.broken.is_some() => ExitCode::FAILURE,
        Ok(tally) if tally.interrupted => ExitCode::from(130),
        Ok(_) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("soak: {error}");
            ExitCode::from(2)
        }
    }
}

fn run(args: &Args) -> Result<Tally, Error> {
    let subject = subject(args)?;
    interrupt::heed();
    let mut tally = Tally {
        driver: file_name(&args.driver),
        seed: args.seed,
        threads: args.threads,
        ..Tally::default()
    };
    let began = Instant::now();
    let shown = Shown::new(args.limit());
    let mut number = args.round.unwrap_or(0);
    let last = match (args.round, args.rounds) {
        (Some(only), _) => only + 1,
        (None, Some(rounds)) => rounds,
        (None, None) => u64::MAX,
    };
    while number < last
        && tally.broken.is_none()
        && !interrupt::asked()
        && args.limit().is_none_or(|limit| began.elapsed() < limit)
    {
        let (threads, order) = args.programs(number);
        let round = Round {
            seed: args.seed,
            number,
            threads,
            order,
            stretches: args.stretches,
            acts: args.acts,
            defect: args.inject,
        };
        let outcome = round.play(&subject, &|outcome| {
            shown.tell(&round, &tally, outcome, began);
        });
        tally.add(&round, outcome, args.replay(number));
        number += 1;
    }
    tally.finish(began.elapsed(), interrupt::asked());
    shown.clear();
    let json = serde_json::to_string_pretty(&tally)? + "\n";
    save(&args.out, &json)?;
    let text = if args.json { json } else { tally.text() };
    // A reader that has seen enough changes nothing about the verdict.
    let _ = anstream::stdout().write_all(text.as_bytes());
    Ok(tally)
}

fn save(folder: &Path, json: &str) -> Result<(), Error> {
    let path = folder.join("soak.json");
    let written = std::fs::create_dir_all(folder).and_then(|()| std::fs::write(&path, json));
    written.map_err(|error| Error::Write { path, error })
}

fn file_name(path: &Path) -> String {
    path.file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

/// What is loaded: Headroom by its name, any other driver by its INF or with one instance.
fn subject(args: &Args) -> Result<Subject, Error> {
    if !args.driver.is_file() {
        return Err(Error::NoDriver(args.driver.clone()));
    }
    let stem = args.driver.file_stem().unwrap_or_default();
    let ours = args.inf.is_none() && stem == SERVICE;
    let spec = match &args.inf {
        Some(file) => {
            let installed = inf::read(file).and_then(|inf| {
                inf::minifilter(&inf, inf::Architecture::Amd64, ntbench::wire::WINDOWS_BUILD)
            });
            let service = installed.map_err(|error| error.in_file(file))?;
            DriverSpec::installed(&args.driver, &service)
        }
        None => {
            let (name, altitude) = INSTANCE;
            DriverSpec {
                image: args.driver.clone(),
                service: stem.to_string_lossy().into_owned(),
                instances: vec![InstanceSpec {
                    name: name.to_owned(),
                    altitude: altitude.to_owned(),
                    flags: 0,
                }],
                ..DriverSpec::default()
            }
        }
    };
    Ok(Subject { spec, ours })
}

/// What a terminal shows meanwhile.
struct Shown(ProgressBar, Option<Duration>);

impl Shown {
    fn new(limit: Option<Duration>) -> Self {
        let bar = if io::stderr().is_terminal() {
            let length = limit.map(|limit| limit.as_secs());
            let template = if length.is_some() {
                "{elapsed_precise} {bar:24} {msg}"
            } else {
                "{elapsed_precise} {msg}"
            };
            ProgressBar::new(length.unwrap_or(0)).with_style(
                ProgressStyle::with_template(template)
                    .unwrap_or_else(|_| ProgressStyle::default_bar()),
            )
        } else {
            ProgressBar::hidden()
        };
        Self(bar, limit)
    }

    fn tell(&self, round: &Round, tally: &Tally, outcome: &Outcome, began: Instant) {
        let creates = tally.creates_seen + outcome.creates;
        if self.1.is_some() {
            self.0.set_position(began.elapsed().as_secs());
        }
        self.0.set_message(format!(
            "round {}, stretch {} of {}; {} creates seen, {} acts compared",
            round.number,
            outcome.stretches,
            round.stretches,
            headroom_harness::table::grouped(creates),
            headroom_harness::table::grouped(tally.acts_compared + outcome.acts),
        ));
        self.0.tick();
    }

    fn clear(&self) {
        self.0.finish_and_clear();
    }
}
