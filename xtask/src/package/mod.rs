//! `cargo xtask package`: everything that a person with a test-signing VM needs, in one folder and one archive.
//!
//! On Windows the WDK's own tools make the driver package (Makefile.toml). Here osslsigncode signs, and the catalog is ours.

mod archive;
mod catalog;
mod certificate;
mod hash;
pub(crate) mod install;
mod sign;
#[cfg(test)]
mod tests;

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};
use catalog::Member;

use crate::{driver, driver_inf, layout::Layout, program, setup, stamp};

/// What goes beside the driver as it is: a folder of the repository, the endings taken from it, and the folder in the package.
const FOLDERS: [(&str, &[&str], &str); 2] = [
    ("scripts", &["ps1", "psm1"], "scripts"),
    ("debugger", &["js", "natvis"], "debugger"),
];
/// What the package says of itself.
const README: &str = include_str!("../../assets/package/README.md");

/// A package that was made.
struct Made {
    /// The folder.
    folder: PathBuf,
    /// The archive.
    archive: PathBuf,
}

/// Builds the driver and the harness, and packs them; then, if asked, [`check`]s the package.
pub(crate) fn run(layout: &Layout, options: setup::Options, checked: bool) -> Result<()> {
    setup::ensure_package_tools()?;
    let toolchain = setup::ensure(layout, options)?;
    let built = driver::build_and_inspect(&toolchain, layout, "headroom")?;
    let program = program::build(&setup::ensure_program(layout, options)?, layout)?;
    let sources = Sources {
        sys: &built.sys,
        pdb: &built.pdb,
        program: &program,
    };
    if checked {
        let run = setup::ensure_wine(layout)?;
        let prefix = run.with_file_name("prefix");
        return check(layout, &sources, &install::Wine { run: &run, prefix });
    }
    let made = assemble(layout, &sources, &layout.out())?;
    print!("{}", listing(&made)?);
    Ok(())
}

/// Packs twice and compares all that no signature changes; then has Wine install the package and uninstall it.
pub(crate) fn check(layout: &Layout, from: &Sources<'_>, wine: &install::Wine<'_>) -> Result<()> {
    setup::ensure_package_tools()?;
    let made = assemble(layout, from, &layout.out())?;
    let elsewhere = layout.out().join("a-second-package");
    let again = assemble(layout, from, &elsewhere)?;
    archive::same_but_for_signatures(&made.archive, &again.archive)?;
    stamp::remove(&elsewhere)?;
    print!("{}", listing(&made)?);
    println!("\n  packed twice: the same but for the signatures\n");
    install::check(wine, &made.folder)
}

/// What was built.
pub(crate) struct Sources<'a> {
    pub(crate) sys: &'a Path,
    pub(crate) pdb: &'a Path,
    pub(crate) program: &'a Path,
}

/// Makes `package` and its archive in `out`.
fn assemble(layout: &Layout, from: &Sources<'_>, out: &Path) -> Result<Made> {
    let time = driver_inf::source_date(layout)?;
    let folder = out.join("package");
    stamp::remove(&folder)?;
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;

    let inf = folder.join("headroom.inf");
    fs::write(&inf, windows_lines(&driver_inf::stamped(layout)?))?;
    let certificate = certificate::ensure(&layout.out().join("certificate"))?;
    copy(&certificate.der, &folder.join(certificate::FILE))?;
    let sys = folder.join("headroom.sys");
    sign::image(from.sys, &sys, &certificate)?;
    copy(from.pdb, &folder.join("headroom.pdb"))?;
    sign::image(from.program, &folder.join("headroom.exe"), &certificate)?;

    let unsigned = out.join("headroom.unsigned.cat");
    let members = [Member::file(&inf)?, Member::image(&sys)?];
    fs::write(&unsigned, catalog::encode(&members, time)?)
        .with_context(|| format!("cannot write {}", unsigned.display()))?;
    let catalog = folder.join("headroom.cat");
    sign::catalog(&unsigned, &catalog, &certificate)?;
    fs::remove_file(&unsigned)?;
    sign::verify_member(&catalog, &sys, &certificate)?;

    for (source, endings, name) in FOLDERS {
        copy_folder(&layout.root.join(source), endings, &folder.join(name))?;
    }
    for license in ["LICENSE-APACHE", "LICENSE-MIT"] {
        copy(&layout.root.join(license), &folder.join(license))?;
    }
    fs::write(folder.join("README.md"), README)?;

    let archive = out.join(format!("headroom-{}-x64.zip", driver_inf::VERSION));
    archive::write(&folder, "headroom", &archive, time)?;
    Ok(Made { folder, archive })
}

/// Text with the line ends that Windows' own tools write; every INF reader takes both.
fn windows_lines(text: &str) -> String {
    text.replace("\r\n", "\n").replace('\n', "\r\n")
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::copy(from, to)
        .with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))?;
    Ok(())
}

fn copy_folder(from: &Path, endings: &[&str], to: &Path) -> Result<()> {
    let entries = fs::read_dir(from).with_context(|| format!("cannot read {}", from.display()))?;
    fs::create_dir_all(to)?;
    let mut count = 0;
    for entry in entries {
        let path = entry?.path();
        let ending = path.extension().and_then(|ending| ending.to_str());
        if let (Some(ending), Some(name)) = (ending, path.file_name())
            && endings.contains(&ending)
        {
            copy(&path, &to.join(name))?;
            count += 1;
        }
    }
    if count == 0 {
        bail!(
            "{} holds nothing to pack ({})",
            from.display(),
            endings.join(", ")
        );
    }
    Ok(())
}

/// The package's files, for people.
fn listing(made: &Made) -> Result<String> {
    let mut text = String::from("\n");
    for name in archive::files(&made.folder)? {
        let size = fs::metadata(made.folder.join(&name))?.len();
        text.push_str(&format!("  {size:>10}  {name}\n"));
    }
    let size = fs::metadata(&made.archive)?.len();
    text.push_str(&format!(
        "\n  {}\n  {} ({size} bytes)\n",
        made.folder.display(),
        made.archive.display()
    ));
    Ok(text)
}
