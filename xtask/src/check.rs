//! `cargo xtask test`: everything that must hold before a change is shown to others.

use std::path::PathBuf;

use anyhow::Result;

#[cfg(not(windows))]
use crate::{bench, fuzz, package, wine};
use crate::{
    debugger, driver, driver_inf, host,
    layout::Layout,
    packages,
    run::Tool,
    setup::{self, Toolchain},
    stack_budget,
    steps::Steps,
};

/// The driver's package.
const DRIVER: &str = "headroom";
/// The variable by which tests find the driver's image.
const DRIVER_VARIABLE: &str = "HEADROOM_SYS";
/// The variable by which the bench's own tests find a driver of somebody's to run beside theirs in C.
const BENCH_VARIABLE: &str = "NTBENCH_DRIVER";
/// The variable by which tests find a browser.
const BROWSER_VARIABLE: &str = "HEADROOM_CHROMIUM";
/// Drivers for tests to run: the variable that names each, and its image.
type Images = Vec<(String, PathBuf)>;

/// Runs all of it.
pub(crate) fn run(layout: &Layout, options: setup::Options) -> Result<()> {
    let mut steps = Steps::default();
    steps.run("format", || {
        host::ensure_subcommand(layout, "fmt")?;
        host::cargo("check the format", layout)
            .args(["fmt", "--all", "--check"])
            .remedy("cargo fmt --all")
            .run()
    });
    steps.run("lint, host", || {
        host::ensure_subcommand(layout, "clippy")?;
        host::cargo("lint for this machine", layout)
            .args([
                "clippy",
                "--locked",
                "--all-targets",
                "--",
                "-D",
                "warnings",
            ])
            .remedy("mend what clippy found; the workspace's lint wall stands in Cargo.toml")
            .run()
    });
    steps.run("documentation", || {
        host::cargo("document", layout)
            .args(["doc", "--locked", "--no-deps"])
            .env("RUSTDOCFLAGS", "-D warnings")
            .remedy("mend the links and markup that rustdoc found")
            .run()
    });
    steps.run("INF", || driver_inf::run(layout, None));
    // Before the tests that look for Node.js: this installs it.
    steps.run("tests, debugger", || debugger::run(layout));
    let set_up = || {
        setup::ensure_test_tools(layout)?;
        setup::ensure(layout, options)
    };
    let Some(toolchain) = steps.run("set up", set_up) else {
        for name in [
            "build the driver",
            "build it again",
            "stack budget",
            "lint, driver",
            "example drivers",
            "headroom.exe and Wine",
            "tests",
        ] {
            steps.skip(name, "the toolchain could not be set up");
        }
        pure_tests(&mut steps, layout);
        return steps.finish("cargo xtask test");
    };
    let built = steps.run("build the driver", || {
        driver::build_and_inspect(&toolchain, layout, DRIVER)
    });
    match &built {
        Some(built) => {
            steps.run("stack budget", || {
                stack_budget::run(layout, DRIVER, &built.sys)
            });
        }
        None => steps.skip("stack budget", "it is the driver's, which was not built"),
    }
    if cfg!(windows) {
        steps.skip(
            "build it again",
            "link.exe writes its command line into the .pdb; proven on Linux",
        );
    } else {
        steps.run("build it again", || {
            driver::reproduce(&toolchain, layout, DRIVER)
        });
    }
    steps.run("lint, driver", || driver::clippy(&toolchain, layout));
    let mut images = steps
        .run("example drivers", || examples(&toolchain, layout))
        .unwrap_or_default();
    #[cfg(not(windows))]
    benchmark(&mut steps, layout, built.is_some());
    #[cfg(not(windows))]
    under_wine(&mut steps, layout, options, &mut images, built.as_ref());
    // What looks at pages skips itself, and says so, where no browser can be had.
    match setup::ensure_browser() {
        Ok(browser) => images.push((BROWSER_VARIABLE.to_owned(), browser)),
        Err(error) => steps.skip("find a browser", &format!("{error:#}")),
    }
    match built {
        Some(built) => {
            images.push((BENCH_VARIABLE.to_owned(), built.sys.clone()));
            images.push((DRIVER_VARIABLE.to_owned(), built.sys));
            #[cfg(not(windows))]
            steps.run("fuzzing, quick", || fuzz::quick(layout, &images));
            tests(&mut steps, layout, &images);
        }
        None => steps.skip("tests", "they run the driver, which was not built"),
    }
    pure_tests(&mut steps, layout);
    steps.finish("cargo xtask test")
}

