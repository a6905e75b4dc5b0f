//! Filters in the manner of Microsoft's minifilter samples, each with what it is made for.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod model;
mod samples;
mod volume;

use ntbench::NtStatus;
use ntbench::wire::CreateFile;
use samples::{DOWNLEVEL, ISOLATED, Sample, compile, compile_guarded, installed};
use volume::{ATTRIBUTES, CREATE, DELETE, OPEN, OPEN_IF, READ, VolumeBench, WRITE};

#[test]
fn a_filter_is_installed_in_both_forms_and_goes_again() {
    let image = compile("null", &[]);
    for build in [ISOLATED, DOWNLEVEL] {
        let spec = installed(&image, "null", build);
        let bench = VolumeBench::new();
        let loaded = bench.machine.load_driver(spec).unwrap();
        assert_eq!(loaded.status, NtStatus::SUCCESS);
        bench.close(bench.open("\\a.txt", READ));
        let unloaded = bench.machine.unload_driver("null").unwrap();
        assert_eq!(unloaded, NtStatus::SUCCESS);
        let report = bench.machine.shutdown().unwrap();
        assert!(report.findings.is_empty(), "{:#?}", report.findings);
    }
}

#[test]
fn who_wants_volumes_handles_alone_hears_of_no_others() {
    let bench = VolumeBench::new();
    let image = model::compile("dasd", &[]);
    let loaded = bench
        .machine
        .load_driver(model::spec(image, "370000"))
        .unwrap();
    assert_eq!(loaded.status, NtStatus::SUCCESS);
    bench.close(bench.open("\\a.txt", READ));
    bench.close(bench.open("", READ));
    let trace = bench.machine.trace().unwrap();
    assert_eq!(
        model::lines(&trace),
        ["IRP_MJ_CREATE volume=1", "IRP_MJ_CLEANUP volume=1"]
    );
    bench.machine.unload_driver("dasd").unwrap();
    let report = bench.machine.shutdown().unwrap();
    assert!(report.findings.is_empty(), "{:#?}", report.findings);
}

#[test]
fn every_operation_passes_through() {
    let sample = Sample::new("pass", &[]);
    let bench = &sample.bench;
    let (file, _) = bench
        .try_open("\\b", READ | WRITE | DELETE | ATTRIBUTES, OPEN_IF, 0)
        .unwrap();
    bench.thread.write(file, Some(0), b"data").unwrap();
    bench.thread.read(file, Some(0), 4).unwrap();
    bench.query(file, 4);
    bench.thread.query_volume(file, 1, 100).unwrap();
    let oplock = bench.control(file, 0x0009_005C);
    assert_eq!(oplock, NtStatus(0xC000_00E2_u32.cast_signed()));
    assert_eq!(bench.set(file, 13, &[1]), NtStatus::SUCCESS);
    bench.close(file);
    let lines = sample.lines();
    assert!(
        lines
            .iter()
            .any(|line| line == "setup 1 device 8 fs 2 size 48"),
        "{lines:?}"
    );
    let told = "status c00000e2 of IRP_MJ_FILE_SYSTEM_CONTROL, asked for by 0000000000000007";
    assert!(lines.iter().any(|line| line == told), "{lines:?}");
    let lines = sample.end_clean();
    for line in [
        "IRP_MJ_CREATE 1 1",
        "IRP_MJ_CLOSE 1 1",
        "IRP_MJ_READ 1 1",
        "IRP_MJ_WRITE 1 1",
        "IRP_MJ_QUERY_INFORMATION 1 1",
        "IRP_MJ_SET_INFORMATION 1 1",
        "IRP_MJ_QUERY_VOLUME_INFORMATION 1 1",
        "IRP_MJ_FILE_SYSTEM_CONTROL 1 1",
        "IRP_MJ_CLEANUP 1 1",
        "teardown 2",
    ] {
        assert!(
            lines.iter().any(|other| other == line),
            "{line}: {lines:#?}"
        );
    }
}

