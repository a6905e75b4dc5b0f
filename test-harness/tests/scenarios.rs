//! The command line, end to end, on the driver's own binary.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod common;

use std::fs;

use common::{address, headroom, sys};
use serde_json::Value;

#[track_caller]
fn run(arguments: &[&str]) -> Value {
    let sys = sys();
    let arguments = [arguments, &["--driver", sys.to_str().unwrap(), "--json"]].concat();
    let (output, folder) = headroom(&arguments);
    let errors = String::from_utf8_lossy(&output.stderr);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(
        output.status.code(),
        Some(0),
        "{arguments:?}\n{errors}\n{}",
        failed_checks(&text)
    );
    let scenario = arguments[1];
    let page = fs::read_to_string(folder.path().join(format!("{scenario}.html"))).unwrap();
    let picture = fs::read_to_string(folder.path().join(format!("{scenario}.svg"))).unwrap();
    assert!(page.contains("<svg") && picture.contains("<svg"));
    assert_eq!(
        fs::read_to_string(folder.path().join(format!("{scenario}.json")))
            .unwrap()
            .trim(),
        text.trim()
    );
    serde_json::from_str(&text).unwrap()
}

fn failed_checks(text: &str) -> String {
    let Ok(report) = serde_json::from_str::<Value>(text) else {
        return text.to_owned();
    };
    let failed = report["checks"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|check| check["holds"] == false);
    failed.map(|check| format!("{check}\n")).collect()
}

/// The run under that policy.
fn policy<'a>(report: &'a Value, name: &str) -> &'a Value {
    let runs = report["runs"].as_array().unwrap();
    runs.iter().find(|run| run["expand"] == name).unwrap()
}

#[test]
fn sixty_four_creates_nest_with_expansion_and_overflow_without() {
    let report = run(&["run", "nested", "--depth", "64"]);

    let always = policy(&report, "Always");
    let records = always["records"].as_array().unwrap();
    assert_eq!(records.len(), 64);
    let outcomes = |name: &str| {
        records
            .iter()
            .filter(|record| record["outcome"] == name)
            .count()
    };
    let ways = ["switched", "grown", "direct"].map(outcomes);
    assert!(
        ways.iter().all(|&count| count >= 1),
        "a nest this deep takes every way: {ways:?}"
    );
    assert_eq!(ways.iter().sum::<usize>(), 64);

    let never = policy(&report, "Never");
    let bug_check = &never["end"]["BugCheck"];
    assert_eq!(
        (&bug_check["code"], &bug_check["parameters"][0]),
        (&0x7f.into(), &"0x8".into())
    );
    let arrivals = never["arrivals"].as_array().unwrap();
    let depth = arrivals
        .iter()
        .map(|arrival| arrival["depth"].as_u64().unwrap())
        .max()
        .unwrap();
    assert_eq!(
        depth,
        arrivals.len() as u64,
        "each create nests in the one before"
    );
    assert!((4..24).contains(&depth), "24 KB hold {depth} creates");

    // The frames that filled the stack: from its top to the guard page, both sorts, nothing missing between them.
    let stack = &bug_check["stack"];
    let frames = stack["frames"].as_array().unwrap();
    let bytes: u64 = frames
        .iter()
        .filter_map(|frame| frame["bytes_to_older"].as_u64())
        .sum();
    assert!(
        bytes > 0x5000,
        "the listing accounts for {bytes:#x} bytes of 0x6000"
    );
    for pair in frames.windows(2) {
        let [newer, older] = pair else { unreachable!() };
        let distance = address(&older["child_sp"]) - address(&newer["child_sp"]);
        assert_eq!(newer["bytes_to_older"].as_u64(), Some(distance));
    }
    let real = frames.iter().filter(|frame| frame["real"] == true).count() as u64;
    assert!(
        real >= depth,
        "the driver stands in the listing for each create"
    );
}

#[test]
fn a_few_creates_fit_without_expansion() {
    let report = run(&["run", "nested", "--depth", "3", "--policy", "never"]);
    let records = policy(&report, "Never")["records"].as_array().unwrap();
    assert!(
        records[1..]
            .iter()
            .all(|record| record["outcome"] == "not expanded"),
        "{records:#?}"
    );
}

