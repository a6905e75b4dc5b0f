//! `headroom watch`: what is left of the stack, live.

mod plain;
mod screen;
mod snapshot;

use std::io::{self, IsTerminal as _};
use std::time::{Duration, Instant};

use super::follow::Follower;
use super::{Failure, Verdict, say, say_json_line};
use crate::{interrupt, link};
use snapshot::Watcher;
pub use snapshot::{Lowest, Snapshot};

/// What follows the help.
pub const HELP: &str = "\
On a terminal it fills the screen: q ends it, r resets the watermarks, space holds the picture. Elsewhere, and with --plain, it prints a
line each interval; with --json, a JSON object a line. `now` is the interval that has just ended; `since reset` are the watermarks.";

/// How to watch.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Look this often: 500ms, 2s, …
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = interval)]
    pub interval: Duration,

    /// Print a line each interval instead of filling the screen.
    #[arg(long)]
    pub plain: bool,

    /// Print a JSON object each interval.
    #[arg(long, conflicts_with = "plain")]
    pub json: bool,

    /// End after so many intervals.
    #[arg(long, value_name = "N")]
    pub count: Option<u64>,

    /// End after this time: 90s, 10m, …
    #[arg(long = "for", value_name = "TIME", value_parser = humantime::parse_duration)]
    pub time: Option<Duration>,
}

impl Args {
    /// Watches until it is told to end.
    ///
    /// # Errors
    /// [`Failure`]: no driver answers.
    pub fn run(&self) -> Result<Verdict, Failure> {
        let follower = Follower::start(link::connect()?, true)?;
        let watcher = Watcher::new(follower);
        interrupt::heed();
        let on_terminal = io::stdout().is_terminal() && io::stdin().is_terminal();
        let ended = if on_terminal && !self.plain && !self.json {
            screen::run(watcher, self)
        } else {
            self.lines(watcher)
        };
        match ended {
            Err(error) if error.is_over() => {
                eprintln!("The driver was unloaded.");
                Ok(Verdict::Holds)
            }
            ended => ended.map(|()| Verdict::Holds),
        }
    }

    fn lines(&self, mut watcher: Watcher) -> Result<(), Failure> {
        let end = self.time.map(|time| Instant::now() + time);
        let mut lines = 0;
        while !self.over(lines, end) {
            let Some(snapshot) = watcher.interval(self.interval, end)? else {
                return Ok(());
            };
            let goes_on = if self.json {
                say_json_line(&snapshot)?
            } else {
                say(&plain::line(&snapshot, lines))?
            };
            if !goes_on {
                return Ok(());
            }
            lines += 1;
        }
        Ok(())
    }

    fn over(&self, intervals: u64, end: Option<Instant>) -> bool {
        interrupt::asked()
            || self.count.is_some_and(|count| intervals >= count)
            || end.is_some_and(|end| Instant::now() >= end)
    }
}

/// A time that is worth waiting for.
fn interval(text: &str) -> Result<Duration, String> {
    let time = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if (Duration::from_millis(50)..=Duration::from_secs(3600)).contains(&time) {
        Ok(time)
    } else {
        Err("an interval is 50ms to 1h".to_owned())
    }
}
