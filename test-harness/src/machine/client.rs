//! Talking to the machine in the background.

use std::io;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use ntbench::wire::{ThreadSpec, Trace};
use protocol::NtStatus;

use super::wire::{self, Answer, Ask, Standing, Unloaded};
use super::{MachineError, Place};
use crate::backend::{Call, Returned};
use crate::link::{Link, LinkError, error_of};
use crate::model::BugCheck;

/// A connection: a simulated process on the machine, whose threads and files end with it.
pub struct Connection {
    stream: UnixStream,
}

impl Connection {
    /// Connects to the machine of this user, or of the folder that the environment names.
    ///
    /// # Errors
    /// [`MachineError`]: there is none, or not one to be trusted.
    pub fn open() -> Result<Self, MachineError> {
        Self::open_at(&Place::here())
    }

    /// Connects to the machine of a folder.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_at(place: &Place) -> Result<Self, MachineError> {
        place.check()?;
        match UnixStream::connect(place.socket()) {
            Ok(stream) => Ok(Self { stream }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(MachineError::None),
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                Err(MachineError::Ended(place.log()))
            }
            Err(error) => Err(MachineError::files("connecting to", place.socket())(error)),
        }
    }

    /// How the machine stands.
    ///
    /// # Errors
    /// [`MachineError`].
    pub fn standing(&mut self) -> Result<Standing, MachineError> {
        match self.ask(&Ask::Standing, &[])?.0 {
            Answer::Standing(standing) => Ok(*standing),
            other => Err(unexpected(other)),
        }
    }

    /// Starts a thread of this connection's process, and gives its number.
    ///
    /// # Errors
    /// [`MachineError`].
    pub fn thread(&mut self, spec: ThreadSpec) -> Result<usize, MachineError> {
        match self.ask(&Ask::Thread(spec), &[])?.0 {
            Answer::Thread(thread) => Ok(thread),
            other => Err(unexpected(other)),
        }
    }

    /// Makes a system call on a thread.
    ///
    /// # Errors
    /// [`MachineError`]: the machine died of it. A call that fails is no error but a status.
    pub fn call(&mut self, thread: usize, call: &Call) -> Result<Returned, MachineError> {
        let call = call.clone();
        match self.ask(&Ask::Call { thread, call }, &[])?.0 {
            Answer::Returned(returned) => Ok(returned),
            other => Err(unexpected(other)),
        }
    }

    /// What happened on the machine so far, as much as it keeps.
    ///
    /// # Errors
    /// [`MachineError`].
    pub fn trace(&mut self) -> Result<Trace, MachineError> {
        match self.ask(&Ask::Trace, &[])?.0 {
            Answer::Trace(trace) => Ok(*trace),
            other => Err(unexpected(other)),
        }
    }

    /// Unloads the driver and ends the machine. One that has bug-checked already says of what.
    ///
    /// # Errors
    /// [`MachineError::Unload`]: the driver stays.
    pub fn unload(mut self) -> Result<Unloaded, MachineError> {
        match self.ask(&Ask::Unload, &[])?.0 {
            Answer::Unloaded(unloaded) => {
                // Its process ends now: after that, another machine can have the place.
                let _ = wire::read::<Answer>(&mut self.stream);
                Ok(*unloaded)
            }
            other => Err(unexpected(other)),
        }
    }

    /// Connects to the driver's port.
    ///
    /// # Errors
    /// [`LinkError`]: no rights, another version, no free connection.
    pub fn port(mut self, context: &[u8]) -> Result<Port, LinkError> {
        self.link(&Ask::Connect, context)?;
        Ok(Port { connection: self })
    }

    fn link(&mut self, ask: &Ask, bytes: &[u8]) -> Result<Option<Vec<u8>>, LinkError> {
        match self.ask(ask, bytes)? {
            (Answer::Done, bytes) => Ok(Some(bytes)),
            (Answer::Nothing, _) => Ok(None),
            (Answer::Status(status), _) => Err(error_of(NtStatus(status))),
            (other, _) => Err(unexpected(other).into()),
        }
    }

    fn ask(&mut self, ask: &Ask, bytes: &[u8]) -> Result<(Answer, Vec<u8>), MachineError> {
        let gone = |error: &io::Error| {
            matches!(
                error.kind(),
                io::ErrorKind::BrokenPipe
                    | io::ErrorKind::ConnectionReset
                    | io::ErrorKind::UnexpectedEof
            )
        };
        let answer =
            wire::write(&mut self.stream, ask, bytes).and_then(|()| wire::read(&mut self.stream));
        match answer {
            Ok(Some(answer)) => Ok(answer),
            Ok(None) => Err(MachineError::Over),
            Err(error) if gone(&error) => Err(MachineError::Over),
            Err(error) => Err(MachineError::Wire(error.to_string())),
        }
    }
}

/// An answer that is none to what was asked, but perhaps one to whether there still is a machine.
fn unexpected(answer: Answer) -> MachineError {
    match answer {
        Answer::BugCheck(report) => MachineError::BugCheck(Box::new(BugCheck::from(&*report))),
        Answer::Failed(why) => MachineError::Bench(why),
        Answer::Stays(status) => MachineError::Unload(status),
        other => MachineError::Wire(format!("{other:?}")),
    }
}

/// A connection to the driver's port.
pub struct Port {
    connection: Connection,
}

impl Link for Port {
    fn send(&mut self, message: &[u8], room: usize) -> Result<Vec<u8>, LinkError> {
        let room = u32::try_from(room).unwrap_or(u32::MAX);
        let reply = self.connection.link(&Ask::Send { room }, message)?;
        Ok(reply.unwrap_or_default())
    }

    fn next(&mut self, room: usize, limit: Duration) -> Result<Option<Vec<u8>>, LinkError> {
        let room = u32::try_from(room).unwrap_or(u32::MAX);
        let limit_ms = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
        self.connection.link(&Ask::Next { room, limit_ms }, &[])
    }
}
