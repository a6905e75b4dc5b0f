//! Each processor exception in a driver, and the bug check it ends in.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod core;

use core::{bug_check, compile, load, machine, results};
use std::time::Duration;

use ntbench::wire::MachineConfig;
use ntbench::{MachineError, NtStatus};

fn value(status: NtStatus) -> u64 {
    i64::from(status.0).cast_unsigned()
}

/// `DriverEntry` runs on a system thread: what nobody handles there is 0x7E.
#[track_caller]
fn unhandled(name: &str, status: NtStatus) {
    let report = bug_check(name, &[]);
    assert_eq!(
        (report.code, report.parameters[0]),
        (0x7E, value(status)),
        "{}",
        report.text
    );
    let newest = &report.stack.frames[0].symbol;
    assert!(newest.starts_with(&format!("{name}!")), "{newest}");
}

#[test]
fn a_null_pointer_is_an_unhandled_access_violation() {
    unhandled("null", NtStatus::ACCESS_VIOLATION);
}

#[test]
fn a_division_by_zero_is_unhandled() {
    unhandled("divide", NtStatus::INTEGER_DIVIDE_BY_ZERO);
}

#[test]
fn an_undefined_instruction_is_unhandled() {
    unhandled("undefined", NtStatus::ILLEGAL_INSTRUCTION);
}

#[test]
fn a_wild_system_address_is_a_page_fault_in_nonpaged_area() {
    let report = bug_check("wild", &[]);
    assert_eq!(
        (report.code, report.parameters[0]),
        (0x50, 0xFFFF_F800_1234_5678),
        "{}",
        report.text
    );
    assert_eq!(report.parameters[1], 0, "a read");
    assert!(report.text.contains("wild!run"), "{}", report.text);
}

#[test]
fn a_write_to_constants_is_seen() {
    let report = bug_check("readonly", &[]);
    assert_eq!(report.code, 0xBE, "{}", report.text);
    assert!(report.text.contains("readonly!constant"), "{}", report.text);
}

#[test]
fn a_lost_stack_pointer_is_a_double_fault() {
    let report = bug_check("lost", &[]);
    assert_eq!(
        (report.code, report.parameters[..2].to_vec()),
        (0x7F, vec![8, 0x1234_5678]),
        "{}",
        report.text
    );
    assert!(report.text.contains("lost!run"), "{}", report.text);
}

#[test]
fn data_does_not_run() {
    let report = bug_check("execute", &[]);
    assert_eq!(report.code, 0xFC, "{}", report.text);
    let caller = report
        .stack
        .frames
        .iter()
        .any(|frame| frame.symbol.starts_with("execute!run+"));
    assert!(
        caller,
        "who called it is in the listing: {:#?}",
        report.stack.frames
    );
}

#[test]
fn a_jump_into_nothing_names_its_caller() {
    let report = bug_check("jump", &[]);
    assert_eq!(report.code, 0x50, "{}", report.text);
    assert_eq!(report.parameters[1], 0x10, "an instruction fetch");
    assert!(
        report
            .stack
            .frames
            .iter()
            .any(|frame| frame.symbol.starts_with("jump!run+")),
        "{:#?}",
        report.stack
    );
}

#[test]
fn a_breakpoint_needs_a_debugger() {
    let report = bug_check("breakpoint", &[]);
    assert_eq!(
        (report.code, report.parameters[0]),
        (0x7E, 0xFFFF_FFFF_8000_0003),
        "{}",
        report.text
    );
}

#[test]
fn fast_fail_says_why() {
    let report = bug_check("fastfail", &[]);
    assert_eq!((report.code, report.parameters[0]), (0x139, 3));
    assert!(
        report.text.contains("FAST_FAIL_CORRUPT_LIST_ENTRY"),
        "{}",
        report.text
    );
}

#[test]
fn a_bad_argument_is_blamed_on_the_call_that_passed_it() {
    let report = bug_check("badargument", &[]);
    assert_eq!(
        (report.code, report.parameters[0]),
        (0x7E, value(NtStatus::ACCESS_VIOLATION)),
        "{}",
        report.text
    );
    assert!(
        report
            .text
            .starts_with("nt!IoGetStackLimits, called from badargument!run+"),
        "{}",
        report.text
    );
}

#[test]
fn an_address_that_is_not_canonical_is_an_access_violation() {
    let report = bug_check("noncanonical", &[]);
    assert_eq!(
        (report.code, report.parameters[0]),
        (0x7E, value(NtStatus::ACCESS_VIOLATION)),
        "{}",
        report.text
    );
    assert!(report.text.contains("not canonical"), "{}", report.text);
}

