//! The reader of crash dumps.

use std::io::Cursor;
use std::path::Path;

use crashdump::{Dump, analyse_dump};
use fastrand::Rng;

use super::session;
use crate::corpus::Seed;
use crate::mutate::{self, Pool};

/// A dump of the driver's overflow, beside the kept ones.
pub(super) fn seeds() -> Vec<Seed> {
    session::overflow()
        .map(|dump| Seed::new("overflow", dump))
        .into_iter()
        .collect()
}

/// Headers are a small part of a dump and the larger part of what is decided; of the rest, words that point somewhere.
pub(super) fn change(rng: &mut Rng, data: &mut Vec<u8>, pool: &Pool<'_>) {
    const HEADERS: usize = 0x2040;
    if data.len() < HEADERS + 0x1000 {
        return mutate::bytes(rng, data, pool);
    }
    match rng.u32(0..8) {
        0..=2 => {
            let at = rng.usize(0..HEADERS) & !3;
            mutate::nudge(data, at, [4, 8][rng.usize(0..2)], rng);
        }
        // A used word anywhere becomes something near it, or what another one is.
        3..=6 => {
            let used = |rng: &mut Rng, data: &[u8]| {
                (0..64)
                    .map(|_| rng.usize(HEADERS..data.len()) & !7)
                    .find(|at| mutate::field(data, *at, 8) != 0)
            };
            let (Some(at), Some(other)) = (used(rng, data), used(rng, data)) else {
                return;
            };
            if rng.bool() {
                let value = mutate::field(data, other, 8);
                mutate::put(data, at, 8, value);
            } else {
                mutate::nudge(data, at, [2, 4, 8][rng.usize(0..3)], rng);
            }
        }
        _ => mutate::bytes(rng, data, pool),
    }
}

/// Refused, or read as far as it goes: never more pages than the file has, and always a sentence.
pub(super) fn check(input: &[u8]) {
    let length = input.len() as u64;
    match Dump::read(Cursor::new(input.to_vec()), length, Path::new("MEMORY.DMP")) {
        Ok(dump) => {
            assert!(dump.pages() * 0x1000 <= length);
            let analysis = analyse_dump(&dump, &[]);
            assert!(!analysis.sentence().is_empty());
            let _ = (
                analysis.culprit(),
                analysis.overflowed(),
                analysis.bug_check.name(),
            );
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}
