//! Changes to text that is read line by line.

use fastrand::Rng;

use super::{Pool, bytes};

/// One change to text: to its lines, to its words, by one of `words`, or to its bytes.
pub fn lines(rng: &mut Rng, data: &mut Vec<u8>, pool: &Pool<'_>, words: &[&str]) {
    match rng.u32(0..8) {
        // A line doubled, lost, or moved.
        kind @ 0..=2 => {
            let mut lines: Vec<Vec<u8>> = data
                .split_inclusive(|&byte| byte == b'\n')
                .map(<[u8]>::to_vec)
                .collect();
            if lines.is_empty() {
                return;
            }
            let at = rng.usize(0..lines.len());
            let line = match kind {
                0 => lines[at].clone(),
                _ => lines.remove(at),
            };
            if kind != 1 {
                lines.insert(rng.usize(0..=lines.len()), line);
            }
            *data = lines.concat();
        }
        // A word put in, or in the place of another.
        3..=5 if !words.is_empty() => {
            let word = words[rng.usize(0..words.len())].as_bytes();
            let start = rng.usize(0..=data.len());
            let is_word = |byte: &u8| byte.is_ascii_alphanumeric();
            let end = if rng.bool() {
                let rest = &data[start..];
                start
                    + rest
                        .iter()
                        .position(|byte| !is_word(byte))
                        .unwrap_or(rest.len())
                        .min(32)
            } else {
                start
            };
            data.splice(start..end, word.iter().copied());
        }
        // A number becomes another one.
        6 => {
            let Some(start) = digits(rng, data) else {
                return bytes(rng, data, pool);
            };
            let length = data[start..]
                .iter()
                .take_while(|byte| byte.is_ascii_digit())
                .count();
            let number = NUMBERS[rng.usize(0..NUMBERS.len())];
            data.splice(start..start + length, number.bytes());
        }
        _ => bytes(rng, data, pool),
    }
}

const NUMBERS: [&str; 12] = [
    "0",
    "1",
    "-1",
    "255",
    "256",
    "65536",
    "2147483648",
    "4294967295",
    "4294967296",
    "18446744073709551615",
    "18446744073709551616",
    "1e308",
];

/// Where some number begins.
fn digits(rng: &mut Rng, data: &[u8]) -> Option<usize> {
    let from = rng.usize(0..=data.len());
    let found = data[from..].iter().position(u8::is_ascii_digit);
    found.map(|found| from + found)
}