/// That the benchmark runs, and that the ratios which tell most are not far from what they have to be.
#[cfg(not(windows))]
fn benchmark(steps: &mut Steps, layout: &Layout, built: bool) {
    if built {
        steps.run("benchmark, quick", || {
            bench::run(layout, bench::Build::AsTests, &["--quick".into()])
        });
    } else {
        steps.skip(
            "benchmark, quick",
            "it measures the driver, which was not built",
        );
    }
}

/// Builds headroom.exe, lints and tests what it calls Windows with, and lets the harness's tests find it and Wine.
#[cfg(not(windows))]
fn under_wine(
    steps: &mut Steps,
    layout: &Layout,
    options: setup::Options,
    images: &mut Images,
    driver: Option<&driver::Built>,
) {
    let built = steps.run("headroom.exe and Wine", || wine::ensure(layout, options));
    let Some(wine) = built else {
        steps.skip("lint, headroom.exe", "it could not be built");
        steps.skip("tests, Windows calls", "they run under Wine");
        steps.skip("package", "headroom.exe could not be built");
        return;
    };
    steps.run("lint, headroom.exe", || wine.lint(layout));
    steps.run("tests, Windows calls", || wine.test_calls(layout));
    match driver {
        Some(driver) => {
            let sources = package::Sources {
                sys: &driver.sys,
                pdb: &driver.pdb,
                program: &wine.program,
            };
            let place = package::install::Wine {
                run: &wine.run,
                prefix: wine.prefix(),
            };
            steps.run("package", || package::check(layout, &sources, &place));
        }
        None => steps.skip("package", "the driver was not built"),
    }
    images.extend(wine.variables());
}

/// Builds the drivers among the examples, each held to the rules for images, and to its stack budget where its manifest has one:
/// what exports single steps to be measured has no path of its own to hold to one.
fn examples(toolchain: &Toolchain, layout: &Layout) -> Result<Images> {
    let mut images = Images::new();
    for package in packages::all(layout)? {
        if package.is_example_driver(layout) {
            let name = &package.name;
            let sys = driver::build_and_inspect(toolchain, layout, name)?.sys;
            if !package.metadata(stack_budget::TABLE).is_null() {
                stack_budget::run(layout, name, &sys)?;
            }
            images.push((example_variable(name), sys));
        }
    }
    Ok(images)
}

/// The variable by which tests find an example's image: `EXAMPLE_CREATE_LOGGER_SYS` for `create-logger`.
fn example_variable(package: &str) -> String {
    format!("EXAMPLE_{}_SYS", package.to_uppercase().replace('-', "_"))
}

/// The tests of every default member, against the drivers' images.
fn tests(steps: &mut Steps, layout: &Layout, images: &Images) {
    let set: Vec<String> = images
        .iter()
        .map(|(variable, sys)| format!("{variable}={}", sys.display()))
        .collect();
    let remedy = format!("{} cargo test -p <package> <test>", set.join(" "));
    let with_images = |tool: Tool| {
        let tool = images
            .iter()
            .fold(tool, |tool, (variable, sys)| tool.env(variable, sys));
        tool.remedy(&remedy).run()
    };
    let args: &[&[&str]] = if host::has_nextest() {
        // It runs no documentation tests.
        &[
            &["nextest", "run", "--locked", "--no-fail-fast"],
            &["test", "--locked", "--doc"],
        ]
    } else {
        &[&["test", "--locked", "--no-fail-fast"]]
    };
    for (args, name) in args.iter().zip(["tests", "documentation tests"]) {
        steps.run(name, || with_images(host::cargo(name, layout).args(*args)));
    }
}

/// Tests that run no driver and are not among the default members' own.
fn pure_tests(steps: &mut Steps, layout: &Layout) {
    steps.run("tests, kernel half", || {
        host::cargo("test the kernel half's layouts on this machine", layout)
            .args(["test", "--locked", "--package", "fltmgr-sys"])
            .run()
    });
    // Not optimised: that would take longer than it saves.
    steps.run("tests, interleavings", || {
        host::cargo("test the recorder with loom", layout)
            .args(["test", "--locked"])
            .args([
                "--package",
                "recorder",
                "--features",
                "loom",
                "--test",
                "loom",
            ])
            .remedy("LOOM_LOG=trace with the same command shows the interleaving that fails")
            .run()
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_examples_variable_is_its_packages_name() {
        assert_eq!(
            example_variable("create-logger"),
            "EXAMPLE_CREATE_LOGGER_SYS"
        );
    }
}
