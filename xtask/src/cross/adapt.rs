//! The changes without which two host crates do not compile off Windows.
//!
//! * `windows-future` (behind `windows`, behind wdk-build) calls parts of windows-core that exist on Windows only. Nothing of it is used
//!   here, so it is compiled as an empty crate.
//! * `wdk-build` refuses other hosts by two `compile_error!`s, reads the registry to find a WDK, and makes a symbolic link with Windows's
//!   function. The refusals guard `std::env::set_var`, which is unsound only beside other threads; build scripts are single-threaded
//!   when they call it. The registry is left out (WDKContentRoot is always set), the link is made with Unix's function.
//!
//! Each change must find exactly what it was written for, else the build fails and says which did not: a new wdk-build is looked at by a
//! person, never half adapted.

use std::{
    fs,
    path::Path,
    time::{Duration, SystemTime},
};

use anyhow::{Context as _, Result, bail};

/// Raise when the adapted source changes, so that what was compiled from it is compiled again.
pub(crate) const REVISION: u32 = 1;

/// A crate that is adapted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Crate {
    /// Compiled as an empty crate.
    WindowsFuture,
    /// Compiled from an adapted copy.
    WdkBuild,
}

impl Crate {
    /// The crate of this name, if it is one to adapt.
    pub(crate) fn named(name: &str) -> Option<Self> {
        [Self::WindowsFuture, Self::WdkBuild]
            .into_iter()
            .find(|one| one.name() == name)
    }

    /// Its name as rustc has it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::WindowsFuture => "windows_future",
            Self::WdkBuild => "wdk_build",
        }
    }
}

/// Writes the adapted source of `which`, whose `src` directory is `source`, as `dest/src`.
pub(crate) fn write(which: Crate, source: &Path, dest: &Path) -> Result<()> {
    match which {
        Crate::WindowsFuture => put(&dest.join("src/lib.rs"), "#![no_std]\n"),
        Crate::WdkBuild => {
            // wdk-build includes its README as documentation.
            let package = source
                .parent()
                .context("a crate's source lies in a package")?;
            for entry in fs::read_dir(package)? {
                let path = entry?.path();
                if let (Some("md"), Some(name)) =
                    (path.extension().and_then(|e| e.to_str()), path.file_name())
                {
                    put(&dest.join(name), &fs::read_to_string(&path)?)?;
                }
            }
            copy_adapted(source, &dest.join("src"), "")
        }
    }
}

fn copy_adapted(source: &Path, dest: &Path, below: &str) -> Result<()> {
    for entry in
        fs::read_dir(source).with_context(|| format!("cannot read {}", source.display()))?
    {
        let path = entry?.path();
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let relative = format!("{below}{name}");
        if path.is_dir() {
            copy_adapted(&path, &dest.join(&name), &format!("{relative}/"))?;
        } else {
            let text = fs::read_to_string(&path)
                .with_context(|| format!("cannot read {}", path.display()))?;
            let text = adapted(&relative, &text.replace("\r\n", "\n"))
                .with_context(|| format!("in src/{relative}"))?;
            put(&dest.join(&name), &text)?;
        }
    }
    Ok(())
}

/// One file of wdk-build with its changes.
fn adapted(relative: &str, text: &str) -> Result<String> {
    const NOT_WINDOWS: &str = "#[cfg(not(target_os = \"windows\"))]\n";
    const WINDOWS: &str = "#[cfg(target_os = \"windows\")]\n";
    const REGISTRY: &str = "    if let Some(path) = read_registry_key_string_value(";
    const LINK: &str = "std::os::windows::fs::symlink_file(";
    match relative {
        "utils.rs" => {
            let text = exchange(
                text,
                1,
                "\nuse windows::{",
                "\n#[cfg(windows)]\nuse windows::{",
            )?;
            let text = exchange(&text, 1, "    ffi::{CStr, OsStr},", "    ffi::OsStr,")?;
            let text = exchange(
                &text,
                1,
                "CStr::from_bytes_with_nul",
                "std::ffi::CStr::from_bytes_with_nul",
            )?;
            let text = exchange(
                &text,
                2,
                REGISTRY,
                &format!("    #[cfg(windows)]\n{REGISTRY}"),
            )?;
            let text = exchange(
                &text,
                1,
                "\nfn read_registry_key_string_value(",
                "\n#[cfg(windows)]\nfn read_registry_key_string_value(",
            )?;
            let text = without_items(text, 2, NOT_WINDOWS, "compile_error!")?;
            exchange(&text, 2, &format!("{WINDOWS}pub fn "), "pub fn ")
        }
        "cargo_make.rs" => exchange(text, 2, LINK, "std::os::unix::fs::symlink("),
        _ => Ok(text.to_owned()),
    }
}

/// Puts `new` in place of `old`, which must be there `times` times.
fn exchange(text: &str, times: usize, old: &str, new: &str) -> Result<String> {
    match text.matches(old).count() {
        found if found == times => Ok(text.replace(old, new)),
        found => bail!(
            "expected `{}` {times} times, found it {found} times",
            old.trim()
        ),
    }
}

