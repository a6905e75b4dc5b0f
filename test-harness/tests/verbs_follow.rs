//! The verbs that follow the driver's records: log and watch.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod common;
mod loaded;

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, Stdio};

use insta::assert_snapshot;
use loaded::{Home, json, opened, redacted};
use protocol::NtStatus;
use serde_json::Value;

#[test]
fn the_log_as_a_table_lines_and_values() {
    let home = opened();
    let told = home.run(&["log", "--count", "5"]);
    assert_eq!(
        (told.code, &*told.err),
        (Some(0), "5 records; none was lost\n")
    );
    assert_snapshot!(timeless(&told.out));

    let lines = home.run(&["log", "--json", "--count", "5"]).out;
    let records: Vec<Value> = lines.lines().map(json).collect();
    let depths: Vec<_> = records
        .iter()
        .map(|record| record["depth"].as_u64())
        .collect();
    assert_eq!(depths, [1, 2, 3, 4, 5].map(Some));
    assert!(
        records
            .iter()
            .all(|record| record["process"] == "a.exe" && record["time"].is_string())
    );

    // What it has written is what a report is made from.
    let file = home.path().join("records.jsonl");
    let path = file.to_str().unwrap();
    assert_eq!(
        home.run(&["log", "--file", path, "--count", "5"]).code,
        Some(0)
    );
    let pages = home.path().join("pages");
    home.run(&["report", path, "--out", pages.to_str().unwrap()])
        .good();
    assert!(fs::read_dir(&pages).unwrap().count() > 0);

    // A table in a file has no colours, whatever the terminal's.
    let file = home.path().join("records.txt");
    let arguments = [
        "log",
        "--format",
        "table",
        "--count",
        "5",
        "--file",
        file.to_str().unwrap(),
    ];
    let mut command = home.command(&arguments);
    command.env_remove("NO_COLOR").env("CLICOLOR_FORCE", "1");
    assert!(command.status().unwrap().success());
    let written = fs::read_to_string(&file).unwrap();
    assert_eq!(timeless(&written), timeless(&told.out));
    assert!(!written.contains('\x1b'), "{written:?}");

    let file = home.path().join("records.csv");
    let path = file.to_str().unwrap();
    let write = |arguments: &[&str]| {
        home.run(&[&["log", "--file", path, "--count", "2"], arguments].concat())
    };
    let told = write(&[]);
    assert!(told.err.starts_with("2 records in "), "{}", told.err);
    assert!(write(&[]).complaint().contains("exists already"));
    assert_eq!(write(&["--append"]).code, Some(0));
    let mut reader = csv::Reader::from_path(&file).unwrap();
    let column = |name: &str| {
        reader
            .headers()
            .unwrap()
            .iter()
            .position(|known| known == name)
    };
    let mut column = column;
    let (sequence, path) = (column("sequence").unwrap(), column("path").unwrap());
    let rows: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
    let sequences: Vec<&str> = rows.iter().map(|row| &row[sequence]).collect();
    assert_eq!(
        sequences,
        ["1", "2", "1", "2"],
        "one head, each record's number"
    );
    assert_eq!(&rows[0][path], r"\Device\Mup\server\share\d01\d02\d03\d04");
    home.end();
}

/// Times of day, process and thread numbers, which differ from run to run, made equal.
fn timeless(text: &str) -> String {
    let line = |line: &str| {
        let mut line = line.to_owned();
        let clock = line.find(':').filter(|&at| line[at..].contains('.'));
        if let Some(at) = clock {
            line.replace_range(at - 2..at + 10, "--:--:--.---");
        }
        line
    };
    redacted(&text.lines().map(line).collect::<Vec<_>>().join("\n"))
}

/// Starts a verb and waits until it has printed its first line.
fn started(home: &Home, arguments: &[&str]) -> (Child, BufReader<std::process::ChildStdout>) {
    let mut child = home
        .command(arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    output.read_line(&mut line).unwrap();
    assert!(line.ends_with('\n'), "{line}");
    (child, output)
}

fn ended(mut child: Child) -> (Option<i32>, String) {
    let mut complaint = String::new();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut complaint)
        .unwrap();
    (child.wait().unwrap().code(), complaint)
}

