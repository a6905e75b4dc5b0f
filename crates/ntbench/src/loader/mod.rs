//! PE images: checked, mapped, bound.
//!
//! Checking ([`check`]) reads bytes and decides; nothing is mapped before every fact about the image is known to be
//! sound. Mapping ([`map`]) then does what the Windows loader does: sections with their protections and never both
//! writable and executable, relocations, imports, the security cookie.

mod check;
mod config;
mod exported;
mod guard;
mod import;
mod map;

use std::path::{Path, PathBuf};

use crate::cpu::memory::{Mapping, PAGE};
use crate::export::Export;
use crate::{Import, export};

pub(crate) use map::{declare, discard_init, load, retire, stale_pdb, try_map};

/// What an image imports, without loading it.
pub(crate) fn imports(file: &Path) -> Result<Vec<Import>, ImageError> {
    let data = std::fs::read(file).map_err(|error| ImageError::new(file, error))?;
    let names = check::check(&data).and_then(|checked| import::names(&checked));
    let known = |(_, dll, name): (u32, String, String)| {
        let known = export::find(&dll, &name).is_some();
        Import { dll, name, known }
    };
    names
        .map(|names| names.into_iter().map(known).collect())
        .map_err(|fact| ImageError::new(file, fact))
}

/// Why an image was not loaded.
#[derive(Debug, thiserror::Error)]
#[error("{}: {fact}", file.display())]
pub(crate) struct ImageError {
    file: PathBuf,
    fact: Fact,
}

impl ImageError {
    fn new(file: &Path, fact: impl Into<Fact>) -> Self {
        Self {
            file: file.to_owned(),
            fact: fact.into(),
        }
    }
}

/// What is wrong with an image.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fact {
    /// The file cannot be read.
    #[error("cannot be read: {0}")]
    Read(#[from] std::io::Error),
    /// It is none, or it is cut short.
    #[error("is not a whole PE image: {0}")]
    NotPe(String),
    /// For another processor.
    #[error("is built for {0}, not x64")]
    Machine(String),
    /// Not a driver.
    #[error("is not a kernel-mode driver: {0}")]
    NotDriver(String),
    /// A header that contradicts the file or itself.
    #[error("is damaged: {0}")]
    Damaged(String),
    /// Sections that do not begin on pages of their own: Windows maps such an image as one, all of it writable and executable.
    #[error(
        "has a section alignment of {0:#x}, no multiple of 0x1000 (linked with /ALIGN?), which Windows refuses with HVCI and the bench always"
    )]
    Alignment(u32),
    /// It cannot be moved from its preferred base.
    #[error(
        "has no relocations (linked with /FIXED?), and no driver is loaded at its preferred base"
    )]
    Fixed,
    /// Sections that could be written and run.
    #[error(
        "section {0} is both writable and executable, which Windows refuses with HVCI and the bench always"
    )]
    WriteExecute(String),
    /// The .pdb that was named is not the image's.
    #[error("{} is not readable or not of the same build (build again, or name the right one)", .0.display())]
    OtherPdb(PathBuf),
    /// A check of a cookie that nobody knows.
    #[error(
        "imports __security_check_cookie, and its load configuration names no cookie (define _load_config_used)"
    )]
    NoCookie,
    /// Imports that nobody exports.
    #[error("imports what the bench does not have: {}", .0.join(", "))]
    Unbound(Vec<String>),
}

/// A section of a mapped image.
#[derive(Clone, Debug)]
pub(crate) struct Section {
    /// Where it begins, relative to the base.
    pub(crate) rva: u32,
    /// How long it is in memory.
    pub(crate) size: u32,
    /// `IMAGE_SECTION_HEADER.Characteristics`.
    pub(crate) characteristics: u32,
    /// Whether Windows pages it: its name begins with PAGE.
    pub(crate) pageable: bool,
    /// Whether Windows takes it away once `DriverEntry` has succeeded: by its flag, or because its name begins with INIT.
    pub(crate) discardable: bool,
}

/// A mapped driver.
pub(crate) struct Image {
    /// Its name, without extension.
    pub(crate) name: String,
    /// The file it came from.
    pub(crate) file: PathBuf,
    /// The file's .pdb, if there is one.
    pub(crate) pdb: Option<PathBuf>,
    /// A .pdb beside the file that is none of its build.
    pub(crate) stale_pdb: Option<PathBuf>,
    /// Where it lies.
    pub(crate) base: usize,
    /// How long it is.
    pub(crate) size: usize,
    /// `DriverEntry`.
    pub(crate) entry: usize,
    /// Its sections.
    pub(crate) sections: Vec<Section>,
    /// The import address table: the RVA of each slot that is bound to something of the bench's, and what that is.
    pub(crate) imports: Vec<(u32, &'static Export)>,
    /// What it imports from other images, by address.
    pub(crate) imported: Vec<usize>,
    /// The exception directory: where the unwind data's index lies, and how long it is.
    pub(crate) pdata: (u32, u32),
    /// Whether it was linked with `/INTEGRITYCHECK`.
    pub(crate) forces_integrity: bool,
    /// The RVAs that may be called indirectly, where the image tells.
    targets: Option<Vec<u32>>,
    /// The image as it was mapped, for the unwinder: what is discarded in memory stays here.
    pub(crate) snapshot: Box<[u8]>,
    mapping: Mapping,
}

impl Image {
    /// An image of these bytes at that address, which nothing is mapped at.
    #[cfg(test)]
    pub(crate) fn of(snapshot: &[u8], base: usize, pdata: (u32, u32)) -> Self {
        Self {
            name: "test".to_owned(),
            file: PathBuf::new(),
            pdb: None,
            stale_pdb: None,
            base,
            size: snapshot.len(),
            entry: 0,
            sections: Vec::new(),
            imports: Vec::new(),
            imported: Vec::new(),
            pdata,
            forces_integrity: false,
            targets: None,
            snapshot: snapshot.into(),
            mapping: Mapping::reserve(1).expect("a page"),
        }
    }

    /// Whether an address lies in it.
    pub(crate) fn contains(&self, address: usize) -> bool {
        (self.base..self.base + self.size).contains(&address)
    }

    /// Whether the page of an address in it may be written, and run.
    pub(crate) fn rights(&self, address: usize) -> (bool, bool) {
        let rva = address.wrapping_sub(self.base);
        let holds = |section: &&Section| {
            let first = section.rva as usize;
            (first..(first + section.size as usize).next_multiple_of(PAGE)).contains(&rva)
        };
        self.sections
            .iter()
            .find(holds)
            .map_or((false, false), Section::rights)
    }

    /// Whether an RVA lies in code.
    pub(crate) fn is_code(&self, rva: u32) -> bool {
        let holds = |section: &&Section| section.rva <= rva && rva - section.rva < section.size;
        let executable = object::pe::IMAGE_SCN_MEM_EXECUTE;
        self.sections
            .iter()
            .find(holds)
            .is_some_and(|section| section.characteristics & executable != 0)
    }
}
