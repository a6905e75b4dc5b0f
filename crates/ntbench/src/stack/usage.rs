//! How much of the kernel stack a callback uses.
//!
//! Every call out of the driver tells how low its stack pointer was, and every frame that is charged likewise. What the driver does between
//! two calls is seen by a pattern below the callback's entry, of which it leaves the lower part as it was. Callbacks that are called
//! within a callback are measured for themselves; what they use counts for the outer one as something that it called.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::cpu::pcr::{self, Block};
use crate::machine;

/// What no driver writes by chance, not all over the place.
const PATTERN: u8 = 0xA7;
/// How many bytes are compared at once.
const CHUNK: usize = 256;

/// Whether the pattern is written, which costs a microsecond with each callback.
static PAINT: AtomicBool = AtomicBool::new(false);

/// Says whether what a driver does between two calls is to be seen.
pub(super) fn configure(paint: bool) {
    PAINT.store(paint, Ordering::Release);
}

/// How the driver came to the lowest place that its own frames reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Deepest {
    /// Nothing tells.
    Unknown,
    /// By a call out of it, which returns there.
    Call(usize),
    /// By a function that calls nothing, and that was called by the function that this is an address in.
    Below(usize),
}

/// No address of the host's has it.
const BELOW: usize = 1 << 63;

impl Deepest {
    /// As the processor's block has it: the import gate writes what the driver's call returns to, as it is.
    fn of(word: usize) -> Self {
        match word {
            0 => Self::Unknown,
            word if word & BELOW != 0 => Self::Below(word & !BELOW),
            word => Self::Call(word),
        }
    }
}

/// The part of a segment below a callback's entry, or below a segment's top, and how low it was used. The current one is in the
/// processor's block, where each call out of the driver and each frame that is charged finds it.
#[derive(Clone, Copy)]
pub(super) struct Stretch {
    /// The lowest stack pointer of anybody.
    lowest: usize,
    /// The lowest one of the driver's own frames.
    own: usize,
    /// How the driver came there: what [`Deepest::of`] reads.
    deepest: usize,
    /// Where the pattern was written.
    painted: (usize, usize),
    /// The most bytes of a callout's.
    elsewhere: u64,
}

impl Stretch {
    const UNUSED: Self = Self {
        lowest: usize::MAX,
        own: usize::MAX,
        deepest: 0,
        painted: (0, 0),
        elsewhere: 0,
    };

    /// The current one, with all that is known of it.
    #[inline]
    fn of(block: &Block) -> Self {
        let mut now = Self {
            lowest: block.lowest.get(),
            own: block.own_lowest.get(),
            deepest: block.deepest.get(),
            painted: block.painted.get(),
            elsewhere: block.elsewhere.get(),
        };
        if now.painted.0 != now.painted.1 {
            now.look();
        }
        now.lowest = now.lowest.min(now.own);
        now
    }

    /// Looks how far the pattern is gone: below all that was called, it was the driver itself.
    #[cold]
    fn look(&mut self) {
        let written = written(self.painted);
        if written < self.lowest.min(self.own) {
            self.own = written;
            self.deepest = caller(written, self.painted.1);
        }
    }

    /// Makes it the current one.
    #[inline]
    pub(super) fn resume(self, block: &Block) {
        block.lowest.set(self.lowest);
        block.own_lowest.set(self.own);
        block.deepest.set(self.deepest);
        block.painted.set(self.painted);
        block.elsewhere.set(self.elsewhere);
    }

    /// This one, once what it has on a segment that ends at `high` is over.
    pub(super) fn and_elsewhere(self, inner: &Self, high: usize) -> Self {
        let used = high.saturating_sub(inner.lowest) as u64;
        Self {
            elsewhere: self.elsewhere.max(inner.elsewhere).max(used),
            ..self
        }
    }

    /// This one, once what began below it at `sp` is over: it is of the same segment, and not the driver's own.
    pub(super) fn and_below(self, inner: &Self, sp: usize) -> Self {
        Self {
            // The word below is what it returned to.
            lowest: self.lowest.min(inner.lowest).min(sp - 8),
            ..self.and_elsewhere(inner, sp)
        }
    }
}

