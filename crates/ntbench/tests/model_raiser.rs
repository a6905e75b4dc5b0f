//! An exception that leaves a routine which the kernel or the Filter Manager calls ends the machine, with the bug check of what that
//! routine was called in: a program's system call, a thread of the system's.
//!
//! A DPC and a callout, which have another one, are in `core_ends.rs`.

mod model;

use model::{Bench, compile};
use ntbench::NtStatus;

/// WHERE, the bug check that is due, and the function that the exception leaves.
const CASES: [(u32, u32, &str); 10] = [
    (1, 0x7E, "Setup"),
    (2, 0x3B, "Pre"),
    (3, 0x3B, "Post"),
    (4, 0x7E, "Work"),
    (5, 0x3B, "Cleanup"),
    (6, 0x7E, "Teardown"),
    (7, 0x7E, "Unload"),
    (8, 0x3B, "Connect"),
    (9, 0x3B, "Message"),
    (10, 0x3B, "Disconnect"),
];

/// Calls each of the filter's routines.
fn play(place: u32) -> Result<NtStatus, ntbench::MachineError> {
    let bench = Bench::new();
    let image = compile("raiser", &[&format!("WHERE={place}")]);
    bench.machine.load_driver(model::spec(image, "370000"))?;
    let name = "\\??\\UNC\\fs\\data\\Docs\\Deep\\Readme.txt";
    let create = ntbench::wire::CreateFile {
        name: name.to_owned(),
        ..Default::default()
    };
    let done = bench.thread.create_file(&create)?;
    bench.thread.close(done.handle)?;
    let port = bench.thread.connect_port("\\RaiserPort", &[])?;
    let port = port.expect("a connection");
    port.send(&[1], 0)?;
    port.close()?;
    bench.machine.unload_driver("raiser")
}

#[test]
fn an_exception_ends_what_its_routine_was_called_in() {
    assert_eq!(play(0).expect("none is raised"), NtStatus::SUCCESS);
    for (place, code, function) in CASES {
        let report = match play(place) {
            Err(ntbench::MachineError::BugCheck(report)) => report,
            other => panic!("{function}: no bug check but {other:?}"),
        };
        // 0x7E has the status with its sign carried on.
        let status = match code {
            0x7E => 0xFFFF_FFFF_C000_009A,
            _ => 0xC000_009A,
        };
        assert_eq!(
            (report.code, report.parameters[0]),
            (code, status),
            "{function}: {}",
            report.text
        );
        let frames = &report.stack.frames;
        let culprit = format!("raiser!{function}+");
        let has = |name: &str| frames.iter().any(|frame| frame.symbol.starts_with(name));
        assert!(has(&culprit), "{function}: {frames:#?}");
    }
}
