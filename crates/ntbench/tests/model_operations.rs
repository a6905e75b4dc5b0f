//! Filters of reads, writes and everything else: a watcher of all operations, a buffer swapper, one that pends, one that
//! redirects; and defects planted in them.

mod model;

use std::path::PathBuf;
use std::time::Duration;

use model::{Bench, compile, lines, open, rules, spec, start, until_waits};
use ntbench::wire::{CreateFile, DriverSpec, FileCall, MachineConfig};
use ntbench::{NtStatus, ReparsePoint, Thread};

const README: &str = "\\Docs\\Deep\\Readme.txt";

fn named(name: &str, access: u32) -> CreateFile {
    CreateFile {
        name: format!("\\??\\UNC\\fs\\data{name}"),
        access: access | 0x0010_0000,
        ..CreateFile::default()
    }
}

fn opened(thread: &Thread, create: &CreateFile) -> u64 {
    let done = thread.create_file(create).expect("the machine lives");
    assert_eq!(done.status, NtStatus::SUCCESS, "{}", create.name);
    done.handle
}

fn loaded(driver: &str, defines: &[&str], config: MachineConfig) -> Bench {
    let bench = Bench::with(config);
    assert_eq!(bench.load(compile(driver, defines)), NtStatus::SUCCESS);
    bench.trace();
    bench
}

fn load_as(bench: &Bench, image: PathBuf, service: &str, altitude: &str) {
    let spec = DriverSpec {
        service: service.to_owned(),
        ..spec(image, altitude)
    };
    assert_eq!(
        bench.machine.load_driver(spec).unwrap().status,
        NtStatus::SUCCESS
    );
}

/// Unloads and ends; what was found.
fn found(bench: Bench, service: &str) -> Vec<String> {
    assert_eq!(
        bench.machine.unload_driver(service).unwrap(),
        NtStatus::SUCCESS
    );
    let report = bench.end();
    rules(&report).into_iter().map(str::to_owned).collect()
}

/// Waits until a line is printed, and gives all that came.
fn until(bench: &Bench, line: &str) -> Vec<String> {
    model::until(&bench.machine, line, |told| told == line)
}

