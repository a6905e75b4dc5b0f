//! Cargo's `RUSTC_WRAPPER` for driver builds, and for those of programs for Windows.

use std::{
    ffi::{OsStr, OsString},
    fs,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use anyhow::{Context as _, Result};

use super::{ADAPTED_VARIABLE, ARGS_VARIABLE, adapt, variable};

/// Runs `args[0]` (rustc, or a workspace wrapper such as clippy-driver) with the rest of `args`, adapted where need be.
pub(super) fn run(args: Vec<OsString>) -> Result<ExitCode> {
    let mut args = args;
    let target = value_of(&args, "--target").map(OsStr::to_os_string);
    let for_host = target.is_none();
    if let Some(target) = target.as_deref().and_then(OsStr::to_str) {
        let file = variable(ARGS_VARIABLE)?;
        let text =
            fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        args.extend(text.lines().map(OsString::from));
        args.extend(
            target_directory(&args, target)
                .map(|dir| format!("--remap-path-prefix={dir}=/headroom/target").into()),
        );
    } else if let Some(name) = value_of(&args, "--crate-name")
        .and_then(OsStr::to_str)
        .and_then(adapt::Crate::named)
    {
        adapt_source(&mut args, name, for_host)?;
    }
    let (program, rest) = args.split_first().context("no compiler was named")?;
    Err(Command::new(program).args(rest).exec())
        .with_context(|| format!("cannot run {}", program.display()))
}

/// Cargo's target directory, wherever it was told to put it: what stands before the target's name in the output directory.
fn target_directory<'a>(args: &'a [OsString], target: &str) -> Option<&'a str> {
    let (before, _) = value_of(args, "--out-dir")?
        .to_str()?
        .split_once(&format!("/{target}/"))?;
    Some(before)
}

/// Exchanges the crate's root file for the adapted one, if this is a compilation of it for the host.
fn adapt_source(args: &mut [OsString], which: adapt::Crate, for_host: bool) -> Result<()> {
    let root = args
        .iter_mut()
        .find(|arg| Path::new(arg).ends_with("src/lib.rs"));
    let (Some(root), true) = (root, for_host) else {
        return Ok(());
    };
    let source = PathBuf::from(&*root);
    let source = source
        .parent()
        .context("a crate's root file lies in a directory")?;
    // One directory a version, which Cargo's own name for the package's directory holds.
    let package = source
        .parent()
        .and_then(Path::file_name)
        .context("a crate's source lies in a package")?;
    let dest = variable(ADAPTED_VARIABLE)?.join(package);
    adapt::write(which, source, &dest).with_context(|| {
        format!(
            "step `adapt {}` failed\n  it was told to adapt {} for a host that is not Windows\n  to do:   Cargo.lock must hold the version that \
             xtask/src/cross/adapt.rs was written for; for a new one, look again at what has to change there",
            which.name(),
            source.display()
        )
    })?;
    *root = dest.join("src/lib.rs").into();
    Ok(())
}

/// The value of an option given as `--name value` or `--name=value`.
fn value_of<'a>(args: &'a [OsString], name: &str) -> Option<&'a OsStr> {
    let joined = format!("{name}=");
    args.iter().enumerate().find_map(|(at, arg)| {
        if arg == name {
            args.get(at + 1).map(OsString::as_os_str)
        } else {
            arg.to_str()?.strip_prefix(&joined).map(OsStr::new)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(line: &str) -> Vec<OsString> {
        line.split(' ').map(OsString::from).collect()
    }

    #[test]
    fn options_are_found_in_both_forms() {
        let line = args("rustc --crate-name wdk_build --edition=2024 --target");
        assert_eq!(
            value_of(&line, "--crate-name"),
            Some(OsStr::new("wdk_build"))
        );
        assert_eq!(value_of(&line, "--edition"), Some(OsStr::new("2024")));
        assert_eq!(value_of(&line, "--target"), None);
    }

    #[test]
    fn the_target_directory_is_found_in_the_output_directory() {
        let line = args(
            "rustc --out-dir /w/target/x/cargo/x86_64-pc-windows-msvc/release/deps --target x86_64-pc-windows-msvc",
        );
        let target = "x86_64-pc-windows-msvc";
        assert_eq!(target_directory(&line, target), Some("/w/target/x/cargo"));
        let line = args("rustc --out-dir /w/target/release/deps");
        assert_eq!(target_directory(&line, target), None);
    }

    #[test]
    fn only_the_host_compilation_is_adapted() {
        let before = args("rustc --crate-name windows_future /r/windows-future-0.3.2/src/lib.rs");
        let mut after = before.clone();
        adapt_source(&mut after, adapt::Crate::WindowsFuture, false).unwrap();
        assert_eq!(after, before);
    }
}
