//! The parts of an image that matter here: its bytes as they lie in memory, what is code, what is imported, and which functions' addresses
//! it hands out.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result, bail, ensure};
use object::{
    LittleEndian as LE,
    pe::{self, ImageNtHeaders64},
    read::pe::{ImageNtHeaders as _, ImageOptionalHeader as _, Import, PeFile64},
};

use super::frames::{self, Chunk};

/// No driver comes near this; a damaged header may claim more than there is memory.
const LARGEST: usize = 256 << 20;

/// An image in memory.
#[derive(Default)]
pub(super) struct Image {
    /// Its bytes by RVA.
    pub(super) memory: Vec<u8>,
    /// Where code is.
    pub(super) code: Vec<std::ops::Range<u32>>,
    /// What has unwind data, by place.
    pub(super) chunks: Vec<Chunk>,
    /// Names of imports by the RVA of their slot in the import address table.
    pub(super) imports: BTreeMap<u32, String>,
    /// The entry point, and addresses of code that stand in data.
    pub(super) entries: BTreeSet<u32>,
}

impl Image {
    pub(super) fn parse(data: &[u8]) -> Result<Self> {
        let file = PeFile64::parse(data).context("it is not a 64-bit PE image")?;
        let headers = file.nt_headers();
        ensure!(
            headers.file_header().machine.get(LE) == pe::IMAGE_FILE_MACHINE_AMD64,
            "it is not for x64"
        );
        let optional = headers.optional_header();
        let mut image = Self {
            memory: memory(data, &file)?,
            ..Self::default()
        };
        for section in file.section_table().iter() {
            if section.characteristics.get(LE) & pe::IMAGE_SCN_MEM_EXECUTE != 0 {
                let start = section.virtual_address.get(LE);
                let size = section.virtual_size.get(LE);
                image.code.push(start..start.saturating_add(size));
            }
        }
        image.imports = imports(&file).context("the import directory is damaged")?;
        image.chunks = match file.data_directory(pe::IMAGE_DIRECTORY_ENTRY_EXCEPTION) {
            Some(directory) => {
                let (at, size) = directory.address_range();
                frames::chunks(&image.memory, at, size)?
            }
            None => Vec::new(),
        };
        image.entries.insert(optional.address_of_entry_point());
        image.entries.extend(
            pointers_to_code(&file, &image, optional.image_base())
                .context("the relocations are damaged")?,
        );
        Ok(image)
    }

    /// The part with unwind data that an address lies in.
    pub(super) fn chunk_at(&self, rva: u32) -> Option<&Chunk> {
        let after = self.chunks.partition_point(|chunk| chunk.start <= rva);
        let chunk = &self.chunks[after.checked_sub(1)?];
        (rva < chunk.end).then_some(chunk)
    }

    /// Where the function begins that an address lies in; without unwind data nothing but its beginning can be meant.
    pub(super) fn function_at(&self, rva: u32) -> u32 {
        self.chunk_at(rva).map_or(rva, |chunk| chunk.function)
    }

    pub(super) fn is_code(&self, rva: u32) -> bool {
        self.code.iter().any(|section| section.contains(&rva))
    }
}

/// The sections where the loader puts them.
fn memory(data: &[u8], file: &PeFile64<'_>) -> Result<Vec<u8>> {
    let size = file.nt_headers().optional_header().size_of_image() as usize;
    ensure!(size <= LARGEST, "it claims {size} bytes of memory");
    let mut memory = vec![0; size];
    for section in file.section_table().iter() {
        let bytes = section.pe_data(data).context("a section is damaged")?;
        let start = section.virtual_address.get(LE) as usize;
        let place = start
            .checked_add(bytes.len())
            .and_then(|end| memory.get_mut(start..end));
        place
            .context("a section lies outside the image")?
            .copy_from_slice(bytes);
    }
    Ok(memory)
}

fn imports(file: &PeFile64<'_>) -> Result<BTreeMap<u32, String>> {
    const SLOT: u32 = 8;
    let mut slots = BTreeMap::new();
    let Some(table) = file.import_table()? else {
        return Ok(slots);
    };
    let mut descriptors = table.descriptors()?;
    while let Some(descriptor) = descriptors.next()? {
        let mut slot = descriptor.first_thunk.get(LE);
        let mut thunks = table.thunks(descriptor.original_first_thunk.get(LE))?;
        while let Some(thunk) = thunks.next::<ImageNtHeaders64>()? {
            let name = match table.import::<ImageNtHeaders64>(thunk)? {
                Import::Ordinal(number) => {
                    let dll = table.name(descriptor.name.get(LE))?;
                    format!("{}#{number}", String::from_utf8_lossy(dll))
                }
                Import::Name(_, name) => String::from_utf8_lossy(name).into_owned(),
            };
            if slots.insert(slot, name).is_some() {
                bail!("two imports share a slot");
            }
            slot = slot.checked_add(SLOT).context("a slot outside the image")?;
        }
    }
    Ok(slots)
}

/// Pointers that the loader relocates and that point into code: the functions that tables hold.
fn pointers_to_code(file: &PeFile64<'_>, image: &Image, base: u64) -> Result<BTreeSet<u32>> {
    let mut found = BTreeSet::new();
    let directories = file.data_directories();
    let Some(mut blocks) = directories.relocation_blocks(file.data(), &file.section_table())?
    else {
        return Ok(found);
    };
    while let Some(block) = blocks.next()? {
        for relocation in block {
            let at = relocation.virtual_address as usize;
            let Some(bytes) = image.memory.get(at..at.saturating_add(8)) else {
                bail!("one lies outside the image");
            };
            if relocation.typ == pe::IMAGE_REL_BASED_DIR64
                && let Ok(bytes) = bytes.try_into()
                && let Some(rva) = u64::from_le_bytes(bytes).checked_sub(base)
                && let Ok(rva) = u32::try_from(rva)
                && image.is_code(rva)
            {
                found.insert(rva);
            }
        }
    }
    Ok(found)
}
