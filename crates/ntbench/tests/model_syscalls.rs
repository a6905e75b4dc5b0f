//! System calls on a machine without a driver: what a filter must leave as it is.

mod model;

use model::{Bench, open};
use ntbench::NtStatus;
use ntbench::wire::{CreateFile, SystemCall};

const DIRECTORY_FILE: u32 = 0x1;
const NON_DIRECTORY_FILE: u32 = 0x40;
const DELETE_ON_CLOSE: u32 = 0x1000;
const OPEN_BY_FILE_ID: u32 = 0x2000;
const SYNCHRONOUS: u32 = 0x20;
const DELETE: u32 = 0x1_0000;
const SYNCHRONIZE: u32 = 0x10_0000;
const READ_DATA: u32 = 0x1;

fn named(name: &str) -> CreateFile {
    CreateFile {
        name: format!("\\??\\UNC\\fs\\data{name}"),
        ..CreateFile::default()
    }
}

#[test]
fn opens_relative_to_a_handle() {
    let bench = Bench::new();
    let root = bench.thread.create_file(&named("\\Docs")).unwrap();
    assert_eq!(root.status, NtStatus::SUCCESS);
    let relative = |name: &str| {
        let create = CreateFile {
            name: name.to_owned(),
            root: root.handle,
            ..CreateFile::default()
        };
        let done = bench.thread.create_file(&create).unwrap();
        if done.handle != 0 {
            bench.thread.close(done.handle).unwrap();
        }
        done.status
    };
    assert_eq!(relative("Deep"), NtStatus::SUCCESS);
    assert_eq!(relative("Deep\\Readme.txt"), NtStatus::SUCCESS);
    assert_eq!(relative(""), NtStatus::SUCCESS);
    assert_eq!(relative("none"), NtStatus::OBJECT_NAME_NOT_FOUND);
    assert_eq!(relative("\\Deep"), NtStatus::OBJECT_PATH_SYNTAX_BAD);
    // A relative open keeps the file object that it began at.
    let create = CreateFile {
        name: "Deep".to_owned(),
        root: root.handle,
        ..CreateFile::default()
    };
    let deep = bench.thread.create_file(&create).unwrap();
    assert_eq!(
        bench.thread.close(root.handle).unwrap().status,
        NtStatus::SUCCESS
    );
    let create = CreateFile {
        name: "Readme.txt".to_owned(),
        root: deep.handle,
        ..CreateFile::default()
    };
    assert_eq!(
        bench.thread.create_file(&create).unwrap().status,
        NtStatus::SUCCESS
    );
    assert_eq!(
        bench
            .thread
            .create_file(&CreateFile {
                root: root.handle,
                ..create
            })
            .unwrap()
            .status,
        NtStatus::INVALID_HANDLE
    );
    let query = SystemCall::QueryAttributes {
        name: "Readme.txt".to_owned(),
        root: deep.handle,
    };
    assert_eq!(bench.thread.call(query).unwrap().attributes, 0x20);
    assert!(bench.end().findings.is_empty());
}

#[test]
fn parameters_that_contradict_each_other_are_refused() {
    let bench = Bench::new();
    let base = named("\\Docs");
    for (create, why) in [
        (
            CreateFile {
                options: DIRECTORY_FILE | NON_DIRECTORY_FILE,
                ..base.clone()
            },
            "directory and no directory",
        ),
        (
            CreateFile {
                options: DIRECTORY_FILE,
                disposition: 4,
                ..base.clone()
            },
            "overwrites a directory",
        ),
        (
            CreateFile {
                options: SYNCHRONOUS | 0x10,
                ..base.clone()
            },
            "both kinds of synchronous I/O",
        ),
        (
            CreateFile {
                options: SYNCHRONOUS,
                access: 0x80,
                ..base.clone()
            },
            "synchronous without SYNCHRONIZE",
        ),
        (
            CreateFile {
                options: DELETE_ON_CLOSE,
                access: 0x80,
                ..base.clone()
            },
            "delete on close without DELETE",
        ),
        (
            CreateFile {
                disposition: 6,
                ..base.clone()
            },
            "a disposition that there is not",
        ),
        (
            CreateFile {
                share: 8,
                ..base.clone()
            },
            "a share mode that there is not",
        ),
        (
            CreateFile {
                options: 0x0100_0000,
                ..base.clone()
            },
            "an option that there is not",
        ),
    ] {
        assert_eq!(
            bench.thread.create_file(&create).unwrap().status,
            NtStatus::INVALID_PARAMETER,
            "{why}"
        );
    }
    let by_id = CreateFile {
        options: OPEN_BY_FILE_ID,
        ..base
    };
    assert_eq!(
        bench.thread.create_file(&by_id).unwrap().status,
        NtStatus::NOT_SUPPORTED
    );
}

