//! What name providers fill in, and the smaller services around names: `FltCheckAndGrowNameControl`,
//! `FltGetDestinationFileNameInformation`, `FltGetTunneledName`, `FltParseFileName`.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

use super::name::{self, lend};
use super::name_query::{self, format_of};
use super::{callback, flight, objects};
use crate::abi::base::UnicodeString;
use crate::abi::flt::{KERNEL_MODE, NAME_FORMAT_NORMALIZED, NAME_FORMAT_SHORT};
use crate::faults;
use crate::namespace::DeviceId;
use crate::namespace::names::BACKSLASH;
use crate::ntos::file::File;
use crate::ntos::memory::{Guest, units, wide};
use crate::ntos::{MACHINE, iomgr, irql, object, pool};
use crate::status::NtStatus;
use crate::thread::{APC_LEVEL, PASSIVE_LEVEL};

const TAG: u32 = u32::from_le_bytes(*b"FMnc");
/// How long a name may be at first, in bytes: most are shorter.
const FIRST: u16 = 512;

/// The buffers of `FLT_NAME_CONTROL`s that are lent, by the structure's address.
static CONTROLS: LazyLock<Mutex<HashMap<usize, usize>>> = LazyLock::new(Mutex::default);

fn controls() -> MutexGuard<'static, HashMap<usize, usize>> {
    CONTROLS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An `FLT_NAME_CONTROL`: a counted string whose buffer grows on request.
pub(super) struct NameControl(usize);

impl NameControl {
    /// An empty one.
    pub(super) fn new() -> Result<Self, NtStatus> {
        let no_memory = NtStatus::INSUFFICIENT_RESOURCES;
        let at = pool::lend(size_of::<UnicodeString>(), TAG, true).ok_or(no_memory)?;
        let Some(buffer) = pool::lend(usize::from(FIRST), TAG, true) else {
            pool::free(at, None);
            return Err(no_memory);
        };
        Guest::at(at).write(UnicodeString {
            length: 0,
            maximum_length: FIRST,
            buffer: Guest::at(buffer).0,
        });
        controls().insert(at, buffer);
        Ok(Self(at))
    }

    /// Its address.
    pub(super) fn address(&self) -> usize {
        self.0
    }

    /// Whether its buffer is still the one that was lent, which is the one to be freed.
    pub(super) fn is_whole(&self) -> bool {
        let string: UnicodeString = Guest::at(self.0).read();
        controls().get(&self.0) == Some(&string.buffer.expose_provenance())
    }

    /// The name in it.
    pub(super) fn units(&self) -> Vec<u16> {
        units(Guest::at(self.0).read())
    }
}

impl Drop for NameControl {
    fn drop(&mut self) {
        if let Some(buffer) = controls().remove(&self.0) {
            pool::free(buffer, None);
        }
        pool::free(self.0, None);
    }
}

fn grow(control: usize, size: u16) -> NtStatus {
    let mut string: UnicodeString = Guest::at(control).read();
    if size <= string.maximum_length {
        return NtStatus::SUCCESS;
    }
    let mut all = controls();
    let Some(buffer) = all.get_mut(&control) else {
        return NtStatus::INVALID_PARAMETER;
    };
    let Some(larger) = pool::lend(usize::from(size), TAG, true) else {
        return NtStatus::INSUFFICIENT_RESOURCES;
    };
    Guest::<u16>::at(larger).write_many(&units(string));
    let old = std::mem::replace(buffer, larger);
    drop(all);
    string.maximum_length = size;
    string.buffer = Guest::at(larger).0;
    Guest::at(control).write(string);
    pool::free(old, None);
    NtStatus::SUCCESS
}

/// Has one component expanded: `ask` gets the component's string, the `FILE_NAMES_INFORMATION` to fill in, and how long
/// that is.
pub(super) fn expand(
    component: &[u16],
    ask: impl FnOnce(u64, u64, u32) -> NtStatus,
) -> Result<Vec<u16>, NtStatus> {
    /// The fixed part, and the longest component.
    const HEAD: usize = 12;
    const ROOM: usize = HEAD + 255 * 2;
    let block = pool::lend(ROOM, TAG, true).ok_or(NtStatus::INSUFFICIENT_RESOURCES)?;
    let string = UnicodeString {
        length: u16::try_from(component.len() * 2).unwrap_or(0),
        maximum_length: u16::try_from(component.len() * 2).unwrap_or(0),
        buffer: component.as_ptr().cast_mut(),
    };
    let status = ask(
        callback::argument(&string),
        block as u64,
        u32::try_from(ROOM).unwrap_or(0),
    );
    let length = Guest::<u32>::at(block + 8).read() as usize;
    let name = Guest::<u16>::at(block + HEAD).read_many(length.min(ROOM - HEAD) / 2);
    pool::free(block, None);
    if status.is_success() {
        Ok(name)
    } else {
        Err(status)
    }
}

