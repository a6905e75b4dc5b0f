//! Stack segments: address space with a guard below, committed from the top down.

use std::io;
use std::sync::{Mutex, PoisonError};

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

/// The machine's extra segments: how many are in use, and some free ones.
struct Pool {
    config: StackConfig,
    in_use: u32,
    free: Vec<Segment>,
}

static POOL: Mutex<Option<Pool>> = Mutex::new(None);

/// Why there is no segment.
pub(crate) enum NoSegment {
    /// The machine's limit on segments is reached.
    Limit,
    /// The host has no more memory.
    Memory,
}

fn with_pool<R>(f: impl FnOnce(&mut Pool) -> R) -> R {
    let mut pool = POOL.lock().unwrap_or_else(PoisonError::into_inner);
    f(pool.get_or_insert_with(|| Pool {
        config: StackConfig::default(),
        in_use: 0,
        free: Vec::new(),
    }))
}

/// Sets the machine's limits.
pub(crate) fn configure(config: &StackConfig) {
    with_pool(|pool| pool.config = config.clone());
}

/// A large segment with `commit` bytes usable.
pub(crate) fn acquire(commit: usize) -> Result<Segment, NoSegment> {
    let pooled = with_pool(|pool| {
        if pool.in_use >= pool.config.segment_limit {
            return Err(NoSegment::Limit);
        }
        pool.in_use += 1;
        let fitting = pool
            .free
            .iter()
            .rposition(|segment| segment.committed() == commit);
        Ok(fitting.map(|index| pool.free.swap_remove(index)))
    })?;
    match pooled {
        Some(segment) => Ok(segment),
        None => Segment::new(KERNEL_LARGE_STACK_SIZE, commit).map_err(|_| {
            with_pool(|pool| pool.in_use -= 1);
            NoSegment::Memory
        }),
    }
}

/// Gives a segment back.
pub(crate) fn release(mut segment: Segment) {
    let reusable = segment.shrink().is_ok();
    with_pool(|pool| {
        pool.in_use -= 1;
        if reusable && pool.free.len() < pool.config.pooled_segments as usize {
            pool.free.push(segment);
        }
    });
}
