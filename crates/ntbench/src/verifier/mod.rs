//! What a driver did that its contracts forbid.

mod embedded;
pub(crate) mod rules;
pub(crate) mod stack_use;
mod taken;

use std::cell::RefCell;
use std::sync::{Mutex, PoisonError};

pub(crate) use embedded::Embedded;
pub(crate) use taken::Taken;

use crate::wire::{Finding, TraceEvent};
use crate::{gate, machine, symbols, thread, trace};

static FINDINGS: Mutex<Vec<Finding>> = Mutex::new(Vec::new());
const MOST: usize = 10_000;

/// Whom or what a finding is about, where it is not the call that is running.
enum Subject {
    /// A driver, by its service.
    Driver(String),
    /// A routine of a driver's.
    Routine(usize),
}

thread_local! {
    /// The drivers that are being looked at after they have returned; the innermost is the one to blame.
    static BLAMED: RefCell<Vec<Subject>> = const { RefCell::new(Vec::new()) };
}

/// What is found while this lives is that driver's, whoever called last.
pub(crate) struct Blame(());

/// Looks at what a driver has left behind.
pub(crate) fn blame(service: &str) -> Blame {
    look_at(Subject::Driver(service.to_owned()))
}

/// Looks at what a routine of a driver's has done, which has returned.
pub(crate) fn blame_routine(routine: usize) -> Blame {
    look_at(Subject::Routine(routine))
}

fn look_at(subject: Subject) -> Blame {
    BLAMED.with_borrow_mut(|blamed| blamed.push(subject));
    Blame(())
}

impl Drop for Blame {
    fn drop(&mut self) {
        BLAMED.with_borrow_mut(Vec::pop);
    }
}

/// Something that a driver left behind, and the call that it came from (0: not known).
pub(crate) struct Leak {
    pub(crate) text: String,
    pub(crate) site: usize,
}

/// The address that the driver's call which is running returns to; 0: none is running. A call that was a routine's last jump returns
/// to the bench: then it is the beginning of that routine.
pub(crate) fn here() -> usize {
    let Some(site) = gate::call_site() else {
        return 0;
    };
    if site.return_address != gate::return_address() {
        return site.return_address;
    }
    // Names are looked up for the byte before.
    gate::routine_under_way().map_or(site.return_address, |routine| routine + 1)
}

/// Records a violation of `rule`: `text` says what was seen. The place is the routine that is looked at, else the driver's call that is running.
pub(crate) fn finding(rule: &str, text: impl Into<String>) {
    let place = BLAMED.with_borrow(|blamed| {
        blamed.last().map(|subject| match subject {
            Subject::Driver(_) => None,
            Subject::Routine(routine) => Some(symbols::describe(*routine)),
        })
    });
    match place {
        Some(place) => record(rule, text.into(), place, 0),
        None => finding_at(rule, here(), text),
    }
}

/// Records a violation whose place is an earlier call, by the address that it returns to; 0: it is not known.
pub(crate) fn finding_at(rule: &str, site: usize, text: impl Into<String>) {
    let place = (site != 0).then(|| symbols::describe_call(site));
    record(rule, text.into(), place, site);
}

/// Records a violation of a driver's whose place was described when it was seen.
pub(crate) fn finding_in(rule: &str, driver: &str, place: Option<String>, text: String) {
    let _blame = blame(driver);
    record(rule, text, place, 0);
}

fn record(rule: &str, text: String, place: Option<String>, site: usize) {
    let service_of = |site| machine::module_at(site).map(|module| module.service.clone());
    let blamed = BLAMED.with_borrow(|blamed| match blamed.last()? {
        Subject::Driver(service) => Some(service.clone()),
        Subject::Routine(routine) => service_of(*routine),
    });
    let finding = Finding {
        rule: rule.to_owned(),
        text,
        advice: rules::advice(rule).to_owned(),
        site: place,
        tid: thread::try_current().map_or(0, |thread| thread.tid),
        driver: blamed.or_else(|| service_of(site)),
    };
    trace::push(TraceEvent::Finding(finding.clone()));
    let mut findings = FINDINGS.lock().unwrap_or_else(PoisonError::into_inner);
    // A driver that does it on every call must not fill the host's memory.
    if findings.len() < MOST {
        findings.push(finding);
    }
}

/// All findings so far.
pub(crate) fn all() -> Vec<Finding> {
    FINDINGS
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .clone()
}
