//! The command's exit status and what it says.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod core;

use core::compile;
use std::path::Path;
use std::process::{Command, Output};

fn ntbench(arguments: &[&str], image: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ntbench"));
    command
        .arg(arguments[0])
        .arg(image)
        .args(&arguments[1..])
        .output()
        .expect("the command runs")
}

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_good_driver_is_success() {
    let output = ntbench(&["run", "--keep-loaded"], &compile("limits", &[]));
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
    assert!(out(&output).contains("STATUS_SUCCESS"), "{}", out(&output));
}

#[test]
fn a_bug_check_is_failure_with_a_listing() {
    let output = ntbench(&["run"], &compile("recurse", &[]));
    assert_eq!(output.status.code(), Some(1));
    let text = out(&output);
    assert!(
        text.contains("BUG CHECK 0x7F UNEXPECTED_KERNEL_MODE_TRAP"),
        "{text}"
    );
    assert!(text.contains("recurse!recurse+"), "{text}");
}

#[test]
fn a_forced_failure_reaches_the_driver() {
    let fault = "KeExpandKernelStackAndCalloutEx=STATUS_NO_MEMORY@1";
    let output = ntbench(
        &["run", "--keep-loaded", "--fault", fault],
        &compile("raised", &[]),
    );
    assert_eq!(output.status.code(), Some(1));
    assert!(
        out(&output).contains("STATUS_NO_MEMORY"),
        "{}",
        out(&output)
    );
}

#[test]
fn what_cannot_be_tried_is_told_apart() {
    let output = ntbench(&["run"], Path::new("/nonexistent/some.sys"));
    assert_eq!(output.status.code(), Some(2));
    assert!(
        err(&output).contains("/nonexistent/some.sys"),
        "{}",
        err(&output)
    );
    let output = ntbench(
        &["run", "--fault", "ExAllocatePool2=STATUS_NONSENSE"],
        Path::new("some.sys"),
    );
    assert_eq!(output.status.code(), Some(2));
    assert!(err(&output).contains("STATUS_NONSENSE"), "{}", err(&output));
}

#[test]
fn imports_are_listed_with_what_is_missing() {
    let output = ntbench(&["imports"], &compile("unknown", &[]));
    assert_eq!(output.status.code(), Some(1));
    let text = out(&output);
    assert!(
        text.contains("NoSuchFunction  MISSING") && text.contains("2 missing"),
        "{text}"
    );
    let output = ntbench(&["imports"], &compile("limits", &[]));
    assert_eq!(output.status.code(), Some(0), "{}", out(&output));
}
