//! Buffer security checks of functions that an exception leaves: the handlers that Microsoft's compiler names for them are the
//! driver's own code, linked into it, and stop the machine before a handler runs on a frame that was written over.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod core;

use core::{clang, load, machine};
use std::path::{Path, PathBuf};

use ntbench::wire::MachineConfig;
use ntbench::{MachineError, NtStatus};

fn compile(case: &str, length: u32) -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/core/gs.c");
    let flags = [format!("-DCASE={case}"), format!("-DLENGTH={length}")];
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    clang::driver(&source, case, &flags, &[])
}

#[test]
fn an_exception_passes_a_frame_whose_cookie_is_whole() {
    // Taken further up: the handler is asked, and told that its frame is left. Taken in the frame itself: the same.
    for (case, value) in [("guarded", 0x99), ("guarded_seh", 0x77)] {
        let machine = machine(MachineConfig::default());
        let loaded = load(&machine, compile(case, 16)).expect("loads");
        assert_eq!(loaded.status, NtStatus::SUCCESS);
        let result = machine.symbol(&format!("{case}!result")).expect("a symbol");
        let bytes = machine.read(result, 16).expect("its memory");
        assert_eq!((bytes[0], bytes[8]), (value, 2), "{case}");
    }
}

#[test]
fn one_that_is_written_over_stops_the_machine_before_its_handler_runs() {
    for case in ["guarded", "guarded_seh"] {
        let machine = machine(MachineConfig::default());
        let report = match load(&machine, compile(case, 24)) {
            Err(MachineError::BugCheck(report)) => report,
            other => panic!("{case}: no bug check but {other:?}"),
        };
        assert_eq!(
            (report.code, report.parameters[0]),
            (0x139, 2),
            "{}",
            report.text
        );
        // Found while somebody is looked for who takes the exception, by the frame's own handler.
        let frames = &report.stack.frames;
        let place = |name: &str| {
            let found = frames.iter().position(|frame| frame.symbol.contains(name));
            found.unwrap_or_else(|| panic!("{case}: {name} is not in {frames:#?}"))
        };
        let order = [
            place("!gs_handler"),
            place("nt!RtlDispatchException"),
            place("!fill+"),
            place(&format!("!{case}+")),
            place("!DriverEntry+"),
        ];
        assert!(order.is_sorted(), "{case}: {frames:#?}");
    }
}