/// What a filter needs that sends IRPs itself or lets the Filter Manager make it a system buffer.
const IRPS_OF_THEIR_OWN: [&str; 4] = [
    "IoBuildDeviceIoControlRequest",
    "IofCallDriver",
    "IofCompleteRequest",
    "FltGetNewSystemBufferAddress",
];

/// The names of a line's kind in `imports.txt`.
fn imported(kind: &str) -> Vec<String> {
    let text = include_str!("samples/imports.txt");
    let mut found = Vec::new();
    let mut now = "";
    for word in text.lines().skip(1).flat_map(str::split_whitespace) {
        if matches!(word, "ntoskrnl.exe" | "fltmgr.sys" | "by-name") {
            now = word;
        } else if now == kind {
            found.push(word.to_owned());
        }
    }
    found
}

#[test]
fn what_minifilters_import_is_there() {
    let listed = std::process::Command::new(env!("CARGO_BIN_EXE_ntbench"))
        .arg("coverage")
        .output()
        .unwrap();
    let page = String::from_utf8(listed.stdout).unwrap();
    let (flt, nt) = page
        .split_once("## ntoskrnl.exe")
        .expect("the kernel's names after the Filter Manager's");
    assert_eq!(
        imported("ntoskrnl.exe").len() + imported("fltmgr.sys").len(),
        191
    );
    let by_name = imported("by-name");
    let by_name = by_name.iter().map(|name| {
        let part = if name.starts_with("Flt") { flt } else { nt };
        (name.clone(), part)
    });
    let imported = ["ntoskrnl.exe", "fltmgr.sys"].into_iter().flat_map(|dll| {
        let part = if dll == "fltmgr.sys" { flt } else { nt };
        imported(dll).into_iter().map(move |name| (name, part))
    });
    let mut refused = Vec::new();
    for (name, part) in imported.chain(by_name) {
        let row = part
            .lines()
            .find(|line| line.starts_with(&format!("| `{name}` |")));
        let row = row.unwrap_or_else(|| panic!("{name} is absent"));
        if row.contains("| refused |") && !IRPS_OF_THEIR_OWN.contains(&name.as_str()) {
            refused.push(name);
        }
    }
    assert!(refused.is_empty(), "{refused:?}");
}

const LOCK: u32 = 0x0009_0018;
const UNLOCK: u32 = 0x0009_001C;
const DISMOUNT: u32 = 0x0009_0020;

#[test]
fn a_file_of_the_filters_own_is_given_up_for_who_locks_the_volume() {
    let sample = Sample::new("metadata", &[]);
    let bench = &sample.bench;
    assert_eq!(
        sample.lines(),
        [
            "setup 1 \\Device\\HarddiskVolume1",
            "folder 00000000",
            "metadata made 00000000 4 0"
        ]
    );
    let own = bench.folder.join("System Volume Information/Filter.dat");
    assert_eq!(std::fs::read(own).unwrap(), *b"ateM");
    let volume = bench.open("", READ | WRITE);
    let file = bench.open("\\a.txt", READ);
    assert_eq!(bench.control(volume, LOCK), NtStatus::ACCESS_DENIED);
    assert_eq!(
        sample.lines(),
        [
            "control 90018 c0000022",
            "metadata read 00000000 4 4d657461"
        ]
    );
    bench.close(file);
    assert_eq!(bench.control(volume, LOCK), NtStatus::SUCCESS);
    assert_eq!(sample.lines(), ["control 90018 00000000"]);
    assert_eq!(bench.control(volume, UNLOCK), NtStatus::SUCCESS);
    assert_eq!(
        sample.lines(),
        [
            "control 9001c 00000000",
            "metadata read 00000000 4 4d657461"
        ]
    );
    assert_eq!(bench.control(volume, LOCK), NtStatus::SUCCESS);
    assert_eq!(bench.control(volume, DISMOUNT), NtStatus::SUCCESS);
    // What waits for the callback's end is a worker's.
    let mut lines = sample.until("context gone");
    lines.sort_unstable();
    assert_eq!(
        lines,
        [
            "context gone",
            "control 90018 00000000",
            "control 90020 00000000",
            "detach 00000000",
            "teardown 1"
        ]
    );
    // With its last handle the volume goes, and with the next create it comes again.
    bench.close(volume);
    bench.close(bench.open("\\a.txt", READ));
    assert_eq!(
        sample.lines(),
        [
            "setup 5 \\Device\\HarddiskVolume1",
            "metadata read 00000000 4 4d657461"
        ]
    );
    assert_eq!(sample.end_clean(), ["teardown 2", "context gone"]);
}

