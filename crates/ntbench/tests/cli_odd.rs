//! Drivers unlike others: each has a clear outcome and exit status.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod command;
mod model;

use std::path::{Path, PathBuf};
use std::process::Command;

use command::{Ran, file, image, ntbench, shown};
use model::clang;
use serde_json::Value;

/// Where `clang` puts what it makes.
fn scratch() -> PathBuf {
    model::scratch_folder()
}

fn odd(case: u32) -> String {
    image("odd", &[&format!("CASE={case}")])
}

/// The driver's part of a report.
fn driver(ran: &Ran) -> Value {
    ran.json()["drivers"][0].clone()
}

#[test]
fn a_driver_that_is_no_filter_runs_and_goes() {
    let ran = ntbench(&["run", &odd(1), "--scenario", "basic"]);
    assert_eq!(ran.status, 0, "{}\n{}", ran.out, ran.err);
    ran.says("42 operations; no finding");
    let ran = ntbench(&["run", &odd(1), "--scenario", "basic", "--json"]);
    assert_eq!(driver(&ran)["unload"], "STATUS_SUCCESS");
    assert_eq!(driver(&ran)["callbacks"], 0);

    let ran = ntbench(&["run", &odd(2)]);
    assert_eq!(ran.status, 0, "it may stay: {}\n{}", ran.out, ran.err);
    ran.says("odd stays loaded: it has no unload routine");
}

#[test]
fn a_driver_entry_that_fails_raises_or_never_returns_is_told_as_such() {
    let ran = ntbench(&["run", &odd(3), "--scenario", "basic"]);
    assert_eq!(ran.status, 1);
    ran.says("STATUS_NOT_SUPPORTED");
    let ran = ntbench(&["run", &odd(4)]);
    assert_eq!(ran.status, 1);
    ran.says("BUG CHECK 0x7E SYSTEM_THREAD_EXCEPTION_NOT_HANDLED");
    ran.says("odd!DriverEntry+");
    let ran = ntbench(&["run", &odd(5), "--time-limit", "5"]);
    assert_eq!(ran.status, 1);
    ran.says("was in odd!DriverEntry+");
    let ran = ntbench(&["run", &odd(6)]);
    assert_eq!(ran.status, 1);
    ran.says("STATUS_INVALID_PARAMETER");
    ran.says("FLT_REGISTRATION has version 0x0100");
}

#[test]
fn a_second_filter_of_one_driver_is_refused() {
    let ran = ntbench(&["run", &odd(7)]);
    assert_eq!(ran.status, 1);
    ran.says("DriverEntry of odd                       STATUS_FLT_INSTANCE_ALTITUDE_COLLISION");
}

#[test]
fn filters_that_stay_say_why() {
    for (case, flag, unload, status, hint) in [
        (8, None, "STATUS_FLT_DO_NOT_DETACH", 0, "stays loaded"),
        (
            8,
            Some("--stop"),
            "STATUS_FLT_DO_NOT_DETACH",
            0,
            "cannot be stopped",
        ),
        (9, None, "STATUS_SUCCESS", 0, ""),
        (
            9,
            Some("--stop"),
            "STATUS_FLT_DO_NOT_DETACH",
            0,
            "DO_NOT_SUPPORT_SERVICE_STOP",
        ),
        (
            10,
            None,
            "STATUS_FLT_DO_NOT_DETACH",
            0,
            "its callback refused; --stop does not ask",
        ),
        (10, Some("--stop"), "STATUS_SUCCESS", 0, ""),
    ] {
        let image = odd(case);
        let words = ["run", &image].into_iter().chain(flag);
        let words: Vec<&str> = words.collect();
        let ran = ntbench(&words);
        assert_eq!(
            ran.status, status,
            "{case} {flag:?}: {}\n{}",
            ran.out, ran.err
        );
        ran.says(hint);
        assert_eq!(hint.is_empty(), !ran.err.contains("stays loaded"));
        let words: Vec<&str> = words.into_iter().chain(["--json"]).collect();
        assert_eq!(
            driver(&ntbench(&words))["unload"],
            unload,
            "{case} {flag:?}"
        );
    }
}

