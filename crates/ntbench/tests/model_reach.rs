//! What of a program's doings reaches a filter: the extended attributes of its creates, questions by name on a share, what its end
//! takes with it; and what a filter learns of a file without opening it.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod model;
mod volume;

use model::{Bench, compile, lines, spec, start, until, until_waits};
use ntbench::NtStatus;
use ntbench::wire::{CreateFile, FileCall, StackKind, ThreadSpec};
use volume::{CREATE, OPEN, OVERWRITE_IF, READ, SYNCHRONIZE, VolumeBench, WRITE};

/// `FILE_NO_EA_KNOWLEDGE`.
const NO_EA_KNOWLEDGE: u32 = 0x200;
/// `FILE_NEED_EA`.
const NEED_EA: u8 = 0x80;
const EAS_NOT_SUPPORTED: NtStatus = NtStatus(0xC000_004F_u32.cast_signed());
const EA_LIST_INCONSISTENT: NtStatus = NtStatus(0x8000_0014_u32.cast_signed());
const INVALID_EA_NAME: NtStatus = NtStatus(0x8000_0013_u32.cast_signed());

struct Reacher(VolumeBench);

impl Reacher {
    fn new() -> Self {
        let bench = VolumeBench::new();
        let driver = spec(compile("reacher", &[]), "370000");
        let loaded = bench.machine.load_driver(driver).unwrap();
        assert_eq!(loaded.status, NtStatus::SUCCESS);
        bench.machine.trace().unwrap();
        Self(bench)
    }

    fn lines(&self) -> Vec<String> {
        let trace = self.0.machine.trace().unwrap();
        lines(&trace).into_iter().map(str::to_owned).collect()
    }

    fn until(&self, wanted: &str) {
        until(&self.0.machine, wanted, |line| line == wanted);
    }

    fn end(self) {
        let unloaded = self.0.machine.unload_driver("reacher").unwrap();
        assert_eq!(unloaded, NtStatus::SUCCESS);
        let report = self.0.machine.shutdown().unwrap();
        assert!(report.findings.is_empty(), "{:#?}", report.findings);
    }
}

/// `FILE_FULL_EA_INFORMATION`, one entry.
fn ea(flags: u8, name: &str, value: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; 4];
    bytes.push(flags);
    bytes.push(u8::try_from(name.len()).unwrap());
    bytes.extend(u16::try_from(value.len()).unwrap().to_le_bytes());
    bytes.extend(name.as_bytes());
    bytes.push(0);
    bytes.extend(value);
    bytes
}

#[test]
fn a_creates_extended_attributes_are_checked_seen_and_kept() {
    let reacher = Reacher::new();
    let bench = &reacher.0;
    let create = |disposition, options, eas: Vec<u8>| {
        bench.create(&CreateFile {
            name: r"\??\C:\new.txt".to_owned(),
            access: READ | WRITE | SYNCHRONIZE | 0x18,
            disposition,
            options: options | 0x20,
            eas,
            ..CreateFile::default()
        })
    };
    let of = |file| {
        let call = FileCall::QueryEa {
            names: Vec::new(),
            length: 100,
            restart: true,
            single: false,
        };
        bench.thread.file(file, call).unwrap().data
    };
    // The I/O manager refuses what is no list, and no filter sees it; a name that cannot be is the file system's affair.
    let mut open = ea(0, "A", b"1");
    open[9] = b'x';
    assert_eq!(create(CREATE, 0, open), Err(EA_LIST_INCONSISTENT));
    assert_eq!(reacher.lines(), [""; 0]);
    assert_eq!(create(CREATE, 0, ea(0, "*", b"1")), Err(INVALID_EA_NAME));
    assert_eq!(reacher.lines(), ["create with 11 bytes of *"]);
    assert!(!bench.folder.join("new.txt").exists());

    let (file, _) = create(CREATE, 0, ea(0, "a", b"12")).unwrap();
    assert_eq!(
        reacher.lines(),
        [
            "create with 12 bytes of a",
            "end 0 links 1",
            "eas 00000000 12"
        ]
    );
    assert_eq!(of(file), ea(0, "A", b"12"));
    bench.close(file);
    // An open leaves them, a replacement has its own.
    let (file, _) = create(OPEN, 0, ea(0, "B", b"3")).unwrap();
    assert_eq!(of(file), ea(0, "A", b"12"));
    bench.close(file);
    let (file, _) = create(OVERWRITE_IF, 0, ea(NEED_EA, "C", b"4")).unwrap();
    assert_eq!(of(file), ea(NEED_EA, "C", b"4"));
    bench.close(file);
    // Who knows nothing of them can neither bring nor pass over them.
    let denied = Err(NtStatus::ACCESS_DENIED);
    assert_eq!(create(OPEN, NO_EA_KNOWLEDGE, Vec::new()), denied);
    std::fs::write(bench.folder.join("new.txt"), "kept").unwrap();
    assert_eq!(create(OVERWRITE_IF, NO_EA_KNOWLEDGE, Vec::new()), denied);
    assert_eq!(
        std::fs::read(bench.folder.join("new.txt")).unwrap(),
        b"kept"
    );
    assert_eq!(
        create(OVERWRITE_IF, NO_EA_KNOWLEDGE, ea(0, "D", b"5")),
        denied
    );
    let (file, _) = create(OVERWRITE_IF, 0, Vec::new()).unwrap();
    reacher.lines();
    bench.close(file);
    let (file, _) = create(OPEN, NO_EA_KNOWLEDGE, Vec::new()).unwrap();
    assert_eq!(
        reacher.lines(),
        ["cleanup", "end 0 links 1", "eas c0000225 0"]
    );
    bench.close(file);
    reacher.end();
}

