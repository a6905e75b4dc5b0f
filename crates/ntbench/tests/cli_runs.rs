//! What `ntbench run` does with several drivers, scenarios, failing calls, little stack, seeds and drivers that know no end.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod command;
mod model;

use command::{file, image, ntbench, shown};
use serde_json::Value;

#[test]
fn several_drivers_are_loaded_upwards_and_their_findings_told_apart() {
    let (logger, tracker) = (image("logger", &[]), image("tracker", &["LEAK=1"]));
    let ran = ntbench(&[
        "run",
        &tracker,
        "--instance",
        "T,365000",
        &logger,
        "--instance",
        "L,40000",
        "--parameter",
        "Answer=42",
        "--scenario",
        "basic",
        "--json",
    ]);
    assert_eq!(ran.status, 1, "{}", ran.err);
    let report = ran.json();
    let drivers = report["drivers"].as_array().expect("drivers");
    let of = |field: &str| -> Vec<&Value> { drivers.iter().map(|driver| &driver[field]).collect() };
    assert_eq!(
        of("service"),
        ["logger", "tracker"],
        "from the lowest altitude up"
    );
    assert_eq!(of("findings"), [0, 1]);
    assert_eq!(of("unload"), ["STATUS_FLT_DO_NOT_DETACH", "STATUS_SUCCESS"]);
    for finding in report["findings"].as_array().expect("findings") {
        assert_eq!(
            (&finding["driver"], &finding["rule"]),
            (&"tracker".into(), &"fltmgr-leak".into())
        );
    }
    // The option was the logger's, which prints it.
    let printed = |text: &str| {
        let events = report["trace"].as_array().expect("a trace").iter();
        events
            .filter_map(|event| event["DbgPrint"]["text"].as_str())
            .position(|line| line.contains(text))
    };
    assert!(printed("answer=42").is_some());
    assert!(
        report["steps"]
            .as_array()
            .expect("steps")
            .iter()
            .all(|step| step["wrong"].is_null())
    );

    let ran = ntbench(&["run", "--parameter", "A=1", &tracker, &logger]);
    assert_eq!(ran.status, 2);
    ran.says("--parameter stands before the first image");
    let ran = ntbench(&["run", &tracker, &tracker]);
    assert_eq!(ran.status, 2);
    ran.says("are both service tracker");
}

#[test]
fn every_scenario_is_played_on_each_place_and_leaves_nothing_behind() {
    let ran = ntbench(&[
        "run",
        &image("racer", &[]),
        "--scenario",
        "all",
        "--unchanged",
    ]);
    assert_eq!(ran.status, 0, "{}\n{}", ran.out, ran.err);
    for said in [
        "basic on volume C:",
        r"names on DFS link \\corp\dfs\link",
        r"threads on share \\server\share",
    ] {
        ran.says(said);
    }
    assert!(!ran.out.contains("(the machine ended)"), "{}", ran.out);

    let folder = file("volume", "");
    std::fs::remove_file(&folder).expect("removed");
    std::fs::create_dir_all(&folder).expect("a folder");
    let volume = format!("C={}", folder.display());
    let watcher = image("racer", &[]);
    let ran = ntbench(&[
        "run",
        &watcher,
        "--volume",
        &volume,
        "--scenario",
        "metadata",
    ]);
    assert_eq!(ran.status, 0, "{}", ran.err);
    assert!(
        !ran.out.contains(" on share "),
        "only where it was asked to be"
    );
    assert_eq!(std::fs::read_dir(&folder).expect("the folder").count(), 0);
    std::fs::create_dir(folder.join("ntbench-scenario")).expect("somebody's folder");
    let ran = ntbench(&["run", &watcher, "--volume", &volume, "--scenario", "basic"]);
    assert_eq!(ran.status, 2);
    ran.says("is there already");
}

