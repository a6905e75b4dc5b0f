//! What crosses the socket: a request and an answer, each a few words as JSON and the bytes that belong to them.
//!
//! A frame is two lengths of four bytes (little-endian), the JSON, the bytes. Both ends are one executable, or ought to be.

use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::time::SystemTime;

use ntbench::wire::{BugCheckReport, ThreadSpec, Trace};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::backend::{Call, Returned};

/// The longest part of a frame. Traces are the longest that there are.
const LONGEST: u32 = 256 << 20;

/// What is asked for.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Ask {
    /// How the machine stands.
    Standing,
    /// Connects to the driver's port; the bytes are the connection context.
    Connect,
    /// Sends the bytes to the driver.
    Send {
        /// Room for the reply.
        room: u32,
    },
    /// Waits for a message of the driver's.
    Next {
        /// Room for it.
        room: u32,
        /// How long.
        limit_ms: u64,
    },
    /// Starts a thread of this connection's process.
    Thread(ThreadSpec),
    /// Makes a system call on a thread.
    Call {
        /// The thread's number in this connection.
        thread: usize,
        /// The call.
        call: Call,
    },
    /// What happened on the machine so far.
    Trace,
    /// Unloads the driver and ends the machine.
    Unload,
}

/// What is answered.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Answer {
    /// How the machine stands.
    Standing(Box<Standing>),
    /// Done; what there is to say is in the bytes.
    Done,
    /// No message came in time.
    Nothing,
    /// A thread, by its number in this connection.
    Thread(usize),
    /// How a system call ended.
    Returned(Returned),
    /// What happened.
    Trace(Box<Trace>),
    /// The machine has ended.
    Unloaded(Box<Unloaded>),
    /// A function of the port returned this status.
    Status(u32),
    /// The driver refused to unload.
    Stays(String),
    /// The machine has bug-checked.
    BugCheck(Box<BugCheckReport>),
    /// It could not be done.
    Failed(String),
}

/// How the machine stands.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Standing {
    /// The process that serves the socket.
    pub pid: u32,
    /// The driver's image.
    pub driver: PathBuf,
    /// The share's UNC path and the folder behind it.
    pub share: (String, PathBuf),
    /// The local volume's letter and the folder behind it.
    pub volume: (String, PathBuf),
    /// When it came up.
    pub since: SystemTime,
    /// Opens per second that it makes by itself; 0: none.
    pub traffic: u32,
}

/// A machine's last words.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Unloaded {
    /// What the verifier found, with where.
    pub findings: Vec<String>,
    /// What it died of, where it did.
    pub bug_check: Option<Box<BugCheckReport>>,
}

/// Writes a frame.
pub(super) fn write<T: Serialize>(
    stream: &mut impl Write,
    head: &T,
    bytes: &[u8],
) -> io::Result<()> {
    let head = serde_json::to_vec(head)?;
    let length = |part: &[u8]| {
        u32::try_from(part.len()).map_err(|_| io::Error::from(io::ErrorKind::InvalidData))
    };
    let mut frame = Vec::with_capacity(8 + head.len() + bytes.len());
    frame.extend(length(&head)?.to_le_bytes());
    frame.extend(length(bytes)?.to_le_bytes());
    frame.extend(head);
    frame.extend(bytes);
    stream.write_all(&frame)
}

/// Reads a frame; `None`: the other end is gone.
pub(super) fn read<T: DeserializeOwned>(
    stream: &mut impl Read,
) -> io::Result<Option<(T, Vec<u8>)>> {
    let mut lengths = [0; 8];
    match stream.read_exact(&mut lengths) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        read => read?,
    }
    let [a, b, c, d, e, f, g, h] = lengths;
    let head = part(stream, u32::from_le_bytes([a, b, c, d]))?;
    let bytes = part(stream, u32::from_le_bytes([e, f, g, h]))?;
    Ok(Some((serde_json::from_slice(&head)?, bytes)))
}

/// Reads that many bytes, and takes no more memory than have come.
fn part(stream: &mut impl Read, length: u32) -> io::Result<Vec<u8>> {
    if length > LONGEST {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("a frame of {length} bytes"),
        ));
    }
    let mut bytes = Vec::new();
    stream.take(length.into()).read_to_end(&mut bytes)?;
    if bytes.len() < length as usize {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_comes_back_as_it_went() {
        let mut stream = Vec::new();
        write(&mut stream, &Ask::Send { room: 7 }, b"abc").unwrap();
        let mut stream = &*stream;
        let (ask, bytes) = read::<Ask>(&mut stream).unwrap().unwrap();
        assert!(matches!(ask, Ask::Send { room: 7 }));
        assert_eq!(bytes, b"abc");
        assert!(read::<Ask>(&mut stream).unwrap().is_none());
    }

    #[test]
    fn what_is_no_frame_is_an_error() {
        for bytes in [
            &b"\x02\0\0\0\0\0\0\0{"[..],
            b"\x02\0\0\0\0\0\0\0{}",
            b"\xff\xff\xff\xff\0\0\0\0{}",
        ] {
            assert!(read::<Ask>(&mut &*bytes).is_err(), "{bytes:x?}");
        }
    }
}
