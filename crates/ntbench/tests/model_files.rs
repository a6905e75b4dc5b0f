//! What programs do with open files, without any filter: reading, writing, listing, renaming, deleting, locking.

mod model;

use model::Bench;
use ntbench::wire::{CreateFile, FileCall};
use ntbench::{NtStatus, ReparsePoint, Thread};

const READ: u32 = 0x1;
const WRITE: u32 = 0x2;
const DELETE: u32 = 0x1_0000;
const ATTRIBUTES: u32 = 0x180;
const SYNCHRONIZE: u32 = 0x10_0000;
const DIRECTORY: u32 = 0x1;
const OPEN_REPARSE_POINT: u32 = 0x20_0000;

fn named(name: &str, access: u32) -> CreateFile {
    CreateFile {
        name: format!("\\??\\UNC\\fs\\data{name}"),
        access: access | SYNCHRONIZE,
        ..CreateFile::default()
    }
}

fn opened(thread: &Thread, create: &CreateFile) -> u64 {
    let done = thread.create_file(create).expect("the machine lives");
    assert_eq!(done.status, NtStatus::SUCCESS, "{}", create.name);
    done.handle
}

#[test]
fn a_file_is_read_and_written() {
    let bench = Bench::new();
    let thread = &bench.thread;
    let file = opened(thread, &named("\\Docs\\Deep\\Readme.txt", READ | WRITE));
    let read = thread.read(file, None, 100).unwrap();
    assert_eq!(
        (read.status, &*read.data),
        (NtStatus::SUCCESS, &b"text"[..])
    );
    // The file is at its end now.
    let end = thread.read(file, None, 100).unwrap();
    assert_eq!((end.status, end.information), (NtStatus::END_OF_FILE, 0));
    let written = thread.write(file, Some(2), b"nth").unwrap();
    assert_eq!(
        (written.status, written.information),
        (NtStatus::SUCCESS, 3)
    );
    assert_eq!(thread.read(file, Some(0), 100).unwrap().data, b"tenth");
    assert_eq!(thread.write(file, Some(-1), b"!").unwrap().information, 1);
    // Paging I/O never grows a file.
    let paging = FileCall::Write {
        data: b"?????".to_vec(),
        offset: Some(4),
        paging: true,
    };
    assert_eq!(thread.file(file, paging).unwrap().information, 2);
    assert_eq!(
        std::fs::read(bench.folder.join("Docs/Deep/Readme.txt")).unwrap(),
        b"tent??"
    );
    assert_eq!(
        thread
            .set_information(file, 20, &3_i64.to_le_bytes())
            .unwrap()
            .status,
        NtStatus::SUCCESS
    );
    let standard = thread.query_information(file, 5, 24).unwrap();
    assert_eq!(standard.data[8..16], 3_i64.to_le_bytes());
    let short = thread.query_information(file, 5, 23).unwrap();
    assert_eq!(short.status, NtStatus::INFO_LENGTH_MISMATCH);
    assert_eq!(
        thread.query_information(file, 999, 24).unwrap().status,
        NtStatus::INVALID_INFO_CLASS
    );
    let reader = opened(thread, &named("\\Docs\\Deep\\Readme.txt", READ));
    assert_eq!(
        thread.write(reader, Some(0), b"x").unwrap().status,
        NtStatus::ACCESS_DENIED
    );
    let folder = opened(thread, &named("\\Docs", READ));
    assert_eq!(
        thread.read(folder, Some(0), 1).unwrap().status,
        NtStatus::INVALID_DEVICE_REQUEST
    );
    assert!(bench.end().findings.is_empty());
}

