//! Exceptions and their handlers, as `__try` has them.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod core;

use core::{bug_check_of, compile_from, load, machine, results_of};
use std::time::Instant;

use ntbench::wire::MachineConfig;

const ACCESS_VIOLATION: u64 = 0xC000_0005;
const NOTHING: u64 = 0x1_2345_0000;

fn results(name: &str, defines: &[&str]) -> Vec<u64> {
    results_of("seh.c", &machine(MachineConfig::default()), name, defines)
}

#[test]
fn an_access_violation_ends_in_its_handler() {
    let seen = results("handled", &[]);
    assert_eq!(
        seen[0], ACCESS_VIOLATION,
        "with the registers of the guarded function: {seen:x?}"
    );
    assert_eq!(seen[1], ACCESS_VIOLATION, "a null pointer");
    assert_eq!(seen[2], seen[0] & 0xFFFF_FFFF, "no exception");
}

#[test]
fn a_filter_decides() {
    let taken = results("filter", &["ANSWER=1"]);
    assert_eq!(taken[0], ACCESS_VIOLATION);
    assert_eq!(
        taken[8..12],
        [1, ACCESS_VIOLATION, 0, NOTHING],
        "a read of that address, asked once"
    );
    let passed = results("filter", &["ANSWER=0"]);
    assert_eq!(
        (passed[0], passed[8]),
        (ACCESS_VIOLATION, 1),
        "the outer handler took it"
    );
    let continued = results("filter", &["ANSWER=-1"]);
    assert_eq!(
        (continued[0], continued[8]),
        (0x77, 1),
        "behind the load, with RAX as it was"
    );
}

#[test]
fn an_exception_inside_a_filter_has_handlers_of_its_own() {
    let seen = results("filter_fails", &["ANSWER=1"]);
    assert_eq!(seen[13], ACCESS_VIOLATION, "the inner one");
    assert_eq!(
        (seen[0], seen[8], seen[11]),
        (ACCESS_VIOLATION, 1, NOTHING),
        "the outer one"
    );
}

#[test]
fn a_bug_check_in_a_filter_shows_whom_it_was_asked_about() {
    let report = bug_check_of("seh.c", "filter_stops", &["ANSWER=1"]);
    assert_eq!(report.code, 0xE2, "{}", report.text);
    let place = |name: &str| {
        let frames = &report.stack.frames;
        frames
            .iter()
            .position(|frame| frame.symbol.contains(name))
            .unwrap_or_else(|| panic!("{name} is not in {frames:#?}"))
    };
    let order = [
        place("!filter+"),
        place("nt!RtlDispatchException"),
        place("nt!KiPageFault"),
        place("!clobber"),
        place("!filtered"),
        place("!DriverEntry"),
    ];
    assert!(order.is_sorted(), "{order:?} {:#?}", report.stack.frames);
}

#[test]
fn a_finally_block_runs_before_the_handler() {
    let seen = results("finally", &[]);
    assert_eq!(seen[0], ACCESS_VIOLATION);
    assert_eq!((seen[4], seen[6]), (0x11, 1), "abnormal termination, once");
}

#[test]
fn what_an_export_raises_is_handled_where_it_was_called() {
    let seen = results("raise", &[]);
    assert_eq!(seen[..3], [0xC000_009A, ACCESS_VIOLATION, 0x8000_0002]);
}

#[test]
fn probes_raise() {
    let seen = results("probe", &[]);
    let expected = [
        1,
        0x8000_0002,
        ACCESS_VIOLATION,
        ACCESS_VIOLATION,
        ACCESS_VIOLATION,
    ];
    assert_eq!(seen[..5], expected, "{seen:x?}");
    assert_eq!(seen[5], 0xFFF_FFFE_FFFF);
}

#[test]
fn memcpy_raises_like_the_drivers_own_code() {
    let seen = results("copy", &[]);
    assert_eq!(seen[..3], [ACCESS_VIOLATION, ACCESS_VIOLATION, 1]);
    assert_eq!(
        (seen[8], seen[10], seen[11]),
        (2, 1, NOTHING + 8),
        "the second one was a write"
    );
}

#[test]
fn a_division_can_be_handled() {
    assert_eq!(results("divide", &[])[0], 0xC000_0094);
}

#[test]
fn no_handler_is_asked_about_a_system_address() {
    for case in ["system", "copy_system"] {
        let report = bug_check_of("seh.c", case, &[]);
        assert_eq!(
            (report.code, report.parameters[0]),
            (0x50, 0xFFFF_F800_1234_5678),
            "{}",
            report.text
        );
    }
}

#[test]
fn nobody_handles_what_was_raised() {
    let report = bug_check_of("seh.c", "unhandled", &[]);
    assert_eq!(
        (report.code, report.parameters[0]),
        (0x7E, 0xFFFF_FFFF_C000_009A),
        "{}",
        report.text
    );
    assert!(report.text.contains("ExRaiseStatus"), "{}", report.text);
}

#[test]
fn no_exception_leaves_a_callout() {
    let report = bug_check_of("seh.c", "callout", &[]);
    assert_eq!(
        (report.code, report.parameters),
        (
            0x1E,
            [
                0xFFFF_FFFF_0000_0000 | ACCESS_VIOLATION,
                report.parameters[1],
                0,
                NOTHING
            ]
        ),
        "{}",
        report.text
    );
}

#[test]
fn no_handler_helps_at_dispatch_level() {
    let report = bug_check_of("seh.c", "raised", &[]);
    assert_eq!(
        (report.code, report.parameters[..2].to_vec()),
        (0xD1, vec![NOTHING, 2]),
        "{}",
        report.text
    );
}

#[test]
fn looking_for_a_handler_costs_stack() {
    let report = bug_check_of("seh.c", "low", &[]);
    assert_eq!(
        (report.code, report.parameters[0]),
        (0x7F, 8),
        "{}",
        report.text
    );
    assert!(
        report.text.contains("nt!KiDispatchException"),
        "{}",
        report.text
    );
}

#[test]
fn a_fuzzers_exceptions_are_all_taken_within_the_time_limit() {
    let machine = machine(MachineConfig::default());
    let image = compile_from("seh.c", "many", &["COUNT=20000"]);
    let began = Instant::now();
    load(&machine, image).expect("loads");
    let each = began.elapsed() / 20_000;
    println!("{each:?} an exception");
    let address = machine.symbol("many!result").expect("a symbol");
    let count = machine.read(address, 8).expect("its memory");
    assert_eq!(u64::from_le_bytes(count.try_into().expect("eight")), 20_000);
}