#[test]
fn every_operation_reaches_a_filter_before_and_after() {
    let bench = loaded("watcher", &[], MachineConfig::default());
    let thread = &bench.thread;
    let file = opened(thread, &named(README, 0x12_019F));
    assert_eq!(
        lines(&bench.trace()),
        [
            "pre IRP_MJ_CREATE minor=0 flags=1 irp=884 data=1 mode=1",
            "post IRP_MJ_CREATE status=00000000 information=1 mine=1 flags=0 irql=0"
        ]
    );
    let call = |call: FileCall| {
        let done = thread.file(file, call).expect("the machine lives");
        let trace = bench.trace();
        let lines: Vec<String> = lines(&trace).into_iter().map(str::to_owned).collect();
        (done.status, lines)
    };
    let (status, seen) = call(FileCall::Read {
        length: 4,
        offset: None,
        paging: false,
    });
    assert_eq!(status, NtStatus::SUCCESS);
    assert_eq!(
        seen,
        [
            "pre IRP_MJ_READ minor=0 flags=0 irp=904 data=1 mode=1",
            "post IRP_MJ_READ status=00000000 information=4 mine=1 flags=0 irql=0"
        ]
    );
    // Paging I/O: no cache, from the kernel's buffer, at APC_LEVEL.
    let (status, seen) = call(FileCall::Read {
        length: 4,
        offset: Some(0),
        paging: true,
    });
    assert_eq!(status, NtStatus::SUCCESS);
    assert!(seen[0].contains("irp=43 data=1 mode=0"), "{seen:?}");
    assert!(seen[1].ends_with("irql=1"), "{seen:?}");
    let (status, seen) = call(FileCall::QueryInformation {
        class: 6,
        length: 8,
    });
    assert_eq!(status, NtStatus::SUCCESS);
    // Information goes through a system buffer.
    assert!(seen[0].contains("irp=874 data=9"), "{seen:?}");
    let (status, seen) = call(FileCall::QueryVolume {
        class: 4,
        length: 8,
    });
    assert_eq!(status, NtStatus::SUCCESS);
    assert!(
        seen[1].starts_with(
            "dispatched IRP_MJ_QUERY_VOLUME_INFORMATION 00000000 context=0000000000000077"
        ),
        "{seen:?}"
    );
    for (what, expected, name) in [
        (FileCall::Flush, NtStatus::SUCCESS, "FLUSH_BUFFERS"),
        (
            FileCall::Lock {
                offset: 0,
                length: 2,
                key: 0,
                exclusive: true,
                fail_immediately: true,
            },
            NtStatus::SUCCESS,
            "LOCK_CONTROL minor=1 flags=3",
        ),
        (
            FileCall::Write {
                data: b"data".to_vec(),
                offset: Some(0),
                paging: false,
            },
            NtStatus::SUCCESS,
            "WRITE",
        ),
        (
            FileCall::Unlock {
                offset: 0,
                length: 2,
                key: 0,
            },
            NtStatus::SUCCESS,
            "LOCK_CONTROL minor=2",
        ),
        (
            FileCall::QuerySecurity {
                information: 7,
                length: 100,
            },
            NtStatus::SUCCESS,
            "QUERY_SECURITY",
        ),
        (
            FileCall::SetVolume {
                class: 2,
                data: vec![0; 8],
            },
            NtStatus::INVALID_DEVICE_REQUEST,
            "SET_VOLUME_INFORMATION",
        ),
        (
            FileCall::DeviceControl {
                code: 0x7_0000,
                input: Vec::new(),
                output: 0,
            },
            NtStatus::INVALID_DEVICE_REQUEST,
            "DEVICE_CONTROL",
        ),
        (
            FileCall::SetInformation {
                class: 20,
                data: 3_i64.to_le_bytes().to_vec(),
            },
            NtStatus::SUCCESS,
            "SET_INFORMATION",
        ),
    ] {
        let (status, seen) = call(what);
        assert_eq!(status, expected, "{name}");
        assert!(
            seen[0].starts_with(&format!("pre IRP_MJ_{name}")),
            "{seen:?}"
        );
        // A device control is tried as fast I/O first.
        let passes = if name == "DEVICE_CONTROL" { 2 } else { 1 };
        assert_eq!(seen.len(), 2 * passes, "{seen:?}");
    }
    let folder = opened(thread, &named("\\Docs", 1));
    bench.trace();
    thread
        .query_directory(folder, 12, 512, None, true, true)
        .unwrap();
    let trace = bench.trace();
    assert!(
        lines(&trace)[0].starts_with("pre IRP_MJ_DIRECTORY_CONTROL minor=1 flags=3"),
        "{:?}",
        lines(&trace)
    );
    thread.get_reparse(folder).unwrap();
    let trace = bench.trace();
    assert!(
        lines(&trace)[1].contains("status=c0000275"),
        "{:?}",
        lines(&trace)
    );
    // The attributes of a file are asked for by an operation of their own.
    thread
        .query_attributes("\\??\\UNC\\fs\\data\\Docs")
        .unwrap();
    let trace = bench.trace();
    let majors: Vec<&str> = lines(&trace)
        .into_iter()
        .filter_map(|line| line.strip_prefix("pre IRP_MJ_")?.split(' ').next())
        .collect();
    assert_eq!(majors, ["CREATE", "QUERY_INFORMATION", "CLEANUP", "CLOSE"]);
    thread.close(file).unwrap();
    assert!(found(bench, "watcher").is_empty());
}

