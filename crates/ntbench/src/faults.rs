//! Kernel calls that are made to fail on demand, and how drivers come to them.
//!
//! A failure that matters is one on a path of the driver's own: the same allocation reached in two ways is handled, or
//! not, in two places. So call stacks are told apart by a hash of the driver's return addresses, relative to its image,
//! which is the same in every machine that loads the same image.

use std::cell::Cell;
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
    // The gate has asked for this call already.
    if !ARMED.load(Ordering::Acquire) || ASKED.take().is_some_and(|asked| asked == call) {
        return None;
    }
    count(call)
}

thread_local! {
    /// The call that the gate has asked for and let pass.
    static ASKED: Cell<Option<&'static str>> = const { Cell::new(None) };
}

fn count(call: &str) -> Option<NtStatus> {
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
            frames: callers
                .iter()
                .map(|at| symbols::describe_call(*at))
                .collect(),
        });
    }
    Some(hash)
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

/// Functions that are made to fail where they are called, because they do not look themselves.
static AT_GATE: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Those of `calls` that return a status and do not look themselves whether they are to fail.
pub(crate) fn fail_at_gate(calls: &[String]) {
    let at_gate = |call: &&String| !looks(call) && returns_status(call);
    let calls: Vec<String> = calls.iter().filter(at_gate).cloned().collect();
    if !calls.is_empty() {
        *AT_GATE.lock().unwrap_or_else(PoisonError::into_inner) = calls;
        crate::gate::hook();
    }
}

/// Whether this call is to fail without having been begun.
pub(crate) fn at_gate(call: &'static str) -> Option<NtStatus> {
    if !ARMED.load(Ordering::Acquire) {
        return None;
    }
    let asked = AT_GATE
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .iter()
        .any(|name| name == call);
    if !asked {
        return None;
    }
    ASKED.set(Some(call));
    count(call)
}

fn returns_status(name: &str) -> bool {
    crate::export::all().any(|export| export.name == name && export.returns_status())
}

/// Whether a function of that name can be made to fail.
pub(crate) fn can_fail(name: &str) -> bool {
    looks(name) || returns_status(name)
}

/// Whether a function that can fail answers NULL then, and no status.
pub(crate) fn fails_with_null(name: &str) -> bool {
    name != "KeExpandKernelStackAndCalloutEx" && !returns_status(name)
}

/// Whether the function itself asks [`check`].
fn looks(name: &str) -> bool {
    LOOK.contains(&name)
}

/// The functions that ask [`check`] themselves, once they have looked at how they were called.
const LOOK: &[&str] = &[
    "EtwRegister",
    "ExAllocatePool",
    "ExAllocatePool2",
    "ExAllocatePool3",
    "ExAllocatePoolWithTag",
    "FltAllocateCallbackData",
    "FltAllocateCallbackDataEx",
    "FltAllocateContext",
    "FltAllocateDeferredIoWorkItem",
    "FltAllocateExtraCreateParameter",
    "FltAllocateExtraCreateParameterList",
    "FltAllocateGenericWorkItem",
    "FltAllocatePoolAlignedWithTag",
    "FltAttachVolume",
    "FltAttachVolumeAtAltitude",
    "FltBuildDefaultSecurityDescriptor",
    "FltCancellableWaitForSingleObject",
    "FltCheckAndGrowNameControl",
    "FltCreateCommunicationPort",
    "FltCreateFile",
    "FltCreateFileEx",
    "FltCreateFileEx2",
    "FltCreateSystemVolumeInformationFolder",
    "FltDeviceIoControlFile",
    "FltFlushBuffers",
    "FltFsControlFile",
    "FltGetDestinationFileNameInformation",
    "FltGetFileContext",
    "FltGetFileNameInformation",
    "FltGetFileNameInformationUnsafe",
    "FltGetInstanceContext",
    "FltGetStreamContext",
    "FltGetStreamHandleContext",
    "FltGetTunneledName",
    "FltGetVolumeContext",
    "FltGetVolumeGuidName",
    "FltGetVolumeProperties",
    "FltInsertExtraCreateParameter",
    "FltLockUserBuffer",
    "FltObjectReference",
    "FltOpenVolume",
    "FltQueryDirectoryFile",
    "FltQueryInformationFile",
    "FltQuerySecurityObject",
    "FltQueryVolumeInformation",
    "FltQueryVolumeInformationFile",
    "FltQueueDeferredIoWorkItem",
    "FltQueueGenericWorkItem",
    "FltReadFile",
    "FltRegisterFilter",
    "FltSendMessage",
    "FltSetFileContext",
    "FltSetInformationFile",
    "FltSetInstanceContext",
    "FltSetSecurityObject",
    "FltSetStreamContext",
    "FltSetStreamHandleContext",
    "FltSetVolumeContext",
    "FltStartFiltering",
    "FltTagFile",
    "FltUntagFile",
    "FltWriteFile",
    "FsRtlAddToTunnelCache",
    "FsRtlGetFileSize",
    "FsRtlInitializeBaseMcb",
    "FsRtlInitializeLargeMcb",
    "IoAllocateMdl",
    "IoCreateDevice",
    "IoOpenDriverRegistryKey",
    "IoReplaceFileObjectName",
    "IoVolumeDeviceToDosName",
    "KeExpandKernelStackAndCalloutEx",
    "MmMapLockedPagesSpecifyCache",
    "MmProbeAndLockPages",
    "ObOpenObjectByPointer",
    "PsCreateSystemThread",
    "RtlCreateHashTable",
    "SeLocateProcessImageName",
    "ZwCreateFile",
    "ZwDeviceIoControlFile",
    "ZwFlushBuffersFile",
    "ZwFsControlFile",
    "ZwOpenFile",
    "ZwOpenKey",
    "ZwQueryDirectoryFile",
    "ZwQueryInformationFile",
    "ZwQueryValueKey",
    "ZwQueryVolumeInformationFile",
    "ZwReadFile",
    "ZwSetInformationFile",
    "ZwWriteFile",
];

#[cfg(test)]
mod tests {
    use super::{LOOK, can_fail, fails_with_null};

    #[test]
    fn what_looks_itself_is_an_export() {
        for name in LOOK {
            assert!(
                crate::export::all().any(|export| export.name == *name),
                "{name}"
            );
        }
        assert!(can_fail("FltIsDirectory") && !LOOK.contains(&"FltIsDirectory"));
        assert!(!can_fail("KeSetEvent") && !can_fail("NoSuchFunction"));
        assert!(fails_with_null("ExAllocatePool2") && !fails_with_null("FltRegisterFilter"));
    }
}
