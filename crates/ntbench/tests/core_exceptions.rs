//! Exceptions as a compiler's `__try` has them: nested, collided, raised and unwound by the driver itself.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod core;

use core::{clang, load, machine, scratch};
use std::path::PathBuf;

use ntbench::wire::{BugCheckReport, MachineConfig, Refusal};
use ntbench::{MachineError, NtStatus};

const FIRST: u64 = 0xC000_0099;
const SECOND: u64 = 0xC000_009A;
const ACCESS_VIOLATION: u64 = 0xC000_0005;
/// 0x7E has the exception's code with its sign carried on.
const CARRIED: u64 = 0xFFFF_FFFF_0000_0000;

fn compile(case: &str) -> PathBuf {
    let source = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/core/exceptions.c");
    clang::driver(&source, case, &[&format!("-DCASE_{case}")], &[])
}

/// What happened, without the zeroes at the end.
fn steps(case: &str) -> Vec<u64> {
    let machine = machine(MachineConfig::default());
    let loaded = load(&machine, compile(case)).expect("loads");
    assert_eq!(loaded.status, NtStatus::SUCCESS);
    let address = machine.symbol(&format!("{case}!result")).expect("a symbol");
    let bytes = machine.read(address, 256).expect("its memory");
    let mut words: Vec<u64> = bytes
        .chunks_exact(8)
        .map(|word| u64::from_le_bytes(word.try_into().expect("eight bytes")))
        .collect();
    let used = words
        .iter()
        .rposition(|word| *word != 0)
        .map_or(0, |at| at + 1);
    words.truncate(used);
    words
}

fn bug_check(case: &str) -> BugCheckReport {
    let machine = machine(MachineConfig::default());
    match load(&machine, compile(case)) {
        Err(MachineError::BugCheck(report)) => *report,
        other => panic!("{case}: no bug check but {other:?}"),
    }
}

#[test]
fn an_exception_in_a_filter_goes_to_the_frames_above() {
    let seen = steps("nested_filter");
    // The filter is asked about the first exception, fails, and is asked again about its own: nested, not continuable.
    // Then those above: not nested any more. Then the first one's frames are left by the second one's handler.
    assert_eq!(
        seen,
        [1, 0x101, 0x111, 0x201, SECOND, 2, 1, 3, SECOND],
        "{seen:x?}"
    );
}

#[test]
fn a_page_fault_in_a_filter_is_handled_further_up() {
    let seen = steps("nested_fault");
    assert_eq!(seen, [3 + 7, 6 + 7], "{seen:x?}");
}

#[test]
fn a_finally_block_that_fails_takes_the_unwinding_with_it() {
    let seen = steps("collided");
    // 0x20 is never asked about the first exception: 0x10 is asked first, and refuses only that one.
    let expected = [1, 0x10, FIRST, 0x20, FIRST, 2, 3, 0x10, SECOND, 4, 5, 6];
    assert_eq!(seen, expected, "{seen:x?}");
}

#[test]
fn a_finally_block_handles_what_is_its_own() {
    let seen = steps("finally_handles");
    assert_eq!(seen, [1, 2, ACCESS_VIOLATION, 3, FIRST], "{seen:x?}");
}

#[test]
fn nobody_takes_what_a_filter_does() {
    let report = bug_check("filter_unhandled");
    // The filter is asked about its own exception as well, until no stack is left for it.
    assert_eq!(
        (report.code, report.parameters[0]),
        (0x7F, 8),
        "{}",
        report.text
    );
}

#[test]
fn a_try_is_left_by_every_door() {
    let seen = steps("leave");
    assert_eq!(seen, [10, 0, 6, 11, 0, 6, 12, 1, 25], "{seen:x?}");
}

#[test]
fn a_record_of_the_drivers_own_arrives_whole() {
    let seen = steps("record");
    assert_eq!(seen, [0xE000_0001, 15, 0x1414, 1, 1], "{seen:x?}");
}

#[test]
fn what_cannot_be_continued_is_an_exception_in_turn() {
    let seen = steps("not_continuable");
    // The filter is asked about the first exception and wants to go on; it is asked again, and then the frames above.
    assert_eq!(
        seen,
        [FIRST, 0xC000_0025, 1, FIRST, 2, 0xC000_0025],
        "{seen:x?}"
    );
}

#[test]
fn who_always_wants_to_go_on_runs_out_of_stack() {
    let report = bug_check("never_continuable");
    assert_eq!(
        (report.code, report.parameters[0]),
        (0x7F, 8),
        "{}",
        report.text
    );
}

#[test]
fn a_breakpoint_without_a_debugger_can_be_handled() {
    assert_eq!(steps("breakpoint"), [0x8000_0003, 7]);
}

#[test]
fn a_filter_mends_and_goes_on() {
    assert_eq!(steps("continue"), [0x55]);
}

#[test]
fn a_context_is_captured_and_restored() {
    let seen = steps("capture");
    assert_eq!(seen, [0x10, 1, 0x11, 1, 2], "{seen:x?}");
}

#[test]
fn drivers_walk_their_own_stack() {
    let seen = steps("walk");
    assert_eq!(seen.first(), Some(&1), "an address of the image");
    assert!(seen[1] >= 3 && seen[2] >= 3, "{seen:x?}");
    assert_eq!(seen[3], 1, "both walks find the same: {seen:x?}");
}

