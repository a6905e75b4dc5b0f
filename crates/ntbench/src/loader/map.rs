//! Maps a checked image as the Windows loader does.

use std::path::{Path, PathBuf};

use object::pe;
use object::read::Object as _;
use object::read::pe::PeFile64;

use super::check::{Checked, check};
use super::config::LoadConfig;
use super::{Fact, Image, ImageError, Section, guard, import};
use crate::cpu::memory::{Access, Mapping};
use crate::ntos::special;
use crate::symbols;

/// Loads a driver: checks, maps, relocates, binds.
pub(crate) fn load(file: &Path, pdb: Option<&Path>) -> Result<Image, ImageError> {
    let data = std::fs::read(file).map_err(|error| ImageError::new(file, error))?;
    let name = file
        .file_stem()
        .map_or_else(String::new, |stem| stem.to_string_lossy().into_owned());
    let (pdb, stale_pdb) =
        match symbols(file, &data, pdb).map_err(|fact| ImageError::new(file, fact))? {
            Symbols::None => (None, None),
            Symbols::Of(path) => (Some(path), None),
            Symbols::OfAnother(path) => (None, Some(path)),
        };
    build(&data)
        .map(|built| Image {
            name,
            file: file.to_owned(),
            pdb,
            stale_pdb,
            ..built
        })
        .map_err(|fact| ImageError::new(file, fact))
}

/// The image's .pdb: the one that was named, which must then be right, or the one beside it, if it is.
fn symbols(file: &Path, data: &[u8], named: Option<&Path>) -> Result<Symbols, Fact> {
    let build = PeFile64::parse(data).ok().and_then(|pe| {
        let info = pe.pdb_info().ok().flatten()?;
        Some((info.guid(), info.age()))
    });
    let right = |path: &Path| build.is_some_and(|build| symbols::build(path) == Some(build));
    match named {
        Some(path) if right(path) => Ok(Symbols::Of(path.to_owned())),
        Some(path) => Err(Fact::OtherPdb(path.to_owned())),
        None => {
            let beside = file.with_extension("pdb");
            Ok(if right(&beside) {
                Symbols::Of(beside)
            } else if beside.is_file() {
                Symbols::OfAnother(beside)
            } else {
                Symbols::None
            })
        }
    }
}

/// What there is of symbols.
enum Symbols {
    None,
    /// The .pdb of the build.
    Of(PathBuf),
    /// A .pdb beside the image, which is not that of its build.
    OfAnother(PathBuf),
}

/// A .pdb that lies beside an image under its name, and is none of its build.
pub(crate) fn stale_pdb(file: &Path) -> Option<PathBuf> {
    let data = std::fs::read(file).ok()?;
    match symbols(file, &data, None) {
        Ok(Symbols::OfAnother(path)) => Some(path),
        _ => None,
    }
}

/// Maps an image of no file and no name.
pub(crate) fn try_map(data: &[u8]) -> Result<Image, Fact> {
    build(data)
}

