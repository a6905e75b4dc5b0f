//! The scenarios that do more than nest, end to end on the driver's own binary: what is called, what it has to come to, and what
//! Ctrl-C, time, threads and repetition do to a run.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod common;

use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::{HEADROOM, address, headroom, sys};
use serde_json::Value;

/// The data of a run that holds.
#[track_caller]
fn run(arguments: &[&str]) -> Value {
    let (status, data) = report(arguments);
    let checks = data["checks"].as_array().unwrap();
    let failed: Vec<_> = checks
        .iter()
        .filter(|check| check["holds"] == false)
        .collect();
    assert_eq!((status, failed), (Some(0), vec![]), "{arguments:?}");
    data
}

#[track_caller]
fn report(arguments: &[&str]) -> (Option<i32>, Value) {
    let sys = sys();
    let arguments = [
        &["run"],
        arguments,
        &["--driver", sys.to_str().unwrap(), "--json"],
    ]
    .concat();
    let (output, _folder) = headroom(&arguments);
    let text = String::from_utf8(output.stdout).unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    let data = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {errors}"));
    (output.status.code(), data)
}

fn list<'a>(data: &'a Value, name: &str) -> &'a Vec<Value> {
    data[name].as_array().unwrap_or_else(|| panic!("no {name}"))
}

/// The opens of the first run, each with its status.
fn opens(data: &Value) -> Vec<(&str, &str)> {
    list(&data["runs"][0], "opens")
        .iter()
        .map(|open| {
            (
                open["name"].as_str().unwrap(),
                open["status"].as_str().unwrap(),
            )
        })
        .collect()
}

#[test]
fn many_threads_open_many_paths() {
    let data = run(&[
        "wide",
        "--threads",
        "12",
        "--depth",
        "40",
        "--repeats",
        "2",
        "--policy",
        "always",
    ]);
    let run = &data["runs"][0];
    let records = list(run, "records");
    assert_eq!(records.len(), 12 * 40 * 2);
    let mut threads: Vec<_> = records
        .iter()
        .map(|record| record["thread_id"].as_u64())
        .collect();
    threads.sort_unstable();
    threads.dedup();
    assert_eq!(threads.len(), 12, "each thread's opens are its own");
    let mut segments: Vec<_> = records
        .iter()
        .map(|record| address(&record["inside_segment"][1]))
        .collect();
    segments.sort_unstable();
    segments.dedup();
    assert!(segments.len() > 1, "expansions overlapped: {segments:?}");
    let statuses = opens(&data);
    for status in [
        "STATUS_SUCCESS",
        "STATUS_OBJECT_NAME_NOT_FOUND",
        "STATUS_OBJECT_PATH_NOT_FOUND",
    ] {
        assert!(statuses.iter().any(|(_, seen)| *seen == status), "{status}");
    }
}

#[test]
fn the_same_seed_makes_the_same_calls_and_another_others() {
    let names = |seed: &str| {
        let data = run(&[
            "wide",
            "--threads",
            "2",
            "--depth",
            "20",
            "--policy",
            "always",
            "--seed",
            seed,
        ]);
        opens(&data)
            .into_iter()
            .map(|(name, _)| name.to_owned())
            .collect::<Vec<_>>()
    };
    let first = names("7");
    assert_eq!(first, names("7"));
    assert_ne!(first, names("8"));
}

#[test]
fn threads_nest_side_by_side() {
    let data = run(&[
        "nested",
        "--depth",
        "24",
        "--threads",
        "4",
        "--repeats",
        "2",
        "--policy",
        "always",
    ]);
    let records = list(&data["runs"][0], "records");
    assert_eq!(records.len(), 24 * 4 * 2);
}

#[test]
fn paths_grow_to_thirty_two_thousand_characters() {
    let data = run(&["long", "--policy", "always"]);
    let longest = opens(&data)
        .iter()
        .map(|(name, _)| name.len())
        .max()
        .unwrap();
    assert!((31_500..32_768).contains(&longest), "{longest}");
    let records = list(&data["runs"][0], "records");
    let deepest = records
        .iter()
        .filter_map(|record| record["ancestors_opened"].as_u64())
        .max();
    assert!(
        deepest >= Some(120),
        "each ancestor of the longest is opened: {deepest:?}"
    );
}

