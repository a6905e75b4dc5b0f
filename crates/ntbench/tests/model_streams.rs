//! Named streams, file ids, the ways of deleting, and the locking of volumes: what programs do with them on a local
//! volume, without any filter.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod model;
mod volume;

use ntbench::NtStatus;
use ntbench::wire::CreateFile;
use volume::{
    ATTRIBUTES, CREATE, DELETE, OPEN, OPEN_IF, OVERWRITE, READ, SUPERSEDE, SYNCHRONIZE,
    VolumeBench, WRITE,
};

const DELETE_ON_CLOSE: u32 = 0x1000;
const BY_FILE_ID: u32 = 0x2000;
const DIRECTORY: u32 = 0x1;
const RENAME: u32 = 10;
const DISPOSITION: u32 = 13;
const DISPOSITION_EX: u32 = 64;

fn lengths(streams: &[(&str, i64)]) -> Vec<(String, i64)> {
    streams
        .iter()
        .map(|(name, length)| ((*name).to_owned(), *length))
        .collect()
}

#[test]
fn a_stream_has_data_of_its_own() {
    let bench = VolumeBench::new();
    let absent = bench.try_open("\\a.txt:s", READ, OPEN, 0);
    assert_eq!(absent, Err(NtStatus::OBJECT_NAME_NOT_FOUND));
    let (stream, information) = bench
        .try_open("\\a.txt:s", READ | WRITE | ATTRIBUTES, CREATE, 0)
        .unwrap();
    assert_eq!(information, 2, "FILE_CREATED");
    bench
        .thread
        .write(stream, Some(0), b"more than that")
        .unwrap();
    assert_eq!(bench.thread.read(stream, Some(5), 4).unwrap().data, b"than");
    let again = bench.try_open("\\A.TXT:S:$Data", READ, CREATE, 0);
    assert_eq!(again, Err(NtStatus::OBJECT_NAME_COLLISION));
    let file = bench.open("\\a.txt::$DATA", READ);
    assert_eq!(bench.thread.read(file, Some(0), 9).unwrap().data, b"text");
    let both = lengths(&[("::$DATA", 4), (":s:$DATA", 14)]);
    assert_eq!(bench.streams(file), both);
    assert_eq!(bench.streams(stream), both);
    // FileStandardInformation tells of the stream, FileInternalInformation of the file.
    assert_eq!(bench.query(stream, 5).data[8], 14);
    assert_eq!(bench.query(stream, 6).data, bench.query(file, 6).data);
    let name = bench.query(stream, 9).data;
    let units: Vec<u8> = "\\a.txt:s"
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .collect();
    assert_eq!(name[4..], units);
    bench.close(stream);
    let (stream, information) = bench.try_open("\\a.txt:s", WRITE, OVERWRITE, 0).unwrap();
    assert_eq!(information, 3, "FILE_OVERWRITTEN");
    assert_eq!(bench.streams(file)[1], (":s:$DATA".to_owned(), 0));
    bench.close(stream);
    let (stream, information) = bench.try_open("\\a.txt:s", WRITE, SUPERSEDE, 0).unwrap();
    assert_eq!(information, 0, "FILE_SUPERSEDED");
    bench.close(stream);
    bench.close(file);
    let text = std::fs::read(bench.folder.join("a.txt")).unwrap();
    assert_eq!(
        text, b"text",
        "overwriting a stream leaves the file as it is"
    );
}

