//! Each lock and region misused once: the bug check that Windows ends with, or the finding with the line that did it.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod core;

use core::{clang, load, machine};
use std::path::{Path, PathBuf};

use ntbench::MachineError;
use ntbench::wire::{BugCheckReport, Finding, MachineConfig, StackKind, ThreadSpec};

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/drivers/locks.c")
}

/// What only a program's thread can do wrong: the system's own have no user APCs.
const USERS: [u32; 2] = [19, 20];

/// The bug check or the findings of one misuse.
fn play(misuse: u32) -> Result<Vec<Finding>, Box<BugCheckReport>> {
    let flag = format!("-DMISUSE={misuse}");
    let mut flags = vec![&*flag, "-Wno-unused-variable"];
    if USERS.contains(&misuse) {
        flags.push("-DUSER");
    }
    let image = clang::driver(&source(), "locks", &flags, &[]);
    let machine = machine(MachineConfig::default());
    let outcome = load(&machine, image).and_then(|_| {
        if USERS.contains(&misuse) {
            let thread = machine.thread(ThreadSpec {
                process_image: "user.exe".to_owned(),
                process: 0,
                stack: StackKind::Ordinary,
            })?;
            thread.measure_routine(machine.symbol("locks!misused")?, &[], 1)?;
        }
        Ok(())
    });
    match outcome {
        Ok(()) => Ok(machine.shutdown().expect("a report").findings),
        Err(MachineError::BugCheck(report)) => Err(report),
        Err(other) => panic!("misuse {misuse}: {other:?}"),
    }
}

/// Where the source says that a misuse is.
fn place(misuse: u32) -> String {
    let text = std::fs::read_to_string(source()).expect("the source");
    let marker = format!("/* misuse {misuse} */");
    let line = text.lines().position(|line| line.contains(&marker));
    format!("locks.c:{}", line.expect("a marked line") + 1)
}

#[test]
fn a_lock_that_is_used_as_it_should_be_is_no_news() {
    let findings = play(0).expect("no bug check");
    assert_eq!(findings.len(), 0, "{findings:#?}");
}

#[test]
fn misuse_that_windows_does_not_survive_ends_the_machine() {
    let expected = [
        (2, 0xC4, 0x1000, "deadlock"),
        (3, 0xC4, 0x1000, "deadlock"),
        (4, 0x7E, 0xFFFF_FFFF_C000_0046, "STATUS_MUTANT_NOT_OWNED"),
        (
            5,
            0x7E,
            0xFFFF_FFFF_C000_0047,
            "STATUS_SEMAPHORE_LIMIT_EXCEEDED",
        ),
        (6, 0x01, 0, "KeLeaveCriticalRegion"),
        (7, 0xE3, 0, "resource"),
        (8, 0xC4, 0x33, "IRQL"),
        (9, 0xB8, 0, "DISPATCH_LEVEL"),
        (10, 0xC8, 0x1_0002, "IRQL"),
        (15, 0xC4, 0x1000, "deadlock"),
        (17, 0x01, 0, "without the matching enter"),
        (18, 0x01, 0, "without the matching enter"),
        (21, 0xC7, 0, "no initialised timer"),
        (22, 0xC7, 1, "no initialised DPC"),
        (23, 0x0A, 8, "no initialised event"),
        (25, 0x10, 0, "spin lock"),
        (31, 0xB8, 0, "DISPATCH_LEVEL"),
        (33, 0x0A, 8, "no initialised event, mutex, semaphore"),
    ];
    for (misuse, code, parameter, text) in expected {
        let report = play(misuse).expect_err("a bug check");
        assert_eq!(report.code, code, "misuse {misuse}: {}", report.text);
        // 0: an address.
        if parameter != 0 {
            assert_eq!(
                report.parameters[0], parameter,
                "misuse {misuse}: {}",
                report.text
            );
        }
        assert!(report.text.contains(text), "{misuse}: {}", report.text);
        // Where it was done; what is found at the return of DriverEntry has no place in it.
        if misuse != 10 {
            let sources = report.stack.frames.iter().filter_map(|f| f.source.clone());
            let place = place(misuse);
            let sources: Vec<_> = sources.collect();
            assert!(
                sources.iter().any(|source| source.ends_with(&place)),
                "misuse {misuse} at {place}: {sources:?}"
            );
        }
    }
}

#[test]
fn misuse_that_windows_survives_is_found_with_its_line() {
    let expected = [
        (1, "lock-not-held", true),
        (11, "critical-region-imbalance", false),
        (12, "lock-held-at-return", false),
        (13, "spin-lock-irql", true),
        (14, "lock-order", true),
        (16, "critical-region-imbalance", false),
        (19, "critical-region", true),
        (20, "critical-region", true),
        (24, "lock-held-at-return", false),
        (26, "irql", true),
        (27, "irql", true),
        (28, "irql", true),
        (29, "rundown-released-too-often", true),
        (30, "irql", true),
        (32, "lock-held-at-return", false),
    ];
    for (misuse, rule, by_a_call) in expected {
        let findings = play(misuse).unwrap_or_else(|report| panic!("{misuse}: {report:#?}"));
        let found = findings.iter().find(|finding| finding.rule == rule);
        let found = found.unwrap_or_else(|| panic!("misuse {misuse}: {findings:#?}"));
        if by_a_call {
            let site = found.site.clone().unwrap_or_default();
            assert!(site.starts_with("locks!misused+"), "{site}");
            assert!(
                site.contains(&place(misuse)),
                "misuse {misuse}: {site}, {}",
                place(misuse)
            );
        } else {
            assert!(found.text.contains("DriverEntry"), "{}", found.text);
        }
    }
}
