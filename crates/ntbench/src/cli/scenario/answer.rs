//! A program at a filter's port: what it answers when the filter asks.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use ntbench::{MachineError, NtStatus, Port, Thread};

use super::model::Answer;
use super::pattern::Pattern;
use super::play::Play;

/// How long a message may be. A filter's own program knows how long its filter's are.
const CAPACITY: u32 = 1 << 20;
/// `FILTER_REPLY_HEADER`, which a message's reply length counts and a reply's body does not hold.
const HEADER: u32 = 16;

/// How much room there is for what a filter answers to a message that is sent afterwards.
const OUTPUT: u32 = 4096;

/// Ends with the connection, or with the machine.
type Answering = JoinHandle<Result<(), MachineError>>;

/// A connection, and the thread that takes its messages.
#[derive(Clone)]
pub(super) struct Connection {
    port: Port,
    /// Locked from a message's arrival until the program is done with it.
    busy: Arc<Mutex<()>>,
    answering: Arc<Mutex<Option<Answering>>>,
}

impl Connection {
    /// Begins to take messages on a thread of their own.
    ///
    /// # Errors
    /// When the machine dies of it.
    pub(super) fn answer(
        port: Port,
        with: &Play<'_>,
        answer: &Answer,
        then: &[Pattern],
    ) -> Result<Self, MachineError> {
        let thread = with.thread("answers")?;
        // It is never between two calls when others have a turn: under a seed each message is answered at the same point again.
        with.machine
            .schedule_together(std::slice::from_ref(&thread))?;
        let (listener, answer, then) = (port.on(&thread), answer.clone(), then.to_vec());
        let answered = Arc::clone(&with.answered);
        let busy = Arc::new(Mutex::new(()));
        let at_work = Arc::clone(&busy);
        let answering = std::thread::spawn(move || {
            let outcome = take(&listener, &answer, &then, &answered, &at_work);
            let left = thread.leave_together();
            outcome.and(left).and(thread.end())
        });
        Ok(Self {
            port,
            busy,
            answering: Arc::new(Mutex::new(Some(answering))),
        })
    }

    /// The connection as a thread uses it.
    pub(super) fn on(&self, thread: &Thread) -> Port {
        self.port.on(thread)
    }

    /// Closes it, when what follows the last answer is sent; then no more messages come.
    ///
    /// # Errors
    /// When the machine dies of it.
    pub(super) fn close(self, thread: &Thread) -> Result<NtStatus, MachineError> {
        drop(self.busy.lock().unwrap_or_else(PoisonError::into_inner));
        let status = self.port.on(thread).close()?;
        let answering = self
            .answering
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(answering) = answering {
            answering
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        }
        Ok(status)
    }
}

/// Takes messages until the connection ends.
fn take(
    port: &Port,
    answer: &Answer,
    then: &[Pattern],
    answered: &AtomicU32,
    busy: &Mutex<()>,
) -> Result<(), MachineError> {
    loop {
        let asked = port.get_message(CAPACITY, None)?;
        if !asked.status.is_success() {
            return Ok(());
        }
        let _at_work = busy.lock().unwrap_or_else(PoisonError::into_inner);
        let body = match answer {
            _ if asked.reply_length == 0 => continue,
            Answer::Silent => continue,
            Answer::Zeros => vec![0; asked.reply_length.saturating_sub(HEADER) as usize],
            Answer::Bytes(bytes) => bytes.clone(),
        };
        // Before the filter goes on with it, so that it counts for the step that the filter was asked by.
        answered.fetch_add(1, Ordering::AcqRel);
        port.reply(asked.message_id, NtStatus::SUCCESS, &body)?;
        for pattern in then {
            port.send(&pattern.fill_in(&asked.bytes), OUTPUT)?;
        }
    }
}
