//! Every input that is kept is read, as it has to be: those to start from, and those that broke something once.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

use fuzz::{TARGETS, corpus};

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
