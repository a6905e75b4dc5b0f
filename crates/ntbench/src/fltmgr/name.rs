//! File names: `FltGetFileNameInformation` and what belongs to it.

use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

use super::flight;
use super::frames::frames;
use super::name_control;
use super::name_query::{self, format_of};
use crate::abi::base::UnicodeString;
use crate::abi::flt::{
    FileNameInformation, NAME_PARSED_EXTENSION, NAME_PARSED_FINAL_COMPONENT,
    NAME_PARSED_PARENT_DIR, NAME_PARSED_STREAM,
};
use crate::maps::HashMap;
use crate::namespace::DeviceId;
use crate::namespace::names::BACKSLASH;
use crate::ntos::file::File;
use crate::ntos::memory::Guest;
use crate::ntos::{driver, irql, pool};
use crate::status::NtStatus;
use crate::thread::APC_LEVEL;
use crate::verifier::{self, Leak};
use crate::{bugcheck, faults, stack};

/// A name that was handed out.
struct Lent {
    references: i64,
    service: Arc<str>,
    site: usize,
    /// Whether it is on a remote volume, where a share comes after the volume.
    remote: bool,
    /// How long the volume's name is, in units.
    volume: usize,
}

static NAMES: LazyLock<Mutex<HashMap<usize, Lent>>> = LazyLock::new(Mutex::default);

const TAG: u32 = u32::from_le_bytes(*b"FMfn");
fn lock() -> MutexGuard<'static, HashMap<usize, Lent>> {
    NAMES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Lends out the whole name of a file.
pub(super) fn lend_for(file: &File, whole: &[u16], options: u32) -> Result<usize, NtStatus> {
    let format = format_of(options)?;
    let volume = file.volume.name.encode_utf16().count();
    lend(whole, volume, format, file.volume.device == DeviceId::Mup)
}

/// Lends out a name.
pub(super) fn lend(
    name: &[u16],
    volume: usize,
    format: u32,
    remote: bool,
) -> Result<usize, NtStatus> {
    let header = size_of::<FileNameInformation>();
    let block = pool::lend(header + name.len() * 2 + 2, TAG, true)
        .ok_or(NtStatus::INSUFFICIENT_RESOURCES)?;
    let buffer = Guest::<u16>::at(block + header);
    buffer.write_many(name);
    let info = Guest::<FileNameInformation>::at(block);
    let whole = slice(buffer, 0, name.len());
    let empty = UnicodeString::EMPTY;
    // SAFETY: the block is large enough, aligned to 16 and this function's alone.
    unsafe {
        info.0.write(FileNameInformation {
            size: u16::try_from(header).unwrap_or(0),
            names_parsed: 0,
            format,
            name: whole,
            volume: slice(buffer, 0, volume),
            share: empty,
            extension: empty,
            stream: empty,
            final_component: empty,
            parent_dir: empty,
        });
    };
    let service = driver::calling().map_or_else(|| "".into(), |driver| Arc::clone(&driver.owner));
    let site = verifier::here();
    lock().insert(
        block,
        Lent {
            references: 1,
            service,
            site,
            remote,
            volume,
        },
    );
    Ok(block)
}

fn slice(buffer: Guest<u16>, start: usize, end: usize) -> UnicodeString {
    let length = u16::try_from(end.saturating_sub(start) * 2).unwrap_or(0);
    UnicodeString {
        length,
        maximum_length: length,
        buffer: buffer.add(start).0,
    }
}

/// Where the parts of a name begin and end.
struct Parts {
    share: (usize, usize),
    parent: (usize, usize),
    last: (usize, usize),
    extension: (usize, usize),
    stream: (usize, usize),
}

/// Where the share's root (or the volume's) ends in a whole name.
pub(super) fn root_of(name: &[u16], volume: usize, remote: bool) -> usize {
    parts(name, volume, remote).parent.0
}

/// Extension, stream and last component of a name without a volume.
pub(super) fn tail(whole: &UnicodeString) -> [UnicodeString; 3] {
    let buffer = Guest(whole.buffer);
    let units = crate::ntos::memory::units(*whole);
    let parts = parts(&units, 0, false);
    [parts.extension, parts.stream, parts.last].map(|(from, to)| slice(buffer, from, to))
}

