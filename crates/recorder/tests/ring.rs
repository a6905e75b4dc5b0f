//! The ring as the driver uses it: one thread first, then many at once.
#![cfg(not(feature = "loom"))]

use std::alloc::{Layout, alloc, dealloc};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use protocol::{Anchor, NtStatus, Record, SlotView};
use recorder::ring::Counters;
use recorder::{AttachError, ReadError, Recorder, Ring, Slot};

/// A recorder with memory of its own.
struct Owned {
    recorder: Recorder,
    memory: NonNull<u8>,
    layout: Layout,
}

impl Owned {
    fn new(slots: usize) -> Self {
        let layout =
            Layout::from_size_align(Recorder::ring_bytes(slots).unwrap(), Recorder::ALIGN).unwrap();
        // SAFETY: the layout is not empty.
        let memory = NonNull::new(unsafe { alloc(layout) }).expect("out of memory");
        let recorder = Recorder::new();
        // SAFETY: the memory is of that size and nobody else's.
        unsafe { recorder.attach(memory, slots, 10_000_000) }.unwrap();
        Self {
            recorder,
            memory,
            layout,
        }
    }

    fn write(&self, thread_id: u32) -> u64 {
        let mut claim = self.recorder.claim().unwrap();
        claim.thread_id = thread_id;
        claim.commit()
    }

    /// What a debugger reads where the recorder stands.
    fn bytes(&self) -> &[u8] {
        let address = (&raw const self.recorder).cast::<u8>();
        // SAFETY: a recorder is that many initialised bytes, and no other thread runs.
        unsafe { std::slice::from_raw_parts(address, size_of::<Recorder>()) }
    }

    /// What a debugger reads where the ring stands.
    fn ring_bytes(&self) -> &[u8] {
        // SAFETY: attach zeroed these bytes, and no other thread runs.
        unsafe { std::slice::from_raw_parts(self.memory.as_ptr(), self.layout.size()) }
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        // SAFETY: nothing uses the ring any more.
        let memory = unsafe { self.recorder.detach() }.unwrap();
        // SAFETY: it came from alloc with this layout.
        unsafe { dealloc(memory.as_ptr(), self.layout) };
    }
}

#[test]
fn a_committed_record_is_read_back_and_a_debugger_reads_the_same() {
    let owned = Owned::new(4);
    let sequence = owned.write(42);
    assert_eq!(sequence, 1);
    assert!(owned.recorder.complete(sequence, NtStatus(0xc000_0034)));
    assert!(
        !owned.recorder.complete(sequence, NtStatus(0)),
        "a status is given once"
    );
    let (thread_id, status) = owned
        .recorder
        .read(1, |record, status| (record.thread_id, status))
        .unwrap();
    assert_eq!((thread_id, status), (42, Some(NtStatus(0xc000_0034))));

    let anchor = Anchor::decode(owned.bytes()).unwrap();
    assert_eq!((anchor.head, anchor.written, anchor.capacity), (1, 1, 4));
    assert_eq!(anchor.ring, owned.memory.as_ptr() as u64);
    let slot = SlotView::decode(&owned.ring_bytes()[512..]).unwrap();
    let record = slot.whole().expect("sequence 1 lives in slot 1");
    assert_eq!(record.create_status(), Some(NtStatus(0xc000_0034)));
    assert_eq!(record.thread_id, 42);
}

#[test]
fn a_sequence_that_no_record_has_completes_nothing() {
    let owned = Owned::new(4);
    assert!(
        !owned.recorder.complete(0, NtStatus(7)),
        "of an unused ring"
    );
    for thread in 0..4 {
        owned.write(thread);
    }
    assert!(!owned.recorder.complete(0, NtStatus(7)), "of a full one");
    let status = owned.recorder.read(4, |_, status| status);
    assert_eq!(status, Ok(None), "the record in the same slot");
}

#[test]
fn without_memory_every_record_is_skipped_and_counted() {
    let recorder = Recorder::new();
    assert!(recorder.claim().is_none());
    assert!(!recorder.complete(1, NtStatus(0)));
    assert_eq!(recorder.read(1, |_, _| ()), Err(ReadError::NotYet));
    assert_eq!(recorder.counters().skipped(), 1);
}

