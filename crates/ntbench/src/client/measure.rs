//! Having a thread do the same many times over, timed in the machine.

use super::link::protocol;
use super::{Machine, MachineError, Thread};
use crate::wire::{CreateFile, Measure, Measured, PortMessage, Reply, Request, Timing};

impl Thread {
    /// Opens a file so often, and closes it each time. The bench's trace rests meanwhile.
    ///
    /// # Errors
    /// When the machine dies of it, or does not end within its time limit. A failed create is no error but a status.
    pub fn measure_creates(&self, create: &CreateFile, times: u64) -> Result<Timing, MachineError> {
        self.measure(Measured::Create(create.clone()), times)
    }

    /// Calls a function of a driver so often; `address` is what [`Machine::symbol`] gives.
    ///
    /// # Errors
    /// As for [`measure_creates`](Self::measure_creates).
    pub fn measure_routine(
        &self,
        address: u64,
        arguments: &[u64],
        times: u64,
    ) -> Result<Timing, MachineError> {
        let arguments = arguments.to_vec();
        self.measure(Measured::Routine { address, arguments }, times)
    }

    /// Sends these messages, one after the other, so often.
    ///
    /// # Errors
    /// As for [`measure_creates`](Self::measure_creates).
    pub fn measure_messages(
        &self,
        messages: Vec<PortMessage>,
        times: u64,
    ) -> Result<Timing, MachineError> {
        self.measure(Measured::Send(messages), times)
    }

    fn measure(&self, what: Measured, times: u64) -> Result<Timing, MachineError> {
        match self.link.ask(Request::Measure {
            thread: self.info.thread,
            measure: Measure { what, times },
        })? {
            Reply::Measured(timing) => Ok(timing),
            other => Err(protocol("Measure", &other)),
        }
    }
}

impl Machine {
    /// The process id of the machine in its host, for a profiler.
    #[must_use]
    pub fn host_process(&self) -> Option<u32> {
        let state = self.link.shared.lock();
        state.child.as_ref().map(std::process::Child::id)
    }
}
