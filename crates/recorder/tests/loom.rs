//! Every interleaving of small cases, under the C11 memory model.
#![cfg(feature = "loom")]

use loom::sync::Arc;
use loom::thread;
use recorder::ring::{Counters, Ring};
use recorder::{ReadError, Slot};

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

/// Explores with at most this many forced switches: three threads beyond that take hours.
fn explore(preemptions: usize, case: impl Fn() + Sync + Send + 'static) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(preemptions);
    model.check(case);
}

#[test]
fn two_writers_never_share_a_slot() {
    explore(3, || {
        let shared = Shared::new(2);
        let other = shared.clone();
        let writer = thread::spawn(move || other.write());
        let here = shared.write();
        let there = writer.join().unwrap();
        assert_ne!(here.unwrap(), there.unwrap());
        assert_eq!(shared.counters.written(), 2);
        assert_eq!(shared.counters.head(), 2 + shared.counters.voided());
    });
}

#[test]
fn a_reader_never_sees_half_a_record_while_a_writer_laps_it() {
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

#[test]
fn a_late_completion_finds_its_own_record_or_none() {
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

#[test]
fn two_readers_and_a_writer_on_one_slot() {
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
