//! A recorder's rings, one after the other, against a model: what is attached begins empty, what is counted goes on.
#![cfg(not(feature = "loom"))]

use std::alloc::{Layout, alloc, dealloc};
use std::collections::BTreeMap;
use std::ptr::NonNull;

use proptest::prelude::*;
use protocol::NtStatus;
use recorder::{AttachError, Drained, ReadError, Recorder};

/// Memory as the pool gives it: not zeroed.
struct Memory(NonNull<u8>, Layout);

impl Memory {
    fn new(slots: usize) -> Self {
        let bytes = Recorder::ring_bytes(slots).unwrap();
        let layout = Layout::from_size_align(bytes, Recorder::ALIGN).unwrap();
        // SAFETY: the layout is not empty.
        let memory = NonNull::new(unsafe { alloc(layout) }).expect("out of memory");
        // SAFETY: it is that long, and ours.
        unsafe { memory.as_ptr().write_bytes(0xA5, bytes) };
        Self(memory, layout)
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: it was allocated with that layout; a ring in it was detached, or goes with the recorder.
        unsafe { dealloc(self.0.as_ptr(), self.1) };
    }
}

#[derive(Clone, Debug)]
enum Act {
    /// A ring of two to the power of so many slots; `false`: of one slot more, if that is more than two.
    Attach(u32, bool),
    Detach,
    Write,
    /// The create of the record so many before the head ends.
    Complete(u64, u32),
    Read(u64),
    Drain,
    SkipLowStack,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        2 => (0..4_u32, prop::bool::weighted(0.8)).prop_map(|(power, whole)| Act::Attach(power, whole)),
        1 => Just(Act::Detach),
        8 => Just(Act::Write),
        2 => (0..12_u64, any::<u32>()).prop_map(|(back, status)| Act::Complete(back, status)),
        3 => (0..12_u64).prop_map(Act::Read),
        2 => Just(Act::Drain),
        1 => Just(Act::SkipLowStack),
    ]
}

/// A ring's life: its head begins at 0, and nothing of a former life is in it.
#[derive(Default)]
struct Life {
    slots: u64,
    head: u64,
    ended: BTreeMap<u64, u32>,
}

impl Life {
    fn read(&self, sequence: u64) -> Result<Option<NtStatus>, ReadError> {
        match sequence {
            0 => Err(ReadError::NotYet),
            _ if sequence > self.head => Err(ReadError::NotYet),
            _ if sequence + self.slots <= self.head => Err(ReadError::Overwritten),
            _ => Ok(self.ended.get(&sequence).copied().map(NtStatus)),
        }
    }
}

fn live(acts: Vec<Act>) -> Result<(), TestCaseError> {
    let recorder = Recorder::new();
    let mut ring: Option<(Memory, Life)> = None;
    let (mut head, mut written, mut overwritten, mut skipped, mut low) = (0, 0, 0, 0, 0);
    let mut cursor = 0;
    for act in acts {
        match act {
            Act::Attach(power, whole) => {
                let slots = 1_usize << power;
                let memory = Memory::new(slots);
                let asked = if whole || slots < 2 { slots } else { slots + 1 };
                // SAFETY: the memory is for so many slots; for another number it is refused before it is touched.
                let attached = unsafe { recorder.attach(memory.0, asked, 1) };
                let expected = match &ring {
                    _ if asked != slots => Err(AttachError::Slots),
                    Some(_) => Err(AttachError::Attached),
                    None => Ok(()),
                };
                prop_assert_eq!(attached, expected);
                if attached.is_ok() {
                    (head, cursor) = (0, 0);
                    let slots = slots as u64;
                    ring = Some((
                        memory,
                        Life {
                            slots,
                            ..Life::default()
                        },
                    ));
                }
            }
            Act::Detach => {
                // SAFETY: nothing is under way.
                let given = unsafe { recorder.detach() };
                prop_assert_eq!(given, ring.as_ref().map(|(memory, _)| memory.0));
                ring = None;
            }
            Act::Write => {
                let sequence = recorder.claim().map(|mut claim| {
                    claim.thread_id = claim.sequence() as u32 ^ 0x5555;
                    claim.commit()
                });
                if let Some((_, life)) = &mut ring {
                    head += 1;
                    life.head = head;
                    written += 1;
                    overwritten += u64::from(head > life.slots);
                    prop_assert_eq!(sequence, Some(head));
                } else {
                    skipped += 1;
                    prop_assert_eq!(sequence, None);
                }
            }
            Act::Complete(back, status) => {
                let sequence = head.saturating_sub(back);
                let expected = match &mut ring {
                    Some((_, life)) if life.read(sequence) == Ok(None) => {
                        life.ended.insert(sequence, status);
                        true
                    }
                    _ => false,
                };
                prop_assert_eq!(recorder.complete(sequence, NtStatus(status)), expected);
            }
            Act::Read(back) => {
                let sequence = head.saturating_sub(back);
                let life = ring.as_ref().map(|(_, life)| life);
                let expected = life.map_or(Err(ReadError::NotYet), |life| life.read(sequence));
                let expected = expected.map(|status| (sequence, sequence as u32 ^ 0x5555, status));
                let read = recorder.read(sequence, |record, status| {
                    (record.sequence, record.thread_id, status)
                });
                prop_assert_eq!(read, expected);
            }
            Act::Drain => {
                let mut seen = Vec::new();
                let from = cursor.max(1);
                let drained = recorder.drain(&mut cursor, |record, _| {
                    seen.push(record.sequence);
                    true
                });
                let (expected, lost) = ring.as_ref().map_or((Vec::new(), 0), |(_, life)| {
                    let first = from.max((head + 1).saturating_sub(life.slots));
                    ((first..=head).collect(), first - from)
                });
                let taken = expected.len() as u64;
                prop_assert_eq!(drained, Drained { taken, lost });
                prop_assert_eq!(seen, expected);
            }
            Act::SkipLowStack => {
                recorder.skip_low_stack();
                low += 1;
            }
        }
        let counters = recorder.counters();
        prop_assert_eq!(
            [
                counters.head(),
                counters.written(),
                counters.overwritten(),
                counters.skipped(),
                counters.skipped_low_stack(),
                counters.voided() + counters.abandoned(),
            ],
            [head, written, overwritten, skipped, low, 0]
        );
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 4 } else { 1_000 }))]

    #[test]
    fn a_ring_keeps_nothing_of_the_one_before(acts in prop::collection::vec(act(), 0..80)) {
        live(acts)?;
    }
}
