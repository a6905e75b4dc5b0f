//! Kernel calls that are made to fail on demand.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::wire::{FaultCount, FaultRule, NtStatus, When};

static ARMED: AtomicBool = AtomicBool::new(false);
static RULES: Mutex<Vec<Counted>> = Mutex::new(Vec::new());

struct Counted {
    rule: FaultRule,
    calls: u64,
    failed: u64,
}

/// Replaces all rules; counts start afresh.
pub(crate) fn set(rules: Vec<FaultRule>) {
    ARMED.store(!rules.is_empty(), Ordering::Release);
    *RULES.lock().unwrap_or_else(PoisonError::into_inner) = rules
        .into_iter()
        .map(|rule| Counted {
            rule,
            calls: 0,
            failed: 0,
        })
        .collect();
}

/// Whether this call of `call` is to fail, and with what. Each export that can fail asks this first.
pub(crate) fn check(call: &str) -> Option<NtStatus> {
    if !ARMED.load(Ordering::Acquire) {
        return None;
    }
    let mut answer = None;
    for counted in RULES
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .iter_mut()
    {
        if counted.rule.call != call {
            continue;
        }
        counted.calls += 1;
        let hit = match counted.rule.when {
            When::Always => true,
            When::Nth(n) => counted.calls == n,
            When::From(n) => counted.calls >= n,
        };
        if hit && answer.is_none() {
            counted.failed += 1;
            answer = Some(counted.rule.status);
        }
    }
    answer
}

/// How the rules were used.
pub(crate) fn counts() -> Vec<FaultCount> {
    let count = |counted: &Counted| FaultCount {
        call: counted.rule.call.clone(),
        calls: counted.calls,
        failed: counted.failed,
    };
    RULES
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .iter()
        .map(count)
        .collect()
}