#[test]
fn a_directory_is_listed_in_order_and_by_pattern() {
    let bench = Bench::new();
    for name in ["b.txt", "A.TXT", "c.bin"] {
        std::fs::write(bench.folder.join("Docs").join(name), name).unwrap();
    }
    let thread = &bench.thread;
    let list = |pattern: Option<&str>| {
        let folder = opened(thread, &named("\\Docs", READ));
        let (status, entries) = thread.list_directory(folder, pattern).unwrap();
        thread.close(folder).unwrap();
        let names: Vec<String> = entries.into_iter().map(|entry| entry.name).collect();
        (status, names.join(" "))
    };
    assert_eq!(
        list(None),
        (NtStatus::SUCCESS, ". .. A.TXT b.txt c.bin Deep".to_owned())
    );
    assert_eq!(
        list(Some("*.txt")),
        (NtStatus::SUCCESS, "A.TXT b.txt".to_owned())
    );
    assert_eq!(list(Some("none")), (NtStatus::NO_SUCH_FILE, String::new()));
    // One entry each time, from where the last query ended; the pattern of the first query stays.
    let folder = opened(thread, &named("\\Docs", READ));
    let single = |pattern, restart| {
        let done = thread
            .query_directory(folder, 12, 64, pattern, restart, true)
            .unwrap();
        (
            done.status,
            String::from_utf8_lossy(done.data.get(12..).unwrap_or_default()).replace('\0', ""),
        )
    };
    assert_eq!(
        single(Some("?.??*"), false),
        (NtStatus::SUCCESS, "A.TXT".to_owned())
    );
    assert_eq!(
        single(Some("x"), false),
        (NtStatus::SUCCESS, "b.txt".to_owned())
    );
    assert_eq!(single(None, true), (NtStatus::SUCCESS, "A.TXT".to_owned()));
    for _ in 0..2 {
        assert_eq!(single(None, false).0, NtStatus::SUCCESS);
    }
    assert_eq!(single(None, false).0, NtStatus::NO_MORE_FILES);
    // A buffer that holds the fixed part and a piece of the name.
    let cut = thread
        .query_directory(folder, 12, 16, None, true, true)
        .unwrap();
    assert_eq!(
        (cut.status, &cut.data[12..]),
        (NtStatus::BUFFER_OVERFLOW, &b"A\0.\0"[..])
    );
    let small = thread
        .query_directory(folder, 37, 103, None, true, true)
        .unwrap();
    assert_eq!(small.status, NtStatus::INFO_LENGTH_MISMATCH);
    let (_, found) = thread
        .list_directory(opened(thread, &named("\\", READ)), None)
        .unwrap();
    let jump = found
        .iter()
        .find(|entry| entry.name == "jump")
        .expect("the link");
    assert_eq!((jump.attributes & 0x400, jump.tag), (0x400, 0xA000_000C));
    let dfs = opened(
        thread,
        &CreateFile {
            name: "\\??\\UNC\\corp\\dfs".to_owned(),
            access: READ | SYNCHRONIZE,
            ..CreateFile::default()
        },
    );
    let (_, links) = thread.list_directory(dfs, None).unwrap();
    assert_eq!(
        links.iter().map(|entry| &*entry.name).collect::<Vec<_>>(),
        [".", "..", "eng"]
    );
    assert!(bench.end().findings.is_empty());
}

