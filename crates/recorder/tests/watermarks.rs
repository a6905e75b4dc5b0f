//! The watermarks as the driver uses them: one thread first, then many at once.
#![cfg(not(feature = "loom"))]

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use protocol::{IMAGE_NAME_BYTES, Marks, NEST_SLOTS, PROCESS_WAYS, process_key};
use recorder::mark::Mark;
use recorder::{Sample, Watermarks};
use zerocopy::{FromZeros as _, IntoBytes as _};

type Name = [u8; IMAGE_NAME_BYTES];

fn name(text: &str) -> Name {
    let mut name = [0; IMAGE_NAME_BYTES];
    name[..text.len()].copy_from_slice(text.as_bytes());
    name
}

fn sample(before: u32) -> Sample {
    Sample {
        before,
        inside: None,
        spent: None,
        depth: 0,
    }
}

fn copy(marks: &Watermarks) -> Box<protocol::Watermarks> {
    let mut plain = Box::new(protocol::Watermarks::new_zeroed());
    marks.copy_to(&mut plain);
    plain
}

fn image(plain: &protocol::Watermarks, name: &str) -> Option<Marks> {
    let mut found = plain
        .images()
        .filter(|(image, _)| *image == name.as_bytes());
    let marks = found.next().map(|(_, marks)| marks);
    assert!(found.next().is_none(), "{name} has two entries");
    marks
}

/// Names of images that compete for the same places.
fn rivals(count: usize) -> Vec<Name> {
    let mut rivals: Vec<Name> = (0..)
        .map(|n| name(&format!("rival{n}.exe")))
        .filter(|name| process_key(name) % 8 == 3)
        .take(count)
        .collect();
    rivals.dedup();
    rivals
}

#[test]
fn the_extremes_stay_for_the_system_each_depth_and_each_image() {
    let marks = Watermarks::new();
    let full = |before, inside, spent, depth| Sample {
        before,
        inside: Some(inside),
        spent: Some(spent),
        depth,
    };
    marks.note(&full(0x5000, 0x5f00, 0x300, 0), &name("explorer.exe"));
    marks.note(&full(0x1200, 0x5e00, 0x900, 1), &name("explorer.exe"));
    marks.note(&full(0x3000, 0x5d00, 0x100, 40), &name("System"));
    marks.note(&sample(0x4000), &name("System"));

    let plain = copy(&marks);
    let all = Marks {
        lowest_before: Some(0x1200),
        lowest_inside: Some(0x5d00),
        most_spent: Some(0x900),
        deepest: Some(40),
        creates: 4,
    };
    assert_eq!(plain.system(), all);
    let explorer = Marks {
        lowest_before: Some(0x1200),
        lowest_inside: Some(0x5e00),
        most_spent: Some(0x900),
        deepest: Some(1),
        creates: 2,
    };
    assert_eq!(image(&plain, "explorer.exe"), Some(explorer));
    assert_eq!(image(&plain, "System").unwrap().lowest_before, Some(0x3000));
    assert_eq!(image(&plain, "absent"), None);
    let depths: Vec<(usize, Option<u32>, u64)> = plain
        .depths()
        .map(|(depth, marks)| (depth, marks.lowest_before, marks.creates))
        .collect();
    assert_eq!(
        depths,
        [
            (0, Some(0x4000), 2),
            (1, Some(0x1200), 1),
            (NEST_SLOTS - 1, Some(0x3000), 1)
        ],
        "the last depth collects the deeper ones"
    );
    assert_eq!(
        plain.nest[NEST_SLOTS - 1].told(plain.generation).deepest,
        Some(40),
        "and says how deep they were"
    );
}

#[test]
fn zero_and_the_largest_number_are_marks_like_any_other() {
    let marks = Watermarks::new();
    assert_eq!(copy(&marks).system(), Marks::default(), "none yet");
    marks.note(&sample(u32::MAX), &name("a"));
    assert_eq!(copy(&marks).system().lowest_before, Some(u32::MAX));
    marks.note(&sample(0), &name("a"));
    assert_eq!(copy(&marks).system().lowest_before, Some(0));
    assert_eq!(copy(&marks).system().lowest_inside, None, "never measured");
}

