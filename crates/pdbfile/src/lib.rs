//! Opens .pdb files, which may be damaged or somebody else's.
#![forbid(unsafe_code)]

use std::fs::File;
use std::path::Path;

use pdb_addr2line::pdb::{PDB, StreamIndex};

/// The stream that says which build a .pdb is of, and what its other streams are called.
const INFORMATION: StreamIndex = StreamIndex(1);
/// Where the names begin in it: behind version, signature, age, GUID and their own length.
const NAMES: usize = 32;

/// Opens a .pdb, unless its names of streams lie beyond each other: its reader takes that for a mistake of its own and panics.
#[must_use]
pub fn open(path: &Path) -> Option<PDB<'static, File>> {
    let mut file = PDB::open(File::open(path).ok()?).ok()?;
    let information = file.raw_stream(INFORMATION).ok()??;
    names_are_inside(&information).then_some(file)
}

/// The name map: an array of text, a count and a length, two bit sets, and pairs of an offset into the text and a stream's number.
fn names_are_inside(information: &[u8]) -> bool {
    let word = |at: usize| {
        let bytes = information.get(at..)?.first_chunk::<4>()?;
        usize::try_from(u32::from_le_bytes(*bytes)).ok()
    };
    let check = || {
        let length = word(NAMES - 4)?;
        let map = NAMES.checked_add(length)?;
        let count = word(map)?;
        let mut at = map.checked_add(8)?;
        for _set in 0..2 {
            let words = word(at)?;
            at = at.checked_add(4)?.checked_add(words.checked_mul(4)?)?;
        }
        for _ in 0..count {
            if word(at)? > length {
                return Some(false);
            }
            at += 8;
        }
        Some(true)
    };
    // Where it is cut off the reader says so itself.
    check().unwrap_or(true)
}

#[cfg(test)]
mod tests {
    use super::names_are_inside;

    #[test]
    fn a_name_beyond_the_names_is_seen() {
        let information = |offset: u32| -> Vec<u8> {
            let words = [2, 1, 8, 1, 1, 0, offset, 5].map(u32::to_le_bytes);
            let head = [vec![0; 28], words[0].to_vec(), b"a\0".to_vec()].concat();
            [head, words[1..].concat()].concat()
        };
        assert!(names_are_inside(&information(0)));
        assert!(!names_are_inside(&information(3)));
        assert!(names_are_inside(&information(3)[..50]));
    }
}
