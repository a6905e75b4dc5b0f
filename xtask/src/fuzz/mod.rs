//! `cargo xtask fuzz`: seeded runs of the fuzz targets, or guided ones for as long as one likes.

mod guided;
mod keep;

use std::path::PathBuf;

use anyhow::{Result, bail};

use crate::{driver, host, layout::Layout, run::Tool, setup};

/// The driver, and the example whose image and symbols are small.
const DRIVERS: [(&str, &str); 2] = [
    ("headroom", "HEADROOM_SYS"),
    ("create-logger", "EXAMPLE_CREATE_LOGGER_SYS"),
];

/// What to run.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Targets; without any, all (`--list` tells them)
    targets: Vec<String>,
    /// Tell the targets
    #[arg(long)]
    list: bool,
    /// The short run of each target that `cargo xtask test` has: unoptimised, a few thousand inputs, the same each time
    #[arg(long, conflicts_with_all = ["minutes", "count"])]
    quick: bool,
    /// How many seeded inputs each target reads, optimised
    #[arg(long, conflicts_with = "minutes")]
    count: Option<u64>,
    /// What the inputs are made from
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Guided by coverage, this long for each target
    #[arg(long)]
    minutes: Option<f64>,
    /// After a guided run, add to the corpus what reaches code that its inputs do not
    #[arg(long, requires = "minutes")]
    keep: bool,
}

/// Runs it.
pub(crate) fn run(layout: &Layout, args: &Args) -> Result<()> {
    if args.list {
        return program(layout, "dev", &images(layout)?).arg("list").run();
    }
    if let Some(minutes) = args.minutes {
        return guided::run(layout, &args.targets, minutes, args.keep);
    }
    let (profile, count) = if args.quick {
        ("dev", None)
    } else {
        ("fuzz", args.count)
    };
    seeded(
        layout,
        profile,
        &images(layout)?,
        &args.targets,
        args.seed,
        count,
    )
}

/// The short run of all targets, with drivers that are built already.
pub(crate) fn quick(layout: &Layout, images: &[(String, PathBuf)]) -> Result<()> {
    seeded(layout, "dev", images, &[], 1, None)
}

fn seeded(
    layout: &Layout,
    profile: &str,
    images: &[(String, PathBuf)],
    targets: &[String],
    seed: u64,
    count: Option<u64>,
) -> Result<()> {
    let mut tool = program(layout, profile, images)
        .arg("run")
        .args(targets)
        .args(["--seed", &seed.to_string()]);
    if let Some(count) = count {
        tool = tool.args(["--count", &count.to_string()]);
    }
    tool.remedy("mend what the input broke; it lies in fuzz/corpus already: give it a name that says what it is, and commit it")
        .run()
}

/// The crate's command.
fn program(layout: &Layout, profile: &str, images: &[(String, PathBuf)]) -> Tool {
    let tool = host::cargo("fuzz", layout).args([
        "run",
        "--quiet",
        "--locked",
        "--profile",
        profile,
        "--package",
        "fuzz",
        "--bin",
        "fuzz",
        "--",
    ]);
    with_images(tool, images)
}

fn with_images(tool: Tool, images: &[(String, PathBuf)]) -> Tool {
    let tool = tool.env("RUST_BACKTRACE", "0");
    images
        .iter()
        .fold(tool, |tool, (variable, sys)| tool.env(variable, sys))
}

/// Builds the drivers whose images are inputs, or run.
fn images(layout: &Layout) -> Result<Vec<(String, PathBuf)>> {
    if !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        bail!("fuzzing runs on x86-64 Linux, as ntbench does");
    }
    let toolchain = setup::ensure(layout, setup::Options::default())?;
    DRIVERS
        .into_iter()
        .map(|(package, variable)| {
            let target = layout.driver_target();
            let built = driver::build(&toolchain, layout, package, &target, &layout.out())?;
            Ok((variable.to_owned(), built.sys))
        })
        .collect()
}
