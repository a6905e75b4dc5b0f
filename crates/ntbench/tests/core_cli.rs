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

/// An INF for the driver `limits`, with one value that it may have any content.
fn inf(folder: &Path, value: &str) -> std::path::PathBuf {
    let file = folder.join("limits.inf");
    let text = format!(
        "[Version]\nSignature=\"$Windows NT$\"\n[DefaultInstall.NT$ARCH$.10.0...25952]\n\
         [DefaultInstall.NT$ARCH$.10.0...25952.Services]\nAddService = svc,,Service\n\
         [Service]\nServiceType=2\nStartType=3\nServiceBinary=%12%\\limits.sys\nAddReg=Registry\n\
         [Registry]\nHKR,\"Instances\",\"DefaultInstance\",0,\"Top\"\n\
         HKR,\"Instances\\Top\",\"Altitude\",0,\"365000.25\"\nHKR,\"Parameters\",{value}\n"
    );
    std::fs::write(&file, text).expect("the INF is written");
    file
}

#[test]
fn an_inf_says_which_service_a_driver_finds() {
    let image = compile("limits", &[]);
    let folder = image.parent().expect("a folder");
    let run = |file: &Path, more: &[&str]| {
        let mut arguments = vec!["run", "--keep-loaded", "--inf"];
        let file = file.to_string_lossy().into_owned();
        arguments.push(&file);
        arguments.extend(more);
        ntbench(&arguments, &image)
    };

    let file = inf(folder, "\"Level\",0x00010001,7");
    let output = run(&file, &["--windows", "26100"]);
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
    let text = out(&output);
    for said in [
        "[DefaultInstall.NTamd64.10.0...25952] installs ",
        " svc, instance Top at 365000.25\n",
    ] {
        assert!(text.contains(said), "{text}");
    }

    for (file, more, expected) in [
        (
            file.as_path(),
            &["--windows", "17763"][..],
            "[DefaultInstall.NTamd64.10.0...17763]",
        ),
        (Path::new("no.inf"), &[], "no.inf:1:1: cannot be read"),
        (image.as_path(), &[], "cannot stand in an INF file"),
    ] {
        let output = run(file, more);
        assert_eq!(output.status.code(), Some(2), "{}", out(&output));
        assert!(err(&output).contains(expected), "{}", err(&output));
    }
    let file = inf(folder, "\"Level\",0,x");
    let output = ntbench(
        &[
            "run",
            "--windows",
            "26100",
            "--inf",
            &file.to_string_lossy(),
        ],
        &compile("raised", &[]),
    );
    assert_eq!(output.status.code(), Some(2));
    assert!(
        err(&output).contains("installs limits.sys, not raised.sys"),
        "{}",
        err(&output)
    );
}
