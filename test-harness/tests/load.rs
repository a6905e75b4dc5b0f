//! Creates from four threads, the driver unloaded in their midst, loaded again, unloaded again.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod common;

use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::{scope, yield_now};

use common::{boot, config, directories, driver, end, open, records, thread};
use headroom_harness::backend::bench::{self, SERVICE};
use ntbench::wire::StackKind;
use protocol::NtStatus;

const THREADS: u32 = 4;
const CREATES: u32 = 10_000;
const EACH: u32 = CREATES / THREADS;

#[test]
fn unload_in_the_midst_of_creates_and_load_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = directories(folder.path(), 3);
    let mut config = config(folder.path());
    // The trace of every callback is of no use here.
    config.trace_capacity = Some(64);
    let machine = boot(config, &driver());
    let done = AtomicU32::new(0);
    scope(|scope| {
        for _ in 0..THREADS {
            let opener = thread(&machine, StackKind::Ordinary);
            let (path, done) = (&path, &done);
            scope.spawn(move || {
                for n in 0..EACH {
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
        while done.load(Ordering::Relaxed) < CREATES / 3 {
            yield_now();
        }
        let unloaded = machine.unload_driver(SERVICE).unwrap();
        assert!(unloaded.is_success(), "unload under load: {unloaded}");
        let at_unload = done.load(Ordering::Relaxed);
        while done.load(Ordering::Relaxed) < at_unload + CREATES / 10 {
            yield_now();
        }
        bench::load(&machine, &driver()).unwrap();
    });
    assert_eq!(done.into_inner(), CREATES);
    // The second load saw creates of its own.
    let (anchor, _) = records(&machine);
    assert!(anchor.written > 0);
    end(machine);
}
