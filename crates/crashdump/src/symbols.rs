//! Names of places: from a .pdb of the same build, else from the export directory, else module and offset.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use pdb_addr2line::{Context, ContextPdbData, TypeFormatterFlags};

use crate::memory::Dump;
use crate::module::Module;
use crate::unwind;

/// A .pdb's index borrows from the .pdb; both live as long as the process, which reads one dump.
type Table = Context<'static, 'static>;

pub(crate) struct Symbols<'a> {
    dump: &'a Dump,
    /// Each module's .pdb, where one was found, by the module's base.
    files: HashMap<u64, PathBuf>,
    tables: RefCell<HashMap<u64, Option<&'static Table>>>,
}

/// A place's name and `file:line`.
pub(crate) struct Place {
    pub(crate) symbol: String,
    pub(crate) source: Option<String>,
}

impl<'a> Symbols<'a> {
    /// Looks for each module's .pdb among these files and in these folders.
    pub(crate) fn new(
        dump: &'a Dump,
        modules: &[Module],
        places: &[PathBuf],
        notes: &mut Vec<String>,
    ) -> Self {
        let mut files = HashMap::new();
        let wanted = || {
            modules
                .iter()
                .filter_map(|module| Some((module.base, module.pdb.as_ref()?)))
        };
        for place in places {
            if place.is_dir() {
                for (base, (guid, name)) in wanted() {
                    let file = place.join(name);
                    if file.is_file() && guid_of(&file) == Some(*guid) {
                        files.entry(base).or_insert(file);
                    }
                }
                continue;
            }
            match guid_of(place) {
                None => notes.push(format!("{} cannot be read as a .pdb", place.display())),
                Some(found) => match wanted().find(|(_, (guid, _))| *guid == found) {
                    Some((base, _)) => {
                        files.insert(base, place.clone());
                    }
                    None => notes.push(format!(
                        "{} is of another build than every module in the dump",
                        place.display()
                    )),
                },
            }
        }
        Self {
            dump,
            files,
            tables: RefCell::default(),
        }
    }

    fn table(&self, module: &Module) -> Option<&'static Table> {
        *self
            .tables
            .borrow_mut()
            .entry(module.base)
            .or_insert_with(|| open(self.files.get(&module.base)?))
    }

    /// The name of the code at an address; for one that a call returns to, of the call.
    pub(crate) fn place(&self, module: &Module, address: u64, exact: bool) -> Place {
        let Some(rva) = module.rva(address) else {
            return Place {
                symbol: format!("{address:#x}"),
                source: None,
            };
        };
        // A return address may be the first byte of the next function.
        let within = if exact { rva } else { rva.saturating_sub(1) };
        if let Some((function, start, source)) =
            self.table(module).and_then(|table| find(table, within))
        {
            return Place {
                symbol: format!(
                    "{}!{function}+{:#x}",
                    module.name,
                    rva.saturating_sub(start)
                ),
                source,
            };
        }
        let symbol = match module.nearest_export(self.dump, rva) {
            Some((name, offset)) if self.same_function(module, rva, offset) => {
                format!("{}!{name}+{offset:#x}", module.name)
            }
            _ => format!("{}+{rva:#x}", module.name),
        };
        Place {
            symbol,
            source: None,
        }
    }

    /// Whether an export `offset` bytes below an RVA is of the function that the RVA lies in.
    fn same_function(&self, module: &Module, rva: u32, offset: u32) -> bool {
        let begin = unwind::function(self.dump, module, rva).map(|function| function.begin);
        begin.map_or(offset == 0, |begin| rva - offset >= begin)
    }
}

fn guid_of(path: &Path) -> Option<[u8; 16]> {
    let mut file = pdbfile::open(path)?;
    Some(file.pdb_information().ok()?.guid.to_bytes_le())
}

fn open(path: &Path) -> Option<&'static Table> {
    let file = pdbfile::open(path)?;
    let data: &'static ContextPdbData<'static, 'static, File> =
        Box::leak(Box::new(ContextPdbData::try_from_pdb(file).ok()?));
    let names = TypeFormatterFlags::NO_ARGUMENTS
        | TypeFormatterFlags::NO_FUNCTION_RETURN
        | TypeFormatterFlags::NAME_ONLY;
    Some(Box::leak(Box::new(
        data.make_context_with_formatter_flags(names).ok()?,
    )))
}

/// The function that has the frame (what was inlined into it has none), where it begins, and the line.
fn find(table: &Table, rva: u32) -> Option<(String, u32, Option<String>)> {
    let frames = table.find_frames(rva).ok()??;
    let frame = frames.frames.last()?;
    let source = frame.file.as_deref().map(|file| match frame.line {
        Some(line) => format!("{file}:{line}"),
        None => file.to_owned(),
    });
    Some((frame.function.clone()?, frames.start_rva, source))
}
