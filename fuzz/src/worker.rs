//! The process that reads the inputs: it may die of one.
//!
//! It says how far it has come in a file, a block of inputs at a time, so that saying it costs nothing beside the reading.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use rustix::process::{Resource, Rlimit, setrlimit};

use crate::{Target, corpus, input};

/// Address space that a worker may use. A gigabyte's image is mapped and copied; nothing needs more.
const SPACE: u64 = 8 << 30;

/// What to read.
#[derive(Clone, Copy, Debug)]
pub struct Share {
    /// The run's seed.
    pub seed: u64,
    /// The first input's number.
    pub first: u64,
    /// One past the last's.
    pub end: u64,
    /// Inputs between two notes of progress.
    pub block: u64,
}

/// Reads a share of the inputs; `progress` holds the number of the first one that may not have been read yet.
///
/// # Errors
/// The corpus cannot be read, or progress not be noted.
pub fn run(target: &Target, share: Share, progress: &Path) -> io::Result<()> {
    let seeds = corpus::all(target)?;
    limit(target)?;
    let progress = File::create(progress)?;
    let mut bytes = Vec::new();
    for number in share.first..share.end {
        if number.wrapping_sub(share.first).is_multiple_of(share.block) {
            progress.write_all_at(&number.to_le_bytes(), 0)?;
        }
        input(target, &seeds, share.seed, number, &mut bytes);
        (target.check)(&bytes);
    }
    progress.write_all_at(&share.end.to_le_bytes(), 0)
}

/// Bounds what an input can make this process take; not where machines are made from it, which have bounds of their own.
///
/// # Errors
/// The system's.
pub fn limit(target: &Target) -> io::Result<()> {
    if !target.guided {
        return Ok(());
    }
    let limit = Rlimit {
        current: Some(SPACE),
        maximum: Some(SPACE),
    };
    Ok(setrlimit(Resource::As, limit)?)
}
