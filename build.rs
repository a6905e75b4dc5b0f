//! Configures the link of `headroom.sys`.

use std::{env, error::Error, fs, path::PathBuf};

use versioninfo::{Kind, Product, VersionInfo};

fn main() -> Result<(), Box<dyn Error>> {
    wdk_build::configure_wdk_binary_build()?;

    // What wdk-build leaves open:
    for argument in [
        // The loader refuses a driver whose header checksum is wrong. link.exe writes it for every /DRIVER, lld only when told to.
        "/RELEASE",
        // Digests instead of times, so that the same source gives the same bytes.
        "/BREPRO",
    ] {
        println!("cargo::rustc-cdylib-link-arg={argument}");
    }
    version_resource()?;
    if cfg!(not(windows)) {
        stand_in_for_rpcrt4()?;
    }
    Ok(())
}

/// What Explorer's details and the debugger's `lm v` show.
fn version_resource() -> Result<(), Box<dyn Error>> {
    let product = Product {
        name: "Headroom",
        company: "The Headroom project",
        description: &env::var("CARGO_PKG_DESCRIPTION")?,
        copyright: "MIT or Apache-2.0",
    };
    let version = env::var("CARGO_PKG_VERSION")?;
    let info = VersionInfo::new(Kind::Driver, "headroom.sys", &version, &product);
    let file = PathBuf::from(env::var("OUT_DIR")?).join("version.res");
    fs::write(&file, info.to_resource_file())?;
    println!("cargo::rustc-cdylib-link-arg={}", file.display());
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
