//! Every rule broken once: what is found names it, tells where in the driver, by function and line, and how to mend it.
//!
//! The table is the driver's source (`tests/rules`): what it compares its misuse with is a row, and marks say where the finding
//! is to be. A rule that no row breaks fails the test.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod model;
mod rules;
mod samples;
mod volume;

use std::collections::BTreeSet;

use rules::{Ended, Place, Row, play, rows};

/// Rules that no driver can be made to break here, and why.
const NOT_BY_A_DRIVER: &[(&str, &str)] = &[("bench", "the host has run out of threads or memory")];

/// Rules that other tests break, each by the file that does.
const ELSEWHERE: &[(&str, &str)] = &[
    ("cng-handle", include_str!("model_crypto.rs")),
    ("cng-leak", include_str!("model_crypto.rs")),
    ("cng-object-memory", include_str!("model_crypto.rs")),
    ("ex-timer-leak", include_str!("model_services.rs")),
    ("notify-left", include_str!("model_monitor.rs")),
    ("notify-registered-twice", include_str!("model_monitor.rs")),
    ("notify-removed-inside", include_str!("model_monitor.rs")),
    ("object-access-added", include_str!("model_monitor.rs")),
    (
        "remove-lock-released-too-often",
        include_str!("model_services.rs"),
    ),
    ("stream-context-left", include_str!("model_owner.rs")),
    ("subject-released-twice", include_str!("model_services.rs")),
];

#[test]
fn each_rule_that_is_broken_is_found_where_it_was() {
    let mut wrong = Vec::new();
    let rows = rows();
    for row in &rows {
        if let Err(text) = check(row) {
            wrong.push(format!("{}: {text}", row.misuse));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {} rows:\n{}",
        wrong.len(),
        rows.len(),
        wrong.join("\n")
    );
    let tried: BTreeSet<&str> = rows.iter().map(Row::rule).collect();
    let exempt = |rule: &&str| NOT_BY_A_DRIVER.iter().any(|(name, _)| name == rule);
    let elsewhere = |rule: &&str| {
        ELSEWHERE
            .iter()
            .any(|(name, test)| name == rule && test.contains(&format!("\"{rule}\"")))
    };
    let left: Vec<&str> = ntbench::rules()
        .filter(|rule| !tried.contains(rule) && !exempt(rule) && !elsewhere(rule))
        .collect();
    assert!(left.is_empty(), "tests/rules breaks no {left:?}");
}

/// Whether one misuse comes to what its row says.
fn check(row: &Row) -> Result<(), String> {
    match (row.code(), play(&row.misuse)) {
        (Some(code), Ended::BugCheck(report)) => {
            let sources: Vec<&str> = (report.stack.frames.iter())
                .filter_map(|frame| frame.source.as_deref())
                .collect();
            if report.code != code {
                return Err(format!("bug check {:#04X}: {}", report.code, report.text));
            }
            match &row.place {
                Some(Place::Line(line)) if !sources.iter().any(|source| source.ends_with(line)) => {
                    Err(format!("not at {line}: {sources:?}"))
                }
                _ => Ok(()),
            }
        }
        (Some(_), Ended::Found(findings)) => Err(format!("no bug check: {findings:#?}")),
        (None, Ended::BugCheck(report)) if row.ends() => row.compare(&report.findings),
        (None, Ended::BugCheck(report)) => Err(format!(
            "bug check {:#04X}: {}, {:?}",
            report.code, report.text, report.findings
        )),
        (None, Ended::Found(findings)) => row.compare(&findings),
        (None, Ended::Stopped(findings)) if row.rule() == "never-completed" => {
            row.compare(&findings)
        }
        (_, other) => Err(format!("{other:?}")),
    }
}

#[test]
fn what_breaks_no_rule_is_no_news() {
    match play("") {
        Ended::Found(findings) => assert!(findings.is_empty(), "{findings:#?}"),
        other => panic!("{other:?}"),
    }
}
