//! Every input that is kept is read, as it has to be: those to start from, and those that broke something once.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::panic::resume_unwind;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use fuzz::{TARGETS, corpus, input};

/// Each is read in milliseconds; one that is searched for ever must not take the test's name with it.
const PATIENCE: Duration = Duration::from_secs(60);
/// What this process may have used at most: the corpus has images of a gigabyte, of which only what the file fills may be copied.
const MEMORY_KB: u64 = 512 << 10;

#[test]
fn every_kept_input_is_read_soon_and_in_little_memory() {
    let mut read = 0;
    for target in TARGETS.iter().filter(|target| target.guided) {
        for seed in corpus::all(target).expect("the corpus is readable") {
            let name = format!("{}/{}", target.name, seed.name);
            println!("{name}");
            let (done, waiting) = channel();
            let reader = thread::spawn(move || {
                (target.check)(&seed.bytes);
                let _ = done.send(());
            });
            let late = waiting.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout);
            assert!(!late, "{name} is still being read after {PATIENCE:?}");
            reader.join().unwrap_or_else(|panic| resume_unwind(panic));
            let most = most_memory_kb();
            assert!(most < MEMORY_KB, "{most} KB of memory in use with {name}");
            read += 1;
        }
    }
    assert!(read > 40, "{read} inputs: is the corpus there?");
}

/// The most that this process has had in memory.
fn most_memory_kb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux has it");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let number = line.and_then(|line| line.trim().strip_suffix(" kB"));
    number.expect("VmHWM in kB").parse().expect("a number")
}

#[test]
fn every_folder_is_a_targets() {
    let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/corpus");
    for folder in std::fs::read_dir(corpus).expect("the corpus is there") {
        let name = folder.expect("an entry").file_name();
        let name = name.to_string_lossy();
        assert!(
            fuzz::target(&name).is_some(),
            "corpus/{name} is no target's"
        );
    }
}

#[test]
fn inputs_depend_on_seed_and_number_alone_and_vary() {
    for target in TARGETS.iter().filter(|target| target.guided) {
        let seeds = corpus::all(target).expect("the corpus is readable");
        let inputs = |seed: u64| -> Vec<u64> {
            let mut bytes = Vec::new();
            let mut made = |number| {
                input(target, &seeds, seed, number, &mut bytes);
                assert!(bytes.len() <= target.longest, "{}", target.name);
                let mut digest = DefaultHasher::new();
                bytes.hash(&mut digest);
                digest.finish()
            };
            (0..300).map(&mut made).collect()
        };
        let (first, again, other) = (inputs(1), inputs(1), inputs(2));
        assert_eq!(first, again, "{}", target.name);
        assert_ne!(first, other, "{}", target.name);
        let mut distinct = first;
        distinct.sort();
        distinct.dedup();
        assert!(
            distinct.len() > 200,
            "{}: {} different inputs",
            target.name,
            distinct.len()
        );
    }
}