/// Removes the `times` items that `attribute` stands before and that hold `mark`.
fn without_items(mut text: String, times: usize, attribute: &str, mark: &str) -> Result<String> {
    let mut removed = 0;
    while let Some(start) = text.find(attribute) {
        // An item at the margin ends at the first closing brace there.
        let Some(length) = text[start..].find("\n}\n") else {
            bail!("the item after `{}` has no end", attribute.trim())
        };
        let end = start + length + "\n}\n".len();
        if !text[start..end].contains(mark) {
            bail!("an item after `{}` holds no `{mark}`", attribute.trim());
        }
        text.replace_range(start..end, "");
        removed += 1;
    }
    // An attribute that stood before a removed one would now apply to what follows.
    let text = text.replace("#[allow(dead_code)]\n\n", "\n");
    if removed == times {
        Ok(text)
    } else {
        bail!(
            "expected {times} items after `{}`, found {removed}",
            attribute.trim()
        )
    }
}

/// Writes a file unless it is there already, and dates it back: Cargo compares these times with those of its own outputs.
fn put(path: &Path, text: &str) -> Result<()> {
    if fs::read_to_string(path).is_ok_and(|there| there == text) {
        return Ok(());
    }
    let write = || -> std::io::Result<()> {
        if let Some(dir) = path.parent() {
            fs::create_dir_all(dir)?;
        }
        let aside = path.with_extension(format!("{}-new", std::process::id()));
        fs::write(&aside, text)?;
        let file = fs::File::options().append(true).open(&aside)?;
        file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000))?;
        fs::rename(&aside, path)
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const UTILS: &str = "use std::{\n    env,\n    ffi::{CStr, OsStr},\n};\n\nuse windows::{\n    core::s,\n};\n\n\
        pub fn detect() {\n    if let Some(path) = read_registry_key_string_value(1) {}\n    if let Some(path) = read_registry_key_string_value(2) {}\n}\n\n\
        fn read_registry_key_string_value(x: u8) {\n    CStr::from_bytes_with_nul(x)\n}\n\n\
        #[cfg(target_os = \"windows\")]\npub fn set_var() {\n    body();\n}\n\n\
        #[cfg(not(target_os = \"windows\"))]\npub fn set_var() {\n    compile_error!(\"no\");\n}\n\n\
        #[allow(dead_code)]\n#[cfg(target_os = \"windows\")]\npub fn remove_var() {\n    body();\n}\n\n\
        #[allow(dead_code)]\n#[cfg(not(target_os = \"windows\"))]\npub fn remove_var() {\n    compile_error!(\"no\");\n}\n\n\
        #[cfg(test)]\nmod tests {}\n";

    #[test]
    fn the_known_source_is_adapted() {
        let text = adapted("utils.rs", UTILS).unwrap();
        assert!(
            !text.contains("compile_error!") && !text.contains("target_os"),
            "{text}"
        );
        assert_eq!(text.matches("pub fn set_var").count(), 1);
        assert_eq!(text.matches("pub fn remove_var").count(), 1);
        assert!(
            text.contains("\n\n#[cfg(test)]\nmod tests {}"),
            "the test module keeps its own attribute alone: {text}"
        );
        assert_eq!(text.matches("#[cfg(windows)]").count(), 4);
    }

    #[test]
    fn every_change_that_does_not_find_its_place_fails_and_says_which() {
        let damage = [
            ("use windows::{", "use win::{", "use windows::{"),
            ("ffi::{CStr, OsStr},", "ffi::CStr,", "ffi::{CStr, OsStr}"),
            (
                "if let Some(path) = read_registry_key_string_value(2)",
                "x(2)",
                "read_registry_key_string_value",
            ),
            (
                "#[cfg(not(target_os = \"windows\"))]\npub fn set_var",
                "pub fn set_var",
                "expected 2 items",
            ),
            ("compile_error!(\"no\")", "panic!()", "compile_error!"),
            (
                "fn read_registry_key_string_value(x",
                "fn read_key(x",
                "fn read_registry_key_string_value(",
            ),
        ];
        for (old, new, named) in damage {
            let changed = UTILS.replace(old, new);
            assert_ne!(changed, UTILS, "{old}");
            let error = adapted("utils.rs", &changed).unwrap_err().to_string();
            assert!(error.contains(named), "{old} -> {error}");
        }
        let error = adapted("cargo_make.rs", "std::os::windows::fs::symlink_file(a)")
            .unwrap_err()
            .to_string();
        assert!(error.contains("2 times, found it 1 times"), "{error}");
    }

    #[test]
    fn other_files_are_left_alone_and_an_equal_file_is_not_written_again() {
        assert_eq!(
            adapted("lib.rs", "compile_error!").unwrap(),
            "compile_error!"
        );
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("a/b.rs");
        put(&file, "x").unwrap();
        let first = fs::metadata(&file).unwrap().modified().unwrap();
        put(&file, "x").unwrap();
        assert_eq!(fs::metadata(&file).unwrap().modified().unwrap(), first);
        assert!(first < SystemTime::now() - Duration::from_secs(1_000_000));
        assert_eq!(
            fs::read_dir(file.parent().unwrap()).unwrap().count(),
            1,
            "nothing is left beside it"
        );
    }
}
