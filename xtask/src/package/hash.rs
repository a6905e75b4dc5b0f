//! The hash that a signature covers: of an image all but what a signature changes, of any other file all of it.

use anyhow::{Context as _, Result, bail};
use object::{
    LittleEndian as LE,
    pe::{self, ImageDosHeader, ImageNtHeaders64},
    read::pe::ImageNtHeaders as _,
};
use sha2::Digest;

/// From the PE signature to the checksum and to the data directories of a 64-bit image.
const CHECKSUM: usize = 4 + 20 + 64;
const DIRECTORIES: usize = 4 + 20 + 112;

/// The Authenticode hash of an image ("Windows Authenticode Portable Executable Signature Format"): without the checksum, the entry of the
/// certificate table, and the table itself.
pub(super) fn image<D: Digest>(data: &[u8]) -> Result<Vec<u8>> {
    let dos = ImageDosHeader::parse(data).context("no MS-DOS header")?;
    let headers = usize::try_from(dos.nt_headers_offset())?;
    let mut at = dos.nt_headers_offset().into();
    let (_, directories) =
        ImageNtHeaders64::parse(data, &mut at).context("no 64-bit PE headers")?;
    if directories.len() <= pe::IMAGE_DIRECTORY_ENTRY_SECURITY {
        bail!("no entry for a certificate table");
    }
    // This one directory is at an offset in the file, and at its end.
    let end = match directories.get(pe::IMAGE_DIRECTORY_ENTRY_SECURITY) {
        Some(table) => usize::try_from(table.virtual_address.get(LE))?,
        None => data.len(),
    };
    let entry = headers + DIRECTORIES + 8 * pe::IMAGE_DIRECTORY_ENTRY_SECURITY;
    let checksum = headers + CHECKSUM;
    let mut hash = D::new();
    for part in [0..checksum, checksum + 4..entry, entry + 8..end] {
        hash.update(data.get(part).context("the image ends in its headers")?);
    }
    // A signature is preceded by zeros up to a multiple of 8, which it covers.
    hash.update(&[0; 8][..end.next_multiple_of(8) - end]);
    Ok(hash.finalize().to_vec())
}

/// The hash of any other file.
pub(super) fn file<D: Digest>(data: &[u8]) -> Vec<u8> {
    D::digest(data).to_vec()
}
