//! `headroom report` and `headroom compare`, as programs call them: what they print, what they write, how they end.

mod made_up;

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use headroom_harness::model::{End, Expand, Sweep, SweepEnd, SweepRow};
use headroom_harness::report::{Report, SweepReport};

fn headroom(folder: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_headroom"))
        .env("NO_COLOR", "1")
        .current_dir(folder)
        .args(args)
        .output()
        .unwrap()
}

fn text(output: &Output) -> String {
    assert!(
        !String::from_utf8_lossy(&output.stderr).contains("panicked"),
        "{output:?}"
    );
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn error(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn save(folder: &Path, name: &str, report: &Report) {
    fs::write(folder.join(name), report.json().unwrap()).unwrap();
}

fn sweep(deepest: u32) -> SweepReport {
    let row = |expand, reservation_bytes, deepest, end| SweepRow {
        expand,
        reservation_bytes,
        red_zone_bytes: (expand == Expand::RedZone).then_some(0x3000),
        deepest,
        end,
        lowest_inside: Some(0x6000),
        segments: 5,
        machines: 4,
    };
    let dies = || SweepEnd::BugCheck {
        code: 0x7f,
        parameter: 8,
        name: "UNEXPECTED_KERNEL_MODE_TRAP".to_owned(),
    };
    SweepReport {
        origin: made_up::report(1).origin,
        sweep: Sweep {
            large_stack: false,
            bound: 512,
            segment_limit: 1024,
            settings: Vec::new(),
            rows: vec![
                row(Expand::Never, 0, 6, dies()),
                row(Expand::RedZone, 0x1000, 7, dies()),
                row(Expand::RedZone, 0x6000, 400, SweepEnd::Minimum),
                row(Expand::Always, 0x1000, 8, dies()),
                row(Expand::Always, 0x6000, deepest, SweepEnd::Bound),
            ],
            interrupted: false,
        },
        checks: Vec::new(),
    }
}

/// What less stack, fewer creates, a refusal and a loss make of a run.
fn worsened() -> Report {
    let mut report = made_up::report(64);
    let run = &mut report.runs[1];
    for record in run.records.iter_mut().filter(|record| record.depth > 50) {
        record.before = record.before.map(|bytes| bytes - 0x400);
    }
    run.records[0].outcome = "failed".to_owned();
    run.losses.as_mut().unwrap().overwritten = 2;
    report
}

#[test]
fn a_run_compared_with_itself_is_no_worse() {
    let folder = tempfile::tempdir().unwrap();
    save(folder.path(), "a.json", &made_up::report(64));
    let output = headroom(folder.path(), &["compare", "a.json", "a.json"]);
    assert_eq!(output.status.code(), Some(0));
    insta::assert_snapshot!(text(&output));
}

#[test]
fn what_got_worse_is_told_and_fails() {
    let folder = tempfile::tempdir().unwrap();
    save(folder.path(), "a.json", &made_up::report(64));
    save(folder.path(), "b.json", &worsened());
    let output = headroom(folder.path(), &["compare", "a.json", "b.json"]);
    assert_eq!(output.status.code(), Some(1));
    insta::assert_snapshot!(text(&output));

    // The other way round it got better.
    let back = headroom(folder.path(), &["compare", "b.json", "a.json"]);
    assert_eq!(back.status.code(), Some(0), "{}", text(&back));
    assert!(text(&back).contains("Better: "));

    // Bytes within the threshold are no change; the refusal and the loss stay.
    let wide = headroom(
        folder.path(),
        &[
            "compare",
            "a.json",
            "b.json",
            "--threshold",
            "0x400",
            "--json",
        ],
    );
    assert_eq!(wide.status.code(), Some(1));
    let json: serde_json::Value = serde_json::from_str(&text(&wide)).unwrap();
    let worse: Vec<_> = json["measures"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|measure| measure["change"] == "worse")
        .map(|measure| measure["what"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(worse, ["expansions refused", "records lost"]);
    assert_eq!(json["worse"], true);
}

#[test]
fn a_machine_that_dies_where_it_lived_is_worse() {
    let folder = tempfile::tempdir().unwrap();
    save(folder.path(), "a.json", &made_up::report(64));
    let mut died = made_up::report(64);
    died.runs[1].end = died.runs[0].end.clone();
    assert!(matches!(died.runs[1].end, End::BugCheck(_)));
    save(folder.path(), "b.json", &died);
    let output = headroom(folder.path(), &["compare", "a.json", "b.json"]);
    assert_eq!(output.status.code(), Some(1));
    let line = text(&output);
    let line = line
        .lines()
        .find(|line| line.starts_with("Always") && line.contains("deaths"))
        .unwrap()
        .to_owned();
    assert!(line.ends_with("WORSE"), "{line}");
}

#[test]
fn sweeps_are_compared_row_by_row() {
    let folder = tempfile::tempdir().unwrap();
    for (name, deepest) in [("a.json", 512), ("b.json", 300)] {
        fs::write(folder.path().join(name), sweep(deepest).json().unwrap()).unwrap();
    }
    let output = headroom(folder.path(), &["compare", "a.json", "b.json"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    insta::assert_snapshot!(text(&output));
}

#[test]
fn what_cannot_be_compared_says_why_and_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    save(folder.path(), "a.json", &made_up::report(64));
    save(folder.path(), "short.json", &made_up::report(8));
    let mut other = made_up::report(64);
    other.runs.remove(0);
    save(folder.path(), "always.json", &other);
    other.runs[0].expand = Expand::RedZone;
    save(folder.path(), "redzone.json", &other);
    fs::write(folder.path().join("sweep.json"), sweep(9).json().unwrap()).unwrap();
    fs::write(
        folder.path().join("cut.json"),
        "{\"format\": \"headroom report\",\n",
    )
    .unwrap();

    let compare = |a, b| error(&headroom(folder.path(), &["compare", a, b]));
    let depth = compare("a.json", "short.json");
    assert!(
        depth.contains("the depth is 64 in the first and 8") && depth.contains("run both alike"),
        "{depth}"
    );
    let policies = compare("always.json", "redzone.json");
    assert!(
        policies.contains("no policy in common (Always; RedZone)"),
        "{policies}"
    );
    let kinds = compare("a.json", "sweep.json");
    assert!(
        kinds.contains("a report and a sweep cannot be compared"),
        "{kinds}"
    );
    let cut = compare("a.json", "cut.json");
    assert!(
        cut.contains("cut.json:2: the file ends in the middle"),
        "{cut}"
    );
    let missing = compare("a.json", "nowhere.json");
    assert!(
        missing.contains("nowhere.json") && missing.contains("headroom run --json"),
        "{missing}"
    );

    // A policy that only one of them has is told, and the common one compared.
    let part = headroom(folder.path(), &["compare", "a.json", "always.json"]);
    assert_eq!(part.status.code(), Some(0));
    assert!(text(&part).contains("differs: policies: Never, Always > Always"));
}

#[test]
fn pages_are_made_from_reports_sweeps_and_logs() {
    let folder = tempfile::tempdir().unwrap();
    save(folder.path(), "run.json", &made_up::report(64));
    fs::write(folder.path().join("sweep.json"), sweep(512).json().unwrap()).unwrap();
    let lines: Vec<String> = made_up::always(12)
        .records
        .iter()
        .map(|record| serde_json::to_string(record).unwrap())
        .collect();
    fs::write(folder.path().join("log.jsonl"), lines.join("\n")).unwrap();

    let output = headroom(
        folder.path(),
        &[
            "report",
            "run.json",
            "sweep.json",
            "log.jsonl",
            "run.json",
            "--out",
            "pages",
        ],
    );
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    insta::assert_snapshot!(text(&output));
    let read = |name: &str| fs::read_to_string(folder.path().join("pages").join(name)).unwrap();
    assert!(read("sweep.html").contains("id=\"sweep\"") && read("sweep.svg").starts_with("<svg"));
    assert!(read("log.html").contains("These are records from a log"));
    assert_eq!(read("run.html"), read("run-2.html"));
    let summary: serde_json::Value = serde_json::from_str(&read("log.summary.json")).unwrap();
    assert_eq!(summary["runs"][0]["creates"], 12);
    assert_eq!(summary["holds"], serde_json::Value::Null);

    // Without --out, beside what was saved; the numbers alone for programs.
    let json = headroom(folder.path(), &["report", "run.json", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&text(&json)).unwrap();
    assert_eq!(
        (json["holds"].clone(), json["runs"][0]["died"].clone()),
        (true.into(), "bug check 0x7F (8) at depth 10".into())
    );
    assert!(folder.path().join("run.html").is_file());

    // With one file that cannot be read, nothing is written.
    fs::write(folder.path().join("bad.json"), "not json").unwrap();
    let bad = headroom(
        folder.path(),
        &["report", "sweep.json", "bad.json", "--out", "none"],
    );
    assert!(error(&bad).contains("bad.json:1:"));
    assert!(!folder.path().join("none").exists());
}
