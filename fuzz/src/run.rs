//! A run of very many inputs, in processes that may die of one.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::worker::Share;
use crate::{Target, corpus, input};

/// Inputs between two notes of progress.
const BLOCK: u64 = 64;
/// How long a worker may take for one block.
const PATIENCE: Duration = Duration::from_secs(300);
/// How long one input may take.
const SINGLE: Duration = Duration::from_secs(60);

/// What to run.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// What inputs are made from.
    pub seed: u64,
    /// How many.
    pub count: u64,
    /// In how many processes.
    pub jobs: u64,
}

/// How a run ended.
#[derive(Debug)]
pub enum End {
    /// Every input was read.
    Passed,
    /// One ended the process that read it.
    Broke(Broken),
}

/// An input that ended the process that read it.
#[derive(Debug)]
pub struct Broken {
    /// Its number, in a run of the same seed.
    pub number: u64,
    /// The input.
    pub bytes: Vec<u8>,
    /// How the process ended, and what it said.
    pub told: String,
}

/// Ways of a run to fail by itself.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Of the host.
    #[error("fuzzing {target}: {doing}: {error}")]
    Host {
        /// What was fuzzed.
        target: &'static str,
        /// What failed.
        doing: &'static str,
        /// Why.
        error: io::Error,
    },
}

/// Runs a target: `count` inputs, in `jobs` processes of the executable at `program`, which is this crate's command.
///
/// # Errors
/// The host's, in starting processes or reading the corpus.
pub fn run(program: &Path, target: &'static Target, plan: Plan) -> Result<End, RunError> {
    let host = |doing| {
        move |error| RunError::Host {
            target: target.name,
            doing,
            error,
        }
    };
    let folder = tempfile::tempdir().map_err(host("making a temporary folder"))?;
    let part = plan.count.div_ceil(plan.jobs.max(1));
    let mut workers = Vec::new();
    for index in 0..plan.jobs.max(1) {
        let (first, end) = (index * part, ((index + 1) * part).min(plan.count));
        if first < end {
            let share = Share {
                seed: plan.seed,
                first,
                end,
                block: BLOCK,
            };
            let progress = folder.path().join(index.to_string());
            workers.push(
                Worker::start(program, target, share, progress)
                    .map_err(host("starting a worker"))?,
            );
        }
    }
    let mut broken = None;
    while !workers.is_empty() && broken.is_none() {
        std::thread::sleep(Duration::from_millis(20));
        let mut going = Vec::new();
        for mut worker in workers {
            match worker.look(PATIENCE).map_err(host("watching a worker"))? {
                State::Running => going.push(worker),
                State::Done => {}
                State::Ended(told) => broken = Some((worker, told)),
            }
        }
        workers = going;
    }
    // The others have nothing to say that matters now.
    for worker in &mut workers {
        worker.end();
    }
    let Some((worker, told)) = broken else {
        return Ok(End::Passed);
    };
    let seeds = corpus::all(target).map_err(host("reading the corpus"))?;
    let (number, told) =
        culprit(program, target, &worker, &told).map_err(host("looking for the input"))?;
    let mut bytes = Vec::new();
    input(target, &seeds, plan.seed, number, &mut bytes);
    Ok(End::Broke(Broken {
        number,
        bytes,
        told,
    }))
}

/// The input of a block that ended the worker: the block again, with every input noted.
fn culprit(
    program: &Path,
    target: &'static Target,
    worker: &Worker,
    told: &str,
) -> io::Result<(u64, String)> {
    let first = worker.at();
    let share = Share {
        first,
        end: (first + BLOCK).min(worker.share.end),
        block: 1,
        ..worker.share
    };
    let progress = worker.progress.with_extension("again");
    let mut again = Worker::start(program, target, share, progress)?;
    loop {
        std::thread::sleep(Duration::from_millis(5));
        match again.look(SINGLE)? {
            State::Running => {}
            State::Ended(told) => return Ok((again.at(), told)),
            // A state that built up over many inputs, as a driver's may.
            State::Done => {
                return Ok((first, format!("{told}\n(not when its block is read alone)")));
            }
        }
    }
}

enum State {
    Running,
    Done,
    Ended(String),
}

struct Worker {
    share: Share,
    child: Child,
    progress: PathBuf,
    said: PathBuf,
    seen: (u64, Instant),
}

impl Worker {
    fn start(program: &Path, target: &Target, share: Share, progress: PathBuf) -> io::Result<Self> {
        let said = progress.with_extension("said");
        fs::write(&progress, share.first.to_le_bytes())?;
        let child = Command::new(program)
            .args(["worker", target.name])
            .arg("--progress")
            .arg(&progress)
            .args(["--seed", &share.seed.to_string()])
            .args(["--first", &share.first.to_string()])
            .args(["--end", &share.end.to_string()])
            .args(["--block", &share.block.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(&said)?)
            .spawn()?;
        Ok(Self {
            share,
            child,
            progress,
            said,
            seen: (share.first, Instant::now()),
        })
    }

    /// The first input that may not have been read yet.
    fn at(&self) -> u64 {
        let bytes = fs::read(&self.progress).ok();
        let number = bytes.and_then(|bytes| bytes.get(..8)?.try_into().ok());
        number.map_or(self.share.first, u64::from_le_bytes)
    }

    fn look(&mut self, patience: Duration) -> io::Result<State> {
        if let Some(status) = self.child.try_wait()? {
            if status.success() {
                return Ok(State::Done);
            }
            let said = fs::read_to_string(&self.said).unwrap_or_default();
            return Ok(State::Ended(format!("{status}\n{}", said.trim_end())));
        }
        let at = self.at();
        if at != self.seen.0 {
            self.seen = (at, Instant::now());
        } else if self.seen.1.elapsed() > patience {
            self.end();
            return Ok(State::Ended(format!(
                "no end after {} s",
                patience.as_secs()
            )));
        }
        Ok(State::Running)
    }

    fn end(&mut self) {
        // One that has ended already is ended enough.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Whether an input ends the process that reads it, and what that said.
///
/// # Errors
/// The host's.
pub fn breaks(program: &Path, target: &Target, file: &Path) -> io::Result<Option<String>> {
    let mut child = Command::new(program)
        .args(["replay", target.name])
        .arg(file)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()?;
    let start = Instant::now();
    while child.try_wait()?.is_none() {
        if start.elapsed() > SINGLE {
            child.kill()?;
            child.wait()?;
            return Ok(Some(format!("no end after {} s", SINGLE.as_secs())));
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    let output = child.wait_with_output()?;
    if output.status.success() {
        return Ok(None);
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Ok(Some(format!("{}\n{}", output.status, said.trim_end())))
}
