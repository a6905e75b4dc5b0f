//! From bytes to [`Image`].

use anyhow::{Context as _, Result, bail};
use object::{
    LittleEndian as LE,
    pe::{self, ImageDosHeader, ImageNtHeaders64},
    read::pe::{ExportTarget, ImageNtHeaders as _, ImageOptionalHeader as _, Import, PeFile64},
};

use versioninfo::VersionInfo;

use super::{Image, Imports, LoadConfig, Section};

/// Names in a damaged file have no end; no real one comes near this.
const MOST_IMPORTS: usize = 10_000;

impl Image {
    /// Reads an x64 image.
    pub(crate) fn parse(data: &[u8]) -> Result<Self> {
        let dos =
            ImageDosHeader::parse(data).context("no MS-DOS header: not an executable image")?;
        let mut at = dos.nt_headers_offset().into();
        let (nt, directories) =
            ImageNtHeaders64::parse(data, &mut at).context("no 64-bit PE headers")?;
        let optional = nt.optional_header();
        let checksum_at = usize::try_from(dos.nt_headers_offset())? + CHECKSUM_AFTER_PE;
        let file =
            PeFile64::parse(data).context("the section table or a data directory is damaged")?;
        let sections = file.section_table();

        let mut image = Self {
            file_size: data.len(),
            machine: nt.file_header().machine.get(LE),
            timestamp: nt.file_header().time_date_stamp.get(LE),
            subsystem: optional.subsystem(),
            dll_characteristics: optional.dll_characteristics(),
            size_of_image: optional.size_of_image(),
            section_alignment: optional.section_alignment(),
            entry: optional.address_of_entry_point(),
            checksum: optional.check_sum(),
            computed_checksum: checksum(data, checksum_at),
            relocations: directories
                .get(pe::IMAGE_DIRECTORY_ENTRY_BASERELOC)
                .is_some_and(|entry| entry.size.get(LE) != 0),
            ..Self::default()
        };
        for section in sections.iter() {
            image.sections.push(Section {
                name: String::from_utf8_lossy(section.raw_name()).into_owned(),
                address: section.virtual_address.get(LE),
                virtual_size: section.virtual_size.get(LE),
                raw_size: section.size_of_raw_data.get(LE),
                characteristics: section.characteristics.get(LE),
            });
        }
        image.imports = imports(&file).context("the import directory is damaged")?;
        image.entry_name =
            entry_name(&file, image.entry).context("the export directory is damaged")?;
        if let Some(info) =
            object::Object::pdb_info(&file).context("the debug directory is damaged")?
        {
            image.pdb = Some(String::from_utf8_lossy(info.path()).into_owned());
        }
        let resource = version_resource(data, &file).context("the resources are damaged")?;
        image.version = resource.map(VersionInfo::parse);
        image.load_config = load_config(data, &file)?;
        image.reproducible = debug_types(data, &file)?.contains(&pe::IMAGE_DEBUG_TYPE_REPRO);
        Ok(image)
    }
}

/// From the PE signature to the checksum: signature, file header, and 64 bytes of the optional header.
const CHECKSUM_AFTER_PE: usize = 4 + 20 + 64;