#[test]
fn a_debugger_reads_what_the_driver_wrote() {
    static MARKS: Watermarks = Watermarks::new();
    MARKS.note(&sample(0x777), &name("notepad.exe"));
    let address = (&raw const MARKS).cast::<u8>();
    // SAFETY: the static is that many initialised bytes, and nothing writes to it while they are copied.
    let bytes = unsafe { std::slice::from_raw_parts(address, size_of::<Watermarks>()) }.to_vec();
    let plain = protocol::Watermarks::decode(&bytes).unwrap();
    assert_eq!(plain, *copy(&MARKS));
    assert_eq!(plain.as_bytes(), bytes);
    let mut memory = vec![0xcc; 333];
    memory.extend(protocol::MARKS_SIGNATURE);
    memory.extend([0; 7]);
    let at = memory.len();
    memory.extend(&bytes);
    let found: Vec<(usize, _)> = protocol::find_watermarks(&memory).collect();
    assert_eq!(found, [(at, plain)]);
}

#[test]
fn a_reset_forgets_everything_and_late_creates_change_nothing() {
    let marks = Watermarks::new();
    marks.note(&sample(0x100), &name("early.exe"));
    assert_eq!(marks.reset(), 2);
    let plain = copy(&marks);
    assert_eq!(
        (
            plain.generation,
            plain.system(),
            plain.images().count(),
            plain.depths().count()
        ),
        (2, Marks::default(), 0, 0)
    );
    marks.note(&sample(0x4000), &name("early.exe"));
    let early = image(&copy(&marks), "early.exe").unwrap();
    assert_eq!((early.lowest_before, early.creates), (Some(0x4000), 1));

    // A thread that read the generation before the reset and writes after it.
    let mark = Mark::new();
    mark.note(7, &sample(0x2000));
    mark.note(6, &sample(0x10));
    let told = mark.words().told(7);
    assert_eq!((told.lowest_before, told.creates), (Some(0x2000), 1));
    mark.note(8, &sample(0x3000));
    let told = mark.words().told(8);
    assert_eq!((told.lowest_before, told.creates), (Some(0x3000), 1));
}

#[test]
fn the_least_worrying_image_makes_room_and_only_for_a_worse_one() {
    let marks = Watermarks::new();
    let rivals = rivals(PROCESS_WAYS + 3);
    let (first, late) = rivals.split_at(PROCESS_WAYS);
    for (n, name) in (1..).zip(first) {
        marks.note(&sample(0x1000 * n), name);
    }
    let held = |plain: &protocol::Watermarks| -> HashSet<Name> {
        plain
            .processes
            .iter()
            .filter(|entry| entry.state != 0)
            .map(|entry| entry.image_name)
            .collect()
    };
    assert_eq!(held(&copy(&marks)), first.iter().copied().collect());

    marks.note(&sample(0x8000), &late[0]);
    let plain = copy(&marks);
    assert_eq!(
        (plain.turned_away, plain.evicted),
        (1, 0),
        "no worse than the least worrying"
    );
    assert_eq!(held(&plain), first.iter().copied().collect());

    marks.note(&sample(0x7fff), &late[1]);
    let plain = copy(&marks);
    assert_eq!((plain.turned_away, plain.evicted), (1, 1));
    assert!(!held(&plain).contains(&first[PROCESS_WAYS - 1]) && held(&plain).contains(&late[1]));

    // What a reset has emptied is taken first, and nothing is lost with it.
    marks.reset();
    marks.note(&sample(0x9000), &late[2]);
    let plain = copy(&marks);
    assert_eq!((plain.turned_away, plain.evicted, plain.skipped), (1, 1, 0));
    assert!(held(&plain).contains(&late[2]));
}

