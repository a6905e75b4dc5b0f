//! Every interleaving of small cases, under the C11 memory model.
#![cfg(feature = "loom")]

use loom::sync::Arc;
use loom::sync::atomic::AtomicU64;
use loom::thread;
use recorder::mark::Mark;
use recorder::ring::{Counters, Ring};
use recorder::table::{self, Entry, Noted};
use recorder::{ReadError, Sample, Slot};

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

/// What another thread committed a moment ago is whole, and what a drain passes by is shown or counted: a sequence that the
/// head covers is no void because its slot has not been heard of yet.
#[test]
fn a_drain_beside_a_writer_misses_nothing_and_shows_whole_records() {
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

/// One way of the table of images, and the word of those that enter one.
struct Way {
    entry: [Entry; 1],
    entering: AtomicU64,
}

impl Way {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            entry: [Entry::new()],
            entering: AtomicU64::new(0),
        })
    }

    fn note(&self, key: u64, before: u32) -> Noted {
        let sample = Sample {
            before,
            inside: None,
            spent: None,
            depth: 0,
        };
        table::note(&self.entry, &self.entering, key, [key, 0], 1, &sample)
    }

    fn lowest(&self, key: u64) -> Option<u32> {
        table::find(&self.entry, key)?.told(1).lowest_before
    }
}

#[test]
fn a_sample_never_lands_in_the_marks_of_the_image_that_took_its_place() {
    explore(3, || {
        let way = Way::new();
        assert_eq!(way.note(1, 500), Noted::Kept);
        let other = way.clone();
        // Image 2 is worse than image 1 and takes its place while a create of image 1 notes something worse still.
        let worse = thread::spawn(move || other.note(2, 400));
        let better = way.note(1, 100);
        let worse = worse.join().unwrap();
        match (way.lowest(1), way.lowest(2)) {
            (Some(100), None) => assert!(matches!(better, Noted::Kept | Noted::Evicted)),
            (None, Some(400)) => assert_eq!((worse, better), (Noted::Evicted, Noted::Skipped)),
            (Some(500), None) => assert_eq!((worse, better), (Noted::Skipped, Noted::Skipped)),
            other => panic!("{other:?}, noted {better:?} and {worse:?}"),
        }
        // The entry is free of users: it can be had.
        assert_eq!(way.note(3, 1), Noted::Evicted);
    });
}

#[test]
fn two_creates_enter_one_image_once_and_both_count() {
    explore(3, || {
        let way = Way::new();
        let other = way.clone();
        let thread = thread::spawn(move || other.note(1, 300));
        let here = way.note(1, 200);
        let there = thread.join().unwrap();
        let words = table::find(&way.entry, 1).unwrap().told(1);
        let kept = [here, there]
            .iter()
            .filter(|noted| **noted == Noted::Kept)
            .count();
        assert_eq!(words.creates, kept as u64, "{here:?} {there:?}");
        if here == Noted::Kept {
            assert_eq!(words.lowest_before, Some(200));
        }
    });
}

#[test]
fn a_mark_is_never_lost_and_a_late_one_never_counts() {
    explore(4, || {
        let mark = Arc::new(Mark::new());
        let other = mark.clone();
        let sample = |before| Sample {
            before,
            inside: None,
            spent: Some(before),
            depth: 0,
        };
        let thread = thread::spawn(move || other.note(1, &sample(10)));
        mark.note(2, &sample(30));
        mark.note(2, &sample(20));
        thread.join().unwrap();
        let told = mark.words().told(2);
        assert_eq!((told.lowest_before, told.most_spent), (Some(20), Some(30)));
        assert!(matches!(told.creates, 2 | 3), "{told:?}");
    });
}
