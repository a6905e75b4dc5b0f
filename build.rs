//! Configures the link of `headroom.sys`.

use std::{env, error::Error, fs, path::PathBuf};

fn main() -> Result<(), Box<dyn Error>> {
    wdk_build::configure_wdk_binary_build()?;
    versioninfo::link_driver("headroom.sys", "Headroom")?;
    if cfg!(not(windows)) {
        stand_in_for_rpcrt4()?;
    }
    Ok(())
}

/// The tracelogging crate names `rpcrt4` to the linker for a function that makes random GUIDs, which a driver does not
/// call. The Windows SDK has that library; elsewhere an empty one takes its place. A call would not link.
fn stand_in_for_rpcrt4() -> Result<(), Box<dyn Error>> {
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out.join("rpcrt4.lib"), "!<arch>\n")?;
    println!("cargo::rustc-link-search=native={}", out.display());
    Ok(())
}
