//! What happens around a scenario while it runs: Ctrl-C, time, and how far it has come.

use std::io::{IsTerminal as _, stderr};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use crate::backend::Stopped;
use crate::interrupt;

/// How often a bar that nothing moves is drawn.
const TICK: Duration = Duration::from_millis(120);

/// Watches over the runs of one command.
#[derive(Debug)]
pub struct Control {
    bar: ProgressBar,
}

impl Control {
    /// Shows nothing and is never interrupted by the terminal: for tests, and for machines that run in the background.
    #[must_use]
    pub fn quiet() -> Self {
        Self {
            bar: ProgressBar::hidden(),
        }
    }

    /// Shows progress if standard error is a terminal, and lets Ctrl-C end the runs: the first one orderly, the second at
    /// once.
    #[must_use]
    pub fn of_program() -> Self {
        interrupt::heed();
        let control = Self::quiet();
        if !stderr().is_terminal() {
            return control;
        }
        let bar = ProgressBar::new_spinner();
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}  {pos} calls  {elapsed}") {
            bar.set_style(style);
        }
        bar.enable_steady_tick(TICK);
        Self { bar }
    }

    /// Says what is being done now.
    pub fn say(&self, what: String) {
        self.bar.set_message(what);
        self.bar.set_position(0);
    }

    /// Another call has returned.
    pub(super) fn advance(&self) {
        self.bar.inc(1);
    }

    /// Whether Ctrl-C was pressed.
    #[must_use]
    pub fn is_interrupted(&self) -> bool {
        interrupt::asked()
    }

    /// Ends what is under way if Ctrl-C was pressed.
    pub(super) fn check(&self) -> Result<(), Stopped> {
        if self.is_interrupted() {
            Err(Stopped::Interrupted)
        } else {
            Ok(())
        }
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// How long a thread goes on.
#[derive(Clone, Copy, Debug)]
pub(super) enum Rounds {
    /// So many times.
    Count(u32),
    /// Until then; a round that has begun is finished.
    Until(Instant),
}

impl Rounds {
    /// Whether there is another round after so many.
    pub(super) fn goes_on(self, done: u32) -> bool {
        match self {
            Self::Count(count) => done < count,
            Self::Until(end) => Instant::now() < end,
        }
    }
}
