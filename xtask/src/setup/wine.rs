//! Wine, where headroom.exe runs without Windows: a prefix of its own, headless, with nothing of the user's in it.
//!
//! What it cannot do is as much a part of the tests as what it can: it has no Filter Manager, and each verb must say so.

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};

use super::{apt, linux, program, say};
use crate::{
    layout::Layout,
    run::{self, Tool},
    stamp::{self, Key},
};

/// Raise when the way a prefix is made changes what comes out.
const REVISION: u32 = 3;
const SHIM: &str = include_str!("../../assets/wine/bcryptprimitives.c");
/// Where Debian keeps the 64-bit loader and its server, which its own `wine` script would start only beside the 32-bit one.
const DEBIAN: &str = "/usr/lib/wine";

/// The programs of a Wine.
struct Wine {
    loader: PathBuf,
    server: PathBuf,
    version: String,
}

/// Makes sure of Wine and its prefix; gives the script that runs a program for Windows.
pub(super) fn ensure(layout: &Layout) -> Result<PathBuf> {
    let toolchain = layout.toolchain();
    let _lock = linux::lock(&toolchain)?;
    program::ensure_mingw(true)?;
    let wine = wine()?;
    let dest = toolchain.join("wine");
    let key = Key::new("wine", REVISION)
        .with("version", &wine.version)
        .with("loader", wine.loader.to_string_lossy().as_bytes())
        .with("place", dest.to_string_lossy().as_bytes())
        .with("shim", SHIM)
        .hex();
    if !stamp::is_current(&dest, &key) {
        say(&format!(
            "making a prefix for {} (some seconds)",
            wine.version
        ));
    }
    stamp::produce(&dest, &key, |dir| {
        make(&wine, &dir.join("prefix"))?;
        script(&dir.join("run"), &wine, &dest.join("prefix"))
    })?;
    Ok(dest.join("run"))
}

fn wine() -> Result<Wine> {
    const WHY: &str = "runs headroom.exe without Windows";
    if let Some(wine) = find()? {
        return Ok(wine);
    }
    apt::install(&[apt::Need {
        anyone_of: &["wine64"],
        why: WHY,
        otherwise: "install a 64-bit Wine, so that wine64 or wine, and wineserver, are in PATH",
    }])?;
    match find()? {
        Some(wine) => Ok(wine),
        None => bail!(
            "step `find Wine` failed\n  it {WHY}, and neither {DEBIAN}/wine64 nor wine64 or wine in PATH was found\n  to do:   install a 64-bit Wine (Debian: wine64)"
        ),
    }
}

fn find() -> Result<Option<Wine>> {
    let pair = |loader: PathBuf, server: PathBuf| {
        (loader.is_file() && server.is_file()).then_some((loader, server))
    };
    let debian = Path::new(DEBIAN);
    let found = pair(debian.join("wine64"), debian.join("wineserver64")).or_else(|| {
        let loader = run::which("wine64").or_else(|| run::which("wine"))?;
        Some((loader, run::which("wineserver")?))
    });
    let Some((loader, server)) = found else {
        return Ok(None);
    };
    let version = Tool::new("ask Wine for its version", &loader)
        .arg("--version")
        .output()?;
    Ok(Some(Wine {
        loader,
        server,
        version,
    }))
}

