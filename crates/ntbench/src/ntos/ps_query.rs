//! What the system tells of processes: `ZwQueryInformationProcess`, `ZwQuerySystemInformation`, and handles to processes.

use super::handle::{self, Target};
use super::memory::{Guest, wide};
use super::notify::{self, Wanted};
use super::{MACHINE, attach, irql, process_type, ps, time};
use crate::abi::base::{ClientId, UnicodeString};
use crate::abi::flt::KERNEL_MODE;
use crate::abi::ob::{OBJ_KERNEL_HANDLE, ObjectAttributes};
use crate::faults;
use crate::status::NtStatus;
use crate::thread::{self, PASSIVE_LEVEL, Process};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// `PROCESS_ALL_ACCESS`, which `GENERIC_ALL` and `MAXIMUM_ALLOWED` come to.
const ALL_ACCESS: u32 = 0x1F_FFFF;
const GENERIC_ALL: u32 = 0x1000_0000;
const MAXIMUM_ALLOWED: u32 = 0x0200_0000;
const GENERIC: u32 = 0xF200_0000;

/// Makes a handle to a process with what callbacks leave of the access wanted; gives the handle, and the access.
pub(crate) fn open(
    process: &Process,
    access: u32,
    attributes: u32,
    mode: i8,
) -> Result<(u64, u32), NtStatus> {
    let all = if access & (GENERIC_ALL | MAXIMUM_ALLOWED) == 0 {
        0
    } else {
        ALL_ACCESS
    };
    let wanted = Wanted {
        operation: notify::HANDLE_CREATE,
        object: process.object,
        object_type: process_type(),
        access: access & !GENERIC | all,
        kernel: attributes & OBJ_KERNEL_HANDLE != 0,
        processes: (0, 0),
    };
    let mut granted = 0;
    let (handle, status) = notify::handle_filtered(wanted, |access| {
        granted = access;
        let made = handle::open(Target::Process(process.object), access, attributes, mode);
        (made, NtStatus::SUCCESS)
    });
    if status.is_success() {
        Ok((handle, granted))
    } else {
        Err(status)
    }
}

/// `NtOpenProcess` of a program.
pub(crate) fn nt_open_process(pid: u64, access: u32) -> Result<(u64, u32), NtStatus> {
    let process = ps::process_of(pid).ok_or(NtStatus::INVALID_CID)?;
    open(&process, access, 0, crate::abi::flt::USER_MODE)
}

/// The process of a handle.
pub(crate) fn of_handle(handle: u64) -> Result<Arc<Process>, NtStatus> {
    if handle.cast_signed() == -1 {
        return Ok(attach::with(Arc::clone));
    }
    match handle::look_up(handle, KERNEL_MODE)? {
        (Target::Process(object), _) => ps::process_at(object).ok_or(NtStatus::INVALID_HANDLE),
        _ => Err(NtStatus::OBJECT_TYPE_MISMATCH),
    }
}

/// Words of a structure, as bytes.
fn quads(values: &[u64]) -> Vec<u8> {
    values
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect()
}

/// A counted string with its text behind it, as it is at `address`.
fn string(address: usize, text: &[u16]) -> Vec<u8> {
    let length = u16::try_from(text.len() * 2).unwrap_or(u16::MAX - 3);
    let mut bytes = Vec::with_capacity(size_of::<UnicodeString>() + text.len() * 2 + 2);
    bytes.extend(length.to_le_bytes());
    bytes.extend((length + 2).to_le_bytes());
    bytes.extend([0; 4]);
    bytes.extend(((address + size_of::<UnicodeString>()) as u64).to_le_bytes());
    bytes.extend(text.iter().chain(&[0]).flat_map(|unit| unit.to_le_bytes()));
    bytes
}

