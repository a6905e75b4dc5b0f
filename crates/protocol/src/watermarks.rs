//! The watermarks: the least stack that was ever left, and the most that was ever used.
//!
//! A record says what one create found; a ring forgets it. These stay until somebody resets them: for the whole system,
//! for each depth of nesting, and for the process images that came closest to the end of their stack.
//!
//! Every mark is one word with the generation it belongs to in its upper half, so that a reset is one increment: a word of
//! an older generation is no mark. See [`lowest`], [`highest`] and [`tally`] for the three kinds of word.

use core::mem::{offset_of, size_of};

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::hash::fnv1a64_bytes;
use crate::{DecodeError, IMAGE_NAME_BYTES, check_size};

/// The first bytes of the watermarks, readable in a hex dump and searched for in a crash dump.
pub const MARKS_SIGNATURE: [u8; 16] = *b"HEADROOM MARKS\0\0";

/// Grows by one whenever a reader of the older layout would misread the newer one.
pub const MARKS_VERSION: u32 = 1;

/// The driver's static that holds the [`Watermarks`].
pub const WATERMARKS_SYMBOL: &str = "HEADROOM_WATERMARKS";

/// Depths of nesting that have marks of their own; the last one collects all deeper ones.
pub const NEST_SLOTS: usize = 32;

/// Process images that have marks of their own.
pub const PROCESS_SLOTS: usize = 64;

/// Images that compete for the same places: an image has its place among those of its [`process_key`]'s remainder.
pub const PROCESS_WAYS: usize = 8;

/// One set of marks.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable,
)]
#[repr(C)]
pub struct MarkWords {
    /// Least stack left where a create arrived: a [`lowest`] word.
    pub lowest_before: u64,
    /// Least stack left where an inspection started: a [`lowest`] word.
    pub lowest_inside: u64,
    /// Most stack that an inspection is known to have used below its start: a [`highest`] word.
    pub most_spent: u64,
    /// Deepest nest: a [`highest`] word.
    pub deepest: u64,
    /// Creates: a [`tally`] word.
    pub creates: u64,
}

/// The marks of one process image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct ProcessWords {
    /// Who uses the entry: see [`entry`].
    pub state: u64,
    /// The image's name, as a record has it.
    pub image_name: [u8; IMAGE_NAME_BYTES],
    /// Its marks.
    pub marks: MarkWords,
}

/// All of them, as they lie in memory, the driver's at a multiple of 64; as a reply of the port carries them, of 8.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Watermarks {
    /// [`MARKS_SIGNATURE`].
    pub signature: [u8; 16],
    /// [`MARKS_VERSION`] of the driver that wrote it.
    pub version: u32,
    /// Size of this structure.
    pub bytes: u32,
    /// Size of [`MarkWords`].
    pub mark_bytes: u32,
    /// Size of [`ProcessWords`].
    pub process_bytes: u32,
    /// [`NEST_SLOTS`].
    pub nest_slots: u32,
    /// [`PROCESS_SLOTS`].
    pub process_slots: u32,
    /// How often the marks were started afresh, from 1. Words of another generation are no marks.
    pub generation: u64,
    /// Images whose marks were given up for those of an image that had come closer to the end of its stack.
    pub evicted: u64,
    /// Creates whose image found its places taken by images that had come closer.
    pub turned_away: u64,
    /// Creates that are missing in their image's marks because its entry was being replaced.
    pub skipped: u64,
    /// Not 0 while an image is being entered.
    pub entering: u64,
    /// Zero.
    pub reserved: u64,
    /// The whole system's.
    pub system: MarkWords,
    /// By nest depth.
    pub nest: [MarkWords; NEST_SLOTS],
    /// By process image.
    pub processes: [ProcessWords; PROCESS_SLOTS],
}

