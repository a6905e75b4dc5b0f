//! `cargo xtask bench`: builds the driver, the empty filter and the benchmark, and measures.

use std::ffi::OsString;

use anyhow::Result;

use crate::{driver, host, layout::Layout, setup};

/// The empty filter, with routines around single steps.
const YARDSTICK: &str = "yardstick";

/// How the benchmark is compiled.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Build {
    /// Optimised, as figures are to be.
    Optimised,
    /// As tests are, which are compiled anyway: ratios tell something then, times do not.
    AsTests,
}

/// Builds what is needed and measures; `args` are the benchmark's own.
pub(crate) fn run(layout: &Layout, build: Build, args: &[OsString]) -> Result<()> {
    let toolchain = setup::ensure(layout, setup::Options::default())?;
    let image = |package| {
        let target = layout.driver_target();
        driver::build(&toolchain, layout, package, &target, &layout.out())
    };
    let (headroom, yardstick) = (image("headroom")?, image(YARDSTICK)?);
    let profile = match build {
        Build::Optimised => host::PROFILE,
        Build::AsTests => "dev",
    };
    eprintln!("building the benchmark");
    let cargo = |step: &str, verb: &str| {
        host::cargo(step, layout).args([
            verb,
            "--quiet",
            "--locked",
            "--profile",
            profile,
            "--package",
            "headroom-bench",
        ])
    };
    cargo("build the benchmark", "build").run()?;
    let out = layout.out();
    let named = |name: &str| args.iter().any(|arg| arg == name);
    let scale = named("--scale");
    let mut tool = cargo("measure", "run")
        .arg("--")
        .arg("--driver")
        .arg(&headroom.sys)
        .arg("--yardstick")
        .arg(&yardstick.sys);
    if !named("--json") {
        let name = if scale { "scale.json" } else { "bench.json" };
        tool = tool.arg("--json").arg(out.join(name));
    }
    if scale && !named("--images") && !named("--page") {
        tool = tool.arg("--images").arg(out.join("scale"));
    }
    tool.args(args)
        .remedy(
            "the aims that were missed stand above; a busy machine moves times, and ratios less",
        )
        .run()
}
