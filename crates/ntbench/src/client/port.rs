//! A program's side of a communication port.

use std::sync::Arc;
use std::time::Duration;

use super::error::MachineError;
use super::link::{Link, protocol};
use super::{Thread, milliseconds};
use crate::status::NtStatus;
use crate::wire::{
    FuzzReport, PortAnswer, PortCall, PortFuzz, PortMessage, Reply, Request, ThreadInfo,
};

/// A run of the fuzzer is asked for in parts of this size, so that none takes as long as the machine's time limit.
const FUZZ_PART: u64 = 100_000;

/// A connection to a filter's port, used on one thread.
#[derive(Clone)]
pub struct Port {
    link: Arc<Link>,
    thread: u32,
    handle: u64,
}

impl Thread {
    /// `FilterConnectCommunicationPort`.
    ///
    /// # Errors
    /// When the machine dies of it. A refused connection is no error but a status.
    pub fn connect_port(
        &self,
        name: &str,
        context: &[u8],
    ) -> Result<Result<Port, NtStatus>, MachineError> {
        let call = PortCall::Connect {
            name: name.to_owned(),
            context: context.to_vec(),
        };
        let answer = ask(&self.link, &self.info, call)?;
        if !answer.status.is_success() {
            return Ok(Err(answer.status));
        }
        Ok(Ok(Port {
            link: Arc::clone(&self.link),
            thread: self.info.thread,
            handle: answer.port,
        }))
    }
}

fn ask(link: &Link, thread: &ThreadInfo, call: PortCall) -> Result<PortAnswer, MachineError> {
    ask_on(link, thread.thread, call)
}

fn ask_on(link: &Link, thread: u32, call: PortCall) -> Result<PortAnswer, MachineError> {
    match link.ask(Request::Port { thread, call })? {
        Reply::Port(answer) => Ok(answer),
        other => Err(protocol("Port", &other)),
    }
}

impl Port {
    /// The same connection, used on another thread: one may wait for messages while another sends.
    #[must_use]
    pub fn on(&self, thread: &Thread) -> Self {
        Self {
            link: Arc::clone(&self.link),
            thread: thread.info.thread,
            handle: self.handle,
        }
    }

    /// Its handle.
    #[must_use]
    pub fn handle(&self) -> u64 {
        self.handle
    }

    /// `FilterSendMessage` with buffers that are what they seem to be. Gives the status and what the filter wrote.
    ///
    /// # Errors
    /// When the machine dies of it.
    pub fn send(
        &self,
        input: &[u8],
        output_length: u32,
    ) -> Result<(NtStatus, Vec<u8>), MachineError> {
        self.send_message(&PortMessage {
            input: input.to_vec(),
            output_length,
            ..PortMessage::default()
        })
    }

    /// `FilterSendMessage` with any buffers; the message's `port` is filled in.
    ///
    /// # Errors
    /// When the machine dies of it.
    pub fn send_message(&self, message: &PortMessage) -> Result<(NtStatus, Vec<u8>), MachineError> {
        let message = PortMessage {
            port: self.handle,
            ..message.clone()
        };
        let answer = ask_on(&self.link, self.thread, PortCall::Send(message))?;
        Ok((answer.status, answer.bytes))
    }

    /// `FilterGetMessage`: waits for a message of at most `capacity` bytes. Its id and contents are in the answer if its
    /// status is a success.
    ///
    /// # Errors
    /// When the machine dies of it.
    pub fn get_message(
        &self,
        capacity: u32,
        limit: Option<Duration>,
    ) -> Result<PortAnswer, MachineError> {
        let limit_ms = limit.map(milliseconds);
        let call = PortCall::Get {
            port: self.handle,
            capacity,
            limit_ms,
        };
        ask_on(&self.link, self.thread, call)
    }

    /// `FilterReplyMessage`.
    ///
    /// # Errors
    /// When the machine dies of it.
    pub fn reply(
        &self,
        message_id: u64,
        status: NtStatus,
        body: &[u8],
    ) -> Result<NtStatus, MachineError> {
        let call = PortCall::Reply {
            port: self.handle,
            message_id,
            status,
            body: body.to_vec(),
        };
        ask_on(&self.link, self.thread, call).map(|answer| answer.status)
    }

    /// `CloseHandle`.
    ///
    /// # Errors
    /// When the machine dies of it.
    pub fn close(self) -> Result<NtStatus, MachineError> {
        let call = PortCall::Close { port: self.handle };
        ask_on(&self.link, self.thread, call).map(|answer| answer.status)
    }

    /// Sends random and mutated messages; `fuzz.port` is filled in. `progress` is told how many have been sent.
    ///
    /// # Errors
    /// When the machine dies of one: the bug check's text names it, and `first` with a `count` of 1 sends it again.
    pub fn fuzz(
        &self,
        fuzz: &PortFuzz,
        mut progress: impl FnMut(u64),
    ) -> Result<FuzzReport, MachineError> {
        let mut report = FuzzReport::default();
        while report.messages < fuzz.count {
            let part = PortFuzz {
                port: self.handle,
                first: fuzz.first + report.messages,
                count: FUZZ_PART.min(fuzz.count - report.messages),
                ..fuzz.clone()
            };
            let request = Request::Port {
                thread: self.thread,
                call: PortCall::Fuzz(part),
            };
            match self.link.ask(request)? {
                Reply::Fuzzed(part) => report.add(&part),
                other => return Err(protocol("Port", &other)),
            }
            progress(report.messages);
        }
        Ok(report)
    }
}
