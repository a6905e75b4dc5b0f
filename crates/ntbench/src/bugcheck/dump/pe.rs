//! The parts of a PE32+ image that are tables: headers and exports.

use std::collections::BTreeMap;

use super::bytes::Structure;

/// What the headers take.
const HEADERS: usize = 0x400;
const PE: usize = 0x80;
/// What sections are aligned to.
pub(super) const SECTION: usize = 0x1000;

/// `IMAGE_EXPORT_DIRECTORY` and what it points to, names in order.
pub(super) fn export_directory(file: &str, at: u32, exports: &BTreeMap<String, u32>) -> Vec<u8> {
    let count = exports.len() as u32;
    let functions = at + 40;
    let names = functions + 4 * count;
    let ordinals = names + 4 * count;
    let strings = ordinals + 2 * count;
    let mut texts = file.as_bytes().to_vec();
    texts.push(0);
    let mut name_table = Vec::new();
    for name in exports.keys() {
        name_table.extend((strings + texts.len() as u32).to_le_bytes());
        texts.extend(name.as_bytes());
        texts.push(0);
    }
    let mut bytes = Structure::new(40)
        .u32(12, strings)
        .u32(16, 1)
        .u32(20, count)
        .u32(24, count)
        .u32(28, functions)
        .u32(32, names)
        .u32(36, ordinals)
        .done();
    bytes.extend(exports.values().flat_map(|rva| rva.to_le_bytes()));
    bytes.extend(name_table);
    bytes.extend((0..count).flat_map(|index| (index as u16).to_le_bytes()));
    bytes.extend(texts);
    bytes
}

/// All headers of an image at that address: directories and sections by RVA and length.
pub(super) fn headers(
    base: u64,
    size: usize,
    pdata: (u32, u32),
    exports: (u32, u32),
    sections: &[(&str, usize, usize, u32)],
) -> Vec<u8> {
    const OPTIONAL: usize = PE + 24;
    let present = sections.iter().filter(|section| section.2 > 0);
    let mut headers = Structure::new(HEADERS)
        .bytes(0, b"MZ")
        .u32(0x3C, PE as u32)
        .bytes(PE, b"PE\0\0")
        .u16(PE + 4, 0x8664)
        .u16(PE + 6, present.clone().count() as u16)
        .u16(PE + 20, 240)
        .u16(PE + 22, 0x22)
        .u16(OPTIONAL, 0x20B)
        .u64(OPTIONAL + 24, base)
        .u32(OPTIONAL + 32, SECTION as u32)
        .u32(OPTIONAL + 36, 0x200)
        .u16(OPTIONAL + 40, 10) // operating system version
        .u16(OPTIONAL + 48, 10) // subsystem version
        .u32(OPTIONAL + 56, size as u32)
        .u32(OPTIONAL + 60, HEADERS as u32)
        .u16(OPTIONAL + 68, 1) // native
        .u32(OPTIONAL + 108, 16)
        .u32(OPTIONAL + 112, exports.0)
        .u32(OPTIONAL + 116, exports.1)
        .u32(OPTIONAL + 112 + 3 * 8, pdata.0)
        .u32(OPTIONAL + 116 + 3 * 8, pdata.1);
    for (index, (name, rva, length, characteristics)) in present.enumerate() {
        let at = OPTIONAL + 240 + index * 40;
        headers = headers
            .text(at, 8, name)
            .u32(at + 8, *length as u32)
            .u32(at + 12, *rva as u32)
            .u32(at + 16, *length as u32)
            .u32(at + 20, *rva as u32)
            .u32(at + 36, *characteristics);
    }
    headers.done()
}
