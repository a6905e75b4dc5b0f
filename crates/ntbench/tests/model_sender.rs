//! A filter's own I/O that it does not wait for: in whose thread it goes down, who completes it, and where its end is told.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod model;
mod volume;

use model::{compile, lines, rules, spec, start, until_waits};
use ntbench::NtStatus;
use ntbench::wire::{CreateFile, FileCall, MachineConfig};
use volume::{OPEN_IF, READ, VolumeBench, WRITE};

fn with_roles(roles: &[u32]) -> VolumeBench {
    load(VolumeBench::new(), roles)
}

fn load(bench: VolumeBench, roles: &[u32]) -> VolumeBench {
    for role in roles {
        let image = compile("sender", &[&format!("ROLE={role}")]);
        let mut driver = spec(image, &format!("{}", 380_000 - role * 10_000));
        driver.service = format!("sender{role}");
        let loaded = bench.machine.load_driver(driver).unwrap();
        assert_eq!(loaded.status, NtStatus::SUCCESS);
    }
    bench
}

/// Opens a file, or makes it, for asynchronous I/O: else all that is done by it is synchronous.
fn opened(bench: &VolumeBench, name: &str) -> u64 {
    let file = bench.create(&CreateFile {
        name: format!("\\??\\C:{name}"),
        access: READ | WRITE,
        disposition: OPEN_IF,
        options: 0,
        ..CreateFile::default()
    });
    file.unwrap().0
}

/// Has the upper filter do something; what was said meanwhile.
fn sends(bench: &VolumeBench, file: u64, what: i64) -> Vec<String> {
    let written = bench.thread.write(file, Some(what), b"x").unwrap();
    assert_eq!(written.status, NtStatus::SUCCESS);
    told(bench)
}

fn told(bench: &VolumeBench) -> Vec<String> {
    let trace = bench.machine.trace().unwrap();
    lines(&trace).into_iter().map(str::to_owned).collect()
}

fn end(bench: VolumeBench, roles: &[u32]) {
    assert_eq!(found(bench, roles), [""; 0]);
}

/// The rules that were broken, when all of them are gone.
fn found(bench: VolumeBench, roles: &[u32]) -> Vec<String> {
    for role in roles {
        let unloaded = bench.machine.unload_driver(&format!("sender{role}"));
        assert_eq!(unloaded.unwrap(), NtStatus::SUCCESS);
    }
    let report = bench.machine.shutdown().unwrap();
    rules(&report).into_iter().map(str::to_owned).collect()
}

/// Thread, process and stack segment of who sends and who meets are one and the same.
fn same_place(said: &[String]) {
    let place = said[0].strip_prefix("sender ").unwrap();
    assert_eq!(said[1], format!("meets {place} sync 0"));
}

#[test]
fn it_goes_down_in_the_senders_thread_and_on_its_stack() {
    let bench = with_roles(&[1, 2]);
    let file = opened(&bench, "\\a.txt");
    let said = sends(&bench, file, 0);
    same_place(&said);
    assert_eq!(
        said[2..],
        [
            "post here 00000000 irql 0",
            "done through here 00000000 irql 0",
            "through 00000000",
            "waited 00000000",
        ]
    );
    // What a filter completes on its way down has its own status.
    let said = sends(&bench, file, 2);
    same_place(&said);
    assert_eq!(
        said[2..],
        [
            "done completed here 00000000 irql 0",
            "completed 001c0001",
            "waited 00000000",
        ]
    );
    end(bench, &[1, 2]);
}

#[test]
fn what_is_pended_ends_in_the_thread_that_completes_it() {
    let bench = with_roles(&[1, 2]);
    let file = opened(&bench, "\\a.txt");
    let said = sends(&bench, file, 1);
    same_place(&said);
    assert_eq!(said[2..], ["pended 00000103"]);
    // The lower filter says "here" for the thread that it met the operation in.
    let other = start(&bench.machine);
    let flushed = other.file(file, FileCall::Flush).unwrap();
    assert_eq!(flushed.status, NtStatus::SUCCESS);
    assert_eq!(
        told(&bench),
        [
            "post elsewhere 00000000 irql 0",
            "done pended elsewhere 00000000 irql 0",
        ]
    );
    assert_eq!(sends(&bench, file, 6)[1..], ["waited 00000000"]);
    // Cancelled, it ends in the canceller's thread.
    assert_eq!(sends(&bench, file, 1)[2..], ["pended 00000103"]);
    assert_eq!(
        sends(&bench, file, 7)[1..],
        [
            "done pended here c0000120 irql 0",
            "cancelled 1",
            "waited 00000000",
        ]
    );
    end(bench, &[1, 2]);
}

#[test]
fn a_filter_that_synchronises_has_its_thread_wait() {
    let bench = with_roles(&[1, 2, 3]);
    let file = opened(&bench, "\\a.txt");
    let other = start(&bench.machine);
    std::thread::scope(|scope| {
        let writes = scope.spawn(|| other.write(file, Some(3), b"x").unwrap().status);
        until_waits(&bench.machine, &other);
        assert!(!writes.is_finished());
        let said = told(&bench);
        same_place(&said);
        assert_eq!(said.len(), 2);
        let flushed = bench.thread.file(file, FileCall::Flush).unwrap();
        assert_eq!(flushed.status, NtStatus::SUCCESS);
        assert_eq!(writes.join().unwrap(), NtStatus::SUCCESS);
    });
    assert_eq!(
        told(&bench),
        [
            "post here 00000000 irql 0",
            "done synchronised here 00000000 irql 0",
            "synchronised 00000000",
        ]
    );
    // It works, and is what no filter should do to an asynchronous transfer.
    assert_eq!(found(bench, &[1, 2, 3]), ["cannot-be-synchronized"]);
}

#[test]
fn a_disk_ends_what_goes_past_the_cache_elsewhere() {
    ends_elsewhere(VolumeBench::new(), 0);
}

#[test]
fn it_may_end_at_a_raised_irql() {
    let raised = MachineConfig {
        raised_completions: true,
        ..MachineConfig::default()
    };
    ends_elsewhere(VolumeBench::with(raised), 2);
}

fn ends_elsewhere(bench: VolumeBench, irql: u8) {
    let bench = load(bench, &[1, 2]);
    std::fs::write(bench.folder.join("a.txt"), [b'x'; 1024]).unwrap();
    let file = opened(&bench, "\\a.txt");
    let said = sends(&bench, file, 4);
    same_place(&said);
    let rest = &said[2..];
    // The two threads run at the same time.
    assert!(rest.contains(&"raw 00000103 77".to_owned()), "{rest:?}");
    let order = |line: &str| rest.iter().position(|other| other == line);
    let post = order(&format!("post elsewhere 00000000 irql {irql}")).unwrap();
    let done = order(&format!("done raw elsewhere 00000000 irql {irql}")).unwrap();
    assert!(post < done && done < order("waited 00000000").unwrap());
    end(bench, &[1, 2]);
}

#[test]
fn a_handle_for_asynchronous_io_is_waited_for_by_its_event() {
    let bench = with_roles(&[1]);
    std::fs::write(bench.folder.join("a.txt"), [b'x'; 1024]).unwrap();
    let file = opened(&bench, "\\b.txt");
    assert_eq!(
        sends(&bench, file, 5)[1..],
        [
            "read 00000103",
            "event 00000000 00000000 512",
            "file 00000103 00000000",
            "oplock 00000103 00000102",
            "broken 00000000 00000216",
        ]
    );
    end(bench, &[1]);
}