/// What every program of this prefix is started with: no display, no questions about parts that are missing, nothing of the user's home.
fn environment(prefix: &Path) -> [(&'static str, String); 5] {
    let prefix = prefix.display().to_string();
    [
        ("HOME", prefix.clone()),
        ("WINEPREFIX", prefix),
        ("WINEARCH", "win64".to_owned()),
        (
            "WINEDLLOVERRIDES",
            "mscoree,mshtml,winemenubuilder.exe=".to_owned(),
        ),
        ("DISPLAY", String::new()),
    ]
}

fn make(wine: &Wine, prefix: &Path) -> Result<()> {
    fs::create_dir_all(prefix)?;
    let tool = |step: &str, program: &Path| {
        let tool = Tool::new(step, program).env("WINEDEBUG", "-all");
        environment(prefix)
            .into_iter()
            .fold(tool, |tool, (key, value)| tool.env(key, value))
    };
    tool("make a Wine prefix", &wine.loader)
        .args(["wineboot", "--init"])
        .remedy("run it by hand without WINEDEBUG=-all and look at what it says")
        .output()?;
    be_windows_10(|args| {
        tool("let Wine be Windows 10", &wine.loader)
            .args(args)
            .output()
            .map(drop)
    })?;
    // Until it has written its registry, which it does as it ends.
    tool("wait for Wine's server", &wine.server)
        .arg("--wait")
        .output()?;
    let system = prefix.join("drive_c/windows/system32");
    if !system.is_dir() {
        bail!("Wine made no {}", system.display());
    }
    let shim = system.join("bcryptprimitives.dll");
    if !shim.exists() {
        build_shim(prefix, &shim)?;
    }
    // Wine looks UNC names up there: \\localhost\share is the folder localhost/share.
    fs::create_dir_all(prefix.join("unc/localhost/share"))?;
    symlink("../unc", prefix.join("dosdevices/unc")).context("cannot link Wine's UNC folder")?;
    link_copies(&system)
}

/// Lets the prefix be Windows 10 version 22H2: what Wine claims to be by default is older than what the driver is for. Older Wines take the
/// version from the first value, newer ones from the next two.
fn be_windows_10(run: impl Fn([&str; 10]) -> Result<()>) -> Result<()> {
    const KEY: &str = r"HKLM\Software\Microsoft\Windows NT\CurrentVersion";
    for (name, kind, data) in [
        ("CurrentVersion", "REG_SZ", "10.0"),
        ("CurrentMajorVersionNumber", "REG_DWORD", "10"),
        ("CurrentMinorVersionNumber", "REG_DWORD", "0"),
        ("CurrentBuild", "REG_SZ", "19045"),
        ("CurrentBuildNumber", "REG_SZ", "19045"),
    ] {
        run(["reg", "add", KEY, "/v", name, "/t", kind, "/d", data, "/f"])?;
    }
    Ok(())
}

fn build_shim(prefix: &Path, shim: &Path) -> Result<()> {
    let source = prefix.join("bcryptprimitives.c");
    fs::write(&source, SHIM)?;
    Tool::new("build bcryptprimitives.dll", "x86_64-w64-mingw32-gcc")
        .args(["-O1", "-shared", "-nostdlib", "-e", "DllMain", "-o"])
        .arg(shim)
        .arg(&source)
        .arg("-ladvapi32")
        .run()
}

/// Exchanges Wine's copies of its own libraries, some 600 MB, for links to them.
fn link_copies(system: &Path) -> Result<()> {
    let places = [
        "/usr/lib/x86_64-linux-gnu/wine/x86_64-windows",
        "/usr/lib/wine/x86_64-windows",
        "/usr/lib64/wine/x86_64-windows",
    ];
    let Some(originals) = places.iter().map(Path::new).find(|dir| dir.is_dir()) else {
        return Ok(());
    };
    for entry in fs::read_dir(system)? {
        let copy = entry?;
        let original = originals.join(copy.file_name());
        let same = copy.file_type()?.is_file()
            && fs::metadata(&original).is_ok_and(|meta| {
                meta.is_file() && copy.metadata().is_ok_and(|copy| copy.len() == meta.len())
            })
            && fs::read(copy.path())? == fs::read(&original)?;
        if same {
            fs::remove_file(copy.path())?;
            symlink(&original, copy.path())?;
        }
    }
    Ok(())
}

/// A script that runs a program in the prefix, or holds a session open there.
///
/// Wine ends its services with the last program that ran. A program that is started at that moment may find them gone (OpenSCManager: 1722),
/// so what runs several programs one after the other holds a session meanwhile, which begins when the one before it has ended.
fn script(file: &Path, wine: &Wine, prefix: &Path) -> Result<()> {
    let mut text = String::from(
        "#!/bin/sh\n# Runs a program for Windows under Wine: run PROGRAM [ARGUMENT...]\n# Or keeps Wine's services, says `up`, and ends with its input: run --session\n",
    );
    for (key, value) in environment(prefix) {
        text.push_str(&format!("export {key}={}\n", run::quote(value.as_ref())));
    }
    let loader = run::quote(wine.loader.as_os_str());
    let server = run::quote(wine.server.as_os_str());
    text.push_str("export WINEDEBUG=\"${WINEDEBUG:--all}\"\n");
    text.push_str(&format!(
        "if [ \"$1\" = --session ]; then\n    {server} --wait\n    exec {loader} cmd /c 'echo up& set /p end='\nfi\nexec {loader} \"$@\"\n"
    ));
    fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))?;
    fs::set_permissions(file, fs::Permissions::from_mode(0o755))
        .with_context(|| format!("cannot make {} executable", file.display()))
}
