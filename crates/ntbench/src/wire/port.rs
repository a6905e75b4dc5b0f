//! A program's side of a communication port, and the buffers that it may show a driver.

use serde::{Deserialize, Serialize};

use super::hex;
use crate::status::NtStatus;

/// What a program does with a port.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum PortCall {
    /// `FilterConnectCommunicationPort`.
    Connect {
        /// The port's name.
        name: String,
        /// The context handed to the filter.
        #[serde(with = "hex")]
        context: Vec<u8>,
    },
    /// `FilterSendMessage`.
    Send(PortMessage),
    /// `FilterGetMessage`.
    Get {
        /// The port's handle.
        port: u64,
        /// The buffer's length without its header.
        capacity: u32,
        /// How long to wait; `None`: as long as it takes.
        limit_ms: Option<u64>,
    },
    /// `FilterReplyMessage`.
    Reply {
        /// The port's handle.
        port: u64,
        /// The message answered.
        message_id: u64,
        /// The status in the answer.
        status: NtStatus,
        /// The answer.
        #[serde(with = "hex")]
        body: Vec<u8>,
    },
    /// `CloseHandle`.
    Close {
        /// The port's handle.
        port: u64,
    },
    /// Very many random and mutated messages.
    Fuzz(PortFuzz),
}

/// How it ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortAnswer {
    /// The status.
    pub status: NtStatus,
    /// Of a connection: its handle.
    pub port: u64,
    /// Of a message got: its id.
    pub message_id: u64,
    /// Of a message got: how long an answer may be.
    pub reply_length: u32,
    /// What came back.
    #[serde(with = "hex")]
    pub bytes: Vec<u8>,
}

/// A message to a filter.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PortMessage {
    /// The port's handle.
    pub port: u64,
    /// What lies in the input buffer.
    #[serde(with = "hex")]
    pub input: Vec<u8>,
    /// How long the program says the input is; `None`: the truth.
    pub input_length: Option<u32>,
    /// What memory the input lies in.
    pub input_kind: BufferKind,
    /// How long the program says the output buffer is.
    pub output_length: u32,
    /// How many bytes of output buffer there are; `None`: as many as it says.
    pub output_backed: Option<u32>,
    /// What memory the output buffer is.
    pub output_kind: BufferKind,
}

/// What a program shows a driver as a buffer.
///
/// Every buffer but [`At`](Self::At) and [`Null`](Self::Null) has an absent page behind its last one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum BufferKind {
    /// All there, aligned as a heap aligns, and ending less than 16 bytes before memory that is not there.
    #[default]
    Whole,
    /// NULL.
    Null,
    /// So many bytes behind an address that is aligned to a page.
    Misaligned(u32),
    /// May be read and not written.
    ReadOnly,
    /// Memory ends at this offset.
    CutAt {
        /// Bytes that are there.
        offset: u32,
        /// Whether it was taken away only after the kernel had probed the buffer.
        probed: bool,
    },
    /// Unmapped when it is touched for the n-th time, counted from 1; each step of a string instruction is a touch.
    GoneAtTouch(u64),
    /// Another thread of the program unmaps it and maps it again all the while.
    Racing,
    /// Whatever lies at an address.
    At(u64),
}

/// Random and mutated messages. A message depends on the seed, its number and the corpus alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortFuzz {
    /// The port's handle.
    pub port: u64,
    /// The seed.
    pub seed: u64,
    /// The first message's number.
    pub first: u64,
    /// How many.
    pub count: u64,
    /// Messages to mutate. May be empty: all are random then.
    pub corpus: Vec<FuzzSample>,
    /// The longest input and output buffer.
    pub longest: u32,
    /// Of a thousand messages, so many come in a buffer that is not whole.
    pub hostile_per_mille: u32,
}

/// A message to mutate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FuzzSample(#[serde(with = "hex")] pub Vec<u8>);

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FuzzReport {
    /// How many messages were sent.
    pub messages: u64,
    /// How many of them in a buffer that was not whole.
    pub hostile: u64,
    /// How often each status was answered, by status.
    pub statuses: Vec<(NtStatus, u64)>,
    /// Milliseconds it took in the machine.
    pub elapsed_ms: u64,
}

impl FuzzReport {
    /// How often that status was answered.
    #[must_use]
    pub fn count(&self, status: NtStatus) -> u64 {
        let found = self.statuses.iter().find(|(known, _)| *known == status);
        found.map_or(0, |(_, count)| *count)
    }

    /// Adds what came of more messages.
    pub fn add(&mut self, more: &Self) {
        self.messages += more.messages;
        self.hostile += more.hostile;
        self.elapsed_ms += more.elapsed_ms;
        for (status, count) in &more.statuses {
            match self.statuses.iter_mut().find(|(known, _)| known == status) {
                Some((_, sum)) => *sum += count,
                None => self.statuses.push((*status, *count)),
            }
        }
        self.statuses.sort();
    }
}