#[test]
fn a_rename_opens_the_directory_of_its_target() {
    let bench = loaded("watcher", &[], MachineConfig::default());
    let file = opened(&bench.thread, &named(README, 0x1_0000));
    bench.trace();
    let done = bench
        .thread
        .rename(file, "\\??\\UNC\\fs\\data\\moved", 0, false)
        .unwrap();
    assert_eq!(done.status, NtStatus::SUCCESS);
    let trace = bench.trace();
    let seen: Vec<&str> = lines(&trace)
        .into_iter()
        .filter(|line| line.starts_with("pre"))
        .collect();
    // SL_OPEN_TARGET_DIRECTORY and SL_FORCE_ACCESS_CHECK.
    assert!(
        seen[0].starts_with("pre IRP_MJ_CREATE minor=0 flags=5"),
        "{seen:?}"
    );
    assert!(
        seen[1].starts_with("pre IRP_MJ_SET_INFORMATION"),
        "{seen:?}"
    );
    assert!(seen[2].starts_with("pre IRP_MJ_CLEANUP"), "{seen:?}");
    assert!(bench.end().findings.is_empty());
}

#[test]
fn a_swapped_buffer_reaches_the_disk_and_the_program_its_own() {
    for raised in [false, true] {
        let bench = loaded(
            "swapper",
            &[],
            MachineConfig {
                raised_completions: raised,
                ..MachineConfig::default()
            },
        );
        let file = opened(&bench.thread, &named(README, 3));
        let written = bench.thread.write(file, Some(0), b"secret").unwrap();
        assert_eq!(
            (written.status, written.information),
            (NtStatus::SUCCESS, 6)
        );
        let disk = std::fs::read(bench.folder.join("Docs/Deep/Readme.txt")).unwrap();
        let inverted: Vec<u8> = b"secret".iter().map(|byte| !byte).collect();
        assert_eq!(disk, inverted);
        // A file object's first read is an IRP's; fast I/O comes only where something is cached.
        bench.thread.close(file).unwrap();
        let file = opened(&bench.thread, &named(README, 3));
        let read = bench.thread.read(file, Some(0), 100).unwrap();
        assert_eq!(
            (read.status, &*read.data),
            (NtStatus::SUCCESS, &b"secret"[..])
        );
        let trace = bench.trace();
        let irql = if raised { 2 } else { 0 };
        assert_eq!(
            lines(&trace),
            [
                format!("post irql={irql} status=00000000 mine=0"),
                "safe irql=0 lock=00000000".to_owned()
            ]
        );
        let end = bench.thread.read(file, Some(6), 1).unwrap();
        assert_eq!(end.status, NtStatus::END_OF_FILE);
        bench.thread.close(file).unwrap();
        assert!(found(bench, "swapper").is_empty());
    }
}

#[test]
fn defects_of_a_swapper_are_found() {
    let run = |defect: &str| {
        let bench = loaded(
            "swapper",
            &[defect],
            MachineConfig {
                time_limit_ms: Some(3_000),
                ..MachineConfig::default()
            },
        );
        let file = opened(&bench.thread, &named(README, 3));
        let read = bench.thread.read(file, Some(0), 100);
        (bench, read)
    };
    let (bench, read) = run("DEFECT=1");
    // The change does not count: the program gets what is on the disk, inverted by what was never filled in.
    assert!(read.is_ok());
    assert!(found(bench, "swapper").contains(&"changed-without-dirty".to_owned()));
    let (bench, _) = run("DEFECT=2");
    assert_eq!(found(bench, "swapper"), ["pool-leak"]);
    let (bench, read) = run("DEFECT=3");
    assert!(read.is_ok());
    assert_eq!(found(bench, "swapper"), ["swapped-mdl-freed"]);
    let (_bench, read) = run("DEFECT=4");
    assert!(
        matches!(read, Err(ntbench::MachineError::TimeLimit { .. })),
        "{read:?}"
    );
}

