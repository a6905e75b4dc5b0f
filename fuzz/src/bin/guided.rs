//! A target under libFuzzer: `FUZZ_TARGET=name guided CORPUS`.
#![no_main]
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

use std::sync::OnceLock;

use fastrand::Rng;
use fuzz::corpus::Seed;
use fuzz::mutate::Pool;
use fuzz::{Target, corpus};
use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};

fn target() -> &'static Target {
    static TARGET: OnceLock<&'static Target> = OnceLock::new();
    TARGET.get_or_init(|| {
        let name = std::env::var("FUZZ_TARGET").unwrap_or_default();
        fuzz::target(&name).expect("FUZZ_TARGET names a target")
    })
}

/// What changes draw on; without what is made by running the driver, which would be fuzzed along.
fn seeds() -> &'static [Seed] {
    static SEEDS: OnceLock<Vec<Seed>> = OnceLock::new();
    SEEDS.get_or_init(|| corpus::kept(target()).unwrap_or_default())
}

fuzz_target!(|data: &[u8]| (target().check)(data));

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    let mut rng = Rng::with_seed(u64::from(seed));
    // libFuzzer's own changes know what is compared with what; ours know the structure.
    if rng.bool() {
        return fuzzer_mutate(data, size, max_size);
    }
    let mut bytes = data[..size].to_vec();
    let pool = Pool {
        seeds: seeds(),
        longest: max_size,
    };
    (target().mutate)(&mut rng, &mut bytes, &pool);
    let length = bytes.len().min(max_size);
    data[..length].copy_from_slice(&bytes[..length]);
    length
});
