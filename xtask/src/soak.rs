//! `cargo xtask soak`: the driver under random scenarios, with everything going wrong at once.

use std::ffi::OsString;

use anyhow::Result;

use crate::{driver, host, layout::Layout, setup};

/// Builds the driver, unless the arguments name one, and the soak, and runs that with the arguments.
pub(crate) fn run(layout: &Layout, options: setup::Options, args: &[OsString]) -> Result<()> {
    let names_a_driver = |arg: &OsString| {
        let arg = arg.to_string_lossy();
        arg == "--driver" || arg.starts_with("--driver=")
    };
    if !args.iter().any(names_a_driver) {
        let toolchain = setup::ensure(layout, options)?;
        driver::build(
            &toolchain,
            layout,
            "headroom",
            &layout.driver_target(),
            &layout.out(),
        )?;
    }
    host::cargo("run the soak", layout)
        .args(["run", "--quiet", "--locked", "--profile", host::PROFILE])
        .args(["--package", "soak", "--"])
        .args(args)
        .remedy("what did not hold, and the command that plays its round again, stand above")
        .run()
}
