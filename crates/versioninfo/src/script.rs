//! What the build scripts of this workspace's drivers and programs tell cargo.

use std::{env, error::Error, fs, path::PathBuf};

use crate::{Kind, Product, VersionInfo};

/// Gives the driver that a build script is run for what `wdk-build` leaves open: a header checksum, the same bytes from the same source, and a
/// version resource that calls it `file`, of the product `product`.
///
/// # Errors
///
/// Where this is not a build script's process (cargo's variables are missing), or the resource cannot be written to `OUT_DIR`.
pub fn link_driver(file: &str, product: &str) -> Result<(), Box<dyn Error>> {
    // The loader refuses a driver whose header checksum is wrong. link.exe writes it for every /DRIVER, lld only when told to.
    println!("cargo::rustc-cdylib-link-arg=/RELEASE");
    // Digests instead of times.
    println!("cargo::rustc-cdylib-link-arg=/BREPRO");
    let resource = write(Kind::Driver, file, product)?;
    println!("cargo::rustc-cdylib-link-arg={}", resource.display());
    Ok(())
}

/// Gives the program that a build script is run for a version resource, where it is built for Windows.
///
/// # Errors
///
/// As [`link_driver`].
pub fn link_program(file: &str, product: &str) -> Result<(), Box<dyn Error>> {
    if env::var("CARGO_CFG_TARGET_OS")? == "windows" {
        let resource = write(Kind::Application, file, product)?;
        println!("cargo::rustc-link-arg-bins={}", resource.display());
    }
    Ok(())
}

fn write(kind: Kind, file: &str, product: &str) -> Result<PathBuf, Box<dyn Error>> {
    let product = Product {
        name: product,
        company: "The Headroom project",
        description: &env::var("CARGO_PKG_DESCRIPTION")?,
        copyright: "MIT or Apache-2.0",
    };
    let info = VersionInfo::new(kind, file, &env::var("CARGO_PKG_VERSION")?, &product);
    // link.exe and lld-link take the resource as it is; GNU ld takes objects only.
    let (name, bytes) = if env::var("CARGO_CFG_TARGET_ENV")? == "msvc" {
        ("version.res", info.to_resource_file())
    } else {
        ("version.o", info.to_object_file())
    };
    let path = PathBuf::from(env::var("OUT_DIR")?).join(name);
    fs::write(&path, bytes)?;
    Ok(path)
}
