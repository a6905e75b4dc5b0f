//! Whether a machine's process keeps to its size.
//!
//! Pool is compared to the byte; this is about the bench's own memory, which is not the driver's but must not hide a leak either. A
//! machine takes memory as it goes, for stacks, traces and tables, and keeps the addresses of images that were unloaded; from the
//! middle of a round on it must not grow by more than that.

use crate::ledger::{Broken, Invariant};

/// What a process held at one time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Held {
    /// Creates until then.
    pub(crate) creates: u64,
    /// Loads of the driver until then.
    pub(crate) loads: u64,
    /// Bytes.
    pub(crate) bytes: u64,
}

/// What it may grow by: at all, for each load, for each create. The first is mostly the stacks of up to 40 worker threads, which start as they are
/// needed and take more as they come to deeper calls.
const SLACK: u64 = 16 << 20;
const LOAD: u64 = 16 << 10;
const CREATE: u64 = 128;

/// Samples that it takes to tell.
const FEWEST: usize = 6;

/// The middle and the last one.
pub(crate) fn later_half(samples: &[Held]) -> Option<(Held, Held)> {
    let later = samples.get(samples.len() / 2..)?;
    Some((*later.first()?, *later.last()?))
}

/// Whether it does.
pub(crate) fn flat(samples: &[Held]) -> Result<(), Broken> {
    let Some((from, to)) = later_half(samples).filter(|_| samples.len() >= FEWEST) else {
        return Ok(());
    };
    let (creates, loads) = (to.creates - from.creates, to.loads - from.loads);
    let allowed = SLACK + loads * LOAD + creates * CREATE;
    let grown = to.bytes.saturating_sub(from.bytes);
    if grown <= allowed {
        return Ok(());
    }
    let text = format!(
        "{grown} bytes more after {creates} creates and {loads} loads of the driver, at most {allowed} are known"
    );
    Err(Broken::new(Invariant::Resident, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn growing(bytes_each: u64) -> Vec<Held> {
        let held = |number: u64| Held {
            creates: number * 1000,
            loads: number,
            // The first half may grow as it likes.
            bytes: if number < 5 {
                number << 20
            } else {
                (5 << 20) + (number - 5) * bytes_each
            },
        };
        (0..10).map(held).collect()
    }

    #[test]
    fn what_grows_with_its_use_is_told_from_what_leaks() {
        assert!(flat(&growing(100_000)).is_ok());
        let broken = flat(&growing(8 << 20)).unwrap_err();
        assert_eq!(broken.invariant, Invariant::Resident);
        assert!(
            broken.text.contains("33554432 bytes more"),
            "{}",
            broken.text
        );
        // Too few to tell.
        assert!(flat(&growing(8 << 20)[5..]).is_ok());
    }
}
