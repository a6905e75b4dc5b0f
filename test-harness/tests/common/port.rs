//! A client of the driver's port.

use std::time::Duration;

use ntbench::wire::{PortMessage, StackKind, ThreadSpec};
use ntbench::{Machine, Port, Thread};
use protocol::NtStatus;
use protocol::port::{
    Hello, MAXIMUM_REQUEST_BYTES, Notification, NotificationKind, PORT_NAME, Reply, Request,
};
use zerocopy::{FromBytes as _, IntoBytes as _};

/// Room for every reply but a drain of very many records.
const ROOM: u32 = 0x1_0000;

/// A connection, and the thread that has it.
pub(crate) struct Client {
    pub(crate) port: Port,
}

/// What came of a message.
pub(crate) struct Answer {
    /// What sending it returned.
    pub(crate) sent: NtStatus,
    /// What the driver wrote.
    pub(crate) bytes: Vec<u8>,
}

impl Answer {
    /// The driver's reply; that the message was delivered is taken for granted.
    #[track_caller]
    pub(crate) fn reply(&self) -> Reply<'_> {
        assert_eq!(self.sent, NtStatus::SUCCESS);
        Reply::decode(&self.bytes).unwrap()
    }

    /// The status in the reply.
    #[track_caller]
    pub(crate) fn status(&self) -> NtStatus {
        self.reply().status
    }
}

pub(crate) fn status(status: ntbench::NtStatus) -> NtStatus {
    NtStatus(status.0.cast_unsigned())
}

/// The connection context of this version.
pub(crate) fn context() -> &'static [u8] {
    const HELLO: Hello = Hello::CURRENT;
    HELLO.as_bytes()
}

impl Client {
    #[track_caller]
    pub(crate) fn connect(machine: &Machine) -> Self {
        Self::try_connect(machine, context()).unwrap()
    }

    pub(crate) fn try_connect(machine: &Machine, context: &[u8]) -> Result<Self, NtStatus> {
        Self::connect_as(machine, "client.exe", context)
    }

    pub(crate) fn connect_as(
        machine: &Machine,
        image: &str,
        context: &[u8],
    ) -> Result<Self, NtStatus> {
        let thread = machine
            .thread(ThreadSpec {
                process_image: image.to_owned(),
                process: 0,
                stack: StackKind::Ordinary,
            })
            .unwrap();
        match thread.connect_port(PORT_NAME, context).unwrap() {
            Ok(port) => Ok(Self { port }),
            Err(refused) => Err(status(refused)),
        }
    }

    /// Sends bytes, with room for that many in return.
    pub(crate) fn send(&self, message: &[u8], room: u32) -> Answer {
        self.send_message(&PortMessage {
            input: message.to_vec(),
            output_length: room,
            ..PortMessage::default()
        })
    }

    /// Sends a message in any buffers.
    pub(crate) fn send_message(&self, message: &PortMessage) -> Answer {
        let (sent, bytes) = self.port.send_message(message).unwrap();
        Answer {
            sent: status(sent),
            bytes,
        }
    }

    pub(crate) fn ask(&self, request: &Request<'_>) -> Answer {
        self.ask_in(request, ROOM)
    }

    pub(crate) fn ask_in(&self, request: &Request<'_>, room: u32) -> Answer {
        self.send(&encoded(request), room)
    }

    /// Waits for a notification.
    pub(crate) fn wait(
        &self,
        machine: &Machine,
        limit: Duration,
    ) -> Result<Notification, NtStatus> {
        let waiter = super::thread(machine, StackKind::Ordinary);
        let notified = self.wait_on(&waiter, limit);
        waiter.end().unwrap();
        notified
    }

    /// Waits for a notification on a thread that is there already.
    pub(crate) fn wait_on(
        &self,
        waiter: &Thread,
        limit: Duration,
    ) -> Result<Notification, NtStatus> {
        let answer = self.port.on(waiter).get_message(4096, Some(limit)).unwrap();
        // STATUS_TIMEOUT is a success code.
        if status(answer.status) != NtStatus::SUCCESS {
            return Err(status(answer.status));
        }
        let notification = Notification::read_from_bytes(&answer.bytes).unwrap();
        assert_eq!(notification.kind, NotificationKind::RECORDS);
        assert_eq!(notification.bytes as usize, answer.bytes.len());
        Ok(notification)
    }

    pub(crate) fn disconnect(self) {
        assert!(self.port.close().unwrap().is_success());
    }
}

/// A request as bytes.
pub(crate) fn encoded(request: &Request<'_>) -> Vec<u8> {
    let mut message = [0; MAXIMUM_REQUEST_BYTES];
    request.encode(&mut message).unwrap().to_vec()
}
