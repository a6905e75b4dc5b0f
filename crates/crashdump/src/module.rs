//! Loaded modules: the system's list, and what their images in memory say.

use std::cell::OnceCell;
use std::collections::{BTreeMap, HashSet};

use crate::bytes;
use crate::memory::Dump;

/// More modules than any system has.
const MOST_MODULES: usize = 4096;
/// No image is larger.
const LARGEST_IMAGE: u64 = 256 << 20;
const MOST_EXPORTS: u32 = 0x1_0000;
const LONGEST_NAME: usize = 512;

/// A loaded module.
#[derive(Debug)]
pub struct Module {
    /// Its short name, as debuggers have it: `nt`, `fltmgr`, `headroom`.
    pub name: String,
    /// Its file's name.
    pub file: String,
    /// Where it lies.
    pub base: u64,
    /// How long it is.
    pub size: u64,
    /// RVA and length of the exception directory.
    pub(crate) pdata: (u32, u32),
    /// Its .pdb's GUID and name, where its image says so.
    pub(crate) pdb: Option<([u8; 16], String)>,
    export_directory: (u32, u32),
    exports: OnceCell<Exports>,
}

#[derive(Debug, Default)]
struct Exports {
    by_name: BTreeMap<String, u32>,
    by_place: BTreeMap<u32, String>,
}

/// The modules of the system's list, and whether that is all of it.
pub(crate) fn list(dump: &Dump, notes: &mut Vec<String>) -> (Vec<Module>, bool) {
    let head = dump.header().module_list;
    let mut modules = Vec::new();
    let mut seen = HashSet::new();
    let mut whole = false;
    let mut at = head;
    loop {
        let Some(next) = dump.word(at) else {
            notes.push(format!(
                "the list of loaded modules breaks off at {at:#x}, which is not in the dump: {} modules are known",
                modules.len()
            ));
            break;
        };
        if next == head {
            whole = true;
            break;
        }
        if modules.len() >= MOST_MODULES || !seen.insert(next) {
            notes.push(format!(
                "the list of loaded modules is damaged: it leads in circles at {next:#x}"
            ));
            break;
        }
        if let Some(module) = entry(dump, next, modules.is_empty()) {
            modules.push(module);
        }
        at = next;
    }
    (modules, whole)
}

/// One `KLDR_DATA_TABLE_ENTRY`.
fn entry(dump: &Dump, at: u64, first: bool) -> Option<Module> {
    let entry = dump.bytes(at, 0x68)?;
    let (base, size) = (
        bytes::u64(&entry, 0x30)?,
        u64::from(bytes::u32(&entry, 0x40)?),
    );
    if base == 0 || size == 0 || size > LARGEST_IMAGE || base.checked_add(size).is_none() {
        return None;
    }
    let file = dump
        .unicode_string(at.wrapping_add(0x58))
        .unwrap_or_default();
    let stem = file
        .rsplit_once('.')
        .map_or(file.as_str(), |(stem, _)| stem);
    // The first is the kernel, whatever its file is called.
    let name = if first {
        "nt".to_owned()
    } else {
        stem.to_lowercase()
    };
    let headers = headers(dump, base).unwrap_or_default();
    Some(Module {
        name,
        file,
        base,
        size,
        pdata: headers.pdata,
        pdb: headers
            .debug
            .and_then(|directory| code_view(dump, base, directory)),
        export_directory: headers.exports,
        exports: OnceCell::new(),
    })
}

#[derive(Default)]
struct Headers {
    exports: (u32, u32),
    pdata: (u32, u32),
    debug: Option<(u32, u32)>,
}

/// The directories that are needed here, of a PE32+ image.
fn headers(dump: &Dump, base: u64) -> Option<Headers> {
    let mut page = vec![0; 0x1000];
    dump.read_into(base, &mut page);
    if page.get(..2) != Some(b"MZ") {
        return None;
    }
    let pe = bytes::u32(&page, 0x3C)? as usize;
    if page.get(pe..pe.checked_add(4)?) != Some(b"PE\0\0")
        || bytes::u16(&page, pe + 24) != Some(0x20B)
    {
        return None;
    }
    let directory = |index: usize| {
        let at = pe + 24 + 112 + 8 * index;
        Some((bytes::u32(&page, at)?, bytes::u32(&page, at + 4)?))
    };
    Some(Headers {
        exports: directory(0)?,
        pdata: directory(3)?,
        debug: directory(6),
    })
}