/// The lowest word in which the pattern is gone; the highest address there is where it is not.
fn written((low, high): (usize, usize)) -> usize {
    let start = std::ptr::with_exposed_provenance::<u8>(low);
    // SAFETY: `paint` wrote these bytes of the thread's own stack, which stay mapped as long as the callback runs on it; the driver, which
    // may change them, does not run now.
    let bytes = unsafe { std::slice::from_raw_parts(start, high - low) };
    let whole = [PATTERN; CHUNK];
    let clean = |chunk: &&[u8]| **chunk == whole[..chunk.len()];
    let chunk = bytes.chunks(CHUNK).take_while(clean).count() * CHUNK;
    let rest = bytes.get(chunk..).unwrap_or_default();
    rest.iter()
        .position(|byte| *byte != PATTERN)
        .map_or(usize::MAX, |at| (low + chunk + at) & !7)
}

/// Who called the function that wrote the lowest, as [`Deepest::of`] reads it: the first word from there on that leads into a driver's code is in that one. Its call is
/// another one, perhaps: each later call of the same function's has put its return address into the same place.
fn caller(from: usize, high: usize) -> usize {
    let word = |at| {
        let word = std::ptr::with_exposed_provenance::<usize>(at);
        // SAFETY: as in `written`: within what `paint` wrote.
        unsafe { word.read_volatile() }
    };
    let mut words = (from..high).step_by(8).map(word);
    words
        .find(|word| machine::in_code(*word))
        .map_or(0, |word| word | BELOW)
}

/// Writes the pattern to all of the current segment that is not in use.
#[cold]
fn paint(block: &Block) -> (usize, usize) {
    let low = block.low.get().next_multiple_of(8);
    // Of an import for which no frame was charged, the return address lies one word below.
    let high = block.kernel_sp.get().saturating_sub(8) & !7;
    let start = std::ptr::with_exposed_provenance_mut::<u8>(low);
    // SAFETY: the committed part of this thread's own segment, below every frame that is in use.
    unsafe { start.write_bytes(PATTERN, high.saturating_sub(low)) };
    (low, high.max(low))
}

/// The thread goes to another segment, or comes back from it: what is known of the one that it leaves.
#[inline]
pub(super) fn leave_segment(block: &Block) -> Stretch {
    Stretch::of(block)
}

/// It is there, at its top.
#[inline]
pub(super) fn enter_segment(block: &Block) {
    let painted = if PAINT.load(Ordering::Acquire) {
        paint(block)
    } else {
        (0, 0)
    };
    Stretch {
        painted,
        ..Stretch::UNUSED
    }
    .resume(block);
}

/// What a callback used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Used {
    /// The lowest stack pointer that was seen, on the segment that it began on. `None`: the callback did not go below its entry.
    pub(crate) lowest: Option<u64>,
    /// Bytes below its entry that the driver's own frames reached, with what lies between them.
    pub(crate) own: u64,
    /// The same with the frames of what it called.
    pub(crate) whole: u64,
    /// The most bytes that a callout of `KeExpandKernelStackAndCalloutEx` had, here or on another segment.
    pub(crate) elsewhere: u64,
    /// How the driver came to the lowest of `own`.
    pub(crate) deepest: Deepest,
}

/// A callback that is being measured.
#[must_use]
pub(crate) struct Measure {
    outer: Stretch,
    entry: usize,
}

impl Measure {
    /// Begins where the newest frame ends.
    pub(crate) fn begin() -> Self {
        let block = pcr::block();
        let outer = Stretch::of(block);
        enter_segment(block);
        Self {
            outer,
            entry: block.kernel_sp.get(),
        }
    }

    /// The callback has returned.
    pub(crate) fn end(self) -> Used {
        let block = pcr::block();
        let inner = Stretch::of(block);
        let below = |sp: usize| match sp {
            usize::MAX => 0,
            sp => self.entry.saturating_sub(sp) as u64,
        };
        let elsewhere = self.outer.elsewhere.max(inner.elsewhere);
        Stretch {
            elsewhere,
            ..self.outer.and_below(&inner, self.entry)
        }
        .resume(block);
        Used {
            lowest: (inner.lowest != usize::MAX).then_some(inner.lowest as u64),
            own: below(inner.own),
            whole: below(inner.lowest),
            elsewhere: inner.elsewhere,
            deepest: Deepest::of(inner.deepest),
        }
    }
}