#[test]
fn a_scenario_file_says_what_is_to_come_of_each_step() {
    let watcher = image("racer", &[]);
    let text = |expected: &str| {
        format!(
            "on = ['volume']\n[[prepare]]\nfile = 'a\\b.txt'\ntext = 'abc'\n[[step]]\ndo = 'open'\npath = 'a\\b.txt'\n\
             [[step]]\ndo = 'read'\nlength = 9\noffset = 0\nexpect-text = 'abc'\n\
             [[step]]\ndo = 'write'\ntext = 'x'\nexpect = '{expected}'\n"
        )
    };
    let good = file("good.toml", &text("STATUS_ACCESS_DENIED"));
    let ran = ntbench(&["run", &watcher, "--scenario", &shown(&good)]);
    assert_eq!(ran.status, 0, "{}\n{}", ran.out, ran.err);
    let wrong = file("wrong.toml", &text("STATUS_SUCCESS"));
    let ran = ntbench(&["run", &watcher, "--scenario", &shown(&wrong)]);
    assert_eq!(ran.status, 1);
    ran.says("STATUS_ACCESS_DENIED          0           -  expected STATUS_SUCCESS");
    ran.says("3 operations, 1 not as expected; no finding");
    let broken = file("broken.toml", &text("STATUS_SUCESS"));
    let ran = ntbench(&["run", &watcher, "--scenario", &shown(&broken)]);
    assert_eq!(ran.status, 2);
    ran.says("broken.toml:16:10: expected the name of a status");
    let ran = ntbench(&["run", &watcher, "--scenario", "bassic"]);
    assert_eq!(ran.status, 2);
    ran.says("there is no scenario bassic: the built-in ones are basic, ");
}

#[test]
fn a_filter_that_changes_what_programs_get_is_told_from_one_that_does_not() {
    let swapper = image("swapper", &[]);
    let ran = ntbench(&["run", &swapper, "--scenario", "basic"]);
    assert_eq!(
        ran.status, 0,
        "what it changes is its own affair: {}",
        ran.out
    );
    ran.says("other than without the drivers; no finding");
    let ran = ntbench(&["run", &swapper, "--scenario", "basic", "--unchanged"]);
    assert_eq!(ran.status, 1);
}

#[test]
fn each_call_fails_once_and_what_comes_of_it_is_a_row() {
    let tracker = image("tracker", &[]);
    let ran = ntbench(&["run", &tracker, "--scenario", "basic", "--faults", "all"]);
    assert_eq!(ran.status, 0, "{}\n{}", ran.out, ran.err);
    ran.says("tracker does not load: STATUS_INSUFFICIENT_RESOURCES");
    ran.says("every failure was survived, nothing leaked");

    let call = "FltSetInstanceContext=STATUS_FLT_DELETING_OBJECT";
    let ran = ntbench(&[
        "run",
        &tracker,
        "--scenario",
        "basic",
        "--faults",
        call,
        "--json",
    ]);
    let report = ran.json();
    let faults = report["faults"].as_array().expect("faults");
    assert_eq!(faults.len(), 1, "{faults:#?}");
    assert_eq!(faults[0]["status"], "STATUS_FLT_DELETING_OBJECT");
    assert_eq!(faults[0]["outcome"], "ok");

    // One that the bench has no failure of its own for fails where it is called.
    let doer = image("doer", &[]);
    let ran = ntbench(&[
        "run",
        &doer,
        "--scenario",
        "basic",
        "--faults",
        "FltAllocateCallbackData=STATUS_UNSUCCESSFUL",
        "--json",
    ]);
    assert_eq!(ran.json()["faults"][0]["happened"], true, "{}", ran.err);
    let ran = ntbench(&[
        "run",
        &tracker,
        "--scenario",
        "basic",
        "--faults",
        "FltNoSuchThing",
    ]);
    assert_eq!(ran.status, 2);
    ran.says("the bench has no function FltNoSuchThing");
    let ran = ntbench(&[
        "run",
        &tracker,
        "--scenario",
        "basic",
        "--faults",
        "KeSetEvent",
    ]);
    assert_eq!(ran.status, 2);
    ran.says("cannot be made to fail");
}

#[test]
fn creates_with_less_and_less_stack_show_where_it_ends() {
    let ran = ntbench(&[
        "run",
        &image("racer", &[]),
        "--scenario",
        "basic",
        "--low-stack",
        "0x3000..0x400:0x400",
        "--json",
    ]);
    assert_eq!(ran.status, 1, "{}", ran.err);
    let report = ran.json();
    let tried = report["low_stack"].as_array().expect("rows");
    assert_eq!(tried.len(), 12);
    assert_eq!(
        (&tried[0]["bytes"], &tried[0]["outcome"]),
        (&0x3000.into(), &"ok".into())
    );
    let left = |row: &Value| row["at_callback"]["racer"].as_u64();
    assert!(left(&tried[0]) > left(&tried[1]) && left(&tried[1]).is_some());
    let last = tried.last().expect("a row");
    assert!(
        last["outcome"]
            .as_str()
            .expect("text")
            .starts_with("0x7F in "),
        "{last}"
    );
    let ran = ntbench(&["run", "some.sys", "--low-stack", "9..1"]);
    assert_eq!(ran.status, 2);
    ran.says("write FROM..TO:STEP");
}

