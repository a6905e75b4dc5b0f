//! Setting up on a machine that is not Windows.

use std::{
    ffi::OsString,
    fs::{self, File},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};

use super::{
    Options, Toolchain, apt,
    compiler::{self, Compiler},
    program, say, sysroot, wdk,
};
use crate::{
    cross::{self, adapt},
    layout::{DRIVER_TARGET, Layout},
    run,
    stamp::{self, Key},
};

/// The WDK that a build uses.
pub(super) enum Wdk {
    /// Named by the user; nothing is installed for it.
    Real(PathBuf),
    /// Made by us.
    Synthetic,
}

pub(super) fn ensure(layout: &Layout, options: Options) -> Result<Toolchain> {
    if !cfg!(target_arch = "x86_64") {
        say(
            "note: this is not an x86-64 machine; building works, running the driver in ntbench does not",
        );
    }
    let toolchain = layout.toolchain();
    let _lock = lock(&toolchain)?;
    let wdk = asked_for_wdk(&toolchain)?;
    let may_install = matches!(wdk, Wdk::Synthetic);
    let compiler = compiler::choose(DRIVER_TARGET, &toolchain, may_install, options)?;
    let libclang = libclang(may_install)?;
    let sysroot = match &compiler.library {
        Some(library) => Some(sysroot::ensure(
            &toolchain,
            DRIVER_TARGET,
            &compiler,
            library,
        )?),
        None => None,
    };
    let (sysroot, sysroot_key) = sysroot.unzip();
    let made = match &wdk {
        Wdk::Real(root) => {
            let name = root.to_string_lossy().into_owned();
            wdk::Made {
                root: root.clone(),
                headers: name.clone(),
                libraries: name,
            }
        }
        Wdk::Synthetic => {
            let headers = mingw_headers()?;
            wdk::ensure(&toolchain, &compiler.lld, &headers)?
        }
    };
    let helpers = install_helpers(&toolchain)?;

    let remap = remap(layout, &compiler);
    let args_file = write_rustc_args(
        &toolchain.join("rustc-args.txt"),
        sysroot.as_deref(),
        &remap,
        &[],
    )?;
    let env = environment(
        layout, &compiler, &libclang, &made.root, &helpers, &args_file,
    )?;
    let description = compiler.description.clone();
    if options.verbose {
        say(&format!("compiler        {description}"));
        say(&format!("linker          {}", compiler.lld.display()));
        say(&format!("libclang        {}", libclang.display()));
        say(&format!("WDK             {}", made.root.display()));
        if let Some(sysroot) = &sysroot {
            say(&format!("private sysroot {}", sysroot.display()));
        }
    }
    Ok(Toolchain {
        cargo: compiler.bin.join("cargo"),
        env,
        description,
        compile_key: Key::new("compile", 1)
            .with("adaptation", adapt::REVISION.to_string())
            .with("compiler", &compiler.version)
            .with("args", fs::read(&args_file)?)
            .with("sysroot", sysroot_key.unwrap_or_default())
            .with("libclang", libclang.to_string_lossy().as_bytes())
            .with("wdk", &made.headers)
            .hex(),
        link_key: Key::new("link", 1)
            .with("linker", cross::link::REVISION.to_string())
            .with("compiler", &compiler.version)
            .with("lld", compiler.lld.to_string_lossy().as_bytes())
            .with("wdk", &made.libraries)
            .hex(),
        remap,
    })
}

/// Makes the toolchain's directory, and keeps every other `cargo xtask` from setting up in it for as long as the file is open.
pub(super) fn lock(toolchain: &Path) -> Result<File> {
    fs::create_dir_all(toolchain)
        .with_context(|| format!("cannot create {}", toolchain.display()))?;
    let lock = File::create(toolchain.join(".lock"))
        .context("cannot create the lock of the toolchain directory")?;
    if lock.try_lock().is_err() {
        say("waiting for another `cargo xtask` that is setting up");
        lock.lock().context("cannot lock the toolchain directory")?;
    }
    Ok(lock)
}

/// Makes sure of what only the tests need: a C compiler for Windows, since ntbench's tests run drivers that are not written in Rust.
pub(super) fn ensure_test_tools(layout: &Layout) -> Result<()> {
    let may_install = matches!(asked_for_wdk(&layout.toolchain())?, Wdk::Synthetic);
    program::ensure_mingw(may_install)?;
    super::c::ensure(may_install)
}