#[test]
fn a_ring_of_another_size_is_refused_not_rounded() {
    let recorder = Recorder::new();
    for slots in [0, 3, 100, usize::MAX] {
        assert_eq!(Recorder::ring_bytes(slots), None);
        // SAFETY: the memory is refused before it is touched.
        let refused = unsafe { recorder.attach(NonNull::dangling(), slots, 1) };
        assert_eq!(refused, Err(AttachError::Slots));
    }
    assert_eq!(
        Recorder::ring_bytes(1 << 63),
        None,
        "as many bytes as there are not"
    );

    let owned = Owned::new(2);
    // SAFETY: refused before it is touched.
    let second = unsafe { owned.recorder.attach(NonNull::dangling(), 2, 1) };
    assert_eq!(second, Err(AttachError::Attached));
}

#[test]
fn nothing_of_a_former_record_stays_in_its_slot() {
    let owned = Owned::new(1);
    let mut claim = owned.recorder.claim().unwrap();
    claim.set_path(&[0x41; 300]);
    claim.commit();
    let claim = owned.recorder.claim().unwrap();
    assert_eq!(
        *claim,
        Record {
            sequence: 2,
            ..Record::EMPTY
        }
    );
}

#[test]
fn a_record_given_up_is_void_and_counted() {
    let owned = Owned::new(4);
    drop(owned.recorder.claim());
    owned.write(1);
    assert_eq!(owned.recorder.read(1, |_, _| ()), Err(ReadError::Void));
    let mut seen = Vec::new();
    let drained = owned.recorder.drain(&mut 0, |record, _| {
        seen.push(record.sequence);
        true
    });
    assert_eq!((seen, drained.taken, drained.lost), (vec![2], 1, 0));
    assert_eq!(owned.recorder.counters().abandoned(), 1);
}

#[test]
fn a_writer_lapped_by_others_keeps_its_slot_and_they_step_over_it() {
    let owned = Owned::new(4);
    let mut slow = owned.recorder.claim().unwrap();
    slow.thread_id = 7;
    let others: Vec<u64> = (0..9).map(|n| owned.write(n)).collect();
    assert_eq!(
        others,
        [2, 3, 4, 6, 7, 8, 10, 11, 12],
        "5 and 9 would have been the slow writer's slot"
    );
    assert_eq!(slow.thread_id, 7, "nobody wrote into it");
    assert_eq!(owned.recorder.read(1, |_, _| ()), Err(ReadError::InFlight));
    assert_eq!(owned.recorder.read(5, |_, _| ()), Err(ReadError::Void));
    slow.commit();
    assert_eq!(
        owned.recorder.read(1, |record, _| record.thread_id),
        Ok(7),
        "late, whole, and still there"
    );
    let counters = owned.recorder.counters();
    assert_eq!(
        (
            counters.voided(),
            counters.overwritten(),
            counters.skipped()
        ),
        (2, 6, 0)
    );
}

#[test]
fn when_every_slot_is_held_the_record_is_skipped_at_once() {
    let owned = Owned::new(2);
    let held = [owned.recorder.claim(), owned.recorder.claim()];
    assert!(owned.recorder.claim().is_none());
    assert_eq!(owned.recorder.counters().skipped(), 1);
    drop(held);
    assert!(owned.recorder.claim().is_some(), "and the ring goes on");
}

#[test]
fn a_completion_after_the_record_was_overwritten_does_nothing() {
    let owned = Owned::new(1);
    let first = owned.write(1);
    let second = owned.write(2);
    assert!(!owned.recorder.complete(first, NtStatus(5)));
    assert_eq!(owned.recorder.read(second, |_, status| status), Ok(None));
    assert_eq!(
        owned.recorder.read(first, |_, _| ()),
        Err(ReadError::Overwritten)
    );
}

#[test]
fn a_drain_keeps_its_order_stops_when_told_and_counts_what_it_missed() {
    let owned = Owned::new(8);
    for n in 0..20 {
        owned.write(n);
    }
    let mut cursor = 5;
    let mut seen = Vec::new();
    let drained = owned.recorder.drain(&mut cursor, |record, _| {
        if record.sequence == 16 {
            return false;
        }
        seen.push(record.sequence);
        true
    });
    assert_eq!((drained.taken, drained.lost, cursor), (3, 8, 16));
    assert_eq!(seen, [13, 14, 15]);

    // One in flight holds the later ones back, so that order is kept ...
    let held = owned.recorder.claim().unwrap();
    owned.write(0);
    cursor = 20;
    assert_eq!(owned.recorder.drain(&mut cursor, |_, _| true).taken, 1);
    assert_eq!(cursor, held.sequence());
    // ... but not for ever.
    for n in 0..3 {
        owned.write(n);
    }
    let drained = owned.recorder.drain(&mut cursor, |_, _| true);
    assert_eq!((drained.taken, drained.lost), (4, 1));
}

