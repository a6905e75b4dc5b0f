//! What a driver did that its contracts forbid.

use std::cell::RefCell;
use std::sync::{Mutex, PoisonError};

use crate::wire::{Finding, TraceEvent};
use crate::{gate, machine, symbols, thread, trace};

static FINDINGS: Mutex<Vec<Finding>> = Mutex::new(Vec::new());
const MOST: usize = 10_000;

thread_local! {
    /// The drivers that are being looked at after they have returned; the innermost is the one to blame.
    static BLAMED: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// What is found while this lives is that driver's, whoever called last.
pub(crate) struct Blame(());

/// Looks at what a driver has left behind.
pub(crate) fn blame(service: &str) -> Blame {
    BLAMED.with_borrow_mut(|blamed| blamed.push(service.to_owned()));
    Blame(())
}

impl Drop for Blame {
    fn drop(&mut self) {
        BLAMED.with_borrow_mut(Vec::pop);
    }
}

/// Records a violation of `rule`: `text` says what was seen and how to mend it. The driver's call site is added.
pub(crate) fn finding(rule: &str, text: impl Into<String>) {
    let site = gate::call_site().map(|site| site.return_address);
    let caller = || machine::module_at(site?).map(|module| module.service.clone());
    let finding = Finding {
        rule: rule.to_owned(),
        text: text.into(),
        site: site.map(symbols::describe_call),
        tid: thread::try_current().map_or(0, |thread| thread.tid),
        driver: BLAMED
            .with_borrow(|blamed| blamed.last().cloned())
            .or_else(caller),
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
