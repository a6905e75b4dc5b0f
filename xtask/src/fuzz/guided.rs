//! Guided runs: libFuzzer, with the compiler's own coverage counters in every crate.
//!
//! No nightly compiler and no cargo-fuzz: the passes that count are LLVM's and can be asked for by stable options; libfuzzer-sys brings the
//! engine as C++ sources. The counters must not be in build scripts, which is why the target is named.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use super::{images, keep, program, with_images};
use crate::{host, layout::Layout, run::Tool, setup};

const TARGET: &str = "x86_64-unknown-linux-gnu";

/// Edges with counters, the table of their places, and what is compared with what.
const COVERAGE: &str = "--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares";

/// The profile of what tells the targets, writes their seeds and makes inputs smaller: built already, by whoever has run the tests.
const PREPARED: &str = "dev";

/// The longest input that is kept in the repository.
const LONGEST_KEPT: usize = 4096;
/// Memory that an input may take, in MB: a driver's image may be as large as 1 GB.
const MEMORY: u32 = 6144;

/// Runs each of the targets for so long, one after the other.
pub(super) fn run(layout: &Layout, targets: &[String], minutes: f64, kept: bool) -> Result<()> {
    let images = images(layout)?;
    setup::ensure_cpp()?;
    let list = with_images(program(layout, PREPARED, &images).arg("list"), &images).output()?;
    let guided: Vec<&str> = list
        .lines()
        .filter(|line| !line.contains("seeded runs only"))
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    let chosen: Vec<&str> = if targets.is_empty() {
        guided.clone()
    } else {
        targets.iter().map(String::as_str).collect()
    };
    if let Some(unknown) = chosen.iter().find(|name| !guided.contains(name)) {
        bail!(
            "{unknown} cannot be guided by coverage; these can: {}",
            guided.join(", ")
        );
    }
    let binary = build(layout)?;
    let mut broken = Vec::new();
    for name in chosen {
        println!("\n=== {name}");
        let work = layout.out().join("fuzz").join(name);
        let found = work.join("found");
        fs::create_dir_all(&found).with_context(|| found.display().to_string())?;
        program(layout, PREPARED, &images)
            .args(["seeds", name])
            .arg(work.join("seeds"))
            .run()?;
        let artefacts = work.join("broke-");
        let outcome = engine(layout, &binary, name, &images)
            .arg(&found)
            .arg(work.join("seeds"))
            .arg(format!("-artifact_prefix={}", artefacts.display()))
            .arg(format!("-max_total_time={:.0}", minutes * 60.0))
            .args([
                "-print_final_stats=1",
                "-timeout=20",
                "-use_value_profile=1",
            ])
            .run();
        if let Err(error) = outcome {
            eprintln!("{error:#}");
            broken.push(name);
            smaller(layout, &images, name, &work)?;
        } else if kept {
            merge(layout, &binary, name, &images, &work)?;
        }
    }
    if broken.is_empty() {
        return Ok(());
    }
    bail!(
        "inputs broke {}; they lie in fuzz/corpus now, made smaller",
        broken.join(", ")
    )
}

/// Builds the target program with counters, beside the ordinary builds.
fn build(layout: &Layout) -> Result<PathBuf> {
    let folder = layout.out().join("cargo-fuzz");
    eprintln!("building with coverage counters");
    host::cargo("build with coverage counters", layout)
        .args(["build", "--quiet", "--locked", "--profile", "fuzz"])
        .args([
            "--package",
            "fuzz",
            "--features",
            "guided",
            "--bin",
            "guided",
        ])
        .args(["--target", TARGET])
        .arg("--target-dir")
        .arg(&folder)
        .env("RUSTFLAGS", COVERAGE)
        .remedy("it takes a C++ compiler: apt-get install g++")
        .run()?;
    Ok(folder.join(TARGET).join("fuzz").join("guided"))
}

fn engine(layout: &Layout, binary: &Path, name: &str, images: &[(String, PathBuf)]) -> Tool {
    let tool = Tool::new(format!("fuzz {name}"), binary)
        .dir(&layout.root)
        .env("FUZZ_TARGET", name)
        .arg(format!("-rss_limit_mb={MEMORY}"))
        .arg(format!("-malloc_limit_mb={MEMORY}"))
        .remedy("what broke is told above");
    with_images(tool, images)
}

/// Moves what broke something into the corpus, made smaller.
fn smaller(layout: &Layout, images: &[(String, PathBuf)], name: &str, work: &Path) -> Result<()> {
    let corpus = layout.root.join("fuzz").join("corpus").join(name);
    fs::create_dir_all(&corpus)?;
    for entry in fs::read_dir(work)? {
        let path = entry?.path();
        let file = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if !file.starts_with("broke-") {
            continue;
        }
        let kept = corpus.join(&file);
        fs::rename(&path, &kept)?;
        // One that breaks only an instrumented program stays as it is.
        if let Err(error) = program(layout, PREPARED, images)
            .args(["minimise", name])
            .arg(&kept)
            .run()
        {
            eprintln!("{error:#}");
        }
    }
    Ok(())
}

/// Adds to the corpus what reaches code that its inputs do not.
fn merge(
    layout: &Layout,
    binary: &Path,
    name: &str,
    images: &[(String, PathBuf)],
    work: &Path,
) -> Result<()> {
    let corpus = layout.root.join("fuzz").join("corpus").join(name);
    fs::create_dir_all(&corpus)?;
    let control = work.join("control");
    if control.exists() {
        // It would go on where that one ended.
        fs::remove_file(&control)?;
    }
    // What the engine adds to its first folder is not what is kept: that one is thrown away.
    let merged = work.join("merged");
    if merged.exists() {
        fs::remove_dir_all(&merged)?;
    }
    fs::create_dir(&merged)?;
    for seed in fs::read_dir(work.join("seeds"))? {
        let seed = seed?;
        fs::copy(seed.path(), merged.join(seed.file_name()))?;
    }
    engine(layout, binary, name, images)
        .args(["-merge=1", &format!("-max_len={LONGEST_KEPT}")])
        .arg(format!("-merge_control_file={}", control.display()))
        .arg(&merged)
        .arg(work.join("found"))
        .run()?;
    let (kept, of) = keep::keep(&control, &corpus, LONGEST_KEPT)?;
    println!("{name}: {kept} of {of} inputs reach new code, and lie in the corpus now");
    Ok(())
}
