//! What scenarios give a filter to do beyond plain files: questions at its port, other buffers, transactions, streams and mappings.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod model;

use std::path::PathBuf;
use std::process::Command;

use model::{compile, scratch_folder};
use serde_json::Value;

/// The command's result as JSON, and its exit status.
fn run(arguments: &[&str]) -> (i32, Value) {
    let output = Command::new(env!("CARGO_BIN_EXE_ntbench"))
        .arg("run")
        .args(arguments)
        .arg("--json")
        .output()
        .expect("the command runs");
    let report = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
        panic!("{error}\n{}", String::from_utf8_lossy(&output.stderr));
    });
    (output.status.code().unwrap_or(-1), report)
}

fn scenario(text: &str) -> String {
    let path: PathBuf = scratch_folder().join("scenario.toml");
    std::fs::write(&path, text).expect("a file");
    path.display().to_string()
}

fn image(name: &str) -> String {
    compile(name, &[]).display().to_string()
}

/// What was done, how it ended, and how many questions were answered meanwhile.
fn steps(report: &Value) -> Vec<(&str, &str, u64)> {
    let steps = report["steps"].as_array().expect("steps");
    steps
        .iter()
        .map(|step| {
            (
                step["operation"].as_str().expect("an operation"),
                step["statuses"][0][0].as_str().unwrap_or("none"),
                step["answered"].as_u64().expect("a count"),
            )
        })
        .collect()
}

#[test]
fn the_ports_scenario_answers_what_a_filter_asks() {
    let scanner = image("scanner");
    let run = |seed: &str| run(&[&scanner, "--scenario", "ports", "--seed", seed]);
    let (status, report) = run("5");
    assert_eq!(status, 0, "{report:#}");
    let seen = steps(&report);
    assert_eq!(
        seen[..5],
        [
            ("connect (port)", "STATUS_SUCCESS", 0),
            ("open asked.txt", "STATUS_SUCCESS", 1),
            ("read 100 bytes at 0", "STATUS_SUCCESS", 0),
            ("write 13 bytes at 0", "STATUS_SUCCESS", 0),
            ("close", "STATUS_SUCCESS", 1),
        ]
    );
    assert_eq!(steps(&run("5").1), seen);
}

/// A program that is connected to the scanner and answers so; what came of opening a file.
fn opened(answer: &str) -> (String, u64, i32) {
    let text = format!(
        r"
        on = ['volume']
        [[prepare]]
        file = 'a.txt'
        text = 'hello'
        [[step]]
        do = 'connect'
        file = 'port'
        port = '\ScannerPort'
        {answer}
        [[step]]
        do = 'open'
        path = 'a.txt'
        "
    );
    let (status, report) = run(&[&image("scanner"), "--scenario", &scenario(&text)]);
    let open = steps(&report)[1];
    (open.1.to_owned(), open.2, status)
}

#[test]
fn a_scenario_file_says_what_is_answered() {
    let good = ("STATUS_SUCCESS".to_owned(), 1, 0);
    let bad = ("STATUS_ACCESS_DENIED".to_owned(), 1, 0);
    assert_eq!(opened(""), good);
    assert_eq!(opened("answer = 'zeros'"), good);
    assert_eq!(opened("answer-hex = '01000000'"), bad);
    assert_eq!(opened("answer-text = 'no'"), bad);
    // The scanner's patience ends, and it lets the file pass.
    assert_eq!(opened("answer = 'silent'").0, "STATUS_SUCCESS");
    assert_eq!(opened("answer = 'silent'").1, 0);
}

#[test]
fn a_program_goes_on_with_what_it_was_asked() {
    let calls = |then: &str| {
        let text = format!(
            r"
            [[step]]
            do = 'connect'
            file = 'port'
            port = '\TalkerPort'
            answer-hex = '07'
            {then}
            [[step]]
            do = 'send'
            file = 'port'
            hex = '02'
            expect = 'STATUS_SUCCESS'
            [[step]]
            do = 'disconnect'
            file = 'port'
            "
        );
        let (status, report) = run(&[&image("talker"), "--scenario", &scenario(&text)]);
        assert_eq!(status, 0, "{report:#}");
        let steps = report["steps"].as_array().expect("steps");
        let of = |step: &Value| step["callbacks"]["talker"].as_u64().unwrap_or(0);
        steps.iter().map(of).sum::<u64>()
    };
    // Once on a volume and once on a share: a connection, the question's cause, the end of it; and two messages after the answer, of which
    // the second asks for what the question does not hold.
    let then = "then-send = ['00 {0..8}', '{100..101} 01']";
    assert_eq!((calls(""), calls(then)), (2 * 3, 2 * 5));
}

