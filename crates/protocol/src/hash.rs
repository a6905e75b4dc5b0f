//! The hash of a path: FNV-1a, 64 bits, over the bytes of its UTF-16LE form, as the caller spelled it.

const OFFSET_BASIS: u64 = 0xcbf2_9ce4_8422_2325;
const PRIME: u64 = 0x0000_0100_0000_01b3;

/// FNV-1a of `units` as little-endian bytes. Case is kept: two spellings of one path have two hashes.
#[must_use]
pub fn fnv1a64(units: &[u16]) -> u64 {
    units.iter().fold(OFFSET_BASIS, |hash, unit| {
        unit.to_le_bytes()
            .iter()
            .fold(hash, |hash, &byte| step(hash, byte))
    })
}

/// FNV-1a of `bytes`.
#[must_use]
pub(crate) const fn fnv1a64_bytes(bytes: &[u8]) -> u64 {
    let (mut hash, mut rest) = (OFFSET_BASIS, bytes);
    while let [byte, tail @ ..] = rest {
        hash = step(hash, *byte);
        rest = tail;
    }
    hash
}

const fn step(hash: u64, byte: u8) -> u64 {
    (hash ^ byte as u64).wrapping_mul(PRIME)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_the_published_vectors() {
        // Landon Curt Noll's test vectors: "" , "a" and "foobar".
        assert_eq!(fnv1a64_bytes(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a64_bytes(b"a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(fnv1a64_bytes(b"foobar"), 0x8594_4171_f739_67e8);
    }

    #[test]
    fn takes_both_bytes_of_a_unit() {
        // "foobar" is also three UTF-16 units.
        assert_eq!(fnv1a64(&[0x6f66, 0x626f, 0x7261]), 0x8594_4171_f739_67e8);
        assert_ne!(fnv1a64(&[0x0041]), fnv1a64(&[0x4100]));
    }
}