#[test]
fn a_pended_read_goes_on_in_a_system_thread() {
    let bench = loaded("pender", &[], MachineConfig::default());
    let file = opened(&bench.thread, &named(README, 3));
    let read = bench.thread.read(file, Some(0), 100).unwrap();
    assert_eq!(
        (read.status, &*read.data),
        (NtStatus::SUCCESS, &b"text"[..])
    );
    assert_eq!(
        lines(&bench.trace()),
        [
            "queued 00000000",
            "read 00000000 context=0000000000000099 system=1"
        ]
    );
    // Paging I/O may not wait for a worker.
    let paging = FileCall::Read {
        length: 4,
        offset: Some(0),
        paging: true,
    };
    assert_eq!(
        bench.thread.file(file, paging).unwrap().status,
        NtStatus::SUCCESS
    );
    assert_eq!(lines(&bench.trace()), ["queued c01c0006"]);
    // A write waits for the filter's event, and is pended on its way up.
    let other = start(&bench.machine);
    std::thread::scope(|scope| {
        let write = || bench.thread.write(file, Some(0), b"TEXT").unwrap();
        let waiting = scope.spawn(write);
        until_waits(&bench.machine, &bench.thread);
        assert_eq!(
            other.cancel_io(&bench.thread).unwrap().status,
            NtStatus::SUCCESS
        );
        assert_eq!(waiting.join().unwrap().status, NtStatus::CANCELLED);
        until(&bench, "waited c0000120");
        let waiting = scope.spawn(write);
        let second = opened(&other, &named(README, 3));
        assert_eq!(
            other.file(second, FileCall::Flush).unwrap().status,
            NtStatus::SUCCESS
        );
        assert_eq!(waiting.join().unwrap().status, NtStatus::SUCCESS);
        assert_eq!(
            until(&bench, "after 00000000"),
            ["waited 00000000", "after 00000000"]
        );
    });
    assert_eq!(
        std::fs::read(bench.folder.join("Docs/Deep/Readme.txt")).unwrap(),
        b"TEXT"
    );
    assert!(found(bench, "pender").is_empty());
}

#[test]
fn defects_of_pending_are_found() {
    let run = |defect| {
        let bench = loaded("pender", &[defect], MachineConfig::default());
        let file = opened(&bench.thread, &named(README, 3));
        let read = bench.thread.read(file, Some(0), 100);
        (bench, read)
    };
    let (bench, read) = run("DEFECT=1");
    // STATUS_INVALID_USER_BUFFER: the address is another process's.
    assert_eq!(
        read.unwrap().status,
        NtStatus(0xC000_00E8_u32.cast_signed())
    );
    assert_eq!(found(bench, "pender"), ["user-buffer-in-wrong-process"]);
    let (bench, read) = run("DEFECT=2");
    // The operation goes on, or is over, when it is completed for the second time: a finding, or the end.
    if read.is_ok() {
        std::thread::sleep(Duration::from_millis(100));
        match bench.machine.shutdown() {
            Ok(report) => assert_eq!(rules(&report), ["completed-twice"]),
            Err(ntbench::MachineError::BugCheck(report)) => assert_eq!(report.code, 0xF5),
            Err(other) => panic!("{other}"),
        }
    }
}

#[test]
fn a_redirector_gives_creates_another_name() {
    let bench = loaded("redirector", &[], MachineConfig::default());
    std::fs::create_dir_all(bench.folder.join("New/Deep")).unwrap();
    std::fs::write(bench.folder.join("New/Deep/file"), "x").unwrap();
    assert_eq!(bench.open("\\Old\\Deep\\file"), NtStatus::SUCCESS);
    assert_eq!(bench.open("\\old\\none"), NtStatus::OBJECT_NAME_NOT_FOUND);
    // A file with the filter's own tag: nobody else handles it.
    let tagged = opened(&bench.thread, &named(README, 0x182));
    assert_eq!(
        bench.thread.write(tagged, Some(0), b"x").unwrap().status,
        NtStatus::SUCCESS
    );
    bench.thread.close(tagged).unwrap();
    bench.trace();
    // On a share that is the server's affair, which does not know the tag.
    assert_eq!(bench.open(README), NtStatus::IO_REPARSE_TAG_NOT_HANDLED);
    let trace = bench.trace();
    assert_eq!(lines(&trace), Vec::<&str>::new());
    assert!(found(bench, "redirector").is_empty());
}

