//! A synthetic WDK: the parts of a `WDKContentRoot` that wdk-build looks for, made from mingw-w64's headers and from lists of names.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

use super::say;
use crate::{
    image::allowed,
    run::Tool,
    stamp::{self, Key},
};

/// Raise when the way it is made changes what comes out.
const REVISION: u32 = 1;
/// The version that its directories carry.
const VERSION: &str = "10.0.26100.0";

/// Our own headers, by their path below `Include/<version>`.
const HEADERS: [(&str, &str); 4] = [
    ("km/ntifs.h", include_str!("../../assets/wdk/km/ntifs.h")),
    (
        "km/ntstrsafe.h",
        include_str!("../../assets/wdk/km/ntstrsafe.h"),
    ),
    (
        "km/headroom-supplement.h",
        include_str!("../../assets/wdk/km/headroom-supplement.h"),
    ),
    (
        "km/crt/intrin.h",
        include_str!("../../assets/wdk/km/crt/intrin.h"),
    ),
];

/// Libraries that wdk-build links and which hold nothing for us. The real BufferOverflowFastFailK holds the stack-cookie support that MSVC's
/// code calls; rustc emits no such calls, and `/ENTRY:DriverEntry`, which wdk-build sets on every system, would not run its initialiser.
const EMPTY: [(&str, &str); 2] = [
    ("wmilib", "WMILIB.SYS"),
    ("BufferOverflowFastFailK", "BufferOverflowFastFailK.sys"),
];

/// What was made: headers and libraries are two things, so that another import list costs a link and not a compilation.
pub(super) struct Made {
    /// The `WDKContentRoot`.
    pub(super) root: PathBuf,
    /// Digest of what the headers were made from.
    pub(super) headers: String,
    /// Digest of what the libraries were made from.
    pub(super) libraries: String,
}

pub(super) fn ensure(toolchain: &Path, lld: &Path, mingw: &Path) -> Result<Made> {
    let root = toolchain.join("wdk");
    let mut key = Key::new("headers", REVISION).with("version", VERSION);
    for (name, text) in HEADERS {
        key = key.with(name, text);
    }
    // What the package manager replaces on an upgrade.
    for name in ["_mingw.h", "ddk/wdm.h", "ddk/ntddk.h", "ddk/ntifs.h"] {
        key = key.with_file(&mingw.join(name))?;
    }
    let headers = key.hex();
    part(
        &root.join("Include"),
        &headers,
        &format!("the headers of a synthetic WDK from {}", mingw.display()),
        |dir| include(&dir.join(VERSION), mingw),
    )?;

    let mut key = Key::new("libraries", REVISION)
        .with("version", VERSION)
        .with("lld", lld.to_string_lossy().as_bytes());
    for list in allowed::LISTS {
        key = key.with(list.dll, list.text);
    }
    let libraries = key.hex();
    part(
        &root.join("Lib"),
        &libraries,
        "import libraries from the lists of names",
        |dir| import_libraries(&dir.join(VERSION).join("km/x64"), lld),
    )?;
    Ok(Made {
        root,
        headers,
        libraries,
    })
}

/// Makes one part, and says so.
fn part(dest: &Path, key: &str, what: &str, make: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    if !stamp::is_current(dest, key) {
        say(&format!("making {what}"));
    }
    if let Some(dir) = dest.parent() {
        fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
    }
    stamp::produce(dest, key, make)
}

/// Links onto mingw-w64's headers, with ours in the place of those of the same name.
fn include(include: &Path, mingw: &Path) -> Result<()> {
    let km = include.join("km");
    fs::create_dir_all(km.join("crt"))?;
    let ddk = mingw.join("ddk");
    for entry in fs::read_dir(&ddk).with_context(|| format!("cannot read {}", ddk.display()))? {
        let header = entry?.path();
        let name = header
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let ours = HEADERS
            .iter()
            .any(|(path, _)| *path == format!("km/{name}"));
        if name.ends_with(".h") && !ours {
            symlink(&header, km.join(&name)).with_context(|| format!("cannot link {name}"))?;
        }
    }
    symlink(&ddk, km.join("mingw-ddk"))?;
    symlink(mingw, include.join("shared"))?;
    for (path, text) in HEADERS {
        fs::write(include.join(path), text).with_context(|| format!("cannot write {path}"))?;
    }
    Ok(())
}

/// Import libraries from the lists of what may be imported.
fn import_libraries(dir: &Path, lld: &Path) -> Result<()> {
    fs::create_dir_all(dir)?;
    for (name, dll) in EMPTY {
        library(dir, lld, name, dll, "")?;
    }
    for list in allowed::LISTS {
        if let Some(name) = list.library {
            let exports: String = list.lines().map(|line| format!("    {line}\n")).collect();
            library(dir, lld, name, list.dll, &exports)?;
        }
    }
    Ok(())
}

fn library(dir: &Path, lld: &Path, name: &str, dll: &str, exports: &str) -> Result<()> {
    let def = dir.join(format!("{name}.def"));
    fs::write(&def, format!("LIBRARY {dll}\nEXPORTS\n{exports}"))
        .with_context(|| format!("cannot write {}", def.display()))?;
    // `-flavor link` makes rust-lld and lld-link alike act as lld-link, whose `/lib` acts as lib.exe.
    let flavor: &[&str] = if lld.file_name().is_some_and(|file| file == "rust-lld") {
        &["-flavor", "link"]
    } else {
        &[]
    };
    Tool::new("make an import library", lld)
        .args(flavor)
        .args(["/lib", "/nologo", "/machine:x64"])
        .arg(format!("/def:{}", def.display()))
        .arg(format!(
            "/out:{}",
            dir.join(format!("{name}.lib")).display()
        ))
        .remedy(
            "an lld of version 19 or later is needed; its message above says what it stumbled over",
        )
        .run()
}
