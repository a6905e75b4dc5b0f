//! Addresses to names and back: from the .pdb, else from the image's own COFF symbols.

use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use object::{Object as _, ObjectSymbol as _, SymbolKind};
use pdb_addr2line::pdb::{self, FallibleIterator as _};
use pdb_addr2line::{Context, ContextPdbData, TypeFormatterFlags};

use crate::loader::Image;
use crate::machine;

/// How a function is named: as in the source, without its types.
const NAMES: TypeFormatterFlags = TypeFormatterFlags::NO_ARGUMENTS
    .union(TypeFormatterFlags::NO_FUNCTION_RETURN)
    .union(TypeFormatterFlags::NAME_ONLY);

/// What is known of one image's symbols; read when first asked for.
#[derive(Default)]
pub(crate) struct Symbols {
    table: OnceLock<Table>,
}

enum Table {
    Pdb(&'static Mutex<PdbTable>),
    Coff(Coff),
}

/// A .pdb's index borrows from the .pdb; both live as long as the process, as does every driver's name in a report. A driver that is
/// loaded again finds its own ([`PdbTable::of`]).
struct PdbTable {
    context: Context<'static, 'static>,
    data: Vec<(u32, String)>,
}

/// A place in a function.
pub(crate) struct Place {
    /// The function's name, without module.
    pub(crate) function: String,
    /// How far into it.
    pub(crate) offset: u32,
    /// `file:line`.
    pub(crate) source: Option<String>,
}

impl Symbols {
    fn table(&self, image: &Image) -> &Table {
        self.table.get_or_init(|| {
            let pdb = image.pdb.as_deref().and_then(PdbTable::of);
            pdb.map_or_else(|| Table::Coff(Coff::read(&image.file)), Table::Pdb)
        })
    }

    /// What lies at an RVA.
    pub(crate) fn place(&self, image: &Image, rva: u32) -> Option<Place> {
        match self.table(image) {
            Table::Pdb(table) => table
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .place(rva),
            Table::Coff(table) => table.place(rva, image.is_code(rva)),
        }
    }

    /// Everything that has a name.
    pub(crate) fn all(&self, image: &Image) -> Vec<(u32, String)> {
        match self.table(image) {
            Table::Pdb(table) => {
                let table = table.lock().unwrap_or_else(PoisonError::into_inner);
                let functions = table.context.functions();
                let mut all: Vec<_> = functions
                    .filter_map(|function| Some((function.start_rva, function.name?)))
                    .collect();
                all.extend(table.data.iter().cloned());
                all
            }
            Table::Coff(table) => [&*table.functions, &*table.others].concat(),
        }
    }

    /// The RVA of a name.
    pub(crate) fn rva(&self, image: &Image, name: &str) -> Option<u32> {
        let find = |symbols: &[(u32, String)]| {
            symbols
                .iter()
                .find(|(_, known)| known == name)
                .map(|(rva, _)| *rva)
        };
        match self.table(image) {
            Table::Pdb(table) => {
                let table = table.lock().unwrap_or_else(PoisonError::into_inner);
                find(&table.data).or_else(|| {
                    table
                        .context
                        .functions()
                        .find(|function| function.name.as_deref() == Some(name))
                        .map(|f| f.start_rva)
                })
            }
            Table::Coff(table) => find(&table.functions).or_else(|| find(&table.others)),
        }
    }
}

/// What is known of a build's .pdb, by the identifier and the age that link it with its image.
type Known = (([u8; 16], u32), &'static Mutex<PdbTable>);

static KNOWN: Mutex<Vec<Known>> = Mutex::new(Vec::new());

impl PdbTable {
    /// The table of a .pdb. One that cannot be read is as good as none: names are a help, not a condition.
    fn of(path: &Path) -> Option<&'static Mutex<Self>> {
        let mut file = pdbfile::open(path)?;
        let information = file.pdb_information().ok()?;
        let build = (information.guid.to_bytes_le(), information.age);
        let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, table)) = known.iter().find(|(of, _)| *of == build) {
            return Some(table);
        }
        let table: &'static Mutex<Self> = Box::leak(Box::new(Mutex::new(Self::read(file)?)));
        known.push((build, table));
        Some(table)
    }

    fn read(mut file: pdb::PDB<'static, std::fs::File>) -> Option<Self> {
        let data = data_symbols(&mut file).unwrap_or_default();
        let context: &'static ContextPdbData<'static, 'static, std::fs::File> =
            Box::leak(Box::new(ContextPdbData::try_from_pdb(file).ok()?));
        Some(Self {
            context: context.make_context_with_formatter_flags(NAMES).ok()?,
            data,
        })
    }

    fn place(&self, rva: u32) -> Option<Place> {
        let frames = self.context.find_frames(rva).ok()??;
        // The outermost frame is the function that has the stack frame: what was inlined into it has none.
        let frame = frames.frames.last()?;
        let function = frame.function.clone()?;
        let source = frame.file.as_deref().map(|file| match frame.line {
            Some(line) => format!("{file}:{line}"),
            None => file.to_owned(),
        });
        Some(Place {
            function,
            offset: rva - frames.start_rva,
            source,
        })
    }
}

