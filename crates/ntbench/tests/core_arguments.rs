//! A bad user address in every argument of every function that drivers can import: an exception that the caller's `__try` takes, a
//! refusal, or a bug check that says what is wrong; never a fault that the bench cannot explain.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod core;

use std::path::Path;

use core::{clang, load, machine};
use ntbench::MachineError;
use ntbench::wire::{MachineConfig, StackKind, ThreadSpec};

/// Functions by name, from the table of what there is.
fn functions() -> Vec<String> {
    ntbench::coverage()
        .lines()
        .filter_map(|line| {
            let name = line.strip_prefix("| `")?.split_once('`')?.0;
            // Those of cng.sys are found by an import alone, which this driver has not.
            let found = ntbench::is_export(name) && !name.starts_with("BCrypt");
            found.then(|| name.to_owned())
        })
        .collect()
}

/// What is no function, and those whose purpose it is to wait so long, to end the machine, or to take arguments elsewhere.
const OTHERS: &[&str] = &[
    "ExDesktopObjectType",
    "ExEventObjectType",
    "ExSemaphoreObjectType",
    "ExWindowStationObjectType",
    "FsRtlLegalAnsiCharacterArray",
    "InitSafeBootMode",
    "IoDeviceObjectType",
    "IoDriverObjectType",
    "IoFileObjectType",
    "KdDebuggerEnabled",
    "KdDebuggerNotPresent",
    "KeStallExecutionProcessor",
    "LpcPortObjectType",
    "Mm64BitPhysicalAddress",
    "MmHighestUserAddress",
    "MmSectionObjectType",
    "MmSystemRangeStart",
    "MmUserProbeAddress",
    "NlsMbCodePageTag",
    "NlsMbOemCodePageTag",
    "NtBuildNumber",
    "PsInitialSystemProcess",
    "PsJobType",
    "PsProcessType",
    "PsThreadType",
    "SeTokenObjectType",
    "TmTransactionObjectType",
    "__chkstk",
    "__security_check_cookie",
];

/// Parts of the names of functions on objects that the kernel waits for or spins on: in no user memory, and looked at where
/// no exception may be.
const SYNCHRONISATION: &[&str] = &[
    "PushLock",
    "FastMutex",
    "GuardedMutex",
    "RundownProtection",
    "RundownCompleted",
    "RemoveLock",
    "RunOnce",
    "SpinLock",
    "ExInterlocked",
    "Event",
    "Mutex",
    "Semaphore",
    "Timer",
    "IoInitializeIrp",
    "KeInitializeQueue",
];

/// What comes of one call that should not have; `None`: all is well.
fn call(image: &Path, name: &str) -> Option<String> {
    let machine = machine(MachineConfig::default());
    load(&machine, image.to_owned()).expect("loads");
    let spec = ThreadSpec {
        process_image: "user.exe".to_owned(),
        process: 0,
        stack: StackKind::Ordinary,
    };
    let thread = machine.thread(spec).expect("a thread");
    let probe = machine.symbol("arguments!probe").expect("a symbol");
    let mut bytes = name.as_bytes().to_vec();
    bytes.resize(64, 0);
    let words: Vec<u64> = bytes
        .chunks_exact(8)
        .map(|word| u64::from_le_bytes(word.try_into().expect("eight bytes")))
        .collect();
    let said = match thread.measure_routine(probe, &words, 1) {
        // An exception, or none.
        Ok(timing) if [1, 2].contains(&timing.value) => return None,
        Err(MachineError::BugCheck(report)) => {
            let explained = !report.text.contains("a defect of the bench");
            if explained || SYNCHRONISATION.iter().any(|part| name.contains(part)) {
                return None;
            }
            format!("{:#x} {}", report.code, report.text)
        }
        other => format!("{other:?}").chars().take(300).collect(),
    };
    Some(format!("{name}: {said}"))
}

#[test]
fn a_bad_user_address_is_no_riddle() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/core/arguments.c");
    let image = clang::driver(&source, "arguments", &[], &[]);
    let functions = functions();
    assert!(functions.len() > 500, "{functions:?}");
    let wrong: Vec<String> = functions
        .iter()
        .filter(|name| !OTHERS.contains(&name.as_str()))
        .filter_map(|name| call(&image, name))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
