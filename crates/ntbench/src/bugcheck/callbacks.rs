//! Routines that drivers have called when the machine ends with a bug check.
//!
//! `KeRegisterBugCheckCallback`, `KeRegisterBugCheckReasonCallback`, "Writing a Bug Check Callback Routine". They run at
//! `HIGH_LEVEL`, before the dump is written, in a thread of their own here: the one that ended may have no stack left, and a
//! routine that fails in its turn must not take the report with it.

use std::cell::RefCell;
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::ntos::memory::{Guest, terminated};
use crate::ntos::{MACHINE, driver, worker};
use crate::stack;
use crate::{gate, symbols, thread, verifier};

/// `HIGH_LEVEL`.
const HIGH_LEVEL: u8 = 15;
/// How long all of them may take together.
const PATIENCE: Duration = Duration::from_secs(20);
const TID: u64 = 0x34;

/// `KBUGCHECK_BUFFER_DUMP_STATE`.
const EMPTY: u8 = 0;
const INSERTED: u8 = 1;
const STARTED: u8 = 2;
const FINISHED: u8 = 3;

/// `KbCallbackSecondaryDumpData`, `KbCallbackAddPages`, and the others that the documentation names.
const SECONDARY: u32 = 2;
const DUMP_IO: u32 = 3;
const ADD_PAGES: u32 = 4;
const LAST_REASON: u32 = 8;
/// How much secondary data a routine may hand over, of which a part is in the kernel's own buffer.
const SECONDARY_BYTES: usize = 0x1000;
const MOST_SECONDARY: u32 = 0x1_0000;

/// Where a kind of record keeps what the kernel and its inline functions look at.
struct Shape {
    component: usize,
    state: usize,
}

/// `KBUGCHECK_CALLBACK_RECORD`: routine, buffer and its length, component, checksum, state.
const PLAIN: Shape = Shape {
    component: 40,
    state: 56,
};
/// `KBUGCHECK_REASON_CALLBACK_RECORD`: routine, component, checksum, reason, state.
const REASONED: Shape = Shape {
    component: 24,
    state: 44,
};
const ROUTINE: usize = 16;
const BUFFER: usize = 24;
const LENGTH: usize = 32;
const REASON: usize = 40;

#[derive(Clone)]
struct Registered {
    record: usize,
    /// `None`: a plain one.
    reason: Option<u32>,
    service: String,
    site: usize,
}

/// The newest last; they are called from there.
static REGISTERED: Mutex<Vec<Registered>> = Mutex::new(Vec::new());

thread_local! {
    /// In the routines' thread: who waits for them, and which one runs.
    static REPORT: RefCell<Option<(Sender<Option<String>>, String)>> = const { RefCell::new(None) };
}

fn lock() -> MutexGuard<'static, Vec<Registered>> {
    REGISTERED.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Registered {
    fn shape(&self) -> &'static Shape {
        if self.reason.is_some() {
            &REASONED
        } else {
            &PLAIN
        }
    }

    fn state(&self) -> Guest<u8> {
        Guest::at(self.record + self.shape().state)
    }

    fn component(&self) -> String {
        let name = Guest::<usize>::at(self.record + self.shape().component).read();
        if name == 0 {
            return "(unnamed)".to_owned();
        }
        String::from_utf8_lossy(&terminated(Guest::at(name))).into_owned()
    }

    /// Calls the routine as its kind wants it.
    fn call(&self, code: u32) -> Option<String> {
        let routine = Guest::<usize>::at(self.record + ROUTINE).read();
        self.state().write(STARTED);
        let enter = |arguments: &[u64]| {
            stack::system_thread(|| {
                // SAFETY: the driver registered that routine for a bug check, and it takes these arguments.
                unsafe { gate::call(routine, arguments) };
            });
        };
        let wrong = match self.reason {
            None => {
                let buffer = Guest::<u64>::at(self.record + BUFFER).read();
                let length = Guest::<u32>::at(self.record + LENGTH).read();
                enter(&[buffer, length.into()]);
                None
            }
            Some(SECONDARY) => {
                let room = vec![0_u8; SECONDARY_BYTES]
                    .leak()
                    .as_mut_ptr()
                    .expose_provenance() as u64;
                // InBuffer, its length and the most that is taken, a GUID, OutBuffer, its length.
                let lengths = SECONDARY_BYTES as u64 | u64::from(MOST_SECONDARY) << 32;
                let mut data = [room, lengths, 0, 0, 0, 0];
                let at = (&raw mut data).expose_provenance();
                enter(&[
                    SECONDARY.into(),
                    self.record as u64,
                    at as u64,
                    size_of_val(&data) as u64,
                ]);
                let length = Guest::<u32>::at(at + 40).read();
                (length > MOST_SECONDARY).then(|| {
                    format!("hands over {length:#x} bytes of secondary data; at most {MOST_SECONDARY:#x} are allowed")
                })
            }
            Some(ADD_PAGES) => {
                // Context, flags and code, address, count.
                let mut data = [0, u64::from(code) << 32, 0, 0];
                let at = (&raw mut data).expose_provenance();
                enter(&[
                    ADD_PAGES.into(),
                    self.record as u64,
                    at as u64,
                    size_of_val(&data) as u64,
                ]);
                None
            }
            Some(_) => None,
        };
        self.state().write(FINISHED);
        wrong
    }
}

