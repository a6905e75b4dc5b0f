//! Single steps of the create path, each in a loop, so that one call costs many of them and looking at the clock none.
//!
//! Each is exported under its own name and takes numbers only. They are the code of the crates that the real driver is made
//! of, compiled as that is.

use core::hint::black_box;

use fltmgr::{NtStatus, PoolBytes, Tag};
use kstack::{Reservation, Wait, with_reservation};
use protocol::{IMAGE_NAME_BYTES, Record};
use recorder::{Recorder, Sample, Watermarks};

/// Slots of the rings: what the real driver has as installed, and the most that it can have.
const SLOTS: [usize; 2] = [
    protocol::Config::DEFAULT.log_capacity as usize,
    protocol::MAXIMUM_LOG_CAPACITY as usize,
];
const TAG: Tag = Tag::new(b"YstR");

static RINGS: [Recorder; 2] = [Recorder::new(), Recorder::new()];
static WATERMARKS: Watermarks = Watermarks::new();

/// The ring with the fewest slots that are at least so many.
fn ring(slots: u64) -> &'static Recorder {
    let [usual, largest] = &RINGS;
    if slots <= SLOTS[0] as u64 {
        usual
    } else {
        largest
    }
}

/// A ring's memory; dropped, it goes back to the pool.
struct Memory {
    ring: &'static Recorder,
    bytes: usize,
}

/// The memory of both.
pub(crate) struct Rings {
    _usual: Memory,
    _largest: Memory,
}

impl Rings {
    /// Allocates them. <= `DISPATCH_LEVEL`.
    pub(crate) fn start() -> Result<Self, NtStatus> {
        let [usual, largest] = &RINGS;
        Ok(Self {
            _usual: Memory::start(usual, SLOTS[0])?,
            _largest: Memory::start(largest, SLOTS[1])?,
        })
    }
}

impl Memory {
    fn start(ring: &'static Recorder, slots: usize) -> Result<Self, NtStatus> {
        let bytes = Recorder::ring_bytes(slots).ok_or(NtStatus::INVALID_PARAMETER)?;
        let memory = PoolBytes::try_zeroed(TAG, bytes)
            .ok_or(NtStatus::INSUFFICIENT_RESOURCES)?
            .into_raw();
        // SAFETY: the memory is as long and as aligned as a ring of that many slots has to be, and nobody else's. Set-up is
        // single-threaded.
        match unsafe { ring.attach(memory, slots, 0) } {
            Ok(()) => Ok(Self { ring, bytes }),
            Err(_) => {
                // SAFETY: given away above; the recorder has not taken it.
                drop(unsafe { PoolBytes::from_raw(TAG, memory, bytes) });
                Err(NtStatus::INVALID_PARAMETER)
            }
        }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: dropped where nothing here is called any more.
        if let Some(memory) = unsafe { self.ring.detach() } {
            // SAFETY: given away by `start` with this length, and detached once.
            drop(unsafe { PoolBytes::from_raw(TAG, memory, self.bytes) });
        }
    }
}

/// Nothing: what calling a driver and coming back costs.
#[unsafe(no_mangle)]
pub extern "system" fn yardstick_nothing() {}

/// Asks for the limits of the stack: what the cheapest call of the kernel costs.
#[unsafe(no_mangle)]
pub extern "system" fn yardstick_limits(times: u64) {
    for _ in 0..times {
        black_box(kstack::limits());
    }
}

/// Asks for `bytes` of stack and does nothing with it. Returns how often it was granted. <= `DISPATCH_LEVEL`.
#[unsafe(no_mangle)]
pub extern "system" fn yardstick_expand(bytes: u64, times: u64) -> u64 {
    let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
    let Ok(reservation) = Reservation::try_new(bytes) else {
        return 0;
    };
    let mut granted = 0;
    for _ in 0..times {
        if with_reservation(reservation, Wait::Never, || black_box(())).is_ok() {
            granted += 1;
        }
    }
    granted
}

/// Asks for `bytes` of stack once, and `times` more for `then` bytes from there. Returns how often that was granted.
/// <= `DISPATCH_LEVEL`.
#[unsafe(no_mangle)]
pub extern "system" fn yardstick_expand_within(bytes: u64, then: u64, times: u64) -> u64 {
    let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
    Reservation::try_new(bytes).map_or(0, |reservation| {
        with_reservation(reservation, Wait::Never, || yardstick_expand(then, times)).unwrap_or(0)
    })
}