#[test]
fn every_spelling_has_its_status() {
    let data = run(&["forms", "--policy", "both"]);
    let table: String = opens(&data)
        .iter()
        .map(|(name, status)| format!("{status:32} {name}\n"))
        .collect();
    insta::assert_snapshot!(table);
    let recorded = list(&data["runs"][1], "records");
    let paths: Vec<_> = recorded
        .iter()
        .filter_map(|record| record["path"].as_str())
        .collect();
    for path in [
        r"\Device\Mup\server\share\Folder\File.txt",
        r"\Device\Mup\SERVER\SHARE\FOLDER\FILE.TXT",
    ] {
        assert!(paths.contains(&path), "{path} in {paths:#?}");
    }
}

#[test]
fn the_red_zone_expands_only_where_little_is_left() {
    let data = run(&["nested", "--depth", "64", "--policy", "red-zone"]);
    let records = list(&data["runs"][0], "records");
    let with = |reserved: bool| {
        records
            .iter()
            .filter(move |record| (record["reservation_bytes"] != 0) == reserved)
    };
    assert!(with(true).count() > 0 && with(false).count() > 0);
    assert!(with(true).all(|record| record["before"].as_u64() < Some(0x3000)));
    assert!(with(false).all(|record| record["before"].as_u64() >= Some(0x3000)));
}

