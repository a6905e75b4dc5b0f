//! The compiler that makes the tests' drivers, and a folder for what it makes.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};

pub(crate) const COMPILER: &str = "x86_64-w64-mingw32-gcc";
const LIBRARIAN: &str = "x86_64-w64-mingw32-dlltool";

pub(crate) fn run(command: &mut Command) {
    let what = format!("{command:?}");
    let output = command.output().unwrap_or_else(|error| {
        panic!("{what}: {error}. These tests need the package gcc-mingw-w64-x86-64-win32 to compile drivers.")
    });
    assert!(
        output.status.success(),
        "{what}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// A folder of its own for each test, below Cargo's for this target.
pub(crate) fn scratch() -> PathBuf {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let folder =
        PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{}-{number}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a scratch folder");
    folder
}

/// An import library for those names of `dll`.
pub(crate) fn library(folder: &Path, dll: &str, names: &[&str]) -> PathBuf {
    let (definition, library) = (
        folder.join(format!("{dll}.def")),
        folder.join(format!("lib{dll}.a")),
    );
    std::fs::write(
        &definition,
        format!("LIBRARY {dll}\nEXPORTS\n{}\n", names.join("\n")),
    )
    .expect("written");
    // What this tool puts into its working directory goes with the scratch folder.
    run(Command::new(LIBRARIAN)
        .current_dir(folder)
        .arg("-d")
        .arg(&definition)
        .arg("-l")
        .arg(&library));
    library
}
