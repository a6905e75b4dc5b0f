//! The watermarks as one static: what the driver writes to and a debugger finds.

use core::mem::{align_of, offset_of, size_of};

use protocol::{
    IMAGE_NAME_BYTES, MARKS_SIGNATURE, MARKS_VERSION, MarkWords, NEST_SLOTS, PROCESS_SLOTS,
    PROCESS_WAYS, ProcessWords, process_key,
};

use crate::mark::{self, Mark, Sample};
use crate::sync::{AtomicU64, Ordering};
use crate::table::{self, Entry, Noted};

/// A `protocol::Watermarks` that can be written to by many threads at any IRQL. It needs no memory but its own.
#[repr(C, align(64))]
pub struct Watermarks {
    signature: [u8; 16],
    version: u32,
    bytes: u32,
    mark_bytes: u32,
    process_bytes: u32,
    nest_slots: u32,
    process_slots: u32,
    generation: AtomicU64,
    evicted: AtomicU64,
    turned_away: AtomicU64,
    skipped: AtomicU64,
    entering: AtomicU64,
    reserved: u64,
    system: Mark,
    nest: [Mark; NEST_SLOTS],
    processes: [Entry; PROCESS_SLOTS],
}

const _: () = {
    use protocol::Watermarks as Plain;
    assert!(size_of::<Watermarks>() == size_of::<Plain>());
    assert!(align_of::<Watermarks>().is_multiple_of(align_of::<Plain>()));
    assert!(offset_of!(Watermarks, process_slots) == offset_of!(Plain, process_slots));
    assert!(offset_of!(Watermarks, generation) == offset_of!(Plain, generation));
    assert!(offset_of!(Watermarks, evicted) == offset_of!(Plain, evicted));
    assert!(offset_of!(Watermarks, turned_away) == offset_of!(Plain, turned_away));
    assert!(offset_of!(Watermarks, skipped) == offset_of!(Plain, skipped));
    assert!(offset_of!(Watermarks, entering) == offset_of!(Plain, entering));
    assert!(offset_of!(Watermarks, system) == offset_of!(Plain, system));
    assert!(offset_of!(Watermarks, nest) == offset_of!(Plain, nest));
    assert!(offset_of!(Watermarks, processes) == offset_of!(Plain, processes));
    assert!(size_of::<Mark>() == size_of::<MarkWords>());
    assert!(size_of::<Entry>() == size_of::<ProcessWords>());
};

impl Watermarks {
    /// No marks.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "sizes that fit many times")]
    pub const fn new() -> Self {
        Self {
            signature: MARKS_SIGNATURE,
            version: MARKS_VERSION,
            bytes: size_of::<Self>() as u32,
            mark_bytes: size_of::<Mark>() as u32,
            process_bytes: size_of::<Entry>() as u32,
            nest_slots: NEST_SLOTS as u32,
            process_slots: PROCESS_SLOTS as u32,
            generation: AtomicU64::new(1),
            evicted: AtomicU64::new(0),
            turned_away: AtomicU64::new(0),
            skipped: AtomicU64::new(0),
            entering: AtomicU64::new(0),
            reserved: 0,
            system: Mark::new(),
            nest: [const { Mark::new() }; NEST_SLOTS],
            processes: [const { Entry::new() }; PROCESS_SLOTS],
        }
    }

    /// Moves the marks that `sample` goes beyond: the system's and the depth's always, the image's unless that is counted
    /// as turned away or skipped.
    pub fn note(&self, sample: &Sample, image_name: &[u8; IMAGE_NAME_BYTES]) {
        let generation = mark::generation(&self.generation);
        self.system.note(generation, sample);
        let depth = usize::try_from(sample.depth).unwrap_or(usize::MAX);
        if let Some(mark) = self.nest.get(depth.min(NEST_SLOTS - 1)) {
            mark.note(generation, sample);
        }
        let key = process_key(image_name);
        let name = u128::from_le_bytes(*image_name);
        #[expect(clippy::cast_possible_truncation, reason = "the two halves")]
        let name = [name as u64, (name >> 64) as u64];
        let noted = table::note(
            ways(&self.processes, key),
            &self.entering,
            key,
            name,
            generation,
            sample,
        );
        let counter = match noted {
            Noted::Kept => return,
            Noted::Evicted => &self.evicted,
            Noted::TurnedAway => &self.turned_away,
            Noted::Skipped => &self.skipped,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Moves the system's marks alone, for a create of which nothing was learned but what was left of the stack: for want of
    /// stack.
    pub fn note_before(&self, before: u32) {
        let generation = mark::generation(&self.generation);
        self.system.note_before(generation, before);
    }

    /// Starts all marks afresh, and returns the new generation. The counts of what was lost go on.
    ///
    /// What a create finds that is under way meanwhile is a mark of the generation it began in, or none; only its count of
    /// one can go to the next. Generations repeat after 2^32 resets.
    pub fn reset(&self) -> u64 {
        mark::next_generation(&self.generation)
    }

    /// Copies all of it to `plain`, which is large: it had better not lie on a stack.
    ///
    /// Each mark is one that stood; marks that creates move meanwhile may be of before or after that.
    pub fn copy_to(&self, plain: &mut protocol::Watermarks) {
        plain.signature = self.signature;
        plain.version = self.version;
        plain.bytes = self.bytes;
        plain.mark_bytes = self.mark_bytes;
        plain.process_bytes = self.process_bytes;
        plain.nest_slots = self.nest_slots;
        plain.process_slots = self.process_slots;
        plain.generation = self.generation.load(Ordering::Relaxed);
        plain.evicted = self.evicted.load(Ordering::Relaxed);
        plain.turned_away = self.turned_away.load(Ordering::Relaxed);
        plain.skipped = self.skipped.load(Ordering::Relaxed);
        plain.entering = 0;
        plain.reserved = 0;
        plain.system = self.system.words();
        for (to, from) in plain.nest.iter_mut().zip(&self.nest) {
            *to = from.words();
        }
        for (to, from) in plain.processes.iter_mut().zip(&self.processes) {
            *to = from.words();
        }
    }
}

impl Default for Watermarks {
    fn default() -> Self {
        Self::new()
    }
}

/// The entries among which an image has its place.
fn ways(entries: &[Entry], key: u64) -> &[Entry] {
    const SETS: u64 = (PROCESS_SLOTS / PROCESS_WAYS) as u64;
    let first = (key % SETS) as usize * PROCESS_WAYS;
    entries.get(first..first + PROCESS_WAYS).unwrap_or_default()
}
