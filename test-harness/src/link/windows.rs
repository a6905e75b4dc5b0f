//! The port of the driver that Windows has loaded, through the Filter Manager's user library.

use std::time::Duration;

use protocol::NtStatus;
use protocol::port::PORT_NAME;
use winuser::port::{Port as Handle, Waited};
use winuser::{Code, Error, Wide};

use super::{Link, LinkError, error_of};

/// A connection.
pub struct Port(Handle);

impl Port {
    /// Connects, with that context.
    ///
    /// # Errors
    /// [`LinkError`]: no driver, no rights, another version, no free connection.
    pub fn open(context: &[u8]) -> Result<Self, LinkError> {
        let name = Wide::new(PORT_NAME).map_err(|error| failed(&error))?;
        Handle::connect(&name, context)
            .map(Self)
            .map_err(|error| failed(&error))
    }
}

impl Link for Port {
    fn send(&mut self, message: &[u8], room: usize) -> Result<Vec<u8>, LinkError> {
        let mut reply = vec![0; room];
        let written = self
            .0
            .send(message, &mut reply)
            .map_err(|error| failed(&error))?;
        reply.truncate(written);
        Ok(reply)
    }

    fn next(&mut self, room: usize, limit: Duration) -> Result<Option<Vec<u8>>, LinkError> {
        match self
            .0
            .wait(room, Some(limit))
            .map_err(|error| failed(&error))?
        {
            Waited::Message(message) => Ok(Some(message.body)),
            Waited::TimedOut | Waited::Stopped => Ok(None),
        }
    }
}

/// The Win32 errors that stand for the statuses that a port gives, as the Filter Manager's user library returns them.
pub(crate) fn failed(error: &Error) -> LinkError {
    match (error, error.win32()) {
        (
            Error::Refused {
                code: Code::Status(status),
                ..
            },
            _,
        ) => error_of(*status),
        // ERROR_FILE_NOT_FOUND
        (_, Some(2)) => LinkError::NotLoaded,
        // ERROR_ACCESS_DENIED, ERROR_ELEVATION_REQUIRED, ERROR_PRIVILEGE_NOT_HELD
        (_, Some(5 | 740 | 1314)) => LinkError::Denied,
        // ERROR_REVISION_MISMATCH
        (_, Some(1306)) => LinkError::Version,
        // ERROR_CONNECTION_COUNT_LIMIT
        (_, Some(1238)) => error_of(NtStatus(0xc000_0246)),
        // ERROR_INVALID_HANDLE: what STATUS_PORT_DISCONNECTED becomes
        (_, Some(6)) => LinkError::Gone,
        _ => LinkError::System(error.to_string()),
    }
}
