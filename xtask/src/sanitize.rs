//! `cargo xtask sanitize`: the tests of the crates that know no kernel, where a compiler or an interpreter watches each access.
//!
//! Neither is part of `cargo xtask test`: AddressSanitizer's runtime comes with rustup's toolchains, not with Debian's, and Miri with
//! nightly ones alone. ThreadSanitizer wants a standard library that is compiled for it, whose sources no package has; loom explores
//! the ring's orderings instead.

use anyhow::Result;

use crate::{host, layout::Layout, run::Tool, steps::Steps};

const TARGET: &str = "x86_64-unknown-linux-gnu";
/// Whose tests run under AddressSanitizer.
const WATCHED: [&str; 6] = [
    "crashdump",
    "inf",
    "protocol",
    "recorder",
    "uncpath",
    "versioninfo",
];
/// Whose tests Miri interprets in a minute or so.
const INTERPRETED: [&str; 3] = ["protocol", "recorder", "uncpath"];
/// Hundreds of thousands of records and marks by threads, which an interpreter takes a quarter of an hour for.
const TOO_LONG: [&str; 2] = ["many_writers_and_readers_at_once", "among_many_threads"];

pub(crate) fn run(layout: &Layout) -> Result<()> {
    let mut steps = Steps::default();
    if has_address_sanitizer(layout) {
        steps.run("AddressSanitizer", || {
            packages(host::cargo("test with AddressSanitizer", layout), &WATCHED)
                .args(["--target", TARGET])
                .env("CARGO_TARGET_DIR", layout.out().join("asan"))
                // The option is stable in all but name; what it guards against is that it changes.
                .env("RUSTC_BOOTSTRAP", "1")
                .env("RUSTFLAGS", "-Zsanitizer=address")
                .run()
        });
    } else {
        steps.skip(
            "AddressSanitizer",
            "this compiler comes without its runtime; rustup's toolchains have it",
        );
    }
    if miri("look for Miri", layout)
        .arg("--version")
        .output()
        .is_ok()
    {
        steps.run("Miri", || {
            packages(miri("interpret with Miri", layout), &INTERPRETED)
                .arg("--")
                .args(TOO_LONG.iter().flat_map(|test| ["--skip", test]))
                .env("CARGO_TARGET_DIR", layout.out().join("miri"))
                .env("MIRIFLAGS", "-Zmiri-disable-isolation")
                .env("PROPTEST_CASES", "4")
                .run()
        });
    } else {
        steps.skip(
            "Miri",
            "not installed: rustup toolchain install nightly --component miri,rust-src",
        );
    }
    steps.finish("cargo xtask sanitize")
}

fn has_address_sanitizer(layout: &Layout) -> bool {
    let libraries = Tool::new("ask where the compiler's libraries are", "rustc")
        .dir(&layout.root)
        .args(["--print", "target-libdir"])
        .output();
    libraries.is_ok_and(|folder| {
        std::fs::read_dir(folder.trim()).is_ok_and(|entries| {
            entries
                .flatten()
                .any(|entry| entry.file_name().to_string_lossy().ends_with("rt.asan.a"))
        })
    })
}

/// Nightly's Cargo by rustup, whatever toolchain runs this.
fn miri(step: &str, layout: &Layout) -> Tool {
    Tool::new(step, "rustup")
        .dir(&layout.root)
        .args(["run", "nightly", "cargo", "miri"])
}

/// `test` of the packages' own tests, without documentation.
fn packages(tool: Tool, packages: &[&str]) -> Tool {
    packages.iter().fold(
        tool.args(["test", "--locked", "--lib", "--tests"]),
        |tool, package| tool.args(["--package", package]),
    )
}