/// Four threads, more images than places, no entry that ever mixes two images, no mark lost that had to stay.
#[test]
fn minima_are_never_lost_among_many_threads() {
    const THREADS: u32 = 4;
    const EACH: u32 = if cfg!(miri) { 500 } else { 40_000 };
    let marks = Watermarks::new();
    let names = rivals(PROCESS_WAYS * 3);
    // Image n never goes below 0x100 * (n + 1), and gets there: the first eight are the most worrying.
    let floor = |n: usize| 0x100 * (u32::try_from(n).unwrap() + 1);
    let lowest = AtomicU32::new(u32::MAX);
    let deepest: Vec<AtomicU32> = (0..NEST_SLOTS).map(|_| AtomicU32::new(u32::MAX)).collect();
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let (marks, names, lowest, deepest) = (&marks, &names, &lowest, &deepest);
            scope.spawn(move || {
                let mut random = u64::from(thread + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
                for round in 0..EACH {
                    random ^= random << 13;
                    random ^= random >> 7;
                    random ^= random << 17;
                    let image = usize::try_from(random % names.len() as u64).unwrap();
                    let above = u32::try_from(random >> 32 & 0xfff).unwrap();
                    let before = floor(image) + if round > EACH / 2 { above / 16 } else { above };
                    let depth = u32::try_from(random >> 48 & 31).unwrap();
                    let sample = Sample {
                        before,
                        inside: Some(before + 1),
                        spent: Some(0x1_0000 - before),
                        depth,
                    };
                    marks.note(&sample, &names[image]);
                    lowest.fetch_min(before, Ordering::Relaxed);
                    deepest[depth as usize].fetch_min(before, Ordering::Relaxed);
                }
            });
        }
    });
    let plain = copy(&marks);
    let lowest = lowest.into_inner();
    assert_eq!(
        plain.system(),
        Marks {
            lowest_before: Some(lowest),
            lowest_inside: Some(lowest + 1),
            most_spent: Some(0x1_0000 - lowest),
            deepest: Some(31),
            creates: u64::from(THREADS * EACH),
        }
    );
    for (depth, expected) in deepest.iter().enumerate() {
        assert_eq!(
            plain.nest[depth].told(1).lowest_before,
            Some(expected.load(Ordering::Relaxed)),
            "depth {depth}"
        );
    }
    let mut seen = HashMap::new();
    for (image, told) in plain.images() {
        let n = names
            .iter()
            .position(|name| name.starts_with(image) && name[image.len()..].iter().all(|&b| b == 0))
            .expect("a name that was noted");
        assert!(seen.insert(n, told).is_none(), "image {n} has two entries");
        assert!(
            told.lowest_before.unwrap() >= floor(n),
            "image {n} has another one's mark: {told:?}"
        );
        assert_eq!(
            told.lowest_before.map(|before| before + 1),
            told.lowest_inside,
            "image {n}: {told:?}"
        );
    }
    assert_eq!(seen.len(), PROCESS_WAYS);
    assert!(
        plain.evicted > 0 && plain.turned_away > 0,
        "the table was full"
    );
    // The image that came closest of all is there, with the mark that the whole system has.
    assert!(
        seen.values().any(|told| told.lowest_before == Some(lowest)),
        "{seen:?}"
    );
    assert_eq!(
        plain
            .processes
            .iter()
            .map(|entry| entry.state & 0x1_ffff)
            .max(),
        Some(0),
        "nobody was left behind"
    );
}

/// Resets among creates: what was noted before the last reset is gone, what was noted after it is there.
#[test]
fn resets_among_many_threads() {
    const EACH: u32 = if cfg!(miri) { 100 } else { 20_000 };
    const RESETS: u64 = if cfg!(miri) { 20 } else { 1_000 };
    let marks = Watermarks::new();
    thread::scope(|scope| {
        for thread in 0..3_u32 {
            let marks = &marks;
            scope.spawn(move || {
                for round in 0..EACH {
                    marks.note(&sample(0x10 + round % 7), &name(&format!("p{thread}")));
                }
            });
        }
        scope.spawn(|| {
            for _ in 0..RESETS {
                marks.reset();
                thread::yield_now();
            }
        });
    });
    let generation = marks.reset();
    assert_eq!(generation, RESETS + 2);
    marks.note(&sample(0x5000), &name("p0"));
    let plain = copy(&marks);
    assert_eq!(plain.system().lowest_before, Some(0x5000));
    assert_eq!(plain.system().creates, 1);
    assert_eq!(plain.images().count(), 1);
}

/// A create of which only what was left of the stack is known lowers the system's mark and counts there, and nowhere else.
#[test]
fn what_is_left_of_the_stack_can_be_noted_alone() {
    let marks = Watermarks::new();
    marks.note(&sample(0x5000), &name("some.exe"));
    marks.note_before(0x180);
    let plain = copy(&marks);
    let expected = Marks {
        lowest_before: Some(0x180),
        deepest: Some(0),
        creates: 2,
        ..Marks::default()
    };
    assert_eq!(plain.system(), expected);
    assert_eq!(
        plain.depths().map(|(_, marks)| marks.creates).sum::<u64>(),
        1
    );
    assert_eq!(image(&plain, "some.exe").unwrap().creates, 1);
}
