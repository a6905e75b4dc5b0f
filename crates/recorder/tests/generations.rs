//! The watermarks against a model: notes of more images than have a place, and resets between them.
#![cfg(not(feature = "loom"))]

use std::collections::BTreeMap;

use proptest::prelude::*;
use protocol::{IMAGE_NAME_BYTES, Marks, NEST_SLOTS, PROCESS_SLOTS, PROCESS_WAYS, process_key};
use recorder::{Sample, Watermarks};
use zerocopy::FromZeros as _;

#[derive(Clone, Debug)]
enum Step {
    /// An image's create.
    Note(usize, Sample),
    /// One that had no stack for more.
    NoteBefore(u32),
    Reset,
}

fn step() -> impl Strategy<Value = Step> {
    // Few values: images that come equally close are where the table has to choose.
    let bytes = || prop_oneof![8 => 0..12_u32, 1 => Just(u32::MAX)];
    let sample = (
        bytes(),
        prop::option::of(bytes()),
        prop::option::of(bytes()),
        0..40_u32,
    )
        .prop_map(|(before, inside, spent, depth)| Sample {
            before,
            inside,
            spent,
            depth,
        });
    prop_oneof![
        20 => (0..IMAGES, sample).prop_map(|(image, sample)| Step::Note(image, sample)),
        2 => bytes().prop_map(Step::NoteBefore),
        1 => Just(Step::Reset),
    ]
}

/// More than have a place.
const IMAGES: usize = PROCESS_WAYS + 4;

/// Names that compete for the same places.
fn rivals() -> Vec<[u8; IMAGE_NAME_BYTES]> {
    let name = |number: u32| {
        let mut name = [0; IMAGE_NAME_BYTES];
        let text = format!("rival{number}.exe");
        name[..text.len()].copy_from_slice(text.as_bytes());
        name
    };
    let sets = (PROCESS_SLOTS / PROCESS_WAYS) as u64;
    let names = (0..).map(name);
    names
        .filter(|name| process_key(name) % sets == 3)
        .take(IMAGES)
        .collect()
}

fn add(marks: &mut Marks, sample: &Sample) {
    add_before(marks, sample.before);
    let least = |mark: Option<u32>, value: u32| Some(mark.map_or(value, |mark| mark.min(value)));
    if let Some(inside) = sample.inside {
        marks.lowest_inside = least(marks.lowest_inside, inside);
    }
    marks.most_spent = marks.most_spent.max(sample.spent);
    marks.deepest = marks.deepest.max(Some(sample.depth));
}

fn add_before(marks: &mut Marks, before: u32) {
    let lowest = marks.lowest_before.map_or(before, |mark| mark.min(before));
    marks.lowest_before = Some(lowest);
    marks.creates += 1;
}

/// What one generation holds: a reset begins another, in which only the places' former owners are known.
#[derive(Default)]
struct Generation {
    system: Marks,
    depths: BTreeMap<usize, Marks>,
    places: [Option<(usize, Marks)>; PROCESS_WAYS],
}

/// How little a place would be missed.
fn standing(place: &Option<(usize, Marks)>) -> u64 {
    let Some((_, marks)) = place else {
        return u64::MAX;
    };
    marks.lowest_before.map_or(1 << 32, u64::from)
}

impl Generation {
    /// Whether another image was given up for this one's sample; `None`: it was turned away.
    fn note(&mut self, image: usize, sample: &Sample) -> Option<bool> {
        add(&mut self.system, sample);
        let depth = (sample.depth as usize).min(NEST_SLOTS - 1);
        add(self.depths.entry(depth).or_default(), sample);
        let held = self
            .places
            .iter_mut()
            .flatten()
            .find(|(held, _)| *held == image);
        if let Some((_, marks)) = held {
            add(marks, sample);
            return Some(false);
        }
        let victim = self.places.iter_mut().max_by_key(|place| standing(place))?;
        let stands = standing(victim);
        if stands <= u64::from(sample.before) {
            return None;
        }
        let (_, marks) = victim.insert((image, Marks::default()));
        add(marks, sample);
        Some(stands < 1 << 32)
    }

    fn reset(&mut self) {
        self.system = Marks::default();
        self.depths.clear();
        for (_, marks) in self.places.iter_mut().flatten() {
            *marks = Marks::default();
        }
    }
}

fn generations(steps: Vec<Step>) -> Result<(), TestCaseError> {
    let names = rivals();
    let marks = Watermarks::new();
    let mut model = Generation::default();
    let (mut generation, mut evicted, mut turned_away) = (1, 0, 0);
    let mut plain = Box::new(protocol::Watermarks::new_zeroed());
    for step in steps {
        match step {
            Step::Note(image, sample) => {
                marks.note(&sample, &names[image]);
                let noted = model.note(image, &sample);
                evicted += u64::from(noted == Some(true));
                turned_away += u64::from(noted.is_none());
            }
            Step::NoteBefore(before) => {
                marks.note_before(before);
                add_before(&mut model.system, before);
            }
            Step::Reset => {
                generation += 1;
                prop_assert_eq!(marks.reset(), generation);
                model.reset();
            }
        }
        marks.copy_to(&mut plain);
        prop_assert_eq!(
            [
                plain.generation,
                plain.evicted,
                plain.turned_away,
                plain.skipped
            ],
            [generation, evicted, turned_away, 0]
        );
        prop_assert_eq!(plain.system(), model.system);
        let depths: BTreeMap<usize, Marks> = plain.depths().collect();
        prop_assert_eq!(&depths, &model.depths);
        let images: BTreeMap<Vec<u8>, Marks> = plain
            .images()
            .map(|(name, marks)| (name.to_vec(), marks))
            .collect();
        let held = model.places.iter().flatten();
        let expected: BTreeMap<Vec<u8>, Marks> = held
            .filter(|(_, marks)| marks.creates > 0)
            .map(|(image, marks)| {
                let name = names[*image].iter().copied();
                (name.take_while(|byte| *byte != 0).collect(), *marks)
            })
            .collect();
        prop_assert_eq!(images, expected);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 4 } else { 400 }))]

    #[test]
    fn a_generation_keeps_nothing_of_the_one_before(steps in prop::collection::vec(step(), 0..80)) {
        generations(steps)?;
    }
}
