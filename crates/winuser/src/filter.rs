//! The Filter Manager: which filters, instances and volumes there are; loading and attaching.
//!
//! All of it needs an elevated process.

use std::ffi::c_void;
use std::ptr;

use windows_sys::Win32::Foundation::{
    ERROR_INSUFFICIENT_BUFFER, ERROR_MORE_DATA, ERROR_NO_MORE_ITEMS, HANDLE,
};
use windows_sys::Win32::Storage::InstallableFileSystems as fs;

use crate::error::hresult;
use crate::wide::lossy;
use crate::{Error, Result, Wide, system, wine};

/// A loaded filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    /// Its name, which is its service's.
    pub name: String,
    /// The altitude of its default instance, a decimal number.
    pub altitude: String,
    /// How many instances it has; `None` for a legacy filter, which has none.
    pub instances: Option<u32>,
}

/// An instance: a filter attached to a volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    /// The instance's name.
    pub name: String,
    /// Its altitude, a decimal number.
    pub altitude: String,
    /// The volume, as the kernel names it.
    pub volume: String,
    /// The filter.
    pub filter: String,
}

/// A volume that filters can attach to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Volume {
    /// As the kernel names it (`\Device\Mup`).
    pub name: String,
    /// As people name it (`C:`), where it has such a name.
    pub dos_name: Option<String>,
    /// FLT_FILESYSTEM_TYPE.
    pub file_system: i32,
}

fn there() -> Result<()> {
    match wine::version() {
        Some(_) => Err(Error::NoFilterManager),
        None => Ok(()),
    }
}

/// Loads the filter whose service has this name.
///
/// # Errors
/// ERROR_FILE_NOT_FOUND: no such service, or no such image. ERROR_INVALID_IMAGE_HASH: Windows does not accept the image's signature.
/// ERROR_SERVICE_ALREADY_RUNNING or ERROR_ALREADY_EXISTS: it is loaded. Else what its DriverEntry returned.
pub fn load(filter: &Wide) -> Result<()> {
    there()?;
    system::enable_privilege(system::LOAD_DRIVER)?;
    // SAFETY: a NUL-terminated name.
    hresult("FilterLoad", unsafe { fs::FilterLoad(filter.ptr()) })
}

/// Unloads a filter.
///
/// # Errors
/// ERROR_FLT_FILTER_NOT_FOUND: it is not loaded. ERROR_FLT_DO_NOT_DETACH: it refuses.
pub fn unload(filter: &Wide) -> Result<()> {
    there()?;
    system::enable_privilege(system::LOAD_DRIVER)?;
    // SAFETY: a NUL-terminated name.
    hresult("FilterUnload", unsafe { fs::FilterUnload(filter.ptr()) })
}

/// Attaches a filter to a volume (`C:`, `\Device\Mup`), as its default instance unless one is named; gives the instance's name.
///
/// # Errors
/// ERROR_FLT_INSTANCE_NAME_COLLISION: it is attached there. ERROR_FLT_DO_NOT_ATTACH: it refuses. ERROR_FLT_FILTER_NOT_FOUND,
/// ERROR_FLT_VOLUME_NOT_FOUND.
pub fn attach(filter: &Wide, volume: &Wide, instance: Option<&Wide>) -> Result<String> {
    there()?;
    // INSTANCE_NAME_MAX_CHARS and a NUL.
    let mut name = [0; 256];
    // SAFETY: NUL-terminated names, or none; a buffer of 512 bytes.
    let code = unsafe {
        fs::FilterAttach(
            filter.ptr(),
            volume.ptr(),
            instance.map_or(ptr::null(), Wide::ptr),
            512,
            name.as_mut_ptr(),
        )
    };
    hresult("FilterAttach", code)?;
    Ok(lossy(&name))
}

