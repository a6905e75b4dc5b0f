//! A sysroot for a target, built from the compiler's own library source: `core` and `alloc` for the driver's, all of `std` for programs'.
//!
//! With it, plain `cargo build` and `cargo clippy` work for the target without any unstable flag, as they do where rustup has added it.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};

use super::{compiler::Compiler, linux, say};
use crate::{
    layout::DRIVER_TARGET,
    run::{self, Tool},
    stamp::{self, Key},
};

/// Raise when the way a sysroot is built changes what comes out.
const REVISION: u32 = 2;

/// Makes sure of it; returns its place and the digest of what it was made from.
pub(super) fn ensure(
    toolchain: &Path,
    target: &str,
    compiler: &Compiler,
    library: &Path,
) -> Result<(PathBuf, String)> {
    let dest = toolchain.join(match target {
        DRIVER_TARGET => "sysroot".to_owned(),
        other => format!("sysroot-{other}"),
    });
    let key = Key::new("sysroot", REVISION)
        .with("target", target)
        .with("compiler", &compiler.version)
        .with("source", compiler.std_source.to_string_lossy().as_bytes())
        .with_file(&library.join("Cargo.lock"))?
        .hex();
    if !stamp::is_current(&dest, &key) {
        say(&format!(
            "building the standard library for {target} from {} (about a minute)",
            library.display()
        ));
    }
    stamp::produce(&dest, &key, |dir| build(dir, target, compiler, library))?;
    Ok((dest, key))
}

fn build(dir: &Path, target: &str, compiler: &Compiler, library: &Path) -> Result<()> {
    let work = dir.join("work");
    // The two flags are what the distributed standard library is built with: bitcode for link-time optimisation, and `-Z force-unstable...`
    // so that crates which use it need no feature gates. Paths stand as rustup's own library has them.
    let mut flags = vec![
        "-Cembed-bitcode=yes".to_owned(),
        "-Zforce-unstable-if-unmarked".to_owned(),
        format!(
            "--remap-path-prefix={}=/rustc/{}",
            compiler.std_source.display(),
            compiler.commit
        ),
        format!(
            "--remap-path-prefix={}=/rustc/{}/build",
            work.display(),
            compiler.commit
        ),
    ];
    // What std itself depends on comes by way of Cargo.
    if let Some(home) = linux::cargo_home() {
        flags.push(format!("--remap-path-prefix={}=/cargo", home.display()));
    }
    let parts: &[&str] = match target {
        DRIVER_TARGET => &["-p", "alloc"],
        _ => &["--features", "panic-unwind,backtrace"],
    };
    let mut cargo = Tool::new("build the private sysroot", compiler.bin.join("cargo"))
        .without_outer_cargo()
        .env("PATH", run::path_with(&compiler.bin)?)
        // The library's source uses unstable features, which a release compiler accepts from it alone.
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}"))
        .dir(dir)
        .args(["build", "--locked", "--release", "--quiet", "--target", target])
        .args(parts)
        .arg("--manifest-path")
        .arg(library.join("sysroot/Cargo.toml"))
        .arg("--target-dir")
        .arg(&work)
        .remedy("check that the compiler and its library source are of one version; on Debian: rustc-web and rust-web-src");
    if let Some(name) = &compiler.rustup_name {
        cargo = cargo.env("RUSTUP_TOOLCHAIN", name);
    }
    cargo.run()?;

    let lib = dir.join("lib/rustlib").join(target).join("lib");
    fs::create_dir_all(&lib)?;
    let deps = work.join(target).join("release/deps");
    let mut copied = 0;
    for entry in fs::read_dir(&deps).with_context(|| format!("cannot read {}", deps.display()))? {
        let path = entry?.path();
        if let Some(name) = path.file_name().filter(|_| {
            path.extension()
                .is_some_and(|extension| extension == "rlib")
        }) {
            fs::copy(&path, lib.join(name))?;
            copied += 1;
        }
    }
    // core, alloc and compiler_builtins
    if copied < 3 {
        bail!(
            "step `build the private sysroot` failed\n  only {copied} libraries were built in {}",
            deps.display()
        );
    }
    stamp::remove(&work)
}
