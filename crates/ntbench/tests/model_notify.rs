//! Notifications of changes in a directory: what they tell, how they wait and end, and how filters see that.

mod model;
mod volume;

use model::{compile, lines, rules, spec, start, until_waits};
use ntbench::wire::{CreateFile, FileCall, StackKind, ThreadSpec, Transferred};
use ntbench::{DirectoryChange, NtStatus, Thread};
use volume::{CREATE, DELETE, OPEN, OVERWRITE, READ, VolumeBench, WRITE};

const ANY: u32 = 0xFFF;
const NAMES: u32 = 0x3;
const LAST_WRITE: u32 = 0x10;
/// `FILE_DIRECTORY_FILE`, `FILE_DELETE_ON_CLOSE`.
const DIRECTORY: u32 = 1;
const DELETE_ON_CLOSE: u32 = 0x1000;

/// Asks what has changed so far, and waits for nothing.
fn so_far(bench: &VolumeBench, handle: u64, filter: u32, tree: bool, length: u32) -> Transferred {
    let call = FileCall::NotifyDirectory {
        filter,
        length,
        tree,
        extended: false,
        wait: false,
    };
    bench.thread.file(handle, call).expect("the machine lives")
}

fn told(done: &Transferred) -> Vec<String> {
    assert_eq!(done.status, NtStatus::SUCCESS);
    let changes = DirectoryChange::list(&done.data, false);
    changes.iter().map(ToString::to_string).collect()
}

/// A directory that is watched from now on.
fn watched(bench: &VolumeBench, name: &str, filter: u32, tree: bool, length: u32) -> u64 {
    let handle = bench.try_open(name, READ, OPEN, DIRECTORY).unwrap().0;
    let first = so_far(bench, handle, filter, tree, length);
    assert_eq!(first.status, NtStatus::CANCELLED);
    handle
}

fn make(bench: &VolumeBench, name: &str, options: u32) {
    let made = bench.try_open(name, WRITE | DELETE, CREATE, options);
    bench.close(made.unwrap().0);
}

#[test]
fn each_change_is_told_by_its_kind_and_name() {
    let bench = VolumeBench::new();
    let root = watched(&bench, "\\", ANY, true, 4096);
    let folder = watched(&bench, "\\Folder", NAMES, false, 4096);
    let writes = watched(&bench, "\\Folder", LAST_WRITE, false, 4096);

    make(&bench, "\\Folder\\b.txt", 0);
    let file = bench.open("\\Folder\\b.txt", WRITE | DELETE);
    bench.thread.write(file, Some(0), b"text").unwrap();
    let renamed = bench.thread.rename(file, "c.txt", 0, false).unwrap();
    assert_eq!(renamed.status, NtStatus::SUCCESS);
    let moved = bench.thread.rename(file, "\\??\\C:\\c.txt", 0, false);
    assert_eq!(moved.unwrap().status, NtStatus::SUCCESS);
    bench.close(file);
    assert_eq!(
        told(&so_far(&bench, root, ANY, true, 4096)),
        [
            "added Folder\\b.txt",
            "modified Folder\\b.txt",
            "renamed from Folder\\b.txt",
            "renamed to Folder\\c.txt",
            "removed Folder\\c.txt",
            "added c.txt",
        ]
    );
    assert_eq!(
        told(&so_far(&bench, folder, NAMES, false, 4096)),
        [
            "added b.txt",
            "renamed from b.txt",
            "renamed to c.txt",
            "removed c.txt"
        ]
    );
    assert_eq!(
        told(&so_far(&bench, writes, LAST_WRITE, false, 4096)),
        ["modified b.txt"]
    );

    make(&bench, "\\Folder\\Sub", DIRECTORY);
    make(&bench, "\\Folder\\Sub\\deep", DELETE_ON_CLOSE);
    let file = bench.open("\\a.txt", WRITE | 0x100);
    let mut basic = [0; 40];
    basic[32] = 2;
    assert_eq!(bench.set(file, 4, &basic), NtStatus::SUCCESS);
    assert_eq!(bench.set(file, 20, &[0; 8]), NtStatus::SUCCESS);
    bench.close(file);
    bench.close(bench.try_open("\\a.txt", WRITE, OVERWRITE, 0).unwrap().0);
    make(&bench, "\\a.txt:s", DELETE_ON_CLOSE);
    assert_eq!(
        told(&so_far(&bench, root, ANY, true, 4096)),
        [
            "added Folder\\Sub",
            "added Folder\\Sub\\deep",
            "removed Folder\\Sub\\deep",
            "modified a.txt",
            "modified a.txt",
            "modified a.txt",
            "added stream a.txt:s",
            "removed stream a.txt:s",
        ]
    );
    assert_eq!(
        told(&so_far(&bench, folder, NAMES, false, 4096)),
        ["added Sub"]
    );
    assert!(bench.machine.shutdown().unwrap().findings.is_empty());
}

