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
    /// In which order the kinds of stretch come, of the hand of that number.
    Scopes(u64),
    /// In which of a few stretches the driver is reloaded, of the hand of that number.
    Reloads(u64),
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
        Chooser::Scopes(hand) => (7, hand),
        Chooser::Reloads(hand) => (8, hand),
    };
    // SplitMix64's finisher over each part; over the seed first, or rounds of neighbouring seeds would be the same ones in another order.
    let mixed = [seed, round, kind, number]
        .into_iter()
        .fold(0, |mixed: u64, part| {
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

/// The card of that number, where hand after hand of all `cards` is dealt, each shuffled by the random numbers that `shuffler` has for
/// it: so that whatever must come does, in each hand.
pub(crate) fn dealt<T: Copy>(cards: &[T], number: u64, shuffler: impl Fn(u64) -> Rng) -> T {
    let size = cards.len() as u64;
    let mut hand: Vec<usize> = (0..cards.len()).collect();
    shuffler(number / size).shuffle(&mut hand);
    #[expect(clippy::cast_possible_truncation, reason = "less than a length")]
    let at = (number % size) as usize;
    cards[hand[at]]
}

/// Cards that are drawn one by one; when none is left, all are shuffled again.
#[derive(Debug)]
pub(crate) struct Deck<T> {
    all: Vec<T>,
    left: Vec<T>,
}

impl<T: Copy> Deck<T> {
    pub(crate) fn new(all: Vec<T>) -> Self {
        Self {
            all,
            left: Vec::new(),
        }
    }

    pub(crate) fn draw(&mut self, rng: &mut Rng) -> Option<T> {
        if self.left.is_empty() {
            self.left.clone_from(&self.all);
            rng.shuffle(&mut self.left);
        }
        self.left.pop()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_seed_has_rounds_of_its_own() {
        let mut seen = std::collections::HashSet::new();
        for seed in 0..64 {
            for round in 0..64 {
                assert!(seen.insert(rng(seed, round, Chooser::Round).get_seed()));
            }
        }
    }

    #[test]
    fn each_hand_has_every_card() {
        let cards = [1, 2, 2, 3];
        for seed in 0..50 {
            let shuffler = |hand| rng(seed, 0, Chooser::Scopes(hand));
            for hand in 0..3 {
                let mut dealt: Vec<_> = (hand * 4..hand * 4 + 4)
                    .map(|number| dealt(&cards, number, shuffler))
                    .collect();
                dealt.sort_unstable();
                assert_eq!(dealt, cards);
            }
            let (mut deck, mut rng) = (Deck::new(cards.to_vec()), Rng::with_seed(seed));
            let mut drawn: Vec<_> = (0..8).filter_map(|_| deck.draw(&mut rng)).collect();
            drawn.sort_unstable();
            assert_eq!(drawn, [1, 1, 2, 2, 2, 2, 3, 3]);
        }
        assert_eq!(
            Deck::<u8>::new(Vec::new()).draw(&mut Rng::with_seed(1)),
            None
        );
    }
}