/// Everything but names.
pub(super) fn build(data: &[u8]) -> Result<Image, Fact> {
    let checked = check(data)?;
    let imports = import::read(&checked)?;
    // The stubs lie in pages of their own behind the image, so that they are within reach and go when it goes.
    let size = checked.size as usize;
    let mapping = Mapping::read_write(size + imports.stub_bytes())?;
    let mut view = View {
        base: mapping.base(),
        size,
    };
    view.write(0, data.get(..checked.headers as usize).unwrap_or_default())?;
    for (section, (offset, length)) in checked.sections.iter().zip(&checked.raw) {
        view.write(
            section.rva as usize,
            data.get(*offset..offset + length).unwrap_or_default(),
        )?;
    }
    relocate(&checked, &mut view)?;
    let config = LoadConfig::read(&checked, &view)?;
    let stubs = imports.bind(&mut view, mapping.base() + size, config.cookie)?;
    let targets = config.apply(&mut view)?;
    let filled = checked.sections.iter().zip(&checked.raw);
    let filled = filled.map(|(section, (_, length))| (section.rva as usize, *length));
    let snapshot = view.copy(filled.chain([(0, checked.headers as usize)]))?;
    unwind_table(&snapshot, checked.pdata)?;
    let image = Image {
        name: String::new(),
        file: Path::new("").to_owned(),
        pdb: None,
        stale_pdb: None,
        base: mapping.base(),
        size,
        entry: mapping.base() + checked.entry as usize,
        sections: checked.sections,
        imports: imports.exports(),
        imported: imports.of_images(),
        pdata: checked.pdata,
        forces_integrity: checked.forces_integrity,
        targets,
        snapshot,
        mapping,
    };
    image
        .mapping
        .protect(image.base + size, image.mapping.end(), Access::READ_WRITE)?;
    import::write_stubs(&stubs, image.base + size);
    image
        .mapping
        .protect(image.base + size, image.mapping.end(), Access::READ_EXECUTE)?;
    protect(&image, checked.headers)?;
    Ok(image)
}

/// The image while it is being made: all of it readable and writable, every access checked against its bounds.
pub(super) struct View {
    pub(super) base: usize,
    size: usize,
}

impl View {
    fn at(&self, rva: usize, length: usize) -> Result<*mut u8, Fact> {
        let inside = rva.checked_add(length).is_some_and(|end| end <= self.size);
        if !inside {
            return Err(Fact::Damaged(format!(
                "{length:#x} bytes at {rva:#x} leave the image of {:#x}",
                self.size
            )));
        }
        Ok(std::ptr::with_exposed_provenance_mut(self.base + rva))
    }

