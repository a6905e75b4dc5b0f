//! Everything of Headroom's that reads what others wrote, under inputs that nobody would write.
//!
//! A [`Target`] is one reader with what must hold of it whatever it reads, the inputs that it starts from (its corpus), and a way to
//! change them that knows their structure. Each runs in two ways from that one definition:
//!
//! * [`run`]: seeded mutations, made again from the seed and their number, on plain stable Rust and with any number of processes. An
//!   input that ends the process is found by its number, made smaller, and kept.
//! * `src/bin/guided.rs`: libFuzzer, which keeps what reaches new code, for as long as one likes.
//!
//! The corpora lie in `corpus/TARGET`. Every input that ever broke something stays there: `tests/corpus.rs` reads them all.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]
#![forbid(unsafe_code)]

pub mod corpus;
pub mod minimise;
pub mod mutate;
pub mod run;
pub mod targets;
pub mod worker;

use fastrand::Rng;

/// One reader, and how it is fuzzed.
pub struct Target {
    /// What commands and folders call it.
    pub name: &'static str,
    /// What reads.
    pub about: &'static str,
    /// Reads an input; panics where something does not hold that must.
    pub check: fn(&[u8]),
    /// Changes an input.
    pub mutate: fn(&mut Rng, &mut Vec<u8>, &mutate::Pool<'_>),
    /// Inputs to start from that are made, beside those of the corpus's folder.
    pub seeds: fn() -> Vec<corpus::Seed>,
    /// The longest input, in bytes.
    pub longest: usize,
    /// How many inputs a short run has.
    pub quick: u64,
    /// Whether coverage can guide it: what is checked runs in this process, not in the driver.
    pub guided: bool,
}

/// All of them.
pub const TARGETS: &[Target] = targets::ALL;

/// The target of that name.
#[must_use]
pub fn target(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}

/// The input of that number: first each seed as it is, so that every run reads all that ever broke something; then a seed, changed a few
/// times, or now and then none and only noise.
pub fn input(target: &Target, seeds: &[corpus::Seed], seed: u64, number: u64, input: &mut Vec<u8>) {
    let mut rng = Rng::with_seed(seed ^ number.wrapping_mul(0x9E37_79B9_7F4A_7C15));
    input.clear();
    let as_it_is = usize::try_from(number).ok().and_then(|at| seeds.get(at));
    if let Some(as_it_is) = as_it_is {
        input.extend_from_slice(&as_it_is.bytes);
        return;
    }
    let pool = mutate::Pool {
        seeds,
        longest: target.longest,
    };
    if seeds.is_empty() || rng.u32(0..64) == 0 {
        let length = rng.usize(0..=target.longest.min(512));
        input.resize(length, 0);
        rng.fill(input);
        return;
    }
    input.extend_from_slice(&seeds[rng.usize(0..seeds.len())].bytes);
    // Mostly few changes: what is broken in ten places is refused at the first.
    for _ in 0..1 + rng.u32(0..4) * rng.u32(0..2) {
        (target.mutate)(&mut rng, input, &pool);
        input.truncate(target.longest);
    }
}