/// Where a rename or hard link would lead: the whole name, and how much of it is the volume's.
fn destination(
    file: &Arc<File>,
    root: u64,
    name: &[u16],
    options: u32,
) -> Result<(Vec<u16>, usize, bool), NtStatus> {
    let format = format_of(options)?;
    if format == NAME_FORMAT_SHORT || name.is_empty() {
        return Err(NtStatus::INVALID_PARAMETER);
    }
    let machine = MACHINE.get().ok_or(NtStatus::DEVICE_NOT_READY)?;
    let root = iomgr::root(root, KERNEL_MODE)?;
    let (device, path) = match (name.first(), root) {
        (Some(&BACKSLASH), None) => machine.namespace.look_up(name)?,
        (Some(&BACKSLASH), Some(_)) => return Err(NtStatus::INVALID_PARAMETER),
        (_, Some(root)) => (root.volume.device, joined(root.full(), name)),
        (_, None) if name.contains(&BACKSLASH) => return Err(NtStatus::INVALID_PARAMETER),
        (_, None) => {
            let mut directory = file.full();
            let at = directory.iter().rposition(|unit| *unit == BACKSLASH);
            directory.truncate(at.unwrap_or(0));
            (file.volume.device, joined(directory, name))
        }
    };
    let volume = super::volume(device).ok_or(NtStatus::NO_SUCH_DEVICE)?;
    let path = if format == NAME_FORMAT_NORMALIZED {
        machine.namespace.canonical(device, &path)?
    } else {
        path
    };
    let mut whole = wide(&volume.name);
    let length = whole.len();
    whole.extend(path);
    Ok((whole, length, device == DeviceId::Mup))
}

fn joined(mut directory: Vec<u16>, name: &[u16]) -> Vec<u16> {
    if directory.last() != Some(&BACKSLASH) {
        directory.push(BACKSLASH);
    }
    directory.extend_from_slice(name);
    directory
}

exports! { "fltmgr.sys";
    /// Makes room in a name control.
    fn FltCheckAndGrowNameControl(control: usize, size: u16) -> NtStatus {
        irql::at_most("FltCheckAndGrowNameControl", APC_LEVEL);
        faults::check("FltCheckAndGrowNameControl").unwrap_or_else(|| grow(control, size))
    }

    /// The name that a rename or hard link leads to.
    fn FltGetDestinationFileNameInformation(
        instance: usize, file: usize, root: u64, text: Guest<u16>, length: u32, options: u32, out: Guest<usize>,
    ) -> NtStatus {
        irql::at_most("FltGetDestinationFileNameInformation", PASSIVE_LEVEL);
        let _ = objects::instance(instance, "FltGetDestinationFileNameInformation");
        let file = object::file(file, "FltGetDestinationFileNameInformation");
        out.write(0);
        if let Some(status) = faults::check("FltGetDestinationFileNameInformation") {
            return status;
        }
        let text = text.read_many(length as usize / 2);
        let made = destination(&file, root, &text, options).and_then(|(name, volume, remote)| {
            lend(&name, volume, format_of(options)?, remote)
        });
        name::answer(made, out)
    }

    /// The name that a file had a moment ago, where a file system tunnels it: none here does.
    fn FltGetTunneledName(data: usize, _name: usize, out: Guest<usize>) -> NtStatus {
        irql::at_most("FltGetTunneledName", APC_LEVEL);
        out.write(0);
        match flight::at(data) {
            Some(_) => faults::check("FltGetTunneledName").unwrap_or(NtStatus::SUCCESS),
            None => NtStatus::INVALID_PARAMETER,
        }
    }

    /// Takes a name apart that is no file name information.
    fn FltParseFileName(
        name: Guest<UnicodeString>, extension: Guest<UnicodeString>, stream: Guest<UnicodeString>,
        last: Guest<UnicodeString>,
    ) -> NtStatus {
        irql::at_most("FltParseFileName", APC_LEVEL);
        let whole = name.read();
        let [found_extension, found_stream, found_last] = name::tail(&whole);
        extension.write_opt(found_extension);
        stream.write_opt(found_stream);
        last.write_opt(found_last);
        NtStatus::SUCCESS
    }
}

/// The name of a file outside of an operation.
pub(super) fn of_file(file: usize, instance: usize, options: u32) -> Result<usize, NtStatus> {
    let file = object::file(file, "FltGetFileNameInformationUnsafe");
    let instance = if instance == 0 {
        name_query::asking(&file.volume, None)
    } else {
        Some(objects::instance(
            instance,
            "FltGetFileNameInformationUnsafe",
        ))
    };
    let whole = name_query::of_file(&name_query::Asked {
        file: &file,
        data: 0,
        instance,
        options,
    })?;
    name::lend_for(&file, &whole, options)
}
