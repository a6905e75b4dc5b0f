//! The verbs that talk to a driver, against the driver on a machine in the background.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod common;
mod loaded;

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, Stdio};

use headroom_harness::link::{Client, Link, LinkError};
use headroom_harness::machine::Port;
use insta::assert_snapshot;
use loaded::{Home, redacted};
use protocol::NtStatus;
use protocol::port::{Hello, MAXIMUM_CLIENTS};
use serde_json::Value;
use zerocopy::IntoBytes as _;

/// Every verb that needs a driver, in a form that ends by itself.
const VERBS: [&[&str]; 10] = [
    &["watch", "--plain", "--count", "1"],
    &["log", "--count", "0"],
    &["stats"],
    &["reset"],
    &["config", "get"],
    &["config", "set", "UncOnly", "1"],
    &["instances"],
    &["attach", "C:"],
    &["detach", "C:"],
    &["unload"],
];

/// Loads, with nested creates, and opens four levels deep: five records.
fn opened() -> Home {
    let home = Home::loaded(&["--set", "AncestorOpens=Top"]);
    assert_eq!(home.open("a.exe", 4).unwrap(), NtStatus::SUCCESS);
    home
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

#[test]
fn with_no_driver_each_verb_says_how_to_load_it() {
    let home = Home::empty();
    for arguments in VERBS {
        let complaint = home.run(arguments).complaint();
        assert!(
            complaint.contains("`headroom load`"),
            "{arguments:?}: {complaint}"
        );
    }
}

#[test]
fn the_watermarks_as_a_table_json_lines_and_metrics() {
    let home = opened();
    assert_eq!(home.open("b.exe", 1).unwrap(), NtStatus::SUCCESS);
    assert_snapshot!(redacted(&home.run(&["stats"]).good()));

    let stats = json(&home.run(&["stats", "--json"]).good());
    assert_eq!(
        (&stats["system"]["creates"], &stats["system"]["deepest"]),
        (&7.into(), &5.into())
    );
    assert_eq!(stats["processes"].as_array().unwrap().len(), 2);
    let lines = home.run(&["stats", "--jsonl"]).good();
    assert!(lines.lines().all(|line| json(line)["scope"].is_string()));
    let metrics = home.run(&["stats", "--prometheus"]).good();
    assert!(
        metrics.contains("# TYPE ") && metrics.contains("process=\"b.exe\""),
        "{metrics}"
    );

    let file = home.path().join("headroom.prom");
    fs::write(&file, "old").unwrap();
    let path = file.to_str().unwrap();
    assert_eq!(
        home.run(&["stats", "--prometheus", "--file", path]).good(),
        ""
    );
    assert!(fs::read_to_string(&file).unwrap().starts_with("# HELP "));
    let complaint = home
        .run(&["stats", "--json", "--file", "/nowhere/stats.json"])
        .complaint();
    assert!(
        complaint.contains("writing /nowhere/stats.json: "),
        "{complaint}"
    );

    let out = home.run(&["reset"]).good();
    assert!(
        out.contains("the lowest headroom of 7 creates was "),
        "{out}"
    );
    let out = home.run(&["stats"]).good();
    assert!(out.starts_with("No create has come by"), "{out}");
    assert_eq!(
        json(&home.run(&["reset", "--json"]).good())["generation"],
        3
    );
    home.end();
}

#[test]
fn the_settings_are_shown_and_changed() {
    let home = Home::loaded(&[]);
    assert_snapshot!(home.run(&["config", "get"]).good());
    let all = json(&home.run(&["config", "get", "--json"]).good());
    assert_eq!(
        (&all[0]["name"], &all[0]["value"]),
        (&"ExpandPolicy".into(), &"Always".into())
    );

    let set = |name: &str, value: &str| home.run(&["config", "set", name, value]);
    assert_eq!(
        set("expandpolicy", "redzone").good(),
        "ExpandPolicy: Always → RedZone\n"
    );
    assert_eq!(
        set("ReservationBytes", "8192").good(),
        "ReservationBytes: 0x6000 → 0x2000\n"
    );
    assert_eq!(
        set("ReservationBytes", "default").good(),
        "ReservationBytes: 0x2000 → 0x6000\n"
    );
    let change = home
        .run(&["config", "set", "MaxNestDepth", "7", "--json"])
        .good();
    assert_eq!(
        (&json(&change)["old"], &json(&change)["new"]),
        (&"128".into(), &"7".into())
    );
    assert_eq!(home.run(&["config", "get", "MaxNestDepth"]).good(), "7\n");

    for (name, value, says) in [
        (
            "Policy",
            "Never",
            "there is no setting Policy; there are ExpandPolicy, ",
        ),
        (
            "ExpandPolicy",
            "Sometimes",
            "it takes Always, RedZone, Never",
        ),
        ("ReservationBytes", "0x11801", "it takes 1 to 0x11800 bytes"),
        (
            "LogCapacity",
            "2048",
            "it stays 1024. `headroom unload`, then `headroom load --set LogCapacity=2048`",
        ),
    ] {
        let complaint = set(name, value).complaint();
        assert!(complaint.contains(says), "{complaint}");
    }
    assert_eq!(
        home.run(&["config", "get", "ExpandPolicy"]).good(),
        "RedZone\n"
    );
    home.end();
}

#[test]
fn volumes_are_attached_and_detached() {
    let home = Home::loaded(&[]);
    assert_snapshot!(home.run(&["instances"]).good(), @r"
    volume       file system  instance           altitude
    -------------------------------------------------------
    \Device\Mup  MUP          Headroom Instance  378600.5
    ");
    assert_eq!(home.run(&["attach", "C:"]).good(), "Attached to C:.\n");
    let instances = json(&home.run(&["instances", "--json"]).good());
    assert_eq!(instances["total"], 2);
    assert_eq!(
        instances["instances"][0]["volume"],
        r"\Device\HarddiskVolume1"
    );
    let complaint = home.run(&["attach", "C:"]).complaint();
    assert!(
        complaint.contains("`C:`: the driver is attached to it already ("),
        "{complaint}"
    );
    let done = json(
        &home
            .run(&["detach", r"\Device\HarddiskVolume1", "--json"])
            .good(),
    );
    assert_eq!(done["attached"], false);
    let complaint = home.run(&["detach", "C:"]).complaint();
    assert!(
        complaint.contains("the driver is not attached to it"),
        "{complaint}"
    );
    let complaint = home.run(&["attach", "X:"]).complaint();
    assert!(complaint.contains("there is no such volume"), "{complaint}");
    let complaint = home.run(&["attach", &"x".repeat(200)]).complaint();
    assert!(
        complaint.contains("too long for a message to the driver: at most 128"),
        "{complaint}"
    );
    assert_eq!(
        home.run(&["detach", r"\Device\Mup"]).good(),
        "Detached from \\Device\\Mup.\n"
    );
    assert!(
        home.run(&["instances"])
            .good()
            .contains("attached to no volume")
    );
    home.end();
}

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
    let (child, output) = started(&home, &["log", "--format", "csv"]);
    let pid = child.id().to_string();
    let signal = |name: &str| {
        let sent = std::process::Command::new("kill")
            .args([name, &pid])
            .status();
        assert!(sent.unwrap().success());
    };
    // A wait that has begun lasts no longer than this, so that it sends nothing while it is stopped.
    signal("-STOP");
    std::thread::sleep(std::time::Duration::from_millis(500));
    for _ in 0..100 {
        assert_eq!(home.open("a.exe", 1).unwrap(), NtStatus::SUCCESS);
    }
    signal("-CONT");
    std::thread::sleep(std::time::Duration::from_millis(1000));
    signal("-INT");
    let seen = output.lines().count();
    let (code, complaint) = ended(child);
    assert_eq!((code, seen), (Some(0), 16), "{complaint}");
    assert_eq!(complaint, "16 records; up to 84 were lost\n");
    home.end();
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

#[test]
fn a_port_that_is_busy_says_who_may_hold_it() {
    let home = Home::loaded(&[]);
    let context = Hello::CURRENT;
    let mut held: Vec<Port> = (0..MAXIMUM_CLIENTS)
        .map(|_| home.connect().port(context.as_bytes()).unwrap())
        .collect();
    for arguments in [&["stats"][..], &["status"], &["log", "--count", "1"]] {
        let complaint = home.run(arguments).complaint();
        assert!(
            complaint.contains("port is busy: 4 programs"),
            "{complaint}"
        );
    }
    held.pop();
    // The connection ends when the machine has seen its client go.
    while home.run(&["status"]).code != Some(0) {
        std::thread::yield_now();
    }
    drop(held);
    home.end();
}

#[test]
fn who_is_no_administrator_is_told_so() {
    let home = Home::loaded(&["--limited", "headroom.exe"]);
    for arguments in [&["stats"][..], &["status"], &["watch", "--plain"]] {
        let complaint = home.run(arguments).complaint();
        assert!(
            complaint.contains("only administrators and the system may connect"),
            "{complaint}"
        );
    }
    home.end();
}

/// A program of a later version: the driver refuses it, and it falls back to the oldest, or says what to do.
#[test]
fn versions_that_do_not_go_together_are_told() {
    let home = Home::loaded(&[]);
    let open = |context: &[u8]| -> Result<Box<dyn Link>, LinkError> {
        let mut hello = Hello::judge(context).unwrap();
        hello.minor += 1;
        Ok(Box::new(home.connect().port(hello.as_bytes())?))
    };
    // The first is one minor version ahead of the driver; the second, the oldest, is not.
    let mut client = Client::connect(open).unwrap();
    assert_eq!(client.instances().unwrap().1, 1);
    drop(client);
    let foreign = |_: &[u8]| -> Result<Box<dyn Link>, LinkError> {
        let mut hello = Hello::CURRENT;
        hello.major += 1;
        Ok(Box::new(home.connect().port(hello.as_bytes())?))
    };
    let Err(refused) = Client::connect(foreign) else {
        panic!("let in");
    };
    let text = refused.to_string();
    assert!(
        text.contains("another version of the protocol") && text.contains("1.1 and below"),
        "{text}"
    );
    home.end();
}

#[test]
fn completions_know_every_verb() {
    let home = Home::empty();
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let script = home.run(&["completions", shell]).good();
        for verb in [
            "run", "watch", "log", "stats", "config", "attach", "unload", "status",
        ] {
            assert!(script.contains(verb), "{shell} {verb}");
        }
    }
}