/// Detaches a filter from a volume: its default instance unless one is named.
///
/// # Errors
/// ERROR_FLT_INSTANCE_NOT_FOUND: it is not attached there. ERROR_FLT_DO_NOT_DETACH: it refuses.
pub fn detach(filter: &Wide, volume: &Wide, instance: Option<&Wide>) -> Result<()> {
    there()?;
    let instance = instance.map_or(ptr::null(), Wide::ptr);
    // SAFETY: NUL-terminated names, or none.
    let code = unsafe { fs::FilterDetach(filter.ptr(), volume.ptr(), instance) };
    hresult("FilterDetach", code)
}

/// The loaded filters, from the highest altitude down.
///
/// # Errors
/// ERROR_ACCESS_DENIED: the process is not elevated.
pub fn filters() -> Result<Vec<Filter>> {
    let entries = find(&Search {
        call: "FilterFindFirst",
        first: &|buffer, size, got, handle| {
            let class = fs::FilterAggregateStandardInformation;
            // SAFETY: `find` gives a buffer of that size and places to write.
            unsafe { fs::FilterFindFirst(class, buffer, size, got, handle) }
        },
        next: &|handle, buffer, size, got| {
            let class = fs::FilterAggregateStandardInformation;
            // SAFETY: as above, with the search's handle.
            unsafe { fs::FilterFindNext(handle, class, buffer, size, got) }
        },
        // SAFETY: called once, with the search's handle.
        close: &|handle| unsafe { fs::FilterFindClose(handle) },
    })?;
    entries.iter().map(|entry| filter(entry)).collect()
}

/// A filter's instances; none if it is not loaded.
///
/// # Errors
/// ERROR_ACCESS_DENIED: the process is not elevated.
pub fn instances(filter: &Wide) -> Result<Vec<Instance>> {
    let found = find(&Search {
        call: "FilterInstanceFindFirst",
        first: &|buffer, size, got, handle| {
            let class = fs::InstanceFullInformation;
            // SAFETY: `find` gives a buffer of that size and places to write; the name is NUL-terminated.
            unsafe { fs::FilterInstanceFindFirst(filter.ptr(), class, buffer, size, got, handle) }
        },
        next: &|handle, buffer, size, got| {
            let class = fs::InstanceFullInformation;
            // SAFETY: as above, with the search's handle.
            unsafe { fs::FilterInstanceFindNext(handle, class, buffer, size, got) }
        },
        // SAFETY: called once, with the search's handle.
        close: &|handle| unsafe { fs::FilterInstanceFindClose(handle) },
    })?;
    found.iter().map(|entry| instance(entry)).collect()
}

/// The volumes that filters can attach to.
///
/// # Errors
/// ERROR_ACCESS_DENIED: the process is not elevated.
pub fn volumes() -> Result<Vec<Volume>> {
    let found = find(&Search {
        call: "FilterVolumeFindFirst",
        first: &|buffer, size, got, handle| {
            let class = fs::FilterVolumeStandardInformation;
            // SAFETY: `find` gives a buffer of that size and places to write.
            unsafe { fs::FilterVolumeFindFirst(class, buffer, size, got, handle) }
        },
        next: &|handle, buffer, size, got| {
            let class = fs::FilterVolumeStandardInformation;
            // SAFETY: as above, with the search's handle.
            unsafe { fs::FilterVolumeFindNext(handle, class, buffer, size, got) }
        },
        // SAFETY: called once, with the search's handle.
        close: &|handle| unsafe { fs::FilterVolumeFindClose(handle) },
    })?;
    found.iter().map(|entry| volume(entry)).collect()
}

/// One of the Filter Manager's searches.
struct Search<'a> {
    call: &'static str,
    first: &'a dyn Fn(*mut c_void, u32, *mut u32, *mut HANDLE) -> i32,
    next: &'a dyn Fn(HANDLE, *mut c_void, u32, *mut u32) -> i32,
    close: &'a dyn Fn(HANDLE) -> i32,
}

