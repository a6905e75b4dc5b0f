//! Kernel calls that are made to fail on demand, and how drivers come to them.
//!
//! A failure that matters is one on a path of the driver's own: the same allocation reached in two ways is handled, or
//! not, in two places. So call stacks are told apart by a hash of the driver's return addresses, relative to its image,
//! which is the same in every machine that loads the same image.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::wire::{CallStack, FaultCount, FaultRule, NtStatus, When};
use crate::{machine, stack, symbols};

static ARMED: AtomicBool = AtomicBool::new(false);
static RULES: Mutex<Vec<Counted>> = Mutex::new(Vec::new());
/// Whether anything looks at call stacks.
static STACKS: AtomicBool = AtomicBool::new(false);
static GATHERED: Mutex<Option<Gathered>> = Mutex::new(None);

struct Counted {
    rule: FaultRule,
    calls: u64,
    failed: u64,
}

#[derive(Default)]
struct Gathered {
    seen: HashSet<u64>,
    stacks: Vec<CallStack>,
}

/// Replaces all rules; counts start afresh.
pub(crate) fn set(rules: Vec<FaultRule>) {
    let gathering = GATHERED
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .is_some();
    let by_stack = |rule: &FaultRule| matches!(rule.when, When::Stack(_));
    STACKS.store(gathering || rules.iter().any(by_stack), Ordering::Release);
    ARMED.store(gathering || !rules.is_empty(), Ordering::Release);
    *RULES.lock().unwrap_or_else(PoisonError::into_inner) = rules
        .into_iter()
        .map(|rule| Counted {
            rule,
            calls: 0,
            failed: 0,
        })
        .collect();
}

/// Gathers call stacks from now on, all but the known ones; takes effect with the next [`set`].
pub(crate) fn gather(known: Option<Vec<u64>>) {
    *GATHERED.lock().unwrap_or_else(PoisonError::into_inner) = known.map(|known| Gathered {
        seen: known.into_iter().collect(),
        stacks: Vec::new(),
    });
}

/// The call stacks gathered so far.
pub(crate) fn call_stacks() -> Vec<CallStack> {
    GATHERED
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .as_ref()
        .map_or_else(Vec::new, |gathered| gathered.stacks.clone())
}

/// Whether this call of `call` is to fail, and with what. Each export that can fail asks this first.
pub(crate) fn check(call: &str) -> Option<NtStatus> {
    if !ARMED.load(Ordering::Acquire) {
        return None;
    }
    let stack = STACKS.load(Ordering::Acquire).then(|| look(call)).flatten();
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
            When::Stack(hash) => stack == Some(hash) && counted.failed == 0,
        };
        if hit && answer.is_none() {
            counted.failed += 1;
            answer = Some(counted.rule.status);
        }
    }
    answer
}

/// The hash of the driver's call stack, which is gathered if it is a new one. `None`: no driver called.
fn look(call: &str) -> Option<u64> {
    let callers = stack::callers();
    if callers.is_empty() {
        return None;
    }
    let mut hasher = DefaultHasher::new();
    call.hash(&mut hasher);
    for address in &callers {
        let module = machine::module_at(*address)?;
        module.image.name.hash(&mut hasher);
        (address - module.image.base).hash(&mut hasher);
    }
    let hash = hasher.finish();
    let mut gathered = GATHERED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(gathered) = gathered.as_mut()
        && gathered.seen.insert(hash)
    {
        gathered.stacks.push(CallStack {
            call: call.to_owned(),
            hash,
            frames: callers.iter().map(|at| describe(*at)).collect(),
        });
    }
    Some(hash)
}

fn describe(address: usize) -> String {
    match symbols::name_of_call(address, false) {
        (symbol, Some(source)) => format!("{symbol} ({source})"),
        (symbol, None) => symbol,
    }
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

/// Whether a function of that name can be made to fail.
pub(crate) fn can_fail(name: &str) -> bool {
    crate::export::all().any(|export| export.name == name)
}
