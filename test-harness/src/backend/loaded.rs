//! The machine in the background as the machine of a run: `headroom run --loaded`. Each thread is a process of its own there.

use ntbench::wire::{StackKind, ThreadSpec};

use super::bench::doing;
use super::recording::{Recording, refused};
use super::{Call, Environment, Machine, Returned, Setup, Stopped, System, Thread, Told};
use crate::machine::{Connection, MachineError};

/// The processes that open, told from those of the machine's own traffic by their name.
const PROCESS: &str = "headroom-run.exe";

/// A run on the machine in the background.
pub struct Loaded {
    stack: StackKind,
    recording: Recording,
    counted: bool,
}

/// A connection with one thread.
struct Opener {
    connection: Connection,
    thread: usize,
}

impl Loaded {
    /// Puts the run's settings in force.
    ///
    /// # Errors
    /// [`Stopped`]: no machine, or its driver does not answer.
    pub fn start(setup: &Setup) -> Result<Self, Stopped> {
        let recording = Recording::start(setup.driver.as_ref()).map_err(|error| refused(&error))?;
        Ok(Self {
            stack: if setup.large_stack {
                StackKind::Large
            } else {
                StackKind::Ordinary
            },
            recording,
            counted: setup.driver.is_some(),
        })
    }
}

impl Machine for Loaded {
    fn system(&self) -> System {
        System::Ntbench
    }

    fn thread(&self) -> Result<Box<dyn Thread>, Stopped> {
        let doing = "starting a thread on the machine in the background";
        let mut connection = Connection::open().map_err(|error| stopped(doing, error))?;
        let spec = ThreadSpec {
            process_image: PROCESS.to_owned(),
            process: 0,
            stack: self.stack,
        };
        let thread = connection
            .thread(spec)
            .map_err(|error| stopped(doing, error))?;
        Ok(Box::new(Opener { connection, thread }))
    }

    fn finish(self: Box<Self>) -> Result<Told, Stopped> {
        let told = self
            .recording
            .finish(|record| record.image() == PROCESS.as_bytes())?;
        Ok(if self.counted { told } else { Told::default() })
    }
}

impl Thread for Opener {
    fn call(&mut self, call: &Call) -> Result<Returned, Stopped> {
        self.connection
            .call(self.thread, call)
            .map_err(|error| stopped(&doing(call), error))
    }
}

fn stopped(doing: &str, error: MachineError) -> Stopped {
    match error {
        MachineError::BugCheck(bug_check) => Stopped::BugCheck(bug_check, Box::default()),
        other => Environment::Machine {
            doing: doing.to_owned(),
            why: other.to_string(),
        }
        .into(),
    }
}
