//! A filter that maps what it scans, in the manner of Microsoft's avscan.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod model;
mod samples;
mod volume;

use ntbench::NtStatus;
use samples::Sample;
use volume::{CREATE, OPEN, OVERWRITE_IF, READ, WRITE};

const VIRUS_INFECTED: NtStatus = NtStatus(0xC000_0906_u32.cast_signed());

#[test]
fn a_scanner_maps_what_it_scans() {
    let sample = Sample::new("avscan", &[]);
    let bench = &sample.bench;
    let registered = sample.lines();
    assert_eq!(registered, ["register 8 00000000", "register 14 c00000bb"]);
    let file = bench.open("\\a.txt", READ | WRITE);
    let scanned = [
        "mapped 00000000 4096 of 4, user 1",
        "unmapped 00000000",
        "closed 00000000 again c0000225",
    ];
    assert_eq!(sample.lines(), scanned);
    bench.close(bench.open("\\a.txt", READ));
    assert!(sample.lines().is_empty(), "it is known to be clean");
    bench.thread.write(file, Some(0), b"a foul thing").unwrap();
    bench.close(file);
    assert_eq!(sample.lines()[3..], ["at clean-up 2"]);
    // The stream's context went with its last open: the next create scans, and is denied.
    let denied = bench.try_open("\\a.txt", READ, OPEN, 0);
    assert_eq!(denied, Err(VIRUS_INFECTED));
    // A stream is scanned for itself; one that is empty cannot be.
    let (stream, _) = bench
        .try_open("\\a.txt:s", READ | WRITE, CREATE, 0)
        .unwrap();
    assert_eq!(sample.lines()[3..], ["no section c0000011"]);
    bench.close(stream);
    bench.close(bench.open("\\Folder", READ));
    sample.end_clean();
}

#[test]
fn a_view_keeps_a_file_as_long_as_it_is() {
    // It gives its view up when it is asked to; then the file can be cut.
    let sample = Sample::new("avscan", &["-DHOLD=1"]);
    let bench = &sample.bench;
    let file = bench.open("\\a.txt", READ | WRITE);
    sample.lines();
    assert_eq!(bench.set(file, 20, &8_i64.to_le_bytes()), NtStatus::SUCCESS);
    assert!(
        sample.lines().is_empty(),
        "getting longer is in nobody's way"
    );
    assert_eq!(bench.set(file, 20, &2_i64.to_le_bytes()), NtStatus::SUCCESS);
    let told = sample.lines();
    assert_eq!(
        told,
        ["conflict with IRP_MJ_SET_INFORMATION", "unmapped 00000000"]
    );
    bench.close(file);
    assert_eq!(sample.lines()[0], "aborted 1");
    sample.end_clean();
    // It does not.
    let sample = Sample::new("avscan", &["-DHOLD=2"]);
    let bench = &sample.bench;
    let file = bench.open("\\a.txt", READ | WRITE);
    let cut = bench.set(file, 20, &2_i64.to_le_bytes());
    assert_eq!(cut, NtStatus::USER_MAPPED_FILE);
    let emptied = bench.try_open("\\a.txt", WRITE, OVERWRITE_IF, 0);
    assert_eq!(emptied, Err(NtStatus::USER_MAPPED_FILE));
    let lines = sample.lines();
    assert!(
        lines.contains(&"conflict with IRP_MJ_CREATE".to_owned()),
        "{lines:?}"
    );
    bench.close(file);
    sample.end_clean();
}

#[test]
fn a_section_and_a_view_that_are_kept_are_found() {
    let sample = Sample::new("avscan", &["-DHOLD=2", "-DFORGET"]);
    sample.bench.open("\\a.txt", READ | WRITE);
    let (_, report) = sample.end();
    let mut rules = model::rules(&report);
    rules.sort_unstable();
    rules.dedup();
    assert_eq!(
        rules,
        [
            "fltmgr-leak",
            "handle-leak",
            "object-reference-leak",
            "view-leak"
        ]
    );
}
