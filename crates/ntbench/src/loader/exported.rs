//! What loaded images export to those that are loaded after them, by name; a forwarder leads on to the kernel's or another
//! image's export ("PE Format", "Export Address Table").

use object::LittleEndian as LE;
use object::pe::IMAGE_DIRECTORY_ENTRY_EXPORT;
use object::read::pe::{ExportTable, ExportTarget, PeFile64};

use super::Image;
use crate::export::{self, Export};
use crate::machine;

/// A forwarder that leads to a forwarder, and so on, must end.
const MOST_FORWARDERS: usize = 8;

/// What an import is bound to.
#[derive(Clone, Copy)]
pub(super) enum Target {
    /// Something of the bench's.
    Export(&'static Export),
    /// An address in another image.
    Image(usize),
}

/// What a module exports under that name.
pub(super) fn find(dll: &str, name: &str) -> Option<Target> {
    let (mut dll, mut name) = (dll.to_owned(), name.to_owned());
    for _ in 0..MOST_FORWARDERS {
        if let Some(export) = export::find(&dll, &name) {
            return Some(Target::Export(export));
        }
        let stem = dll.rsplit_once('.').map_or(&*dll, |(stem, _)| stem);
        let module = machine::modules()
            .into_iter()
            .find(|module| module.image.name.eq_ignore_ascii_case(stem))?;
        match of_image(&module.image, &name)? {
            Found::Here(rva) => return Some(Target::Image(module.image.base + rva as usize)),
            Found::Elsewhere(library, forwarded) => (dll, name) = (file_of(&library), forwarded),
        }
    }
    None
}

enum Found {
    /// At that RVA.
    Here(u32),
    /// In that module, which is named without an extension, under that name.
    Elsewhere(String, String),
}

fn of_image(image: &Image, name: &str) -> Option<Found> {
    let pe = PeFile64::parse(&*image.snapshot).ok()?;
    let directory = pe.data_directory(IMAGE_DIRECTORY_ENTRY_EXPORT)?;
    let rva = directory.virtual_address.get(LE);
    let start = rva as usize;
    let end = start.checked_add(directory.size.get(LE) as usize)?;
    // Linkers do not align it, and the crate wants it so.
    let copy = image.snapshot.get(start..end)?.to_vec();
    let table = ExportTable::parse(&copy, rva).ok()?;
    let exports = table.exports().ok()?;
    let export = exports
        .into_iter()
        .find(|export| export.name == Some(name.as_bytes()))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match export.target {
        ExportTarget::Address(rva) if (rva as usize) < image.size => Some(Found::Here(rva)),
        ExportTarget::ForwardByName(library, name) => {
            Some(Found::Elsewhere(text(library), text(name)))
        }
        ExportTarget::Address(_) | ExportTarget::ForwardByOrdinal(..) => None,
    }
}

/// The file that a forwarder means.
fn file_of(library: &str) -> String {
    let extension = match library.to_ascii_lowercase().as_str() {
        "ntoskrnl" => "exe",
        "hal" => "dll",
        _ => "sys",
    };
    format!("{library}.{extension}")
}
