//! The file: whole, or not there.

use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::path::Path;

/// Writes the pieces to a file beside `path`, which then takes its place; gives the length.
pub(super) fn replace<'a>(path: &Path, pieces: impl Iterator<Item = &'a [u8]>) -> io::Result<u64> {
    let mut name = path
        .file_name()
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "this is no name of a file"))?
        .to_owned();
    name.push(format!(".{}.partial", std::process::id()));
    let partial = path.with_file_name(name);
    let written = write(&partial, pieces).and_then(|length| {
        std::fs::rename(&partial, path)?;
        Ok(length)
    });
    if written.is_err() {
        // Nothing of it is of use to anybody; that it cannot be removed either changes nothing.
        let _ = std::fs::remove_file(&partial);
    }
    written
}

fn write<'a>(path: &Path, pieces: impl Iterator<Item = &'a [u8]>) -> io::Result<u64> {
    let mut file = BufWriter::with_capacity(1 << 18, File::create_new(path)?);
    let mut length = 0;
    for piece in pieces {
        file.write_all(piece)?;
        length += piece.len() as u64;
    }
    file.flush()?;
    Ok(length)
}