#[test]
fn streams_are_shared_renamed_and_deleted_each_by_itself() {
    let bench = VolumeBench::new();
    for name in ["\\a.txt:one", "\\a.txt:two"] {
        let made = bench.try_open(name, WRITE, CREATE, 0).unwrap();
        bench.close(made.0);
    }
    // One that shares nothing keeps others from its own stream alone.
    let exclusive = CreateFile {
        name: "\\??\\C:\\a.txt:one".to_owned(),
        access: READ | DELETE | SYNCHRONIZE,
        share: 0,
        ..CreateFile::default()
    };
    let (one, _) = bench.create(&exclusive).unwrap();
    let refused = bench.try_open("\\a.txt:one", READ, OPEN, 0);
    assert_eq!(refused, Err(NtStatus::SHARING_VIOLATION));
    bench.close(bench.open("\\a.txt:two", READ));
    bench.close(bench.open("\\a.txt", READ));
    let mut rename = vec![0; 16];
    let target: Vec<u8> = ":three".encode_utf16().flat_map(u16::to_le_bytes).collect();
    rename.extend(u32::try_from(target.len()).unwrap().to_le_bytes());
    rename.extend(&target);
    assert_eq!(bench.set(one, RENAME, &rename), NtStatus::SUCCESS);
    let streams = lengths(&[("::$DATA", 4), (":three:$DATA", 0), (":two:$DATA", 0)]);
    assert_eq!(bench.streams(one), streams);
    assert_eq!(bench.set(one, DISPOSITION, &[1]), NtStatus::SUCCESS);
    let refused = bench.try_open("\\a.txt:three", 0x80, OPEN, 0);
    assert_eq!(refused, Err(NtStatus::DELETE_PENDING));
    bench.close(one);
    let (two, _) = bench
        .try_open("\\a.txt:two", READ | DELETE, OPEN, DELETE_ON_CLOSE)
        .unwrap();
    assert_eq!(
        bench.streams(two),
        lengths(&[("::$DATA", 4), (":two:$DATA", 0)])
    );
    bench.close(two);
    let file = bench.open("\\a.txt", READ);
    assert_eq!(bench.streams(file), lengths(&[("::$DATA", 4)]));
}

#[test]
fn what_a_stream_is_asked_for_decides_what_it_opens() {
    let bench = VolumeBench::new();
    for (name, options, expected) in [
        ("\\Folder::$DATA", 0, NtStatus::FILE_IS_A_DIRECTORY),
        ("\\a.txt::$INDEX_ALLOCATION", 0, NtStatus::NOT_A_DIRECTORY),
        ("\\a.txt:s", DIRECTORY, NtStatus::NOT_A_DIRECTORY),
        ("\\a.txt:s:$EA", 0, NtStatus::OBJECT_NAME_INVALID),
        ("\\a.txt:", 0, NtStatus::OBJECT_NAME_INVALID),
        ("\\Folder\\:s", 0, NtStatus::OBJECT_NAME_INVALID),
        ("\\Folder:s\\x", 0, NtStatus::OBJECT_NAME_INVALID),
        ("\\none:s", 0, NtStatus::OBJECT_NAME_NOT_FOUND),
    ] {
        let opened = bench.try_open(name, 0x80, OPEN, options);
        assert_eq!(opened, Err(expected), "{name}");
    }
    for name in [
        "\\Folder::$INDEX_ALLOCATION",
        "\\Folder:$I30:$INDEX_ALLOCATION",
    ] {
        bench.close(bench.open(name, READ));
    }
    // A directory has named streams, and none of its own without a name.
    let (stream, _) = bench.try_open("\\Folder:s", WRITE, OPEN_IF, 0).unwrap();
    let whether = bench.query(stream, 5).data[21];
    assert_eq!(whether, 0, "a stream is no directory");
    assert_eq!(bench.streams(stream), lengths(&[(":s:$DATA", 0)]));
    bench.close(stream);
    // A file that is not there yet is made with its stream.
    let (stream, information) = bench.try_open("\\new:s", WRITE, OPEN_IF, 0).unwrap();
    assert_eq!(information, 2);
    assert_eq!(
        bench.streams(stream),
        lengths(&[("::$DATA", 0), (":s:$DATA", 0)])
    );
    bench.close(stream);
    assert!(bench.folder.join("new").exists());
    // Relative to an open file a name may be a stream's alone.
    let root = bench.open("\\new", READ);
    let relative = CreateFile {
        name: ":s".to_owned(),
        root,
        ..CreateFile::default()
    };
    let (stream, _) = bench.create(&relative).unwrap();
    assert_eq!(bench.streams(stream).len(), 2);
}

