//! Images that are loaded: a program's, its ntdll.dll, and drivers.
//!
//! `PsSetLoadImageNotifyRoutine`, `PLOAD_IMAGE_NOTIFY_ROUTINE`, `IMAGE_INFO_EX`. The routines of a program's images run in the
//! process's first thread before it does anything else, those of a driver before its `DriverEntry`, with process id 0.

use super::super::memory::{OwnedString, wide};
use super::super::{irql, ps};
use super::{Form, Registry, process};
use crate::abi::ps::ImageInfoEx;
use crate::faults;
use crate::loader::Image;
use crate::status::NtStatus;
use crate::thread::{APC_LEVEL, PASSIVE_LEVEL, Process};

pub(super) static ROUTINES: Registry =
    Registry::new("load-image-notify", "PsRemoveLoadImageNotifyRoutine");

/// Where a program's image and ntdll.dll seem to lie: nothing is mapped there.
const PROGRAM: (usize, usize) = (0x1_4000_0000, 0x2_0000);
const NTDLL: (usize, usize) = (0x7FFA_0000_0000, 0x20_0000);
/// `ImageAddressingMode` (`IMAGE_ADDRESSING_MODE_32BIT` is what every image says), `SystemModeImage`, `ExtendedInfoPresent`.
const ADDRESSING: u32 = 3;
const SYSTEM_MODE: u32 = 1 << 8;
const EXTENDED: u32 = 1 << 10;

/// Tells of the image of that name, whose file is so called in the system's folder.
fn tell(name: &[u16], file: &str, pid: u64, range: (usize, usize), properties: u32) {
    let file = process::image_file(file);
    let text = String::from_utf16_lossy(name);
    let name = OwnedString::new(name);
    let name = name.string();
    let info = ImageInfoEx {
        size: size_of::<ImageInfoEx>() as u64,
        properties: ADDRESSING | EXTENDED | properties,
        image_base: range.0,
        selector: 0,
        image_size: range.1,
        section_number: 0,
        file_object: file.as_ref().map_or(0, |file| file.address()),
    };
    // The routine gets the IMAGE_INFO inside of it.
    let at = std::ptr::from_ref(&info).expose_provenance() + ImageInfoEx::INFO;
    let name = std::ptr::from_ref(&name).expose_provenance();
    ROUTINES.call(None, &text, |_| vec![name as u64, pid, at as u64]);
    if let Some(file) = file {
        file.dereference();
    }
}

/// In a new process's first thread.
pub(super) fn process_begins(process: &Process) {
    if ROUTINES.is_empty() {
        return;
    }
    let path = ps::image_path(process);
    tell(&path, &process.image, process.pid, PROGRAM, 0);
    let ntdll = wide("\\SystemRoot\\System32\\ntdll.dll");
    tell(&ntdll, "ntdll.dll", process.pid, NTDLL, 0);
}

/// A driver was mapped, and its `DriverEntry` not called yet.
pub(crate) fn driver_loaded(image: &Image) {
    if ROUTINES.is_empty() {
        return;
    }
    let file = format!("drivers\\{}.sys", image.name);
    let name = wide(&format!("\\SystemRoot\\System32\\{file}"));
    tell(&name, &file, 0, (image.base, image.size), SYSTEM_MODE);
}

fn add(call: &str, routine: usize) -> NtStatus {
    irql::at_most(call, PASSIVE_LEVEL);
    if let Some(status) = faults::check(call) {
        return status;
    }
    match ROUTINES.add(routine, Form::Plain, false) {
        Ok(()) => NtStatus::SUCCESS,
        Err(()) => NtStatus::INSUFFICIENT_RESOURCES,
    }
}

exports! { "ntoskrnl.exe";
    /// Registers a routine that is told of each image that is loaded.
    partial "of a program its own image and ntdll.dll, at addresses where nothing is mapped, by file objects that nothing is open on; of drivers all"
    fn PsSetLoadImageNotifyRoutine(routine: usize) -> NtStatus {
        add("PsSetLoadImageNotifyRoutine", routine)
    }

    /// The same; the flag asks for images of other architectures too: there are none here.
    partial "as PsSetLoadImageNotifyRoutine"
    fn PsSetLoadImageNotifyRoutineEx(routine: usize, flags: u64) -> NtStatus {
        // PS_IMAGE_NOTIFY_CONFLICTING_ARCHITECTURE is the only flag there is.
        if flags & !1 != 0 {
            return NtStatus::INVALID_PARAMETER;
        }
        add("PsSetLoadImageNotifyRoutineEx", routine)
    }

    /// Takes a routine away, once no thread is in it.
    fn PsRemoveLoadImageNotifyRoutine(routine: usize) -> NtStatus {
        irql::at_most("PsRemoveLoadImageNotifyRoutine", APC_LEVEL);
        if ROUTINES.remove(routine) { NtStatus::SUCCESS } else { NtStatus::PROCEDURE_NOT_FOUND }
    }
}