/// The checksum that the loader expects of a driver: the 16-bit one's complement sum over the file, its own field taken as zero, plus the
/// file's length.
fn checksum(data: &[u8], field: usize) -> u32 {
    let mut sum = 0_u32;
    for (at, word) in data.chunks(2).enumerate() {
        if (field..field + 4).contains(&(at * 2)) {
            continue;
        }
        let word = u32::from(word[0]) | word.get(1).map_or(0, |high| u32::from(*high) << 8);
        sum += word;
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum.wrapping_add(u32::try_from(data.len()).unwrap_or(u32::MAX))
}

fn imports(file: &PeFile64<'_>) -> Result<Vec<Imports>> {
    let Some(table) = file.import_table()? else {
        return Ok(Vec::new());
    };
    let mut all = Vec::new();
    let mut count = 0;
    let mut descriptors = table.descriptors()?;
    while let Some(descriptor) = descriptors.next()? {
        let dll = String::from_utf8_lossy(table.name(descriptor.name.get(LE))?).into_owned();
        let mut names = Vec::new();
        let mut thunks = table.thunks(descriptor.original_first_thunk.get(LE))?;
        while let Some(thunk) = thunks.next::<ImageNtHeaders64>()? {
            names.push(match table.import::<ImageNtHeaders64>(thunk)? {
                Import::Ordinal(number) => format!("#{number}"),
                Import::Name(_, name) => String::from_utf8_lossy(name).into_owned(),
            });
            count += 1;
            if count > MOST_IMPORTS {
                bail!("more than {MOST_IMPORTS} imports");
            }
        }
        names.sort();
        all.push(Imports { dll, names });
        if all.len() > MOST_IMPORTS {
            bail!("more than {MOST_IMPORTS} modules");
        }
    }
    Ok(all)
}

fn entry_name(file: &PeFile64<'_>, entry: u32) -> Result<Option<String>> {
    let Some(table) = file.export_table()? else {
        return Ok(None);
    };
    for export in table.exports()? {
        if let (ExportTarget::Address(address), Some(name)) = (export.target, export.name)
            && address == entry
        {
            return Ok(Some(String::from_utf8_lossy(name).into_owned()));
        }
    }
    Ok(None)
}

/// The bytes of the version resource in whatever language comes first.
fn version_resource<'data>(
    data: &'data [u8],
    file: &PeFile64<'data>,
) -> Result<Option<&'data [u8]>> {
    const RT_VERSION: u16 = 16;
    let sections = file.section_table();
    let Some(directory) = file
        .data_directories()
        .resource_directory(data, &sections)?
    else {
        return Ok(None);
    };
    let root = directory.root()?;
    let is_version =
        |entry: &&pe::ImageResourceDirectoryEntry| entry.name_or_id().id() == Some(RT_VERSION);
    let Some(kind) = root.entries.iter().find(is_version) else {
        return Ok(None);
    };
    // Below the type a table of names, below each name a table of languages.
    let mut entry = kind.data(directory)?;
    for _ in 0..2 {
        let table = entry
            .table()
            .context("a resource stands where a table should")?;
        let first = table
            .entries
            .first()
            .context("a table of resources is empty")?;
        entry = first.data(directory)?;
    }
    let leaf = entry
        .data()
        .context("the tables of resources are too deep")?;
    let bytes = sections.pe_data_at(data, leaf.offset_to_data.get(LE));
    let bytes = bytes.context("the version resource is outside the sections")?;
    let size = usize::try_from(leaf.size.get(LE))?;
    bytes
        .get(..size)
        .context("the version resource is outside its section")
        .map(Some)
}

/// The load configuration's cookie and guard flags. It has grown over the years: what it is too short for is zero.
fn load_config(data: &[u8], file: &PeFile64<'_>) -> Result<Option<LoadConfig>> {
    const SECURITY_COOKIE: usize = 88;
    const GUARD_FLAGS: usize = 144;
    let Some(directory) = file.data_directory(pe::IMAGE_DIRECTORY_ENTRY_LOAD_CONFIG) else {
        return Ok(None);
    };
    let bytes = directory
        .data(data, &file.section_table())
        .context("the load configuration is damaged")?;
    let cookie = bytes.get(SECURITY_COOKIE..SECURITY_COOKIE + 8);
    let flags = bytes.get(GUARD_FLAGS..GUARD_FLAGS + 4);
    Ok(Some(LoadConfig {
        security_cookie: cookie
            .and_then(|bytes| bytes.try_into().ok())
            .map_or(0, u64::from_le_bytes),
        guard_flags: flags
            .and_then(|bytes| bytes.try_into().ok())
            .map_or(0, u32::from_le_bytes),
    }))
}

/// The types in the debug directory.
fn debug_types(data: &[u8], file: &PeFile64<'_>) -> Result<Vec<u32>> {
    let Some(directory) = file.data_directory(pe::IMAGE_DIRECTORY_ENTRY_DEBUG) else {
        return Ok(Vec::new());
    };
    let entries = directory
        .data(data, &file.section_table())
        .context("the debug directory is damaged")?;
    let size = size_of::<pe::ImageDebugDirectory>();
    Ok(entries
        .chunks_exact(size)
        .filter_map(|entry| entry.get(12..16))
        .map(|kind| u32::from_le_bytes([kind[0], kind[1], kind[2], kind[3]]))
        .collect())
}