#[test]
fn a_file_is_renamed_and_deleted() {
    let bench = Bench::new();
    let thread = &bench.thread;
    std::fs::write(bench.folder.join("taken"), "there").unwrap();
    let file = opened(thread, &named("\\Docs\\Deep\\Readme.txt", DELETE | READ));
    let status =
        |name: &str, root, replace| thread.rename(file, name, root, replace).unwrap().status;
    assert_eq!(status("other.txt", 0, false), NtStatus::SUCCESS);
    assert!(bench.folder.join("Docs/Deep/other.txt").exists());
    // Beside itself in another case.
    assert_eq!(status("OTHER.txt", 0, false), NtStatus::SUCCESS);
    let root = opened(thread, &named("\\Docs", READ));
    assert_eq!(status("up", root, false), NtStatus::SUCCESS);
    assert!(bench.folder.join("Docs/up").exists());
    assert_eq!(
        status("\\??\\UNC\\fs\\data\\taken", 0, false),
        NtStatus::OBJECT_NAME_COLLISION
    );
    assert_eq!(
        status("\\??\\UNC\\fs\\data\\taken", 0, true),
        NtStatus::SUCCESS
    );
    assert_eq!(std::fs::read(bench.folder.join("taken")).unwrap(), b"text");
    assert_eq!(
        status("\\??\\UNC\\fs\\data\\none\\x", 0, true),
        NtStatus::OBJECT_PATH_NOT_FOUND
    );
    assert_eq!(status("a*b", 0, true), NtStatus::OBJECT_NAME_INVALID);
    let name = thread.query_information(file, 9, 100).unwrap();
    assert_eq!(
        String::from_utf8_lossy(&name.data[4..]).replace('\0', ""),
        "\\fs\\data\\taken"
    );
    // What is open below keeps a directory where it is.
    let folder = opened(thread, &named("\\Docs", DELETE));
    let inside = opened(thread, &named("\\Docs\\Deep", READ));
    assert_eq!(
        thread.rename(folder, "Papers", 0, false).unwrap().status,
        NtStatus::ACCESS_DENIED
    );
    assert_eq!(
        thread.set_delete(folder, true).unwrap().status,
        NtStatus::DIRECTORY_NOT_EMPTY
    );
    thread.close(inside).unwrap();
    assert_eq!(
        thread.rename(folder, "Papers", 0, false).unwrap().status,
        NtStatus::SUCCESS
    );
    assert!(bench.folder.join("Papers/Deep").exists());
    // A deletion is pending until the last handle is closed, and nothing is opened meanwhile.
    let second = opened(thread, &named("\\taken", READ));
    assert_eq!(
        thread.set_delete(file, true).unwrap().status,
        NtStatus::SUCCESS
    );
    thread.close(file).unwrap();
    assert!(bench.folder.join("taken").exists());
    assert_eq!(
        thread.create_file(&named("\\taken", READ)).unwrap().status,
        NtStatus::DELETE_PENDING
    );
    thread.close(second).unwrap();
    assert!(!bench.folder.join("taken").exists());
    assert!(bench.end().findings.is_empty());
}

#[test]
fn reparse_points_lead_on() {
    let bench = Bench::new();
    let thread = &bench.thread;
    let made = CreateFile {
        disposition: 2,
        options: 0x20 | DIRECTORY,
        ..named("\\way", ATTRIBUTES)
    };
    thread.close(opened(thread, &made)).unwrap();
    let itself = CreateFile {
        options: 0x20 | OPEN_REPARSE_POINT,
        ..named("\\way", ATTRIBUTES)
    };
    let way = opened(thread, &itself);
    let link = ReparsePoint::Symlink {
        target: "\\??\\UNC\\corp\\dfs\\eng".to_owned(),
        relative: false,
    };
    assert_eq!(
        thread.get_reparse(way).unwrap().status,
        NtStatus::NOT_A_REPARSE_POINT
    );
    assert_eq!(
        thread.set_reparse(way, &link).unwrap().status,
        NtStatus::SUCCESS
    );
    assert_eq!(
        ReparsePoint::parse(&thread.get_reparse(way).unwrap().data),
        Some(link)
    );
    assert_eq!(bench.open("\\way\\Deep\\Readme.txt"), NtStatus::SUCCESS);
    assert_eq!(bench.open("\\way\\none"), NtStatus::OBJECT_NAME_NOT_FOUND);
    let wrong = thread.delete_reparse(way, 0xA000_0003).unwrap();
    assert_eq!(wrong.status, NtStatus(0xC000_0277_u32.cast_signed()));
    assert_eq!(
        thread.delete_reparse(way, 0xA000_000C).unwrap().status,
        NtStatus::SUCCESS
    );
    assert_eq!(bench.open("\\way\\Deep"), NtStatus::OBJECT_NAME_NOT_FOUND);
    // A tag that nobody handles.
    let mut other = 0x8000_1234_u32.to_le_bytes().to_vec();
    other.extend([2, 0, 0, 0, 1, 2]);
    assert_eq!(
        thread
            .set_reparse(way, &ReparsePoint::Other(other))
            .unwrap()
            .status,
        NtStatus::SUCCESS
    );
    assert_eq!(bench.open("\\way"), NtStatus::IO_REPARSE_TAG_NOT_HANDLED);
    let unknown = thread.fs_control(way, 0x0009_0400, &[], 0).unwrap();
    assert_eq!(unknown.status, NtStatus::INVALID_DEVICE_REQUEST);
    let oplock = thread.fs_control(way, 0x0009_0000, &[], 0).unwrap();
    // What Windows answers for a directory.
    assert_eq!(oplock.status, NtStatus::INVALID_PARAMETER);
    assert!(bench.end().findings.is_empty());
}