const _: () = {
    assert!(size_of::<MarkWords>() == 40);
    assert!(size_of::<ProcessWords>() == 64);
    assert!(offset_of!(ProcessWords, image_name) == 8);
    assert!(offset_of!(ProcessWords, marks) == 24);
    assert!(offset_of!(Watermarks, version) == 16);
    assert!(offset_of!(Watermarks, nest_slots) == 32);
    assert!(offset_of!(Watermarks, generation) == 40);
    assert!(offset_of!(Watermarks, evicted) == 48);
    assert!(offset_of!(Watermarks, turned_away) == 56);
    assert!(offset_of!(Watermarks, skipped) == 64);
    assert!(offset_of!(Watermarks, entering) == 72);
    assert!(offset_of!(Watermarks, system) == 88);
    assert!(offset_of!(Watermarks, nest) == 128);
    assert!(offset_of!(Watermarks, processes) == 1408);
    assert!(size_of::<Watermarks>() == 5504);
    assert!(PROCESS_SLOTS.is_multiple_of(PROCESS_WAYS));
};

/// A word that keeps the lowest value of its generation: 32 bits of generation, 32 bits of the value's complement. Of two
/// such words the greater one is the one to keep, whichever generations they are of.
pub mod lowest {
    /// The word.
    #[must_use]
    pub const fn word(generation: u64, value: u32) -> u64 {
        super::highest::word(generation, !value)
    }

    /// The value, if the word is of that generation.
    #[must_use]
    pub const fn value(word: u64, generation: u64) -> Option<u32> {
        match super::highest::value(word, generation) {
            Some(complement) => Some(!complement),
            None => None,
        }
    }
}

/// A word that keeps the highest value of its generation: 32 bits of generation, 32 bits of the value.
pub mod highest {
    /// The word.
    #[must_use]
    pub const fn word(generation: u64, value: u32) -> u64 {
        generation << 32 | value as u64
    }

    /// The value, if the word is of that generation.
    #[must_use]
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the lower half is the value"
    )]
    pub const fn value(word: u64, generation: u64) -> Option<u32> {
        if word >> 32 == generation & 0xffff_ffff {
            Some(word as u32)
        } else {
            None
        }
    }
}

/// A word that counts: the generation's lower 16 bits, then 48 bits of the number.
pub mod tally {
    const COUNT: u64 = (1 << 48) - 1;

    /// The word.
    #[must_use]
    pub const fn word(generation: u64, count: u64) -> u64 {
        generation << 48 | count & COUNT
    }

    /// The number; 0 if the word is of another generation.
    #[must_use]
    pub const fn value(word: u64, generation: u64) -> u64 {
        if age(word, generation) == 0 {
            word & COUNT
        } else {
            0
        }
    }

    /// How many generations the word is behind; negative where it is ahead.
    #[must_use]
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_possible_wrap,
        reason = "a difference of generations, taken in 16 bits"
    )]
    pub const fn age(word: u64, generation: u64) -> i16 {
        (generation as u16).wrapping_sub((word >> 48) as u16) as i16
    }
}

/// The state of a process image's entry: 47 bits of key, one bit "being replaced", 16 bits of users.
pub mod entry {
    /// The entry is being replaced: what it holds belongs to nobody.
    pub const REPLACING: u64 = 1 << 16;

    /// The entry of that key, with nobody at it.
    #[must_use]
    pub const fn of(key: u64) -> u64 {
        key << 17
    }

    /// The key; 0: the entry is free.
    #[must_use]
    pub const fn key(state: u64) -> u64 {
        state >> 17
    }

    /// Whether it is being replaced.
    #[must_use]
    pub const fn is_replaced(state: u64) -> bool {
        state & REPLACING != 0
    }

    /// How many threads are at it.
    #[must_use]
    pub const fn users(state: u64) -> u64 {
        state & (REPLACING - 1)
    }
}

/// What an image is known by: 47 bits of its name's hash, never 0. Two names with the same 47 bits share an entry.
#[must_use]
pub const fn process_key(image_name: &[u8; IMAGE_NAME_BYTES]) -> u64 {
    let key = fnv1a64_bytes(image_name) >> 17;
    if key == 0 { 1 } else { key }
}

