//! Reads an image's headers and decides whether a driver's loader would take it.

use object::LittleEndian as LE;
use object::pe::{self, ImageNtHeaders64};
use object::read::pe::{ImageNtHeaders as _, ImageOptionalHeader as _, PeFile64};

use super::{Fact, Section};
use crate::cpu::memory::PAGE;

/// No driver comes near it; a header that says more is damaged, and must not make the bench reserve it.
const LARGEST_IMAGE: u32 = 1 << 30;

/// What the checks found, all of it inside the image's bounds.
pub(super) struct Checked<'data> {
    pub(super) pe: PeFile64<'data>,
    pub(super) size: u32,
    pub(super) entry: u32,
    pub(super) preferred_base: u64,
    pub(super) headers: u32,
    pub(super) sections: Vec<Section>,
    /// File offset and length of each section's data.
    pub(super) raw: Vec<(usize, usize)>,
    pub(super) pdata: (u32, u32),
    pub(super) load_config: (u32, u32),
    pub(super) relocations: (u32, u32),
    pub(super) imports: (u32, u32),
    pub(super) forces_integrity: bool,
}

fn damaged(text: impl Into<String>) -> Fact {
    Fact::Damaged(text.into())
}

/// Checks an image.
pub(super) fn check(data: &[u8]) -> Result<Checked<'_>, Fact> {
    kind(data)?;
    let pe = PeFile64::parse(data).map_err(|error| Fact::NotPe(error.to_string()))?;
    let headers = pe.nt_headers();
    driver(headers)?;
    let optional = headers.optional_header();
    let size = optional.size_of_image();
    let alignment = optional.section_alignment();
    if alignment == 0 || !(alignment as usize).is_multiple_of(PAGE) {
        return Err(Fact::Alignment(alignment));
    }
    if size == 0 || size > LARGEST_IMAGE || !(size as usize).is_multiple_of(PAGE) {
        return Err(damaged(format!("SizeOfImage {size:#x}")));
    }
    let header_bytes = optional.size_of_headers();
    if header_bytes as usize > data.len() || header_bytes > size {
        return Err(Fact::NotPe(format!(
            "its headers are {header_bytes:#x} bytes, the file {:#x}",
            data.len()
        )));
    }
    let (sections, raw) = sections(&pe, data.len(), size, (header_bytes, alignment))?;
    let directory = |index: usize, name: &str| -> Result<(u32, u32), Fact> {
        let Some(entry) = pe.data_directory(index) else {
            return Ok((0, 0));
        };
        let (rva, length) = (entry.virtual_address.get(LE), entry.size.get(LE));
        if length == 0 || rva == 0 {
            return Ok((0, 0));
        }
        match rva.checked_add(length) {
            Some(end) if end <= size => Ok((rva, length)),
            _ => Err(damaged(format!(
                "the {name} directory {rva:#x}+{length:#x} leaves the image of {size:#x}"
            ))),
        }
    };
    let entry = optional.address_of_entry_point();
    let executable = |section: &Section| {
        section.characteristics & pe::IMAGE_SCN_MEM_EXECUTE != 0
            && section.rva <= entry
            && entry - section.rva < section.size
    };
    if entry == 0 {
        return Err(Fact::NotDriver("it has no entry point".to_owned()));
    }
    if !sections.iter().any(executable) {
        return Err(damaged(format!(
            "the entry point {entry:#x} lies in no executable section"
        )));
    }
    for (index, name) in [
        (pe::IMAGE_DIRECTORY_ENTRY_TLS, "thread-local storage"),
        (
            pe::IMAGE_DIRECTORY_ENTRY_DELAY_IMPORT,
            "delay-loaded imports",
        ),
        (pe::IMAGE_DIRECTORY_ENTRY_COM_DESCRIPTOR, "managed code"),
    ] {
        if directory(index, name)? != (0, 0) {
            return Err(Fact::NotDriver(format!("it has {name}")));
        }
    }
    let relocations = directory(pe::IMAGE_DIRECTORY_ENTRY_BASERELOC, "relocation")?;
    if headers.file_header().characteristics.get(LE) & pe::IMAGE_FILE_RELOCS_STRIPPED != 0 {
        return Err(Fact::Fixed);
    }
    let checked = Checked {
        forces_integrity: optional.dll_characteristics()
            & object::pe::IMAGE_DLLCHARACTERISTICS_FORCE_INTEGRITY
            != 0,
        size,
        entry,
        preferred_base: optional.image_base(),
        headers: header_bytes,
        sections,
        raw,
        pdata: directory(pe::IMAGE_DIRECTORY_ENTRY_EXCEPTION, "exception")?,
        load_config: directory(pe::IMAGE_DIRECTORY_ENTRY_LOAD_CONFIG, "load configuration")?,
        relocations,
        imports: directory(pe::IMAGE_DIRECTORY_ENTRY_IMPORT, "import")?,
        pe,
    };
    Ok(checked)
}