#[test]
fn a_tag_of_a_filters_own_is_seen_on_a_local_volume() {
    let folder = tempfolder();
    std::fs::write(folder.join("file"), "text").unwrap();
    let mut config = MachineConfig::default();
    config.namespace.volumes = vec![ntbench::wire::Volume {
        device: "\\Device\\HarddiskVolume1".to_owned(),
        letter: Some('C'),
        folder: folder.clone(),
    }];
    let host = Some(PathBuf::from(env!("CARGO_BIN_EXE_ntbench")));
    let machine = ntbench::Machine::boot(MachineConfig { host, ..config }).unwrap();
    let thread = start(&machine);
    let loaded = machine
        .load_driver(spec(compile("redirector", &[]), "370000"))
        .unwrap();
    assert_eq!(loaded.status, NtStatus::SUCCESS);
    let at = |name: &str, access: u32, options: u32| CreateFile {
        name: name.to_owned(),
        access: 0x10_0000 | access,
        options: 0x20 | options,
        ..CreateFile::default()
    };
    let file = opened(&thread, &at("\\??\\C:\\file", 0x182, 0));
    assert_eq!(
        thread.write(file, Some(0), b"x").unwrap().status,
        NtStatus::SUCCESS
    );
    thread.close(file).unwrap();
    machine.trace().unwrap();
    assert_eq!(open(&thread, "\\??\\C:\\file"), NtStatus::SUCCESS);
    let trace = machine.trace().unwrap();
    assert_eq!(
        lines(&trace),
        ["tag information=1234 length=4 rest=0", "again 00000000"]
    );
    // Without its filter the tag leads nowhere.
    machine.unload_driver("redirector").unwrap();
    assert_eq!(
        open(&thread, "\\??\\C:\\file"),
        NtStatus::IO_REPARSE_TAG_NOT_HANDLED
    );
    // A mount point restarts from the object manager, the rest of the name behind it; so does a relative link.
    std::fs::create_dir_all(folder.join("real/in")).unwrap();
    for (name, point) in [
        (
            "mount",
            ReparsePoint::MountPoint {
                target: "\\??\\C:\\real".to_owned(),
            },
        ),
        (
            "soft",
            ReparsePoint::Symlink {
                target: ".\\mount\\..\\real".to_owned(),
                relative: true,
            },
        ),
    ] {
        let make = CreateFile {
            disposition: 2,
            ..at(&format!("\\??\\C:\\{name}"), 0x180, 1)
        };
        let handle = opened(&thread, &make);
        assert_eq!(
            thread.set_reparse(handle, &point).unwrap().status,
            NtStatus::SUCCESS
        );
        thread.close(handle).unwrap();
        assert_eq!(
            open(&thread, &format!("\\??\\C:\\{name}\\in")),
            NtStatus::SUCCESS
        );
        assert_eq!(
            open(&thread, &format!("\\??\\C:\\{name}\\out")),
            NtStatus::OBJECT_NAME_NOT_FOUND
        );
    }
    assert!(machine.shutdown().unwrap().findings.is_empty());
}

