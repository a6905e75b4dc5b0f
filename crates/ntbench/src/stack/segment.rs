//! Stack segments: address space with a guard below, committed from the top down.

use std::cell::Cell;
use std::io;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::cpu::memory::{Access, Mapping, PAGE};
use crate::wire::{SegmentInfo, StackConfig};

/// `KERNEL_STACK_SIZE` on x64.
pub(crate) const KERNEL_STACK_SIZE: usize = 0x6000;
/// `KERNEL_LARGE_STACK_SIZE` on x64.
pub(crate) const KERNEL_LARGE_STACK_SIZE: usize = 0x1_2000;

/// Address space that stays unmapped below a segment. Windows has one page; more of it catches frames that step over a
/// page without probing it, which would be silent damage otherwise.
const GUARD: usize = 0x1_0000;

/// One stack segment.
#[derive(Debug)]
pub(crate) struct Segment {
    mapping: Mapping,
    high: usize,
    reserve_low: usize,
    low: usize,
    initial_low: usize,
}

impl Segment {
    /// A segment of `reserve` bytes of which `commit` can be used at once.
    pub(crate) fn new(reserve: usize, commit: usize) -> io::Result<Self> {
        assert!(reserve.is_multiple_of(PAGE) && commit.is_multiple_of(PAGE) && commit <= reserve);
        let mapping = Mapping::reserve(GUARD + reserve + PAGE)?;
        let reserve_low = mapping.base() + GUARD;
        let high = reserve_low + reserve;
        let low = high - commit;
        mapping.protect(low, high, Access::READ_WRITE)?;
        Ok(Self {
            mapping,
            high,
            reserve_low,
            low,
            initial_low: low,
        })
    }

    /// The lowest usable address.
    pub(crate) fn low(&self) -> usize {
        self.low
    }

    /// One past the highest usable address.
    pub(crate) fn high(&self) -> usize {
        self.high
    }

    /// The lowest address of its guard.
    pub(crate) fn guard(&self) -> usize {
        self.mapping.base()
    }

    /// Makes everything down to `low` usable, if the reserve has it.
    pub(crate) fn grow(&mut self, low: usize) -> io::Result<bool> {
        let low = low & !(PAGE - 1);
        if low < self.reserve_low {
            return Ok(false);
        }
        if low < self.low {
            self.mapping.protect(low, self.low, Access::READ_WRITE)?;
            self.low = low;
        }
        Ok(true)
    }

    /// Takes back what [`Self::grow`] gave, so that a reused segment is like a new one.
    fn shrink(&mut self) -> io::Result<()> {
        if self.low < self.initial_low {
            self.mapping
                .protect(self.low, self.initial_low, Access::NONE)?;
            self.low = self.initial_low;
        }
        Ok(())
    }

    fn committed(&self) -> usize {
        self.high - self.initial_low
    }

    /// As the wire has it.
    pub(crate) fn info(&self) -> SegmentInfo {
        SegmentInfo {
            low: self.low as u64,
            high: self.high as u64,
            reserve_low: self.reserve_low as u64,
        }
    }
}

/// How many extra segments the machine may have, and how many of them are kept free.
static LIMIT: AtomicU32 = AtomicU32::new(1024);
static POOLED: AtomicU32 = AtomicU32::new(32);
/// How many are in use.
static IN_USE: AtomicU32 = AtomicU32::new(0);
/// Free ones, for whichever thread needs one.
static FREE: Mutex<Vec<Segment>> = Mutex::new(Vec::new());

thread_local! {
    /// The one that this thread gave back last: most expansions take that, and ask nobody.
    static SPARE: Cell<Option<Segment>> = const { Cell::new(None) };
}

/// Why there is no segment.
pub(crate) enum NoSegment {
    /// The machine's limit on segments is reached.
    Limit,
    /// The host has no more memory.
    Memory,
}

/// Sets the machine's limits.
pub(crate) fn configure(config: &StackConfig) {
    LIMIT.store(config.segment_limit, Ordering::Relaxed);
    POOLED.store(config.pooled_segments, Ordering::Relaxed);
}

fn free() -> MutexGuard<'static, Vec<Segment>> {
    FREE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A large segment with `commit` bytes usable.
pub(crate) fn acquire(commit: usize) -> Result<Segment, NoSegment> {
    let limit = LIMIT.load(Ordering::Relaxed);
    if IN_USE.fetch_add(1, Ordering::Relaxed) >= limit {
        IN_USE.fetch_sub(1, Ordering::Relaxed);
        return Err(NoSegment::Limit);
    }
    let fits = |segment: &Segment| segment.committed() == commit;
    let pooled = match SPARE.take() {
        Some(spare) if fits(&spare) => Some(spare),
        other => {
            SPARE.set(other);
            let mut free = free();
            let fitting = free.iter().rposition(fits);
            fitting.map(|index| free.swap_remove(index))
        }
    };
    match pooled {
        Some(segment) => Ok(segment),
        None => Segment::new(KERNEL_LARGE_STACK_SIZE, commit).map_err(|_| {
            IN_USE.fetch_sub(1, Ordering::Relaxed);
            NoSegment::Memory
        }),
    }
}

/// Gives a segment back.
pub(crate) fn release(mut segment: Segment) {
    IN_USE.fetch_sub(1, Ordering::Relaxed);
    let kept = POOLED.load(Ordering::Relaxed) as usize;
    if segment.shrink().is_err() || kept == 0 {
        return;
    }
    // The newest stays with the thread, since its pages are the warmest.
    if let Some(older) = SPARE.replace(Some(segment)) {
        let mut free = free();
        if free.len() < kept {
            free.push(older);
        }
    }
}