#[test]
fn what_finds_no_room_is_to_be_listed_again() {
    let bench = VolumeBench::new();
    // 12 bytes and a name of 5 characters: two fit, with their padding.
    let folder = watched(&bench, "\\Folder", NAMES, false, 48);
    for name in ["\\Folder\\1.txt", "\\Folder\\2.txt", "\\Folder\\3.txt"] {
        make(&bench, name, 0);
    }
    let lost = so_far(&bench, folder, NAMES, false, 48);
    assert_eq!(
        (lost.status, lost.information),
        (NtStatus::NOTIFY_ENUM_DIR, 0)
    );
    make(&bench, "\\Folder\\4.txt", 0);
    make(&bench, "\\Folder\\5.txt", 0);
    let kept = so_far(&bench, folder, NAMES, false, 48);
    assert_eq!(told(&kept), ["added 4.txt", "added 5.txt"]);

    // With extended information: what a listing would tell.
    let folder = bench.try_open("\\Folder", READ, OPEN, DIRECTORY).unwrap().0;
    let extended = || {
        let call = FileCall::NotifyDirectory {
            filter: NAMES,
            length: 4096,
            tree: false,
            extended: true,
            wait: false,
        };
        bench.thread.file(folder, call).unwrap()
    };
    assert_eq!(extended().status, NtStatus::CANCELLED);
    make(&bench, "\\Folder\\x", 0);
    let told = extended().data;
    let changes = DirectoryChange::list(&told, true);
    assert_eq!(changes.len(), 1);
    assert_eq!((changes[0].action, changes[0].name.as_str()), (1, "x"));
    let quad = |at: usize| u64::from_le_bytes(told[at..at + 8].try_into().unwrap());
    let file = bench.open("\\Folder\\x", READ);
    let id = bench.query(file, 6).data;
    assert_eq!(&told[64..72], &id[..8], "FileId");
    assert_eq!(
        &told[72..80],
        &bench.query(folder, 6).data[..8],
        "ParentFileId"
    );
    assert!(quad(8) > 0 && quad(48) == 0, "times, and no length");
    bench.close(file);

    // What is no directory, a directory that goes, a filter of nothing.
    let file = bench.open("\\a.txt", READ);
    let wrong = so_far(&bench, file, NAMES, false, 64);
    assert_eq!(wrong.status, NtStatus::INVALID_PARAMETER);
    let nothing = so_far(&bench, folder, 0, false, 64);
    assert_eq!(nothing.status, NtStatus::INVALID_PARAMETER);
    bench.machine.shutdown().unwrap();
}

/// Waits until a line that begins so is printed; all that came before it.
fn until(bench: &VolumeBench, line: &str) -> Vec<String> {
    model::until(&bench.machine, line, |told| told.starts_with(line))
}