#[test]
fn what_the_bench_cannot_run_is_not_the_drivers_fault() {
    let machine = machine(MachineConfig::default());
    match load(&machine, compile("privileged", &[])) {
        Err(MachineError::HostFault(text)) => {
            assert!(text.contains("cli") && !text.contains("nt!"), "{text}");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn irql_is_in_cr8() {
    let machine = machine(MachineConfig::default());
    let result = results(&machine, "irql", &[]);
    assert_eq!(result[0..2], [0, 2]);
    let status = NtStatus(u32::try_from(result[2]).expect("a status").cast_signed());
    assert_eq!(
        status,
        NtStatus::INVALID_PARAMETER_4,
        "no waiting at DISPATCH_LEVEL"
    );
}

#[test]
fn a_callout_must_not_change_the_irql() {
    let report = bug_check("raised", &[]);
    assert_eq!(
        (report.code, report.parameters[0]),
        (0xC8, 0x2_0002),
        "{}",
        report.text
    );
}

#[test]
fn no_exception_may_leave_a_callout() {
    let report = bug_check("escape", &[]);
    let expected = [
        value(NtStatus::ACCESS_VIOLATION),
        report.parameters[1],
        1,
        0x20,
    ];
    assert_eq!(
        (report.code, report.parameters),
        (0x1E, expected),
        "{}",
        report.text
    );
    assert_eq!(report.stack.segments.len(), 2);
    let symbols: Vec<&str> = report
        .stack
        .frames
        .iter()
        .map(|frame| frame.symbol.as_str())
        .collect();
    assert!(symbols[0].starts_with("escape!fail+"), "{symbols:#?}");
    assert!(
        symbols
            .iter()
            .any(|symbol| symbol.starts_with("escape!run+")),
        "across segments: {symbols:#?}"
    );
}

#[test]
fn the_processor_region_is_where_debuggers_show_it() {
    let machine = machine(MachineConfig::default());
    assert_eq!(results(&machine, "gs", &[])[0..2], [0x180, 1]);
}

#[test]
fn stack_probes_touch_and_preserve() {
    let machine = machine(MachineConfig::default());
    assert_eq!(
        results(&machine, "chkstk", &["SIZE=0x3000"])[0..2],
        [0x3000, 0x2468]
    );
    let report = bug_check("chkstk", &["SIZE=0x8000"]);
    assert_eq!(report.code, 0x50, "probed past the stack: {}", report.text);
    assert!(
        report
            .stack
            .frames
            .iter()
            .any(|frame| frame.symbol.starts_with("chkstk!run+")),
        "{:#?}",
        report.stack
    );
}

#[test]
fn a_driver_that_loops_is_stopped_with_its_stack() {
    let machine = machine(MachineConfig::default());
    machine.set_time_limit(Duration::from_secs(3));
    match load(&machine, compile("loop", &[])) {
        Err(MachineError::TimeLimit { stacks, .. }) => {
            let [stack] = stacks.as_slice() else {
                panic!("one busy thread: {stacks:#?}")
            };
            assert!(
                stack.frames[0].symbol.starts_with("loop!"),
                "{:#?}",
                stack.frames
            );
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_driver_that_waits_for_ever_is_named_too() {
    let machine = machine(MachineConfig::default());
    machine.set_time_limit(Duration::from_secs(3));
    match load(&machine, compile("wait", &[])) {
        Err(MachineError::TimeLimit { stacks, .. }) => {
            let [stack] = stacks.as_slice() else {
                panic!("one busy thread: {stacks:#?}")
            };
            let own = stack
                .frames
                .iter()
                .any(|frame| frame.symbol.starts_with("wait!run+"));
            assert!(own, "{:#?}", stack.frames);
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_comes_back_to_an_unloaded_driver_is_told_so() {
    let machine = machine(MachineConfig::default());
    let gone = load(&machine, compile("fail", &[]))
        .expect("an answer")
        .module;
    let image = compile("call", &[&format!("TARGET={:#x}ull", gone.base + 0x1000)]);
    match load(&machine, image) {
        Err(MachineError::BugCheck(report)) => {
            assert_eq!(
                (report.code, report.parameters[0]),
                (0xCE, gone.base + 0x1000),
                "{}",
                report.text
            );
            assert!(
                report.text.contains("Unloaded_fail+0x1000"),
                "{}",
                report.text
            );
            let caller = report
                .stack
                .frames
                .iter()
                .any(|frame| frame.symbol.starts_with("call!run+"));
            assert!(caller, "{:#?}", report.stack.frames);
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_machine_that_is_dead_says_so_again() {
    let machine = machine(MachineConfig::default());
    assert!(matches!(
        load(&machine, compile("null", &[])),
        Err(MachineError::BugCheck(_))
    ));
    assert!(matches!(machine.trace(), Err(MachineError::BugCheck(_))));
}

#[test]
fn a_failed_entry_is_a_status_and_leaves_nothing() {
    let machine = machine(MachineConfig::default());
    let loaded = load(&machine, compile("fail", &[])).expect("an answer");
    assert_eq!(loaded.status, NtStatus::INSUFFICIENT_RESOURCES);
    assert_eq!(machine.modules().expect("modules"), []);
}
