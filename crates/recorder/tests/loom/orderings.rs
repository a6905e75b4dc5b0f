//! Each ordering is needed: with any one of them weakened, some case fails.
//!
//! Each is tried in a process of its own, which is this program with [`one_after_the_other`] alone.

use std::collections::{BTreeMap, BTreeSet};
use std::process::{Command, Output};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::{env, fs, io, thread};

use recorder::weaken::{LIST, WEAKEN};

use crate::CASES;

/// Says which case runs, so that the last one is the one that failed.
const RUNS: &str = "case: ";

#[test]
#[ignore = "a part of every_ordering_is_needed, which runs it in processes of its own"]
fn one_after_the_other() {
    for (name, case) in CASES {
        println!("{RUNS}{name}");
        case();
    }
}

fn process(variable: &str, value: &str) -> io::Result<Output> {
    Command::new(env::current_exe()?)
        .args(["--ignored", "--exact", "--nocapture"])
        .arg("orderings::one_after_the_other")
        .env(variable, value)
        .output()
}

#[test]
fn every_ordering_is_needed() {
    let file = env::temp_dir().join(format!("recorder-orderings-{}", std::process::id()));
    let whole = process(LIST, file.to_str().unwrap()).unwrap();
    assert!(whole.status.success(), "{whole:?}");
    let listed = fs::read_to_string(&file).unwrap();
    fs::remove_file(&file).unwrap();
    let lines: Vec<&str> = listed
        .lines()
        .collect::<BTreeSet<_>>()
        .into_iter()
        .collect();

    let (next, ends) = (AtomicUsize::new(0), Mutex::new(BTreeMap::new()));
    let processors = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..processors {
            scope.spawn(|| {
                while let Some(line) = lines.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let end = end(&process(WEAKEN, line).unwrap());
                    ends.lock().unwrap().insert(*line, end);
                }
            });
        }
    });
    let ends = ends.into_inner().unwrap();
    let width = lines.iter().map(|line| line.len()).max().unwrap_or(0);
    for (line, end) in &ends {
        let told = end.as_deref().unwrap_or("NOT NOTICED");
        println!("{line:width$}  {told}");
    }
    let unnoticed: Vec<_> = ends.iter().filter(|(_, end)| end.is_none()).collect();
    assert!(
        unnoticed.is_empty(),
        "nothing fails with these orderings weakened: {unnoticed:#?}"
    );
    assert!(ends.len() > 5, "{ends:#?}");
}

/// The case that failed and why; none where all passed.
fn end(output: &Output) -> Option<String> {
    if output.status.success() {
        return None;
    }
    let case = String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| Some(line.split_once(RUNS)?.1.to_owned()))
        .next_back()
        .expect("a case was begun");
    let told = String::from_utf8_lossy(&output.stderr);
    let mut lines = told.lines();
    let why = lines
        .find(|line| line.contains("panicked at"))
        .and_then(|_| lines.next())
        .unwrap_or("no panic");
    Some(format!("{case}: {why}"))
}
