//! Which threads a machine has, and what they are at.

use std::time::{Duration, Instant};

use super::link::protocol;
use super::{Machine, MachineError};
use crate::wire::{Reply, Request, ThreadState};

impl Machine {
    /// The threads that have not ended, those of the machine itself included.
    ///
    /// # Errors
    /// When the machine is dead.
    pub fn threads(&self) -> Result<Vec<ThreadState>, MachineError> {
        match self.link.ask(Request::Threads)? {
            Reply::Threads(threads) => Ok(threads),
            other => Err(protocol("Threads", &other)),
        }
    }

    /// Looks at the threads again and again until `holds` does, or that time is over: whether it came to hold. For a test that needs
    /// somebody to wait, or to be gone, before it goes on.
    ///
    /// # Errors
    /// When the machine is dead.
    pub fn await_threads(
        &self,
        limit: Duration,
        holds: impl Fn(&[ThreadState]) -> bool,
    ) -> Result<bool, MachineError> {
        let began = Instant::now();
        loop {
            if holds(&self.threads()?) {
                return Ok(true);
            }
            if began.elapsed() > limit {
                return Ok(false);
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}
