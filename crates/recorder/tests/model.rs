//! The ring against a model of it: any sequence of what writers and readers do, one at a time, and the model says what each comes to.
#![cfg(not(feature = "loom"))]

use std::collections::BTreeSet;

use proptest::prelude::*;
use recorder::ring::{Claim, Counters};
use recorder::{Drained, ReadError, Ring, Slot};

/// What is done.
#[derive(Clone, Debug)]
enum Op {
    /// A slot is taken, to be filled later.
    Claim,
    /// One of those is filled.
    Commit(usize),
    /// One of those is given up.
    Abandon(usize),
    /// A record is written at once.
    Write,
    /// A value becomes known for the record so many before the head.
    Complete(u64, u32),
    /// The record so many before the head is looked at.
    Read(u64),
    /// So many are written while one is looked at.
    WriteBeside(u64, u8),
    /// A reader takes so many records.
    Drain(usize, u64),
    /// A reader starts again from there.
    Seek(usize, u64),
}

const READERS: usize = 3;

fn op() -> impl Strategy<Value = Op> {
    let back = 0..12_u64;
    prop_oneof![
        3 => Just(Op::Claim),
        3 => any::<usize>().prop_map(Op::Commit),
        1 => any::<usize>().prop_map(Op::Abandon),
        6 => Just(Op::Write),
        2 => (back.clone(), any::<u32>()).prop_map(|(back, value)| Op::Complete(back, value)),
        2 => back.clone().prop_map(Op::Read),
        1 => (back.clone(), 1..20_u8).prop_map(|(back, count)| Op::WriteBeside(back, count)),
        4 => (0..READERS, 0..10_u64).prop_map(|(reader, count)| Op::Drain(reader, count)),
        1 => (0..READERS, back).prop_map(|(reader, back)| Op::Seek(reader, back)),
    ]
}

#[derive(Clone, Copy, PartialEq)]
enum Holds {
    /// A claim that was given up, or nothing yet.
    Nothing,
    Claim,
    Record(Option<u32>),
}

/// For each slot, the last sequence that took it, and what it holds.
struct Model {
    slots: Vec<(u64, Holds)>,
    head: u64,
    written: u64,
    overwritten: u64,
    skipped: u64,
    voided: u64,
    abandoned: u64,
    committed: BTreeSet<u64>,
}

impl Model {
    fn slot(&mut self, sequence: u64) -> &mut (u64, Holds) {
        let index = sequence as usize % self.slots.len();
        &mut self.slots[index]
    }

    /// `pinned`: the sequence whose slot is being read.
    fn claim(&mut self, pinned: Option<u64>) -> Option<u64> {
        for _ in 0..32 {
            self.head += 1;
            let head = self.head;
            let slot = self.slot(head);
            if slot.1 == Holds::Claim || pinned == Some(slot.0) && slot.0 > 0 {
                self.voided += 1;
                continue;
            }
            let replaced = matches!(slot.1, Holds::Record(_));
            *slot = (head, Holds::Claim);
            self.overwritten += u64::from(replaced);
            return Some(head);
        }
        self.skipped += 1;
        None
    }

    fn commit(&mut self, sequence: u64) {
        self.slot(sequence).1 = Holds::Record(None);
        self.written += 1;
        self.committed.insert(sequence);
    }

    fn read(&mut self, sequence: u64) -> Result<Option<u32>, ReadError> {
        if sequence == 0 || sequence > self.head {
            return Err(ReadError::NotYet);
        }
        match *self.slot(sequence) {
            (last, _) if last > sequence => Err(ReadError::Overwritten),
            (last, _) if last < sequence => Err(ReadError::Void),
            (_, Holds::Nothing) => Err(ReadError::Void),
            (_, Holds::Claim) => Err(ReadError::InFlight),
            (_, Holds::Record(value)) => Ok(value),
        }
    }

    fn drain(&mut self, cursor: &mut u64, most: u64) -> (Vec<u64>, u64) {
        let capacity = self.slots.len() as u64;
        let from = (*cursor).max(1);
        let oldest = (self.head + 1).saturating_sub(capacity).max(1);
        *cursor = from.max(oldest);
        let (mut seen, mut lost) = (Vec::new(), *cursor - from);
        while *cursor <= self.head {
            match self.read(*cursor) {
                Ok(_) if seen.len() as u64 == most => break,
                Ok(_) => seen.push(*cursor),
                Err(ReadError::InFlight) if self.head - *cursor < capacity / 2 => break,
                Err(ReadError::InFlight | ReadError::Overwritten) => lost += 1,
                Err(_) => {}
            }
            *cursor += 1;
        }
        (seen, lost)
    }
}

/// What a reader has seen since it began, and where.
#[derive(Default)]
struct Reader {
    cursor: u64,
    began: u64,
    seen: BTreeSet<u64>,
    lost: u64,
}

fn filled(mut claim: Claim<'_, u64>) -> u64 {
    *claim = claim.sequence() ^ 0x5555;
    claim.commit()
}

