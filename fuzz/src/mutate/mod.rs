//! Changes to an input: to its bytes, to its lines, to the structure of an image.

pub mod image;
mod text;

pub use text::lines;

use fastrand::Rng;

use crate::corpus::Seed;

/// What a change may draw on.
pub struct Pool<'a> {
    /// Other inputs.
    pub seeds: &'a [Seed],
    /// The longest that an input may become.
    pub longest: usize,
}

/// Values at which lengths, counts and offsets go wrong.
const EDGES: [u64; 20] = [
    0,
    1,
    2,
    3,
    4,
    7,
    8,
    0x7F,
    0x80,
    0xFF,
    0xFFF,
    0x1000,
    0x7FFF,
    0xFFFF,
    0x7FFF_FFFF,
    0x8000_0000,
    0xFFFF_FFFF,
    0x7FFF_FFFF_FFFF_FFFF,
    0xFFFF_8000_0000_0000,
    u64::MAX,
];

/// A little-endian field of 1 to 8 bytes.
#[must_use]
pub fn field(data: &[u8], at: usize, size: usize) -> u64 {
    let mut bytes = [0; 8];
    if let Some(field) = data.get(at..at.saturating_add(size)) {
        bytes[..size].copy_from_slice(field);
    }
    u64::from_le_bytes(bytes)
}

/// Writes such a field, where it lies within the input.
pub fn put(data: &mut [u8], at: usize, size: usize, value: u64) {
    if let Some(field) = data.get_mut(at..at.saturating_add(size)) {
        field.copy_from_slice(&value.to_le_bytes()[..size]);
    }
}

/// Changes a field to something near it, to an edge, to the input's length or thereabouts, or to anything.
pub fn nudge(data: &mut [u8], at: usize, size: usize, rng: &mut Rng) {
    let old = field(data, at, size);
    let value = match rng.u32(0..8) {
        0 => old.wrapping_add(rng.u64(1..=16)),
        1 => old.wrapping_sub(rng.u64(1..=16)),
        2 => old ^ 1 << rng.u32(0..8 * u32::try_from(size).unwrap_or(8)),
        3 => (data.len() as u64)
            .wrapping_add(rng.u64(0..16))
            .wrapping_sub(8),
        4 => old.wrapping_add(0x1000 * rng.u64(1..4)),
        5 => rng.u64(..),
        _ => EDGES[rng.usize(0..EDGES.len())],
    };
    put(data, at, size, value);
}

/// One change to bytes of no known structure.
pub fn bytes(rng: &mut Rng, data: &mut Vec<u8>, pool: &Pool<'_>) {
    if data.is_empty() {
        data.push(rng.u8(..));
        return;
    }
    let at = rng.usize(0..data.len());
    match rng.u32(0..12) {
        0 => data[at] ^= 1 << rng.u32(0..8),
        1 => data[at] = rng.u8(..),
        2 => data.truncate(at),
        3 => {
            let more = rng
                .usize(1..=64)
                .min(pool.longest.saturating_sub(data.len()));
            data.extend(std::iter::repeat_with(|| rng.u8(..)).take(more));
        }
        4 => splice(rng, data, pool, at),
        5 => {
            let end = (at + rng.usize(1..=16)).min(data.len());
            rng.fill(&mut data[at..end]);
        }
        6 => {
            let end = (at + rng.usize(1..=32)).min(data.len());
            data.drain(at..end);
        }
        // A field that points somewhere now points where another one does.
        7 => {
            let from = rng.usize(0..data.len()) & !7;
            let value = field(data, from, 8);
            put(data, at & !7, 8, value);
        }
        kind => {
            let size = [1, 2, 4, 8][kind as usize % 4];
            nudge(data, at / size * size, size, rng);
        }
    }
}

/// The rest of another input instead of this one's, from the same place on or from any.
fn splice(rng: &mut Rng, data: &mut Vec<u8>, pool: &Pool<'_>, at: usize) {
    if pool.seeds.is_empty() {
        return;
    }
    let other = &pool.seeds[rng.usize(0..pool.seeds.len())].bytes;
    let from = if rng.bool() {
        at.min(other.len())
    } else {
        rng.usize(0..=other.len())
    };
    data.truncate(at);
    data.extend_from_slice(&other[from..]);
}
