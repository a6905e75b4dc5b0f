//! `headroom dump` on what a simulated machine leaves when it dies: held against what the machine itself said.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod common;

use std::fs;
use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use common::{HEADROOM, address, headroom, sys};
use crashdump::{Analysis, Dump, Error, How};
use serde_json::Value;
use tempfile::TempDir;

/// A run that ends in a bug check: the machine's own account of it, and its dump.
struct Crash {
    told: Value,
    dump: PathBuf,
    _folder: TempDir,
}

fn crash(arguments: &[&str]) -> Crash {
    let folder = tempfile::tempdir().unwrap();
    let dump = folder.path().join("MEMORY.DMP");
    let sys = sys();
    let common = [
        "--driver",
        sys.to_str().unwrap(),
        "--json",
        "--crash-dump",
        dump.to_str().unwrap(),
    ];
    let (output, _report) = headroom(&[&["run", "nested"], arguments, &common].concat());
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let told = report["runs"][0]["end"]["BugCheck"].clone();
    assert!(
        told.is_object(),
        "no bug check: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(
        told["crash_dump"].as_str().unwrap().contains("MEMORY.DMP"),
        "{}",
        told["crash_dump"]
    );
    Crash {
        told,
        dump,
        _folder: folder,
    }
}

fn analyse(crash: &Crash) -> Analysis {
    let analysis = crashdump::analyse(&crash.dump, &[sys().parent().unwrap().to_owned()]).unwrap();
    assert_eq!(analysis.notes, [""; 0], "nothing is missing");
    analysis
}

fn dump(arguments: &[&str]) -> Output {
    Command::new(HEADROOM)
        .arg("dump")
        .args(arguments)
        .env("NO_COLOR", "1")
        .output()
        .unwrap()
}

/// A symbol without its offset; with one only where the machine has it from a listing.
fn function(symbol: &str) -> &str {
    symbol.split(['+', '(']).next().unwrap()
}

/// Every frame that the machine listed is found by the dump's own unwind data, in the same place.
fn same_frames(crash: &Crash, analysis: &Analysis) {
    let listed = crash.told["stack"]["frames"].as_array().unwrap();
    // First comes the function whose frame did not fit.
    let found = &analysis.frames[1..];
    assert_eq!(found.len(), listed.len());
    for (found, listed) in found.iter().zip(listed) {
        let symbol = listed["symbol"].as_str().unwrap();
        assert_eq!(found.child_sp, address(&listed["child_sp"]), "{symbol}");
        assert_eq!(function(&found.symbol), function(symbol));
        if symbol.starts_with("nt!") && symbol.contains('+') || symbol.starts_with("headroom!") {
            assert_eq!(
                found.symbol.rsplit('+').next(),
                symbol.rsplit('+').next(),
                "{symbol}"
            );
        }
        assert_eq!(
            found.source.as_deref(),
            listed["source"].as_str(),
            "{symbol}"
        );
        assert_eq!(
            found.segment.map(|segment| segment as u64),
            listed["segment"].as_u64(),
            "{symbol}"
        );
        assert_eq!(found.how, How::Unwound, "{symbol}");
    }
}

fn bytes(analysis: &Analysis, segment: usize, module: &str) -> u64 {
    let by_module = &analysis.segments[segment].by_module;
    by_module
        .iter()
        .find(|(name, _)| name == module)
        .map_or(0, |(_, bytes)| *bytes)
}

#[test]
fn the_overflow_of_the_never_policy_is_laid_at_the_right_doors() {
    let crash = crash(&["--policy", "never"]);
    let analysis = analyse(&crash);
    same_frames(&crash, &analysis);
    assert!(analysis.overflowed());
    assert_eq!(
        (analysis.bug_check.code, analysis.bug_check.parameters[0]),
        (0x7F, 8)
    );
    assert_eq!(analysis.segments.len(), 1);
    assert_eq!(analysis.segments[0].size(), 0x6000);

    // The machine's own sums, to which the dump adds the frame that did not fit.
    let extra = analysis.frames[1].child_sp - analysis.segments[0].limit;
    for pair in crash.told["stack"]["by_module"].as_array().unwrap() {
        let (module, listed) = (pair[0].as_str().unwrap(), pair[1].as_u64().unwrap());
        let own = analysis.frames[0].module.as_deref() == Some(module);
        assert_eq!(
            bytes(&analysis, 0, module),
            listed + if own { extra } else { 0 },
            "{module}"
        );
    }
    let sum: u64 = analysis.segments[0]
        .by_module
        .iter()
        .map(|(_, bytes)| bytes)
        .sum();
    assert_eq!(sum, 0x6000, "every byte is somebody's");

    let sentence = analysis.sentence();
    for part in [
        "of headroom.exe (",
        "ran out of kernel stack in ",
        "on segment 1 of 1",
        "headroom ",
        "the redirector ",
        "rdbss ",
    ] {
        assert!(sentence.contains(part), "{part}: {sentence}");
    }
}

