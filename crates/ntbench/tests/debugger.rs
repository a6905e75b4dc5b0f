//! A debugger finds a driver's functions by their names, before `DriverEntry` runs.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod core;

use core::compile;
use std::process::Command;

#[test]
fn gdb_stops_where_a_driver_begins() {
    if Command::new("gdb").arg("--version").output().is_err() {
        println!("skipped: gdb is not installed (apt install gdb)");
        return;
    }
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/gdb/ntbench.gdb");
    let output = Command::new("gdb")
        .args(["-q", "-nx", "-batch", "-x", script])
        .args(["-ex", "break DriverEntry", "-ex", "run"])
        .args(["-ex", "info symbol $rip", "-ex", "continue"])
        .args(["--args", env!("CARGO_BIN_EXE_ntbench")])
        .args(["run", "--keep-loaded", "--debugger"])
        .arg(compile("limits", &[]))
        .output()
        .expect("gdb runs");
    let out = String::from_utf8_lossy(&output.stdout);
    let err = String::from_utf8_lossy(&output.stderr);
    if err.contains("ptrace") && err.contains("not permitted") {
        println!(
            "skipped: this system lets no debugger attach ({})",
            err.trim()
        );
        return;
    }
    assert!(out.contains("hit Breakpoint 1"), "{out}\n{err}");
    assert!(out.contains("in DriverEntry ()"), "{out}\n{err}");
}
