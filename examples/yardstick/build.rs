//! Configures the link of `yardstick.sys`.

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

    // What Explorer's details and the debugger's `lm v` show.
    let product = Product {
        name: "yardstick",
        company: "The Headroom project",
        description: &env::var("CARGO_PKG_DESCRIPTION")?,
        copyright: "MIT or Apache-2.0",
    };
    let version = env::var("CARGO_PKG_VERSION")?;
    let info = VersionInfo::new(Kind::Driver, "yardstick.sys", &version, &product);
    let file = PathBuf::from(env::var("OUT_DIR")?).join("version.res");
    fs::write(&file, info.to_resource_file())?;
    println!("cargo::rustc-cdylib-link-arg={}", file.display());
    Ok(())
}