#[test]
fn contexts_follow_volumes_files_streams_and_opens() {
    let sample = Sample::new("ctx", &[]);
    let bench = &sample.bench;
    let made = sample.lines();
    assert_eq!(
        made,
        ["instance 00000000 1 old 0", "volume 00000000 2 old 0"]
    );
    let file = bench.open("\\a.txt", READ | DELETE);
    let made = [
        "file 00000000 3 old 0",
        "stream 00000000 4 old 0",
        "handle 00000000 5 old 0",
    ];
    assert_eq!(sample.lines(), made);
    let (stream, _) = bench.try_open("\\a.txt:s", WRITE, CREATE, 0).unwrap();
    assert_eq!(
        sample.lines(),
        [
            // A stream of the same file: its file has a context already, the stream has none.
            "file c01c0002 6 old 3",
            "gone 4 6 a.txt:s",
            "stream 00000000 7 old 0",
            "handle 00000000 8 old 0",
        ]
    );
    let renamed = bench.thread.rename(file, "b.txt", 0, false).unwrap();
    assert_eq!(renamed.status, NtStatus::SUCCESS);
    assert_eq!(sample.lines(), ["renamed a.txt to b.txt"]);
    bench.close(file);
    let mut closed = sample.lines();
    assert_eq!(closed.remove(0), "clean-up 3 4 5");
    closed.sort_unstable();
    // The file's stays: a stream of it is open.
    assert_eq!(closed, ["gone 10 5 a.txt", "gone 8 4 b.txt"]);
    bench.close(stream);
    let mut closed = sample.lines();
    assert_eq!(closed.remove(0), "clean-up 3 7 8");
    closed.sort_unstable();
    assert_eq!(
        closed,
        ["gone 10 8 a.txt:s", "gone 4 3 a.txt", "gone 8 7 a.txt:s"]
    );
    let mut last = sample.end_clean();
    last.sort_unstable();
    assert_eq!(
        last,
        ["gone 1 2 volume", "gone 2 1 instance", "own memory 0"]
    );
}

#[test]
fn names_below_one_folder_lead_to_another() {
    // Once as it is, once with all that Microsoft's tools put in.
    for image in [compile("simrep", &[]), compile_guarded("simrep")] {
        redirected(Sample::of("simrep", &image));
    }
}

fn redirected(sample: Sample) {
    let bench = &sample.bench;
    assert_eq!(sample.lines(), ["Windows 10.0"]);
    std::fs::create_dir_all(bench.folder.join("Folder/new/deep")).unwrap();
    std::fs::write(bench.folder.join("Folder/new/deep/x"), "there").unwrap();
    let file = bench.open("\\OLD\\deep\\x", READ);
    assert_eq!(bench.thread.read(file, Some(0), 9).unwrap().data, b"there");
    let mapped = "\\OLD\\deep\\x to \\Device\\HarddiskVolume1\\Folder\\new\\deep\\x: 00000000";
    assert_eq!(sample.lines(), [mapped]);
    bench.close(file);
    // Not a prefix of components.
    let other = bench.try_open("\\older", READ, OPEN, 0);
    assert_eq!(other, Err(NtStatus::OBJECT_NAME_NOT_FOUND));
    let attributes = bench
        .thread
        .query_attributes("\\??\\C:\\old\\deep")
        .unwrap();
    assert_eq!(
        (attributes.status, attributes.attributes),
        (NtStatus::SUCCESS, 0x10)
    );
    // Relative to a folder that was reached so.
    let root = bench.open("\\old", READ);
    let relative = CreateFile {
        name: "deep\\x".to_owned(),
        root,
        ..CreateFile::default()
    };
    assert!(bench.create(&relative).is_ok());
    sample.lines();
    sample.end_clean();
}