#[test]
fn each_relative_open_is_inspected_by_its_whole_path() {
    let report = run(&["run", "relative", "--depth", "8"]);
    let records = policy(&report, "Always")["records"].as_array().unwrap();
    let last = records.last().unwrap();
    assert_eq!(
        last["path"],
        r"\Device\Mup\server\share\d01\d02\d03\d04\d05\d06\d07\d08"
    );
    assert_eq!(
        last["ancestors_opened"], 8,
        "the share and seven directories"
    );
}

#[test]
fn opens_that_fail_fail_as_they_do_without_the_driver() {
    let report = run(&["run", "flat", "--depth", "4"]);
    let statuses = |opens: &Value| -> Vec<String> {
        opens
            .as_array()
            .unwrap()
            .iter()
            .map(|open| open["status"].as_str().unwrap().to_owned())
            .collect()
    };
    let without = statuses(&report["without_driver"]);
    assert_eq!(without, statuses(&policy(&report, "Always")["opens"]));
    assert_eq!(without, statuses(&policy(&report, "Never")["opens"]));
    for status in [
        "STATUS_OBJECT_NAME_NOT_FOUND",
        "STATUS_OBJECT_PATH_NOT_FOUND",
        "STATUS_BAD_NETWORK_NAME",
    ] {
        assert!(
            without.iter().any(|seen| seen == status),
            "{status} in {without:?}"
        );
    }
}

#[test]
fn a_dfs_path_opens_ipc_inside_the_query() {
    let report = run(&["run", "dfs"]);
    for name in ["Always", "Never"] {
        let run = policy(&report, name);
        let arrivals = run["arrivals"].as_array().unwrap();
        let ipc = arrivals
            .iter()
            .find(|arrival| arrival["path"].as_str().unwrap().ends_with("IPC$"));
        assert!(
            ipc.is_some_and(|ipc| ipc["depth"].as_u64().unwrap() >= 2),
            "{name}: {arrivals:#?}"
        );
        let records = run["records"].as_array().unwrap();
        assert!(
            records
                .iter()
                .any(|record| record["depth"].as_u64() >= Some(2)),
            "{name}: {records:#?}"
        );
        assert!(!run["listings"].as_array().unwrap().is_empty());
    }
}

#[test]
fn a_reservation_that_is_too_small_is_no_protection_and_ends_with_1() {
    let sys = sys();
    let arguments = [
        "run",
        "nested",
        "--policy",
        "always",
        "--reservation",
        "0x200",
        "--driver",
        sys.to_str().unwrap(),
    ];
    let (output, _folder) = headroom(&arguments);
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(
        text.contains("FAIL Always: every open comes back (bug check 0x7F (0x8) at depth"),
        "{text}"
    );
    assert!(
        text.contains("nt!IopParseDevice"),
        "and the stack is shown: {text}"
    );
}

#[test]
fn what_cannot_be_tried_is_told_and_ends_with_2() {
    let scratch = tempfile::tempdir().unwrap();
    let file = |name: &str, bytes: &[u8]| {
        let path = scratch.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    };
    let image = fs::read(sys()).unwrap();
    let mut not_x64 = image.clone();
    let pe = u32::from_le_bytes(image[0x3c..0x40].try_into().unwrap()) as usize;
    not_x64[pe + 4..pe + 6].copy_from_slice(&0xaa64_u16.to_le_bytes());
    let known = b"FltGetFileNameInformation\0";
    let at = image
        .windows(known.len())
        .position(|window| window == known)
        .expect("the driver queries names");
    let mut unknown = image.clone();
    unknown[at + 11] = b'X';
    for (path, said) in [
        (file("unknown.sys", &unknown), "FltGetFileNXmeInformation"),
        (scratch.path().join("absent.sys"), "cargo xtask build"),
        (
            file("truncated.sys", &image[..image.len() / 2]),
            "truncated.sys",
        ),
        (file("text.sys", b"this is no driver"), "text.sys"),
        (file("arm64.sys", &not_x64), "arm64.sys"),
        (common::HEADROOM.into(), "headroom"),
    ] {
        let (output, _) = headroom(&["run", "flat", "--driver", path.to_str().unwrap()]);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(
            output.status.code(),
            Some(2),
            "{}: {errors}",
            path.display()
        );
        assert!(errors.contains(said), "{errors}");
        assert!(!errors.contains("panicked"), "{errors}");
    }
    let (output, _) = headroom(&["run", "nested", "--depth", "0"]);
    assert_eq!(output.status.code(), Some(2));
}