#[test]
fn a_language_handler_of_the_drivers_own_unwinds() {
    let seen = steps("unwind");
    assert_eq!(seen, [0x30, FIRST, 0x31, 0x99, 0x4321], "{seen:x?}");
}

#[test]
fn a_callout_has_handlers_of_its_own() {
    assert_eq!(steps("callout")[..2], [1, ACCESS_VIOLATION]);
}

#[test]
fn what_the_kernel_reads_for_a_driver_is_guarded_too() {
    let seen = steps("kernel_reads");
    let expected: Vec<u64> = (1..=9)
        .flat_map(|number| [number, ACCESS_VIOLATION])
        .collect();
    assert_eq!(seen, expected, "{seen:x?}");
}

#[test]
fn what_the_kernel_reads_unguarded_names_the_call() {
    let report = bug_check("kernel_reads_unguarded");
    assert_eq!(
        (report.code, report.parameters[0]),
        (0x7E, CARRIED | ACCESS_VIOLATION),
        "{}",
        report.text
    );
    assert!(
        report.text.starts_with("nt!wcslen, called from") && report.text.contains("exceptions.c:"),
        "{}",
        report.text
    );
}

#[test]
fn every_frame_on_the_way_cleans_up() {
    let seen = steps("deep");
    assert_eq!((seen[0], seen[30]), (FIRST, 21), "{seen:x?}");
}

#[test]
fn an_exception_in_a_callback_goes_to_who_called_the_library() {
    let seen = steps("through");
    // The filter is asked before the routine has been left, and after what it noted.
    let order = [
        1,
        0x10,
        FIRST,
        2,
        5 * 3 + 7,
        1,
        0x10,
        ACCESS_VIOLATION,
        2,
        3,
        6 * 3 + 7,
        1,
    ];
    assert_eq!(seen, order, "{seen:x?}");
}

#[test]
fn the_librarys_caller_lets_a_callback_go_on() {
    let seen = steps("through_continue");
    assert_eq!(seen, [0x10, 0xE000_0001, 1], "{seen:x?}");
}

#[test]
fn filters_call_libraries_whose_callbacks_fail() {
    let seen = steps("through_filter");
    assert_eq!(seen, [FIRST, SECOND, 1, 2, SECOND], "{seen:x?}");
}

#[test]
fn an_exception_in_a_dispatch_routine_goes_to_who_sent_the_packet() {
    let seen = steps("through_driver");
    assert_eq!(seen, [1, 2, ACCESS_VIOLATION], "{seen:x?}");
}

#[test]
fn an_exception_in_a_callback_that_nobody_takes_ends_the_machine_there() {
    let report = bug_check("through_unhandled");
    assert_eq!(
        (report.code, report.parameters[0]),
        (0x7E, CARRIED | ACCESS_VIOLATION),
        "{}",
        report.text
    );
    let newest = &report.stack.frames[0].symbol;
    assert!(newest.contains("!raises+"), "{newest}");
}

#[test]
fn a_jump_cleans_up_on_its_way_where_it_knows_the_frame() {
    let seen = steps("jump");
    let landed = [0x4321, 0x4321];
    let expected = [
        &[1, 2, 1, 0x99][..],
        &landed,
        &[1, 2, 1, 1],
        &landed,
        &[1, 1],
        &landed,
        &[ACCESS_VIOLATION],
    ];
    assert_eq!(seen, expected.concat(), "{seen:x?}");
}

#[test]
fn a_handler_of_the_drivers_own_hands_on_to_the_kernels() {
    let seen = steps("cookie");
    let expected = [0x10, 0xC0_0C1E, FIRST, 0x11, 0xC0_0C1E, FIRST];
    assert_eq!(seen, expected, "{seen:x?}");
}

#[test]
fn handlers_of_the_library_are_refused_as_imports_by_name() {
    let source = scratch().join("checked.c");
    let text = "IMPORT void __GSHandlerCheck(void);\nIMPORT void __GSHandlerCheck_SEH(void);\n\
        int DriverEntry(void) { __GSHandlerCheck(); __GSHandlerCheck_SEH(); return 0; }\n";
    std::fs::write(&source, text).expect("written");
    let image = clang::driver(&source, "checked", &["-DIMPORT=__declspec(dllimport)"], &[]);
    let machine = machine(MachineConfig::default());
    match load(&machine, image) {
        Err(MachineError::Refused(Refusal::Image(text))) => assert!(
            text.contains("ntoskrnl.exe!__GSHandlerCheck, ntoskrnl.exe!__GSHandlerCheck_SEH"),
            "{text}"
        ),
        other => panic!("{other:?}"),
    }
}

#[test]
fn no_exception_leaves_a_completion_routine() {
    let report = bug_check("completion");
    assert_eq!(
        (report.code, report.parameters[0]),
        (0x7E, CARRIED | ACCESS_VIOLATION),
        "{}",
        report.text
    );
    assert!(
        report.text.contains("completes") && report.text.contains("further up"),
        "{}",
        report.text
    );
}

#[test]
fn pool_that_is_not_there_raises_an_exception_where_that_is_asked_for() {
    let insufficient = 0xC000_009A;
    assert_eq!(
        steps("pool"),
        [1, insufficient, insufficient, insufficient, 1]
    );
}
