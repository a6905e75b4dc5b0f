//! The ring: writers, readers, drains, completions.

use loom::sync::Arc;
use loom::thread;
use recorder::ring::{Counters, Ring};
use recorder::{ReadError, Slot};

use crate::explore;

/// Two words that a writer never leaves unequal: a torn or half-written record shows.
#[derive(Clone, Copy, Default)]
struct Pair(u64, u64);

struct Shared {
    slots: Vec<Slot<Pair>>,
    counters: Counters,
}

impl Shared {
    fn new(slots: usize) -> Arc<Self> {
        let slots = (0..slots).map(|_| Slot::new(Pair::default())).collect();
        Arc::new(Self {
            slots,
            counters: Counters::new(),
        })
    }

    fn ring(&self) -> Ring<'_, Pair> {
        Ring::new(&self.slots, &self.counters).unwrap()
    }

    /// Writes one record, and returns its sequence.
    fn write(&self) -> Option<u64> {
        let mut claim = self.ring().claim()?;
        let sequence = claim.sequence();
        claim.0 = sequence;
        claim.1 = sequence;
        Some(claim.commit())
    }

    fn read(&self, sequence: u64) -> Result<Option<u32>, ReadError> {
        self.ring().read(sequence, |pair, completion| {
            assert_eq!((pair.0, pair.1), (sequence, sequence), "a torn record");
            completion
        })
    }
}

pub(crate) fn two_writers_never_share_a_slot() {
    explore(3, || {
        let shared = Shared::new(2);
        let other = shared.clone();
        let writer = thread::spawn(move || other.write());
        let here = shared.write();
        let there = writer.join().unwrap();
        let written: Vec<u64> = here.into_iter().chain(there).collect();
        assert!(written.is_sorted_by(|a, b| a != b), "{written:?}");
        let counters = &shared.counters;
        assert_eq!(counters.written(), written.len() as u64);
        assert_eq!(counters.written() + counters.skipped(), 2);
        assert_eq!(counters.head(), counters.written() + counters.voided());
    });
}

pub(crate) fn a_reader_never_sees_half_a_record_while_a_writer_laps_it() {
    explore(3, || {
        let shared = Shared::new(1);
        shared.write();
        let other = shared.clone();
        let writer = thread::spawn(move || other.write());
        match shared.read(1) {
            Ok(_) | Err(ReadError::Overwritten | ReadError::Void) => {}
            Err(error) => panic!("{error:?}"),
        }
        writer.join().unwrap();
        // The slot is free again whatever happened: the next writer gets it.
        assert!(shared.write().is_some());
    });
}

/// What another thread committed a moment ago is whole, and what a drain passes by is shown or counted: a sequence that the
/// head covers is no void because its slot has not been heard of yet.
pub(crate) fn a_drain_beside_a_writer_misses_nothing_and_shows_whole_records() {
    explore(3, || {
        let shared = Shared::new(2);
        let other = shared.clone();
        let reader = thread::spawn(move || {
            let mut cursor = 1;
            let beside = other.ring().drain(&mut cursor, |pair, _| {
                assert_eq!(pair.0, pair.1, "a torn record");
                true
            });
            (cursor, beside)
        });
        assert_eq!(shared.write(), Some(1));
        let (mut cursor, beside) = reader.join().unwrap();
        let after = shared.ring().drain(&mut cursor, |pair, _| pair.0 == pair.1);
        assert_eq!(
            (beside.taken + after.taken, beside.lost + after.lost),
            (1, 0)
        );
    });
}

pub(crate) fn a_late_completion_finds_its_own_record_or_none() {
    explore(3, || {
        let shared = Shared::new(1);
        let first = shared.write().unwrap();
        let other = shared.clone();
        let completer = thread::spawn(move || other.ring().complete(first, 77));
        let second = shared.write();
        let stored = completer.join().unwrap();
        if let Some(second) = second {
            assert_eq!(shared.read(second), Ok(None), "another record's status");
        } else if stored {
            assert_eq!(shared.read(first), Ok(Some(77)));
        }
    });
}

pub(crate) fn two_readers_and_a_writer_on_one_slot() {
    explore(1, || {
        let shared = Shared::new(1);
        shared.write();
        let [a, b] = [shared.clone(), shared.clone()];
        let reader = thread::spawn(move || a.read(1).is_ok());
        let other = thread::spawn(move || b.read(1).is_ok());
        let _ = shared.write();
        reader.join().unwrap();
        other.join().unwrap();
        assert!(shared.write().is_some(), "every pin was given back");
    });
}

/// A slot that was held becomes free between a writer's look and its step over it, and another writer wants it: the sequence
/// is void or has a record, never both, and no drain passes by a record as void.
pub(crate) fn a_sequence_that_is_stepped_over_carries_no_record() {
    explore(1, || {
        let shared = Shared::new(1);
        shared.write();
        let writer = || {
            let shared = shared.clone();
            thread::spawn(move || shared.write())
        };
        let writers = shared
            .ring()
            .read(1, |_, _| [writer(), writer()])
            .expect("it was written");
        let mut cursor = 2;
        let beside = shared.ring().drain(&mut cursor, |_, _| true);
        let given: Vec<u64> = writers
            .into_iter()
            .filter_map(|writer| writer.join().unwrap())
            .collect();
        let counters = &shared.counters;
        assert_eq!(
            counters.head(),
            counters.written() + counters.voided(),
            "written {given:?}"
        );
        let passed = given.iter().filter(|&&sequence| sequence < cursor).count();
        assert!(
            passed as u64 <= beside.taken + beside.lost,
            "{given:?} were written; {beside:?}, then at {cursor}"
        );
    });
}
