//! Makes an input that breaks something smaller, while it still does.

use std::fs;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::{Target, run};

/// How long to try.
const PATIENCE: Duration = Duration::from_secs(60);

/// A smaller input that ends the process, too; the input itself, where none is found.
///
/// # Errors
/// The host's.
pub fn minimise(program: &Path, target: &Target, bytes: Vec<u8>) -> io::Result<Vec<u8>> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("input");
    shrink(bytes, |smaller| {
        fs::write(&file, smaller)?;
        Ok(run::breaks(program, target, &file)?.is_some())
    })
}

/// Takes pieces away, halves first, then sets what is left to zero, as long as `still` says that it still breaks.
fn shrink(
    mut bytes: Vec<u8>,
    mut still: impl FnMut(&[u8]) -> io::Result<bool>,
) -> io::Result<Vec<u8>> {
    let start = Instant::now();
    let mut piece = bytes.len().next_power_of_two() / 2;
    while piece > 0 {
        let mut at = 0;
        while at < bytes.len() {
            if start.elapsed() > PATIENCE {
                return Ok(bytes);
            }
            let end = (at + piece).min(bytes.len());
            let without = [&bytes[..at], &bytes[end..]].concat();
            if still(&without)? {
                bytes = without;
                continue;
            }
            if bytes[at..end].iter().any(|byte| *byte != 0) {
                let mut zeroed = bytes.clone();
                zeroed[at..end].fill(0);
                if still(&zeroed)? {
                    bytes = zeroed;
                }
            }
            at = end;
        }
        piece /= 2;
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_matters_is_left() {
        let input: Vec<u8> = (0..=255).collect();
        let still = |bytes: &[u8]| Ok(bytes.contains(&17) && bytes.contains(&200));
        assert_eq!(shrink(input, still).expect("no host is asked"), [17, 200]);
    }

    #[test]
    fn an_input_that_breaks_only_whole_stays() {
        let input = vec![7; 9];
        let still = |bytes: &[u8]| Ok(bytes == [7; 9]);
        assert_eq!(
            shrink(input.clone(), still).expect("no host is asked"),
            input
        );
    }
}
