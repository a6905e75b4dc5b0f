//! Building `headroom.exe`, the harness for Windows.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Instant,
};

use anyhow::{Context as _, Result, bail};

use crate::{
    driver, host,
    image::Image,
    layout::{Layout, PROGRAM_TARGET},
    setup::Toolchain,
};

/// The harness's package, and its program.
const PACKAGE: &str = "headroom-harness";
const PROGRAM: &str = "headroom.exe";

/// Libraries that Windows brings: what the program may load. Anything else would have to be shipped with it.
const SYSTEM: &[&str] = &[
    "advapi32.dll",
    "bcrypt.dll",
    "bcryptprimitives.dll",
    "crypt32.dll",
    "fltlib.dll",
    "kernel32.dll",
    "ktmw32.dll",
    "msvcrt.dll",
    "ncrypt.dll",
    "netapi32.dll",
    "newdev.dll",
    "ntdll.dll",
    "ole32.dll",
    "oleaut32.dll",
    "secur32.dll",
    "setupapi.dll",
    "shell32.dll",
    "user32.dll",
    "userenv.dll",
    "wintrust.dll",
    "ws2_32.dll",
];

/// Builds the program and puts it beside the driver.
pub(crate) fn build(toolchain: &Toolchain, layout: &Layout) -> Result<PathBuf> {
    let start = Instant::now();
    let target_dir = layout.program_target();
    driver::forget_stale(toolchain, &target_dir)?;
    toolchain
        .cargo("build headroom.exe")
        .dir(&layout.root)
        .args([
            "build",
            "--locked",
            "--profile",
            host::PROFILE,
            "--target",
            PROGRAM_TARGET,
        ])
        .args(["--package", PACKAGE, "--bin", "headroom", "--target-dir"])
        .arg(&target_dir)
        .remedy("the compiler's or linker's message stands above")
        .run()?;
    let built = target_dir
        .join(PROGRAM_TARGET)
        .join(host::PROFILE)
        .join(PROGRAM);
    fs::create_dir_all(layout.out())
        .with_context(|| format!("cannot create {}", layout.out().display()))?;
    let program = layout.out().join(PROGRAM);
    strip(&built, &program)?;
    let imports = only_system_libraries(&program)?;
    says_what_it_is(&program)?;
    driver::refuse_machine_paths(&program, toolchain)?;
    println!(
        "built {} with {} in {:.1} s: {} KB, loads {imports} of Windows' own libraries and no other",
        program.display(),
        toolchain.description,
        start.elapsed().as_secs_f32(),
        fs::metadata(&program)?.len() / 1024,
    );
    Ok(program)
}

/// Leaves debug information out of what is shipped: it is of a kind that no debugger of Windows' reads.
fn strip(built: &Path, program: &Path) -> Result<()> {
    let aside = program.with_extension("new");
    crate::run::Tool::new("strip headroom.exe", "x86_64-w64-mingw32-strip")
        .args(["--strip-debug", "-o"])
        .arg(&aside)
        .arg(built)
        .run()?;
    fs::rename(&aside, program)
        .with_context(|| format!("cannot put {} in place", program.display()))
}

/// Fails unless the program has a version resource that is a program's and says all that it should.
fn says_what_it_is(program: &Path) -> Result<()> {
    let bytes = fs::read(program).with_context(|| format!("cannot read {}", program.display()))?;
    let info = match Image::parse(&bytes)?.version {
        Some(Ok(info)) => info,
        Some(Err(error)) => bail!("{}'s version resource: {error}", program.display()),
        None => bail!("{} has no version resource", program.display()),
    };
    let missing = versioninfo::STRINGS
        .into_iter()
        .find(|name| info.string(name).is_none_or(str::is_empty));
    if info.kind != versioninfo::Kind::Application || missing.is_some() {
        bail!(
            "{}'s version resource is not a whole one of a program: {info:?}",
            program.display()
        );
    }
    Ok(())
}

/// How many libraries the program imports from, all of which Windows has.
fn only_system_libraries(program: &Path) -> Result<usize> {
    let bytes = fs::read(program).with_context(|| format!("cannot read {}", program.display()))?;
    let image =
        Image::parse(&bytes).with_context(|| format!("cannot read {}", program.display()))?;
    let mut names: Vec<_> = image
        .imports
        .iter()
        .map(|import| import.dll.to_lowercase())
        .collect();
    names.sort_unstable();
    names.dedup();
    let foreign =
        |name: &&String| !SYSTEM.contains(&name.as_str()) && !name.starts_with("api-ms-win-");
    if let Some(foreign) = names.iter().find(foreign) {
        bail!(
            "{} imports from {foreign}, which Windows does not bring\n  to do:   link it statically, or add it to xtask/src/program.rs if every Windows has it",
            program.display()
        );
    }
    Ok(names.len())
}
