//! Changes to a PE image where it leads a loader: headers, directories, and the tables that they point to.

use fastrand::Rng;

use super::{Pool, bytes, field, nudge, put};

/// Directories whose tables a driver's loader reads, and the stride of the entries in each.
const TABLES: [(usize, usize); 6] = [(0, 4), (1, 20), (2, 16), (3, 12), (5, 2), (10, 8)];
/// Index of the relocation directory.
const RELOCATIONS: usize = 5;
/// Index of the exception directory.
const EXCEPTIONS: usize = 3;

/// What of an image's layout is followed here; whatever is damaged already leads nowhere.
struct Layout {
    /// File offset of the COFF header.
    coff: usize,
    /// File offset of the first section header, and how many there are.
    sections: (usize, usize),
}

impl Layout {
    fn of(data: &[u8]) -> Option<Self> {
        let coff = usize::try_from(field(data, 0x3C, 4)).ok()?.checked_add(4)?;
        let optional = usize::try_from(field(data, coff.checked_add(16)?, 2)).ok()?;
        let count = usize::try_from(field(data, coff.checked_add(2)?, 2))
            .ok()?
            .min(96);
        let first = coff.checked_add(20)?.checked_add(optional)?;
        (first < data.len()).then_some(Self {
            coff,
            sections: (first, count),
        })
    }

    fn directory(&self, data: &[u8], index: usize) -> (u64, u64, usize) {
        let at = self.coff + 20 + 112 + 8 * index;
        (field(data, at, 4), field(data, at + 4, 4), at)
    }

    /// Where in the file an RVA's bytes lie.
    fn offset(&self, data: &[u8], rva: u64) -> Option<usize> {
        let (first, count) = self.sections;
        (0..count).find_map(|index| {
            let at = first + 40 * index;
            let (start, raw, length) = (
                field(data, at + 12, 4),
                field(data, at + 20, 4),
                field(data, at + 16, 4),
            );
            let within = rva.checked_sub(start)?;
            (within < length)
                .then(|| usize::try_from(raw + within).ok())
                .flatten()
        })
    }

    /// A number that means something in this image.
    fn telling(&self, rng: &mut Rng, data: &[u8]) -> u64 {
        let (first, count) = self.sections;
        let section = first + 40 * rng.usize(0..count.max(1));
        let value = match rng.u32(0..7) {
            0 => field(data, section + 12, 4),
            1 => field(data, section + 12, 4) + field(data, section + 8, 4),
            2 => field(data, section + 20, 4),
            // SizeOfImage, SizeOfHeaders, AddressOfEntryPoint.
            3 => field(data, self.coff + 20 + 56, 4),
            4 => field(data, self.coff + 20 + 60, 4),
            5 => field(data, self.coff + 20 + 16, 4),
            _ => data.len() as u64,
        };
        match rng.u32(0..4) {
            0 => value.wrapping_add(rng.u64(0..16)),
            1 => value.wrapping_sub(rng.u64(0..16)),
            _ => value,
        }
    }
}

/// One change.
pub fn change(rng: &mut Rng, data: &mut Vec<u8>, pool: &Pool<'_>) {
    let Some(layout) = Layout::of(data) else {
        return bytes(rng, data, pool);
    };
    match rng.u32(0..16) {
        // A field of the headers.
        0..=3 => {
            let end = layout.coff + 20 + 112;
            let at = rng.usize(0..end) & !1;
            number(data, &layout, at, rng);
        }
        // A directory's place or size.
        4..=5 => {
            let (.., at) = layout.directory(data, rng.usize(0..16));
            number(data, &layout, at + 4 * rng.usize(0..2), rng);
        }
        // A section's header.
        6..=8 => {
            let (first, count) = layout.sections;
            let at = first + 40 * rng.usize(0..count.max(1)) + 4 * rng.usize(0..10);
            number(data, &layout, at, rng);
        }
        // An entry of a table.
        9..=12 => table(rng, data, &layout),
        13 => unwind(rng, data, &layout),
        14 => blocks(rng, data, &layout),
        _ => bytes(rng, data, pool),
    }
}

/// A field of 2, 4 or 8 bytes becomes a number that means something, or something near what it was.
fn number(data: &mut [u8], layout: &Layout, at: usize, rng: &mut Rng) {
    let size = [2, 4, 4, 4, 8][rng.usize(0..5)];
    if rng.bool() {
        let value = layout.telling(rng, data);
        put(data, at, size, value);
    } else {
        nudge(data, at, size, rng);
    }
}

fn table(rng: &mut Rng, data: &mut [u8], layout: &Layout) {
    let (index, stride) = TABLES[rng.usize(0..TABLES.len())];
    let (rva, length, _) = layout.directory(data, index);
    let Some(start) = layout.offset(data, rva) else {
        return;
    };
    let length = usize::try_from(length).unwrap_or(0).min(0x1_0000);
    let entry = rng.usize(0..=length / stride) * stride;
    let at = start + entry + rng.usize(0..stride.div_ceil(4)) * 4;
    number(data, layout, at, rng);
    // One step further: what the entry points to.
    if rng.u32(0..3) == 0
        && let Some(there) = layout.offset(data, field(data, at, 4))
    {
        number(data, layout, there + 2 * rng.usize(0..8), rng);
    }
}

/// The unwind information of some function: its header, a code, what it is chained to.
fn unwind(rng: &mut Rng, data: &mut [u8], layout: &Layout) {
    let (rva, length, _) = layout.directory(data, EXCEPTIONS);
    let Some(start) = layout.offset(data, rva) else {
        return;
    };
    let functions = usize::try_from(length / 12).unwrap_or(0).min(0x1000);
    let entry = start + 12 * rng.usize(0..functions.max(1));
    let Some(info) = layout.offset(data, field(data, entry + 8, 4)) else {
        return;
    };
    match rng.u32(0..4) {
        // Chained, to itself or to whatever follows.
        0 => {
            let version = field(data, info, 1) & 7;
            put(data, info, 1, version | 0x20);
            if rng.bool() {
                let codes = usize::try_from(field(data, info + 2, 1))
                    .unwrap_or(0)
                    .next_multiple_of(2);
                let function = data.get(entry..entry + 12).map(<[u8]>::to_vec);
                let room = info + 4 + 2 * codes;
                if let (Some(function), Some(room)) = (function, data.get_mut(room..room + 12)) {
                    room.copy_from_slice(&function);
                }
            }
        }
        1 => nudge(data, info + rng.usize(0..4), 1, rng),
        _ => nudge(data, info + 4 + rng.usize(0..16), 1, rng),
    }
}

/// The relocations' blocks: a page, a length, an entry's type.
fn blocks(rng: &mut Rng, data: &mut [u8], layout: &Layout) {
    let (rva, length, _) = layout.directory(data, RELOCATIONS);
    let Some(start) = layout.offset(data, rva) else {
        return;
    };
    let (mut at, mut walked) = (start, 0);
    for _ in 0..rng.usize(0..8) {
        let bytes = field(data, at + 4, 4);
        if bytes < 8 || walked + bytes >= length {
            break;
        }
        walked += bytes;
        at += usize::try_from(bytes).unwrap_or(0);
    }
    match rng.u32(0..3) {
        0 => number(data, layout, at, rng),
        1 => number(data, layout, at + 4, rng),
        _ => nudge(data, at + 8 + 2 * rng.usize(0..8), 2, rng),
    }
}
