//! ntbench's loader.

use std::path::Path;

use crate::corpus::Seed;

/// The drivers that are there to be read: the workspace's own.
pub(super) fn seeds() -> Vec<Seed> {
    ["HEADROOM_SYS", "EXAMPLE_CREATE_LOGGER_SYS"]
        .into_iter()
        .filter_map(|variable| {
            let path = std::env::var_os(variable)?;
            Some(Seed::new(variable, std::fs::read(Path::new(&path)).ok()?))
        })
        .collect()
}

/// Mapped, or refused with a reason.
pub(super) fn check(input: &[u8]) {
    if let Err(refusal) = ntbench::map_image(input) {
        assert!(!refusal.to_string().is_empty());
    }
}
