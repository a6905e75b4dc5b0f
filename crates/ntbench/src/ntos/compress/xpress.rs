//! Plain LZ77, [MS-XCA] 2.3 and 2.4: flag words of 32 literals or matches, and lengths that grow by half bytes.

use super::{Corrupt, Packed};

/// The shortest match, and as far back as thirteen bits lead.
const SHORTEST: usize = 3;
const REACH: usize = 0x2000;
/// How many flags a word holds.
const FLAGS: u32 = 32;
/// What a match's three bits hold at most, then the half byte, then the byte, then the two bytes.
const IN_TOKEN: usize = 7;
const IN_HALF: usize = 15;
const IN_BYTE: usize = 255;
const BUCKETS: usize = 1 << 12;

fn bucket(bytes: &[u8]) -> usize {
    let [a, b, c] = [bytes[0], bytes[1], bytes[2]].map(usize::from);
    (a << 4 ^ b << 2 ^ c.wrapping_mul(0x9D)) % BUCKETS
}

struct Writer {
    out: Vec<u8>,
    /// Where the flags go, those so far, and how many.
    at: usize,
    flags: u32,
    count: u32,
    /// The byte whose upper half is free for the next length.
    half: Option<usize>,
}

impl Writer {
    fn flag(&mut self, is_match: bool) {
        self.flags = self.flags << 1 | u32::from(is_match);
        self.count += 1;
        if self.count == FLAGS {
            let bytes = self.flags.to_le_bytes();
            self.out[self.at..self.at + 4].copy_from_slice(&bytes);
            self.at = self.out.len();
            self.out.extend([0; 4]);
            (self.flags, self.count) = (0, 0);
        }
    }

    fn matched(&mut self, distance: usize, length: usize) {
        let length = length - SHORTEST;
        let token = (distance - 1) << 3 | length.min(IN_TOKEN);
        self.out
            .extend(u16::try_from(token).unwrap_or(0).to_le_bytes());
        if length < IN_TOKEN {
            return;
        }
        let left = length - IN_TOKEN;
        let nibble = u8::try_from(left.min(IN_HALF)).unwrap_or(15);
        match self.half.take() {
            Some(at) => self.out[at] |= nibble << 4,
            None => {
                self.half = Some(self.out.len());
                self.out.push(nibble);
            }
        }
        if left < IN_HALF {
            return;
        }
        let left = left - IN_HALF;
        if left < IN_BYTE {
            self.out.push(u8::try_from(left).unwrap_or(0));
            return;
        }
        self.out.push(255);
        // The whole of it again, less the shortest.
        match u16::try_from(length) {
            Ok(short) => self.out.extend(short.to_le_bytes()),
            Err(_) => {
                self.out.extend([0, 0]);
                let long = u32::try_from(length).unwrap_or(u32::MAX);
                self.out.extend(long.to_le_bytes());
            }
        }
    }

    fn finish(mut self) -> Vec<u8> {
        // What is left of the flags says match: a decoder that finds no more input there is done.
        let unused = FLAGS - self.count;
        let flags = u64::from(self.flags) << unused | ((1 << unused) - 1);
        let flags = u32::try_from(flags & u64::from(u32::MAX)).unwrap_or(0);
        self.out[self.at..self.at + 4].copy_from_slice(&flags.to_le_bytes());
        self.out
    }
}

/// Compresses.
pub(super) fn pack(bytes: &[u8], room: usize) -> Packed {
    let mut writer = Writer {
        out: vec![0; 4],
        at: 0,
        flags: 0,
        count: 0,
        half: None,
    };
    let mut last = vec![usize::MAX; BUCKETS];
    let mut at = 0;
    while at < bytes.len() {
        let mut found = None;
        if at + SHORTEST <= bytes.len() {
            let from = std::mem::replace(&mut last[bucket(&bytes[at..])], at);
            if from != usize::MAX && at - from <= REACH {
                let length = (at..bytes.len())
                    .take_while(|i| bytes[*i] == bytes[from + i - at])
                    .count();
                found = (length >= SHORTEST).then_some((at - from, length));
            }
        }
        match found {
            Some((distance, length)) => {
                writer.matched(distance, length);
                at += length;
            }
            None => {
                writer.out.push(bytes[at]);
                at += 1;
            }
        }
        writer.flag(found.is_some());
    }
    Some(writer.finish()).filter(|packed| packed.len() <= room)
}

