//! The program: what it is asked for, and what it does with what it measured.
//!
//! `rig` makes the machines, `rows` says what is measured on them, `sample` takes the samples, `aims` judges, `table` and
//! `page` show, `result` keeps; `scale` and what is below it measures how costs grow.

mod aims;
mod drain;
mod page;
mod result;
mod rig;
mod rows;
mod sample;
mod scale;
mod table;
mod worst;

use std::io::{IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::Parser;

use aims::Rigour;
use result::{Measured, Results};
use rig::{FILE, Workshop};
use rows::About;
use sample::{Effort, Spread};

/// Measure what a create costs with the driver and without it, in ntbench
#[derive(Parser)]
#[command(name = "headroom-bench")]
struct Cli {
    /// The driver
    #[arg(long, value_name = "SYS")]
    driver: PathBuf,
    /// The empty filter, examples/yardstick
    #[arg(long, value_name = "SYS")]
    yardstick: PathBuf,
    /// Measure little, to see that every row can be measured; no aim that is missed fails such a run
    #[arg(long)]
    quick: bool,
    /// Rounds; each takes one sample of every row
    #[arg(long, value_name = "N")]
    rounds: Option<u32>,
    /// Only rows whose name contains this
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
    /// Measure how costs grow instead, and draw it
    #[arg(long)]
    scale: bool,
    /// Where the figures go
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Say what changed since that run
    #[arg(long, value_name = "FILE")]
    compare: Option<PathBuf>,
    /// Where pictures go
    #[arg(long, value_name = "FOLDER")]
    images: Option<PathBuf>,
    /// Put the figures into this page, between its marks, and pictures into the folder `images` beside it
    #[arg(long, value_name = "FILE")]
    page: Option<PathBuf>,
}

/// Runs the program.
pub(crate) fn main() -> ExitCode {
    match run(&Cli::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("headroom-bench: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// Measures; whether all aims hold.
fn run(cli: &Cli) -> Result<bool> {
    // Before the work, so that a mistake in them costs no time.
    let before = cli.compare.as_deref().map(Results::read).transpose()?;
    for image in [&cli.driver, &cli.yardstick] {
        if !image.is_file() {
            anyhow::bail!(
                "there is no {}; `cargo xtask bench` builds it",
                image.display()
            );
        }
    }
    let folder = tempfile::tempdir().context("cannot make a folder for the machines")?;
    std::fs::write(folder.path().join(FILE), "opened, never read")?;
    let workshop = Workshop {
        headroom: cli.driver.clone(),
        yardstick: cli.yardstick.clone(),
        folder: folder.path().to_owned(),
    };
    let effort = match (cli.quick, cli.rounds) {
        (true, rounds) => Effort {
            rounds: rounds.unwrap_or(12),
            sample: 7e5,
            time: Duration::from_secs(20),
        },
        (false, rounds) => Effort {
            rounds: rounds.unwrap_or(60),
            // Short enough for a good part of the samples to go by undisturbed where other programs run, too.
            sample: if cli.scale { 1e6 } else { 3e6 },
            time: Duration::from_secs(if cli.scale { 75 } else { 240 }),
        },
    };
    let mut results = Results::new();
    if !results.host.optimised {
        println!("ntbench was compiled without optimisation: ratios tell something, times do not");
    }
    let only = |id: &str| cli.only.as_ref().is_none_or(|text| id.contains(text));
    if cli.scale {
        results.curves = scale::measure(&workshop, effort, &only)?;
        print!("{}", scale::plain(&results.curves));
        let beside = |page: &PathBuf| page.with_file_name("images");
        let images = cli.images.clone().or(cli.page.as_ref().map(beside));
        if let Some(images) = images {
            scale::draw(&results.curves, &images)?;
        }
    } else {
        (results.rows, results.rounds) = measure(&workshop, effort, &only)?;
        let rigour = if cli.quick {
            Rigour::Ratios
        } else {
            Rigour::Whole
        };
        results.aims = aims::judge(&results, rigour);
        print!("{}{}", table::plain(&results), table::aims(&results.aims));
        if cli.quick {
            println!(
                "  so few samples tell no more than that all can be measured: a missed aim fails no quick run"
            );
        }
    }
    if let Some(before) = &before {
        print!("{}", table::compared(before, &results, &only));
    }
    if let Some(json) = &cli.json {
        results.write(json)?;
        println!("\nwrote {}", json.display());
    }
    if let Some(page) = &cli.page {
        page::update(page, &results)?;
        println!("updated {}", page.display());
    }
    // How long something takes on a machine that does other things, too, says nothing about the driver.
    let held = results.aims.iter().all(|aim| aim.holds)
        && results.curves.iter().all(scale::Curve::as_expected);
    Ok(cli.quick || held)
}

/// Takes the samples of all rows.
fn measure(
    workshop: &Workshop,
    effort: Effort,
    only: &impl Fn(&str) -> bool,
) -> Result<(Vec<Measured>, usize)> {
    let (rows, mut probes): (Vec<About>, Vec<_>) = rows::all(workshop, only)?
        .into_iter()
        .filter(|row| only(row.about.id))
        .map(|row| (row.about, (row.probe, row.times)))
        .unzip();
    let samples = sample::rounds(&mut probes, effort, |round| {
        progress(round, effort.rounds);
    })?;
    let ratio = |row: &About, own: &[f64]| {
        let base = row.base?;
        let at = rows.iter().position(|other| other.id == base)?;
        let ratio = Spread::of(own).lower / Spread::of(&samples[at]).lower;
        Some((base.to_owned(), ratio))
    };
    let measured = rows.iter().zip(&samples).map(|(row, own)| Measured {
        id: row.id.to_owned(),
        group: row.group.to_owned(),
        text: row.text.to_owned(),
        nanoseconds: Spread::of(own),
        ratio: ratio(row, own),
        caller: row.stack.map(|stack| stack.caller),
        reserved: row.stack.map(|stack| stack.reserved),
        counted: row.counted,
    });
    Ok((measured.collect(), samples.first().map_or(0, Vec::len)))
}

/// Says how far it is, where somebody watches.
fn progress(round: u32, rounds: u32) {
    let mut error = std::io::stderr();
    if error.is_terminal() {
        let _ = write!(error, "\rround {round} of {rounds} ");
        if round == rounds {
            let _ = writeln!(error);
        }
        let _ = error.flush();
    }
}