#[test]
fn a_file_is_found_by_its_id() {
    let bench = VolumeBench::new();
    let file = bench.open("\\a.txt", READ);
    let id = bench.query(file, 6).data;
    let id = u64::from_le_bytes(id.try_into().unwrap());
    let by_id = |root: u64, name: &str, id: u64| {
        bench.create(&CreateFile {
            name: name.to_owned(),
            root,
            access: READ | SYNCHRONIZE,
            options: 0x20 | BY_FILE_ID,
            file_id: Some(id),
            ..CreateFile::default()
        })
    };
    let (found, _) = by_id(0, "\\??\\C:\\", id).unwrap();
    assert_eq!(bench.thread.read(found, Some(0), 9).unwrap().data, b"text");
    let name = bench.query(found, 9).data;
    let units: Vec<u8> = "\\a.txt"
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .collect();
    assert_eq!(name[4..], units);
    bench.close(found);
    let root = bench.open("\\", READ);
    let (found, _) = by_id(root, "", id).unwrap();
    bench.close(found);
    let none = by_id(root, "", u64::MAX);
    assert_eq!(none, Err(NtStatus::INVALID_PARAMETER));
    let directory = bench.open("\\Folder", READ);
    let of_directory = bench.query(directory, 6).data;
    let of_directory = u64::from_le_bytes(of_directory.try_into().unwrap());
    assert!(
        by_id(file, "", of_directory).is_ok(),
        "any file of the volume leads to it"
    );
}

#[test]
fn a_deletion_is_asked_for_in_several_ways() {
    let bench = VolumeBench::new();
    let make = |name: &str, options: u32| {
        let access = READ | WRITE | DELETE | ATTRIBUTES;
        bench.try_open(name, access, OPEN_IF, options).unwrap().0
    };
    let flags = |flags: u32| flags.to_le_bytes();
    // POSIX semantics: the name goes with the handle that asked, while others still read.
    let (file, other) = (make("\\posix", 0), make("\\posix", 0));
    assert_eq!(
        bench.set(file, DISPOSITION_EX, &flags(3)),
        NtStatus::SUCCESS
    );
    bench.close(file);
    assert!(!bench.folder.join("posix").exists());
    bench.thread.write(other, Some(0), b"still").unwrap();
    assert_eq!(bench.thread.read(other, Some(0), 5).unwrap().data, b"still");
    bench.close(make("\\posix", 0));
    bench.close(other);
    assert!(
        bench.folder.join("posix").exists(),
        "a new file has the name"
    );
    // Without them it goes with the last handle.
    let (file, other) = (make("\\last", 0), make("\\last", 0));
    assert_eq!(
        bench.set(file, DISPOSITION_EX, &flags(1)),
        NtStatus::SUCCESS
    );
    bench.close(file);
    assert!(bench.folder.join("last").exists());
    bench.close(other);
    assert!(!bench.folder.join("last").exists());
    // A read-only file only where that is said.
    let file = make("\\only", 0);
    let mut basic = vec![0; 40];
    basic[32] = 1;
    assert_eq!(bench.set(file, 4, &basic), NtStatus::SUCCESS);
    assert_eq!(
        bench.set(file, DISPOSITION_EX, &flags(1)),
        NtStatus::CANNOT_DELETE
    );
    assert_eq!(
        bench.set(file, DISPOSITION_EX, &flags(0x11)),
        NtStatus::SUCCESS
    );
    bench.close(file);
    assert!(!bench.folder.join("only").exists());
    // What FILE_DELETE_ON_CLOSE asked for can be taken back, by who asked.
    let file = make("\\kept", DELETE_ON_CLOSE);
    assert_eq!(
        bench.set(file, DISPOSITION_EX, &flags(8)),
        NtStatus::SUCCESS
    );
    bench.close(file);
    assert!(bench.folder.join("kept").exists());
    let file = make("\\kept", 0);
    assert_eq!(
        bench.set(file, DISPOSITION_EX, &flags(8)),
        NtStatus::NOT_SUPPORTED
    );
    assert_eq!(
        bench.set(file, DISPOSITION_EX, &flags(0x20)),
        NtStatus::INVALID_PARAMETER
    );
}

const LOCK: u32 = 0x0009_0018;
const UNLOCK: u32 = 0x0009_001C;
const DISMOUNT: u32 = 0x0009_0020;

