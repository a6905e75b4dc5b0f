//! Each call that can fail is made to, once for each way that leads to it.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod core;

use core::compile_from;
use std::path::PathBuf;

use ntbench::wire::{DriverSpec, InstanceSpec, MachineConfig};
use ntbench::{Failures, MachineError, NtStatus, each_failure};

fn failures(define: &str) -> Failures<NtStatus> {
    let image = compile_from("careful.c", "careful", &[define]);
    let config = MachineConfig {
        host: Some(PathBuf::from(env!("CARGO_BIN_EXE_ntbench"))),
        ..MachineConfig::default()
    };
    let load = |machine: &ntbench::Machine| {
        let loaded = machine.load_driver(DriverSpec {
            image: image.clone(),
            instances: vec![InstanceSpec {
                name: "Default".to_owned(),
                altitude: "370000".to_owned(),
                flags: 0,
            }],
            ..DriverSpec::default()
        })?;
        if loaded.status.is_success() {
            assert_eq!(machine.unload_driver("careful")?, NtStatus::SUCCESS);
        }
        Ok(loaded.status)
    };
    each_failure(&config, load).expect("nothing fails by itself")
}

#[test]
fn a_careful_driver_survives_every_failure() {
    let failures = failures("CAREFUL");
    for failure in &failures.failures {
        println!("{failure}\n  {:?}", failure.outcome);
    }
    assert_eq!(failures.undisturbed, NtStatus::SUCCESS);
    assert_eq!(failures.bad().count(), 0);
    let calls = |name: &str| {
        let same = |failure: &&ntbench::Failure<NtStatus>| failure.stack.call == name;
        failures.failures.iter().filter(same).count()
    };
    // take() from two places, each with its second attempt; the loop once; the callout once.
    assert_eq!(calls("ExAllocatePool2"), 6);
    assert_eq!(calls("KeExpandKernelStackAndCalloutEx"), 1);
    assert_eq!(calls("FltRegisterFilter"), 1);
    assert_eq!(calls("FltStartFiltering"), 1);
    assert_eq!(failures.forced(), failures.failures.len());
    let second: Vec<_> = failures
        .failures
        .iter()
        .filter(|failure| !failure.after.is_empty())
        .collect();
    assert_eq!(second.len(), 2, "the second attempts of take()");
    for failure in second {
        assert_eq!(
            failure.outcome.as_ref().ok(),
            Some(&NtStatus::INSUFFICIENT_RESOURCES)
        );
        assert_eq!(failure.after[0].frames[1], failure.stack.frames[1]);
    }
    let in_callout = failures
        .failures
        .iter()
        .find(|failure| failure.stack.frames[0].starts_with("careful!callout"));
    let frames = &in_callout.expect("the callout's").stack.frames;
    assert!(
        frames[1].starts_with("careful!DriverEntry"),
        "beyond the callout: {frames:?}"
    );
}

#[test]
fn a_leak_on_one_path_is_found_and_named() {
    let failures = failures("LEAKS");
    let bad: Vec<_> = failures.bad().collect();
    assert_eq!(bad.len(), 1, "{bad:#?}");
    assert_eq!(bad[0].stack.call, "FltStartFiltering");
    assert_eq!(
        bad[0]
            .findings
            .iter()
            .filter(|finding| finding.rule.contains("leak"))
            .count(),
        2,
        "one for each place: {bad:#?}"
    );
}

#[test]
fn a_null_pointer_on_one_path_is_found_and_named() {
    let failures = failures("TRUSTS");
    let bad: Vec<_> = failures.bad().collect();
    let calls: Vec<_> = bad
        .iter()
        .map(|failure| {
            (
                failure.stack.call.as_str(),
                failure.stack.frames[0].split('+').next(),
            )
        })
        .collect();
    assert_eq!(
        calls,
        [
            (
                "KeExpandKernelStackAndCalloutEx",
                Some("careful!DriverEntry")
            ),
            ("ExAllocatePool2", Some("careful!callout")),
        ]
    );
    for failure in bad {
        assert!(
            matches!(&failure.outcome, Err(MachineError::BugCheck(report)) if report.code == 0x7E),
            "{failure}"
        );
    }
}
