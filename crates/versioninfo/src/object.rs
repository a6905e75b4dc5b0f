//! The resource as an object file, for linkers that take no `.res` file: GNU ld, which links what is built for windows-gnu.
//!
//! One section, `.rsrc`, as resource compilers write it: the tree of type, name and language, the entry that leads to the data, and the
//! data. Where the data lie in the image is the linker's to fill in, by the one relocation. The format is that of "PE Format".

use crate::{LANGUAGE, TYPE};

/// IMAGE_FILE_MACHINE_AMD64.
const MACHINE: u16 = 0x8664;
/// IMAGE_REL_AMD64_ADDR32NB: an address without the image's base.
const ADDR32NB: u16 = 3;
/// Initialised data, aligned to four bytes, readable.
const SECTION: u32 = 0x4030_0040;
/// IMAGE_SYM_CLASS_STATIC.
const STATIC: u8 = 3;

const FILE_HEADER: u32 = 20;
const SECTION_HEADER: u32 = 40;
/// A directory with one entry.
const DIRECTORY: u32 = 24;
/// Where the entry that leads to the data stands, and where the data.
const ENTRY: u32 = 3 * DIRECTORY;
const DATA: u32 = ENTRY + 16;
/// An entry that leads to a directory.
const SUBDIRECTORY: u32 = 1 << 31;

/// An object file for x64 that holds the version resource `data` alone, as number 1.
pub(crate) fn object(data: &[u8]) -> Vec<u8> {
    let length = u32::try_from(data.len()).unwrap_or(u32::MAX);
    let raw = DATA + length.next_multiple_of(4);
    let relocations = FILE_HEADER + SECTION_HEADER + raw;
    let symbols = relocations + 10;
    let mut file = Vec::new();
    let words = |file: &mut Vec<u8>, words: &[u32]| {
        file.extend(words.iter().flat_map(|word| word.to_le_bytes()));
    };
    let halves = |file: &mut Vec<u8>, halves: &[u16]| {
        file.extend(halves.iter().flat_map(|half| half.to_le_bytes()));
    };
    // No time: the same source gives the same bytes.
    halves(&mut file, &[MACHINE, 1]);
    words(&mut file, &[0, symbols, 1]);
    halves(&mut file, &[0, 0]);

    file.extend(b".rsrc\0\0\0");
    words(
        &mut file,
        &[0, 0, raw, FILE_HEADER + SECTION_HEADER, relocations, 0],
    );
    halves(&mut file, &[1, 0]);
    words(&mut file, &[SECTION]);

    let directories = [
        (TYPE, SUBDIRECTORY | DIRECTORY),
        (1, SUBDIRECTORY | (2 * DIRECTORY)),
        (LANGUAGE, ENTRY),
    ];
    for (id, to) in directories {
        words(&mut file, &[0, 0, 0]);
        halves(&mut file, &[0, 1]);
        words(&mut file, &[id.into(), to]);
    }
    words(&mut file, &[DATA, length, 0, 0]);
    file.extend(data);
    file.resize(relocations as usize, 0);

    words(&mut file, &[ENTRY, 0]);
    halves(&mut file, &[ADDR32NB]);

    file.extend(b".rsrc\0\0\0");
    words(&mut file, &[0]);
    halves(&mut file, &[1, 0]);
    file.extend([STATIC, 0]);
    // No long names.
    words(&mut file, &[4]);
    file
}
