//! Filters of every operation: what a watcher sees, what a filter does for itself, and who sees whose changes.

mod model;

use model::work::{README, found, load_as, loaded, named, opened};
use model::{Bench, compile, lines};
use ntbench::NtStatus;
use ntbench::wire::{FileCall, MachineConfig};

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
                    "pending 00000000",
                    "done 00000000 context=0000000000000044",
                    "read 0 text",
                    "allocated 00000000",
                    "own 00000000 00000000 ext",
                    "done 00000000 context=0000000000000045",
                    "own 00000000 00000000 ext",
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
