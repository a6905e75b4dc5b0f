//! The driver's communication port as a program sees it.
//!
//! [`Link`] is one connection, whatever carries it: on Windows the Filter Manager's user library (`windows`), on Linux the machine in
//! the background, whose Filter Manager is ntbench's (`crate::machine::Port`). On it stands [`Client`], which speaks the protocol: each
//! request with its reply, or a [`LinkError`] that says what to do.

mod client;
mod error;
#[cfg(windows)]
pub mod windows;

use std::time::Duration;

use protocol::NtStatus;

pub use client::{Client, Drained, Instance};
pub use error::LinkError;

/// One connection to the port. Dropped, it is closed.
pub trait Link: Send {
    /// Sends a message, and gives back what the driver wrote into a reply of at most `room` bytes.
    ///
    /// # Errors
    /// [`LinkError`] where it could not be delivered.
    fn send(&mut self, message: &[u8], room: usize) -> Result<Vec<u8>, LinkError>;

    /// The next message that the driver sends of its own accord, of at most `room` bytes; `None`: none came in time.
    ///
    /// # Errors
    /// [`LinkError`] where none will come any more.
    fn next(&mut self, room: usize, limit: Duration) -> Result<Option<Vec<u8>>, LinkError>;
}

/// Connects to the driver that is loaded here: on Windows to the system's, elsewhere to that of the machine in the background.
///
/// # Errors
/// [`LinkError`]: no driver, no rights, another version, no free connection.
pub fn connect() -> Result<Client, LinkError> {
    Client::connect(open)
}

/// Opens a connection with that context.
#[cfg(windows)]
fn open(context: &[u8]) -> Result<Box<dyn Link>, LinkError> {
    Ok(Box::new(windows::Port::open(context)?))
}

/// Opens a connection with that context.
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
fn open(context: &[u8]) -> Result<Box<dyn Link>, LinkError> {
    let machine = crate::machine::Connection::open()?;
    Ok(Box::new(machine.port(context)?))
}

/// Opens a connection with that context: there is none to open.
#[cfg(not(any(windows, all(target_os = "linux", target_arch = "x86_64"))))]
fn open(_context: &[u8]) -> Result<Box<dyn Link>, LinkError> {
    Err(LinkError::NoMachine)
}

/// What a status of the port's functions means for whoever called them.
#[must_use]
pub fn error_of(status: NtStatus) -> LinkError {
    match status.0 {
        // STATUS_OBJECT_NAME_NOT_FOUND: there is no such port.
        0xc000_0034 => LinkError::NotLoaded,
        // STATUS_ACCESS_DENIED
        0xc000_0022 => LinkError::Denied,
        // STATUS_REVISION_MISMATCH
        0xc000_0059 => LinkError::Version,
        // STATUS_CONNECTION_COUNT_LIMIT
        0xc000_0246 => LinkError::Busy,
        // STATUS_PORT_DISCONNECTED, STATUS_INVALID_HANDLE, STATUS_FLT_DELETING_OBJECT
        0xc000_0037 | 0xc000_0008 | 0xc01c_000b => LinkError::Gone,
        _ => LinkError::Port(status),
    }
}
