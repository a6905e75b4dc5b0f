//! What file systems ask of their run-time library beside the rest: names that are equal, deep stacks, providers of network names.

use super::memory::Guest;
use super::{driver, irql, object, rtl, worker};
use crate::abi::base::UnicodeString;
use crate::abi::io::{
    IRP_MJ_ACQUIRE_FOR_SECTION_SYNCHRONIZATION, IRP_MJ_RELEASE_FOR_SECTION_SYNCHRONIZATION,
};
use crate::abi::params::{AcquireForSection, Parameters};
use crate::fltmgr::Request;
use crate::fltmgr::op::BYTES_PER_SECTOR;
use crate::namespace::DeviceId;
use crate::status::NtStatus;
use crate::thread::{APC_LEVEL, PASSIVE_LEVEL};
use crate::{faults, fltmgr, gate};

/// The one provider behind MUP.
const PROVIDER: &str = r"\Device\LanmanRedirector";
const PROVIDER_ID: u32 = 1;

/// Has a system thread call a routine that needs a deep stack, which sets the event.
fn post(call: &'static str, context: usize, event: usize, routine: usize) {
    irql::at_most(call, APC_LEVEL);
    let service = driver::at(routine).map_or_else(String::new, |driver| driver.service.clone());
    worker::queue(move || {
        let entered = super::Entered::now();
        // SAFETY: the driver posted the routine to be called with these.
        unsafe { gate::call(routine, &[context as u64, event as u64]) };
        entered.check("a stack overflow routine", &service);
    });
}

/// Sends the callback by which a file is held, or let go.
fn hold(file: usize, call: &str, major: u8) {
    let file = object::file(file, call);
    // SyncTypeOther.
    let parameters = Parameters::of(AcquireForSection {
        kind: 0,
        pad0: 0,
        protection: 0,
        pad1: 0,
        output: 0,
        pad2: [0; 3],
    });
    fltmgr::send_callback(&file, &Request::new(major, parameters));
}

/// Puts what is told of the provider where there is room for it.
fn provider(level: u32, buffer: usize, length: Guest<u32>) -> NtStatus {
    let name: Vec<u16> = PROVIDER.encode_utf16().collect();
    let header = if level == 1 { 4 } else { 24 };
    let needed = header + if level == 1 { 0 } else { 2 * name.len() };
    let room = length.read() as usize;
    length.write(u32::try_from(needed).unwrap_or(u32::MAX));
    if room < needed || buffer == 0 {
        return NtStatus::BUFFER_TOO_SMALL;
    }
    Guest::at(buffer).write(PROVIDER_ID);
    if level == 2 {
        let at = Guest::<u16>::at(buffer + header);
        at.write_many(&name);
        let bytes = u16::try_from(2 * name.len()).unwrap_or(0);
        Guest::at(buffer + 8).write(UnicodeString {
            length: bytes,
            maximum_length: bytes,
            buffer: at.0,
        });
    }
    NtStatus::SUCCESS
}

exports! { "ntoskrnl.exe";
    /// Whether two names are the same.
    partial "by the system's upcase table, whatever the caller's is"
    fn FsRtlAreNamesEqual(one: Guest<UnicodeString>, other: Guest<UnicodeString>, ignore_case: u8, _table: usize) -> u8 {
        irql::at_most("FsRtlAreNamesEqual", APC_LEVEL);
        rtl::RtlEqualUnicodeString(one, other, ignore_case)
    }

    /// Whether this is a mobile Windows: it is none.
    fn FsRtlIsMobileOS() -> u8 {
        0
    }

    /// Has a worker with a stack of its own go on with what needs more stack than is left.
    fn FsRtlPostStackOverflow(context: usize, event: usize, routine: usize) {
        post("FsRtlPostStackOverflow", context, event, routine);
    }

    /// The same for paging files.
    fn FsRtlPostPagingFileStackOverflow(context: usize, event: usize, routine: usize) {
        post("FsRtlPostPagingFileStackOverflow", context, event, routine);
    }

    /// Tells those who have registered for it of something that happens to a volume: nobody has.
    partial "nobody is told: nothing can be registered for a volume's events"
    fn FsRtlNotifyVolumeEvent(file: usize, _event: u32) -> NtStatus {
        irql::at_most("FsRtlNotifyVolumeEvent", PASSIVE_LEVEL);
        let _ = object::file(file, "FsRtlNotifyVolumeEvent");
        NtStatus::SUCCESS
    }

    /// The same with a structure of the caller's.
    partial "nobody is told: nothing can be registered for a volume's events"
    fn FsRtlNotifyVolumeEventEx(file: usize, event: u32, _structure: usize) -> NtStatus {
        FsRtlNotifyVolumeEvent(file, event)
    }

    /// Which network provider a file is open by.
    fn FsRtlMupGetProviderInfoFromFileObject(file: usize, level: u32, buffer: usize, length: Guest<u32>) -> NtStatus {
        const CALL: &str = "FsRtlMupGetProviderInfoFromFileObject";
        irql::at_most(CALL, PASSIVE_LEVEL);
        if let Some(status) = faults::check(CALL) {
            return status;
        }
        let file = object::file(file, CALL);
        if !(1..=2).contains(&level) {
            return NtStatus::INVALID_PARAMETER;
        }
        if file.volume.device != DeviceId::Mup {
            return NtStatus::INVALID_DEVICE_REQUEST;
        }
        provider(level, buffer, length)
    }

    /// A provider's number.
    fn FsRtlMupGetProviderIdFromName(name: Guest<UnicodeString>, id: Guest<u32>) -> NtStatus {
        irql::at_most("FsRtlMupGetProviderIdFromName", PASSIVE_LEVEL);
        if !String::from_utf16_lossy(&name.units()).eq_ignore_ascii_case(PROVIDER) {
            return NtStatus::OBJECT_NAME_NOT_FOUND;
        }
        id.write(PROVIDER_ID);
        NtStatus::SUCCESS
    }

    /// What a volume's device says of its sectors.
    fn FsRtlGetSectorSizeInformation(device: usize, out: Guest<[u32; 7]>) -> NtStatus {
        const CALL: &str = "FsRtlGetSectorSizeInformation";
        irql::at_most(CALL, PASSIVE_LEVEL);
        if let Some(status) = faults::check(CALL) {
            return status;
        }
        if fltmgr::volume_of_device(device).is_none_or(|volume| volume.device == DeviceId::Mup) {
            return NtStatus::INVALID_DEVICE_REQUEST;
        }
        let bytes = BYTES_PER_SECTOR;
        out.write([bytes, bytes, bytes, bytes, 0, 0, 0]);
        NtStatus::SUCCESS
    }

    /// Has the file system, and its filters, take a file exclusively: nobody makes a section over it meanwhile.
    partial "filters see it; there is no resource that would be taken"
    fn FsRtlAcquireFileExclusive(file: usize) {
        irql::at_most("FsRtlAcquireFileExclusive", APC_LEVEL);
        hold(file, "FsRtlAcquireFileExclusive", IRP_MJ_ACQUIRE_FOR_SECTION_SYNCHRONIZATION);
    }

    /// Has it let go.
    partial "filters see it; there is no resource that would be released"
    fn FsRtlReleaseFile(file: usize) {
        irql::at_most("FsRtlReleaseFile", APC_LEVEL);
        hold(file, "FsRtlReleaseFile", IRP_MJ_RELEASE_FOR_SECTION_SYNCHRONIZATION);
    }
}
