//! What filters import beside the samples' names: priorities, activity ids, enumerations, extra create parameters, keys of oplocks,
//! open reparse points, transfers by key and list, attributes, and one filter that loads another.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod model;
mod volume;

use model::{compile, lines, spec, start, until, until_waits};
use ntbench::NtStatus;
use ntbench::wire::CreateFile;
use volume::{READ, SYNCHRONIZE, VolumeBench, WRITE};

const BATCH: u32 = 0x9_0008;
const SET_REPARSE_POINT: u32 = 0x9_00A4;

struct Importer(VolumeBench);

impl Importer {
    fn new(defines: &[&str]) -> Self {
        let bench = VolumeBench::new();
        if !defines.is_empty() {
            let other = spec(compile("inquirer", &[]), "371000");
            bench.machine.install_driver(other).unwrap();
        }
        let driver = spec(compile("importer", defines), "370000");
        let loaded = bench.machine.load_driver(driver).unwrap();
        assert_eq!(loaded.status, NtStatus::SUCCESS);
        Self(bench)
    }

    fn lines(&self) -> Vec<String> {
        let trace = self.0.machine.trace().unwrap();
        lines(&trace).into_iter().map(str::to_owned).collect()
    }

    fn end(self) {
        let unloaded = self.0.machine.unload_driver("importer").unwrap();
        assert_eq!(unloaded, NtStatus::SUCCESS);
        let report = self.0.machine.shutdown().unwrap();
        assert!(report.findings.is_empty(), "{:#?}", report.findings);
    }
}

#[test]
fn what_filters_ask_and_set_is_as_documented() {
    let importer = Importer::new(&[]);
    assert_eq!(importer.lines(), [""; 0]);
    let file = importer.0.open("\\a.txt", READ | WRITE);
    assert_eq!(importer.lines(), ["84 checks"]);
    importer.0.close(file);
    importer.end();
}

#[test]
fn a_filter_loads_and_unloads_another() {
    let importer = Importer::new(&["LOADS=1"]);
    let told = importer.lines();
    let ours = |line: &&String| line.starts_with("line") || line.contains("loaded");
    assert_eq!(told.iter().filter(ours).collect::<Vec<_>>(), ["loaded"]);
    // The other one's own, from its DriverEntry.
    assert!(
        told.iter().any(|line| line == "top 00000000 same=1"),
        "{told:?}"
    );
    let unloaded = importer.0.machine.unload_driver("importer").unwrap();
    assert_eq!(unloaded, NtStatus::SUCCESS);
    assert_eq!(importer.lines(), ["unloaded"]);
    let report = importer.0.machine.shutdown().unwrap();
    assert!(report.findings.is_empty(), "{:#?}", report.findings);
}

#[test]
fn opens_with_one_oplock_key_break_nothing_of_each_other() {
    let importer = Importer::new(&[]);
    let bench = &importer.0;
    let open = |thread: &ntbench::Thread| {
        let create = CreateFile {
            name: r"\??\C:\a.txt".to_owned(),
            access: READ | WRITE | SYNCHRONIZE,
            options: 0,
            ..CreateFile::default()
        };
        let done = thread.create_file(&create).unwrap();
        assert_eq!(done.status, NtStatus::SUCCESS);
        done.handle
    };
    let other = start(&bench.machine);
    let (first, second) = (open(&bench.thread), open(&other));
    importer.lines();
    std::thread::scope(|scope| {
        // Another handle is open, with the same key: it is granted, and pended until the handle is closed.
        let asked = scope.spawn(|| other.fs_control(second, BATCH, &[], 0).unwrap());
        let asks = "control shared=0";
        let seen = until(&bench.machine, asks, |line| line == asks);
        assert_eq!(seen, [asks]);
        until_waits(&bench.machine, &other);
        let written = bench.thread.write(first, Some(0), b"T").unwrap();
        assert_eq!(written.status, NtStatus::SUCCESS);
        assert!(!asked.is_finished());
        let third = start(&bench.machine);
        let opened = open(&third);
        assert!(!asked.is_finished());
        third.close(opened).unwrap();
        bench.close(second);
        let ended = asked.join().unwrap();
        assert_eq!(ended.status, NtStatus::SUCCESS);
    });
    bench.close(first);
    importer.end();
}

#[test]
fn a_reparse_point_of_the_filters_own_tag_is_opened_for_itself() {
    let importer = Importer::new(&[]);
    let bench = &importer.0;
    std::fs::write(bench.folder.join("r.txt"), "mine").unwrap();
    let file = bench.open("\\r.txt", READ | WRITE);
    let tag = |tag: u32| {
        let mut bytes = tag.to_le_bytes().to_vec();
        bytes.extend([1, 0, 0, 0, b'x']);
        let done = bench.thread.fs_control(file, SET_REPARSE_POINT, &bytes, 0);
        done.unwrap().status
    };
    assert_eq!(tag(0x8000_0123), NtStatus::SUCCESS);
    importer.lines();
    let again = bench.open("\\r.txt", READ);
    assert_eq!(importer.lines(), ["met mine, 00000000"]);
    let delete = [0x23, 1, 0, 0x80, 0, 0, 0, 0];
    let done = bench.thread.fs_control(file, 0x9_00AC, &delete, 0).unwrap();
    assert_eq!(done.status, NtStatus::SUCCESS);
    assert_eq!(tag(0x8000_0124), NtStatus::SUCCESS);
    let other = bench.try_open("\\r.txt", READ, 1, 0);
    assert_eq!(other, Err(NtStatus::IO_REPARSE_TAG_NOT_HANDLED));
    bench.close(again);
    bench.close(file);
    importer.end();
}
