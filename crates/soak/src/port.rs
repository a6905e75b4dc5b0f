//! A client of the driver's port over the machine's, so that the harness's own client speaks.

use std::time::Duration;

use headroom_harness::link::{Client, Link, LinkError, error_of};
use ntbench::{MachineError, Port, Thread};
use protocol::NtStatus;
use protocol::port::PORT_NAME;

/// A connection.
pub(crate) struct Wire(Port);

impl Wire {
    /// Connects on that thread.
    pub(crate) fn open(thread: &Thread, context: &[u8]) -> Result<Self, LinkError> {
        match thread.connect_port(PORT_NAME, context).map_err(dead)? {
            Ok(port) => Ok(Self(port)),
            Err(status) => Err(error_of(foreign(status))),
        }
    }

    /// The port, to be misused.
    pub(crate) fn port(&self) -> &Port {
        &self.0
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        // What has ended by itself, with the driver, need not be closed.
        let _ = self.0.clone().close();
    }
}

impl Link for Wire {
    fn send(&mut self, message: &[u8], room: usize) -> Result<Vec<u8>, LinkError> {
        let room = u32::try_from(room).unwrap_or(u32::MAX);
        let (status, bytes) = self.0.send(message, room).map_err(dead)?;
        if status.is_success() {
            Ok(bytes)
        } else {
            Err(error_of(foreign(status)))
        }
    }

    fn next(&mut self, room: usize, limit: Duration) -> Result<Option<Vec<u8>>, LinkError> {
        let room = u32::try_from(room).unwrap_or(u32::MAX);
        let answer = self.0.get_message(room, Some(limit)).map_err(dead)?;
        match foreign(answer.status) {
            NtStatus::SUCCESS => Ok(Some(answer.bytes)),
            // STATUS_TIMEOUT is a success code.
            status if status.is_success() => Ok(None),
            status => Err(error_of(status)),
        }
    }
}

/// The harness's client on that thread.
pub(crate) fn connect(thread: &Thread) -> Result<Client, LinkError> {
    Client::connect(|context| Ok(Box::new(Wire::open(thread, context)?)))
}

pub(crate) fn foreign(status: ntbench::NtStatus) -> NtStatus {
    NtStatus(status.0.cast_unsigned())
}

/// The machine is dead: whoever has it will find out why.
#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn dead(error: MachineError) -> LinkError {
    LinkError::System(error.to_string())
}