/// All that a search finds, each the bytes of one structure.
fn find(search: &Search<'_>) -> Result<Vec<Vec<u8>>> {
    there()?;
    let mut buffer = vec![0_u64; 512];
    let (mut handle, mut entries): (HANDLE, Vec<_>) = (ptr::null_mut(), Vec::new());
    let outcome = loop {
        let size = u32::try_from(buffer.len() * 8).unwrap_or(u32::MAX);
        let (at, mut got) = (buffer.as_mut_ptr().cast(), 0);
        let code = if handle.is_null() {
            (search.first)(at, size, &raw mut got, &raw mut handle)
        } else {
            (search.next)(handle, at, size, &raw mut got)
        };
        match hresult(search.call, code).map_err(|error| (error.win32(), error)) {
            Ok(()) => {
                let bytes = buffer.iter().flat_map(|word| word.to_le_bytes());
                let got = usize::try_from(got).unwrap_or(usize::MAX);
                split(bytes.take(got).collect(), &mut entries);
            }
            Err((Some(ERROR_NO_MORE_ITEMS), _)) => break Ok(entries),
            Err((Some(ERROR_INSUFFICIENT_BUFFER | ERROR_MORE_DATA), _))
                if buffer.len() < 0x1_0000 =>
            {
                buffer.resize(buffer.len() * 2, 0);
            }
            Err((_, error)) => break Err(error),
        }
    };
    if !handle.is_null() {
        (search.close)(handle);
    }
    outcome
}

/// Structures that follow each other by NextEntryOffset, their first field.
fn split(mut bytes: Vec<u8>, into: &mut Vec<Vec<u8>>) {
    loop {
        let next = number::<4>(&bytes, 0).map_or(0, u32::from_le_bytes);
        let next = usize::try_from(next).unwrap_or(0);
        if next == 0 || next >= bytes.len() {
            into.push(bytes);
            return;
        }
        let rest = bytes.split_off(next);
        into.push(std::mem::replace(&mut bytes, rest));
    }
}

fn number<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk::<N>().copied()
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    number(bytes, at).map(u32::from_le_bytes)
}

/// The text whose length in bytes stands at one place and whose offset at another.
fn text(bytes: &[u8], length: usize, offset: usize) -> Option<String> {
    let half = |at| number(bytes, at).map(u16::from_le_bytes).map(usize::from);
    units(bytes, half(offset)?, half(length)?)
}

fn units(bytes: &[u8], offset: usize, length: usize) -> Option<String> {
    let text = bytes.get(offset..offset + length)?.chunks_exact(2);
    let text: Vec<_> = text
        .map(|unit| u16::from_le_bytes([unit[0], unit[1]]))
        .collect();
    Some(lossy(&text))
}

fn malformed(call: &'static str) -> Error {
    let what = "lengths that lie outside of it";
    Error::Malformed { call, what }
}

/// FILTER_AGGREGATE_STANDARD_INFORMATION.
fn filter(entry: &[u8]) -> Result<Filter> {
    let read = || {
        let flags = u32_at(entry, 4)?;
        Some(if flags & fs::FLTFL_ASI_IS_LEGACYFILTER != 0 {
            Filter {
                name: text(entry, 12, 14)?,
                altitude: text(entry, 16, 18)?,
                instances: None,
            }
        } else {
            Filter {
                name: text(entry, 20, 22)?,
                altitude: text(entry, 24, 26)?,
                instances: Some(u32_at(entry, 16)?),
            }
        })
    };
    read().ok_or_else(|| malformed("FilterFindFirst"))
}

/// INSTANCE_FULL_INFORMATION.
fn instance(entry: &[u8]) -> Result<Instance> {
    let read = || {
        Some(Instance {
            name: text(entry, 4, 6)?,
            altitude: text(entry, 8, 10)?,
            volume: text(entry, 12, 14)?,
            filter: text(entry, 16, 18)?,
        })
    };
    read().ok_or_else(|| malformed("FilterInstanceFindFirst"))
}

/// FILTER_VOLUME_STANDARD_INFORMATION.
fn volume(entry: &[u8]) -> Result<Volume> {
    let read = || {
        let length = number(entry, 16).map(u16::from_le_bytes)?;
        let name = units(entry, 18, usize::from(length))?;
        Some(Volume {
            dos_name: dos_name(&name),
            file_system: u32_at(entry, 12)?.cast_signed(),
            name,
        })
    };
    read().ok_or_else(|| malformed("FilterVolumeFindFirst"))
}

