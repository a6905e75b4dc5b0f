//! The verbs that talk to a driver, against the driver on a machine in the background.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod common;
mod loaded;

use std::fs;

use headroom_harness::link::{Client, Link, LinkError};
use headroom_harness::machine::Port;
use insta::assert_snapshot;
use loaded::{Home, json, opened, redacted};
use protocol::NtStatus;
use protocol::port::{Hello, MAXIMUM_CLIENTS};
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