/// Takes a name apart as `FltParseFileNameInformation` documents it.
fn parts(name: &[u16], volume: usize, remote: bool) -> Parts {
    let end = name.len();
    let find = |from: usize, unit: u16| {
        name.iter()
            .skip(from)
            .position(|found| *found == unit)
            .map(|at| from + at)
    };
    // `\server\share`, with what a mapped drive puts before it.
    let mut root = volume;
    if remote {
        let mut left = 2;
        while left > 0 && root < end {
            let component = root + 1;
            root = find(component, BACKSLASH).unwrap_or(end);
            if name.get(component) != Some(&0x3B) {
                left -= 1;
            }
        }
    }
    let last_slash = (root..end)
        .rev()
        .find(|at| name.get(*at) == Some(&BACKSLASH));
    let last = last_slash.map_or(end, |at| at + 1);
    let colon = find(last, 0x3A).unwrap_or(end);
    let dot = (last..colon).rev().find(|at| name.get(*at) == Some(&0x2E));
    let extension = dot.map_or((colon, colon), |at| (at + 1, colon));
    Parts {
        share: (volume, root),
        parent: (root, last),
        last: (last, end),
        extension,
        stream: (colon, end),
    }
}

fn parse(address: usize) -> NtStatus {
    let Some((volume, remote)) = lock().get(&address).map(|lent| (lent.volume, lent.remote)) else {
        return NtStatus::INVALID_PARAMETER;
    };
    let info = Guest::<FileNameInformation>::at(address);
    // SAFETY: the block is one that `lend` made and is still lent.
    let info = unsafe { &mut *info.0 };
    let buffer = Guest(info.name.buffer);
    let name = buffer.read_many(usize::from(info.name.length / 2));
    let parts = parts(&name, volume, remote);
    let cut = |range: (usize, usize)| slice(buffer, range.0, range.1);
    info.volume = cut((0, volume));
    info.share = if remote {
        cut(parts.share)
    } else {
        UnicodeString::EMPTY
    };
    info.parent_dir = cut(parts.parent);
    info.final_component = cut(parts.last);
    info.extension = cut(parts.extension);
    info.stream = cut(parts.stream);
    info.names_parsed = NAME_PARSED_FINAL_COMPONENT
        | NAME_PARSED_EXTENSION
        | NAME_PARSED_STREAM
        | NAME_PARSED_PARENT_DIR;
    NtStatus::SUCCESS
}

fn release(address: usize) {
    let mut names = lock();
    let Some(lent) = names.get_mut(&address) else {
        drop(names);
        // The parameters documented for FLTMGR_FILE_SYSTEM 0x68.
        bugcheck::raise(
            0xF5,
            [0x68, 0, address as u64, 0],
            "a file name information is released too often",
        );
    };
    lent.references -= 1;
    if lent.references == 0 {
        names.remove(&address);
        drop(names);
        pool::free(address, None);
    }
}

/// What names a driver that goes away has left; they are taken away.
pub(super) fn leftovers(service: &str) -> Vec<Leak> {
    let mut names = lock();
    let addresses: Vec<usize> = names
        .iter()
        .filter(|(_, lent)| &*lent.service == service)
        .map(|(address, _)| *address)
        .collect();
    let mut left: HashMap<usize, (usize, i64)> = HashMap::default();
    for address in &addresses {
        if let Some(lent) = names.remove(address) {
            let entry = left.entry(lent.site).or_default();
            entry.0 += 1;
            entry.1 += lent.references;
        }
    }
    drop(names);
    for address in addresses {
        pool::free(address, None);
    }
    let leak = |(site, (count, references)): (usize, (usize, i64))| Leak {
        text: format!(
            "{count} file name information(s) with {references} reference(s) were not released with \
             FltReleaseFileNameInformation"
        ),
        site,
    };
    left.into_iter().map(leak).collect()
}

pub(super) fn answer(result: Result<usize, NtStatus>, out: Guest<usize>) -> NtStatus {
    match result {
        Ok(address) => {
            out.write(address);
            NtStatus::SUCCESS
        }
        Err(status) => {
            out.write(0);
            status
        }
    }
}

