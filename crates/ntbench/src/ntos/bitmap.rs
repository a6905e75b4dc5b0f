//! Bit maps of a driver's memory (`RTL_BITMAP`: how many bits, and where their words are). "RtlInitializeBitMap" and its kin.

use super::memory::Guest;

/// `RTL_BITMAP`.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Bitmap {
    size: u32,
    pad: u32,
    words: *mut u32,
}

const NONE: u32 = u32::MAX;

impl Bitmap {
    pub(super) fn size(&self) -> u32 {
        self.size
    }

    pub(super) fn get(&self, bit: u32) -> bool {
        let word = Guest(self.words).add(bit as usize / 32).read();
        word >> (bit % 32) & 1 != 0
    }

    fn set(&self, bit: u32, on: bool) {
        let at = Guest(self.words).add(bit as usize / 32);
        let mask = 1 << (bit % 32);
        let word = at.read();
        at.write(if on { word | mask } else { word & !mask });
    }

    fn fill(&self, start: u32, count: u32, on: bool) {
        (start..start.saturating_add(count).min(self.size)).for_each(|bit| self.set(bit, on));
    }

    /// Whether so many bits from there on are all like that.
    fn run(&self, start: u32, count: u32, on: bool) -> bool {
        let end = start.checked_add(count);
        count != 0
            && end.is_some_and(|end| end <= self.size)
            && (start..start + count).all(|bit| self.get(bit) == on)
    }

    /// The first run of so many bits from a hint on, then from the beginning.
    fn find(&self, count: u32, hint: u32, on: bool) -> u32 {
        let hint = if hint < self.size { hint } else { 0 };
        if count == 0 {
            // Documented: the hint, at the beginning of its byte.
            return hint & !7;
        }
        let mut starts = (hint..self.size).chain(0..hint);
        starts
            .find(|start| self.run(*start, count, on))
            .unwrap_or(NONE)
    }

    fn count(&self, on: bool) -> u32 {
        let count = (0..self.size).filter(|bit| self.get(*bit) == on).count();
        u32::try_from(count).unwrap_or(NONE)
    }
}

fn found_then_set(map: Guest<Bitmap>, count: u32, hint: u32, on: bool) -> u32 {
    let map = map.read();
    let start = map.find(count, hint, !on);
    if start != NONE {
        map.fill(start, count, on);
    }
    start
}

exports! { "ntoskrnl.exe";
    /// Makes a bit map of words that the driver has.
    fn RtlInitializeBitMap(map: Guest<Bitmap>, words: Guest<u32>, size: u32) {
        map.write(Bitmap { size, pad: 0, words: words.0 });
    }

    /// Sets every bit.
    fn RtlSetAllBits(map: Guest<Bitmap>) {
        let map = map.read();
        map.fill(0, map.size, true);
    }

    /// Clears every bit.
    fn RtlClearAllBits(map: Guest<Bitmap>) {
        let map = map.read();
        map.fill(0, map.size, false);
    }

    /// Sets bits.
    fn RtlSetBits(map: Guest<Bitmap>, start: u32, count: u32) {
        map.read().fill(start, count, true);
    }

    /// Clears bits.
    fn RtlClearBits(map: Guest<Bitmap>, start: u32, count: u32) {
        map.read().fill(start, count, false);
    }

    /// Sets a bit.
    fn RtlSetBit(map: Guest<Bitmap>, bit: u32) {
        map.read().fill(bit, 1, true);
    }

    /// Clears a bit.
    fn RtlClearBit(map: Guest<Bitmap>, bit: u32) {
        map.read().fill(bit, 1, false);
    }

    /// A bit.
    fn RtlTestBit(map: Guest<Bitmap>, bit: u32) -> u8 {
        u8::from(map.read().get(bit))
    }

    /// Whether bits are all set.
    fn RtlAreBitsSet(map: Guest<Bitmap>, start: u32, count: u32) -> u8 {
        u8::from(map.read().run(start, count, true))
    }

    /// Whether bits are all clear.
    fn RtlAreBitsClear(map: Guest<Bitmap>, start: u32, count: u32) -> u8 {
        u8::from(map.read().run(start, count, false))
    }

    /// Where so many bits are clear; all ones: nowhere.
    fn RtlFindClearBits(map: Guest<Bitmap>, count: u32, hint: u32) -> u32 {
        map.read().find(count, hint, false)
    }

    /// Where so many bits are set; all ones: nowhere.
    fn RtlFindSetBits(map: Guest<Bitmap>, count: u32, hint: u32) -> u32 {
        map.read().find(count, hint, true)
    }

    /// Finds clear bits and sets them.
    fn RtlFindClearBitsAndSet(map: Guest<Bitmap>, count: u32, hint: u32) -> u32 {
        found_then_set(map, count, hint, true)
    }

    /// Finds set bits and clears them.
    fn RtlFindSetBitsAndClear(map: Guest<Bitmap>, count: u32, hint: u32) -> u32 {
        found_then_set(map, count, hint, false)
    }

    /// How many bits are set.
    fn RtlNumberOfSetBits(map: Guest<Bitmap>) -> u32 {
        map.read().count(true)
    }

    /// How many bits are clear.
    fn RtlNumberOfClearBits(map: Guest<Bitmap>) -> u32 {
        map.read().count(false)
    }
}
