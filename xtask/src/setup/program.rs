//! What builds programs for Windows where Windows is not: a compiler with `std` for x86_64-pc-windows-gnu, and mingw-w64's linker.
//!
//! The driver's target will not do: its link would need Microsoft's C runtime.

use std::ffi::OsString;

use anyhow::{Result, bail};

use super::{
    Options, Toolchain, apt, compiler,
    linux::{self, Wdk},
    say, sysroot,
};
use crate::{
    cross,
    layout::{Layout, PROGRAM_TARGET},
    run,
    stamp::Key,
};

/// The linker, and what makes import libraries for it.
const TOOLS: [&str; 2] = ["x86_64-w64-mingw32-gcc", "x86_64-w64-mingw32-dlltool"];

/// Static but for the system's own libraries, and without the time of day, so that two builds give the same bytes.
const LINK: [&str; 2] = [
    "-Ctarget-feature=+crt-static",
    "-Clink-arg=-Wl,--no-insert-timestamp",
];

pub(super) fn ensure(layout: &Layout, options: Options) -> Result<Toolchain> {
    let toolchain = layout.toolchain();
    let _lock = linux::lock(&toolchain)?;
    let may_install = matches!(linux::asked_for_wdk(&toolchain)?, Wdk::Synthetic);
    ensure_mingw(may_install)?;
    let compiler = compiler::choose(PROGRAM_TARGET, &toolchain, may_install, options)?;
    let sysroot = match &compiler.library {
        Some(library) => {
            let made = sysroot::ensure(&toolchain, PROGRAM_TARGET, &compiler, library)?;
            Some(made)
        }
        None => None,
    };
    let (sysroot, sysroot_key) = sysroot.unzip();
    let helpers = linux::install_helpers(&toolchain)?;
    let remap = linux::remap(layout, &compiler);
    let args = linux::write_rustc_args(
        &toolchain.join("rustc-args-program.txt"),
        sysroot.as_deref(),
        &remap,
        &LINK,
    )?;
    let mut env: Vec<(String, OsString)> = vec![
        ("PATH".to_owned(), run::path_with(&compiler.bin)?),
        ("RUSTC_WRAPPER".to_owned(), helpers.rustc.into()),
        (cross::ARGS_VARIABLE.to_owned(), args.clone().into()),
        (
            "CARGO_TARGET_DIR".to_owned(),
            layout.program_target().into(),
        ),
    ];
    if let Some(name) = &compiler.rustup_name {
        env.push(("RUSTUP_TOOLCHAIN".to_owned(), name.into()));
    }
    if options.verbose {
        say(&format!("for programs    {}", compiler.description));
    }
    Ok(Toolchain {
        cargo: compiler.bin.join("cargo"),
        env,
        description: compiler.description.clone(),
        compile_key: Key::new("compile a program", 1)
            .with("compiler", &compiler.version)
            .with("args", std::fs::read(&args)?)
            .with("sysroot", sysroot_key.unwrap_or_default())
            .hex(),
        link_key: Key::new("link a program", 1)
            .with("linker", linker_version()?)
            .hex(),
        remap,
    })
}

/// Makes sure of mingw-w64's compiler, which is the linker here and compiles the tests' drivers elsewhere.
pub(super) fn ensure_mingw(may_install: bool) -> Result<()> {
    const WHY: &str = "links programs for Windows, and compiles the C drivers that tests load";
    let missing = || TOOLS.into_iter().find(|tool| run::which(tool).is_none());
    if missing().is_some() && may_install {
        apt::install(&[apt::Need {
            anyone_of: &["gcc-mingw-w64-x86-64-win32", "gcc-mingw-w64-x86-64"],
            why: WHY,
            otherwise: "install mingw-w64's gcc for x86_64, so that x86_64-w64-mingw32-gcc is in PATH",
        }])?;
    }
    match missing() {
        None => Ok(()),
        Some(tool) => bail!(
            "step `find mingw-w64` failed\n  {tool} is not in PATH; it {WHY}\n  to do:   install mingw-w64's gcc (Debian: gcc-mingw-w64-x86-64-win32)"
        ),
    }
}

fn linker_version() -> Result<String> {
    run::Tool::new("ask mingw-w64's compiler for its version", TOOLS[0])
        .arg("--version")
        .output()
}