fn tempfolder() -> PathBuf {
    let folder =
        PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("volume-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    folder
}

#[test]
fn defects_of_a_redirector_are_found() {
    let bench = loaded("redirector", &["DEFECT=1"], MachineConfig::default());
    // STATUS_REPARSE_POINT_NOT_RESOLVED
    let circle = bench.open("\\Old\\x");
    assert!(!circle.is_success(), "{circle}");
    let bench = loaded("redirector", &["DEFECT=2"], MachineConfig::default());
    assert_eq!(bench.open(README), NtStatus::ACCESS_DENIED);
    assert_eq!(found(bench, "redirector"), ["failed-create-not-cancelled"]);
}

#[test]
fn filters_see_the_changes_of_those_above_alone() {
    let bench = Bench::new();
    load_as(&bench, compile("watcher", &[]), "above", "380000");
    load_as(&bench, compile("swapper", &[]), "swapper", "370000");
    load_as(&bench, compile("watcher", &[]), "below", "360000");
    let file = opened(&bench.thread, &named(README, 3));
    bench.trace();
    let read = bench.thread.read(file, Some(0), 4).unwrap();
    assert_eq!(read.status, NtStatus::SUCCESS);
    let inverted: Vec<u8> = b"text".iter().map(|byte| !byte).collect();
    assert_eq!(read.data, inverted);
    let trace = bench.trace();
    let order: Vec<(String, String)> = model::callbacks(&trace)
        .iter()
        .map(|event| (event.filter.clone(), event.phase.clone()))
        .collect();
    let expected = [
        ("above", "pre"),
        ("swapper", "pre"),
        ("below", "pre"),
        ("below", "post"),
        ("swapper", "post"),
        ("swapper", "safe post"),
        ("above", "post"),
    ]
    .map(|(filter, phase)| (filter.to_owned(), phase.to_owned()));
    assert_eq!(order, expected);
    assert!(bench.end().findings.is_empty());
}

#[test]
fn a_filter_does_file_work_of_its_own() {
    for (defect, expected) in [
        ("DEFECT=0", None),
        ("DEFECT=1", Some("fltmgr-leak")),
        ("DEFECT=2", Some("handle-leak")),
        ("DEFECT=3", Some("callback-data-in-use")),
    ] {
        let bench = loaded("doer", &[defect], MachineConfig::default());
        let folder = opened(&bench.thread, &named("\\Docs", 3));
        bench.thread.file(folder, FileCall::Flush).unwrap();
        assert_eq!(lines(&bench.trace()), ["size c00000ba 0"]);
        let file = opened(&bench.thread, &named(README, 3));
        let flushed = bench.thread.file(file, FileCall::Flush).unwrap();
        assert_eq!(flushed.status, NtStatus::SUCCESS);
        if expected.is_none() {
            assert_eq!(
                lines(&bench.trace()),
                [
                    "size 00000000 4",
                    "create 00000000 2",
                    "write 00000000",
                    "read 00000000 7 written",
                    "length 00000000 7",
                    "flush 00000000",
                    "rename 00000000",
                    "delete 00000000",
                    "pending 00000103",
                    "done 00000000 context=0000000000000044",
                    "read 4 text",
                    "allocated 00000000",
                    "own 00000000 00000000 ext",
                    "done 00000000 context=0000000000000045",
                    "own 00000103 00000000 ext",
                    "pointer 00000000",
                    "contexts 0",
                ]
            );
            assert!(!bench.folder.join("Docs/other").exists());
        }
        // The filter's own locks: by file object, whatever the handle.
        let second = opened(&bench.thread, &named(README, 3));
        let lock = FileCall::Lock {
            offset: 0,
            length: 2,
            key: 0,
            exclusive: true,
            fail_immediately: true,
        };
        assert_eq!(
            bench.thread.file(file, lock.clone()).unwrap().status,
            NtStatus::SUCCESS
        );
        let refused = bench.thread.file(second, lock).unwrap();
        assert_eq!(refused.status, NtStatus(0xC000_0055_u32.cast_signed()));
        let conflict = bench.thread.write(second, Some(1), b"x").unwrap();
        assert_eq!(conflict.status, NtStatus(0xC000_0054_u32.cast_signed()));
        assert_eq!(
            bench.thread.write(file, Some(1), b"x").unwrap().status,
            NtStatus::SUCCESS
        );
        let found = found(bench, "doer");
        match expected {
            None => assert!(found.is_empty(), "{found:?}"),
            Some(rule) => assert!(found.contains(&rule.to_owned()), "{defect}: {found:?}"),
        }
    }
}

/// Its operations of its own are pended below it while it is unloaded: the unload waits for them.
#[test]
fn an_unload_waits_for_what_the_filter_has_sent() {
    let bench = Bench::new();
    load_as(&bench, compile("pender", &[]), "pender", "360000");
    load_as(&bench, compile("leaver", &[]), "leaver", "370000");
    let file = opened(&bench.thread, &named(README, 3));
    bench.trace();
    let flushed = bench.thread.file(file, FileCall::Flush).unwrap();
    assert_eq!(flushed.status, NtStatus::SUCCESS);
    assert_eq!(
        bench.machine.unload_driver("leaver").unwrap(),
        NtStatus::SUCCESS
    );
    let trace = bench.trace();
    let seen = lines(&trace);
    let at = |line: &str| {
        let found = seen.iter().position(|other| *other == line);
        found.unwrap_or_else(|| panic!("no {line:?}: {seen:?}"))
    };
    // What the documentation says of FltPerformAsynchronousIo: the routine is called also where nothing was sent.
    assert_eq!(seen[..2], ["refused c01c0003", "create c01c0003"]);
    assert_eq!(at("leaving c01c000b"), at("too late c01c000b") + 1);
    assert!(at("sent 00000000 ext") < at("gone"));
    assert!(at("read 00000000 4 text") < at("gone"));
    assert!(found(bench, "pender").is_empty());
}

/// What a filter watches for holds up no work item of anybody's, and ends with its instance.
#[test]
fn many_operations_can_wait_at_once() {
    let bench = loaded("vigil", &[], MachineConfig::default());
    let folder = opened(&bench.thread, &named("\\Docs", 3));
    bench.thread.file(folder, FileCall::Flush).unwrap();
    assert_eq!(lines(&bench.trace()), ["sent 120 worked 00000000"]);
    assert_eq!(
        bench.machine.unload_driver("vigil").unwrap(),
        NtStatus::SUCCESS
    );
    assert_eq!(lines(&bench.trace()), ["over 120"]);
    assert!(rules(&bench.end()).is_empty());
}

#[test]
fn an_operation_can_go_on_on_another_volume() {
    for (defect, expected) in [("DEFECT=0", None), ("DEFECT=1", Some("target-instance"))] {
        let folder = tempfolder().join(defect);
        let mut config = MachineConfig::default();
        for number in 1..=2 {
            let root = folder.join(format!("{number}"));
            std::fs::create_dir_all(&root).unwrap();
            std::fs::write(root.join("twin"), format!("on {number}")).unwrap();
            config.namespace.volumes.push(ntbench::wire::Volume {
                device: format!("\\Device\\HarddiskVolume{number}"),
                letter: None,
                folder: root,
            });
        }
        let host = Some(PathBuf::from(env!("CARGO_BIN_EXE_ntbench")));
        let machine = ntbench::Machine::boot(MachineConfig { host, ..config }).unwrap();
        let thread = start(&machine);
        for (driver, altitude, service) in [
            ("mirror", "370000", "mirror"),
            ("watcher", "360000", "watcher"),
        ] {
            let spec = DriverSpec {
                service: service.to_owned(),
                ..spec(compile(driver, &[defect]), altitude)
            };
            let status = machine.load_driver(spec).unwrap().status;
            assert_eq!(status, NtStatus::SUCCESS);
        }
        let file = CreateFile {
            name: "\\Device\\HarddiskVolume1\\twin".to_owned(),
            access: 0x10_0001,
            ..CreateFile::default()
        };
        let file = opened(&thread, &file);
        machine.trace().unwrap();
        let read = thread.read(file, Some(0), 10).unwrap();
        assert_eq!(
            (read.status, &*read.data),
            (NtStatus::SUCCESS, &b"on 2"[..])
        );
        let trace = machine.trace().unwrap();
        assert!(
            lines(&trace).contains(&"back 00000000 own=1"),
            "{:?}",
            lines(&trace)
        );
        thread.close(file).unwrap();
        for service in ["mirror", "watcher"] {
            machine.unload_driver(service).unwrap();
        }
        let report = machine.shutdown().unwrap();
        assert_eq!(rules(&report), Vec::from_iter(expected));
    }
}
