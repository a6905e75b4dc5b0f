//! What the command makes go wrong, and what it measures: each on a driver in C, and on the one that `NTBENCH_DRIVER` names, where it does.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod command;
mod model;

use command::{Ran, file, image, ntbench, shown};
use serde_json::Value;

/// A driver in C, and another one that somebody has built.
fn drivers(name: &str, defines: &[&str]) -> Vec<String> {
    let other = std::env::var("NTBENCH_DRIVER").ok();
    if other.is_none() {
        println!("skipped on a driver of another's: NTBENCH_DRIVER names none");
    }
    std::iter::once(image(name, defines)).chain(other).collect()
}

fn rows<'a>(report: &'a Value, name: &str) -> &'a [Value] {
    report[name].as_array().map_or(&[], Vec::as_slice)
}

/// Runs a command line that a report tells, as a shell would.
fn replay(line: &str) -> Ran {
    let words: Vec<String> = line
        .split(' ')
        .skip(1)
        .map(|word| word.trim_matches('\'').to_owned())
        .collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    ntbench(&words)
}

#[test]
fn every_call_stack_fails_once_until_none_is_left_and_is_run_again_by_its_command() {
    for driver in drivers("tracker", &[]) {
        let words = [
            "run",
            &driver,
            "--scenario",
            "basic",
            "--faults",
            "all",
            "--json",
        ];
        let ran = ntbench(&words);
        assert_eq!(ran.status, 0, "{driver}: {}\n{}", ran.out, ran.err);
        let report = ran.json();
        let mut seen = std::collections::BTreeSet::new();
        for row in rows(&report, "faults") {
            assert_eq!(row["outcome"], "ok");
            assert!(seen.insert(row["replay"].to_string()), "twice: {row}");
        }
        assert!(seen.len() > 5, "{driver}: {} calls", seen.len());
    }
    // One that leaks where a call fails: its command finds the same.
    let leaky = image("careless", &["DEFECT=1"]);
    let ran = ntbench(&[
        "run",
        &leaky,
        "--scenario",
        "basic",
        "--faults",
        "all",
        "--json",
    ]);
    assert_eq!(ran.status, 1, "{}", ran.err);
    let report = ran.json();
    let bad = rows(&report, "faults")
        .iter()
        .find(|row| row["outcome"] == "leak")
        .expect("a leak");
    let line = bad["replay"].as_str().expect("a command");
    assert!(
        !line.contains("--faults ") && line.contains("@stack:"),
        "{line}"
    );
    let again = replay(line);
    assert_eq!(again.status, 1, "{line}: {}", again.err);
    let rules: Vec<Value> = rows(&again.json(), "findings")
        .iter()
        .map(|finding| finding["rule"].clone())
        .collect();
    assert_eq!(rules, ["pool-leak"]);
}

#[test]
fn a_chosen_call_fails_with_a_chosen_status() {
    for (driver, call) in drivers("tracker", &[]).iter().zip([
        "FltStartFiltering=STATUS_FLT_DELETING_OBJECT",
        "FltRegisterFilter=STATUS_FLT_NOT_INITIALIZED",
    ]) {
        let ran = ntbench(&["run", driver, "--fault", call, "--json"]);
        assert_eq!(ran.status, 1, "{}", ran.err);
        let (_, status) = call.split_once('=').expect("a status");
        assert_eq!(ran.json()["drivers"][0]["entry"], status);
    }
}

#[test]
fn an_expansion_fails_with_each_of_its_statuses() {
    for driver in drivers("expander", &[]) {
        let call = "KeExpandKernelStackAndCalloutEx";
        let words = [
            "run",
            &driver,
            "--scenario",
            "basic",
            "--faults",
            call,
            "--json",
        ];
        let ran = ntbench(&words);
        assert_eq!(ran.status, 0, "{driver}: {}\n{}", ran.out, ran.err);
        let report = ran.json();
        let mut statuses: Vec<&str> = rows(&report, "faults")
            .iter()
            .filter_map(|row| row["status"].as_str())
            .collect();
        statuses.sort_unstable();
        statuses.dedup();
        assert_eq!(
            statuses,
            [
                "STATUS_INVALID_PARAMETER_3",
                "STATUS_INVALID_PARAMETER_4",
                "STATUS_NO_MEMORY",
                "STATUS_STACK_OVERFLOW"
            ]
        );
    }
}

#[test]
fn creates_begin_with_less_and_less_stack_and_one_number_is_told_in_full() {
    for driver in drivers("expander", &[]) {
        let words = [
            "run",
            &driver,
            "--scenario",
            "basic",
            "--low-stack",
            "0x3000..0x800:0x800",
            "--json",
        ];
        let ran = ntbench(&words);
        let report = ran.json();
        let tried = rows(&report, "low_stack");
        assert_eq!(tried.len(), 6, "{driver}: {}", ran.err);
        assert_eq!(tried[0]["outcome"], "ok");
        let bad = tried
            .iter()
            .find(|row| row["outcome"] != "ok")
            .expect("the end");
        let again = replay(bad["replay"].as_str().expect("a command"));
        assert_eq!(again.status, 1);
        assert_eq!(again.json()["end"]["code"], 0x7F);
    }
}

#[test]
fn seeds_delay_and_switch_and_come_again() {
    for driver in drivers("racer", &[]) {
        let words = ["run", &driver, "--scenario", "threads", "--schedules", "5"];
        let ran = ntbench(&words);
        assert_eq!(ran.status, 0, "{driver}: {}\n{}", ran.out, ran.err);
        ran.says("5 schedules, seeds 1 to 5: none fails");
        let once = |seed: &str| {
            let ran = ntbench(&[
                "run",
                &driver,
                "--scenario",
                "threads",
                "--seed",
                seed,
                "--json",
            ]);
            rows(&ran.json(), "trace")
                .iter()
                .filter(|event| !event["Switch"].is_null())
                .map(ToString::to_string)
                .collect::<Vec<_>>()
        };
        assert_eq!(once("3"), once("3"));
        assert_ne!(once("3"), once("4"));
    }
}

