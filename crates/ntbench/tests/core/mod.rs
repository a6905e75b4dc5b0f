//! Small drivers compiled on the spot, and machines to load them into.
#![allow(dead_code, reason = "each test crate uses a part of it")]

#[path = "../clang/mod.rs"]
pub(crate) mod clang;
#[path = "../mingw/mod.rs"]
mod mingw;

use std::path::PathBuf;
use std::process::Command;

use ntbench::wire::{BugCheckReport, DriverSpec, LoadedDriver, MachineConfig};
use ntbench::{Machine, MachineError, NtStatus};

pub(crate) use mingw::scratch;
use mingw::{COMPILER, library, run};

const IMPORTS: &[&str] = &[
    "IoGetStackLimits",
    "KeExpandKernelStackAndCalloutEx",
    "KeBugCheckEx",
    "KeInitializeEvent",
    "KeWaitForSingleObject",
    "ExRaiseStatus",
    "ExRaiseAccessViolation",
    "ExRaiseDatatypeMisalignment",
    "ProbeForRead",
    "ProbeForWrite",
    "memcpy",
    "MmHighestUserAddress DATA",
    "ExAllocatePool2",
    "ExFreePoolWithTag",
    "__C_specific_handler",
    "NoSuchFunction",
    "NorThisOne",
    "__chkstk",
];
const FILTER_IMPORTS: &[&str] = &[
    "FltRegisterFilter",
    "FltStartFiltering",
    "FltUnregisterFilter",
    "FltBuildDefaultSecurityDescriptor",
    "FltFreeSecurityDescriptor",
    "FltCreateCommunicationPort",
    "FltCloseCommunicationPort",
    "FltCloseClientPort",
    "FltSendMessage",
];

/// Compiles the case `name` of `core.c`, `defines` in the form `SIZE=0x6000`.
pub(crate) fn compile(name: &str, defines: &[&str]) -> PathBuf {
    compile_from("core.c", name, defines)
}

/// Compiles the case `name` of that file.
pub(crate) fn compile_from(file: &str, name: &str, defines: &[&str]) -> PathBuf {
    let folder = scratch();
    let image = folder.join(format!("{name}.sys"));
    let source = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/core")
        .join(file);
    run(Command::new(COMPILER)
        .args([
            "-shared",
            "-nostdlib",
            "-ffreestanding",
            "-O1",
            "-fno-omit-frame-pointer",
            "-fno-stack-protector",
        ])
        .args([
            "-fno-optimize-sibling-calls",
            "-mno-stack-arg-probe",
            "-Wall",
            "-Werror",
        ])
        .args([
            "-Wno-infinite-recursion",
            "-Wno-unused-function",
            "-Wno-array-bounds",
            "-Wno-unused-but-set-variable",
        ])
        .args([
            "-Wl,--subsystem,native",
            "-Wl,-e,DriverEntry",
            "-Wl,--dynamicbase",
        ])
        .arg(format!("-DCASE_{name}"))
        .args(defines.iter().map(|define| format!("-D{define}")))
        .arg(&source)
        .arg("-o")
        .arg(&image)
        .arg(library(&folder, "ntoskrnl.exe", IMPORTS))
        .arg(library(&folder, "fltmgr.sys", FILTER_IMPORTS)));
    image
}

/// A machine from this package's own executable.
pub(crate) fn machine(config: MachineConfig) -> Machine {
    let host = Some(PathBuf::from(env!("CARGO_BIN_EXE_ntbench")));
    Machine::boot(MachineConfig { host, ..config }).expect("a machine")
}

/// Loads a driver.
pub(crate) fn load(machine: &Machine, image: PathBuf) -> Result<LoadedDriver, MachineError> {
    machine.load_driver(DriverSpec {
        image,
        ..DriverSpec::default()
    })
}

/// Loads a case that must come back with success; gives its `result` words.
pub(crate) fn results(machine: &Machine, name: &str, defines: &[&str]) -> Vec<u64> {
    results_of("core.c", machine, name, defines)
}

/// As [`results`], of that file.
pub(crate) fn results_of(file: &str, machine: &Machine, name: &str, defines: &[&str]) -> Vec<u64> {
    let loaded = load(machine, compile_from(file, name, defines)).expect("loads");
    assert_eq!(loaded.status, NtStatus::SUCCESS);
    let address = machine.symbol(&format!("{name}!result")).expect("a symbol");
    let bytes = machine.read(address, 128).expect("its memory");
    bytes
        .chunks_exact(8)
        .map(|word| u64::from_le_bytes(word.try_into().expect("eight bytes")))
        .collect()
}

/// Loads a case that must end its machine.
pub(crate) fn bug_check(name: &str, defines: &[&str]) -> BugCheckReport {
    bug_check_of("core.c", name, defines)
}

/// As [`bug_check`], of that file.
pub(crate) fn bug_check_of(file: &str, name: &str, defines: &[&str]) -> BugCheckReport {
    let machine = machine(MachineConfig::default());
    match load(&machine, compile_from(file, name, defines)) {
        Err(MachineError::BugCheck(report)) => *report,
        other => panic!("{name}: no bug check but {other:?}"),
    }
}