fn play(capacity: usize, ops: Vec<Op>) -> Result<(), TestCaseError> {
    let slots: Vec<Slot<u64>> = (0..capacity).map(|_| Slot::new(0)).collect();
    let counters = Counters::new();
    let ring = Ring::new(&slots, &counters).unwrap();
    let mut model = Model {
        slots: vec![(0, Holds::Nothing); capacity],
        head: 0,
        written: 0,
        overwritten: 0,
        skipped: 0,
        voided: 0,
        abandoned: 0,
        committed: BTreeSet::new(),
    };
    let mut claims: Vec<Claim<'_, u64>> = Vec::new();
    let mut readers: [Reader; READERS] = Default::default();
    for op in ops {
        match op {
            Op::Claim => {
                let claim = ring.claim();
                prop_assert_eq!(claim.as_ref().map(Claim::sequence), model.claim(None));
                claims.extend(claim);
            }
            Op::Commit(which) | Op::Abandon(which) if !claims.is_empty() => {
                let claim = claims.swap_remove(which % claims.len());
                let sequence = claim.sequence();
                if matches!(op, Op::Commit(_)) {
                    filled(claim);
                    model.commit(sequence);
                } else {
                    drop(claim);
                    model.slot(sequence).1 = Holds::Nothing;
                    model.abandoned += 1;
                }
            }
            Op::Commit(_) | Op::Abandon(_) => {}
            Op::Write => {
                let written = ring.claim().map(filled);
                let expected = model.claim(None);
                prop_assert_eq!(written, expected);
                expected
                    .into_iter()
                    .for_each(|sequence| model.commit(sequence));
            }
            Op::Complete(back, value) => {
                let sequence = model.head.saturating_sub(back);
                let (last, holds) = *model.slot(sequence);
                // A create whose record was not committed is never completed.
                if last != sequence || sequence == 0 || matches!(holds, Holds::Record(_)) {
                    let expected = model.read(sequence) == Ok(None);
                    if expected {
                        model.slot(sequence).1 = Holds::Record(Some(value));
                    }
                    prop_assert_eq!(ring.complete(sequence, value), expected);
                }
            }
            Op::Read(back) => {
                let sequence = model.head.saturating_sub(back);
                let read = ring.read(sequence, |record, value| (*record, value));
                let expected = model.read(sequence).map(|value| (sequence ^ 0x5555, value));
                prop_assert_eq!(read, expected);
            }
            Op::WriteBeside(back, count) => {
                let sequence = model.head.saturating_sub(back);
                let read = ring.read(sequence, |record, _| {
                    let written: Vec<_> = (0..count).map(|_| ring.claim().map(filled)).collect();
                    (*record, written)
                });
                if let Ok((record, written)) = read {
                    prop_assert_eq!(record, sequence ^ 0x5555, "what is being read stays");
                    for sequence_written in written {
                        let expected = model.claim(Some(sequence));
                        prop_assert_eq!(sequence_written, expected);
                        expected
                            .into_iter()
                            .for_each(|written| model.commit(written));
                    }
                }
            }
            Op::Drain(which, most) => {
                let reader = &mut readers[which];
                let (mut cursor, mut seen) = (reader.cursor, Vec::new());
                let drained = ring.drain(&mut cursor, |record, _| {
                    let takes = (seen.len() as u64) < most;
                    if takes {
                        seen.push(record ^ 0x5555);
                    }
                    takes
                });
                let (expected, lost) = model.drain(&mut reader.cursor, most);
                prop_assert_eq!(&seen, &expected);
                let taken = seen.len() as u64;
                prop_assert_eq!((drained, cursor), (Drained { taken, lost }, reader.cursor));
                for sequence in seen {
                    prop_assert!(reader.seen.insert(sequence), "{} twice", sequence);
                }
                reader.lost += lost;
            }
            Op::Seek(which, back) => {
                let cursor = model.head.saturating_sub(back);
                readers[which] = Reader {
                    cursor,
                    began: cursor,
                    ..Reader::default()
                };
            }
        }
        let counted = [
            counters.head(),
            counters.written(),
            counters.overwritten(),
            counters.skipped(),
            counters.voided(),
            counters.abandoned(),
        ];
        let expected = [
            model.head,
            model.written,
            model.overwritten,
            model.skipped,
            model.voided,
            model.abandoned,
        ];
        prop_assert_eq!(counted, expected);
        let given = model.written + model.voided + model.abandoned + claims.len() as u64;
        prop_assert_eq!(model.head, given, "each sequence has one end");
    }
    for reader in &readers {
        let passed = model
            .committed
            .range(reader.began..reader.cursor.max(reader.began));
        let missed = passed
            .filter(|sequence| !reader.seen.contains(sequence))
            .count() as u64;
        prop_assert!(
            missed <= reader.lost,
            "{} missed, {} told",
            missed,
            reader.lost
        );
    }
    claims.into_iter().for_each(drop);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 3 } else { 2_000 }))]

    #[test]
    fn the_ring_does_what_its_model_does(
        capacity in prop_oneof![Just(1), Just(2), Just(4), Just(8)],
        ops in prop::collection::vec(op(), 0..120),
    ) {
        play(capacity, ops)?;
    }
}
