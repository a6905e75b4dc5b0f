//! LZNT1, [MS-XCA] 2.5: chunks of 4 KB, each of flag groups of eight literals or back references.
//!
//! How many bits of a reference's two bytes are its offset depends on how far into the chunk it stands.

use super::{Corrupt, Packed};

const CHUNK: usize = 0x1000;
/// A chunk's header: its size less three in twelve bits, the signature 3, and whether it is compressed.
const SIGNATURE: u16 = 3 << 12;
const COMPRESSED: u16 = 0x8000;
const SIZE: u16 = 0xFFF;
/// The shortest match.
const SHORTEST: usize = 3;
/// How far back matches are looked for: all of the chunk, by the last place where the same three bytes began.
const BUCKETS: usize = 1 << 12;

/// How many bits are the length's at a place in a chunk: twelve at first, one fewer whenever offsets need one more.
const fn length_bits(at: usize) -> u32 {
    let mut bits = 12;
    let mut reach = 16;
    while at > reach {
        bits -= 1;
        reach <<= 1;
    }
    bits
}

/// The longest match behind a place that ends before the chunk does.
fn longest(chunk: &[u8], at: usize, candidates: &[Vec<u16>]) -> Option<(usize, usize)> {
    let most = (1 << length_bits(at)) - 1 + SHORTEST;
    let limit = most.min(chunk.len() - at);
    if limit < SHORTEST {
        return None;
    }
    let earlier = candidates.get(bucket(&chunk[at..]))?;
    let length = |from: usize| {
        (0..limit)
            .take_while(|i| chunk[from + i] == chunk[at + i])
            .count()
    };
    earlier
        .iter()
        .rev()
        .take(64)
        .map(|from| (at - usize::from(*from), length(usize::from(*from))))
        .filter(|(_, length)| *length >= SHORTEST)
        .max_by_key(|(distance, length)| (*length, usize::MAX - distance))
}

fn bucket(bytes: &[u8]) -> usize {
    let [a, b, c] = [bytes[0], bytes[1], bytes[2]].map(usize::from);
    (a << 4 ^ b << 2 ^ c.wrapping_mul(0x9D)) % BUCKETS
}

fn pack_chunk(chunk: &[u8]) -> Vec<u8> {
    let mut packed = Vec::with_capacity(chunk.len());
    let mut candidates = vec![Vec::new(); BUCKETS];
    let note = |at: usize, candidates: &mut Vec<Vec<u16>>| {
        if at + SHORTEST <= chunk.len() {
            candidates[bucket(&chunk[at..])].push(u16::try_from(at).unwrap_or(0));
        }
    };
    let mut at = 0;
    while at < chunk.len() {
        let flags = packed.len();
        packed.push(0);
        for bit in 0..8 {
            if at == chunk.len() {
                break;
            }
            let Some((distance, length)) = longest(chunk, at, &candidates) else {
                packed.push(chunk[at]);
                note(at, &mut candidates);
                at += 1;
                continue;
            };
            let token = (distance - 1) << length_bits(at) | (length - SHORTEST);
            packed[flags] |= 1 << bit;
            packed.extend(u16::try_from(token).unwrap_or(0).to_le_bytes());
            for place in at..at + length {
                note(place, &mut candidates);
            }
            at += length;
        }
    }
    packed
}

/// Compresses; a chunk that gets no shorter goes as it is.
pub(super) fn pack(bytes: &[u8], room: usize) -> Packed {
    let mut packed = Vec::new();
    for chunk in bytes.chunks(CHUNK) {
        let shorter = pack_chunk(chunk);
        let (mark, data) = if shorter.len() < chunk.len() {
            (COMPRESSED, shorter.as_slice())
        } else {
            (0, chunk)
        };
        let size = u16::try_from(data.len() - 1).unwrap_or(0);
        packed.extend((mark | SIGNATURE | size).to_le_bytes());
        packed.extend(data);
        if packed.len() > room {
            return None;
        }
    }
    // An end mark where there is room for one.
    if packed.len() + 2 <= room {
        packed.extend([0, 0]);
    }
    Some(packed)
}

