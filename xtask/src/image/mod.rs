//! Reading a finished driver image and judging it.

pub(crate) mod allowed;
mod parse;
pub(crate) mod report;
mod rules;
#[cfg(test)]
mod tests;

use versioninfo::{ReadError, VersionInfo};

/// What an image says of itself.
#[derive(Debug, Default)]
pub(crate) struct Image {
    /// Size of the file in bytes.
    pub(crate) file_size: usize,
    /// `IMAGE_FILE_HEADER.Machine`.
    pub(crate) machine: u16,
    /// `IMAGE_FILE_HEADER.TimeDateStamp`; with `/Brepro` a digest, not a time.
    pub(crate) timestamp: u32,
    /// Whether the debug directory marks the image as reproducible.
    pub(crate) reproducible: bool,
    /// `IMAGE_OPTIONAL_HEADER.Subsystem`.
    pub(crate) subsystem: u16,
    /// `IMAGE_OPTIONAL_HEADER.DllCharacteristics`.
    pub(crate) dll_characteristics: u16,
    /// `IMAGE_OPTIONAL_HEADER.SizeOfImage`.
    pub(crate) size_of_image: u32,
    /// `IMAGE_OPTIONAL_HEADER.SectionAlignment`.
    pub(crate) section_alignment: u32,
    /// RVA of the entry point.
    pub(crate) entry: u32,
    /// The name of the export at the entry point, if one stands there.
    pub(crate) entry_name: Option<String>,
    /// The checksum in the header.
    pub(crate) checksum: u32,
    /// The checksum that the file's bytes give.
    pub(crate) computed_checksum: u32,
    /// Whether there are base relocations.
    pub(crate) relocations: bool,
    /// Path of the .pdb as the image names it.
    pub(crate) pdb: Option<String>,
    /// The version resource, or why there is none.
    pub(crate) version: Option<Result<VersionInfo, ReadError>>,
    /// The load configuration.
    pub(crate) load_config: Option<LoadConfig>,
    /// The sections.
    pub(crate) sections: Vec<Section>,
    /// The imports.
    pub(crate) imports: Vec<Imports>,
}

/// What the load configuration says of the code's own defences.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LoadConfig {
    /// Address of the stack cookie; 0 without one.
    pub(crate) security_cookie: u64,
    /// `GuardFlags`: control-flow guard.
    pub(crate) guard_flags: u32,
}

impl LoadConfig {
    /// Whether calls through pointers are checked: `IMAGE_GUARD_CF_INSTRUMENTED`.
    pub(crate) const fn is_guarded(&self) -> bool {
        self.guard_flags & 0x100 != 0
    }
}

/// A section's header.
#[derive(Debug)]
pub(crate) struct Section {
    pub(crate) name: String,
    pub(crate) address: u32,
    pub(crate) virtual_size: u32,
    pub(crate) raw_size: u32,
    pub(crate) characteristics: u32,
}

/// What is imported from one module.
#[derive(Debug)]
pub(crate) struct Imports {
    pub(crate) dll: String,
    /// Names; imports by number stand as `#n`.
    pub(crate) names: Vec<String>,
}
