//! The archive: the same bytes for the same files, whenever and wherever it is made.

use std::{
    fs::{self, File},
    io::{BufWriter, Read as _, Write as _},
    path::Path,
};

use anyhow::{Context as _, Result, bail};
use inf::Date;
use sha2::Sha256;
use zip::{CompressionMethod, DateTime, ZipArchive, ZipWriter, write::SimpleFileOptions};

use super::{catalog, hash};

/// Packs a folder's files below `prefix`, in the order of their names, all with one time.
pub(super) fn write(folder: &Path, prefix: &str, archive: &Path, time: i64) -> Result<()> {
    let options = SimpleFileOptions::default()
        .compression_method(CompressionMethod::Deflated)
        .last_modified_time(date_time(time))
        .unix_permissions(0o644);
    let context = || format!("cannot write {}", archive.display());
    let file = File::create(archive).with_context(context)?;
    let mut zip = ZipWriter::new(BufWriter::new(file));
    for name in files(folder)? {
        zip.start_file(format!("{prefix}/{name}"), options)?;
        zip.write_all(&fs::read(folder.join(&name))?)
            .with_context(context)?;
    }
    zip.finish()?.flush().with_context(context)
}

/// Fails unless two archives hold the same files, those with a signature compared by what is signed: an image by its hash, a catalog by its list.
pub(super) fn same_but_for_signatures(one: &Path, other: &Path) -> Result<()> {
    let (one, other) = (contents(one)?, contents(other)?);
    let names = |files: &[(String, Vec<u8>)]| -> Vec<String> {
        files.iter().map(|(name, _)| name.clone()).collect()
    };
    if names(&one) != names(&other) {
        bail!(
            "two packages hold different files: {:?} and {:?}",
            names(&one),
            names(&other)
        );
    }
    for ((name, one), (_, other)) in one.iter().zip(&other) {
        let (one, other) = (signed_part(name, one)?, signed_part(name, other)?);
        if one != other {
            bail!("{name} differs between two packages of the same files");
        }
    }
    Ok(())
}

/// An archive's files in their order.
fn contents(archive: &Path) -> Result<Vec<(String, Vec<u8>)>> {
    let file = File::open(archive).with_context(|| format!("cannot read {}", archive.display()))?;
    let mut zip = ZipArchive::new(file)?;
    let mut files = Vec::new();
    for index in 0..zip.len() {
        let mut file = zip.by_index(index)?;
        let mut data = Vec::new();
        file.read_to_end(&mut data)?;
        files.push((file.name().to_owned(), data));
    }
    Ok(files)
}

fn signed_part(name: &str, data: &[u8]) -> Result<Vec<u8>> {
    match name.rsplit('.').next() {
        Some("sys" | "exe") => hash::image::<Sha256>(data),
        Some("cat") => catalog::content(data),
        _ => Ok(data.to_vec()),
    }
}

/// The names of a folder's files, those of its folders with them, sorted.
pub(super) fn files(folder: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    collect(folder, "", &mut names)?;
    names.sort();
    Ok(names)
}

fn collect(folder: &Path, prefix: &str, names: &mut Vec<String>) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = format!("{prefix}{}", name.to_string_lossy());
        if entry.file_type()?.is_dir() {
            collect(&entry.path(), &format!("{name}/"), names)?;
        } else {
            names.push(name);
        }
    }
    Ok(())
}

/// An archive's times begin in 1980 and count every second one.
fn date_time(time: i64) -> DateTime {
    let Date { year, month, day } = Date::of_unix_time(time);
    let second = time.rem_euclid(86_400);
    let part = |value: i64| u8::try_from(value).unwrap_or_default();
    u16::try_from(year)
        .ok()
        .and_then(|year| {
            let (month, day) = (u8::try_from(month).ok()?, u8::try_from(day).ok()?);
            let (hour, minute) = (part(second / 3600), part(second / 60 % 60));
            DateTime::from_date_and_time(year, month, day, hour, minute, part(second % 60)).ok()
        })
        .unwrap_or_default()
}
