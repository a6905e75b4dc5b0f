//! Gives `headroom.exe` its version resource: what Explorer's details show, and by which a report of a crash tells builds apart.

use std::error::Error;
use std::path::PathBuf;
use std::{env, fs};

use versioninfo::{Kind, Product, VersionInfo};

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    if env::var("CARGO_CFG_TARGET_OS")? != "windows" {
        return Ok(());
    }
    let product = Product {
        name: "Headroom",
        company: "The Headroom project",
        description: &env::var("CARGO_PKG_DESCRIPTION")?,
        copyright: "MIT or Apache-2.0",
    };
    let version = env::var("CARGO_PKG_VERSION")?;
    let info = VersionInfo::new(Kind::Application, "headroom.exe", &version, &product);
    // link.exe and lld-link take the resource as it is; GNU ld takes objects only.
    let (name, bytes) = if env::var("CARGO_CFG_TARGET_ENV")? == "msvc" {
        ("version.res", info.to_resource_file())
    } else {
        ("version.o", info.to_object_file())
    };
    let file = PathBuf::from(env::var("OUT_DIR")?).join(name);
    fs::write(&file, bytes)?;
    println!("cargo::rustc-link-arg-bins={}", file.display());
    Ok(())
}