#[test]
fn what_callbacks_use_of_the_stack_is_a_table_and_too_much_a_finding() {
    for driver in drivers("expander", &[]) {
        let words = ["run", &driver, "--scenario", "basic"];
        let ran = ntbench(&words);
        assert_eq!(ran.status, 0, "{driver}: {}\n{}", ran.out, ran.err);
        ran.says("kernel stack that callbacks used, in bytes");
        let ran = ntbench(&[&words[..], &["--json"]].concat());
        let report = ran.json();
        let uses = rows(&report, "stack_use");
        let create = uses
            .iter()
            .find(|row| row["callback"] == "pre" && row["operation"] == "IRP_MJ_CREATE")
            .expect("a row");
        let bytes = |name: &str| create[name].as_u64().expect("a number");
        assert!(bytes("calls") > 0 && bytes("own") > 0, "{create}");
        assert!(bytes("own") <= bytes("with_callees"), "{create}");
        assert!(bytes("expanded") > 0, "{create}");
        assert!(create["deepest"].is_string(), "{create}");

        let own = bytes("own");
        // Where the callout runs in place, what it uses was asked for all the same.
        let ran = ntbench(&[&words[..], &["--large-stack", "--json"]].concat());
        let report = ran.json();
        let is_create =
            |row: &&Value| row["operation"] == "IRP_MJ_CREATE" && row["callback"] == "pre";
        let large = rows(&report, "stack_use")
            .iter()
            .find(is_create)
            .expect("a row");
        assert_eq!(large["own"], own, "{large}");
        assert!(large["expanded"].as_u64() > Some(0), "{large}");

        let limited = |limit: u64| {
            let limit = limit.to_string();
            ntbench(&[&words[..], &["--stack-limit", &limit]].concat())
        };
        let ran = limited(own);
        assert_eq!(ran.status, 0, "exactly as much: {}", ran.out);
        let ran = limited(own - 1);
        assert_eq!(ran.status, 1, "{}", ran.out);
        ran.says("finding stack-use: the pre-operation callback for IRP_MJ_CREATE of ");
        ran.says("to mend it: take large variables from pool");
    }
}

#[test]
fn a_port_that_wants_a_context_says_so_and_is_given_one() {
    let talker = image("talker", &["WANTS=1"]);
    let ran = ntbench(&["run", &talker, "--scenario", "ports"]);
    ran.says("port \\TalkerPort refused a connection without a context: STATUS_INVALID_PARAMETER");
    ran.says("--port-context TEXT or --port-context hex:0102");
    let words = [
        "run",
        &talker,
        "--scenario",
        "ports",
        "--port-context",
        "hex:01 02 03",
    ];
    let ran = ntbench(&words);
    assert!(!ran.err.contains("without a context"), "{}", ran.err);
    ran.says("connect (port)             STATUS_SUCCESS");

    let mine = file(
        "context.toml",
        "on = ['port']\n[[step]]\ndo = 'connect'\nhex = '010203'\nexpect = 'STATUS_SUCCESS'\n\
         [[step]]\ndo = 'send'\nhex = '00'\noutput = 8\nexpect = 'STATUS_SUCCESS'\n",
    );
    let ran = ntbench(&["run", &talker, "--scenario", &shown(&mine)]);
    assert_eq!(ran.status, 0, "{}\n{}", ran.out, ran.err);
    let ran = ntbench(&[
        "run",
        &talker,
        "--scenario",
        "ports",
        "--port-context",
        "hex:1",
    ]);
    assert_eq!(ran.status, 2);
    ran.says("pairs of hexadecimal digits");
}

#[test]
fn programs_use_the_registry_and_start_others_before_drivers_that_watch() {
    let monitor = model::compile_ddk_with("monitor", &[], &["-Wl,--forceinteg"]);
    let registrar = model::compile_ddk("registrar", &[]);
    for (driver, scenario, callback) in [
        (&monitor, "processes", "process-notify"),
        (&registrar, "registry", "registry-callback"),
    ] {
        let words = ["run", &shown(driver), "--scenario", scenario, "--json"];
        let ran = ntbench(&words);
        assert!(ran.status < 2, "{}", ran.err);
        let report = ran.json();
        for step in rows(&report, "steps") {
            assert_eq!(step["wrong"], Value::Null, "{step}");
            assert_eq!(step["place"], "the machine");
        }
        let phases: std::collections::BTreeSet<&str> = rows(&report, "stack_use")
            .iter()
            .filter_map(|row| row["callback"].as_str())
            .collect();
        assert!(
            phases.iter().any(|phase| phase.contains(callback)),
            "{phases:?}"
        );
    }
    let wrong = file(
        "key.toml",
        "on = ['machine']\n[[step]]\ndo = 'open-key'\nkey = 'Software'\n",
    );
    let ran = ntbench(&["run", &shown(&registrar), "--scenario", &shown(&wrong)]);
    assert_eq!(ran.status, 2);
    ran.says("key.toml:4:7: expected a key's whole name");
    let wrong = file(
        "value.toml",
        "on = ['machine']\n[[step]]\ndo = 'set-value'\nkey = '\\Registry\\Machine\\Software'\nname = 'a'\n",
    );
    let ran = ntbench(&["run", &shown(&registrar), "--scenario", &shown(&wrong)]);
    assert_eq!(ran.status, 2);
    ran.says("needs one of `text` (REG_SZ)");
}
