//! Creates from four threads, the driver unloaded in their midst, loaded again, unloaded again.
//!
//! Nobody has to be quick for that: the threads go on until creates have come to each part of it.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod common;

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::{scope, yield_now};

use common::{
    booted, config, directories, end, expansion_fails, load, open, records, text, thread,
};
use headroom_harness::backend::bench::SERVICE;
use ntbench::wire::{FaultRule, RegistryValue, StackKind};
use ntbench::{Machine, MachineError};
use protocol::NtStatus;

const NO_MEMORY: u32 = 0xc000_0017;

const THREADS: u32 = 4;
const CREATES: u32 = 10_000;

#[test]
fn unload_in_the_midst_of_creates_and_load_again() {
    unloads_under_load(
        vec![],
        &[text("AncestorOpens", "Top")],
        Machine::unload_driver,
    );
}

/// As `sc stop` does it: the filter is not asked.
#[test]
fn a_mandatory_unload_in_the_midst_of_creates() {
    unloads_under_load(
        vec![],
        &[text("AncestorOpens", "Top")],
        Machine::stop_driver,
    );
}

/// Every create waits for a worker, so the unload finds creates that are pended.
#[test]
fn unload_in_the_midst_of_creates_that_wait_for_workers() {
    unloads_under_load(
        vec![expansion_fails(NO_MEMORY)],
        &[text("OnExpandFailure", "Worker")],
        Machine::unload_driver,
    );
}

#[test]
fn a_mandatory_unload_in_the_midst_of_creates_that_wait_for_workers() {
    unloads_under_load(
        vec![expansion_fails(NO_MEMORY)],
        &[text("OnExpandFailure", "Worker")],
        Machine::stop_driver,
    );
}

fn unloads_under_load(
    faults: Vec<FaultRule>,
    parameters: &[(String, RegistryValue)],
    unload: fn(&Machine, &str) -> Result<ntbench::NtStatus, MachineError>,
) {
    let folder = tempfile::tempdir().unwrap();
    let path = directories(folder.path(), 3);
    let mut config = config(folder.path());
    // The trace of every callback is of no use here.
    config.trace_capacity = Some(64);
    config.faults = faults;
    let machine = booted(config, parameters);
    let (done, over) = (AtomicU32::new(0), AtomicBool::new(false));
    let until = |count: u32| {
        while done.load(Ordering::Relaxed) < count {
            yield_now();
        }
    };
    scope(|scope| {
        for _ in 0..THREADS {
            let opener = thread(&machine, StackKind::Ordinary);
            let (path, done, over) = (&path, &done, &over);
            scope.spawn(move || {
                let creates = (0_u32..).take_while(|_| !over.load(Ordering::Relaxed));
                for n in creates {
                    // What it is without the driver: the first exists, the second does not.
                    let (name, expected) = match n % 2 {
                        0 => (path.as_str(), NtStatus::SUCCESS),
                        _ => (r"\d01\absent", NtStatus(0xc000_0034)),
                    };
                    assert_eq!(open(&opener, name), expected, "create {n}");
                    done.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        until(CREATES / 3);
        let unloaded = unload(&machine, SERVICE).unwrap();
        assert!(unloaded.is_success(), "unload under load: {unloaded}");
        until(done.load(Ordering::Relaxed) + CREATES / 10);
        assert_eq!(load(&machine, parameters), NtStatus::SUCCESS);
        until(CREATES.max(done.load(Ordering::Relaxed) + CREATES / 10));
        over.store(true, Ordering::Relaxed);
    });
    // The second load saw creates of its own.
    let (anchor, _) = records(&machine);
    assert!(anchor.written > 0);
    end(machine);
}
