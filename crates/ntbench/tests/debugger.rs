//! A debugger finds a driver's functions by their names and lines before `DriverEntry` runs, and walks its frames.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod core;

use core::clang;
use std::path::{Path, PathBuf};
use std::process::Command;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/gdb/ntbench.gdb");

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/drivers/debugged.c")
}

/// The number of the first line that has this text.
fn line(text: &str) -> usize {
    let source = std::fs::read_to_string(source()).expect("the source");
    let index = source.lines().position(|line| line.contains(text));
    index.expect("such a line") + 1
}

/// What gdb prints for these commands, as `docs/ntbench.md` has them; `None`: there is no gdb, or it may not attach.
fn gdb(image: &Path, commands: &[&str]) -> Option<String> {
    if Command::new("gdb").arg("--version").output().is_err() {
        println!("skipped: gdb is not installed (apt install gdb)");
        return None;
    }
    let output = Command::new("gdb")
        .args(["-q", "-nx", "-batch", "-x", SCRIPT])
        .args(commands.iter().flat_map(|command| ["-ex", command]))
        .args(["--args", env!("CARGO_BIN_EXE_ntbench")])
        .args(["run", "--keep-loaded", "--debugger"])
        .arg(image)
        .output()
        .expect("gdb runs");
    let out = String::from_utf8_lossy(&output.stdout).into_owned();
    let err = String::from_utf8_lossy(&output.stderr);
    if err.contains("ptrace") && err.contains("not permitted") {
        println!(
            "skipped: this system lets no debugger attach ({})",
            err.trim()
        );
        return None;
    }
    Some(format!("{out}\n{err}"))
}

#[test]
fn gdb_stops_where_a_driver_begins() {
    let image = core::compile("limits", &[]);
    let commands = ["break DriverEntry", "run", "info symbol $rip", "continue"];
    let Some(out) = gdb(&image, &commands) else {
        return;
    };
    assert!(out.contains("hit Breakpoint 1"), "{out}");
    assert!(out.contains("in DriverEntry ()"), "{out}");
}

#[test]
fn gdb_shows_lines_and_walks_every_frame() {
    let image = clang::driver(&source(), "debugged", &[], &[]);
    let commands = [
        "break leaf",
        "run",
        "backtrace",
        "list",
        "up 2",
        "info registers rip",
        "continue",
        "backtrace 1",
    ];
    let Some(out) = gdb(&image, &commands) else {
        return;
    };
    let first = line("the leaf's first line");
    let frames = [
        format!("leaf () at {}:{first}", source().display()),
        format!(
            "in fixed () at {}:{}",
            source().display(),
            line("leaf(a * 2)")
        ),
        format!(
            "in variable () at {}:{}",
            source().display(),
            line("return fixed(")
        ),
        format!(
            "in DriverEntry () at {}:{}",
            source().display(),
            line("variable(large)")
        ),
    ];
    let mut rest = out.as_str();
    for (number, frame) in frames.iter().enumerate() {
        let at = rest.find(&format!("#{number} "));
        let at = at.unwrap_or_else(|| panic!("frame {number} is missing:\n{out}"));
        rest = &rest[at..];
        let shown = rest.lines().next().expect("a line");
        assert!(shown.contains(frame.as_str()), "{frame}: {shown}\n{out}");
    }
    // What calls DriverEntry is the bench, whose frames lie on another stack: there it ends.
    assert!(!out.contains("#6 "), "{out}");
    assert!(!out.contains("Backtrace stopped"), "{out}");
    assert!(
        out.contains("/* the leaf's first line */"),
        "the source: {out}"
    );
}

#[test]
fn gdb_stops_at_a_line_and_steps() {
    let image = clang::driver(&source(), "debugged", &[], &[]);
    let stop = format!("break debugged.c:{}", line("space[0] = 1"));
    let commands = [stop.as_str(), "run", "next", "next", "finish"];
    let Some(out) = gdb(&image, &commands) else {
        return;
    };
    assert!(out.contains("variable () at"), "{out}");
    assert!(out.contains("IoGetStackLimits(&low, &high);"), "{out}");
    assert!(out.contains("return fixed("), "{out}");
    assert!(out.contains("in DriverEntry () at"), "{out}");
}

#[test]
fn gdb_goes_on_where_the_bench_called_the_driver() {
    let source = source().with_file_name("crossing.c");
    let image = clang::driver(&source, "crossing", &["-fno-optimize-sibling-calls"], &[]);
    let Some(out) = gdb(&image, &["break innermost", "run", "backtrace"]) else {
        return;
    };
    if out.contains("Python scripting is not supported") {
        println!("skipped: this gdb has no Python");
        return;
    }
    // Each on a segment of its own, or two.
    let functions = ["second", "inner", "first", "outer", "DriverEntry"];
    let places = functions.map(|function| out.find(&format!("in {function} () at")));
    assert!(places.iter().all(Option::is_some), "{out}");
    assert!(places.is_sorted(), "{out}");
    assert!(!out.contains("Backtrace stopped"), "{out}");
}

#[test]
fn lldb_shows_the_same() {
    let lldb = ["lldb", "lldb-19", "lldb-16", "lldb-14"];
    let found = lldb
        .into_iter()
        .find(|name| Command::new(name).arg("--version").output().is_ok());
    let Some(lldb) = found else {
        println!("skipped: lldb is not installed (apt install lldb-19)");
        return;
    };
    let image = clang::driver(&source(), "debugged", &[], &[]);
    let stop = format!(
        "breakpoint set --file debugged.c --line {}",
        line("the leaf's first line")
    );
    let output = Command::new(lldb)
        .args(["--batch", "--no-lldbinit", "--source"])
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/gdb/ntbench.lldb"))
        .args(["-o", &stop])
        .args(["-o", "run", "-o", "bt", "-o", "kill"])
        .args(["--", env!("CARGO_BIN_EXE_ntbench")])
        .args(["run", "--keep-loaded", "--debugger"])
        .arg(&image)
        .output()
        .expect("lldb runs");
    let out = String::from_utf8_lossy(&output.stdout).into_owned();
    let err = String::from_utf8_lossy(&output.stderr);
    if err.contains("not permitted") || err.contains("personality set failed") {
        println!(
            "skipped: this system lets no debugger attach ({})",
            err.trim()
        );
        return;
    }
    let order = [
        "`leaf at debugged.c",
        "`fixed at debugged.c",
        "`variable at debugged.c",
    ];
    let places = order.map(|frame| out.rfind(frame));
    assert!(places.iter().all(Option::is_some), "{out}\n{err}");
    assert!(places.is_sorted(), "{out}\n{err}");
    assert!(out.contains("`DriverEntry at debugged.c"), "{out}\n{err}");
}