#[test]
fn without_a_driver_the_statuses_are_judged_alone() {
    let data = run(&["flat", "--depth", "3", "--without-driver"]);
    assert!(list(&data, "runs").is_empty());
    assert_eq!(list(&data, "checks").len(), 1);
    let (output, folder) = headroom(&["run", "flat", "--depth", "3", "--without-driver"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("Nothing was recorded"), "{text}");
    assert!(folder.path().join("flat.html").is_file());
}

#[test]
fn a_root_can_be_named() {
    let data = run(&[
        "nested",
        "--depth",
        "5",
        "--policy",
        "always",
        "--root",
        r"\\filer\projects",
    ]);
    let records = list(&data["runs"][0], "records");
    assert!(records.iter().all(|record| {
        record["path"]
            .as_str()
            .unwrap()
            .starts_with(r"\Device\Mup\filer\projects")
    }));
    let sys = sys();
    for root in [r"filer\projects", r"\\filer", r"\\filer\projects\deeper"] {
        let (output, _) = headroom(&[
            "run",
            "flat",
            "--root",
            root,
            "--driver",
            sys.to_str().unwrap(),
        ]);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{errors}");
        assert!(errors.contains(r"\\server\share"), "{errors}");
    }
}

#[test]
fn a_sweep_finds_what_ends_each_nest() {
    let (status, data) = report(&[
        "nested",
        "--until-it-breaks",
        "--depth",
        "40",
        "--policy",
        "all",
        "--reservation",
        "0x1000,0x6000",
    ]);
    assert_eq!(status, Some(0), "{data:#}");
    let rows = list(&data["sweep"], "rows");
    let row = |policy: &str, reservation: u64| {
        rows.iter()
            .find(|row| row["expand"] == policy && row["reservation_bytes"] == reservation)
            .unwrap_or_else(|| panic!("{policy} {reservation:#x} in {rows:#?}"))
    };
    let never = row("Never", 0);
    assert_eq!(never["end"]["BugCheck"]["code"], 0x7f);
    assert!(
        (3..24).contains(&never["deepest"].as_u64().unwrap()),
        "{never:#}"
    );
    assert_eq!(row("Always", 0x1000)["end"]["BugCheck"]["parameter"], 8);
    for policy in ["Always", "RedZone"] {
        let row = row(policy, 0x6000);
        assert_eq!(
            (&row["deepest"], &row["end"]),
            (&40.into(), &"Bound".into()),
            "{row:#}"
        );
    }
}

#[test]
fn a_machine_with_few_segments_ends_a_nest_by_the_fallback() {
    let (status, data) = report(&[
        "nested",
        "--until-it-breaks",
        "--depth",
        "40",
        "--policy",
        "always",
        "--reservation",
        "0x11800",
        "--segments",
        "8",
    ]);
    assert_eq!(status, Some(0), "{data:#}");
    let row = &data["sweep"]["rows"][0];
    assert_eq!(row["deepest"], 8, "a segment each: {row:#}");
    assert_eq!(row["end"]["Fallback"]["status"], "STATUS_STACK_OVERFLOW");
}

#[test]
fn options_that_do_not_go_together_are_refused() {
    for (arguments, said) in [
        (&["flat", "--until-it-breaks"][..], "nested"),
        (
            &["nested", "--reservation", "0x1000,0x2000"],
            "--until-it-breaks",
        ),
        (
            &["nested", "--repeats", "2", "--duration", "1s"],
            "--duration",
        ),
        (
            &["nested", "--without-driver", "--policy", "always"],
            "--policy",
        ),
    ] {
        let (output, _) = headroom(&[&["run"], arguments].concat());
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {errors}");
        assert!(errors.contains(said), "{arguments:?}: {errors}");
    }
}

#[test]
fn a_run_goes_on_for_as_long_as_it_is_told() {
    let began = Instant::now();
    let data = run(&[
        "flat",
        "--depth",
        "2",
        "--duration",
        "1s",
        "--policy",
        "always",
    ]);
    assert!(
        began.elapsed() >= Duration::from_secs(2),
        "a second without the driver, and one with it"
    );
    let calls_of = |data: &Value| -> u64 {
        let counts = list(&data["runs"][0], "counts");
        let calls = counts.iter().filter_map(|count| count["calls"].as_u64());
        calls.sum()
    };
    let calls = calls_of(&data);
    let once = run(&["flat", "--depth", "2", "--policy", "always"]);
    let of_one_round = calls_of(&once);
    assert!(
        calls > of_one_round,
        "{calls}, where one round is {of_one_round}"
    );
}

/// Whenever it is sent: also before anything was seen, on a host that is slow enough.
#[test]
fn ctrl_c_ends_a_run_with_a_report_and_without_leavings() {
    let began = Instant::now();
    let mut after = Duration::from_millis(700);
    while !interrupted(after) {
        assert!(
            began.elapsed() < Duration::from_secs(600),
            "nothing is seen"
        );
        after *= 2;
    }
}

/// Interrupts a run of an hour so long after it began. Returns whether it had seen something by then.
fn interrupted(after: Duration) -> bool {
    let folder = tempfile::tempdir().unwrap();
    let scratch = folder.path().join("tmp");
    fs::create_dir(&scratch).unwrap();
    let mut child = Command::new(HEADROOM)
        .args([
            "run",
            "wide",
            "--duration",
            "1h",
            "--policy",
            "always",
            "--json",
            "--driver",
        ])
        .arg(sys())
        .arg("--out")
        .arg(folder.path().join("out"))
        .env("TMPDIR", &scratch)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let waited = Instant::now();
    while fs::read_dir(&scratch).unwrap().next().is_none() {
        assert!(
            waited.elapsed() < Duration::from_secs(300),
            "it never began"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
    std::thread::sleep(after);
    let interrupt = Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status();
    assert!(interrupt.unwrap().success());
    let mut text = String::new();
    std::io::Read::read_to_string(&mut child.stdout.take().unwrap(), &mut text).unwrap();
    let status = child.wait().unwrap();
    assert!(
        waited.elapsed() < Duration::from_secs(600),
        "it ended long before its time"
    );
    assert_eq!(status.code(), Some(130), "{text}");
    let data: Value = serde_json::from_str(&text).unwrap();
    assert!(folder.path().join("out/wide.html").is_file());
    let left: Vec<_> = fs::read_dir(&scratch)
        .unwrap()
        .flatten()
        .map(|entry| entry.path())
        .collect();
    assert!(left.is_empty(), "{left:?}");
    // What was seen until then is told.
    !list(&data, "without_driver").is_empty()
}

#[test]
fn mixed_operations_find_what_has_to_be_there() {
    let data = run(&["mixed", "--threads", "3", "--depth", "6", "--seed", "3"]);
    let counts = list(&data["runs"][1], "counts");
    for (action, status) in [
        ("create", "STATUS_SUCCESS"),
        ("query_attributes", "STATUS_OBJECT_NAME_NOT_FOUND"),
        ("list", "STATUS_SUCCESS"),
        ("rename", "STATUS_SUCCESS"),
        ("rename", "STATUS_OBJECT_NAME_COLLISION"),
    ] {
        let made = counts
            .iter()
            .any(|count| count["action"] == action && count["status"] == status);
        assert!(made, "{action} {status} in {counts:#?}");
    }
}

#[test]
fn links_are_followed_sixty_three_times() {
    let data = run(&["links", "--depth", "65", "--policy", "always"]);
    let opens = opens(&data);
    let through = |link: &str| {
        let end = format!(r"\{link}\file.txt");
        let mut found = opens.iter().filter(|(name, _)| name.ends_with(&end));
        found.next().unwrap_or_else(|| panic!("{link}")).1
    };
    for kind in ["relative", "unc", "both"] {
        assert_eq!(through(&format!("{kind}-00-0-063")), "STATUS_SUCCESS");
        assert_eq!(
            through(&format!("{kind}-00-0-064")),
            "STATUS_REPARSE_POINT_NOT_RESOLVED"
        );
    }
    assert_eq!(
        through("junction-00-0-062"),
        "STATUS_SUCCESS",
        "and the link at its end"
    );
    assert_eq!(
        through("junction-00-0-063"),
        "STATUS_REPARSE_POINT_NOT_RESOLVED"
    );
    assert_eq!(through("circle-00-0"), "STATUS_REPARSE_POINT_NOT_RESOLVED");
    let records = list(&data["runs"][0], "records");
    let reparsed = records
        .iter()
        .filter(|record| record["create_status"] == "STATUS_REPARSE");
    assert!(
        reparsed.count() > 1000,
        "the driver inspects each name on the way"
    );
}

#[test]
fn a_run_on_a_loaded_driver_leaves_its_settings_as_they_were() {
    let place = tempfile::tempdir().unwrap();
    let sys = sys();
    let verb = |arguments: &[&str]| {
        let output = Command::new(HEADROOM)
            .args(arguments)
            .env("HEADROOM_MACHINE", place.path().join("machine"))
            .env("NO_COLOR", "1")
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        (
            output.status.code(),
            text + &String::from_utf8_lossy(&output.stderr),
        )
    };
    let out = place.path().join("out");
    let out = out.to_str().unwrap();
    let run = |arguments: &[&str]| verb(&[&["run", "--loaded", "--out", out], arguments].concat());

    let (status, text) = run(&["relative"]);
    assert_eq!(status, Some(2), "{text}");
    assert!(text.contains("headroom load"), "{text}");

    // With traffic of others, whose records lie among the run's.
    let load = [
        "load",
        "--for",
        "30m",
        "--traffic",
        "40",
        "--driver",
        sys.to_str().unwrap(),
    ];
    assert_eq!(verb(&load).0, Some(0));
    let settings = verb(&["config", "get"]);
    for (scenario, records) in [("relative", 65), ("nested", 64), ("wide", 512)] {
        let (status, text) = run(&[scenario]);
        assert_eq!(status, Some(0), "{scenario}: {text}");
        assert!(
            text.contains(&format!("({records} written, 0 lost)")),
            "{scenario}: {text}"
        );
    }
    let (status, text) = run(&["mixed"]);
    assert_eq!(status, Some(0), "{text}");
    assert_eq!(verb(&["config", "get"]), settings);
    let (status, text) = run(&["nested", "--policy", "never"]);
    assert_eq!(status, Some(2), "{text}");
    assert!(text.contains("--allow-bug-check"), "{text}");
    let (status, text) = verb(&["unload"]);
    assert_eq!(status, Some(0), "{text}");
}
