//! Every choice comes from the seed: who chooses, and for what, is mixed into it, so that no choice depends on how many others made
//! before it.

use fastrand::Rng;

/// What chooses.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Chooser {
    /// How a round is made.
    Round,
    /// How its stretch of that number is made.
    Stretch(u64),
    /// An opener, for the whole round.
    Opener(u64),
    /// Who makes trouble, for the whole round.
    Trouble(u64),
    /// What an injected defect hits.
    Defect,
    /// When each of several threads runs.
    Schedule,
}

/// The random numbers of one chooser of a round.
pub(crate) fn rng(seed: u64, round: u64, chooser: Chooser) -> Rng {
    let (kind, number) = match chooser {
        Chooser::Round => (1, 0),
        Chooser::Stretch(number) => (2, number),
        Chooser::Opener(number) => (3, number),
        Chooser::Trouble(number) => (4, number),
        Chooser::Defect => (5, 0),
        Chooser::Schedule => (6, 0),
    };
    let mixed = [round, kind, number].into_iter().fold(seed, |mixed, part| {
        // SplitMix64's finisher over each part.
        let mut word = (mixed ^ part).wrapping_add(0x9E37_79B9_7F4A_7C15);
        word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        word ^ (word >> 31)
    });
    Rng::with_seed(mixed)
}

/// One of some.
pub(crate) fn pick<T: Copy>(rng: &mut Rng, from: &[T]) -> T {
    from[rng.usize(0..from.len())]
}
