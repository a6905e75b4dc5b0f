//! What a filter does in an operation that it holds: waits that a cancel ends, contexts and redirection by its instances, and the
//! refusal of BypassIO.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod model;
mod volume;

use model::{compile, lines, rules, spec, start, until_waits};
use ntbench::NtStatus;
use volume::{READ, VolumeBench, WRITE};

const MANAGE_BYPASS_IO: u32 = 0x9_0448;
const TOO_SMALL: NtStatus = NtStatus(0xC000_0023_u32.cast_signed());
const WRONG_SIZE: NtStatus = NtStatus(0xC000_0206_u32.cast_signed());

fn with(defines: &[&str]) -> VolumeBench {
    let bench = VolumeBench::new();
    let driver = spec(compile("waiter", defines), "370000");
    let loaded = bench.machine.load_driver(driver).unwrap();
    assert_eq!(loaded.status, NtStatus::SUCCESS);
    bench
}

fn told(bench: &VolumeBench) -> Vec<String> {
    let trace = bench.machine.trace().unwrap();
    lines(&trace).into_iter().map(str::to_owned).collect()
}

/// Unloads it; the rules that were broken.
fn end(bench: VolumeBench) -> Vec<String> {
    let unloaded = bench.machine.unload_driver("waiter").unwrap();
    assert_eq!(unloaded, NtStatus::SUCCESS);
    let report = bench.machine.shutdown().unwrap();
    rules(&report).into_iter().map(str::to_owned).collect()
}

#[test]
fn what_a_filter_waits_for_and_asks_is_as_documented() {
    let bench = with(&[]);
    let file = bench.open("\\a.txt", READ);
    let read = bench.thread.read(file, Some(0), 1).unwrap();
    assert_eq!(read.status, NtStatus::SUCCESS);
    assert_eq!(told(&bench), ["20 checks"]);
    assert_eq!(end(bench), [""; 0]);
}

#[test]
fn a_cancel_ends_either_wait() {
    for at in [0, 1] {
        let bench = with(&[]);
        let file = bench.open("\\a.txt", WRITE);
        let writer = start(&bench.machine);
        std::thread::scope(|scope| {
            let writes = scope.spawn(|| writer.write(file, Some(at), b"x").unwrap().status);
            until_waits(&bench.machine, &writer);
            assert!(!writes.is_finished());
            while bench.thread.cancel_io(&writer).unwrap().status == NtStatus::NOT_FOUND {}
            assert_eq!(writes.join().unwrap(), NtStatus::CANCELLED);
        });
        assert_eq!(told(&bench), ["waited c0000120"]);
        assert_eq!(end(bench), [""; 0]);
    }
}

#[test]
fn a_wait_for_an_operation_is_made_at_passive_level() {
    for at in [0, 1] {
        let bench = with(&["DEFECT=1"]);
        let file = bench.open("\\a.txt", WRITE);
        let writer = start(&bench.machine);
        std::thread::scope(|scope| {
            let writes = scope.spawn(|| writer.write(file, Some(at), b"x").unwrap().status);
            until_waits(&bench.machine, &writer);
            while bench.thread.cancel_io(&writer).unwrap().status == NtStatus::NOT_FOUND {}
            assert_eq!(writes.join().unwrap(), NtStatus::CANCELLED);
        });
        assert_eq!(end(bench), ["irql"]);
    }
}

#[test]
fn a_filter_says_why_it_refuses_bypass_io() {
    let bench = with(&[]);
    let file = bench.open("\\a.txt", READ);
    let ask = |input: usize, output: u32| {
        let input = vec![0; input];
        let done = bench
            .thread
            .fs_control(file, MANAGE_BYPASS_IO, &input, output);
        done.unwrap()
    };
    assert_eq!(ask(23, 352).status, WRONG_SIZE);
    assert_eq!(ask(24, 351).status, TOO_SMALL);
    told(&bench);
    let vetoed = ask(24, 352);
    assert_eq!(told(&bench), ["veto 00000000"]);
    assert_eq!(vetoed.status, NtStatus::SUCCESS);
    // `FS_BPIO_RESULTS`: the status, whose refusal it is, and why.
    let text = |at: usize| {
        let length = usize::from(u16::from_le_bytes([vetoed.data[at], vetoed.data[at + 1]]));
        let bytes = &vetoed.data[at + 2..at + 2 + length];
        let units: Vec<u16> = bytes
            .chunks_exact(2)
            .map(|pair| u16::from_le_bytes([pair[0], pair[1]]))
            .collect();
        String::from_utf16(&units).unwrap()
    };
    assert_eq!(vetoed.data[24..28], 0xC000_00BB_u32.to_le_bytes());
    assert_eq!(
        (text(28), text(94)),
        ("waiter.sys".to_owned(), "waits here".to_owned())
    );
    // Any other control has nothing to refuse.
    assert_ne!(bench.control(file, 0x9_03FC), NtStatus::SUCCESS);
    assert_eq!(told(&bench), [""; 0]);
    assert_eq!(end(bench), [""; 0]);
}