fn unpack_chunk(packed: &[u8], room: usize, out: &mut Vec<u8>) -> Result<(), Corrupt> {
    let start = out.len();
    let end = start + room.min(CHUNK);
    let mut rest = packed;
    while let Some((flags, behind)) = rest.split_first() {
        rest = behind;
        for bit in 0..8 {
            if rest.is_empty() || out.len() >= end {
                break;
            }
            if flags >> bit & 1 == 0 {
                out.push(rest[0]);
                rest = &rest[1..];
                continue;
            }
            let (two, behind) = rest.split_first_chunk().ok_or(Corrupt)?;
            rest = behind;
            let token = usize::from(u16::from_le_bytes(*two));
            let bits = length_bits(out.len() - start);
            let distance = (token >> bits) + 1;
            let length = (token & ((1 << bits) - 1)) + SHORTEST;
            if distance > out.len() - start {
                return Err(Corrupt);
            }
            for _ in 0..length.min(end - out.len()) {
                out.push(out[out.len() - distance]);
            }
        }
        if out.len() >= end {
            break;
        }
    }
    Ok(())
}

/// Decompresses at most so many bytes.
pub(super) fn unpack(packed: &[u8], room: usize) -> Result<Vec<u8>, Corrupt> {
    let mut out = Vec::new();
    let mut rest = packed;
    while out.len() < room {
        let Some((header, behind)) = rest.split_first_chunk() else {
            break;
        };
        let header = u16::from_le_bytes(*header);
        if header == 0 {
            break;
        }
        if header & 0x7000 != SIGNATURE {
            return Err(Corrupt);
        }
        let size = usize::from(header & SIZE) + 1;
        let data = behind.get(..size).ok_or(Corrupt)?;
        rest = &behind[size..];
        // What follows a chunk that came out short begins where a whole one would have ended.
        let expected = out.len() + CHUNK;
        let left = room - out.len();
        if header & COMPRESSED == 0 {
            out.extend(&data[..size.min(left)]);
        } else {
            unpack_chunk(data, left, &mut out)?;
        }
        if rest.len() > 2 && rest[..2] != [0, 0] && out.len() < expected {
            out.resize(expected.min(room), 0);
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The worked example of [MS-XCA] 3.3.
    const PLAIN: &[u8] = b"F# F# G A A G F# E D D E F# F# E E F# F# G A A G F# E D D E F# E D D E E F# D E F# G F# D E F# G F# E D E A F# F# G A A G F# E D D E F# E D D\0";
    const PACKED: &[u8] = &[
        0x38, 0xB0, 0x88, 0x46, 0x23, 0x20, 0x00, 0x20, 0x47, 0x20, 0x41, 0x00, 0x10, 0xA2, 0x47,
        0x01, 0xA0, 0x45, 0x20, 0x44, 0x00, 0x08, 0x45, 0x01, 0x50, 0x79, 0x00, 0xC0, 0x45, 0x20,
        0x05, 0x24, 0x13, 0x88, 0x05, 0xB4, 0x02, 0x4A, 0x44, 0xEF, 0x03, 0x58, 0x02, 0x8C, 0x09,
        0x16, 0x01, 0x48, 0x45, 0x00, 0xBE, 0x00, 0x9E, 0x00, 0x04, 0x01, 0x18, 0x90, 0x00,
    ];

    #[test]
    fn the_published_example_comes_out() {
        assert_eq!(unpack(PACKED, 4096).as_deref(), Ok(PLAIN));
    }

    #[test]
    fn lengths_give_bits_to_offsets() {
        let bits = [1, 16, 17, 32, 33, 2048, 2049, 4095].map(length_bits);
        assert_eq!(bits, [12, 12, 11, 11, 10, 5, 4, 4]);
    }

    proptest::proptest! {
        #[test]
        fn what_is_packed_comes_out_again(seed in proptest::collection::vec(0_u8..4, 0..9000)) {
            let packed = pack(&seed, 20_000).expect("room");
            proptest::prop_assert_eq!(unpack(&packed, seed.len()), Ok(seed));
        }

        #[test]
        fn what_is_not_packed_does_no_harm(bytes in proptest::collection::vec(0_u8.., 0..400)) {
            if let Ok(out) = unpack(&bytes, 10_000) {
                proptest::prop_assert!(out.len() <= 10_000);
            }
        }
    }
}