#[test]
fn a_filter_asks_by_name_sets_labels_and_makes_files_with_attributes() {
    let reacher = Reacher::new();
    let file = reacher.0.open("\\a.txt", READ | WRITE);
    reacher.lines();
    reacher.0.thread.file(file, FileCall::Flush).unwrap();
    let told = reacher.lines();
    let own = |line: &&String| !line.starts_with("create") && *line != "cleanup";
    assert_eq!(
        told.iter().filter(own).collect::<Vec<_>>(),
        [
            "by name 00000000 end 4",
            // Below the instance nobody sees the label being set.
            "label 00000000",
            "made 00000000",
            "made 80000014 0",
        ]
    );
    let label = reacher.0.thread.query_volume(file, 1, 100).unwrap();
    assert_eq!(label.data[18..], [b'o', 0, b'k', 0]);
    reacher.0.close(file);
    reacher.end();
}

#[test]
fn on_a_share_a_question_by_name_is_fast_then_a_create_and_attributes_are_none() {
    let bench = Bench::new();
    assert_eq!(bench.load(compile("reacher", &[])), NtStatus::SUCCESS);
    bench.trace();
    let name = r"\??\UNC\fs\data\Docs\Deep\Readme.txt";
    let quick = bench.thread.query_attributes(name).unwrap();
    assert_eq!(quick.status, NtStatus::SUCCESS);
    let trace = bench.trace();
    // STATUS_FLT_DISALLOW_FAST_IO is what filters above see of the redirector's refusal.
    assert_eq!(
        lines(&trace),
        [
            "query open fast=1",
            "post IRP_MJ_NETWORK_QUERY_OPEN c01c0004",
            "eas c0000225 0",
            "cleanup",
        ]
    );
    let made = bench.thread.create_file(&CreateFile {
        name: r"\??\UNC\fs\data\new.txt".to_owned(),
        disposition: CREATE,
        eas: ea(0, "A", b"1"),
        ..CreateFile::default()
    });
    assert_eq!(made.unwrap().status, EAS_NOT_SUPPORTED);
    assert!(!bench.folder.join("new.txt").exists());
    assert!(model::rules(&bench.end()).is_empty());
}

#[test]
fn a_processs_end_cancels_closes_and_disconnects() {
    let reacher = Reacher::new();
    let bench = &reacher.0;
    let doomed = || {
        let spec = ThreadSpec {
            process_image: "doomed.exe".to_owned(),
            process: 0,
            stack: StackKind::Ordinary,
        };
        bench.machine.thread(spec).unwrap()
    };
    let (main, watcher, locked, listener) = (doomed(), doomed(), doomed(), doomed());
    let pid = main.info().pid;
    assert_eq!(watcher.info().pid, pid);
    let folder = main
        .create_file(&CreateFile {
            name: r"\??\C:\Folder".to_owned(),
            access: READ | SYNCHRONIZE,
            options: 0x1,
            ..CreateFile::default()
        })
        .unwrap();
    assert_eq!(folder.status, NtStatus::SUCCESS);
    let file = main
        .create_file(&CreateFile {
            name: r"\??\C:\a.txt".to_owned(),
            access: READ | SYNCHRONIZE,
            options: 0,
            ..CreateFile::default()
        })
        .unwrap();
    let port = main.connect_port(r"\ReacherPort", &[]).unwrap().unwrap();
    reacher.lines();
    std::thread::scope(|scope| {
        let watch = scope.spawn(|| {
            let call = FileCall::NotifyDirectory {
                filter: 1,
                length: 100,
                tree: false,
                extended: false,
                wait: true,
            };
            watcher.file(folder.handle, call).unwrap().status
        });
        // FSCTL_REQUEST_BATCH_OPLOCK.
        let oplock = scope.spawn(|| {
            locked
                .fs_control(file.handle, 0x9_0008, &[], 0)
                .unwrap()
                .status
        });
        let theirs = port.on(&listener);
        let message = scope.spawn(move || theirs.get_message(100, None).unwrap().status);
        for waits in [&watcher, &locked, &listener] {
            until_waits(&bench.machine, waits);
        }
        bench.machine.end_process(pid).unwrap();
        assert_eq!(watch.join().unwrap(), NtStatus::CANCELLED);
        assert_eq!(oplock.join().unwrap(), NtStatus::CANCELLED);
        assert_eq!(message.join().unwrap(), NtStatus::PORT_DISCONNECTED);
    });
    reacher.until("disconnected");
    // The file is free again, and somebody else may have the one connection.
    let alone = bench.create(&CreateFile {
        name: r"\??\C:\a.txt".to_owned(),
        access: READ | SYNCHRONIZE,
        share: 0,
        ..CreateFile::default()
    });
    bench.close(alone.unwrap().0);
    let again = start(&bench.machine);
    let port = again.connect_port(r"\ReacherPort", &[]).unwrap().unwrap();
    port.close().unwrap();
    assert!(bench.machine.end_process(pid).is_err());
    reacher.end();
}
