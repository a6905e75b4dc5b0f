//! Messages from a driver to a client: who sends waits, who gets waits, and a reply finds who waits for it.

use std::collections::{HashMap, VecDeque};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::schedule;
use crate::status::NtStatus;

/// `FILTER_MESSAGE_HEADER` and `FILTER_REPLY_HEADER` are both that long.
const HEADER: u32 = 16;

/// A message as a client gets it.
#[derive(Debug)]
pub(crate) struct PortMessage {
    /// `FILTER_MESSAGE_HEADER.MessageId`.
    pub(crate) message_id: u64,
    /// `FILTER_MESSAGE_HEADER.ReplyLength`: with the reply's header; 0: no reply is expected.
    pub(crate) reply_length: u32,
    /// What the driver sent.
    pub(crate) body: Vec<u8>,
}

/// What a message waits for.
enum Stage {
    /// A client that gets it.
    Waiting,
    /// A client's reply, so many bytes at most.
    Delivered(u32),
    /// Nothing more: the client's status and reply.
    Replied(NtStatus, Vec<u8>),
}

#[derive(Default)]
struct State {
    waiting: VecDeque<PortMessage>,
    stages: HashMap<u64, Stage>,
    last_id: u64,
    getters: usize,
    disconnected: bool,
}

/// The messages of one connection.
#[derive(Default)]
pub(super) struct Queue {
    state: Mutex<State>,
    changed: Condvar,
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a change; `None`: time is up.
    fn wait<'a>(
        &'a self,
        state: MutexGuard<'a, State>,
        deadline: Option<Instant>,
    ) -> (MutexGuard<'a, State>, bool) {
        if deadline.is_some_and(|deadline| deadline <= schedule::now()) {
            return (state, false);
        }
        let state = schedule::wait(&self.changed, &self.state, state, deadline);
        (state, true)
    }

    /// Sends a message and waits until it is got and, where `room` is given, replied to.
    pub(super) fn send(
        &self,
        body: Vec<u8>,
        room: Option<u32>,
        limit: Option<Duration>,
    ) -> (NtStatus, Vec<u8>) {
        let deadline = limit.map(|limit| schedule::now() + limit);
        let mut state = self.lock();
        if state.disconnected {
            return (NtStatus::PORT_DISCONNECTED, Vec::new());
        }
        // A client that waits already gets the message at once, however short the time.
        let at_once = state.getters > state.waiting.len();
        state.last_id += 1;
        let id = state.last_id;
        state.waiting.push_back(PortMessage {
            message_id: id,
            reply_length: room.map_or(0, |room| room.saturating_add(HEADER)),
            body,
        });
        state.stages.insert(id, Stage::Waiting);
        self.changed.notify_all();
        loop {
            match state.stages.remove(&id) {
                // Got, and no reply was asked for.
                None => return (NtStatus::SUCCESS, Vec::new()),
                Some(Stage::Replied(status, reply)) => return (status, reply),
                Some(_) if state.disconnected => {
                    state.forget(id);
                    return (NtStatus::PORT_DISCONNECTED, Vec::new());
                }
                Some(stage) => {
                    let waiting = matches!(stage, Stage::Waiting);
                    state.stages.insert(id, stage);
                    let limit = if waiting && at_once && state.getters > 0 {
                        None
                    } else {
                        deadline
                    };
                    let (now, in_time) = self.wait(state, limit);
                    state = now;
                    if !in_time {
                        state.forget(id);
                        return (NtStatus::TIMEOUT, Vec::new());
                    }
                }
            }
        }
    }

    /// Waits for a message that fits into `capacity`. One that does not stays.
    pub(super) fn get(
        &self,
        capacity: u32,
        limit: Option<Duration>,
    ) -> Result<PortMessage, NtStatus> {
        let deadline = limit.map(|limit| schedule::now() + limit);
        let mut state = self.lock();
        state.getters += 1;
        let got = loop {
            if state.disconnected {
                break Err(NtStatus::PORT_DISCONNECTED);
            }
            if let Some(message) = state.waiting.front() {
                if message.body.len() > capacity as usize {
                    break Err(NtStatus::BUFFER_TOO_SMALL);
                }
                break state.waiting.pop_front().ok_or(NtStatus::UNSUCCESSFUL);
            }
            let (now, in_time) = self.wait(state, deadline);
            state = now;
            if !in_time && state.waiting.is_empty() && !state.disconnected {
                break Err(NtStatus::TIMEOUT);
            }
        };
        state.getters -= 1;
        if let Ok(message) = &got {
            let id = message.message_id;
            match message.reply_length {
                0 => state.stages.remove(&id),
                length => state.stages.insert(id, Stage::Delivered(length - HEADER)),
            };
        }
        drop(state);
        self.changed.notify_all();
        got
    }

    /// Hands a reply to the sender that waits for it.
    pub(super) fn reply(&self, id: u64, status: NtStatus, body: &[u8]) -> NtStatus {
        let mut state = self.lock();
        if state.disconnected {
            return NtStatus::PORT_DISCONNECTED;
        }
        let Some(Stage::Delivered(room)) = state.stages.get(&id) else {
            return NtStatus::FLT_NO_WAITER_FOR_REPLY;
        };
        let room = *room as usize;
        let (answer, status, body) = if body.len() > room {
            // As much as there is room for arrives; both sides are told.
            let status = NtStatus::BUFFER_OVERFLOW;
            (status, status, &body[..room])
        } else {
            (NtStatus::SUCCESS, status, body)
        };
        state
            .stages
            .insert(id, Stage::Replied(status, body.to_vec()));
        drop(state);
        self.changed.notify_all();
        answer
    }

    /// Ends the connection for everybody who waits; false: it was ended.
    pub(super) fn disconnect(&self) -> bool {
        let ended = std::mem::replace(&mut self.lock().disconnected, true);
        self.changed.notify_all();
        !ended
    }

    /// Whether it was ended.
    pub(super) fn disconnected(&self) -> bool {
        self.lock().disconnected
    }
}

impl State {
    fn forget(&mut self, id: u64) {
        self.stages.remove(&id);
        self.waiting.retain(|message| message.message_id != id);
    }
}