#[test]
fn a_reader_keeps_writers_off_the_one_slot_it_looks_at() {
    let owned = Owned::new(2);
    owned.write(1);
    let beside = owned.recorder.read(1, |record, _| {
        let written: Vec<u64> = (0..3).map(|n| owned.write(n)).collect();
        assert_eq!(record.sequence, 1, "what is being read stays");
        written
    });
    assert_eq!(beside, Ok(vec![2, 4, 6]));
}

/// Writers lap each other and a reader through a tiny ring; each record carries a pattern that half a record breaks.
#[test]
fn many_writers_and_readers_at_once() {
    const WRITERS: u64 = 4;
    const EACH: u64 = if cfg!(miri) { 100 } else { 50_000 };
    let slots: Vec<Slot<[u64; 8]>> = (0..8).map(|_| Slot::new([0; 8])).collect();
    let counters = Counters::new();
    let ring = Ring::new(&slots, &counters).unwrap();
    let done = AtomicBool::new(false);
    let [taken, completed, lost_claims] = [const { AtomicU64::new(0) }; 3];
    thread::scope(|scope| {
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let (ring, completed, lost_claims) = (&ring, &completed, &lost_claims);
                scope.spawn(move || {
                    for n in 0..EACH {
                        let Some(mut claim) = ring.claim() else {
                            lost_claims.fetch_add(1, Ordering::Relaxed);
                            continue;
                        };
                        let pattern = claim.sequence().wrapping_mul(0x9e37_79b9_7f4a_7c15);
                        for word in claim.iter_mut() {
                            *word = pattern;
                            if n % 1024 == writer {
                                thread::yield_now(); // a slow writer, in the middle of its record
                            }
                        }
                        let sequence = claim.commit();
                        if ring.complete(sequence, sequence as u32) {
                            completed.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                })
            })
            .collect();
        for _ in 0..2 {
            scope.spawn(|| {
                let mut cursor = 0;
                let mut before = 0;
                loop {
                    // Once more after the last writer: on a host that let no reader run until then, this is the first time.
                    let last = done.load(Ordering::Acquire);
                    let drained = ring.drain(&mut cursor, |words, completion| {
                        let sequence = words[0].wrapping_mul(0xf1de_83e1_9937_733d); // the inverse of the pattern's factor
                        assert!(
                            words.iter().all(|&word| word == words[0]),
                            "a torn record: {words:x?}"
                        );
                        assert!(sequence > before, "order: {sequence} after {before}");
                        assert!(
                            completion.is_none_or(|value| value == sequence as u32),
                            "another record's completion"
                        );
                        before = sequence;
                        true
                    });
                    taken.fetch_add(drained.taken, Ordering::Relaxed);
                    if last {
                        break;
                    }
                }
            });
        }
        for writer in writers {
            writer.join().unwrap();
        }
        done.store(true, Ordering::Release);
    });
    assert_eq!(
        counters.written() + counters.skipped(),
        WRITERS * EACH,
        "every record is written or counted as lost"
    );
    assert_eq!(counters.skipped(), lost_claims.into_inner());
    assert_eq!(counters.head(), counters.written() + counters.voided());
    let inside = slots_ready(&ring, &counters);
    assert_eq!(
        counters.overwritten(),
        counters.written() - inside,
        "every record is in the ring or was overwritten"
    );
    assert!(
        taken.into_inner() > 0 && completed.into_inner() > 0,
        "the readers did read"
    );
}

fn slots_ready(ring: &Ring<'_, [u64; 8]>, counters: &Counters) -> u64 {
    // All of them: a slow writer's record stands where it was claimed, however many laps ago.
    (1..=counters.head())
        .filter(|&sequence| ring.read(sequence, |_, _| ()).is_ok())
        .count() as u64
}
