//! `cargo xtask test`: everything that must hold before a change is shown to others.

use std::path::Path;

use anyhow::Result;

use crate::{driver, host, layout::Layout, setup, steps::Steps};

/// The variable by which tests find the driver's image.
pub(crate) const DRIVER_VARIABLE: &str = "HEADROOM_SYS";

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
    let set_up = || {
        setup::ensure_test_tools(layout)?;
        setup::ensure(layout, options)
    };
    let Some(toolchain) = steps.run("set up", set_up) else {
        for name in [
            "build the driver",
            "build it again",
            "lint, driver",
            "tests",
        ] {
            steps.skip(name, "the toolchain could not be set up");
        }
        return steps.finish("cargo xtask test");
    };
    let built = steps.run("build the driver", || {
        driver::build_and_inspect(&toolchain, layout, "headroom")
    });
    if cfg!(windows) {
        steps.skip(
            "build it again",
            "link.exe writes its command line into the .pdb; proven on Linux",
        );
    } else {
        steps.run("build it again", || {
            driver::reproduce(&toolchain, layout, "headroom")
        });
    }
    steps.run("lint, driver", || driver::clippy(&toolchain, layout));
    match built {
        Some(built) => tests(&mut steps, layout, &built.sys),
        None => steps.skip("tests", "they run the driver, which was not built"),
    }
    steps.finish("cargo xtask test")
}

/// The tests of every default member, against the driver's image.
fn tests(steps: &mut Steps, layout: &Layout, sys: &Path) {
    let remedy = format!(
        "{DRIVER_VARIABLE}={} cargo test -p <package> <test>",
        sys.display()
    );
    if host::has_nextest() {
        steps.run("tests", || {
            host::cargo("test", layout)
                .args(["nextest", "run", "--locked", "--no-fail-fast"])
                .env(DRIVER_VARIABLE, sys)
                .remedy(&remedy)
                .run()
        });
        steps.run("documentation tests", || {
            host::cargo("test the documentation", layout)
                .args(["test", "--locked", "--doc"])
                .env(DRIVER_VARIABLE, sys)
                .run()
        });
    } else {
        steps.run("tests", || {
            host::cargo("test", layout)
                .args(["test", "--locked", "--no-fail-fast"])
                .env(DRIVER_VARIABLE, sys)
                .remedy(&remedy)
                .run()
        });
    }
}