#[test]
fn an_answer_that_says_two_things_is_a_mistake() {
    for (answer, said) in [
        (
            "answer = 'maybe'",
            "expected `zeros` or `silent`, not `maybe`",
        ),
        (
            "answer = 'zeros'\nanswer-hex = '00'",
            "one of `answer`, `answer-text` and `answer-hex`",
        ),
        ("answer-hex = '0'", "pairs of hexadecimal digits"),
        (
            "then-send = ['00', '{8}']",
            "`{8..16}` for bytes of the message",
        ),
    ] {
        let text = format!("[[step]]\ndo = 'connect'\nport = '\\Any'\n{answer}\n");
        let output = Command::new(env!("CARGO_BIN_EXE_ntbench"))
            .args(["run", "none.sys", "--scenario", &scenario(&text)])
            .output()
            .expect("the command runs");
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{told}");
        assert!(told.contains(said), "{told}");
    }
}

/// The driver's debug output.
fn lines(report: &Value) -> Vec<&str> {
    let trace = report["trace"].as_array().expect("a trace");
    let lines = trace.iter().map(|event| event["DbgPrint"]["text"].as_str());
    lines.flatten().collect()
}

#[test]
fn a_volume_wants_its_buffers_as_asked() {
    let fast = image("fast");
    for (buffers, expected) in [
        (None, "system=0 mdl=0"),
        (Some("neither"), "system=0 mdl=0"),
        (Some("buffered"), "system=1 mdl=0"),
        (Some("direct"), "system=0 mdl=1"),
    ] {
        let asked: Vec<&str> = buffers.map_or_else(Vec::new, |word| vec!["--buffers", word]);
        let (status, report) = run(&[&[&*fast, "--scenario", "basic"], &*asked].concat());
        assert_eq!(status, 0, "{report:#}");
        let expected = format!("pre IRP_MJ_WRITE fast=0 {expected} length=9");
        assert!(
            lines(&report).contains(&&*expected),
            "{:#?}",
            lines(&report)
        );
    }
}

#[test]
fn transactions_streams_and_mappings_go_as_their_scenarios_expect() {
    let fast = image("fast");
    for name in ["transactions", "streams", "mapped"] {
        let (status, report) = run(&[&fast, "--scenario", name, "--unchanged"]);
        assert_eq!(status, 0, "{report:#}");
        for step in report["steps"].as_array().expect("steps") {
            assert!(step["wrong"].is_null(), "{name}: {step:#}");
        }
        assert!(report["drivers"][0]["callbacks"].as_u64() > Some(20));
    }
}

#[test]
fn a_scenario_file_opens_in_the_transaction_that_it_names() {
    let text = r"
        on = ['volume']
        [[step]]
        do = 'begin'
        file = 'first'
        [[step]]
        do = 'begin'
        file = 'second'
        [[step]]
        do = 'create'
        path = 'a.txt'
        transaction = 'first'
        [[step]]
        do = 'rollback'
        file = 'second'
        [[step]]
        do = 'close'
        [[step]]
        do = 'attributes'
        path = 'a.txt'
        [[step]]
        do = 'rollback'
        file = 'first'
        [[step]]
        do = 'attributes'
        path = 'a.txt'
        expect = 'STATUS_OBJECT_NAME_NOT_FOUND'
        ";
    let (status, report) = run(&[&image("fast"), "--scenario", &scenario(text)]);
    assert_eq!(status, 0, "{report:#}");
    assert_eq!(
        steps(&report)[5..],
        [
            ("attributes of a.txt", "STATUS_SUCCESS", 0),
            ("roll back first", "STATUS_SUCCESS", 0),
            ("attributes of a.txt", "STATUS_OBJECT_NAME_NOT_FOUND", 0),
        ]
    );
}
