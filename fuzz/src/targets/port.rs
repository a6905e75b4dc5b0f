//! The driver's port.

use std::cell::RefCell;

use ntbench::Port;
use ntbench::wire::PortMessage;

use super::protocol::requests;
use super::session::Session;
use crate::corpus::Seed;

pub(super) fn seeds() -> Vec<Seed> {
    requests()
}

thread_local! {
    static CLIENT: RefCell<Option<(Port, Session)>> = const { RefCell::new(None) };
}

fn connect() -> (Port, Session) {
    let session = Session::boot();
    let status = session.load(&[]);
    assert!(status.is_success(), "DriverEntry: {status}");
    let port = session.connect();
    (port, session)
}

/// Whatever is sent, an answer comes that fits, and the driver goes on to serve opens.
pub(super) fn check(input: &[u8]) {
    const ROOM: u32 = 0x4000;
    CLIENT.with_borrow_mut(|client| {
        let (port, session) = client.get_or_insert_with(connect);
        let message = PortMessage {
            input: input.to_vec(),
            output_length: ROOM,
            ..PortMessage::default()
        };
        let (status, answer) = port.send_message(&message).expect("the machine lives");
        assert!(answer.len() <= ROOM as usize);
        if status.is_success() {
            protocol::port::Reply::decode(&answer).expect("an answer that was sent is a reply");
        }
        if input.first().is_some_and(|first| first % 64 == 0) {
            let opened = session.open();
            assert!(opened.is_success(), "an open after it: {opened}");
        }
    });
}
