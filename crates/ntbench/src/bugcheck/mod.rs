//! Bug checks: the end of a machine, with a report.

pub(crate) mod callbacks;
pub(crate) mod code;
pub(crate) mod dump;
pub(crate) mod records;

use std::sync::atomic::{AtomicBool, Ordering};

use crate::stack::{self, Context};
use crate::status::NtStatus;
use crate::wire::{BugCheckReport, Message};
use crate::{gate, machine, symbols, thread, trace, verifier};

/// The machine's exit status after a bug check, for whoever looks at processes.
const EXIT_STATUS: i32 = 0x7F;

static ENDING: AtomicBool = AtomicBool::new(false);

/// Ends the machine with a bug check that the host found.
pub(crate) fn raise(code: u32, parameters: [u64; 4], text: impl Into<String>) -> ! {
    end(code, parameters, text, Context::Host)
}

/// Ends the machine because the driver passed `address` for what is none: what the kernel does there is an access violation
/// that nobody handles.
pub(crate) fn no_such(address: usize, text: String) -> ! {
    crate::cpu::unhandled::no_such(address, text)
}

/// A status as a parameter of 0x1E and 0x7E has it: with its sign carried on.
pub(crate) fn signed(status: NtStatus) -> u64 {
    i64::from(status.0).cast_unsigned()
}

/// Ends the machine with a bug check. The first one wins: a machine dies once.
pub(crate) fn end(code: u32, parameters: [u64; 4], text: impl Into<String>, context: Context) -> ! {
    let mut text = text.into();
    if ENDING.swap(true, Ordering::AcqRel) {
        callbacks::failed(code, &text);
        loop {
            std::thread::park();
        }
    }
    let thread = thread::try_current();
    if let Some(message) = machine::sending() {
        text.push_str("; ");
        text.push_str(&message);
    }
    for wrong in callbacks::run(code) {
        text.push_str("; ");
        text.push_str(&wrong);
    }
    let name = code::name(code).to_owned();
    // First, while everything is as it was.
    let dump = dump::write(code, parameters, &text, context);
    verifier::stack_use::judge();
    let report = BugCheckReport {
        code,
        parameters,
        meaning: code::meaning(code).map(str::to_owned),
        text,
        tid: thread.map_or(0, |thread| thread.tid),
        pid: thread.map_or(0, thread::Thread::pid),
        process_image: thread.map_or_else(String::new, |thread| thread.process.image.clone()),
        irql: thread.map_or(0, thread::Thread::irql),
        stack: stack::listing(&format!("bug check {code:#X} {name}"), context),
        name,
        trace: trace::take(),
        findings: verifier::all(),
        stack_use: verifier::stack_use::all(),
        dump,
    };
    machine::send(&Message::BugCheck(Box::new(report)));
    machine::exit(EXIT_STATUS)
}

/// Who asked for it.
fn called() -> String {
    let site =
        gate::call_site().map(|site| (site.import, symbols::describe_call(site.return_address)));
    let (import, place) = site.unwrap_or(("nt!KeBugCheckEx", "nowhere".to_owned()));
    format!("{place} called {import}")
}

exports! { "ntoskrnl.exe";
    /// The driver's own bug check.
    fn KeBugCheckEx(code: u32, p1: u64, p2: u64, p3: u64, p4: u64) {
        raise(code, [p1, p2, p3, p4], called())
    }

    /// As [`KeBugCheckEx`], without parameters.
    fn KeBugCheck(code: u32) {
        raise(code, [0; 4], called())
    }
}