/// Names what a file is that is no PE32+ image for x64, which `object` would only call invalid.
fn kind(data: &[u8]) -> Result<(), Fact> {
    let word = |offset: usize| -> Option<u16> {
        Some(u16::from_le_bytes(
            data.get(offset..offset.checked_add(2)?)?.try_into().ok()?,
        ))
    };
    let dword = |offset: usize| -> Option<u32> {
        Some(u32::from_le_bytes(
            data.get(offset..offset.checked_add(4)?)?.try_into().ok()?,
        ))
    };
    if data.is_empty() {
        return Err(Fact::NotPe("the file is empty".to_owned()));
    }
    if word(0) != Some(pe::IMAGE_DOS_SIGNATURE) {
        return Err(Fact::NotPe("it does not begin with MZ".to_owned()));
    }
    let cut = || Fact::NotPe("it ends before its headers do".to_owned());
    let header = dword(0x3C).ok_or_else(cut)? as usize;
    if dword(header).ok_or_else(cut)? != pe::IMAGE_NT_SIGNATURE {
        return Err(Fact::NotPe("it has no PE signature".to_owned()));
    }
    let machine = word(header + 4).ok_or_else(cut)?;
    if machine != pe::IMAGE_FILE_MACHINE_AMD64 {
        let name = match machine {
            pe::IMAGE_FILE_MACHINE_I386 => "x86 (32 bit)".to_owned(),
            pe::IMAGE_FILE_MACHINE_ARM64 => "ARM64".to_owned(),
            pe::IMAGE_FILE_MACHINE_ARMNT => "ARM (32 bit)".to_owned(),
            other => format!("machine type {other:#06x}"),
        };
        return Err(Fact::Machine(name));
    }
    if word(header + 24).ok_or_else(cut)? != pe::IMAGE_NT_OPTIONAL_HDR64_MAGIC {
        return Err(Fact::NotPe("its optional header is not PE32+".to_owned()));
    }
    Ok(())
}

fn driver(headers: &ImageNtHeaders64) -> Result<(), Fact> {
    let characteristics = headers.file_header().characteristics.get(LE);
    if characteristics & pe::IMAGE_FILE_EXECUTABLE_IMAGE == 0 {
        return Err(Fact::NotDriver(
            "it is an object file, not a linked image".to_owned(),
        ));
    }
    let subsystem = headers.optional_header().subsystem();
    if subsystem != pe::IMAGE_SUBSYSTEM_NATIVE {
        let name = match subsystem {
            pe::IMAGE_SUBSYSTEM_WINDOWS_GUI => "Windows GUI".to_owned(),
            pe::IMAGE_SUBSYSTEM_WINDOWS_CUI => "Windows console".to_owned(),
            pe::IMAGE_SUBSYSTEM_EFI_APPLICATION
            | pe::IMAGE_SUBSYSTEM_EFI_BOOT_SERVICE_DRIVER
            | pe::IMAGE_SUBSYSTEM_EFI_RUNTIME_DRIVER => "EFI".to_owned(),
            other => format!("number {other}"),
        };
        return Err(Fact::NotDriver(format!(
            "its subsystem is {name}, not native"
        )));
    }
    Ok(())
}

type Sections = (Vec<Section>, Vec<(usize, usize)>);

fn sections(
    pe: &PeFile64<'_>,
    file: usize,
    size: u32,
    (headers, alignment): (u32, u32),
) -> Result<Sections, Fact> {
    let (mut sections, mut raw) = (Vec::new(), Vec::new());
    let mut end_of_previous = headers;
    for header in pe.section_table().iter() {
        let name = String::from_utf8_lossy(header.raw_name()).into_owned();
        let rva = header.virtual_address.get(LE);
        let virtual_size = header.virtual_size.get(LE);
        let raw_size = header.size_of_raw_data.get(LE);
        // A zero VirtualSize means the raw size: old linkers.
        let length = if virtual_size == 0 {
            raw_size
        } else {
            virtual_size
        };
        let characteristics = header.characteristics.get(LE);
        if !(rva as usize).is_multiple_of(PAGE) {
            return Err(damaged(format!(
                "section {name} begins at {rva:#x}, not on a page"
            )));
        }
        if rva < end_of_previous {
            return Err(damaged(format!(
                "section {name} at {rva:#x} overlaps what lies before it"
            )));
        }
        // "In ascending order and adjacent", says the PE format of the addresses of sections.
        let aligned = u64::from(end_of_previous).next_multiple_of(alignment.into());
        if u64::from(rva) != aligned {
            return Err(damaged(format!(
                "section {name} at {rva:#x} does not begin where what lies before it ends, at {end_of_previous:#x}"
            )));
        }
        let end = rva.checked_add(length).filter(|end| *end <= size);
        let Some(end) = end else {
            return Err(damaged(format!(
                "section {name} {rva:#x}+{length:#x} leaves the image of {size:#x}"
            )));
        };
        let offset = header.pointer_to_raw_data.get(LE) as usize;
        let used = if raw_size == 0 {
            0
        } else {
            raw_size.min(length) as usize
        };
        if raw_size != 0
            && offset
                .checked_add(raw_size as usize)
                .is_none_or(|end| end > file)
        {
            return Err(Fact::NotPe(format!(
                "section {name} needs {:#x} bytes of file, it has {file:#x}: truncated?",
                offset.saturating_add(raw_size as usize),
            )));
        }
        if characteristics & pe::IMAGE_SCN_MEM_EXECUTE != 0
            && characteristics & pe::IMAGE_SCN_MEM_WRITE != 0
        {
            return Err(Fact::WriteExecute(name));
        }
        end_of_previous = end;
        sections.push(Section {
            rva,
            size: length,
            characteristics,
            pageable: name.starts_with("PAGE"),
            discardable: characteristics & pe::IMAGE_SCN_MEM_DISCARDABLE != 0
                || name.starts_with("INIT"),
        });
        raw.push((offset, used));
    }
    if sections.is_empty() {
        return Err(damaged("it has no sections"));
    }
    Ok((sections, raw))
}
