//! This program under its other names: what Cargo and rustc call while a driver is built on a machine that is not Windows.
//!
//! `cargo xtask setup` puts copies of this program into `target/headroom/toolchain/bin`. Called by one of those names it is
//!
//! * `headroom-rustc`, Cargo's `RUSTC_WRAPPER`: adapts the two *host* crates that refuse to compile off Windows ([`adapt`]) and adds the
//!   sysroot and the path names for the driver's target ([`rustc`]); every other call goes through untouched;
//! * `lld-link`, rustc's linker: runs the real one in a directory of stable names ([`link`]), so that the image and its .pdb
//!   come out the same wherever they are built.
//!
//! Neither Cargo.toml nor Cargo.lock knows of this, and a Windows build has none of it.

pub(crate) mod adapt;
pub(crate) mod link;
pub(crate) mod rustc;

use std::{path::Path, process::ExitCode};

/// The name for acting as `RUSTC_WRAPPER`.
pub(crate) const RUSTC_NAME: &str = "headroom-rustc";
/// The name for acting as the linker; rustc tells from it which command line to write.
pub(crate) const LINK_NAME: &str = "lld-link";

/// Holds the file of arguments for the driver's target.
pub(crate) const ARGS_VARIABLE: &str = "HEADROOM_RUSTC_ARGS";
/// Holds the path of the real lld.
pub(crate) const LLD_VARIABLE: &str = "HEADROOM_LLD";
/// Holds the directory for adapted sources.
pub(crate) const ADAPTED_VARIABLE: &str = "HEADROOM_ADAPTED";

/// Acts as a helper if this program was called by a helper's name.
pub(crate) fn dispatch() -> Option<ExitCode> {
    let mut args = std::env::args_os();
    let called = args.next()?;
    let called = Path::new(&called).file_name()?.to_str()?.to_owned();
    let (done, who) = match &*called {
        RUSTC_NAME => (rustc::run(args.collect()), "Headroom's rustc wrapper"),
        LINK_NAME => (link::run(args.collect()), "Headroom's linker wrapper"),
        _ => return None,
    };
    Some(done.unwrap_or_else(|error| {
        eprintln!("error: {who}: {error:#}");
        ExitCode::FAILURE
    }))
}

/// A variable that `cargo xtask` sets.
fn variable(name: &str) -> anyhow::Result<std::path::PathBuf> {
    let value = std::env::var_os(name).map(std::path::PathBuf::from);
    value.ok_or_else(|| {
        anyhow::anyhow!(
            "{name} is not set; build with `cargo xtask build`, or inside `cargo xtask env`"
        )
    })
}