fn filtered() -> (VolumeBench, Thread) {
    let bench = VolumeBench::new();
    let loaded = bench
        .machine
        .load_driver(spec(compile("notifier", &[]), "370000"));
    assert_eq!(loaded.unwrap().status, NtStatus::SUCCESS);
    bench.machine.trace().unwrap();
    let other = start(&bench.machine);
    (bench, other)
}

const DISPATCHED: &str = "dispatched 00000103";

#[test]
fn a_filter_sees_a_notification_wait_in_the_file_system_and_end_in_who_makes_the_change() {
    let (bench, other) = filtered();
    let other = &other;
    std::thread::scope(|scope| {
        let folder = bench.try_open("\\Folder", READ, OPEN, DIRECTORY).unwrap().0;
        for length in [64, 1000] {
            let waits = scope.spawn(move || other.watch_directory(folder, NAMES, true, length));
            let seen = if length == 64 {
                until(&bench, DISPATCHED)
            } else {
                // Nothing says that it waits below by now; the change is kept until it does.
                Vec::new()
            };
            let name = format!("\\Folder\\{length}");
            make(&bench, &name, 0);
            let done = waits.join().unwrap().unwrap();
            assert_eq!(told(&done), [format!("added {length}")]);
            if length == 64 {
                let expected = "notify minor=2 flags=1 length=64 filter=3 class=0 buffer=1";
                assert_eq!(seen, [expected, DISPATCHED]);
                // In the thread that made the file.
                assert_eq!(
                    lines(&bench.machine.trace().unwrap()),
                    ["notified 00000000 16 home=0"]
                );
            } else {
                // Whose thread it ends in depends on who was faster.
                let seen = until(&bench, "notified 00000000 20 home=");
                assert_eq!(seen.len(), 2);
            }
        }
    });
    assert!(
        bench
            .machine
            .unload_driver("notifier")
            .unwrap()
            .is_success()
    );
    assert_eq!(rules(&bench.machine.shutdown().unwrap()), [""; 0]);
}

#[test]
fn a_wait_ends_with_the_handle_the_directory_a_cancel_or_the_filter() {
    let (bench, other) = filtered();
    std::thread::scope(|scope| {
        let open = || {
            let folder = bench.try_open("\\Folder", READ | DELETE, OPEN, DIRECTORY);
            folder.unwrap().0
        };
        let wait = |handle, length| {
            let other = &other;
            scope.spawn(move || other.watch_directory(handle, NAMES, true, length))
        };
        // The handle is closed.
        let folder = open();
        let waits = wait(folder, 64);
        until(&bench, DISPATCHED);
        bench.close(folder);
        assert_eq!(
            waits.join().unwrap().unwrap().status,
            NtStatus::NOTIFY_CLEANUP
        );
        assert_eq!(
            lines(&bench.machine.trace().unwrap()),
            ["notified 0000010b 0 home=0"]
        );

        // The call is cancelled: in the file system, and while the filter has it.
        let folder = open();
        for (length, line, seen) in [
            (64, DISPATCHED, "notified c0000120 0 home=0"),
            (
                1001,
                "notify minor=2 flags=1 length=1001 filter=3 class=0 buffer=1",
                "cancel routine",
            ),
        ] {
            let waits = wait(folder, length);
            until(&bench, line);
            // The filter may have printed and not have set its routine yet.
            while bench.thread.cancel_io(&other).unwrap().status == NtStatus::NOT_FOUND {}
            assert_eq!(waits.join().unwrap().unwrap().status, NtStatus::CANCELLED);
            assert_eq!(lines(&bench.machine.trace().unwrap()), [seen]);
        }

        // The directory is to be deleted.
        let waits = wait(folder, 64);
        until(&bench, DISPATCHED);
        let deleted = bench.thread.set_delete(folder, true).unwrap();
        assert_eq!(deleted.status, NtStatus::SUCCESS);
        assert_eq!(
            waits.join().unwrap().unwrap().status,
            NtStatus::DELETE_PENDING
        );
        bench.thread.set_delete(folder, false).unwrap();
        bench.machine.trace().unwrap();

        // The filter goes while the file system has it.
        let waits = wait(folder, 64);
        until(&bench, DISPATCHED);
        assert!(
            bench
                .machine
                .unload_driver("notifier")
                .unwrap()
                .is_success()
        );
        assert_eq!(lines(&bench.machine.trace().unwrap()), ["drained"]);
        make(&bench, "\\Folder\\late", 0);
        assert_eq!(told(&waits.join().unwrap().unwrap()), ["added late"]);
    });
    assert_eq!(rules(&bench.machine.shutdown().unwrap()), [""; 0]);
}