/// Makes sure of a C++ compiler.
pub(super) fn ensure_cpp() -> Result<()> {
    if run::which("c++").is_some() || run::which("clang++").is_some() {
        return Ok(());
    }
    apt::install(&[apt::Need {
        anyone_of: &["g++"],
        why: "compiles the engine of guided fuzzing",
        otherwise: "install a C++ compiler that is called c++",
    }])
}

/// Makes sure of what only the package needs.
pub(super) fn ensure_package_tools() -> Result<()> {
    const NEEDS: [(&str, apt::Need); 2] = [
        (
            "osslsigncode",
            apt::Need {
                anyone_of: &["osslsigncode"],
                why: "signs the driver and its catalog with a test certificate",
                otherwise: "install osslsigncode 2.5 or later",
            },
        ),
        (
            "openssl",
            apt::Need {
                anyone_of: &["openssl"],
                why: "makes the test certificate",
                otherwise: "install openssl 3",
            },
        ),
    ];
    let missing: Vec<_> = NEEDS
        .into_iter()
        .filter_map(|(program, need)| run::which(program).is_none().then_some(need))
        .collect();
    if missing.is_empty() {
        Ok(())
    } else {
        apt::install(&missing)
    }
}

/// The WDK that `WDKContentRoot` names, unless it is the one that we made.
pub(super) fn asked_for_wdk(toolchain: &Path) -> Result<Wdk> {
    match std::env::var_os("WDKContentRoot").map(PathBuf::from) {
        None => Ok(Wdk::Synthetic),
        Some(root) if root.as_os_str().is_empty() || root.starts_with(toolchain) => {
            Ok(Wdk::Synthetic)
        }
        Some(root) if root.join("Include").is_dir() => Ok(Wdk::Real(root)),
        Some(root) => bail!(
            "step `find the WDK` failed\n  WDKContentRoot is set to {}, which has no Include directory\n  \
             to do:   set it to the root of a WDK, or unset it to build with the synthetic one",
            root.display()
        ),
    }
}

/// The directory of a libclang that bindgen can load (13 to 22 are known to work).
fn libclang(may_install: bool) -> Result<PathBuf> {
    const WHY: &str =
        "bindgen, by which wdk-sys makes its bindings, loads libclang to read the kernel headers";
    let find = || {
        let asked = std::env::var_os("LIBCLANG_PATH").map(PathBuf::from);
        let versions = (13..=22)
            .rev()
            .map(|version| PathBuf::from(format!("/usr/lib/llvm-{version}/lib")));
        let others = ["/usr/lib/x86_64-linux-gnu", "/usr/lib64", "/usr/lib"].map(PathBuf::from);
        asked
            .into_iter()
            .chain(versions)
            .chain(others)
            .find(|dir| has_libclang(dir))
    };
    if let Some(dir) = find() {
        return Ok(dir);
    }
    if may_install {
        apt::install(&[apt::Need {
            anyone_of: &["libclang1-19", "libclang1-18", "libclang1-16", "libclang1"],
            why: WHY,
            otherwise: "install libclang 13 to 22, or set LIBCLANG_PATH to its directory",
        }])?;
    }
    find().with_context(|| format!("step `find libclang` failed\n  {WHY}; none was found\n  to do:   install libclang 13 to 22, or set LIBCLANG_PATH to its directory"))
}

fn has_libclang(dir: &Path) -> bool {
    fs::read_dir(dir).is_ok_and(|entries| {
        entries.flatten().any(|entry| {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            (name.starts_with("libclang.so") || name.starts_with("libclang-"))
                && name.contains(".so")
                && !name.starts_with("libclang-cpp")
        })
    })
}

/// mingw-w64's include directory.
fn mingw_headers() -> Result<PathBuf> {
    const WHY: &str = "the kernel headers (mingw-w64's DDK) that the synthetic WDK is made of";
    let find = || {
        let places = [
            "/usr/share/mingw-w64/include",
            "/usr/x86_64-w64-mingw32/include",
            "/usr/x86_64-w64-mingw32/sys-root/mingw/include",
        ];
        places
            .map(PathBuf::from)
            .into_iter()
            .find(|dir| dir.join("ddk/ntifs.h").is_file())
    };
    if let Some(dir) = find() {
        return Ok(dir);
    }
    apt::install(&[apt::Need {
        anyone_of: &["mingw-w64-common"],
        why: WHY,
        otherwise: "install mingw-w64's headers, or set WDKContentRoot to a real WDK",
    }])?;
    find().with_context(|| format!("step `find the kernel headers` failed\n  {WHY} were not found\n  to do:   install mingw-w64's headers (Debian: mingw-w64-common)"))
}

