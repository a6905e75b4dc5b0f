//! Errors that somebody is to be told of: the event log's entries, and what a removable volume needs of its user.
//!
//! `IoAllocateErrorLogEntry`, `IoWriteErrorLogEntry`, `IoRaiseInformationalHardError`, `IoSetHardErrorOrVerifyDevice`.

use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use super::memory::Guest;
use super::{driver, irql, pool};
use crate::abi::base::UnicodeString;
use crate::abi::irp::Irp;
use crate::maps::HashMap;
use crate::status::NtStatus;
use crate::thread::{self, APC_LEVEL, DISPATCH_LEVEL, PASSIVE_LEVEL};
use crate::{bugcheck, faults, trace};

const TAG: u32 = u32::from_le_bytes(*b"IoEr");
/// `sizeof(IO_ERROR_LOG_PACKET)`, and `ERROR_LOG_MAXIMUM_SIZE`.
const LEAST: u8 = 0x30;
const MOST: u8 = 0xF0;
/// In the packet: how much dump data, how many strings and where they are, the event's code, the status.
const DUMP_SIZE: usize = 2;
const STRINGS: usize = 4;
const STRINGS_AT: usize = 6;
const CODE: usize = 12;
const STATUS: usize = 20;

/// Entries that drivers hold: how long they are, and whose.
static ENTRIES: LazyLock<Mutex<HashMap<usize, (u8, String)>>> = LazyLock::new(Mutex::default);
/// The device that a thread's user has to see to.
static TO_VERIFY: LazyLock<Mutex<HashMap<usize, usize>>> = LazyLock::new(Mutex::default);

fn entries() -> MutexGuard<'static, HashMap<usize, (u8, String)>> {
    ENTRIES.lock().unwrap_or_else(PoisonError::into_inner)
}

fn to_verify() -> MutexGuard<'static, HashMap<usize, usize>> {
    TO_VERIFY.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The entry at an address, which its driver gives up.
fn take(call: &str, entry: usize) -> (u8, String) {
    irql::at_most(call, DISPATCH_LEVEL);
    entries().remove(&entry).unwrap_or_else(|| {
        bugcheck::raise(
            0xC2,
            [0x7, 0, 0, entry as u64],
            format!("{call} was given {entry:#x}, which is no error log entry (any more)"),
        )
    })
}

/// What an entry says, as a line of the trace.
fn told(entry: usize, length: u8, service: &str) -> String {
    let word = |at: usize| usize::from(Guest::<u16>::at(entry + at).read());
    let code: u32 = Guest::at(entry + CODE).read();
    let status = NtStatus(Guest::at(entry + STATUS).read());
    let mut text = format!(
        "event log: {service}: code {code:#010x}, {status}, {} bytes of data",
        word(DUMP_SIZE)
    );
    let mut at = word(STRINGS_AT);
    for _ in 0..word(STRINGS) {
        let room = usize::from(length).saturating_sub(at) / 2;
        let string = super::memory::bounded(Guest::<u16>::at(entry + at), room);
        text.push_str(&format!(", \"{}\"", String::from_utf16_lossy(&string)));
        at += (string.len() + 1) * 2;
    }
    text
}

/// Statuses that a user can do something about.
const OF_USERS: [NtStatus; 8] = [
    NtStatus(0xC000_0013_u32.cast_signed()), // STATUS_NO_MEDIA_IN_DEVICE
    NtStatus::WRONG_VOLUME,
    NtStatus(0xC000_0014_u32.cast_signed()), // STATUS_UNRECOGNIZED_MEDIA
    NtStatus(0x8000_0016_u32.cast_signed()), // STATUS_VERIFY_REQUIRED
    NtStatus::DEVICE_NOT_READY,
    NtStatus::IO_TIMEOUT,
    NtStatus::MEDIA_WRITE_PROTECTED,
    NtStatus(0xC000_0178_u32.cast_signed()), // STATUS_NO_MEDIA
];

exports! { "ntoskrnl.exe";
    /// Takes an entry for the event log; NULL: there is none, or it would be too long.
    fn IoAllocateErrorLogEntry(_object: usize, size: u8) -> usize {
        irql::at_most("IoAllocateErrorLogEntry", DISPATCH_LEVEL);
        if faults::check("IoAllocateErrorLogEntry").is_some() || !(LEAST..=MOST).contains(&size) {
            return 0;
        }
        let Some(entry) = pool::lend(usize::from(size), TAG, true) else { return 0 };
        let service = driver::calling().map_or_else(String::new, |driver| driver.service.clone());
        entries().insert(entry, (size, service));
        entry
    }

    /// Writes it, and takes it back. The bench shows it with the debug output.
    fn IoWriteErrorLogEntry(entry: usize) {
        let (length, service) = take("IoWriteErrorLogEntry", entry);
        trace::print(told(entry, length, &service));
        pool::free(entry, None);
    }

    /// Takes it back unwritten.
    fn IoFreeErrorLogEntry(entry: usize) {
        take("IoFreeErrorLogEntry", entry);
        pool::free(entry, None);
    }

    /// Tells the user of an error.
    partial "with the debug output: there is no user"
    fn IoRaiseInformationalHardError(status: NtStatus, text: Guest<UnicodeString>, _thread: usize) -> u8 {
        irql::at_most("IoRaiseInformationalHardError", APC_LEVEL);
        trace::print(format!("hard error: {status} {}", text.text()));
        1
    }

    /// Whether a status is one that a user can do something about.
    fn IoIsErrorUserInduced(status: NtStatus) -> u8 {
        u8::from(OF_USERS.contains(&status))
    }

    /// Says which device a packet's user has to see to.
    fn IoSetHardErrorOrVerifyDevice(irp: Guest<Irp>, device: usize) {
        irql::at_most("IoSetHardErrorOrVerifyDevice", DISPATCH_LEVEL);
        let thread = irp.read().thread;
        if thread != 0 {
            to_verify().insert(thread, device);
        }
    }

    /// Which device a thread's user has to see to; NULL: none.
    fn IoGetDeviceToVerify(thread: usize) -> usize {
        irql::at_most("IoGetDeviceToVerify", DISPATCH_LEVEL);
        to_verify().get(&thread).copied().unwrap_or(0)
    }

    /// Changes that.
    fn IoSetDeviceToVerify(thread: usize, device: usize) {
        irql::at_most("IoSetDeviceToVerify", DISPATCH_LEVEL);
        to_verify().insert(thread, device);
    }

    /// Whether the current thread's user is told of hard errors; gives what was so before.
    partial "kept and told: nobody is told of errors here but by the debug output"
    fn IoSetThreadHardErrorMode(enable: u8) -> u8 {
        irql::at_most("IoSetThreadHardErrorMode", PASSIVE_LEVEL);
        static MODES: LazyLock<Mutex<HashMap<usize, u8>>> = LazyLock::new(Mutex::default);
        let mut modes = MODES.lock().unwrap_or_else(PoisonError::into_inner);
        modes.insert(thread::current().object, enable).unwrap_or(1)
    }
}