#[test]
fn the_records_of_creates_under_way_are_read() {
    let analysis = analyse(&crash(&["--policy", "never"]));
    let driver = analysis.driver.as_ref().unwrap();
    assert_eq!(driver.module.as_deref(), Some("headroom"));
    // Each create that is nested stands on the stack once.
    let inspections = analysis
        .frames
        .iter()
        .filter(|frame| function(&frame.symbol) == "headroom!headroom::inspect::run")
        .count();
    assert!(inspections > 3, "{inspections}");
    assert_eq!(driver.unfinished.len(), inspections);
    for (depth, record) in driver.unfinished.iter().enumerate() {
        assert_eq!(record.nest_depth as usize, depth);
        assert_eq!(record.image(), b"headroom.exe");
        assert_eq!(
            (record.before_low, record.before_high),
            (analysis.segments[0].limit, analysis.segments[0].base)
        );
        assert!(record.before_remaining > 0);
    }
    let watermarks = driver.watermarks.as_ref().unwrap();
    assert_eq!(
        watermarks.system().deepest,
        driver.records.iter().map(|record| record.nest_depth).max()
    );
    let config = driver.config.as_ref().unwrap();
    assert_eq!(config.expand_policy, protocol::Policy::NEVER);
    assert_eq!(config.ancestor_opens, protocol::AncestorScope::TOP);
}

#[test]
fn frames_are_followed_from_segment_to_segment() {
    // Too small a reservation: the stack overflows all the same, on the segment that it was expanded to.
    let crash = crash(&["--policy", "always", "--reservation", "0x1200"]);
    let analysis = analyse(&crash);
    same_frames(&crash, &analysis);
    let listed = crash.told["stack"]["segments"].as_array().unwrap();
    assert!(listed.len() > 1, "{listed:?}");
    assert_eq!(analysis.segments.len(), listed.len());
    for (found, listed) in analysis.segments.iter().zip(listed) {
        assert_eq!(
            (found.limit, found.base),
            (address(&listed[0]), address(&listed[1]))
        );
        assert!(found.told);
    }
    assert_eq!(
        analysis.segment().map(|(number, _)| number),
        Some(listed.len())
    );
    assert!(
        analysis
            .sentence()
            .contains(&format!("on segment {0} of {0}", listed.len())),
        "{}",
        analysis.sentence()
    );
    let under_way = &analysis.driver.as_ref().unwrap().unfinished;
    assert!(
        under_way
            .iter()
            .any(|record| record.outcome == protocol::Outcome::SWITCHED)
    );
}

#[test]
fn the_page_begins_with_what_happened() {
    let crash = crash(&["--policy", "never"]);
    let path = crash.dump.to_str().unwrap();
    let pdbs = sys().parent().unwrap().to_owned();
    let output = dump(&[path, "--pdb", pdbs.to_str().unwrap(), "--full"]);
    let page = String::from_utf8(output.stdout).unwrap();
    assert_eq!(
        output.status.code(),
        Some(0),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(
        page.starts_with("Bug check 0x7F UNEXPECTED_KERNEL_MODE_TRAP: thread "),
        "{page}"
    );
    for part in [
        "headroom!headroom::inspect::run+0x",
        "Segment 1: ",
        "Creates that were under way",
        "Watermarks",
        "ExpandPolicy",
    ] {
        assert!(page.contains(part), "{part}:\n{page}");
    }
    let output = dump(&[path, "--json"]);
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (&told["format"], &told["version"]),
        (&"headroom-dump".into(), &1.into())
    );
    assert_eq!(
        told["frames"].as_array().unwrap().len(),
        crash.told["stack"]["frames"].as_array().unwrap().len() + 1
    );
    // Addresses are text: a kernel's do not fit the numbers of many readers.
    let kernel = told["modules"][0]["base"].as_str().unwrap();
    assert!(kernel.starts_with("0xfffff80"), "{kernel}");
    assert!(told["driver"]["unfinished"].as_array().unwrap().len() > 3);
}

