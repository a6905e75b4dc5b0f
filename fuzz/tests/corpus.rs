//! Every input that is kept is read, as it has to be: those to start from, and those that broke something once.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

use fuzz::{TARGETS, corpus, input};

#[test]
fn every_kept_input_is_read() {
    let mut read = 0;
    for target in TARGETS.iter().filter(|target| target.guided) {
        for seed in corpus::all(target).expect("the corpus is readable") {
            println!("{} {}", target.name, seed.name);
            (target.check)(&seed.bytes);
            read += 1;
        }
    }
    assert!(read > 40, "{read} inputs: is the corpus there?");
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
        let inputs = |seed: u64| -> Vec<Vec<u8>> {
            let made = |number| {
                let mut bytes = Vec::new();
                input(target, &seeds, seed, number, &mut bytes);
                bytes
            };
            (0..300).map(made).collect()
        };
        let (first, again, other) = (inputs(1), inputs(1), inputs(2));
        assert_eq!(first, again, "{}", target.name);
        assert_ne!(first, other, "{}", target.name);
        assert!(first.iter().all(|bytes| bytes.len() <= target.longest));
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
