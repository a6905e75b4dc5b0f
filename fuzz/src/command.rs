//! The command line.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use clap::{Parser, Subcommand};
use fuzz::run::{End, Plan};
use fuzz::worker::{Share, limit};
use fuzz::{TARGETS, Target, corpus, minimise, run, worker};

/// Fuzz whatever reads what others wrote.
#[derive(Parser)]
#[command(name = "fuzz")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// The targets, and how many inputs each starts from
    List,
    /// Read seeded inputs; the same seed gives the same inputs
    Run {
        /// Targets; without any, all
        targets: Vec<String>,
        /// How many inputs each reads; without it, each target's short run
        #[arg(long)]
        count: Option<u64>,
        /// What the inputs are made from
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// Processes at a time
        #[arg(long, default_value_t = 2)]
        jobs: u64,
        /// Where an input that breaks something is kept; without it, the corpus
        #[arg(long)]
        keep: Option<PathBuf>,
    },
    /// Read single inputs
    Replay {
        /// The target
        target: String,
        /// The inputs
        files: Vec<PathBuf>,
    },
    /// Make an input that breaks something smaller
    Minimise {
        /// The target
        target: String,
        /// The input; the smaller one takes its place
        file: PathBuf,
    },
    /// Write all that a target starts from into a folder
    Seeds {
        /// The target
        target: String,
        /// The folder
        folder: PathBuf,
    },
    /// Read a share of a run's inputs
    #[command(hide = true)]
    Worker {
        target: String,
        #[arg(long)]
        seed: u64,
        #[arg(long)]
        first: u64,
        #[arg(long)]
        end: u64,
        #[arg(long)]
        block: u64,
        #[arg(long)]
        progress: PathBuf,
    },
}

pub(crate) fn main() -> ExitCode {
    match execute(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn execute(command: Command) -> Result<()> {
    match command {
        Command::List => {
            for target in TARGETS {
                let (seeds, guided) = (
                    corpus::all(target)?.len(),
                    if target.guided {
                        ""
                    } else {
                        ", seeded runs only"
                    },
                );
                println!(
                    "{:<12} {} ({seeds} inputs to start from{guided})",
                    target.name, target.about
                );
            }
            Ok(())
        }
        Command::Run {
            targets,
            count,
            seed,
            jobs,
            keep,
        } => {
            let named = targets
                .iter()
                .map(|name| named(name))
                .collect::<Result<Vec<_>>>()?;
            let all = TARGETS.iter().collect();
            let chosen: Vec<&'static Target> = if named.is_empty() { all } else { named };
            let mut broken = Vec::new();
            for target in chosen {
                let plan = Plan {
                    seed,
                    count: count.unwrap_or(target.quick),
                    jobs,
                };
                if !one(target, plan, keep.as_deref())? {
                    broken.push(target.name);
                }
            }
            if !broken.is_empty() {
                bail!("inputs broke {}", broken.join(", "));
            }
            Ok(())
        }
        Command::Replay { target, files } => {
            let target = named(&target)?;
            limit(target)?;
            for file in files {
                (target.check)(&fs::read(&file).with_context(|| file.display().to_string())?);
            }
            Ok(())
        }
        Command::Minimise { target, file } => {
            let target = named(&target)?;
            let program = std::env::current_exe()?;
            let bytes = fs::read(&file).with_context(|| file.display().to_string())?;
            if run::breaks(&program, target, &file)?.is_none() {
                bail!("{}: {} reads it", file.display(), target.name);
            }
            let smaller = minimise::minimise(&program, target, bytes.clone())?;
            println!("{} bytes of {}", smaller.len(), bytes.len());
            Ok(fs::write(&file, smaller)?)
        }
        Command::Seeds { target, folder } => {
            fs::create_dir_all(&folder)?;
            for (index, seed) in corpus::all(named(&target)?)?.iter().enumerate() {
                fs::write(folder.join(format!("seed-{index:03}")), &seed.bytes)?;
            }
            Ok(())
        }
        Command::Worker {
            target,
            seed,
            first,
            end,
            block,
            progress,
        } => Ok(worker::run(
            named(&target)?,
            Share {
                seed,
                first,
                end,
                block,
            },
            &progress,
        )?),
    }
}

fn named(name: &str) -> Result<&'static Target> {
    let names = || {
        TARGETS
            .iter()
            .map(|target| target.name)
            .collect::<Vec<_>>()
            .join(", ")
    };
    fuzz::target(name).with_context(|| format!("there is no target {name}; there are {}", names()))
}

/// Runs one target and prints a line; an input that breaks it is made smaller and kept. Returns whether all were read.
fn one(target: &'static Target, plan: Plan, keep: Option<&Path>) -> Result<bool> {
    if !target.guided && !fuzz::targets::has_driver() {
        println!(
            "{:<12} skipped: HEADROOM_SYS names no driver to run",
            target.name
        );
        return Ok(true);
    }
    let program = std::env::current_exe()?;
    let start = Instant::now();
    let end = run::run(&program, target, plan)?;
    let seconds = start.elapsed().as_secs_f64();
    let broken = match end {
        End::Passed => {
            #[expect(clippy::cast_precision_loss, reason = "for people")]
            let rate = plan.count as f64 / seconds.max(0.001);
            println!(
                "{:<12} {:>10} inputs in {seconds:>6.1} s, {rate:>8.0} a second",
                target.name, plan.count
            );
            return Ok(true);
        }
        End::Broke(broken) => broken,
    };
    println!(
        "{:<12} BROKEN by input {} of seed {}: {}",
        target.name, broken.number, plan.seed, broken.told
    );
    let folder = keep.map_or_else(|| corpus::folder(target), Path::to_owned);
    fs::create_dir_all(&folder)?;
    let file = folder.join(format!("broke-{:x}-{}", plan.seed, broken.number));
    let smaller = minimise::minimise(&program, target, broken.bytes)?;
    fs::write(&file, &smaller)?;
    println!(
        "kept, as {} bytes: {}\nagain: fuzz replay {} {}",
        smaller.len(),
        file.display(),
        target.name,
        file.display()
    );
    Ok(false)
}