#[test]
fn files_are_made_shared_and_deleted() {
    let bench = Bench::new();
    let make = CreateFile {
        disposition: 2,
        options: DELETE_ON_CLOSE,
        access: DELETE | READ_DATA | SYNCHRONIZE,
        share: 0,
        ..named("\\Docs\\fresh")
    };
    let made = bench.thread.create_file(&make).unwrap();
    assert_eq!((made.status, made.information), (NtStatus::SUCCESS, 2));
    assert!(bench.folder.join("Docs/fresh").is_file());
    assert_eq!(
        bench.thread.create_file(&make).unwrap().status,
        NtStatus::OBJECT_NAME_COLLISION
    );
    let read = CreateFile {
        access: READ_DATA | SYNCHRONIZE,
        ..named("\\Docs\\fresh")
    };
    assert_eq!(
        bench.thread.create_file(&read).unwrap().status,
        NtStatus::SHARING_VIOLATION
    );
    assert_eq!(
        bench
            .thread
            .query_attributes("\\??\\UNC\\fs\\data\\Docs\\fresh")
            .unwrap()
            .status,
        NtStatus::SUCCESS
    );
    assert_eq!(
        bench.thread.close(made.handle).unwrap().status,
        NtStatus::SUCCESS
    );
    assert!(!bench.folder.join("Docs/fresh").exists());
    assert_eq!(
        bench.thread.close(made.handle).unwrap().status,
        NtStatus::INVALID_HANDLE
    );
}

#[test]
fn handles_belong_to_their_process() {
    let bench = Bench::new();
    let mine = bench.thread.create_file(&named("\\Docs")).unwrap();
    let other = bench
        .machine
        .thread(ntbench::wire::ThreadSpec {
            process_image: "other.exe".to_owned(),
            process: 0,
            stack: ntbench::wire::StackKind::Ordinary,
        })
        .unwrap();
    assert_eq!(
        other.close(mine.handle).unwrap().status,
        NtStatus::INVALID_HANDLE
    );
    assert_eq!(
        bench.thread.close(mine.handle).unwrap().status,
        NtStatus::SUCCESS
    );
    // OBJ_KERNEL_HANDLE from user mode gives a user handle all the same.
    let create = CreateFile {
        object_attributes: 0x240,
        ..named("\\Docs")
    };
    let handle = bench.thread.create_file(&create).unwrap().handle;
    assert_eq!(handle >> 31, 0, "{handle:#x}");
}

#[test]
fn attribute_queries_look_at_links_and_creates_follow_them() {
    let bench = Bench::new();
    let link = bench
        .thread
        .query_attributes("\\??\\UNC\\fs\\data\\jump")
        .unwrap();
    assert_eq!(
        (link.status, link.attributes & 0x400),
        (NtStatus::SUCCESS, 0x400)
    );
    let through = bench
        .thread
        .query_attributes("\\??\\UNC\\fs\\data\\jump\\Deep")
        .unwrap();
    assert_eq!(
        (through.status, through.attributes),
        (NtStatus::SUCCESS, 0x10)
    );
    assert_eq!(bench.open("\\jump\\Deep\\Readme.txt"), NtStatus::SUCCESS);
    std::os::unix::fs::symlink("circle", bench.folder.join("circle")).unwrap();
    // STATUS_REPARSE_POINT_NOT_RESOLVED
    assert_eq!(
        bench.open("\\circle"),
        NtStatus(0xC000_0280_u32.cast_signed())
    );
    for (name, expected) in [
        ("\\??\\UNC\\corp\\dfs", NtStatus::SUCCESS),
        ("\\??\\UNC\\corp\\dfs\\eng\\Deep", NtStatus::SUCCESS),
        ("\\??\\UNC\\nobody\\x", NtStatus::BAD_NETWORK_PATH),
        ("\\??\\UNC\\fs\\nothing", NtStatus::BAD_NETWORK_NAME),
        ("\\Device\\Nothing", NtStatus::OBJECT_NAME_NOT_FOUND),
    ] {
        assert_eq!(open(&bench.thread, name), expected, "{name}");
    }
}