#[test]
fn a_mandatory_unload_that_is_refused_goes_on_and_is_found() {
    let ran = ntbench(&["run", &odd(12), "--stop"]);
    assert_eq!(ran.status, 1, "{}", ran.out);
    ran.says("unload                                   STATUS_SUCCESS");
    ran.says("finding mandatory-unload-refused: the unload callback of odd returned STATUS_FLT_DO_NOT_DETACH");
    ran.says("to mend it: refuse only where FLTFL_FILTER_UNLOAD_MANDATORY is not set");
}

/// An INF of that service for `odd.sys`, with these lines in its registry section.
fn inf(name: &str, lines: &str) -> String {
    let text = format!(
        "[Version]\nSignature=\"$Windows NT$\"\n[DefaultInstall.NTamd64]\n\
         [DefaultInstall.NTamd64.Services]\nAddService = odd,,Service\n\
         [Service]\nServiceType=2\nStartType=3\nServiceBinary=%12%\\odd.sys\nAddReg=Registry\n\
         [Registry]\n{lines}"
    );
    shown(&file(name, &text))
}

#[test]
fn an_inf_has_no_instances_or_several() {
    let image = odd(11);
    let none = inf("none.inf", "HKR,\"Parameters\",\"Level\",0x00010001,1\n");
    let ran = ntbench(&["run", &image, "--inf", &none]);
    assert_eq!(ran.status, 2, "{}", ran.out);
    ran.says("none.inf:");

    let lacking = inf(
        "lacking.inf",
        "HKR,\"Instances\",\"DefaultInstance\",0,\"Top\"\nHKR,\"Instances\\Bottom\",\"Altitude\",0,\"40000\"\n",
    );
    let ran = ntbench(&["run", &image, "--inf", &lacking]);
    assert_eq!(ran.status, 2, "{}", ran.out);
    ran.says("lacking.inf:");

    let several = inf(
        "several.inf",
        "HKR,\"Instances\",\"DefaultInstance\",0,\"Middle\"\n\
         HKR,\"Instances\\Top\",\"Altitude\",0,\"389000\"\nHKR,\"Instances\\Top\",\"Flags\",0x00010001,0\n\
         HKR,\"Instances\\Middle\",\"Altitude\",0,\"370000\"\nHKR,\"Instances\\Middle\",\"Flags\",0x00010001,0\n\
         HKR,\"Instances\\ByHand\",\"Altitude\",0,\"40000\"\nHKR,\"Instances\\ByHand\",\"Flags\",0x00010001,1\n",
    );
    let words = [
        "run",
        &image,
        "--inf",
        &several,
        "--scenario",
        "basic",
        "--json",
    ];
    let ran = ntbench(&words);
    assert_eq!(ran.status, 0, "{}", ran.err);
    assert_eq!(driver(&ran)["altitude"], "370000", "the default instance's");
    let report = ran.json();
    let steps = report["steps"].as_array().expect("steps");
    let creates = |place: &str| {
        let first = steps
            .iter()
            .find(|step| step["place"] == place && step["operation"] == "create folder");
        first.expect("a step")["callbacks"]["odd"].clone()
    };
    assert_eq!(
        creates("volume C:"),
        2,
        "two instances, one of them only by hand"
    );
    assert_eq!(
        creates(r"share \\server\share"),
        Value::Null,
        "it refused that volume"
    );
}

fn helper(name: &str, link: &[&str]) -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/core/helper.c");
    clang::driver(&source, name, &["-DHELPER"], link)
}

