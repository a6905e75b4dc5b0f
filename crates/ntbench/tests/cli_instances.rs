//! A program attaches filters' instances and detaches them, while it uses the volume.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod model;

use std::path::PathBuf;
use std::process::Command;

use model::{compile, scratch_folder};
use serde_json::Value;

fn run(arguments: &[&str]) -> Value {
    let output = Command::new(env!("CARGO_BIN_EXE_ntbench"))
        .arg("run")
        .args(arguments)
        .arg("--json")
        .output()
        .expect("the command runs");
    assert_eq!(
        output.status.code(),
        Some(0),
        "{}",
        String::from_utf8_lossy(&output.stdout)
    );
    serde_json::from_slice(&output.stdout).expect("a report")
}

fn image(name: &str, defines: &[&str]) -> String {
    compile(name, defines).display().to_string()
}

/// What was done, how it ended, and how many callbacks there were meanwhile.
fn steps(report: &Value) -> Vec<(&str, &str, u64)> {
    let steps = report["steps"].as_array().expect("steps");
    steps
        .iter()
        .map(|step| {
            let callbacks = step["callbacks"].as_object().expect("an object");
            (
                step["operation"].as_str().expect("an operation"),
                step["statuses"][0][0].as_str().expect("a status"),
                callbacks.values().filter_map(Value::as_u64).sum(),
            )
        })
        .collect()
}

fn lines(report: &Value) -> Vec<&str> {
    let trace = report["trace"].as_array().expect("a trace");
    let lines = trace.iter().map(|event| event["DbgPrint"]["text"].as_str());
    lines.flatten().collect()
}

#[test]
fn a_filter_that_is_detached_sees_nothing_until_it_is_attached_again() {
    let report = run(&[&image("attached", &[]), "--scenario", "instances"]);
    assert_eq!(
        steps(&report)[2..],
        [
            (
                "detach no such instance",
                "STATUS_FLT_INSTANCE_NOT_FOUND",
                0
            ),
            ("attach", "STATUS_FLT_INSTANCE_NAME_COLLISION", 0),
            ("open open.txt", "STATUS_SUCCESS", 1),
            ("read 13 bytes at 0", "STATUS_SUCCESS", 1),
            // Asked, told that it begins, told that it is over.
            ("detach", "STATUS_SUCCESS", 3),
            ("write 6 bytes at 0", "STATUS_SUCCESS", 0),
            ("attributes of open.txt", "STATUS_SUCCESS", 0),
            ("attach", "STATUS_SUCCESS", 1),
            ("read 13 bytes at 0", "STATUS_SUCCESS", 1),
            ("close", "STATUS_SUCCESS", 0),
            ("open open.txt", "STATUS_SUCCESS", 1),
            ("attach ntbench's at 385100.25", "STATUS_SUCCESS", 1),
            ("read 13 bytes at 0", "STATUS_SUCCESS", 2),
            ("detach ntbench's", "STATUS_SUCCESS", 3),
            ("close", "STATUS_SUCCESS", 0),
            ("attributes of open.txt", "STATUS_SUCCESS", 1),
        ]
    );
    // By itself, then by hand (FLTFL_INSTANCE_SETUP_MANUAL_ATTACHMENT), torn down by hand (FLTFL_INSTANCE_TEARDOWN_MANUAL).
    let manual = ["setup 2", "may it go? 0", "going 1", "gone 1"];
    let expected = [&["setup 1"], &manual[1..], &manual[..1], &manual[..]].concat();
    assert!(
        lines(&report).starts_with(&expected),
        "{:#?}",
        lines(&report)
    );
}

#[test]
fn a_filter_that_refuses_is_left_as_it_is() {
    let stubborn = image(
        "attached",
        &["ANSWER=STATUS_FLT_DO_NOT_ATTACH", "WITHOUT_QUERY"],
    );
    let text = r#"
        on = ['filter']
        [[step]]
        do = 'detach'
        expect = 'STATUS_FLT_DO_NOT_DETACH'
        [[step]]
        do = 'attach'
        instance = 'second'
        altitude = '1.5'
        expect = 'STATUS_FLT_DO_NOT_ATTACH'
        [[step]]
        do = 'attach'
        instance = 'third'
        expect = 'STATUS_OBJECT_NAME_NOT_FOUND'
        "#;
    let report = run(&[&stubborn, "--scenario", &scenario(text)]);
    assert_eq!(steps(&report).len(), 3);
    assert_eq!(lines(&report)[..2], ["setup 1", "setup 2"]);
}

#[test]
fn no_two_instances_stand_at_one_altitude_and_none_where_the_registry_forbids() {
    let first = image("attached", &[]);
    let second = image("fast", &[]);
    let text = r#"
        on = ['volume']
        [[step]]
        do = 'attach'
        filter = 'attached'
        instance = 'beside'
        altitude = '41000'
        expect = 'STATUS_FLT_INSTANCE_ALTITUDE_COLLISION'
        [[step]]
        do = 'detach'
        filter = 'attached'
        volume = 'C:'
        expect = 'STATUS_SUCCESS'
        [[step]]
        do = 'attach'
        filter = 'attached'
        expect = 'STATUS_FLT_DO_NOT_ATTACH'
        [[step]]
        do = 'attach'
        filter = 'attached'
        altitude = 'high'
        expect = 'STATUS_INVALID_PARAMETER'
        [[step]]
        do = 'detach'
        filter = 'attached'
        expect = 'STATUS_FLT_INSTANCE_NOT_FOUND'
        "#;
    let report = run(&[
        &first,
        "--instance",
        "by hand never,42000,2",
        &second,
        "--instance",
        "only,41000",
        "--scenario",
        &scenario(text),
    ]);
    let told: Vec<&str> = steps(&report).iter().map(|step| step.0).collect();
    assert_eq!(told[0], "attach attached beside at 41000");
    assert_eq!(told[1], "detach attached from C:");
}

fn scenario(text: &str) -> String {
    let path: PathBuf = scratch_folder().join("scenario.toml");
    std::fs::write(&path, text).expect("a file");
    path.display().to_string()
}