#[test]
fn a_volume_is_locked_by_one_handle() {
    let bench = VolumeBench::new();
    let volume = bench.open("", READ | WRITE);
    let file = bench.open("\\a.txt", READ);
    assert_eq!(bench.control(file, LOCK), NtStatus::INVALID_PARAMETER);
    assert_eq!(
        bench.control(volume, LOCK),
        NtStatus::ACCESS_DENIED,
        "a file is open"
    );
    bench.close(file);
    assert_eq!(bench.control(volume, UNLOCK), NtStatus::NOT_LOCKED);
    assert_eq!(bench.control(volume, LOCK), NtStatus::SUCCESS);
    let kept_out = bench.try_open("\\a.txt", READ, OPEN, 0);
    assert_eq!(kept_out, Err(NtStatus::ACCESS_DENIED));
    assert_eq!(bench.control(volume, UNLOCK), NtStatus::SUCCESS);
    bench.close(bench.open("\\a.txt", READ));
    // Closing the handle unlocks too.
    assert_eq!(bench.control(volume, LOCK), NtStatus::SUCCESS);
    bench.close(volume);
    let file = bench.open("\\a.txt", READ);
    let volume = bench.open("", READ | WRITE);
    assert_eq!(bench.control(volume, DISMOUNT), NtStatus::SUCCESS);
    let gone = bench.thread.read(file, Some(0), 4).unwrap().status;
    assert_eq!(gone, NtStatus::VOLUME_DISMOUNTED);
    bench.close(file);
    bench.close(volume);
    bench.close(bench.open("\\a.txt", READ));
}

#[test]
fn a_name_is_taken_as_it_is_and_found_in_any_case() {
    let bench = VolumeBench::new();
    // The Win32 layer takes dots and spaces from the end of a name; below it they count.
    for name in ["\\a.txt.", "\\a.txt ", "\\a.txt..."] {
        let absent = bench.try_open(name, READ, OPEN, 0);
        assert_eq!(absent, Err(NtStatus::OBJECT_NAME_NOT_FOUND), "{name:?}");
        bench.close(bench.try_open(name, WRITE, CREATE, 0).unwrap().0);
    }
    let file = bench.open("\\A.TXT", READ);
    assert_eq!(bench.thread.read(file, Some(0), 9).unwrap().data, b"text");
    // No file here has a second, short name.
    std::fs::write(bench.folder.join("a longer name.text"), "").unwrap();
    let short = bench.try_open("\\ALONGE~1.TEX", READ, OPEN, 0);
    assert_eq!(short, Err(NtStatus::OBJECT_NAME_NOT_FOUND));
    let long = bench.open("\\a longer name.text", READ);
    let alternate = bench.query(long, 21).status;
    assert_eq!(alternate, NtStatus::OBJECT_NAME_NOT_FOUND);
    // What no NTFS volume would show is not shown.
    std::fs::write(bench.folder.join("b:c"), "").unwrap();
    let root = bench.open("\\", READ);
    let (_, listed) = bench.thread.list_directory(root, None).unwrap();
    let names: Vec<&str> = listed.iter().map(|entry| entry.name.as_str()).collect();
    assert!(
        names.contains(&"a.txt..") || names.contains(&"a.txt..."),
        "{names:?}"
    );
    assert!(!names.contains(&"b:c"), "{names:?}");
    // The prefixes that only the Win32 layer knows are no object names.
    let win32 = CreateFile {
        name: "\\\\?\\C:\\a.txt".to_owned(),
        ..CreateFile::default()
    };
    assert!(bench.create(&win32).is_err());
}

#[test]
fn a_folder_that_was_renamed_still_leads_below_itself() {
    let bench = VolumeBench::new();
    std::fs::write(bench.folder.join("Folder/x"), "inside").unwrap();
    let folder = bench.open("\\Folder", READ | DELETE);
    let renamed = bench.thread.rename(folder, "Moved", 0, false).unwrap();
    assert_eq!(renamed.status, NtStatus::SUCCESS);
    let relative = CreateFile {
        name: "x".to_owned(),
        root: folder,
        access: READ | SYNCHRONIZE,
        ..CreateFile::default()
    };
    let (file, _) = bench.create(&relative).unwrap();
    assert_eq!(bench.thread.read(file, Some(0), 9).unwrap().data, b"inside");
}

#[test]
fn what_is_known_of_a_file_goes_with_it_whoever_deletes_it() {
    let bench = VolumeBench::new();
    let (stream, _) = bench.try_open("\\old:s", WRITE, CREATE, 0).unwrap();
    bench.close(stream);
    // The host may give a file's number to the next one.
    std::fs::remove_file(bench.folder.join("old")).unwrap();
    for name in ["one", "two", "three"] {
        std::fs::write(bench.folder.join(name), "").unwrap();
        let file = bench.open(&format!("\\{name}"), READ);
        assert_eq!(bench.streams(file), lengths(&[("::$DATA", 0)]), "{name}");
        bench.close(file);
    }
}