#[test]
fn the_log_follows_until_the_driver_is_unloaded() {
    let home = Home::loaded(&[]);
    let (child, mut output) = started(&home, &["log", "--new"]);
    assert_eq!(home.open("late.exe", 1).unwrap(), NtStatus::SUCCESS);
    let mut line = String::new();
    output.read_line(&mut line).unwrap();
    assert!(line.contains("late.exe"), "{line}");
    home.end();
    let (code, complaint) = ended(child);
    assert_eq!(
        (code, &*complaint),
        (
            Some(0),
            "The driver was unloaded. 1 record; none was lost\n"
        )
    );
}

/// A signal ends it as it ends by itself: what was written is told.
#[test]
fn the_log_ends_with_ctrl_c() {
    let home = Home::loaded(&[]);
    let (child, _output) = started(&home, &["log"]);
    let pid = child.id().to_string();
    let sent = std::process::Command::new("kill")
        .args(["-INT", &pid])
        .status()
        .unwrap();
    assert!(sent.success());
    assert_eq!(
        ended(child),
        (Some(0), "0 records; none was lost\n".to_owned())
    );
    home.end();
}

#[test]
fn a_reader_that_has_seen_enough_ends_it_quietly() {
    let home = Home::loaded(&["--traffic", "200"]);
    for arguments in [&["log"][..], &["watch", "--plain", "--interval", "50ms"]] {
        let (child, output) = started(&home, arguments);
        drop(output);
        let (code, complaint) = ended(child);
        assert_eq!(code, Some(0), "{complaint}");
        assert!(
            !complaint.contains("panic") && !complaint.contains("headroom: "),
            "{complaint}"
        );
    }
    home.end();
}

/// More creates than the ring holds, while the log does not come to read: it says how many it missed.
#[test]
fn the_log_says_how_many_records_were_lost() {
    let home = Home::loaded(&["--set", "LogCapacity=16"]);
    let (child, mut output) = started(&home, &["log", "--format", "csv"]);
    let pid = child.id().to_string();
    let signal = |name: &str| {
        let sent = std::process::Command::new("kill")
            .args([name, &pid])
            .status();
        assert!(sent.unwrap().success());
    };
    signal("-STOP");
    until_stopped(&pid);
    for _ in 0..100 {
        assert_eq!(home.open("a.exe", 1).unwrap(), NtStatus::SUCCESS);
    }
    signal("-CONT");
    let first = output.by_ref().lines().take(16).count();
    signal("-INT");
    let read = first + output.lines().count();
    // A drain that it had asked for before it was stopped may bring some more than those that the ring holds in the end.
    assert!((16..=32).contains(&read), "{read}");
    let told = format!("{read} records; up to {} were lost\n", 100 - read);
    assert_eq!(ended(child), (Some(0), told));
    home.end();
}

/// Waits until a process that was sent SIGSTOP has stopped.
fn until_stopped(pid: &str) {
    let stopped = || {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        // Behind the name, which may hold anything.
        stat.rsplit_once(") ").unwrap().1.starts_with('T')
    };
    while !stopped() {
        std::thread::yield_now();
    }
}

#[test]
fn watching_tells_of_each_interval() {
    let home = opened();
    let json_lines = home
        .run(&["watch", "--json", "--interval", "100ms", "--count", "2"])
        .good();
    let intervals: Vec<Value> = json_lines.lines().map(json).collect();
    assert_eq!(intervals.len(), 2);
    assert_eq!(
        (&intervals[0]["records"], &intervals[0]["lowest_now"]),
        (&0.into(), &Value::Null)
    );
    assert_eq!(intervals[1]["since_reset"]["system"]["creates"], 5);

    let (child, mut output) = started(&home, &["watch", "--json", "--interval", "50ms"]);
    assert_eq!(home.open("late.exe", 2).unwrap(), NtStatus::SUCCESS);
    let now = loop {
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        let interval = json(&line);
        if interval["lowest_now"].is_object() {
            break interval;
        }
    };
    assert_eq!(now["lowest_now"]["process"], "late.exe");
    let told = home
        .run(&["watch", "--plain", "--interval", "50ms", "--count", "1"])
        .good();
    assert!(told.starts_with("time (UTC)"), "{told}");
    home.end();
    assert_eq!(
        ended(child),
        (Some(0), "The driver was unloaded.\n".to_owned())
    );
}
