//! Stacks, expansion and bug checks, each by a real driver compiled for it.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod core;

use core::{bug_check, machine, results};
use ntbench::NtStatus;
use ntbench::wire::{FaultRule, FrameKind, MachineConfig, StackConfig, When};

fn status(value: u64) -> NtStatus {
    NtStatus(u32::try_from(value).expect("a status").cast_signed())
}

#[test]
fn a_driver_sees_its_own_stack() {
    let machine = machine(MachineConfig::default());
    let result = results(&machine, "limits", &[]);
    let (low, high, sp) = (result[0], result[1], result[2]);
    assert_eq!(high - low, 0x6000);
    assert!(low < sp && sp < high);
    machine.shutdown().expect("a report");
}

#[test]
fn little_is_run_in_place() {
    let machine = machine(MachineConfig::default());
    let result = results(&machine, "expand", &["SIZE=0x1000", "WAIT=0", "CONTEXT=0"]);
    assert_eq!(status(result[9]), NtStatus::SUCCESS);
    assert_eq!(result[0..2], result[3..5], "the same segment inside");
    assert!(result[5] < result[2], "deeper inside");
    assert_eq!(result[0..3], result[6..9], "and after");
}

#[test]
fn a_whole_stack_is_on_another_segment() {
    let machine = machine(MachineConfig::default());
    let result = results(&machine, "expand", &["SIZE=0x6000", "WAIT=0", "CONTEXT=0"]);
    assert_eq!(status(result[9]), NtStatus::SUCCESS);
    assert_ne!(result[0..2], result[3..5], "another segment inside");
    assert!(
        result[5] - result[3] >= 0x6000 - 0x200,
        "what was asked for is there"
    );
    assert_eq!(result[0..3], result[6..9], "the old one after");
}

#[test]
fn the_largest_size_is_granted_and_one_more_is_not() {
    let machine = machine(MachineConfig::default());
    let result = results(&machine, "expand", &["SIZE=0x11800", "WAIT=0", "CONTEXT=0"]);
    assert_eq!(status(result[9]), NtStatus::SUCCESS);
    assert!(result[5] - result[3] >= 0x11800 - 0x200);
    let machine = self::machine(MachineConfig::default());
    let result = results(&machine, "expand", &["SIZE=0x11801", "WAIT=0", "CONTEXT=0"]);
    assert_eq!(status(result[9]), NtStatus::INVALID_PARAMETER_3);
    assert_eq!(result[3..6], [0, 0, 0], "the callout did not run");
}

#[test]
fn a_reserved_context_is_found() {
    let machine = machine(MachineConfig::default());
    let result = results(&machine, "expand", &["SIZE=0x1000", "WAIT=0", "CONTEXT=8"]);
    assert_eq!(status(result[9]), NtStatus::SUCCESS);
    let report = machine.shutdown().expect("a report");
    let finding = report
        .findings
        .iter()
        .find(|finding| finding.rule == "expand-context")
        .expect("a finding");
    assert!(
        finding
            .site
            .as_deref()
            .is_some_and(|site| site.contains("expand!")),
        "{finding:?}"
    );
}

#[test]
fn the_limit_on_segments_is_a_status() {
    let stack = StackConfig {
        segment_limit: 0,
        pooled_segments: 0,
    };
    let machine = machine(MachineConfig {
        stack,
        ..MachineConfig::default()
    });
    let result = results(&machine, "expand", &["SIZE=0x6000", "WAIT=0", "CONTEXT=0"]);
    assert_eq!(status(result[9]), NtStatus::STACK_OVERFLOW);
}

#[test]
fn any_status_can_be_forced() {
    for forced in [
        NtStatus::NO_MEMORY,
        NtStatus::STACK_OVERFLOW,
        NtStatus::INVALID_PARAMETER_3,
    ] {
        let call = "KeExpandKernelStackAndCalloutEx".to_owned();
        let faults = vec![FaultRule {
            call,
            status: forced,
            when: When::Nth(1),
        }];
        let machine = machine(MachineConfig {
            faults,
            ..MachineConfig::default()
        });
        let result = results(&machine, "expand", &["SIZE=0x1000", "WAIT=0", "CONTEXT=0"]);
        assert_eq!(status(result[9]), forced);
        assert_eq!(result[3..6], [0, 0, 0], "the callout did not run");
        let report = machine.shutdown().expect("a report");
        assert_eq!((report.faults[0].calls, report.faults[0].failed), (1, 1));
    }
}

#[test]
fn expansions_nest_far_deeper_than_one_stack() {
    let machine = machine(MachineConfig::default());
    let result = results(&machine, "nest", &["DEPTH=512"]);
    assert_eq!(result[0], 512);
    assert_eq!(status(result[1]), NtStatus::SUCCESS);
}

#[test]
fn recursion_ends_in_a_double_fault_with_its_frames() {
    let report = bug_check("recurse", &[]);
    assert_eq!(
        (report.code, report.parameters[0]),
        (0x7F, 8),
        "{}",
        report.text
    );
    let own = report
        .stack
        .frames
        .iter()
        .filter(|frame| frame.symbol.starts_with("recurse!recurse+"))
        .count();
    assert!(own > 30, "{own} frames of the recursion");
    assert_eq!(
        report
            .stack
            .by_module
            .first()
            .map(|module| module.0.as_str()),
        Some("recurse")
    );
    let sum: u64 = report.stack.by_module.iter().map(|module| module.1).sum();
    let segment = &report.stack.segments[0];
    assert!(
        segment.high - report.stack.frames[0].child_sp == sum,
        "every byte belongs to somebody"
    );
    assert!(
        report
            .stack
            .frames
            .iter()
            .rev()
            .take(2)
            .all(|frame| frame.kind == FrameKind::Modelled)
    );
}

#[test]
fn a_stray_write_to_the_guard_page_is_a_page_fault() {
    let report = bug_check("guard", &[]);
    assert_eq!(report.code, 0x50, "{}", report.text);
    assert_eq!(report.parameters[1], 2, "a write");
}

#[test]
fn listings_hold_every_frame_of_a_bug_check() {
    let report = bug_check("bugcheck", &[]);
    assert_eq!((report.code, report.parameters), (0xE2, [1, 2, 3, 4]));
    let names: Vec<&str> = report
        .stack
        .frames
        .iter()
        .map(|frame| frame.symbol.split('+').next().unwrap_or_default())
        .collect();
    let deep = names
        .iter()
        .filter(|name| **name == "bugcheck!deep")
        .count();
    assert_eq!(deep, 4, "{names:?}");
    assert!(names.contains(&"bugcheck!DriverEntry"), "{names:?}");
    let deep: Vec<_> = report
        .stack
        .frames
        .iter()
        .filter(|frame| frame.symbol.contains("deep"))
        .collect();
    let sizes: Vec<_> = deep.iter().map(|frame| frame.bytes_to_older).collect();
    assert!(
        sizes.windows(2).all(|pair| pair[0] == pair[1]),
        "one function, one frame size: {sizes:x?}"
    );
    assert!(
        sizes[0].is_some_and(|size| (0x100..0x200).contains(&size)),
        "{sizes:x?}"
    );
}
