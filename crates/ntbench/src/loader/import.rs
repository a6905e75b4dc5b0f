//! Imports: read, looked up, bound to stubs.

use object::LittleEndian as LE;
use object::pe;
use object::read::pe::ImageThunkData as _;

use super::Fact;
use super::check::Checked;
use super::exported::{self, Target};
use super::map::View;
use crate::export::{Export, ExportKind};
use crate::gate::{self, STUB_BYTES};

/// More than any driver has; a table that goes on and on is damaged.
const MOST_IMPORTS: usize = 0x1_0000;

/// An image's imports, all of them found.
pub(super) struct Imports {
    /// Where the address goes, and what it is of.
    slots: Vec<(u32, Target)>,
}

/// The names that an image imports, as `DLL!name`; for looking, without binding.
pub(crate) fn names(checked: &Checked<'_>) -> Result<Vec<(u32, String, String)>, Fact> {
    let damaged = |error: object::Error| Fact::Damaged(format!("import table: {error}"));
    if checked.imports == (0, 0) {
        return Ok(Vec::new());
    }
    let Some(table) = checked.pe.import_table().map_err(damaged)? else {
        return Ok(Vec::new());
    };
    let mut names = Vec::new();
    let mut descriptors = table.descriptors().map_err(damaged)?;
    while let Some(descriptor) = descriptors.next().map_err(damaged)? {
        let dll = text(table.name(descriptor.name.get(LE)).map_err(damaged)?);
        let lookup = match descriptor.original_first_thunk.get(LE) {
            0 => descriptor.first_thunk.get(LE),
            lookup => lookup,
        };
        let mut thunks = table.thunks(lookup).map_err(damaged)?;
        let mut slot = descriptor.first_thunk.get(LE);
        while let Some(thunk) = thunks.next::<pe::ImageNtHeaders64>().map_err(damaged)? {
            let name = if thunk.is_ordinal() {
                format!("#{}", thunk.ordinal())
            } else {
                text(table.hint_name(thunk.address()).map_err(damaged)?.1)
            };
            names.push((slot, dll.clone(), name));
            slot = slot
                .checked_add(8)
                .ok_or_else(|| Fact::Damaged("import table: addresses overflow".to_owned()))?;
            if names.len() > MOST_IMPORTS {
                return Err(Fact::Damaged("import table without an end".to_owned()));
            }
        }
    }
    Ok(names)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Finds all imports; those that nobody exports are named all at once.
pub(super) fn read(checked: &Checked<'_>) -> Result<Imports, Fact> {
    let (mut slots, mut unbound) = (Vec::new(), Vec::new());
    for (slot, dll, name) in names(checked)? {
        match exported::find(&dll, &name) {
            Some(target) => slots.push((slot, target)),
            None => unbound.push(format!("{dll}!{name}")),
        }
    }
    if unbound.is_empty() {
        Ok(Imports { slots })
    } else {
        Err(Fact::Unbound(unbound))
    }
}

impl Imports {
    /// The slots that something of the bench's belongs into.
    pub(super) fn exports(&self) -> Vec<(u32, &'static Export)> {
        let export = |(slot, target): &(u32, Target)| match target {
            Target::Export(export) => Some((*slot, *export)),
            Target::Image(_) => None,
        };
        self.slots.iter().filter_map(export).collect()
    }

    /// Addresses in other images that are imported.
    pub(super) fn of_images(&self) -> Vec<usize> {
        let address = |(_, target): &(u32, Target)| match target {
            Target::Export(_) => None,
            Target::Image(address) => Some(*address),
        };
        self.slots.iter().filter_map(address).collect()
    }

    /// Room that the stubs need.
    pub(super) fn stub_bytes(&self) -> usize {
        self.slots.len() * STUB_BYTES
    }

    /// Writes each import's address into its slot; gives the stubs' code, which is to lie at `stubs_at`. `cookie`: the RVA of
    /// the image's security cookie.
    pub(super) fn bind(
        &self,
        view: &mut View,
        stubs_at: usize,
        cookie: Option<usize>,
    ) -> Result<Vec<u8>, Fact> {
        let mut code = Vec::with_capacity(self.stub_bytes());
        for (slot, target) in &self.slots {
            let export = match target {
                Target::Export(export) => export,
                Target::Image(address) => {
                    view.write(*slot as usize, &(*address as u64).to_le_bytes())?;
                    continue;
                }
            };
            let address = match export.kind {
                ExportKind::Raw { address } => address.addr(),
                ExportKind::Data(address) => address(),
                ExportKind::Cookie(make) => {
                    let address = stubs_at + code.len();
                    let cookie = cookie.ok_or(Fact::NoCookie)?;
                    code.extend_from_slice(&make(view.base + cookie));
                    address
                }
                ExportKind::Function { .. } | ExportKind::Variadic { .. } => {
                    let address = stubs_at + code.len();
                    code.extend_from_slice(&gate::stub(export).unwrap_or([0xCC; STUB_BYTES]));
                    address
                }
            };
            view.write(*slot as usize, &(address as u64).to_le_bytes())?;
        }
        Ok(code)
    }
}

/// Copies stubs to their pages, which must be writable.
pub(super) fn write_stubs(code: &[u8], at: usize) {
    let to = std::ptr::with_exposed_provenance_mut::<u8>(at);
    // SAFETY: `Imports::stub_bytes` reserved this room behind the image, and it is writable now.
    unsafe { to.copy_from_nonoverlapping(code.as_ptr(), code.len()) };
}
