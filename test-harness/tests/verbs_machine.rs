//! The machine in the background: it comes up, is found, dies, and goes, and says so.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod common;
mod loaded;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use headroom_harness::machine::{Connection, MachineError};
use loaded::Home;
use protocol::NtStatus;
use serde_json::Value;

#[test]
fn it_comes_up_tells_how_it_stands_and_goes() {
    let home = Home::empty();
    let told = home.run(&["status"]);
    assert_eq!(told.code, Some(1));
    assert_eq!(
        told.out,
        "The driver is not loaded. `headroom load` loads it.\n"
    );

    let out = home.load(&[]).good();
    assert!(
        out.starts_with("Loaded /") && out.contains(r"\\server\share is "),
        "{out}"
    );
    let out = home.run(&["status"]).good();
    for part in [
        "loaded, version ",
        "clients   1 of 4",
        "0 written",
        r"\Device\Mup  MUP ",
    ] {
        assert!(out.contains(part), "{part}: {out}");
    }
    assert_eq!(home.open("a.exe", 3).unwrap(), NtStatus::SUCCESS);
    let status: Value = serde_json::from_str(&home.run(&["status", "--json"]).good()).unwrap();
    assert_eq!(status["state"], "loaded");
    assert_eq!(status["driver"]["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(
        (&status["driver"]["written"], &status["total"]),
        (&1.into(), &1.into())
    );
    assert_eq!(status["machine"]["share"], r"\\server\share");

    let complaint = home.load(&[]).complaint();
    assert!(
        complaint.contains("a machine runs already, as process ")
            && complaint.contains(&status["machine"]["pid"].to_string()),
        "{complaint}"
    );
    home.end();
}

#[test]
fn what_is_loaded_with_settings_has_them() {
    let home = Home::loaded(&["--set", "logcapacity=64", "--set", "ExpandPolicy=redzone"]);
    assert_eq!(home.run(&["config", "get", "LogCapacity"]).good(), "64\n");
    assert_eq!(
        home.run(&["config", "get", "expandpolicy"]).good(),
        "RedZone\n"
    );
    home.end();
}

#[test]
fn what_cannot_be_loaded_is_refused_with_the_reason() {
    let home = Home::empty();
    let complaint = home.run(&["load", "--driver", "nowhere.sys"]).complaint();
    assert!(
        complaint.contains("there is no driver at nowhere.sys"),
        "{complaint}"
    );
    let text = home.path().join("text.sys");
    fs::write(&text, "no image").unwrap();
    let complaint = home
        .run(&["load", "--driver", text.to_str().unwrap()])
        .complaint();
    assert!(complaint.contains("text.sys"), "{complaint}");
    for (setting, says) in [
        (
            "Policy=Always",
            "there is no setting Policy; there are ExpandPolicy, ",
        ),
        ("ExpandPolicy=Sometimes", "it takes Always, RedZone, Never"),
        ("LogCapacity", "is not NAME=VALUE"),
    ] {
        let told = home.load(&["--set", setting]);
        assert_eq!(told.code, Some(2));
        assert!(told.err.contains(says), "{}", told.err);
    }
    assert_eq!(
        home.run(&["status"]).code,
        Some(1),
        "nothing was left behind"
    );
}

/// The one that a user has in the runtime folder, where no other is named.
#[test]
fn its_place_is_the_user_s_runtime_folder() {
    let home = Home::empty();
    let runtime = home.path().join("run");
    fs::create_dir(&runtime).unwrap();
    let run = |arguments: &[&str]| {
        let mut command = home.command(arguments);
        command
            .env_remove("HEADROOM_MACHINE")
            .env("XDG_RUNTIME_DIR", &runtime);
        loaded::Told::from(command.output().unwrap())
    };
    let sys = common::sys();
    run(&["load", "--for", "5m", "--driver", sys.to_str().unwrap()]).good();
    let place = runtime.join("headroom");
    let mode = fs::metadata(&place).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o700);
    assert!(place.join("socket").exists());
    run(&["unload"]).good();
}

