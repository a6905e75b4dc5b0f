//! The marks, and the table of images.

use loom::sync::Arc;
use loom::thread;
use recorder::Sample;
use recorder::mark::{self, Mark};
use recorder::table::{self, Entry, Noted};
use recorder::weaken::AtomicU64;

use crate::explore;

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

pub(crate) fn a_sample_never_lands_in_the_marks_of_the_image_that_took_its_place() {
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

pub(crate) fn two_creates_enter_one_image_once_and_both_count() {
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

pub(crate) fn a_mark_is_never_lost_and_a_late_one_never_counts() {
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

/// A create of an image that has just been entered does not take the former image's marks for its own: a deeper nest of that
/// one's would hide its own.
pub(crate) fn the_marks_of_a_former_image_hide_nothing_of_the_next() {
    explore(3, || {
        let way = Way::new();
        let sample = |before, depth| Sample {
            before,
            inside: None,
            spent: None,
            depth,
        };
        let note = |way: &Way, key: u64, sample: &Sample| {
            table::note(&way.entry, &way.entering, key, [key, 0], 1, sample)
        };
        assert_eq!(note(&way, 1, &sample(500, 9)), Noted::Kept);
        let other = way.clone();
        let first = thread::spawn(move || note(&other, 2, &sample(400, 0)));
        let second = note(&way, 2, &sample(300, 5));
        let first = first.join().unwrap();
        let words = table::find(&way.entry, 2).unwrap().told(1);
        let expected = match (first, second) {
            (Noted::Skipped, _) => (1, Some(5)),
            (_, Noted::Skipped) => (1, Some(0)),
            _ => (2, Some(5)),
        };
        assert_eq!(
            (words.creates, words.deepest),
            expected,
            "{first:?}, {second:?}"
        );
    });
}

/// Two creates of an image that is not there yet, and two places for it: it takes one.
pub(crate) fn an_image_is_entered_in_one_place_though_there_are_two() {
    explore(3, || {
        let ways = Arc::new(([Entry::new(), Entry::new()], AtomicU64::new(0)));
        let note = |ways: &([Entry; 2], AtomicU64)| {
            let sample = Sample {
                before: 100,
                inside: None,
                spent: None,
                depth: 0,
            };
            table::note(&ways.0, &ways.1, 1, [1, 0], 1, &sample)
        };
        let other = ways.clone();
        let there = thread::spawn(move || note(&other));
        let here = note(&ways);
        let kept = [here, there.join().unwrap()]
            .iter()
            .filter(|noted| **noted == Noted::Kept)
            .count();
        let entered = ways.0.iter().filter(|entry| entry.words().state != 0);
        assert_eq!(entered.count(), 1);
        let words = table::find(&ways.0, 1).unwrap().told(1);
        assert_eq!(words.creates, kept as u64);
    });
}

/// A create that comes while all marks start afresh is one of the generation that it found: only its count may go to the next.
pub(crate) fn a_create_amid_a_reset_is_of_one_generation() {
    explore(4, || {
        let marks = Arc::new((Mark::new(), AtomicU64::new(1)));
        let sample = |before| Sample {
            before,
            inside: None,
            spent: None,
            depth: 0,
        };
        let note = move |marks: &(Mark, AtomicU64), before| {
            let generation = mark::generation(&marks.1);
            marks.0.note(generation, &sample(before));
            generation
        };
        let other = marks.clone();
        let creates = thread::spawn(move || note(&other, 10));
        assert_eq!(mark::next_generation(&marks.1), 2);
        assert_eq!(note(&marks, 20), 2);
        let found = creates.join().unwrap();
        let told = marks.0.words().told(2);
        match found {
            1 => assert!(
                told.lowest_before == Some(20) && matches!(told.creates, 1 | 2),
                "{told:?}"
            ),
            2 => assert_eq!((told.lowest_before, told.creates), (Some(10), 2)),
            other => panic!("generation {other}"),
        }
    });
}
