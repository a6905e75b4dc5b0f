//! ntbench's reader of .pdb files.

use std::cell::OnceCell;
use std::path::Path;

use tempfile::NamedTempFile;

use crate::corpus::Seed;

/// The example's: the driver's own is five times as long.
pub(super) fn seeds() -> Vec<Seed> {
    let image = std::env::var_os("EXAMPLE_CREATE_LOGGER_SYS");
    let pdb = image.and_then(|image| std::fs::read(Path::new(&image).with_extension("pdb")).ok());
    pdb.map(|pdb| Seed::new("EXAMPLE_CREATE_LOGGER_SYS", pdb))
        .into_iter()
        .collect()
}

thread_local! {
    static FILE: OnceCell<NamedTempFile> = const { OnceCell::new() };
}

/// Names are a help: a .pdb that cannot be read is as good as none, whatever is in it.
pub(super) fn check(input: &[u8]) {
    FILE.with(|file| {
        let file = file.get_or_init(|| NamedTempFile::new().expect("a temporary file"));
        std::fs::write(file.path(), input).expect("a temporary file is written");
        let _ = ntbench::read_symbols(file.path());
    });
}