/// A volume's drive letter or mount point.
fn dos_name(volume: &str) -> Option<String> {
    let volume = Wide::new(volume).ok()?;
    let mut name = [0; 1024];
    // SAFETY: a NUL-terminated name and a buffer of 1024 characters, which is how this call counts.
    let code = unsafe { fs::FilterGetDosName(volume.ptr(), name.as_mut_ptr(), 1024) };
    hresult("FilterGetDosName", code)
        .ok()
        .map(|()| lossy(&name))
}

#[cfg(test)]
mod tests {
    use std::mem::offset_of;

    use super::*;

    #[test]
    fn offsets_are_the_structures() {
        type Mini = fs::FILTER_AGGREGATE_STANDARD_INFORMATION_0_0;
        type Legacy = fs::FILTER_AGGREGATE_STANDARD_INFORMATION_0_1;
        type Full = fs::INSTANCE_FULL_INFORMATION;
        type Standard = fs::FILTER_VOLUME_STANDARD_INFORMATION;
        let kind = offset_of!(fs::FILTER_AGGREGATE_STANDARD_INFORMATION, Type);
        assert_eq!(kind, 8);
        assert_eq!(kind + offset_of!(Mini, NumberOfInstances), 16);
        assert_eq!(kind + offset_of!(Mini, FilterNameLength), 20);
        assert_eq!(kind + offset_of!(Mini, FilterAltitudeBufferOffset), 26);
        assert_eq!(kind + offset_of!(Legacy, FilterNameLength), 12);
        assert_eq!(kind + offset_of!(Legacy, FilterAltitudeBufferOffset), 18);
        assert_eq!(offset_of!(Full, InstanceNameLength), 4);
        assert_eq!(offset_of!(Full, FilterNameBufferOffset), 18);
        assert_eq!(offset_of!(Standard, FilterVolumeNameLength), 16);
        assert_eq!(offset_of!(Standard, FilterVolumeName), 18);
    }

    /// An INSTANCE_FULL_INFORMATION with these texts.
    fn full(texts: [&str; 4]) -> Vec<u8> {
        let mut entry = vec![0; 20];
        for (at, text) in texts.iter().enumerate() {
            let start = u16::try_from(entry.len()).unwrap();
            entry.extend(text.encode_utf16().flat_map(u16::to_le_bytes));
            let length = u16::try_from(entry.len()).unwrap() - start;
            entry[4 + at * 4..][..2].copy_from_slice(&length.to_le_bytes());
            entry[6 + at * 4..][..2].copy_from_slice(&start.to_le_bytes());
        }
        entry
    }

    #[test]
    fn instances_are_read_and_wrong_lengths_refused() {
        let entry = full(["one", "370000", r"\Device\Mup", "filter"]);
        let read = instance(&entry).unwrap();
        assert_eq!(read.name, "one");
        assert_eq!(read.altitude, "370000");
        assert_eq!((&*read.volume, &*read.filter), (r"\Device\Mup", "filter"));
        for cut in 0..entry.len() {
            instance(&entry[..cut]).unwrap_err();
        }
    }

    #[test]
    fn entries_in_one_buffer_are_told_apart() {
        let one = full(["one", "1", "v", "f"]);
        let mut both = one.clone();
        both[..4].copy_from_slice(&u32::try_from(one.len()).unwrap().to_le_bytes());
        both.extend(&one);
        let mut entries = Vec::new();
        split(both, &mut entries);
        assert_eq!(entries.len(), 2);
        assert_eq!(instance(&entries[1]).unwrap().name, "one");
    }

    #[test]
    fn wine_has_no_filter_manager() {
        if wine::version().is_some() {
            assert_eq!(filters(), Err(Error::NoFilterManager));
            let name = Wide::new("headroom").unwrap();
            assert_eq!(load(&name), Err(Error::NoFilterManager));
        } else {
            println!("skipped: this is Windows, where there is one");
        }
    }
}