exports! { "fltmgr.sys";
    /// The name of the file that an operation is about.
    fn FltGetFileNameInformation(data: usize, options: u32, out: Guest<usize>) -> NtStatus {
        irql::at_most("FltGetFileNameInformation", APC_LEVEL);
        if let Some(status) = faults::check("FltGetFileNameInformation") {
            return answer(Err(status), out);
        }
        let Some(operation) = flight::at(data) else { return NtStatus::INVALID_PARAMETER };
        let status = flight::status_at(data);
        let frames = frames(["fltmgr!FltGetFileNameInformation"]);
        let found = stack::with_frames(&frames, || {
            let whole = name_query::of_operation(&operation, data, status, options)?;
            lend_for(&operation.file, &whole, options)
        });
        answer(found, out)
    }

    /// The name of a file outside of an operation.
    fn FltGetFileNameInformationUnsafe(file: usize, instance: usize, options: u32, out: Guest<usize>) -> NtStatus {
        irql::at_most("FltGetFileNameInformationUnsafe", APC_LEVEL);
        if let Some(status) = faults::check("FltGetFileNameInformationUnsafe") {
            return answer(Err(status), out);
        }
        answer(name_control::of_file(file, instance, options), out)
    }

    /// Fills in the parts of a name.
    fn FltParseFileNameInformation(name: usize) -> NtStatus {
        irql::at_most("FltParseFileNameInformation", APC_LEVEL);
        parse(name)
    }

    /// Takes a reference to a name.
    fn FltReferenceFileNameInformation(name: usize) {
        irql::at_most("FltReferenceFileNameInformation", APC_LEVEL);
        match lock().get_mut(&name) {
            Some(lent) => lent.references += 1,
            None => bugcheck::raise(0xF5, [0x68, 0, name as u64, 0], "a file name information is referenced after its release"),
        }
    }

    /// Gives a name back.
    fn FltReleaseFileNameInformation(name: usize) {
        irql::at_most("FltReleaseFileNameInformation", APC_LEVEL);
        release(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ntos::memory::wide;

    fn split(name: &str, volume: &str, remote: bool) -> [String; 5] {
        let units = wide(name);
        let parts = parts(&units, wide(volume).len(), remote);
        [
            parts.share,
            parts.parent,
            parts.last,
            parts.extension,
            parts.stream,
        ]
        .map(|(from, to)| String::from_utf16_lossy(&units[from..to]))
    }

    #[test]
    fn the_documented_examples() {
        let remote = "\\Device\\LanManRedirector\\MyServer\\MyShare\\Documents and Settings\\MyUser\\My Documents\\\
                      Test Results.txt:stream1";
        assert_eq!(
            split(remote, "\\Device\\LanManRedirector", true),
            [
                "\\MyServer\\MyShare",
                "\\Documents and Settings\\MyUser\\My Documents\\",
                "Test Results.txt:stream1",
                "txt",
                ":stream1"
            ]
        );
        let local = "\\Device\\HarddiskVolume1\\Documents and Settings\\MyUser\\My Documents\\Test Results.txt:stream1";
        assert_eq!(
            split(local, "\\Device\\HarddiskVolume1", false)[1..],
            [
                "\\Documents and Settings\\MyUser\\My Documents\\",
                "Test Results.txt:stream1",
                "txt",
                ":stream1"
            ]
        );
    }

    #[test]
    fn roots_have_no_last_component() {
        assert_eq!(
            split("\\Device\\Mup\\s\\x", "\\Device\\Mup", true),
            ["\\s\\x", "", "", "", ""]
        );
        assert_eq!(
            split("\\Device\\Mup\\s\\x\\", "\\Device\\Mup", true),
            ["\\s\\x", "\\", "", "", ""]
        );
        assert_eq!(
            split("\\Device\\Mup", "\\Device\\Mup", true),
            ["", "", "", "", ""]
        );
        let mapped = "\\Device\\Mup\\;LanmanRedirector\\;Z:0\\s\\x\\a";
        assert_eq!(
            split(mapped, "\\Device\\Mup", true),
            ["\\;LanmanRedirector\\;Z:0\\s\\x", "\\", "a", "", ""]
        );
    }
}
