//! What a driver did that its contracts forbid.

use std::sync::{Mutex, PoisonError};

use crate::wire::{Finding, TraceEvent};
use crate::{gate, symbols, thread, trace};

static FINDINGS: Mutex<Vec<Finding>> = Mutex::new(Vec::new());
const MOST: usize = 10_000;

/// Records a violation of `rule`: `text` says what was seen and how to mend it. The driver's call site is added.
pub(crate) fn finding(rule: &str, text: impl Into<String>) {
    let finding = Finding {
        rule: rule.to_owned(),
        text: text.into(),
        site: gate::call_site().map(|site| symbols::describe(site.return_address)),
        tid: thread::try_current().map_or(0, |thread| thread.tid),
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
