//! The names of process images, kept from one create to the next.
//!
//! The kernel gives a process's image name in pool that has to be freed, which costs more than all else that a record says of
//! a create. The name never changes, so a few are kept, each in a place that its process's address chooses.
//!
//! Nobody waits, and nothing has an order: what lies in a place is followed by its sum, and words of two names that were
//! written at once do not add up, but for one in 2^64. Whoever finds no name looks it up.

use protocol::IMAGE_NAME_BYTES;

use crate::sync::{AtomicU64, Ordering};

/// Places; processes that share one take turns.
#[cfg(not(feature = "loom"))]
const PLACES: usize = 64;

/// A process, told from all others: an address and an identifier are given to other processes again, but not to one that
/// was made in the same instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Process {
    /// The address of its object; not 0.
    pub object: u64,
    /// Its identifier.
    pub id: u64,
    /// When it was made.
    pub created: u64,
}

/// One name, that any number of threads read and write.
#[repr(align(64))]
pub struct Place {
    process: [AtomicU64; 3],
    name: [AtomicU64; 2],
    sum: AtomicU64,
}

/// An image's name, as records have it.
type Name = [u8; IMAGE_NAME_BYTES];

const _: () = assert!(IMAGE_NAME_BYTES == 16);

impl Process {
    const fn words(&self) -> [u64; 3] {
        [self.object, self.id, self.created]
    }
}

/// What words add up to; never what words that are all zero say.
fn sum(process: [u64; 3], name: [u64; 2]) -> u64 {
    let step = |sum: u64, word: u64| {
        let mixed = (sum ^ word).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        mixed ^ mixed >> 32
    };
    process.into_iter().chain(name).fold(1, step)
}

impl Place {
    /// A place with no name.
    #[cfg(not(feature = "loom"))]
    #[must_use]
    pub const fn new() -> Self {
        Self {
            process: [const { AtomicU64::new(0) }; 3],
            name: [const { AtomicU64::new(0) }; 2],
            sum: AtomicU64::new(0),
        }
    }

    /// A place with no name.
    #[cfg(feature = "loom")]
    #[must_use]
    pub fn new() -> Self {
        let zero = || AtomicU64::new(0);
        Self {
            process: [zero(), zero(), zero()],
            name: [zero(), zero()],
            sum: zero(),
        }
    }

    /// The name of that process, if it is here.
    pub fn find(&self, process: &Process) -> Option<Name> {
        let load = |word: &AtomicU64| word.load(Ordering::Relaxed);
        let found = self.process.each_ref().map(load);
        if found != process.words() {
            return None;
        }
        let name = self.name.each_ref().map(load);
        let [low, high] = name;
        (load(&self.sum) == sum(found, name))
            .then(|| (u128::from(low) | u128::from(high) << 64).to_le_bytes())
    }

    /// Puts a name here.
    pub fn keep(&self, process: &Process, name: &Name) {
        let name = u128::from_le_bytes(*name);
        #[expect(clippy::cast_possible_truncation, reason = "the two halves")]
        let name = [name as u64, (name >> 64) as u64];
        let process = process.words();
        let words = self.process.iter().chain(&self.name);
        for (word, value) in words.zip(process.into_iter().chain(name)) {
            word.store(value, Ordering::Relaxed);
        }
        self.sum.store(sum(process, name), Ordering::Relaxed);
    }
}

impl Default for Place {
    fn default() -> Self {
        Self::new()
    }
}

/// The names that are kept.
#[cfg(not(feature = "loom"))]
pub struct ImageNames([Place; PLACES]);

#[cfg(not(feature = "loom"))]
impl ImageNames {
    /// None.
    #[must_use]
    pub const fn new() -> Self {
        Self([const { Place::new() }; PLACES])
    }

    /// The place of a process.
    #[inline]
    fn place(&self, process: &Process) -> Option<&Place> {
        // Objects lie at some power of two: the upper bits of a product have something of every bit.
        let mixed = process.object.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        self.0.get((mixed >> (64 - PLACES.ilog2())) as usize)
    }

    /// The name of that process's image, if it is kept.
    ///
    /// Not inlined, and neither is [`keep`](Self::keep): their words would lie on the stack below what the caller asks the
    /// kernel.
    #[inline(never)]
    #[must_use]
    pub fn find(&self, process: &Process) -> Option<Name> {
        self.place(process)?.find(process)
    }

    /// Keeps a name.
    #[inline(never)]
    pub fn keep(&self, process: &Process, name: &Name) {
        if let Some(place) = self.place(process) {
            place.keep(process, name);
        }
    }
}

#[cfg(not(feature = "loom"))]
impl Default for ImageNames {
    fn default() -> Self {
        Self::new()
    }
}