/// What a class tells of a process, in a buffer at `address`, and whether the buffer must be just as long.
fn told(process: &Process, class: u32, address: usize) -> Option<(Vec<u8>, bool)> {
    let exact = |bytes: Vec<u8>| Some((bytes, true));
    match class {
        // ProcessBasicInformation: exit status, PEB, affinity, priority, ids of the process and its parent.
        0 => {
            let status = process.exit_status.load(Ordering::Acquire).cast_unsigned();
            exact(quads(&[
                status.into(),
                0,
                1,
                8,
                process.pid,
                process.parent,
            ]))
        }
        // ProcessTimes
        4 => exact(quads(&[process.created.cast_unsigned(), 0, 0, 0])),
        // ProcessDebugPort, ProcessWow64Information: none.
        7 | 26 => exact(vec![0; 8]),
        // ProcessSessionInformation
        24 => exact(ps::session(process).to_le_bytes().to_vec()),
        // ProcessImageFileName, ProcessImageFileNameWin32, ProcessCommandLineInformation
        27 => Some((string(address, &ps::image_path(process)), false)),
        43 => Some((string(address, &wide(&win32_path(process))), false)),
        60 => {
            let line = process.command_line.clone();
            Some((
                string(address, &wide(&line.unwrap_or_else(|| win32_path(process)))),
                false,
            ))
        }
        // ProcessProtectionInformation: no process is protected.
        61 => exact(vec![0]),
        _ => None,
    }
}

fn win32_path(process: &Process) -> String {
    format!("C:{}{}", ps::FOLDER, process.image)
}