/// Paths of this tool under the names by which it acts as compiler wrapper and as linker.
pub(super) struct Helpers {
    pub(super) rustc: PathBuf,
    link: PathBuf,
}

/// Puts copies of this very program where Cargo and rustc will call it. Copies, because the program itself may be rebuilt meanwhile.
pub(super) fn install_helpers(toolchain: &Path) -> Result<Helpers> {
    let myself = std::env::current_exe().context("cannot find this program's own file")?;
    let bin = toolchain.join("bin");
    let key = Key::new("helpers", 1)
        .with("program", fs::read(&myself)?)
        .hex();
    stamp::produce(&bin, &key, |dir| {
        for name in [cross::RUSTC_NAME, cross::LINK_NAME] {
            fs::copy(&myself, dir.join(name)).with_context(|| {
                format!("cannot copy this program to {}", dir.join(name).display())
            })?;
        }
        Ok(())
    })?;
    Ok(Helpers {
        rustc: bin.join(cross::RUSTC_NAME),
        link: bin.join(cross::LINK_NAME),
    })
}

/// Names that stand for machine paths in what is built; of several that match, rustc takes the last.
pub(super) fn remap(layout: &Layout, compiler: &Compiler) -> Vec<(PathBuf, String)> {
    let mut remap: Vec<_> = cargo_home()
        .into_iter()
        .map(|home| (home, "/cargo".to_owned()))
        .collect();
    remap.push((layout.root.clone(), "/headroom".to_owned()));
    remap.push((
        compiler.std_source.clone(),
        format!("/rustc/{}", compiler.commit),
    ));
    remap
}

/// Where Cargo keeps the sources that it has fetched.
pub(super) fn cargo_home() -> Option<PathBuf> {
    let named = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    named.or_else(|| std::env::home_dir().map(|home| home.join(".cargo")))
}

/// Writes the arguments that our rustc wrapper adds for the target.
///
/// They are not given as RUSTFLAGS because Cargo hashes those into every symbol name: the image would depend on where the workspace lies.
pub(super) fn write_rustc_args(
    file: &Path,
    sysroot: Option<&Path>,
    remap: &[(PathBuf, String)],
    others: &[&str],
) -> Result<PathBuf> {
    let mut text = String::new();
    if let Some(sysroot) = sysroot {
        text.push_str(&format!("--sysroot={}\n", sysroot.display()));
    }
    for (from, to) in remap {
        text.push_str(&format!("--remap-path-prefix={}={to}\n", from.display()));
    }
    for other in others {
        text.push_str(&format!("{other}\n"));
    }
    if fs::read_to_string(file).ok().as_ref() != Some(&text) {
        let aside = file.with_extension("new");
        fs::write(&aside, text).with_context(|| format!("cannot write {}", aside.display()))?;
        fs::rename(&aside, file)
            .with_context(|| format!("cannot put {} in place", file.display()))?;
    }
    Ok(file.to_path_buf())
}

fn environment(
    layout: &Layout,
    compiler: &Compiler,
    libclang: &Path,
    wdk_root: &Path,
    helpers: &Helpers,
    args_file: &Path,
) -> Result<Vec<(String, OsString)>> {
    let linker = format!(
        "CARGO_TARGET_{}_LINKER",
        DRIVER_TARGET.to_uppercase().replace('-', "_")
    );
    let mut env: Vec<(String, OsString)> = vec![
        ("PATH".to_owned(), run::path_with(&compiler.bin)?),
        ("WDKContentRoot".to_owned(), wdk_root.into()),
        ("LIBCLANG_PATH".to_owned(), libclang.into()),
        ("RUSTC_WRAPPER".to_owned(), helpers.rustc.clone().into()),
        (linker, helpers.link.clone().into()),
        (cross::ARGS_VARIABLE.to_owned(), args_file.into()),
        (cross::LLD_VARIABLE.to_owned(), compiler.lld.clone().into()),
        (
            cross::ADAPTED_VARIABLE.to_owned(),
            layout.toolchain().join("adapted").into(),
        ),
        ("CARGO_TARGET_DIR".to_owned(), layout.driver_target().into()),
    ];
    if let Some(name) = &compiler.rustup_name {
        env.push(("RUSTUP_TOOLCHAIN".to_owned(), name.into()));
    }
    Ok(env)
}
