//! The bounded table of process images.
//!
//! An image has its place among a few ways, chosen by its key. Where all are taken, the image whose lowest mark is the
//! highest, the least worrying one, makes room, but only for an image that has come closer to the end of its stack. So an
//! entry is only ever replaced by a more worrying one, and the images that came closest stay.
//!
//! The state word says who is at an entry: a thread that moves its marks adds itself to the users, looks whether the entry
//! still is the image's, and takes itself off again. Whoever replaces an entry does so only from no users, with one
//! compare-and-swap; those that come meanwhile see it and leave. So no create's sample lands in another image's marks.

use core::hint::spin_loop;

use protocol::{IMAGE_NAME_BYTES, MarkWords, ProcessWords, entry};

use crate::mark::{Mark, Sample};
use crate::sync::{AtomicU64, Ordering};

/// Tries to enter an image while others are entered or at work in the entry to be replaced. Loom explores each.
const ENTER_TRIES: u32 = if cfg!(feature = "loom") { 2 } else { 64 };

/// `protocol::ProcessWords` that can be written to by many threads.
#[repr(C)]
pub struct Entry {
    state: AtomicU64,
    name: [AtomicU64; 2],
    marks: Mark,
}

const _: () = assert!(IMAGE_NAME_BYTES == 16);

/// What became of a sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Noted {
    /// It is in its image's marks.
    Kept,
    /// It is, and another image's marks were given up for it.
    Evicted,
    /// Every place is taken by an image that has come closer to the end of its stack.
    TurnedAway,
    /// Others were at it for as long as was tried.
    Skipped,
}

impl Entry {
    /// An entry of nobody.
    #[cfg(not(feature = "loom"))]
    #[must_use]
    pub const fn new() -> Self {
        Self {
            state: AtomicU64::new(0),
            name: [const { AtomicU64::new(0) }; 2],
            marks: Mark::new(),
        }
    }

    /// An entry of nobody.
    #[cfg(feature = "loom")]
    #[must_use]
    pub fn new() -> Self {
        Self {
            state: AtomicU64::new(0),
            name: [AtomicU64::new(0), AtomicU64::new(0)],
            marks: Mark::new(),
        }
    }

    /// Becomes a user of the entry, if it is `key`'s.
    fn join(&self, key: u64) -> bool {
        if entry::key(self.state.load(Ordering::Relaxed)) != key {
            return false;
        }
        // Acquire: the marks as the thread that entered this image left them.
        let seen = self.state.fetch_add(1, Ordering::Acquire);
        let ours = entry::key(seen) == key && !entry::is_replaced(seen);
        if !ours {
            self.leave();
        }
        ours
    }

    fn leave(&self) {
        // Release: whoever replaces the entry does so after all that its users did.
        self.state.fetch_sub(1, Ordering::Release);
    }

    /// What there is to lose: the lower, the more worrying.
    fn standing(&self, generation: u64) -> u64 {
        if entry::key(self.state.load(Ordering::Relaxed)) == 0 {
            u64::MAX
        } else {
            self.marks
                .lowest_before(generation)
                .map_or(1 << 32, u64::from)
        }
    }

    /// Gives the entry to `key`, if nobody is at it and it still is less worrying than `sample`. Returns whether there
    /// were marks to give up.
    fn replace(&self, key: u64, name: [u64; 2], generation: u64, sample: &Sample) -> Option<bool> {
        let held = self.state.load(Ordering::Relaxed);
        if entry::users(held) != 0 || entry::is_replaced(held) {
            return None;
        }
        let replacing = held | entry::REPLACING;
        self.state
            .compare_exchange(held, replacing, Ordering::Acquire, Ordering::Relaxed)
            .ok()?;
        let standing = self.standing(generation);
        if standing <= u64::from(sample.before) {
            // It has come closer meanwhile. Relaxed: nothing was written that others would have to see.
            self.state.fetch_sub(entry::REPLACING, Ordering::Relaxed);
            return None;
        }
        self.marks.clear();
        for (word, part) in self.name.iter().zip(name) {
            word.store(part, Ordering::Relaxed);
        }
        self.marks.note(generation, sample);
        // Those that came meanwhile have added themselves and will take themselves off: a difference keeps their count.
        let change = entry::of(key).wrapping_sub(replacing);
        self.state.fetch_add(change, Ordering::Release);
        Some(standing < 1 << 32)
    }

    /// What stands.
    #[must_use]
    pub fn words(&self) -> ProcessWords {
        let key = entry::key(self.state.load(Ordering::Relaxed));
        if key == 0 || !self.join(key) {
            return ProcessWords::FREE;
        }
        let [low, high] = &self.name;
        let (low, high) = (low.load(Ordering::Relaxed), high.load(Ordering::Relaxed));
        let words = ProcessWords {
            state: entry::of(key),
            image_name: (u128::from(low) | u128::from(high) << 64).to_le_bytes(),
            marks: self.marks.words(),
        };
        self.leave();
        words
    }
}

impl Default for Entry {
    fn default() -> Self {
        Self::new()
    }
}

/// The marks that are those of an image's name, if it has an entry in `ways`.
#[must_use]
pub fn find(ways: &[Entry], key: u64) -> Option<MarkWords> {
    let entry = ways.iter().find(|entry| entry.join(key))?;
    let words = entry.marks.words();
    entry.leave();
    Some(words)
}

/// Puts a sample into its image's marks, and enters the image where it is not there yet. `entering` is 0 while nobody does
/// that; it is tried, never waited for.
pub fn note(
    ways: &[Entry],
    entering: &AtomicU64,
    key: u64,
    name: [u64; 2],
    generation: u64,
    sample: &Sample,
) -> Noted {
    if known(ways, key, generation, sample) {
        return Noted::Kept;
    }
    for _ in 0..ENTER_TRIES {
        if entering
            .compare_exchange(0, 1, Ordering::Acquire, Ordering::Relaxed)
            .is_ok()
        {
            let noted = enter(ways, key, name, generation, sample);
            entering.store(0, Ordering::Release);
            if let Some(noted) = noted {
                return noted;
            }
        }
        spin_loop();
        // Another create of this image may just have entered it.
        if known(ways, key, generation, sample) {
            return Noted::Kept;
        }
    }
    Noted::Skipped
}

fn known(ways: &[Entry], key: u64, generation: u64, sample: &Sample) -> bool {
    let Some(entry) = ways.iter().find(|entry| entry.join(key)) else {
        return false;
    };
    entry.marks.note(generation, sample);
    entry.leave();
    true
}

/// One try; `None` where another thread was at the entry. For the one thread that enters.
fn enter(
    ways: &[Entry],
    key: u64,
    name: [u64; 2],
    generation: u64,
    sample: &Sample,
) -> Option<Noted> {
    // Nobody enters an image beside us: if it is not there now, it will not come twice.
    if known(ways, key, generation, sample) {
        return Some(Noted::Kept);
    }
    let standing = |entry: &&Entry| entry.standing(generation);
    let victim = ways.iter().max_by_key(standing)?;
    if victim.standing(generation) <= u64::from(sample.before) {
        return Some(Noted::TurnedAway);
    }
    let evicted = victim.replace(key, name, generation, sample)?;
    Some(if evicted { Noted::Evicted } else { Noted::Kept })
}