/// Calls what is registered; gives what went wrong with them.
pub(super) fn run(code: u32) -> Vec<String> {
    let Ok(registered) = REGISTERED.try_lock().map(|registered| registered.clone()) else {
        return Vec::new();
    };
    let Some(machine) = MACHINE.get().filter(|_| !registered.is_empty()) else {
        return Vec::new();
    };
    let (tell, told) = mpsc::channel();
    worker::spawn("bug check", TID, Arc::clone(&machine.system), move || {
        thread::current().set_irql(HIGH_LEVEL);
        for callback in registered.iter().rev() {
            let who = format!(
                "the bug check callback of {} ({})",
                callback.component(),
                callback.service
            );
            REPORT.set(Some((tell.clone(), who.clone())));
            if let Some(wrong) = callback.call(code) {
                let _ = tell.send(Some(format!("{who} {wrong}")));
            }
            if thread::irql() != HIGH_LEVEL {
                let _ = tell.send(Some(format!("{who} returned at IRQL {}", thread::irql())));
                thread::current().set_irql(HIGH_LEVEL);
            }
        }
        let _ = tell.send(None);
        loop {
            std::thread::park();
        }
    });
    let mut wrong = Vec::new();
    loop {
        match told.recv_timeout(PATIENCE) {
            Ok(Some(what)) => wrong.push(what),
            Ok(None) => return wrong,
            Err(_) => {
                wrong.push("a bug check callback did not come back".to_owned());
                return wrong;
            }
        }
    }
}

/// A second bug check: where it is one of these routines that ends in it, nobody waits for the rest.
pub(super) fn failed(code: u32, text: &str) {
    if let Some((tell, who)) = REPORT.take() {
        let _ = tell.send(Some(format!("{who} ended in bug check {code:#X}: {text}")));
        let _ = tell.send(None);
    }
}

/// Reports the callbacks that a driver leaves behind: the next bug check would call code that is not there.
pub(crate) fn report_leaks(service: &str) {
    let left: Vec<Registered> = {
        let mut registered = lock();
        registered
            .extract_if(.., |known| known.service == service)
            .collect()
    };
    for callback in left {
        verifier::finding_at(
            "notify-left",
            callback.site,
            format!(
                "{service} went away with a bug check callback registered at {:#x}",
                callback.record
            ),
        );
    }
}

fn register(record: usize, reason: Option<u32>) -> u8 {
    let site = verifier::here();
    let new = Registered {
        record,
        reason,
        service: driver::calling().map_or_else(String::new, |driver| driver.service.clone()),
        site,
    };
    let mut registered = lock();
    let known = registered.iter().any(|known| known.record == record);
    if known || new.state().read() != EMPTY {
        return 0;
    }
    new.state().write(INSERTED);
    registered.push(new);
    1
}

fn deregister(record: usize) -> u8 {
    let mut registered = lock();
    let Some(index) = registered.iter().position(|known| known.record == record) else {
        return 0;
    };
    registered.remove(index).state().write(EMPTY);
    1
}

exports! { "ntoskrnl.exe";
    /// Has a routine called at a bug check, with a buffer that the dump holds.
    fn KeRegisterBugCheckCallback(record: usize, routine: usize, buffer: usize, length: u32, component: usize) -> u8 {
        if Guest::<u8>::at(record + PLAIN.state).read() == EMPTY {
            Guest::at(record + ROUTINE).write([routine, buffer]);
            Guest::at(record + LENGTH).write(length);
            Guest::at(record + PLAIN.component).write(component);
        }
        register(record, None)
    }

    /// Ends that.
    fn KeDeregisterBugCheckCallback(record: usize) -> u8 {
        deregister(record)
    }

    /// Has a routine called at a bug check for a reason.
    partial "for secondary dump data, which is not put into the dump, and added pages, which dumps hold anyway; FALSE for the other reasons"
    fn KeRegisterBugCheckReasonCallback(record: usize, routine: usize, reason: u32, component: usize) -> u8 {
        if !matches!(reason, SECONDARY | ADD_PAGES) {
            if (DUMP_IO..LAST_REASON).contains(&reason) {
                verifier::finding("refused", format!(
                    "KeRegisterBugCheckReasonCallback for reason {reason} at {}: the bench calls secondary data and added pages alone",
                    symbols::describe_call(verifier::here())
                ));
            }
            return 0;
        }
        if Guest::<u8>::at(record + REASONED.state).read() == EMPTY {
            Guest::at(record + ROUTINE).write([routine, component]);
            Guest::at(record + REASON).write(reason);
        }
        register(record, Some(reason))
    }

    /// Ends that.
    fn KeDeregisterBugCheckReasonCallback(record: usize) -> u8 {
        deregister(record)
    }
}
