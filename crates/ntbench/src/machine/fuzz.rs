//! Very many messages to a port: random ones, and mutations of good ones, some in buffers that are not what they seem.
//!
//! Everything happens inside the machine, on one thread and in buffers made once, so that a message costs little more
//! than the filter's own work. Each message has a generator of its own, seeded from the run's seed and the message's
//! number: any of them can be sent again alone (but for the timing of memory that another thread takes away).

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::Instant;

use fastrand::Rng;

use super::buffers::Racer;
use crate::cpu::guarded;
use crate::cpu::memory::PAGE;
use crate::fltmgr::port;
use crate::status::NtStatus;
use crate::user::{Pages, State, Trap, UserBuffer};
use crate::wire::{FuzzReport, PortFuzz};
use crate::{stack, trace};

/// The longest message of all.
const MOST: usize = 1 << 20;
/// What a heap aligns to.
const HEAP: usize = 16;
/// How much of a fatal message is shown.
const SHOWN: usize = 256;
/// A system address, as a program might pass it to have it read or written for it.
const SYSTEM: u64 = 0xFFFF_8000_0000_1000;

thread_local! {
    /// The message under way: its number and seed.
    static SENDING: Cell<Option<(u64, u64)>> = const { Cell::new(None) };
    static MESSAGE: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// The message under way on this thread, for the report of a bug check.
pub(crate) fn sending() -> Option<String> {
    use std::fmt::Write as _;
    let (number, seed) = SENDING.get()?;
    let mut text = format!("fuzzed message {number} of seed {seed:#x} was under way");
    MESSAGE.with(|message| {
        let Ok(message) = message.try_borrow() else {
            return;
        };
        let _ = write!(text, ", {} bytes: ", message.len());
        for byte in message.iter().take(SHOWN) {
            let _ = write!(text, "{byte:02x}");
        }
        if message.len() > SHOWN {
            text.push('…');
        }
    });
    Some(text)
}

/// Memory for the messages.
struct Memory {
    /// Writable to the last byte; what follows is absent.
    good: Arc<Pages>,
    output: Arc<Pages>,
    read_only: Arc<Pages>,
    /// One page; its second half of the address range is absent, and the probes do not know.
    cut: Arc<Pages>,
    /// Counts its touches.
    trap: Arc<Pages>,
    /// Comes and goes.
    racing: Arc<Pages>,
    _racer: Option<Racer>,
    longest: usize,
}

impl Memory {
    fn new(longest: usize, hostile: bool) -> io::Result<Self> {
        let pages = |count: usize| Pages::new(count).map(Arc::new);
        let whole = longest.max(1).div_ceil(PAGE);
        let (read_only, cut, racing) = (pages(whole)?, pages(whole + 1)?, pages(whole)?);
        read_only.set(0, whole, State::ReadOnly)?;
        cut.protect(whole, 1, State::Absent)?;
        let racer = hostile.then(|| Racer::start(&racing)).transpose()?;
        Ok(Self {
            good: pages(whole)?,
            output: pages(whole)?,
            read_only,
            cut,
            trap: pages(whole)?,
            racing,
            _racer: racer,
            longest,
        })
    }
}

/// Where `bytes` bytes end with the pages, as a heap would align them.
fn at_end(pages: &Pages, bytes: usize) -> usize {
    pages.length() - bytes.next_multiple_of(HEAP).min(pages.length())
}

fn shown(pages: &Pages, offset: usize, length: u32) -> UserBuffer {
    UserBuffer {
        address: (pages.base() + offset) as u64,
        length,
    }
}

fn short(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

/// Sends them.
pub(super) fn run(fuzz: &PortFuzz) -> io::Result<FuzzReport> {
    let longest = usize::try_from(fuzz.longest)
        .unwrap_or(MOST)
        .clamp(HEAP, MOST);
    let memory = Memory::new(longest, fuzz.hostile_per_mille != 0)?;
    let corpus: Vec<&[u8]> = fuzz
        .corpus
        .iter()
        .map(|sample| &sample.0[..sample.0.len().min(longest)])
        .collect();
    let mut counts: HashMap<NtStatus, u64> = HashMap::new();
    let mut report = FuzzReport {
        messages: fuzz.count,
        ..FuzzReport::default()
    };
    let began = Instant::now();
    let _quiet = trace::Quiet::begin();
    for number in fuzz.first..fuzz.first + fuzz.count {
        SENDING.set(Some((number, fuzz.seed)));
        let mut rng = Rng::with_seed(fuzz.seed ^ number.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let hostile = rng.u32(0..1000) < fuzz.hostile_per_mille;
        report.hostile += u64::from(hostile);
        MESSAGE.with_borrow_mut(|message| {
            make(&mut rng, &corpus, longest, message);
        });
        let status = if hostile {
            hostile_message(&mut rng, fuzz.port, &memory)
        } else {
            plain_message(&mut rng, fuzz.port, &memory)
        };
        *counts.entry(status).or_default() += 1;
    }
    SENDING.set(None);
    report.elapsed_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    report.statuses = counts.into_iter().collect();
    report.statuses.sort();
    Ok(report)
}

fn send(port: u64, input: UserBuffer, output: UserBuffer) -> NtStatus {
    stack::system_call(|| port::send(port, input, output)).0
}

/// How long an output buffer is.
fn output_length(rng: &mut Rng, longest: usize) -> usize {
    match rng.u32(0..4) {
        0 => 0,
        1 => rng.usize(0..64).min(longest),
        2 => longest,
        _ => rng.usize(0..=longest),
    }
}

fn put(pages: &Pages) -> UserBuffer {
    MESSAGE.with_borrow(|message| {
        let offset = at_end(pages, message.len());
        pages.write(offset, message);
        shown(pages, offset, short(message.len()))
    })
}

fn plain_message(rng: &mut Rng, port: u64, memory: &Memory) -> NtStatus {
    let input = put(&memory.good);
    let length = output_length(rng, memory.longest);
    let output = if length == 0 {
        UserBuffer {
            address: 0,
            length: 0,
        }
    } else {
        shown(
            &memory.output,
            at_end(&memory.output, length),
            short(length),
        )
    };
    send(port, input, output)
}

/// One of the two buffers is not what it seems.
fn hostile_message(rng: &mut Rng, port: u64, memory: &Memory) -> NtStatus {
    let length = MESSAGE.with_borrow(Vec::len);
    let is_input = rng.bool();
    let room = output_length(rng, memory.longest).max(1);
    let mut input = put(&memory.good);
    let mut output = shown(&memory.output, at_end(&memory.output, room), short(room));
    let bytes = if is_input { length } else { room };
    let mut trap = None;
    let bad = match rng.u32(0..8) {
        // Longer than it is.
        0 => {
            let buffer = if is_input { input } else { output };
            let length = match rng.u32(0..4) {
                0 => u32::MAX,
                1 => 0x7FFF_FFFF,
                2 => buffer.length.saturating_add(PAGE as u32),
                _ => rng.u32(..),
            };
            UserBuffer { length, ..buffer }
        }
        // Misaligned.
        1 => {
            let by = rng.usize(1..HEAP);
            let buffer = if is_input { input } else { output };
            let moved = buffer.address.saturating_sub(by as u64);
            let first = if is_input {
                memory.good.base()
            } else {
                memory.output.base()
            };
            UserBuffer {
                address: moved.max(first as u64),
                ..buffer
            }
        }
        // Nowhere, or where it must not be.
        2 => {
            let address = match rng.u32(0..4) {
                0 => 0,
                1 => SYSTEM,
                2 => rng.u64(..),
                _ => rng.u64(0..0x1_0000_0000),
            };
            UserBuffer {
                address,
                length: short(bytes),
            }
        }
        3 => shown(
            &memory.read_only,
            at_end(&memory.read_only, bytes),
            short(bytes),
        ),
        // Cut short after the probe.
        4 | 5 => {
            let there = rng.usize(0..=bytes).min(memory.cut.length() - PAGE);
            let offset = memory.cut.length() - PAGE - there;
            if is_input {
                MESSAGE.with_borrow(|message| memory.cut.write(offset, &message[..there]));
            }
            shown(&memory.cut, offset, short(bytes))
        }
        // Gone in the middle.
        6 => {
            let buffer = if is_input {
                put(&memory.trap)
            } else {
                shown(&memory.trap, at_end(&memory.trap, bytes), short(bytes))
            };
            let within = u64::from(short(bytes)).clamp(1, 64);
            // Without a free slot the buffer is whole, and only this one message less hostile.
            trap = Trap::set(&memory.trap, rng.u64(1..=within)).ok();
            buffer
        }
        // Coming and going.
        _ => {
            let offset = at_end(&memory.racing, bytes);
            if is_input {
                MESSAGE.with_borrow(|message| {
                    let from = message.as_ptr().expose_provenance();
                    guarded::try_copy(memory.racing.base() + offset, from, message.len());
                });
            }
            shown(&memory.racing, offset, short(bytes))
        }
    };
    if is_input {
        input = bad;
    } else {
        output = bad;
    }
    let status = send(port, input, output);
    drop(trap);
    status
}

/// Values at which lengths and counts go wrong.
const EDGES: [u64; 14] = [
    0,
    1,
    2,
    7,
    8,
    0x7F,
    0x80,
    0xFF,
    0x7FFF,
    0xFFFF,
    0x7FFF_FFFF,
    0x8000_0000,
    0xFFFF_FFFF,
    u64::MAX,
];

/// Makes the next message.
fn make(rng: &mut Rng, corpus: &[&[u8]], longest: usize, message: &mut Vec<u8>) {
    message.clear();
    if corpus.is_empty() || rng.u32(0..16) == 0 {
        let length = if rng.bool() {
            rng.usize(0..64).min(longest)
        } else {
            rng.usize(0..=longest.min(4096))
        };
        message.resize(length, 0);
        rng.fill(message);
        return;
    }
    message.extend_from_slice(corpus[rng.usize(0..corpus.len())]);
    for _ in 0..rng.u32(0..5) {
        mutate(rng, corpus, longest, message);
    }
}

fn mutate(rng: &mut Rng, corpus: &[&[u8]], longest: usize, message: &mut Vec<u8>) {
    if message.is_empty() {
        message.push(rng.u8(..));
        return;
    }
    let at = rng.usize(0..message.len());
    match rng.u32(0..9) {
        0 => message[at] ^= 1 << rng.u32(0..8),
        1 => message[at] = rng.u8(..),
        2 => message.truncate(at),
        3 => {
            let more = rng.usize(1..=64).min(longest - message.len().min(longest));
            message.extend(std::iter::repeat_with(|| rng.u8(..)).take(more));
        }
        4 => {
            let other = corpus[rng.usize(0..corpus.len())];
            message.truncate(at);
            message.extend_from_slice(&other[at.min(other.len())..]);
        }
        5 => {
            let end = (at + rng.usize(1..=16)).min(message.len());
            rng.fill(&mut message[at..end]);
        }
        // A field: 2, 4 or 8 bytes where such a field would lie.
        kind => {
            let size = [2, 4, 8][kind as usize % 3];
            let at = at / size * size;
            let Some(field) = message.get_mut(at..at + size) else {
                return;
            };
            let mut old = [0; 8];
            old[..size].copy_from_slice(field);
            let old = u64::from_le_bytes(old);
            let value = match rng.u32(0..4) {
                0 => old.wrapping_add(rng.u64(1..=16)),
                1 => old.wrapping_sub(rng.u64(1..=16)),
                _ => EDGES[rng.usize(0..EDGES.len())],
            };
            field.copy_from_slice(&value.to_le_bytes()[..size]);
        }
    }
    message.truncate(longest);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(seed: u64) -> Vec<Vec<u8>> {
        let corpus: [&[u8]; 2] = [b"0123456789abcdef", &[7; 40]];
        let make = |number: u64| {
            let mut message = Vec::new();
            make(
                &mut Rng::with_seed(seed ^ number),
                &corpus,
                100,
                &mut message,
            );
            message
        };
        (0..2000).map(make).collect()
    }

    #[test]
    fn messages_depend_on_seed_and_number_alone_and_vary() {
        let (first, again, other) = (messages(1), messages(1), messages(1 << 40));
        assert_eq!(first, again);
        assert_ne!(first, other);
        assert!(first.iter().all(|message| message.len() <= 100));
        let mut distinct = first.clone();
        distinct.sort();
        distinct.dedup();
        assert!(distinct.len() > 1000, "{}", distinct.len());
        assert!(
            first.iter().any(|message| message == b"0123456789abcdef"),
            "some stay good"
        );
    }
}