/// How many symbols a .pdb names, each looked up by its address.
pub(crate) fn probe(path: &Path) -> Option<usize> {
    let mut file = pdbfile::open(path)?;
    let data = data_symbols(&mut file).unwrap_or_default();
    let data = data.len();
    let context = ContextPdbData::try_from_pdb(file).ok()?;
    let context = context.make_context_with_formatter_flags(NAMES).ok()?;
    let functions = context.functions().filter(|function| {
        let _ = context.find_frames(function.start_rva);
        function.name.is_some()
    });
    Some(data + functions.count())
}

/// What links a .pdb with the image of its build: the GUID and the age of the image's CodeView record.
pub(crate) fn build(path: &Path) -> Option<([u8; 16], u32)> {
    let mut file = pdbfile::open(path)?;
    let information = file.pdb_information().ok()?;
    // Tools that add to a .pdb count its own age up, and leave the one of the debug information.
    let age = file.debug_information().ok().and_then(|debug| debug.age());
    Some((
        information.guid.to_bytes_le(),
        age.unwrap_or(information.age),
    ))
}

/// Variables and public names.
fn data_symbols(file: &mut pdb::PDB<'_, std::fs::File>) -> pdb::Result<Vec<(u32, String)>> {
    let addresses = file.address_map()?;
    let globals = file.global_symbols()?;
    let mut symbols = Vec::new();
    let mut iterator = globals.iter();
    while let Some(symbol) = iterator.next()? {
        let (offset, name) = match symbol.parse() {
            Ok(pdb::SymbolData::Public(public)) => (public.offset, public.name),
            Ok(pdb::SymbolData::Data(data)) => (data.offset, data.name),
            _ => continue,
        };
        if let Some(rva) = offset.to_rva(&addresses) {
            symbols.push((rva.0, name.to_string().into_owned()));
        }
    }
    Ok(symbols)
}

/// An image's own symbols: what GNU linkers leave in it.
#[derive(Default)]
struct Coff {
    functions: Vec<(u32, String)>,
    others: Vec<(u32, String)>,
}

impl Coff {
    fn read(file: &Path) -> Self {
        let mut table = Self::default();
        let Ok(data) = std::fs::read(file) else {
            return table;
        };
        let Ok(object) = object::File::parse(&*data) else {
            return table;
        };
        let base = object.relative_address_base();
        for symbol in object.symbols().filter(object::ObjectSymbol::is_definition) {
            let rva = symbol
                .address()
                .checked_sub(base)
                .and_then(|rva| u32::try_from(rva).ok());
            let name = symbol
                .name()
                .ok()
                .filter(|name| !name.is_empty() && !name.starts_with('.'));
            let (Some(rva), Some(name), Some(_)) = (rva, name, symbol.section_index()) else {
                continue;
            };
            let list = if symbol.kind() == SymbolKind::Text {
                &mut table.functions
            } else {
                &mut table.others
            };
            list.push((rva, name.to_owned()));
        }
        table.functions.sort();
        table.others.sort();
        table
    }

    /// Code is named after a function, where the image says which symbols are; data after anything.
    fn place(&self, rva: u32, code: bool) -> Option<Place> {
        let list = if code && !self.functions.is_empty() {
            &self.functions
        } else {
            &self.others
        };
        let index = list.partition_point(|(start, _)| *start <= rva);
        let (start, name) = list.get(index.checked_sub(1)?)?;
        Some(Place {
            function: name.clone(),
            offset: rva - start,
            source: None,
        })
    }
}

/// `module!function+0x12 (file:line)`, or as much of it as is known.
pub(crate) fn describe(address: usize) -> String {
    let (symbol, source) = name(address);
    match source {
        Some(source) => format!("{symbol} ({source})"),
        None => symbol,
    }
}

/// [`describe`] of a call, by the address that it returns to: the line is the call's, not that of what comes after it.
pub(crate) fn describe_call(return_address: usize) -> String {
    if return_address == 0 {
        return describe(0);
    }
    match name_of_call(return_address, false) {
        (symbol, Some(source)) => format!("{symbol} ({source})"),
        (symbol, None) => symbol,
    }
}

/// `module!function+0x12`, and `file:line`.
pub(crate) fn name(address: usize) -> (String, Option<String>) {
    let Some(module) = machine::module_at(address) else {
        let gone = machine::unloaded_at(address);
        let gone =
            gone.map(|driver| format!("Unloaded_{}+{:#x}", driver.name, address - driver.base));
        return (gone.unwrap_or_else(|| format!("{address:#x}")), None);
    };
    let image: &Arc<Image> = &module.image;
    let rva = u32::try_from(address - image.base).unwrap_or(u32::MAX);
    match module.symbols.place(image, rva) {
        Some(place) => (
            format!("{}!{}+{:#x}", image.name, place.function, place.offset),
            place.source,
        ),
        None => (format!("{}+{rva:#x}", image.name), None),
    }
}

/// [`name`] of the code at `address`; for an address that a call returns to, of the call.
pub(crate) fn name_of_call(address: usize, exact: bool) -> (String, Option<String>) {
    if exact {
        return name(address);
    }
    let (symbol, source) = name(address - 1);
    // WinDbg shows the return address's own offset.
    let shown = symbol.rsplit_once("+0x").and_then(|(function, offset)| {
        let offset = u64::from_str_radix(offset, 16).ok()?;
        Some(format!("{function}+{:#x}", offset + 1))
    });
    (shown.unwrap_or(symbol), source)
}
