//! Filters that are told how transactions end, in the manner of Microsoft's delete sample.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod model;
mod samples;
mod volume;

use ntbench::NtStatus;
use ntbench::wire::CreateFile;
use samples::Sample;
use volume::{DELETE, OPEN_IF, READ, SYNCHRONIZE, VolumeBench, WRITE};

const DELETE_ON_CLOSE: u32 = 0x1000;

/// Opens a file in a transaction.
fn transacted(bench: &VolumeBench, name: &str, transaction: u64) -> u64 {
    let create = CreateFile {
        name: format!("\\??\\C:{name}"),
        access: READ | WRITE | DELETE | SYNCHRONIZE,
        disposition: OPEN_IF,
        transaction,
        ..CreateFile::default()
    };
    bench.create(&create).expect("opens").0
}

#[test]
fn a_filter_is_told_of_a_transactions_end() {
    let sample = Sample::new("spy", &[]);
    let bench = &sample.bench;
    let begun = bench.thread.create_transaction().unwrap().handle;
    let file = transacted(bench, "\\a.txt", begun);
    assert_eq!(
        sample.lines(),
        [
            "in a transaction: block 1, view fffe fffe",
            "no context yet c0000225",
            "enlisted 00000000, again c01c001b, for nothing c00000f2",
            "transaction 00000000 state 1 outcome 1",
        ]
    );
    bench.close(transacted(bench, "\\b.txt", begun));
    assert_eq!(sample.lines().len(), 2, "enlisted already");
    bench.close(file);
    let ended = bench.thread.end_transaction(begun, true).unwrap();
    assert_eq!(ended.status, NtStatus::SUCCESS);
    assert_eq!(
        sample.lines(),
        [
            "notification 1 creates 2 same 1 file 0000000000000000",
            "notification 2 creates 2 same 1 file 0000000000000000",
            "notification 4 creates 2 same 1 file 0000000000000000",
            "notification 40000000 creates 2 same 1 file 0000000000000000",
            "context 20 gone after 2",
        ]
    );
    let late = bench.thread.end_transaction(begun, false).unwrap().status;
    assert_eq!(late, NtStatus::TRANSACTION_ALREADY_COMMITTED);
    let create = CreateFile {
        name: "\\??\\C:\\a.txt".to_owned(),
        transaction: begun,
        ..CreateFile::default()
    };
    assert_eq!(bench.create(&create), Err(NtStatus::TRANSACTION_NOT_ACTIVE));
    bench.close(begun);
    // Closing the last handle of one that nobody has committed rolls it back.
    let begun = bench.thread.create_transaction().unwrap().handle;
    bench.close(transacted(bench, "\\c.txt", begun));
    sample.lines();
    bench.close(begun);
    assert_eq!(
        sample.lines(),
        [
            "notification 8 creates 1 same 1 file 0000000000000000",
            "context 20 gone after 1"
        ]
    );
    // And with it goes what was made in it.
    assert!(!bench.folder.join("c.txt").exists());
    // A filter that goes takes no part any more.
    let begun = bench.thread.create_transaction().unwrap().handle;
    bench.close(transacted(bench, "\\a.txt", begun));
    sample.lines();
    assert_eq!(sample.end_clean(), ["context 20 gone after 1"]);
}

#[test]
fn a_notification_may_be_answered_later_and_not_be_refused() {
    let sample = Sample::new("spy", &["-DANSWER=1"]);
    let bench = &sample.bench;
    let begun = bench.thread.create_transaction().unwrap().handle;
    bench.close(transacted(bench, "\\a.txt", begun));
    sample.lines();
    bench.thread.end_transaction(begun, true).unwrap();
    let lines = sample.lines();
    let at = |wanted: &str| lines.iter().position(|line| line.starts_with(wanted));
    let order = [
        at("notification 4 "),
        at("answering"),
        at("notification 40000000"),
    ];
    assert!(order[0].is_some() && order.is_sorted(), "{lines:?}");
    sample.end_clean();

    let sample = Sample::new("spy", &["-DANSWER=2"]);
    let begun = sample.bench.thread.create_transaction().unwrap().handle;
    sample
        .bench
        .close(transacted(&sample.bench, "\\a.txt", begun));
    sample.bench.thread.end_transaction(begun, false).unwrap();
    let (_, report) = sample.end();
    assert_eq!(model::rules(&report), ["transaction-status"]);
}

#[test]
fn deletions_of_files_and_of_streams_are_told_apart() {
    let sample = Sample::new("remove", &[]);
    let bench = &sample.bench;
    let access = READ | WRITE | DELETE;
    let make = |name: &str, options: u32| bench.try_open(name, access, OPEN_IF, options).unwrap().0;
    bench.close(make("\\x.txt", DELETE_ON_CLOSE));
    assert_eq!(sample.lines(), ["file x.txt deleted, stream ''"]);
    let file = make("\\x.txt", 0);
    assert_eq!(bench.set(file, 13, &[1]), NtStatus::SUCCESS);
    bench.close(file);
    assert_eq!(sample.lines(), ["file x.txt deleted, stream ''"]);
    // Taken back, it stays.
    let file = make("\\x.txt", 0);
    bench.set(file, 13, &[1]);
    bench.set(file, 13, &[0]);
    bench.close(file);
    assert!(sample.lines().is_empty());
    // A stream goes, its file stays.
    let stream = make("\\x.txt:s", 0);
    bench.set(stream, 64, &1_u32.to_le_bytes());
    bench.close(stream);
    assert_eq!(sample.lines(), ["stream x.txt:s deleted, stream ':s'"]);
    // Two have it open: only the last clean-up deletes.
    let (first, second) = (make("\\x.txt", 0), make("\\x.txt", 0));
    bench.set(first, 64, &1_u32.to_le_bytes());
    bench.close(first);
    assert_eq!(sample.lines(), ["not deleted 00000000"]);
    bench.close(second);
    assert_eq!(sample.lines(), ["file x.txt deleted, stream ''"]);
    // In a transaction.
    for (commit, how) in [(true, "committed"), (false, "rolled back")] {
        let begun = bench.thread.create_transaction().unwrap().handle;
        let file = transacted(bench, "\\x.txt", begun);
        bench.set(file, 13, &[1]);
        bench.close(file);
        assert_eq!(
            sample.lines(),
            ["file x.txt deleted, stream '' in a transaction"]
        );
        bench.thread.end_transaction(begun, commit).unwrap();
        assert_eq!(sample.lines(), [format!("deletions 1 {how}")]);
        bench.close(begun);
    }
    sample.end_clean();
}
