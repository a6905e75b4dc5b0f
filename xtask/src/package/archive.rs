//! The archive: the same bytes for the same files, whenever and wherever it is made.

use std::{
    fs::{self, File},
    io::{BufWriter, Write as _},
    path::Path,
};

use anyhow::{Context as _, Result};
use inf::Date;
use zip::{CompressionMethod, DateTime, ZipWriter, write::SimpleFileOptions};

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
