//! A create that a filter lets go from within the cleanup of the handle whose oplock it breaks; the oplock keys of what a filter opens.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod model;
mod volume;

use model::{compile, lines, rules, spec, start, until_waits};
use ntbench::NtStatus;
use ntbench::wire::{CreateFile, FileCall};
use volume::{READ, SYNCHRONIZE, VolumeBench, WRITE};

/// `FSCTL_REQUEST_BATCH_OPLOCK`.
const BATCH: u32 = 0x9_0008;

fn loaded() -> VolumeBench {
    let bench = VolumeBench::new();
    let driver = spec(compile("resumer", &[]), "370000");
    let status = bench.machine.load_driver(driver).unwrap().status;
    assert_eq!(status, NtStatus::SUCCESS);
    bench
}

fn told(bench: &VolumeBench) -> Vec<String> {
    let trace = bench.machine.trace().unwrap();
    lines(&trace).into_iter().map(str::to_owned).collect()
}

fn end(bench: VolumeBench) {
    let unloaded = bench.machine.unload_driver("resumer").unwrap();
    assert_eq!(unloaded, NtStatus::SUCCESS);
    assert_eq!(rules(&bench.machine.shutdown().unwrap()), [""; 0]);
}

fn create(share: u32) -> CreateFile {
    CreateFile {
        name: "\\??\\C:\\a.txt".to_owned(),
        access: READ | SYNCHRONIZE | if share == 7 { WRITE } else { 0 },
        options: 0,
        share,
        ..CreateFile::default()
    }
}

#[test]
fn a_create_that_a_cleanup_lets_go_waits_in_its_own_thread() {
    let bench = loaded();
    let (holder, opener) = (start(&bench.machine), start(&bench.machine));
    let file = bench.thread.create_file(&create(7)).unwrap().handle;
    std::thread::scope(|scope| {
        let holds = scope.spawn(|| holder.fs_control(file, BATCH, &[], 0).unwrap());
        until_waits(&bench.machine, &holder);
        let opens = scope.spawn(|| opener.create_file(&create(1)).unwrap());
        until_waits(&bench.machine, &opener);
        // Its cleanup lets the create go, which breaks its oplock, which its cleanup gives back.
        let closed = bench.thread.close(file).unwrap();
        assert_eq!(closed.status, NtStatus::SUCCESS);
        assert_eq!(holds.join().unwrap().status, NtStatus::SUCCESS);
        assert_eq!(opens.join().unwrap().status, NtStatus::SUCCESS);
    });
    assert_eq!(told(&bench), ["let go"]);
    end(bench);
}

#[test]
fn a_file_keeps_the_keys_that_it_was_opened_with() {
    let bench = loaded();
    let file = bench.open("\\a.txt", READ | WRITE);
    let flushed = bench.thread.file(file, FileCall::Flush).unwrap();
    assert_eq!(flushed.status, NtStatus::SUCCESS);
    assert_eq!(told(&bench), ["8 checks"]);
    end(bench);
}
