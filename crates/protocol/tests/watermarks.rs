//! The words of the watermarks: which of two is kept, and what a reader makes of any.

use proptest::prelude::*;
use protocol::{
    DecodeError, MARKS_SIGNATURE, MarkWords, Marks, NEST_SLOTS, PROCESS_SLOTS, ProcessWords,
    Watermarks, entry, highest, lowest, process_key, tally,
};
use zerocopy::IntoBytes as _;

fn none() -> Watermarks {
    Watermarks {
        signature: MARKS_SIGNATURE,
        version: 1,
        bytes: 5504,
        mark_bytes: 40,
        process_bytes: 64,
        nest_slots: 32,
        process_slots: 64,
        generation: 1,
        evicted: 0,
        turned_away: 0,
        skipped: 0,
        entering: 0,
        reserved: 0,
        system: MarkWords::default(),
        nest: [MarkWords::default(); NEST_SLOTS],
        processes: [ProcessWords::FREE; PROCESS_SLOTS],
    }
}

#[test]
fn zeros_are_no_marks() {
    let read = Watermarks::decode(none().as_bytes()).unwrap();
    assert_eq!(read.system(), Marks::default());
    assert_eq!((read.depths().count(), read.images().count()), (0, 0));
}

#[test]
fn an_entry_that_is_being_replaced_is_nobody_s() {
    let mut marks = none();
    let name = *b"explorer.exe\0\0\0\0";
    let held = ProcessWords {
        state: entry::of(process_key(&name)) | 3,
        image_name: name,
        marks: MarkWords {
            lowest_before: lowest::word(1, 0x700),
            creates: tally::word(1, 5),
            ..MarkWords::default()
        },
    };
    marks.processes[9] = held;
    let told: Vec<_> = marks.images().collect();
    assert_eq!(told.len(), 1);
    assert_eq!(
        (told[0].0, told[0].1.lowest_before, told[0].1.creates),
        (&b"explorer.exe"[..], Some(0x700), 5)
    );
    assert_eq!(entry::users(held.state), 3);
    marks.processes[9].state |= entry::REPLACING;
    assert_eq!(marks.images().count(), 0);
    marks.processes[9] = held;
    marks.generation = 2;
    assert_eq!(marks.images().count(), 0, "of a generation that is over");
}

#[test]
fn wrong_watermarks_say_what_is_wrong() {
    let wrong = |change: fn(&mut Watermarks)| {
        let mut marks = none();
        change(&mut marks);
        Watermarks::decode(marks.as_bytes()).unwrap_err()
    };
    assert!(matches!(
        wrong(|marks| marks.signature[15] = b'!'),
        DecodeError::Signature {
            symbol: "HEADROOM_WATERMARKS",
            ..
        }
    ));
    let error = wrong(|marks| marks.version = 7);
    assert!(
        error
            .to_string()
            .contains("HEADROOM_WATERMARKS has layout version 7, this reader knows version 1"),
        "{error}"
    );
    assert!(matches!(
        wrong(|marks| marks.nest_slots = 33),
        DecodeError::Size { found: 33, .. }
    ));
    assert!(matches!(
        Watermarks::decode(&none().as_bytes()[1..]),
        Err(DecodeError::Truncated { .. })
    ));
}

proptest! {
    /// The greater word is the one to keep: of a later generation always, else the more extreme one.
    #[test]
    fn the_greater_word_is_the_one_to_keep(
        generation in 1..u64::from(u32::MAX), a in any::<u32>(), b in any::<u32>(),
    ) {
        let low = lowest::word(generation, a).max(lowest::word(generation, b));
        prop_assert_eq!(lowest::value(low, generation), Some(a.min(b)));
        let high = highest::word(generation, a).max(highest::word(generation, b));
        prop_assert_eq!(highest::value(high, generation), Some(a.max(b)));
        let later = lowest::word(generation, a).max(lowest::word(generation + 1, b));
        prop_assert_eq!(lowest::value(later, generation + 1), Some(b));
        prop_assert_eq!(lowest::value(later, generation), None);
    }

    #[test]
    fn a_count_belongs_to_its_generation(
        generation in 1..u64::from(u32::MAX), count in 0..1_u64 << 48, later in 1..100_u64,
    ) {
        let word = tally::word(generation, count);
        prop_assert_eq!(tally::value(word, generation), count);
        prop_assert_eq!(tally::value(word, generation + later), 0);
        prop_assert!(tally::age(word, generation + later) > 0);
        prop_assert!(tally::age(tally::word(generation + later, count), generation) < 0);
    }

    #[test]
    fn a_state_is_taken_apart_as_it_was_put_together(name in any::<[u8; 16]>(), users in 0..0x1_0000_u64) {
        let key = process_key(&name);
        let state = entry::of(key) + users;
        prop_assert_eq!((entry::key(state), entry::users(state), entry::is_replaced(state)), (key, users, false));
        prop_assert!(entry::is_replaced(state | entry::REPLACING) && key != 0);
    }
}