#[test]
fn a_file_that_is_no_dump_is_refused_with_advice() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("notes.txt");
    fs::write(&file, "The machine crashed at noon.\n").unwrap();
    let said = |path: &Path| {
        let output = dump(&[path.to_str().unwrap()]);
        assert_eq!(output.status.code(), Some(2));
        String::from_utf8(output.stderr).unwrap()
    };
    assert!(
        said(&file).contains("is a text file: use the file that the crash wrote"),
        "{}",
        said(&file)
    );
    assert!(said(&sys()).contains("is a PE image"), "{}", said(&sys()));
    assert!(
        said(&folder.path().join("absent")).contains("cannot be read"),
        "{}",
        said(&folder.path().join("absent"))
    );
}

#[test]
fn a_dump_that_cannot_be_written_hides_no_bug_check() {
    let sys = sys();
    let (output, _report) = headroom(&[
        "run",
        "nested",
        "--policy",
        "never",
        "--driver",
        sys.to_str().unwrap(),
        "--json",
        "--crash-dump",
        "/proc/none/MEMORY.DMP",
    ]);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let told = &report["runs"][0]["end"]["BugCheck"];
    assert_eq!(told["code"], 0x7F);
    assert!(
        told["crash_dump"]
            .as_str()
            .unwrap()
            .contains("was not written: "),
        "{}",
        told["crash_dump"]
    );
}

#[test]
fn without_a_list_of_modules_the_driver_is_found_by_its_signature() {
    let crash = crash(&["--policy", "never", "--depth", "12"]);
    let mut bytes = fs::read(&crash.dump).unwrap();
    // PsLoadedModuleList, at the header's 0x20.
    bytes[0x20..0x28].fill(0x5A);
    let length = bytes.len() as u64;
    let dump = Dump::read(Cursor::new(bytes), length, &crash.dump).unwrap();
    let analysis = crashdump::analyse_dump(&dump, &[]);
    assert!(analysis.modules.is_empty());
    let driver = analysis.driver.as_ref().unwrap();
    assert_eq!(driver.module, None);
    assert!(driver.unfinished.len() > 3, "{}", driver.unfinished.len());
    assert!(
        analysis
            .notes
            .iter()
            .any(|note| note.contains("by its signature alone")),
        "{:?}",
        analysis.notes
    );
}

/// Damage anywhere in the file: a page table, a list, a string, a count. Seeded, so that a failure comes again.
#[test]
fn a_damaged_dump_is_read_as_far_as_it_goes() {
    const ROUNDS: u64 = 400;
    let crash = crash(&["--policy", "never", "--depth", "12"]);
    let sound = fs::read(&crash.dump).unwrap();
    let (mut read, mut refused) = (0, 0);
    for round in 0..ROUNDS {
        let mut random = round.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        let mut next = |below: usize| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            (random % below as u64) as usize
        };
        let mut damaged = sound.clone();
        match round % 3 {
            0 => damaged.truncate(next(sound.len())),
            // A few words, anywhere.
            1 => {
                for _ in 0..1 + next(64) {
                    let at = next(sound.len() - 8) & !7;
                    let value = [0, u64::MAX, at as u64, next(usize::MAX) as u64][next(4)];
                    damaged[at..at + 8].copy_from_slice(&value.to_le_bytes());
                }
            }
            // Whole pages in each other's places.
            _ => {
                for _ in 0..1 + next(8) {
                    let (from, to) = (
                        2 + next(sound.len() / 0x1000 - 2),
                        2 + next(sound.len() / 0x1000 - 2),
                    );
                    damaged.copy_within(from * 0x1000..(from + 1) * 0x1000, to * 0x1000);
                }
            }
        }
        let length = damaged.len() as u64;
        let path = crash.dump.with_file_name("damaged.dmp");
        match Dump::read(Cursor::new(damaged), length, &path) {
            Ok(dump) => {
                let analysis = crashdump::analyse_dump(&dump, &[]);
                let _ = analysis.sentence();
                read += 1;
            }
            Err(Error::Truncated { .. } | Error::Damaged { .. } | Error::Foreign { .. }) => {
                refused += 1;
            }
            Err(error) => panic!("round {round}: {error}"),
        }
    }
    assert!(
        read > ROUNDS / 2 && refused > ROUNDS / 4,
        "{read} read, {refused} refused"
    );
}
