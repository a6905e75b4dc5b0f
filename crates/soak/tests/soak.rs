//! The soak itself: that it holds where nothing is wrong, that it fails where something is, and that a failure comes again.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

fn sys(variable: &str) -> PathBuf {
    let Some(path) = std::env::var_os(variable) else {
        panic!("{variable} names no driver: `cargo xtask test` builds it and sets the variable");
    };
    path.into()
}

/// Runs the soak on a driver; its output and its soak.json.
fn soak(driver: &Path, arguments: &[&str]) -> (Output, Value) {
    let folder: TempDir = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_soak"))
        .args(arguments)
        .arg("--driver")
        .arg(driver)
        .arg("--out")
        .arg(folder.path())
        .output()
        .unwrap();
    let json = fs::read_to_string(folder.path().join("soak.json"));
    let json = json.map_or(Value::Null, |json| serde_json::from_str(&json).unwrap());
    (output, json)
}

fn headroom(arguments: &[&str]) -> (Output, Value) {
    soak(&sys("HEADROOM_SYS"), arguments)
}

#[track_caller]
fn count(json: &Value, what: &str) -> u64 {
    let value = json.pointer(what).and_then(Value::as_u64);
    value.unwrap_or_else(|| panic!("{what} in {json:#}"))
}

/// The short soak that every test of the whole includes; the long one is `cargo xtask soak --minutes 30`.
///
/// None of what it must have seen comes by chance: stretches, capacities and troubles are dealt, each stretch begins with what it is for,
/// and two of the rounds do one thing after the other.
#[test]
fn everything_holds_for_a_while() {
    let (output, json) = headroom(&["--rounds", "4", "--seed", "20", "--acts", "40"]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(text.ends_with("Everything held.\n"), "{text}");
    println!("{text}");
    for what in [
        "/rounds_in_turn",
        "/rounds_seeded",
        "/rounds_at_once",
        "/creates_seen",
        "/records_written",
        "/skipped",
        "/records_drained",
        "/troubles/settings changed",
        "/troubles/settings refused",
        "/troubles/calls made to fail",
        "/troubles/reloads",
        "/troubles/loads with failing calls",
        "/troubles/clients that died",
        "/troubles/volumes attached",
    ] {
        assert!(count(&json, what) > 0, "{what}: {text}");
    }
    assert_eq!(count(&json, "/stretches"), 4 * 8);
    assert!(
        count(&json, "/denied") >= 4 * 8 / 4,
        "one of four stretches is to deny"
    );
}

/// Whatever is wrong is found, and the command that is printed finds it again: in the same stretch, and with one program in the same
/// words.
#[test]
fn what_is_wrong_is_found_and_found_again() {
    for defect in [
        "results",
        "creates",
        "records",
        "watermarks",
        "pool",
        "finding",
    ] {
        let short = ["--stretches", "3", "--acts", "20", "--seed", "3"];
        let arguments = [
            &["--rounds", "4", "--threads", "1", "--inject", defect],
            &short[..],
        ]
        .concat();
        let (output, first) = headroom(&arguments);
        let text = String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.code(), Some(1), "{defect}: {text}");
        let replay = first.pointer("/broken/replay").and_then(Value::as_str);
        let replay = replay.unwrap_or_else(|| panic!("{defect}: {text}"));
        assert!(text.contains(&format!("Replay it: {replay}")), "{text}");
        let replay: Vec<&str> = replay
            .strip_prefix("cargo xtask soak ")
            .unwrap()
            .split(' ')
            .collect();
        let (output, second) = headroom(&replay);
        assert_eq!(output.status.code(), Some(1), "{defect}");
        // Addresses are each machine's own.
        let told = |json: &Value| {
            let broken = &json["broken"];
            let stable = defect != "records";
            (
                broken["round"].clone(),
                broken["stretch"].clone(),
                broken["invariant"].clone(),
                stable.then(|| broken["text"].clone()),
            )
        };
        assert_eq!(told(&second), told(&first), "{defect}");
    }
}

/// A round with one program is the same whenever it is played: every result, every counter, every record but for its times and
/// addresses. Of one with several that a schedule runs, so is the order of all that its machine saw.
#[test]
fn rounds_are_the_same_again() {
    let digests = || {
        let (output, json) = headroom(&["--rounds", "4", "--seed", "7", "--acts", "30"]);
        assert_eq!(output.status.code(), Some(0), "{json:#}");
        json["digests"].clone()
    };
    let first = digests();
    let rounds: Vec<_> = first
        .as_array()
        .unwrap()
        .iter()
        .map(|digest| &digest["round"])
        .collect();
    assert_eq!(rounds, [1, 2, 3]);
    assert_eq!(digests(), first);
    let numbers: Vec<&Value> = first.as_array().unwrap().iter().collect();
    assert_ne!(numbers[0]["digest"], numbers[1]["digest"]);
}

/// Of another driver there are no counters to hold it to; its results, its findings and its loads are held all the same.
#[test]
fn another_driver_is_soaked() {
    let driver = sys("EXAMPLE_CREATE_LOGGER_SYS");
    let (output, json) = soak(&driver, &["--rounds", "2", "--stretches", "4"]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(count(&json, "/acts_compared") > 0, "{text}");
    assert!(count(&json, "/loads") > 2, "{text}");
}

/// The same driver as its INF installs it: under another name, at another altitude; rounds of all three kinds, and a replay that names
/// the INF, too.
#[test]
fn another_driver_is_soaked_as_its_inf_installs_it() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("logger.inf");
    let text = include_str!("../../ntbench/tests/samples/sample.inf");
    fs::write(&file, text.replace("@NAME@", "logger")).unwrap();
    let inf = file.to_str().unwrap();
    let driver = sys("EXAMPLE_CREATE_LOGGER_SYS");
    let short = [
        "--rounds",
        "3",
        "--stretches",
        "3",
        "--acts",
        "30",
        "--inf",
        inf,
    ];
    let (output, json) = soak(&driver, &short);
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{text}");
    for what in [
        "/rounds_in_turn",
        "/rounds_seeded",
        "/rounds_at_once",
        "/creates_seen",
    ] {
        assert!(count(&json, what) > 0, "{what}: {text}");
    }

    let (output, json) = soak(&driver, &[&short[..], &["--inject", "finding"]].concat());
    assert_eq!(output.status.code(), Some(1));
    let replay = json.pointer("/broken/replay").and_then(Value::as_str);
    let ends = format!("--inf {inf} --inject finding");
    assert!(
        replay.is_some_and(|replay| replay.ends_with(&ends)),
        "{json:#}"
    );

    fs::write(&file, "[Version]\nSignature = nothing\n").unwrap();
    let (output, _) = soak(&driver, &short);
    assert_eq!(output.status.code(), Some(2));
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("logger.inf"), "{text}");
}

#[test]
fn what_cannot_be_tried_is_said() {
    let (output, json) = soak(Path::new("no/such.sys"), &["--rounds", "1"]);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(json, Value::Null);
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(
        text.contains("no driver at no/such.sys") && text.contains("cargo xtask build"),
        "{text}"
    );
}