#[test]
fn symbols_are_whole_or_stripped_or_not_there() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/drivers/debugged.c");
    let said = |name: &str, link: &[&str], then: fn(&Path)| {
        let image = clang::driver(&source, name, &[], link);
        then(&image);
        let ran = ntbench(&["imports", &shown(&image)]);
        assert_eq!(ran.status, 0, "{}", ran.err);
        let ran = ntbench(&["run", &shown(&image), "--keep-loaded"]);
        assert_eq!(ran.status, 0, "{name}: {}", ran.err);
        ran
    };
    said("whole", &[], |_| ());
    // The debug directory names a file that is nowhere.
    said("absent", &[], |image| {
        std::fs::remove_file(image.with_extension("pdb")).expect("it was there");
    });
    // Public names alone.
    said("stripped", &["/pdbstripped:stripped.pub.pdb"], |image| {
        let public = image.with_extension("pub.pdb");
        if public.is_file() {
            std::fs::rename(public, image.with_extension("pdb")).expect("renamed");
        }
    });
    said("none", &["/debug:none"], |_| ());
}

#[test]
fn images_that_are_no_drivers_for_this_machine_are_refused_by_name() {
    let refused = |image: &Path, text: &str| {
        let ran = ntbench(&["run", &shown(image)]);
        assert_eq!(ran.status, 2, "{text}: {}", ran.out);
        ran.says(text);
    };
    refused(
        &helper("fixed", &["/dynamicbase:no", "/fixed"]),
        "has no relocations",
    );
    refused(
        &helper("program", &["/subsystem:console"]),
        "is not a kernel-mode driver",
    );
    refused(
        &helper("library", &["/subsystem:windows", "/dll"]),
        "is not a kernel-mode driver",
    );
    for (target, machine, what) in [
        ("i686-pc-windows-msvc", "x86", "is built for"),
        ("aarch64-pc-windows-msvc", "arm64", "is built for"),
    ] {
        refused(&foreign(target, machine), what);
    }
    refused(&file("empty.sys", ""), "is not a whole PE image");
    refused(
        &file("text.sys", "MZ, but no more"),
        "is not a whole PE image",
    );
}

/// A driver for another processor.
fn foreign(target: &str, machine: &str) -> PathBuf {
    let folder = scratch();
    let (source, object, image) = (
        folder.join("foreign.c"),
        folder.join("foreign.obj"),
        folder.join(format!("{machine}.sys")),
    );
    std::fs::write(&source, "int DriverEntry(void) { return 0; }\n").expect("written");
    let run = |command: &mut Command| {
        let output = command.output().expect("a tool");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{command:?}: {said}");
    };
    run(Command::new(clang::tool("clang"))
        .arg(format!("--target={target}"))
        .args(["-c", "-O1", "-ffreestanding", "-o"])
        .args([&object, &source]));
    run(Command::new(clang::tool("lld-link"))
        .args(["/nologo", "/driver", "/subsystem:native", "/nodefaultlib"])
        .args(["/entry:DriverEntry", "/dynamicbase", "/safeseh:no"])
        .arg(format!("/machine:{machine}"))
        .arg(format!("/out:{}", image.display()))
        .arg(&object));
    image
}

#[test]
fn a_signed_image_runs_like_one_that_is_not() {
    let image = helper("signed", &[]);
    let mut bytes = std::fs::read(&image).expect("the image");
    bytes.resize(bytes.len().next_multiple_of(8), 0);
    let at = u32::try_from(bytes.len()).expect("small");
    // WIN_CERTIFICATE: length, revision 2, PKCS #7; what it holds is for the signature's judge.
    bytes.extend(24_u32.to_le_bytes());
    bytes.extend([0, 2, 2, 0]);
    bytes.extend([0x30; 16]);
    let pe = u32::from_le_bytes(bytes[0x3C..0x40].try_into().expect("four bytes")) as usize;
    let directory = pe + 24 + 112 + 4 * 8;
    bytes[directory..directory + 4].copy_from_slice(&at.to_le_bytes());
    bytes[directory + 4..directory + 8].copy_from_slice(&24_u32.to_le_bytes());
    std::fs::write(&image, &bytes).expect("written");
    let ran = ntbench(&["run", &shown(&image), "--keep-loaded"]);
    assert_eq!(ran.status, 0, "{}", ran.err);
}
