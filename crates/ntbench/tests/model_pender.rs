//! Filters that pend operations or leave some of their own on the way, and defects planted in one.

mod model;

use model::work::{README, found, load_as, loaded, named, opened};
use model::{Bench, compile, lines, rules, start, until_settled, until_waits};
use ntbench::NtStatus;
use ntbench::wire::{FileCall, MachineConfig};

/// Waits until a line is printed, and gives all that came.
fn until(bench: &Bench, line: &str) -> Vec<String> {
    model::until(&bench.machine, line, |told| told == line)
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
    // Its write goes on in a worker after the file system, as documentation forbids.
    let found = found(bench, "pender");
    assert!(
        !found.is_empty() && found.iter().all(|rule| rule == "posted-after-transfer"),
        "{found:?}"
    );
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
        let done = until_settled(&bench.machine);
        match done.and_then(|()| bench.machine.shutdown()) {
            Ok(report) => assert_eq!(rules(&report), ["completed-twice"]),
            Err(ntbench::MachineError::BugCheck(report)) => assert_eq!(report.code, 0xF5),
            Err(other) => panic!("{other}"),
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