fn answer(
    bytes: &[u8],
    exact: bool,
    buffer: Guest<u8>,
    length: u32,
    needed: Guest<u32>,
) -> NtStatus {
    needed.write_opt(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
    let room = length as usize;
    if room < bytes.len() || (exact && room != bytes.len()) {
        return NtStatus::INFO_LENGTH_MISMATCH;
    }
    buffer.write_many(bytes);
    NtStatus::SUCCESS
}

/// `SYSTEM_BASIC_INFORMATION`.
fn basic() -> Vec<u8> {
    let mut bytes = vec![0; 64];
    let mut put = |at: usize, value: u64, length: usize| {
        bytes[at..at + length].copy_from_slice(&value.to_le_bytes()[..length]);
    };
    put(4, u64::from(time::TICK), 4);
    put(8, 0x1000, 4);
    put(12, 0x10_0000, 4);
    put(24, 0x1_0000, 4);
    put(32, 0x1_0000, 8);
    put(48, 1, 8);
    put(56, 1, 1);
    bytes
}

/// Where the fixed part of `SYSTEM_PROCESS_INFORMATION` ends, and how long what follows of each thread is.
const PROCESS_BYTES: usize = 0x100;
const THREAD_BYTES: usize = 0x50;

/// `SYSTEM_PROCESS_INFORMATION` of every process that has threads, one behind the other from `address` on.
fn processes(address: usize) -> Vec<u8> {
    let threads = thread::all();
    let mut listed: Vec<Arc<Process>> = Vec::new();
    for thread in &threads {
        if !listed.iter().any(|process| process.pid == thread.pid()) {
            listed.push(Arc::clone(&thread.process));
        }
    }
    listed.sort_by_key(|process| process.pid);
    let mut all = Vec::new();
    for (index, process) in listed.iter().enumerate() {
        let theirs: Vec<_> = threads
            .iter()
            .filter(|thread| thread.pid() == process.pid)
            .collect();
        let name_at = PROCESS_BYTES + theirs.len() * THREAD_BYTES;
        let name = string(address + all.len() + name_at - 16, &wide(&process.image));
        let (header, text) = name.split_at(16);
        let length = (name_at + text.len()).next_multiple_of(8);
        let mut entry = vec![0; length];
        let mut put = |at: usize, bytes: &[u8]| entry[at..at + bytes.len()].copy_from_slice(bytes);
        if index + 1 < listed.len() {
            put(0, &u32::try_from(length).unwrap_or(0).to_le_bytes());
        }
        put(4, &u32::try_from(theirs.len()).unwrap_or(0).to_le_bytes());
        put(32, &process.created.to_le_bytes());
        put(56, header);
        put(72, &8_u32.to_le_bytes());
        put(80, &process.pid.to_le_bytes());
        put(88, &process.parent.to_le_bytes());
        put(100, &ps::session(process).to_le_bytes());
        for (index, thread) in theirs.iter().enumerate() {
            put(
                PROCESS_BYTES + index * THREAD_BYTES + 40,
                &quads(&[thread.pid(), thread.tid]),
            );
        }
        put(name_at, text);
        all.extend(entry);
    }
    all
}

exports! { "ntoskrnl.exe";
    /// A handle for the process with an id.
    partial "of processes that have threads; nobody is denied access but by object callbacks"
    fn ZwOpenProcess(handle: Guest<u64>, access: u32, attributes: Guest<ObjectAttributes>, client: Guest<ClientId>) -> NtStatus {
        irql::at_most("ZwOpenProcess", PASSIVE_LEVEL);
        handle.write(0);
        if let Some(status) = faults::check("ZwOpenProcess") {
            return status;
        }
        let attributes = attributes.read();
        // A process has no name to be opened by: the id alone says which one is meant.
        if !attributes.object_name.is_null() || client.is_null() {
            return NtStatus::INVALID_PARAMETER_MIX;
        }
        let client = client.read();
        let Some(process) = ps::process_of(client.process.expose_provenance() as u64) else {
            return NtStatus::INVALID_CID;
        };
        if !client.thread.is_null() && !ps::has_thread(process.pid, client.thread.expose_provenance() as u64) {
            return NtStatus::INVALID_CID;
        }
        match open(&process, access, attributes.attributes, KERNEL_MODE) {
            Ok((made, _)) => {
                handle.write(made);
                NtStatus::SUCCESS
            }
            Err(status) => status,
        }
    }

    /// What a class tells of a process.
    partial "basic and session information, times, names, command line, debug port, WoW64 and protection; STATUS_INVALID_INFO_CLASS for other classes"
    fn ZwQueryInformationProcess(handle: u64, class: u32, buffer: Guest<u8>, length: u32, needed: Guest<u32>) -> NtStatus {
        irql::at_most("ZwQueryInformationProcess", PASSIVE_LEVEL);
        if let Some(status) = faults::check("ZwQueryInformationProcess") {
            return status;
        }
        let process = match of_handle(handle) {
            Ok(process) => process,
            Err(status) => return status,
        };
        match told(&process, class, buffer.address()) {
            Some((bytes, exact)) => answer(&bytes, exact, buffer, length, needed),
            None => NtStatus::INVALID_INFO_CLASS,
        }
    }

    /// What a class tells of the system.
    partial "basic and process information, code integrity, kernel debugger; STATUS_INVALID_INFO_CLASS for other classes"
    fn ZwQuerySystemInformation(class: u32, buffer: Guest<u8>, length: u32, needed: Guest<u32>) -> NtStatus {
        irql::at_most("ZwQuerySystemInformation", PASSIVE_LEVEL);
        if let Some(status) = faults::check("ZwQuerySystemInformation") {
            return status;
        }
        match class {
            0 => answer(&basic(), true, buffer, length, needed),
            5 => answer(&processes(buffer.address()), false, buffer, length, needed),
            // SystemKernelDebuggerInformation: none is there.
            35 => answer(&[0, 1], false, buffer, length, needed),
            // SystemCodeIntegrityInformation: on.
            103 => {
                if length != 8 || buffer.add(0).is_null() || Guest::<u32>::at(buffer.address()).read() != 8 {
                    return NtStatus::INFO_LENGTH_MISMATCH;
                }
                answer(&quads(&[8 | 1 << 32]), true, buffer, length, needed)
            }
            _ => NtStatus::INVALID_INFO_CLASS,
        }
    }

    /// How many processors there are: the machine has one.
    partial "1: drivers' threads run at the same time as if on more"
    fn KeQueryActiveProcessorCountEx(_group: u16) -> u32 {
        u32::from(MACHINE.get().is_some())
    }

    /// The same.
    partial "1: drivers' threads run at the same time as if on more"
    fn KeQueryActiveProcessorCount(affinity: Guest<u64>) -> u32 {
        affinity.write_opt(1);
        1
    }

    /// The most processors there can be.
    partial "1: drivers' threads run at the same time as if on more"
    fn KeQueryMaximumProcessorCountEx(_group: u16) -> u32 {
        1
    }
}
