//! The container: an ELF file without code, whose only loaded section is where the image is.

use crate::loader::Image;

const HEADER: usize = 64;
const NOBITS: u32 = 8;
const PROGBITS: u32 = 1;
const SYMTAB: u32 = 2;
const STRTAB: u32 = 3;

/// A section's header and contents.
#[derive(Default)]
struct Section<'a> {
    name: &'a str,
    kind: u32,
    flags: u64,
    address: u64,
    /// Its size where it has no contents.
    size: u64,
    bytes: &'a [u8],
    link: u32,
    info: u32,
    alignment: u64,
    entry: u64,
}

/// The file of an image's names, with these further sections.
pub(super) fn symbol_file(
    image: &Image,
    symbols: &[(u32, String)],
    more: &[(&str, Vec<u8>)],
) -> Vec<u8> {
    let mut names = vec![0_u8];
    let mut table = vec![0_u8; 24];
    for (rva, name) in symbols {
        let at = u32::try_from(names.len()).unwrap_or(0);
        names.extend(name.bytes().filter(|byte| *byte != 0));
        names.push(0);
        // STB_GLOBAL and STT_FUNC or STT_OBJECT, in section 1.
        let kind = if image.is_code(*rva) { 0x12 } else { 0x11 };
        table.extend(at.to_le_bytes());
        table.extend([kind, 0, 1, 0]);
        table.extend((image.base as u64 + u64::from(*rva)).to_le_bytes());
        table.extend(0_u64.to_le_bytes());
    }
    let mut sections = vec![
        Section::default(),
        Section {
            name: ".text",
            kind: NOBITS,
            flags: 6,
            address: image.base as u64,
            size: image.size as u64,
            alignment: 4096,
            ..Section::default()
        },
        Section {
            name: ".symtab",
            kind: SYMTAB,
            bytes: &table,
            link: 3,
            info: 1,
            alignment: 8,
            entry: 24,
            ..Section::default()
        },
        Section {
            name: ".strtab",
            kind: STRTAB,
            bytes: &names,
            alignment: 1,
            ..Section::default()
        },
    ];
    sections.extend(more.iter().map(|(name, bytes)| Section {
        name,
        kind: PROGBITS,
        bytes,
        alignment: 1,
        ..Section::default()
    }));
    let section_names: Vec<u8> = sections
        .iter()
        .map(|section| section.name)
        .chain([".shstrtab"])
        .flat_map(|name| name.bytes().chain([0]))
        .collect();
    sections.push(Section {
        name: ".shstrtab",
        kind: STRTAB,
        bytes: &section_names,
        alignment: 1,
        ..Section::default()
    });
    write(image.entry as u64, &sections)
}

fn write(entry: u64, sections: &[Section<'_>]) -> Vec<u8> {
    let contents: usize = sections.iter().map(|section| section.bytes.len()).sum();
    let headers_at = (HEADER + contents).next_multiple_of(8);
    let count = u16::try_from(sections.len()).unwrap_or(0);

    let mut file = Vec::new();
    file.extend(*b"\x7FELF\x02\x01\x01\0\0\0\0\0\0\0\0\0");
    // ET_EXEC, EM_X86_64, version 1.
    file.extend([2, 0, 62, 0, 1, 0, 0, 0]);
    for word in [entry, 0, headers_at as u64] {
        file.extend(word.to_le_bytes());
    }
    file.extend(0_u32.to_le_bytes());
    for half in [64, 56, 0, 64, count, count - 1] {
        file.extend(half.to_le_bytes());
    }
    for section in sections {
        file.extend(section.bytes);
    }
    file.resize(headers_at, 0);
    let (mut name, mut offset) = (0_u32, HEADER as u64);
    for section in sections {
        let size = section.size + section.bytes.len() as u64;
        file.extend([name, section.kind].into_iter().flat_map(u32::to_le_bytes));
        let words = [section.flags, section.address, offset, size];
        file.extend(words.into_iter().flat_map(u64::to_le_bytes));
        let links = [section.link, section.info];
        file.extend(links.into_iter().flat_map(u32::to_le_bytes));
        let last = [section.alignment, section.entry];
        file.extend(last.into_iter().flat_map(u64::to_le_bytes));
        name += u32::try_from(section.name.len() + 1).unwrap_or(0);
        offset += section.bytes.len() as u64;
    }
    file
}

#[cfg(test)]
mod tests {
    use object::{Object as _, ObjectSection as _, ObjectSymbol as _};

    use super::*;

    #[test]
    fn another_reader_finds_the_names_where_they_lie() {
        let image = Image::of(&[0; 0x3000], 0x1234_5000, (0, 0));
        let symbols = [(0x1000, "a::b".to_owned()), (0x2010, "c".to_owned())];
        let file = symbol_file(&image, &symbols, &[(".debug_x", vec![1, 2, 3])]);
        let read = object::File::parse(&*file).expect("an ELF file");
        let found: Vec<_> = read
            .symbols()
            .map(|symbol| (symbol.address(), symbol.name().expect("a name").to_owned()))
            .collect();
        assert_eq!(
            found,
            [
                (0x1234_6000, "a::b".to_owned()),
                (0x1234_7010, "c".to_owned())
            ]
        );
        let more = read.section_by_name(".debug_x").expect("the section");
        assert_eq!(more.data().expect("its bytes"), [1, 2, 3]);
    }
}
