//! One set of marks, that any number of threads move at once.
//!
//! A mark only ever becomes more extreme within its generation, and the words are made so that the greater one is the one
//! to keep (`protocol::lowest`, `protocol::highest`). So a mark that stands is one load, which is what nearly every create
//! finds; a mark that has to move is a compare-and-swap, and one that fails means that another thread moved it further.

use protocol::{MarkWords, highest, lowest, tally};

use crate::sync::{AtomicU64, Ordering};

/// What one create found, as far as the marks keep it.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// Bytes of stack left where the create arrived.
    pub before: u32,
    /// Bytes left where its inspection started, where one ran.
    pub inside: Option<u32>,
    /// Bytes that the inspection is known to have used below its start: from there down to the lowest point at which it
    /// measured again.
    pub spent: Option<u32>,
    /// How deep the create was nested.
    pub depth: u32,
}

/// `protocol::MarkWords` that can be written to by many threads.
#[repr(C)]
pub struct Mark {
    lowest_before: AtomicU64,
    lowest_inside: AtomicU64,
    most_spent: AtomicU64,
    deepest: AtomicU64,
    creates: AtomicU64,
}

impl Mark {
    /// No marks.
    #[cfg(not(feature = "loom"))]
    #[must_use]
    pub const fn new() -> Self {
        Self {
            lowest_before: AtomicU64::new(0),
            lowest_inside: AtomicU64::new(0),
            most_spent: AtomicU64::new(0),
            deepest: AtomicU64::new(0),
            creates: AtomicU64::new(0),
        }
    }

    /// No marks.
    #[cfg(feature = "loom")]
    #[must_use]
    pub fn new() -> Self {
        let zero = || AtomicU64::new(0);
        Self {
            lowest_before: zero(),
            lowest_inside: zero(),
            most_spent: zero(),
            deepest: zero(),
            creates: zero(),
        }
    }

    /// Moves the marks that `sample` goes beyond.
    pub fn note(&self, generation: u64, sample: &Sample) {
        raise(&self.lowest_before, lowest::word(generation, sample.before));
        if let Some(inside) = sample.inside {
            raise(&self.lowest_inside, lowest::word(generation, inside));
        }
        if let Some(spent) = sample.spent {
            raise(&self.most_spent, highest::word(generation, spent));
        }
        raise(&self.deepest, highest::word(generation, sample.depth));
        count(&self.creates, generation);
    }

    /// As [`note`](Self::note), where nothing but that is known.
    pub fn note_before(&self, generation: u64, before: u32) {
        raise(&self.lowest_before, lowest::word(generation, before));
        count(&self.creates, generation);
    }

    /// What stands.
    #[must_use]
    pub fn words(&self) -> MarkWords {
        MarkWords {
            lowest_before: self.lowest_before.load(Ordering::Relaxed),
            lowest_inside: self.lowest_inside.load(Ordering::Relaxed),
            most_spent: self.most_spent.load(Ordering::Relaxed),
            deepest: self.deepest.load(Ordering::Relaxed),
            creates: self.creates.load(Ordering::Relaxed),
        }
    }

    pub(crate) fn lowest_before(&self, generation: u64) -> Option<u32> {
        lowest::value(self.lowest_before.load(Ordering::Relaxed), generation)
    }

    /// Forgets everything. For the one thread that has the marks to itself.
    pub(crate) fn clear(&self) {
        self.lowest_before.store(0, Ordering::Relaxed);
        self.lowest_inside.store(0, Ordering::Relaxed);
        self.most_spent.store(0, Ordering::Relaxed);
        self.deepest.store(0, Ordering::Relaxed);
        self.creates.store(0, Ordering::Relaxed);
    }
}

impl Default for Mark {
    fn default() -> Self {
        Self::new()
    }
}

/// The generation that marks are of now. Relaxed: each mark carries the generation that it is of.
pub fn generation(word: &AtomicU64) -> u64 {
    word.load(Ordering::Relaxed)
}

/// Begins the next generation: all marks start afresh.
pub fn next_generation(word: &AtomicU64) -> u64 {
    word.fetch_add(1, Ordering::Relaxed).wrapping_add(1)
}

/// Makes the word at least `to`.
fn raise(word: &AtomicU64, to: u64) {
    let mut seen = word.load(Ordering::Relaxed);
    while seen < to {
        match word.compare_exchange(seen, to, Ordering::Relaxed, Ordering::Relaxed) {
            Ok(_) => return,
            Err(now) => seen = now,
        }
    }
}

/// Counts one. A thread that is a generation late is not counted, or, where the generation ends between its two steps,
/// counts for the next.
fn count(word: &AtomicU64, generation: u64) {
    let mut seen = word.load(Ordering::Relaxed);
    // Only the first creates of a generation come here more than once.
    while tally::age(seen, generation) > 0 {
        let first = tally::word(generation, 1);
        match word.compare_exchange(seen, first, Ordering::Relaxed, Ordering::Relaxed) {
            Ok(_) => return,
            Err(now) => seen = now,
        }
    }
    if tally::age(seen, generation) == 0 {
        word.fetch_add(1, Ordering::Relaxed);
    }
}
