//! Why the driver does not answer, and what to do about it.

use protocol::port::{MAXIMUM_CLIENTS, VERSION_MAJOR, VERSION_MINOR};
use protocol::{DecodeError, NtStatus, Rejection};
use thiserror::Error;

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
use crate::machine::MachineError;

/// Why the driver does not answer.
#[derive(Debug, Error)]
pub enum LinkError {
    /// The port is not there.
    #[error("no driver answers: headroom.sys is not loaded. Load it with `headroom load`")]
    NotLoaded,
    /// Administrators only.
    #[error(
        "the driver refuses this process: only administrators and the system may connect. Run it again as an administrator"
    )]
    Denied,
    /// The two do not go together.
    #[error(
        "the driver speaks another version of the protocol than this program, which speaks {VERSION_MAJOR}.{VERSION_MINOR} and \
         below: use the headroom that was built with the driver, or load the driver that was built with this one"
    )]
    Version,
    /// No connection is free.
    #[error(
        "the driver's port is busy: {MAXIMUM_CLIENTS} programs are connected to it, which is as many as it takes. End one, such as a \
         `headroom watch` or `headroom log` in another window"
    )]
    Busy,
    /// The connection has ended.
    #[error("the driver has ended the connection: it was unloaded")]
    Gone,
    /// The driver is older than the request.
    #[error(
        "the loaded driver does not know the request {0}: it is older than this program. Load the driver that was built with it"
    )]
    Unknown(String),
    /// The driver refused a request.
    #[error("the driver refused {request}: {status:?}")]
    Refused {
        /// Which.
        request: String,
        /// Why.
        status: NtStatus,
    },
    /// The driver refused a setting.
    #[error("{0}")]
    Rejected(Rejection),
    /// A name that no message can carry.
    #[error("{0} is too long for a message to the driver: at most {1} characters")]
    Name(String, usize),
    /// The reply is none.
    #[error("the driver's reply cannot be read: {0}")]
    Reply(#[from] DecodeError),
    /// The port's functions failed in another way.
    #[error("the driver's port failed: {0:?}")]
    Port(NtStatus),
    /// Windows failed in another way.
    #[error("{0}")]
    System(String),
    /// The machine in the background.
    #[cfg(all(target_os = "linux", target_arch = "x86_64"))]
    #[error(transparent)]
    Machine(#[from] MachineError),
    /// There is nothing to connect to.
    #[error(
        "this build has no driver to talk to: the driver runs on Windows, and on 64-bit x86 Linux in ntbench"
    )]
    NoMachine,
}

impl LinkError {
    /// Whether it says that the driver has gone meanwhile, in an orderly way.
    #[must_use]
    pub fn is_over(&self) -> bool {
        match self {
            Self::Gone => true,
            #[cfg(all(target_os = "linux", target_arch = "x86_64"))]
            Self::Machine(MachineError::Over) => true,
            _ => false,
        }
    }
}