#[test]
fn a_filter_keeps_a_list_of_who_watches_and_reports_to_it() {
    let bench = VolumeBench::new();
    for name in ["x.txt", "quiet"] {
        std::fs::write(bench.folder.join("Folder").join(name), "text").unwrap();
    }
    let driver = spec(compile("announcer", &[]), "370000");
    let loaded = bench.machine.load_driver(driver).unwrap();
    assert_eq!(loaded.status, NtStatus::SUCCESS);
    let folder = bench.try_open("\\Folder", READ, OPEN, DIRECTORY).unwrap().0;
    let root = bench.try_open("\\", READ, OPEN, DIRECTORY).unwrap().0;
    let names = ["\\Folder\\quiet", "\\Folder\\x.txt", "\\a.txt"];
    let files = names.map(|name| bench.open(name, WRITE));
    // The first question waits, and is cancelled; what comes then is kept for the next.
    let ask = |handle, tree| so_far(&bench, handle, 8, tree, 256);
    for (handle, tree) in [(folder, false), (root, true)] {
        assert_eq!(ask(handle, tree).status, NtStatus::CANCELLED);
    }
    for file in files {
        bench.thread.write(file, Some(0), b"T").unwrap();
    }
    assert_eq!(told(&ask(folder, false)), ["modified x.txt"]);
    assert_eq!(
        told(&ask(root, true)),
        ["modified Folder\\x.txt", "modified a.txt"]
    );
    let watcher = {
        let spec = ThreadSpec {
            process_image: "watcher.exe".to_owned(),
            process: 0,
            stack: StackKind::Ordinary,
        };
        bench.machine.thread(spec).unwrap()
    };
    let directory = watcher.create_file(&CreateFile {
        name: r"\??\C:\Folder".to_owned(),
        access: READ | 0x10_0000,
        options: DIRECTORY,
        ..CreateFile::default()
    });
    let directory = directory.unwrap().handle;
    std::thread::scope(|scope| {
        let watcher = &watcher;
        let waits = || {
            let wait = move || watcher.watch_directory(directory, 8, false, 256).unwrap();
            let waits = scope.spawn(wait);
            until_waits(&bench.machine, watcher);
            assert!(!waits.is_finished());
            waits
        };
        let waiting = waits();
        bench.thread.write(files[0], Some(0), b"T").unwrap();
        bench.thread.write(files[2], Some(0), b"T").unwrap();
        // The writer tells of its change before its call returns: neither of these two is one of this directory's.
        assert!(!waiting.is_finished());
        bench.thread.write(files[1], Some(0), b"T").unwrap();
        assert_eq!(told(&waiting.join().unwrap()), ["modified x.txt"]);
        let waiting = waits();
        // A handle is its process's.
        let pid = watcher.info().pid;
        bench.machine.end_process(pid).unwrap();
        assert_eq!(waiting.join().unwrap().status, NtStatus::CANCELLED);
    });
    for file in files.into_iter().chain([root, folder]) {
        bench.close(file);
    }
    let unloaded = bench.machine.unload_driver("announcer").unwrap();
    assert_eq!(unloaded, NtStatus::SUCCESS);
    let report = bench.machine.shutdown().unwrap();
    assert!(report.findings.is_empty(), "{:#?}", report.findings);
}