struct Reader<'a> {
    rest: &'a [u8],
    /// The byte whose upper half is the next length's.
    half: Option<u8>,
}

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], Corrupt> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or(Corrupt)?;
        self.rest = rest;
        Ok(*taken)
    }

    fn length(&mut self, token: usize) -> Result<usize, Corrupt> {
        if token & IN_TOKEN != IN_TOKEN {
            return Ok(token & IN_TOKEN);
        }
        let nibble = match self.half.take() {
            Some(byte) => byte >> 4,
            None => {
                let [byte] = self.take()?;
                self.half = Some(byte);
                byte & 0xF
            }
        };
        if usize::from(nibble) != IN_HALF {
            return Ok(usize::from(nibble) + IN_TOKEN);
        }
        let [byte] = self.take()?;
        if usize::from(byte) != IN_BYTE {
            return Ok(usize::from(byte) + IN_HALF + IN_TOKEN);
        }
        let whole = match u16::from_le_bytes(self.take()?) {
            0 => usize::try_from(u32::from_le_bytes(self.take()?)).map_err(|_| Corrupt)?,
            short => usize::from(short),
        };
        if whole < IN_HALF + IN_TOKEN {
            Err(Corrupt)
        } else {
            Ok(whole)
        }
    }
}

/// Decompresses at most so many bytes.
pub(super) fn unpack(packed: &[u8], room: usize) -> Result<Vec<u8>, Corrupt> {
    let mut reader = Reader {
        rest: packed,
        half: None,
    };
    let mut out = Vec::new();
    while out.len() < room {
        let flags = match reader.take() {
            Ok(bytes) => u32::from_le_bytes(bytes),
            Err(Corrupt) if reader.rest.is_empty() => break,
            Err(corrupt) => return Err(corrupt),
        };
        for bit in (0..FLAGS).rev() {
            if out.len() >= room {
                break;
            }
            if flags >> bit & 1 == 0 {
                let [byte] = reader.take()?;
                out.push(byte);
                continue;
            }
            // The end, where the compressor has left its flags.
            if reader.rest.is_empty() {
                return Ok(out);
            }
            let token = usize::from(u16::from_le_bytes(reader.take()?));
            let distance = (token >> 3) + 1;
            let length = reader.length(token)? + SHORTEST;
            if distance > out.len() {
                return Err(Corrupt);
            }
            for _ in 0..length.min(room - out.len()) {
                out.push(out[out.len() - distance]);
            }
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_examples_come_out() {
        // [MS-XCA] 3.1.
        let alphabet = b"abcdefghijklmnopqrstuvwxyz";
        let mut packed = vec![0x3F, 0, 0, 0];
        packed.extend(alphabet);
        assert_eq!(unpack(&packed, 26).as_deref(), Ok(&alphabet[..]));
        assert_eq!(pack(alphabet, 100).as_deref(), Some(&packed[..]));
        let packed = [
            0xFF, 0xFF, 0xFF, 0x1F, 0x61, 0x62, 0x63, 0x17, 0x00, 0x0F, 0xFF, 0x26, 0x01,
        ];
        let plain = b"abc".repeat(100);
        assert_eq!(unpack(&packed, 300), Ok(plain.clone()));
        assert_eq!(pack(&plain, 100).as_deref(), Some(&packed[..]));
    }

    proptest::proptest! {
        #[test]
        fn what_is_packed_comes_out_again(seed in proptest::collection::vec(0_u8..3, 0..4000), more in 0_usize..70_000) {
            let plain: Vec<u8> = seed.iter().copied().chain(std::iter::repeat_n(7, more)).collect();
            let packed = pack(&plain, usize::MAX).expect("room");
            proptest::prop_assert_eq!(unpack(&packed, plain.len()), Ok(plain));
        }

        #[test]
        fn what_is_not_packed_does_no_harm(bytes in proptest::collection::vec(0_u8.., 0..400)) {
            if let Ok(out) = unpack(&bytes, 10_000) {
                proptest::prop_assert!(out.len() <= 10_000);
            }
        }
    }
}