#[test]
fn a_folder_that_others_can_reach_is_not_trusted() {
    let home = Home::empty();
    fs::set_permissions(home.path(), fs::Permissions::from_mode(0o755)).unwrap();
    for arguments in [&["status"][..], &["load"], &["log"]] {
        let told = if arguments == ["load"] {
            home.load(&[])
        } else {
            home.run(arguments)
        };
        let complaint = told.complaint();
        assert!(
            complaint.contains("others can get at ") && complaint.contains("chmod 700"),
            "{complaint}"
        );
    }
    // The root folder is another user's, unless this is that user's process.
    let mut command = home.command(&["status"]);
    let told = loaded::Told::from(command.env("HEADROOM_MACHINE", "/").output().unwrap());
    let complaint = told.complaint();
    assert!(
        complaint.contains("/ belongs to user 0") || complaint.contains("others can get at /"),
        "{complaint}"
    );
    let long = home.path().join("x".repeat(100));
    let mut command = home.command(&["status"]);
    let told = loaded::Told::from(command.env("HEADROOM_MACHINE", long).output().unwrap());
    assert!(told.complaint().contains("too long for a socket's path"));
}

/// A machine whose process is gone leaves a socket that nobody serves.
#[test]
fn one_that_was_killed_is_told_from_one_that_lives() {
    let home = Home::loaded(&[]);
    let pid = home.connect().standing().unwrap().pid;
    let killed = Command::new("kill")
        .args(["-9", &pid.to_string()])
        .status()
        .unwrap();
    assert!(killed.success());
    let over = || {
        matches!(
            Connection::open_at(&home.place()),
            Err(MachineError::Ended(_))
        )
    };
    while !over() {
        std::thread::yield_now();
    }
    for arguments in [&["status"][..], &["stats"], &["unload"]] {
        let complaint = home.run(arguments).complaint();
        assert!(
            complaint.contains("has ended without `headroom unload`"),
            "{complaint}"
        );
    }
    home.load(&[]).good();
    home.end();
}

#[test]
fn one_that_has_bug_checked_says_so_to_everybody() {
    let home = Home::loaded(&["--set", "ExpandPolicy=Never", "--set", "AncestorOpens=Top"]);
    let died = home.open("deep.exe", 40).unwrap_err();
    assert!(
        matches!(&died, MachineError::BugCheck(found) if found.is_double_fault()),
        "{died}"
    );

    let says = "bug check 0x7F UNEXPECTED_KERNEL_MODE_TRAP: ";
    let told = home.run(&["status"]);
    assert_eq!(told.code, Some(1));
    assert!(told.out.contains(says), "{}", told.out);
    let json: Value = serde_json::from_str(&home.run(&["status", "--json"]).out).unwrap();
    assert_eq!(
        (&json["state"], &json["code"]),
        (&"bug-check".into(), &0x7f.into())
    );
    for arguments in [
        &["log"][..],
        &["watch", "--plain"],
        &["stats"],
        &["reset"],
        &["config", "get"],
        &["config", "set", "UncOnly", "0"],
        &["instances"],
        &["attach", "C:"],
        &["detach", "C:"],
    ] {
        let complaint = home.run(arguments).complaint();
        assert!(
            complaint.contains(says) && complaint.contains("`headroom unload`"),
            "{arguments:?}: {complaint}"
        );
    }
    assert!(home.load(&[]).complaint().contains(says));

    let told = home.run(&["unload"]);
    assert_eq!((told.code, &*told.err), (Some(1), ""));
    assert!(
        told.out.contains(says) && told.out.contains("headroom!"),
        "{}",
        told.out
    );
    home.load(&[]).good();
    home.end();
}

/// What a client has opened and connected is closed when it goes, or the verifier would find it at the unload.
#[test]
fn a_client_that_goes_leaves_nothing() {
    use headroom_harness::backend::{Call, Purpose};
    use ntbench::wire::{StackKind, ThreadSpec};
    let home = Home::loaded(&[]);
    let mut machine = home.connect();
    let thread = machine
        .thread(ThreadSpec {
            process_image: "a.exe".to_owned(),
            process: 0,
            stack: StackKind::Ordinary,
        })
        .unwrap();
    let name = r"\??\UNC\server\share\d01".to_owned();
    let call = Call::Open {
        name,
        root: 0,
        purpose: Purpose::Attributes,
    };
    let opened = machine.call(thread, &call).unwrap();
    assert!(opened.status.is_success());
    drop(machine);
    home.end();
}

/// A scenario's calls are made on it as on a machine of the scenario's own: files are made, listed, renamed, deleted.
#[test]
fn a_scenario_of_every_call_is_played_on_it() {
    let home = Home::loaded(&["--traffic", "40"]);
    let out = home.path().join("out");
    let run =
        |scenario: &str| home.run(&["run", scenario, "--loaded", "--out", out.to_str().unwrap()]);
    for _ in 0..2 {
        let told = run("mixed");
        assert_eq!(told.code, Some(0), "{}{}", told.out, told.err);
    }
    for scenario in ["dfs", "links"] {
        assert!(run(scenario).complaint().contains("without --loaded"));
    }
    home.end();
}
