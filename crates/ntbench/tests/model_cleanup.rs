//! What a filter finds after the file system's part of a clean-up.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod model;
mod volume;

use model::{compile, lines, rules, spec};
use ntbench::NtStatus;
use volume::{CREATE, DELETE, OPEN, VolumeBench, WRITE};

const DISPOSITION: u32 = 13;
const DELETE_ON_CLOSE: u32 = 0x1000;

#[test]
fn a_filter_sees_in_post_cleanup_whether_the_file_or_a_stream_was_deleted() {
    let bench = VolumeBench::new();
    let driver = spec(compile("mourner", &[]), "370000");
    let loaded = bench.machine.load_driver(driver).unwrap();
    assert_eq!(loaded.status, NtStatus::SUCCESS);
    let mark = |handle| {
        let done = bench.thread.set_information(handle, DISPOSITION, &[1]);
        assert_eq!(done.unwrap().status, NtStatus::SUCCESS);
    };
    bench.close(bench.open("\\a.txt", WRITE));
    let (stream, _) = bench
        .try_open("\\a.txt:s", WRITE | DELETE, CREATE, 0)
        .unwrap();
    mark(stream);
    bench.close(stream);
    let first = bench.open("\\a.txt", DELETE);
    let second = bench.open("\\a.txt", DELETE);
    mark(first);
    bench.close(first);
    bench.close(second);
    let (gone, _) = bench
        .try_open("\\b.txt", DELETE, CREATE, DELETE_ON_CLOSE)
        .unwrap();
    bench.close(gone);
    assert_eq!(
        bench.try_open("\\b.txt", DELETE, OPEN, 0),
        Err(NtStatus::OBJECT_NAME_NOT_FOUND)
    );
    let trace = bench.machine.trace().unwrap();
    assert_eq!(
        lines(&trace),
        [
            "stream 00000000 file c00002f0", // STATUS_OBJECTID_NOT_FOUND: it is there.
            "stream c0000123 file c00002f0", // STATUS_FILE_DELETED: the stream alone.
            "stream 00000000 file c00002f0", // Another handle keeps the file.
            "stream c0000123 file c0000123",
            "stream c0000123 file c0000123",
        ]
    );
    assert!(rules(&bench.machine.shutdown().unwrap()).is_empty());
}