/// The GUID and the name of the .pdb.
fn code_view(dump: &Dump, base: u64, (rva, length): (u32, u32)) -> Option<([u8; 16], String)> {
    const CODE_VIEW: u32 = 2;
    let directory = dump.bytes(
        base.checked_add(u64::from(rva))?,
        (length as usize).min(28 * 16),
    )?;
    let entry = directory
        .chunks_exact(28)
        .find(|entry| bytes::u32(entry, 12) == Some(CODE_VIEW))?;
    let (length, at) = (
        bytes::u32(entry, 16)? as usize,
        u64::from(bytes::u32(entry, 20)?),
    );
    let mut record = vec![0; length.min(24 + LONGEST_NAME)];
    dump.read_into(base.checked_add(at)?, &mut record);
    if record.get(..4) != Some(b"RSDS") {
        return None;
    }
    let name = record
        .get(24..)?
        .iter()
        .copied()
        .take_while(|byte| *byte != 0)
        .collect::<Vec<u8>>();
    let name = String::from_utf8_lossy(&name).into_owned();
    let file = name.rsplit(['\\', '/']).next().unwrap_or(&name).to_owned();
    Some((bytes::array(&record, 4)?, file))
}

impl Module {
    /// Whether an address lies in it.
    #[must_use]
    pub const fn contains(&self, address: u64) -> bool {
        address.wrapping_sub(self.base) < self.size
    }

    /// An address as an RVA.
    pub(crate) fn rva(&self, address: u64) -> Option<u32> {
        u32::try_from(address.checked_sub(self.base)?)
            .ok()
            .filter(|rva| u64::from(*rva) < self.size)
    }

    fn exports(&self, dump: &Dump) -> &Exports {
        self.exports
            .get_or_init(|| self.read_exports(dump).unwrap_or_default())
    }

    fn read_exports(&self, dump: &Dump) -> Option<Exports> {
        let (rva, length) = self.export_directory;
        let at = |rva: u32| self.base.checked_add(u64::from(rva));
        let directory = dump.bytes(at(rva)?, 40)?;
        let word = |offset| bytes::u32(&directory, offset);
        let count = word(24)?.min(MOST_EXPORTS) as usize;
        let functions = dump.bytes(at(word(28)?)?, 4 * word(20)?.min(MOST_EXPORTS) as usize)?;
        let names = dump.bytes(at(word(32)?)?, 4 * count)?;
        let ordinals = dump.bytes(at(word(36)?)?, 2 * count)?;
        let mut exports = Exports::default();
        for index in 0..count {
            let place = bytes::u16(&ordinals, 2 * index)
                .and_then(|ordinal| bytes::u32(&functions, 4 * usize::from(ordinal)));
            let (Some(place), Some(name)) = (place, bytes::u32(&names, 4 * index).and_then(at))
            else {
                continue;
            };
            // A forwarder points into the directory, at another module's name.
            let forwarded = (rva..rva.saturating_add(length)).contains(&place);
            let mut text = vec![0; 128];
            dump.read_into(name, &mut text);
            let used = text.iter().take_while(|byte| **byte != 0).count();
            text.truncate(used);
            if let (Ok(name), false) = (String::from_utf8(text), forwarded) {
                exports.by_place.insert(place, name.clone());
                exports.by_name.insert(name, place);
            }
        }
        Some(exports)
    }

    /// The address of an export.
    pub(crate) fn export(&self, dump: &Dump, name: &str) -> Option<u64> {
        let place = *self.exports(dump).by_name.get(name)?;
        self.base.checked_add(u64::from(place))
    }

    /// The export that an address is in or behind, and how far.
    pub(crate) fn nearest_export(&self, dump: &Dump, rva: u32) -> Option<(&str, u32)> {
        let (place, name) = self.exports(dump).by_place.range(..=rva).next_back()?;
        Some((name, rva - place))
    }
}

/// The module at an address.
pub(crate) fn at(modules: &[Module], address: u64) -> Option<&Module> {
    modules.iter().find(|module| module.contains(address))
}
