//! Source lines: the .pdb's, as DWARF has them. One unit holds the whole image, as for a file of assembly.

use std::collections::HashMap;
use std::path::Path;

use gimli::write::{
    Address, AttributeValue, DwarfUnit, EndianVec, LineProgram, LineString, Sections,
};
use gimli::{Encoding, Format, LineEncoding, LittleEndian};
use pdb_addr2line::pdb::{self, FallibleIterator as _};

use crate::loader::Image;

/// Where a line's code begins.
#[derive(Debug, PartialEq, Eq)]
struct Line {
    rva: u32,
    /// One past its last byte, where the .pdb says.
    end: Option<u32>,
    file: usize,
    line: u64,
}

/// Lines by their addresses, and the files that they are in.
#[derive(Default)]
struct Lines {
    files: Vec<String>,
    lines: Vec<Line>,
}

/// Compilers give these numbers to code that belongs to no line.
const HIDDEN: [u32; 2] = [0xF0_0F00, 0xFE_EFEE];

fn read(path: &Path) -> pdb::Result<Lines> {
    let mut file = pdbfile::open(path).ok_or(pdb::Error::UnrecognizedFileFormat)?;
    let addresses = file.address_map()?;
    let strings = file.string_table()?;
    let information = file.debug_information()?;
    let (mut found, mut numbers) = (Lines::default(), HashMap::new());
    let mut modules = information.modules()?;
    while let Some(module) = modules.next()? {
        let Some(info) = file.module_info(&module)? else {
            continue;
        };
        let program = info.line_program()?;
        let mut symbols = info.symbols()?;
        while let Some(symbol) = symbols.next()? {
            let Ok(pdb::SymbolData::Procedure(procedure)) = symbol.parse() else {
                continue;
            };
            // What the linker has left out has lines as well, which lead nowhere.
            if procedure.offset.to_rva(&addresses).is_none() {
                continue;
            }
            let mut lines = program.lines_for_symbol(procedure.offset);
            while let Some(line) = lines.next()? {
                let Some(rva) = line.offset.to_rva(&addresses) else {
                    continue;
                };
                let name = program.get_file_info(line.file_index)?.name;
                let file = match numbers.get(&name) {
                    Some(known) => *known,
                    None => {
                        found
                            .files
                            .push(strings.get(name)?.to_string().into_owned());
                        numbers.insert(name, found.files.len() - 1);
                        found.files.len() - 1
                    }
                };
                let hidden = HIDDEN.contains(&line.line_start);
                found.lines.push(Line {
                    rva: rva.0,
                    end: line.length.and_then(|length| rva.0.checked_add(length)),
                    file,
                    line: if hidden { 0 } else { line.line_start.into() },
                });
            }
        }
    }
    found.lines.sort_by_key(|line| line.rva);
    found.lines.dedup_by_key(|line| line.rva);
    Ok(found)
}

/// The DWARF sections of an image's lines; `None`: there are none.
pub(super) fn sections(image: &Image) -> Option<Vec<(&'static str, Vec<u8>)>> {
    let lines = read(image.pdb.as_deref()?).ok()?;
    if lines.lines.is_empty() {
        return None;
    }
    write(image, &lines).ok()
}

fn write(image: &Image, lines: &Lines) -> gimli::write::Result<Vec<(&'static str, Vec<u8>)>> {
    let encoding = Encoding {
        format: Format::Dwarf32,
        version: 4,
        address_size: 8,
    };
    let text = |text: &str| LineString::String(text.bytes().filter(|byte| *byte != 0).collect());
    let name = format!("{}.sys", image.name);
    let mut program = LineProgram::new(
        encoding,
        LineEncoding::default(),
        text("/"),
        None,
        text(&name),
        None,
    );
    let directory = program.default_directory();
    let files: Vec<_> = lines
        .files
        .iter()
        .map(|file| program.add_file(text(file), directory, None))
        .collect();
    let base = image.base as u64;
    let mut before: Option<(u32, u32)> = None;
    for (line, next) in lines.lines.iter().zip(
        lines
            .lines
            .iter()
            .skip(1)
            .map(Some)
            .chain(std::iter::once(None)),
    ) {
        // A sequence ends where the next line does not follow.
        let (start, _) = *before.get_or_insert_with(|| {
            program.begin_sequence(Some(Address::Constant(base + u64::from(line.rva))));
            (line.rva, line.rva)
        });
        let row = program.row();
        row.address_offset = u64::from(line.rva - start);
        row.file = files[line.file];
        row.line = line.line;
        row.is_statement = line.line != 0;
        program.generate_row();
        let follows = next.map(|next| next.rva);
        let end = line.end.or(follows).unwrap_or(line.rva + 1);
        if follows.is_none_or(|next| end < next) {
            program.end_sequence(u64::from(end - start));
            before = None;
        }
    }

    let mut dwarf = DwarfUnit::new(encoding);
    dwarf.unit.line_program = program;
    let root = dwarf.unit.root();
    let root = dwarf.unit.get_mut(root);
    let string = |text: &str| AttributeValue::String(text.bytes().collect());
    root.set(gimli::DW_AT_producer, string("ntbench, from the .pdb"));
    root.set(gimli::DW_AT_name, string(&name));
    root.set(gimli::DW_AT_comp_dir, string("/"));
    let language = AttributeValue::Language(gimli::DW_LANG_Mips_Assembler);
    root.set(gimli::DW_AT_language, language);
    let low = AttributeValue::Address(Address::Constant(base));
    root.set(gimli::DW_AT_low_pc, low);
    let size = AttributeValue::Udata(image.size as u64);
    root.set(gimli::DW_AT_high_pc, size);
    let mut sections = Sections::new(EndianVec::new(LittleEndian));
    dwarf.write(&mut sections)?;
    let mut written = Vec::new();
    sections.for_each(|id, data| {
        if !data.slice().is_empty() {
            written.push((id.name(), data.slice().to_vec()));
        }
        Ok::<(), gimli::write::Error>(())
    })?;
    Ok(written)
}
