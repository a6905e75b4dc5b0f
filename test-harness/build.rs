//! Gives `headroom.exe` its version resource: what Explorer's details show, and by which a report of a crash tells builds apart.

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    versioninfo::link_program("headroom.exe", "Headroom")
}