#[test]
fn a_race_is_found_by_some_seed_and_comes_again_with_it_alone() {
    let racer = image("racer", &["DEFECT=1"]);
    let ran = ntbench(&[
        "run",
        &racer,
        "--scenario",
        "threads",
        "--schedules",
        "60",
        "--json",
    ]);
    assert_eq!(ran.status, 1, "{}", ran.err);
    let report = ran.json();
    let seed = report["schedules"]["failed"]
        .as_u64()
        .expect("a seed that fails");
    assert!(seed > 1, "the first seeds pass");
    let replay = report["schedules"]["replay"].as_str().expect("a command");
    assert!(replay.ends_with(&format!("--seed {seed}")), "{replay}");
    let end = |seed: u64| {
        let ran = ntbench(&[
            "run",
            &racer,
            "--scenario",
            "threads",
            "--seed",
            &seed.to_string(),
            "--json",
        ]);
        let report = ran.json();
        let switches: Vec<String> = report["trace"]
            .as_array()
            .expect("a trace")
            .iter()
            .filter(|event| !event["Switch"].is_null())
            .map(ToString::to_string)
            .collect();
        (ran.status, report["end"]["code"].clone(), switches)
    };
    let first = end(seed);
    assert_eq!((first.0, &first.1), (1, &report["end"]["code"]));
    assert!(!first.2.is_empty());
    for _ in 0..4 {
        assert_eq!(end(seed), first, "seed {seed}");
    }
    for _ in 0..2 {
        assert_eq!(end(seed - 1).0, 0, "seed {} passed", seed - 1);
    }
    let careful = image("racer", &[]);
    let ran = ntbench(&[
        "run",
        &careful,
        "--scenario",
        "threads",
        "--schedules",
        "30",
    ]);
    assert_eq!(ran.status, 0, "{}", ran.out);
    ran.says("30 schedules, seeds 1 to 30: none fails");
}

#[test]
fn drivers_that_wait_and_work_elsewhere_come_to_their_end_under_seeds() {
    for name in ["queuer", "asker", "mover", "opener", "doer"] {
        let image = image(name, &[]);
        let ran = ntbench(&[
            "run",
            &image,
            "--scenario",
            "data",
            "--scenario",
            "locks",
            "--scenario",
            "threads",
            "--schedules",
            "3",
        ]);
        assert_eq!(ran.status, 0, "{name}: {}\n{}", ran.out, ran.err);
    }
}

#[test]
fn a_driver_that_hoards_gets_no_more_and_is_told_of() {
    let ran = ntbench(&[
        "run",
        &image("hoarder", &["DEFECT=1"]),
        "--scenario",
        "basic",
        "--pool-limit",
        "2",
    ]);
    assert_eq!(ran.status, 1);
    ran.says("finding pool-exhausted");
    ran.says("the drivers hold 2 MB of pool");
    ran.says("allocated at hoarder!PreCreate+");
    assert!(!ran.out.contains("BUG CHECK"), "{}", ran.out);
    let ran = ntbench(&[
        "run",
        &image("hoarder", &[]),
        "--scenario",
        "basic",
        "--pool-limit",
        "2",
    ]);
    assert_eq!(ran.status, 0, "{}", ran.out);
}

#[test]
fn a_driver_that_loops_or_waits_for_ever_is_stopped_where_it_is() {
    for (defect, place) in [
        ("DEFECT=2", "hoarder!LookForTheFlag+"),
        ("DEFECT=3", "hoarder!PreCreate+"),
    ] {
        let ran = ntbench(&[
            "run",
            &image("hoarder", &[defect]),
            "--scenario",
            "basic",
            "--time-limit",
            "10",
        ]);
        assert_eq!(ran.status, 1, "{}", ran.err);
        ran.says("no answer to NtCreateFile(");
        ran.says(&format!("was in {place}"));
        ran.says("stopped by the time limit");
    }
}
