//! `cargo xtask sanitize`: the tests of the crates that know no kernel, where a compiler or an interpreter watches each access.
//!
//! None is part of `cargo xtask test`: AddressSanitizer's runtime comes with rustup's toolchains, not with Debian's, and Miri with
//! nightly ones alone. So does ThreadSanitizer here, which wants a standard library that is compiled for it: the nightly toolchain's
//! Cargo does that, from the component rust-src.

use std::path::Path;

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
/// Whose tests Miri interprets in a few minutes: they do less where it does, those of many threads included.
const INTERPRETED: [&str; 3] = ["protocol", "recorder", "uncpath"];
/// Whose threads ThreadSanitizer watches: what crosses threads in the driver without a lock.
const THREADED: &str = "recorder";

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
    if has_nightly_sources(layout) {
        steps.run("ThreadSanitizer", || {
            packages(nightly("test with ThreadSanitizer", layout), &[THREADED])
                .args(["-Zbuild-std", "--target", TARGET])
                .env("CARGO_TARGET_DIR", layout.out().join("tsan"))
                .env("RUSTFLAGS", "-Zsanitizer=thread")
                // The workspace's `abort` would build the library twice, for tests and for the rest, and the two collide.
                .env("CARGO_PROFILE_DEV_PANIC", "unwind")
                .run()
        });
    } else {
        steps.skip(
            "ThreadSanitizer",
            "the library's sources are not installed: rustup toolchain install nightly --component rust-src",
        );
    }
    if miri("look for Miri", layout)
        .arg("--version")
        .output()
        .is_ok()
    {
        steps.run("Miri", || {
            packages(miri("interpret with Miri", layout), &INTERPRETED)
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

fn has_nightly_sources(layout: &Layout) -> bool {
    let root = Tool::new("ask where nightly is", "rustup")
        .dir(&layout.root)
        .args(["run", "nightly", "rustc", "--print", "sysroot"])
        .output();
    root.is_ok_and(|root| {
        Path::new(root.trim())
            .join("lib/rustlib/src/rust/library/std")
            .is_dir()
    })
}

/// Nightly's Cargo by rustup, whatever toolchain runs this.
fn nightly(step: &str, layout: &Layout) -> Tool {
    Tool::new(step, "rustup")
        .dir(&layout.root)
        .args(["run", "nightly", "cargo"])
}

fn miri(step: &str, layout: &Layout) -> Tool {
    nightly(step, layout).arg("miri")
}

/// `test` of the packages' own tests, without documentation.
fn packages(tool: Tool, packages: &[&str]) -> Tool {
    packages.iter().fold(
        tool.args(["test", "--locked", "--lib", "--tests"]),
        |tool, package| tool.args(["--package", package]),
    )
}