/// Takes a record, fills in what costs nothing to know, and files it, in the ring with so many slots. Returns how many were
/// filed.
#[unsafe(no_mangle)]
pub extern "system" fn yardstick_record(slots: u64, times: u64) -> u64 {
    let ring = ring(slots);
    let mut filed = 0;
    for number in 0..times {
        if let Some(mut record) = ring.claim() {
            fill(&mut record, number);
            record.commit();
            filed += 1;
        }
    }
    filed
}

fn fill(record: &mut Record, number: u64) {
    record.qpc = number;
    record.system_time = number;
    record.before_remaining = 0x4000;
    record.inside_remaining = 0x5000;
    record.after_remaining = 0x4000;
}

/// What [`yardstick_worst`] counts by: sixteen steps for each power of two, so within a sixteenth.
const STEPS: usize = 16;
/// Powers of two; what takes longer counts with the last.
const POWERS: usize = 36;

/// The processor's own clock.
#[cfg(target_arch = "x86_64")]
#[unsafe(no_mangle)]
pub extern "system" fn yardstick_ticks() -> u64 {
    // SAFETY: no requirements.
    unsafe { core::arch::x86_64::_rdtsc() }
}

/// Files records in the ring with so many slots, as [`yardstick_record`] does, and looks at the clock around each. Returns the
/// ticks that so many of a thousand of them did not exceed, of 1,000 the slowest one's; all ones where more than one in a thousand
/// was not filed. A claim gives up rather than wait for a writer that the processor was taken from, and that counts as it took.
#[cfg(target_arch = "x86_64")]
#[unsafe(no_mangle)]
pub extern "system" fn yardstick_worst(slots: u64, per_mille: u64, times: u64) -> u64 {
    let ring = ring(slots);
    let mut counts = [0_u32; STEPS * POWERS];
    let mut slowest = 0;
    let mut lost = 0;
    for number in 0..times {
        let began = yardstick_ticks();
        if let Some(mut record) = ring.claim() {
            fill(&mut record, number);
            record.commit();
        } else {
            lost += 1;
        }
        let took = yardstick_ticks().saturating_sub(began).max(1);
        slowest = took.max(slowest);
        let power = took.ilog2();
        let step = (took << 4 >> power) as usize & (STEPS - 1);
        let place = (power as usize * STEPS + step).min(STEPS * POWERS - 1);
        if let Some(count) = counts.get_mut(place) {
            *count += 1;
        }
    }
    if lost > times / 1_000 {
        return u64::MAX;
    }
    if per_mille >= 1_000 {
        return slowest;
    }
    let most = times * per_mille / 1_000;
    let mut seen = 0;
    for (place, count) in counts.iter().enumerate() {
        seen += u64::from(*count);
        if seen >= most {
            let (power, step) = (place / STEPS, place % STEPS);
            return ((STEPS + step) as u64) << power >> 4;
        }
    }
    slowest
}

/// Takes a record and never goes on: what a writer looks like to others that is stopped in the middle of one. Returns its
/// sequence.
#[unsafe(no_mangle)]
pub extern "system" fn yardstick_hold(slots: u64) -> u64 {
    ring(slots).claim().map_or(0, |record| {
        let sequence = record.sequence();
        core::mem::forget(record);
        sequence
    })
}

/// Reads the newest `count` records, or as many as there are, of the ring with so many slots. Returns how many it saw.
#[unsafe(no_mangle)]
pub extern "system" fn yardstick_drain(slots: u64, count: u64) -> u64 {
    let ring = ring(slots);
    let head = ring.counters().head();
    let mut cursor = head.saturating_sub(count).saturating_add(1);
    let mut seen = 0_u64;
    let drained = ring.drain(&mut cursor, |record, _| {
        seen = seen.wrapping_add(record.qpc & 1);
        true
    });
    black_box(seen);
    drained.taken
}

/// Moves the watermarks of so many process images, one after the other.
#[unsafe(no_mangle)]
pub extern "system" fn yardstick_note(images: u64, times: u64) {
    let sample = Sample {
        before: 0x4000,
        inside: Some(0x5000),
        spent: Some(0x800),
        depth: 0,
    };
    let mut image = 0;
    for _ in 0..times {
        let mut name = [0; IMAGE_NAME_BYTES];
        for (to, from) in name.iter_mut().zip(image_number(image)) {
            *to = from;
        }
        WATERMARKS.note(&sample, &name);
        image += 1;
        if image >= images {
            image = 0;
        }
    }
}

/// Makes the numbers of images as unlike one another as names are.
fn image_number(image: u64) -> [u8; 8] {
    image.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_le_bytes()
}