    /// Copies bytes into the image.
    pub(super) fn write(&mut self, rva: usize, bytes: &[u8]) -> Result<(), Fact> {
        let to = self.at(rva, bytes.len())?;
        // SAFETY: `at` has checked the bounds; the mapping is writable and nobody else's yet.
        unsafe { to.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
        Ok(())
    }

    /// Copies what the file has filled of the image. The rest is zero here as there, and takes no memory in either.
    fn copy(&self, filled: impl Iterator<Item = (usize, usize)>) -> Result<Box<[u8]>, Fact> {
        let mut copy = vec![0; self.size].into_boxed_slice();
        for (rva, length) in filled {
            let from = self.at(rva, length)?;
            let Some(to) = copy.get_mut(rva..rva + length) else {
                continue;
            };
            // SAFETY: `at` has checked the bounds, and the mapping is readable.
            unsafe { to.as_mut_ptr().copy_from_nonoverlapping(from, length) };
        }
        Ok(copy)
    }

    /// Copies bytes out of the image.
    pub(super) fn read<const N: usize>(&self, rva: usize) -> Result<[u8; N], Fact> {
        let from = self.at(rva, N)?;
        let mut bytes = [0; N];
        // SAFETY: `at` has checked the bounds.
        unsafe { bytes.as_mut_ptr().copy_from_nonoverlapping(from, N) };
        Ok(bytes)
    }
}

fn relocate(checked: &Checked<'_>, view: &mut View) -> Result<(), Fact> {
    let delta = (view.base as u64).wrapping_sub(checked.preferred_base);
    let (start, length) = (
        checked.relocations.0 as usize,
        checked.relocations.1 as usize,
    );
    let mut block = 0;
    while block + 8 <= length {
        let page = u32::from_le_bytes(view.read(start + block)?) as usize;
        let bytes = u32::from_le_bytes(view.read(start + block + 4)?) as usize;
        if bytes < 8 || !bytes.is_multiple_of(2) || block + bytes > length {
            return Err(Fact::Damaged(format!(
                "relocation block at {:#x} of {bytes:#x} bytes",
                start + block
            )));
        }
        for entry in (8..bytes).step_by(2) {
            let entry = u16::from_le_bytes(view.read(start + block + entry)?);
            let target = page + usize::from(entry & 0xFFF);
            match entry >> 12 {
                pe::IMAGE_REL_BASED_ABSOLUTE => {}
                pe::IMAGE_REL_BASED_DIR64 => {
                    let value = u64::from_le_bytes(view.read(target)?).wrapping_add(delta);
                    view.write(target, &value.to_le_bytes())?;
                }
                other => {
                    return Err(Fact::Damaged(format!(
                        "relocation of type {other} at {target:#x}"
                    )));
                }
            }
        }
        block += bytes;
    }
    Ok(())
}

/// The unwinder trusts the table of functions to be in order and inside the image.
fn unwind_table(image: &[u8], (rva, length): (u32, u32)) -> Result<(), Fact> {
    let table = image
        .get(rva as usize..(rva + length) as usize)
        .unwrap_or_default();
    if !table.len().is_multiple_of(12) {
        return Err(Fact::Damaged(format!(
            "an exception directory of {length:#x} bytes, entries have 12"
        )));
    }
    let mut previous = 0;
    for entry in table.chunks_exact(12) {
        let field = |at: usize| {
            u32::from_le_bytes([entry[at], entry[at + 1], entry[at + 2], entry[at + 3]])
        };
        let (begin, end) = (field(0), field(4));
        if begin < previous
            || end <= begin
            || end as usize > image.len()
            || field(8) as usize >= image.len()
        {
            return Err(Fact::Damaged(format!(
                "unwind data for a function at {begin:#x} to {end:#x}"
            )));
        }
        previous = end;
    }
    Ok(())
}

fn protect(image: &Image, headers: u32) -> Result<(), Fact> {
    let protect = |rva: u32, size: u32, access: Access| {
        let start = image.base + rva as usize;
        image.mapping.protect(start, start + size as usize, access)
    };
    // What belongs to no section is nobody's.
    protect(
        0,
        u32::try_from(image.size).unwrap_or(u32::MAX),
        Access::NONE,
    )?;
    protect(
        0,
        headers,
        Access {
            read: true,
            write: false,
            execute: false,
        },
    )?;
    for section in &image.sections {
        protect(section.rva, section.size, access(section))?;
    }
    Ok(())
}

/// Tells who watches over it of an image that is about to run: special pool of the sections that Windows pages, and
/// control-flow guard of its functions.
pub(crate) fn declare(image: &Image) {
    if let Some(targets) = &image.targets {
        guard::enforce(image.base, image.size, targets);
    }
    for section in &image.sections {
        if section.pageable {
            let start = image.base + section.rva as usize;
            special::add_section(start, start + section.size as usize, access(section));
        }
    }
}

impl Section {
    /// Whether it may be written, and run.
    pub(crate) fn rights(&self) -> (bool, bool) {
        let access = access(self);
        (access.write, access.execute)
    }
}

fn access(section: &Section) -> Access {
    let has = |bit: u32| section.characteristics & bit != 0;
    let (write, execute) = (has(pe::IMAGE_SCN_MEM_WRITE), has(pe::IMAGE_SCN_MEM_EXECUTE));
    // The processor cannot write or run what it cannot read.
    Access {
        read: has(pe::IMAGE_SCN_MEM_READ) || write || execute,
        write,
        execute,
    }
}

/// Takes the whole image away, for good: its addresses are never used again, so that whoever comes back to it is known
/// for what it is.
pub(crate) fn retire(image: &Image) {
    guard::forget(image.base);
    special::remove_sections(image.base, image.size);
    image.mapping.retire();
}

/// Takes the discardable sections away, as Windows does once `DriverEntry` has succeeded.
pub(crate) fn discard_init(image: &Image) {
    for section in &image.sections {
        if section.discardable {
            let start = image.base + section.rva as usize;
            // A failure leaves the section readable, which is only less strict.
            let _ = image
                .mapping
                .protect(start, start + section.size as usize, Access::NONE);
        }
    }
}