/// One set of marks, told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Marks {
    /// Least stack left where a create arrived.
    pub lowest_before: Option<u32>,
    /// Least stack left where an inspection started.
    pub lowest_inside: Option<u32>,
    /// Most stack that an inspection is known to have used below its start.
    pub most_spent: Option<u32>,
    /// Deepest nest.
    pub deepest: Option<u32>,
    /// Creates.
    pub creates: u64,
}

impl MarkWords {
    /// The marks of that generation.
    #[must_use]
    pub const fn told(&self, generation: u64) -> Marks {
        Marks {
            lowest_before: lowest::value(self.lowest_before, generation),
            lowest_inside: lowest::value(self.lowest_inside, generation),
            most_spent: highest::value(self.most_spent, generation),
            deepest: highest::value(self.deepest, generation),
            creates: tally::value(self.creates, generation),
        }
    }
}

impl ProcessWords {
    /// An entry of nobody.
    pub const FREE: Self = Self {
        state: 0,
        image_name: [0; IMAGE_NAME_BYTES],
        marks: MarkWords {
            lowest_before: 0,
            lowest_inside: 0,
            most_spent: 0,
            deepest: 0,
            creates: 0,
        },
    };

    /// The image's name, without the zeros that fill it up.
    #[must_use]
    pub fn image(&self) -> &[u8] {
        let used = self.image_name.iter().take_while(|&&byte| byte != 0);
        self.image_name.get(..used.count()).unwrap_or(&[])
    }
}

impl Watermarks {
    /// Reads watermarks from the start of `bytes`, and checks that this reader understands them.
    ///
    /// # Errors
    /// [`DecodeError`], which says what was found and what was expected.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let (marks, _) = Self::read_from_prefix(bytes).map_err(|_| DecodeError::Truncated {
            what: "the watermarks",
            found: bytes.len(),
            expected: size_of::<Self>(),
        })?;
        if marks.signature != MARKS_SIGNATURE {
            return Err(DecodeError::Signature {
                symbol: WATERMARKS_SYMBOL,
                found: marks.signature,
            });
        }
        if marks.version != MARKS_VERSION {
            return Err(DecodeError::Version {
                symbol: WATERMARKS_SYMBOL,
                found: marks.version,
                known: MARKS_VERSION,
            });
        }
        check_size("watermarks", marks.bytes, size_of::<Self>())?;
        check_size("mark", marks.mark_bytes, size_of::<MarkWords>())?;
        check_size(
            "process entry",
            marks.process_bytes,
            size_of::<ProcessWords>(),
        )?;
        check_size("array of depths", marks.nest_slots, NEST_SLOTS)?;
        check_size("array of processes", marks.process_slots, PROCESS_SLOTS)?;
        Ok(marks)
    }

    /// The whole system's marks.
    #[must_use]
    pub const fn system(&self) -> Marks {
        self.system.told(self.generation)
    }

    /// The marks of each depth that has any; the last depth of all stands for the deeper ones too.
    pub fn depths(&self) -> impl Iterator<Item = (usize, Marks)> + '_ {
        let told = self.nest.iter().map(|marks| marks.told(self.generation));
        told.enumerate().filter(|(_, marks)| marks.creates > 0)
    }

    /// The images that have marks, in no order.
    pub fn images(&self) -> impl Iterator<Item = (&[u8], Marks)> + '_ {
        let held = self
            .processes
            .iter()
            .filter(|entry| entry::key(entry.state) != 0 && !entry::is_replaced(entry.state));
        held.map(|entry| (entry.image(), entry.marks.told(self.generation)))
            .filter(|(_, marks)| marks.creates > 0)
    }
}

/// The offsets in `bytes` at which watermarks stand that this reader understands.
pub fn find_watermarks(bytes: &[u8]) -> impl Iterator<Item = (usize, Watermarks)> + '_ {
    bytes
        .windows(MARKS_SIGNATURE.len())
        .enumerate()
        .filter(|(_, window)| **window == MARKS_SIGNATURE)
        .filter_map(|(at, _)| Some((at, Watermarks::decode(bytes.get(at..)?).ok()?)))
}
