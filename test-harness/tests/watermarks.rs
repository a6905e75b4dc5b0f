//! The driver's watermarks against its own records, and as a search of memory finds them.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod common;

use std::collections::BTreeMap;

use common::{
    booted, config, directories, dword, end, expansion_fails, open, records, text, thread,
    watermarks,
};
use ntbench::wire::{StackKind, ThreadSpec};
use protocol::{Flags, Marks, NtStatus, Record, Watermarks};

const NO_MEMORY: u32 = 0xc000_0017;

/// The marks that these records make.
fn marks(records: &[&Record]) -> Marks {
    let inside = records
        .iter()
        .filter(|record| record.flags.contains(Flags::INSIDE_SAMPLED));
    Marks {
        lowest_before: records.iter().map(|record| record.before_remaining).min(),
        lowest_inside: inside.map(|record| record.inside_remaining).min(),
        most_spent: None,
        deepest: records.iter().map(|record| record.nest_depth).max(),
        creates: records.len() as u64,
    }
}

/// A mark that the records do not carry, left out.
fn recorded(marks: Marks) -> Marks {
    Marks {
        most_spent: None,
        ..marks
    }
}

fn by_depth(records: &[Record]) -> Vec<(usize, Marks)> {
    let mut depths: BTreeMap<usize, Vec<&Record>> = BTreeMap::new();
    for record in records {
        let depth = (record.nest_depth as usize).min(protocol::NEST_SLOTS - 1);
        depths.entry(depth).or_default().push(record);
    }
    depths
        .into_iter()
        .map(|(depth, records)| (depth, marks(&records)))
        .collect()
}

fn by_image(watermarks: &Watermarks) -> BTreeMap<String, Marks> {
    watermarks
        .images()
        .map(|(image, marks)| (String::from_utf8_lossy(image).into_owned(), recorded(marks)))
        .collect()
}

/// Two programs open paths of different depths, deeper than there are marks for; every mark is what the records say.
#[test]
fn the_marks_are_those_of_the_records() {
    let folder = tempfile::tempdir().unwrap();
    let deep = directories(folder.path(), 40);
    let shallow = directories(folder.path(), 2);
    let machine = booted(
        config(folder.path()),
        &[text("AncestorOpens", "Top"), dword("LogCapacity", 256)],
    );
    let mut expected = BTreeMap::new();
    let mut before = 0;
    for (image, path) in [("deep.exe", &deep), ("shallow.exe", &shallow)] {
        let thread = machine
            .thread(ThreadSpec {
                process_image: image.to_owned(),
                process: 0,
                stack: StackKind::Ordinary,
            })
            .unwrap();
        assert_eq!(open(&thread, path), NtStatus::SUCCESS);
        let (_, mut records) = records(&machine);
        records.retain(|record| record.sequence > before);
        before = records.iter().map(|record| record.sequence).max().unwrap();
        let own: Vec<&Record> = records.iter().collect();
        expected.insert(image.to_owned(), marks(&own));
    }
    let (anchor, records) = records(&machine);
    let all: Vec<&Record> = records.iter().collect();
    assert_eq!(all.len() as u64, anchor.written, "the ring holds them all");

    let watermarks = watermarks(&machine);
    assert_eq!(recorded(watermarks.system()), marks(&all));
    assert_eq!(watermarks.system().deepest, Some(40));
    let depths: Vec<(usize, Marks)> = watermarks
        .depths()
        .map(|(depth, marks)| (depth, recorded(marks)))
        .collect();
    assert_eq!(depths, by_depth(&records));
    assert_eq!(by_image(&watermarks), expected);
    assert_eq!(
        (
            watermarks.evicted,
            watermarks.turned_away,
            watermarks.skipped
        ),
        (0, 0, 0)
    );

    let spent = watermarks.system().most_spent.unwrap();
    assert!(
        (1..0x6000).contains(&spent),
        "an inspection used {spent:#x} bytes below its start"
    );
    end(machine);
}

/// A ring that is shorter than the nest: the creates that find no place in it are counted as skipped, and the watermarks know them
/// all the same, also where no inspection ran and where one waited for a worker.
#[test]
fn what_finds_no_record_is_in_the_marks() {
    let folder = tempfile::tempdir().unwrap();
    let path = directories(folder.path(), 12);
    for (failing, fallback, deepest) in [
        (false, "PassThrough", 12),
        (true, "PassThrough", 0),
        // The worker's stack has room for one inspection; the create that it nests asks for an expansion, too.
        (true, "Worker", 1),
        (true, "Deny", 0),
    ] {
        let mut config = config(folder.path());
        config
            .faults
            .extend(failing.then(|| expansion_fails(NO_MEMORY)));
        let machine = booted(
            config,
            &[
                text("AncestorOpens", "Top"),
                text("OnExpandFailure", fallback),
                dword("LogCapacity", 1),
            ],
        );
        let opener = thread(&machine, StackKind::Ordinary);
        let opened = open(&opener, &path);
        let denied = fallback == "Deny";
        assert_eq!(opened.is_success(), !denied, "{fallback}: {opened}");
        let (anchor, _) = records(&machine);
        let marks = watermarks(&machine).system();
        let told = format!("{failing} {fallback}: {anchor:?} {marks:?}");
        assert_eq!(marks.creates, anchor.written + anchor.skipped, "{told}");
        assert_eq!(marks.deepest, Some(deepest), "{told}");
        assert_eq!(marks.creates, u64::from(deepest) + 1, "{told}");
        assert_eq!(anchor.skipped > 0, deepest > 0, "{told}");
        assert_eq!(anchor.abandoned, 0, "{told}");
        end(machine);
    }
}

/// More images than there are places: the ones that come closest to the end of their stack are there.
#[test]
fn more_images_than_places_are_counted() {
    let folder = tempfile::tempdir().unwrap();
    let path = directories(folder.path(), 1);
    let machine = booted(config(folder.path()), &[]);
    let count = protocol::PROCESS_SLOTS + 40;
    for n in 0..count {
        let thread = machine
            .thread(ThreadSpec {
                process_image: format!("p{n}.exe"),
                process: 0,
                stack: StackKind::Ordinary,
            })
            .unwrap();
        assert_eq!(open(&thread, &path), NtStatus::SUCCESS);
        thread.end().unwrap();
    }
    let watermarks = watermarks(&machine);
    let held = by_image(&watermarks);
    assert!(held.len() <= protocol::PROCESS_SLOTS);
    // Each opened once: an image is held, was given up, or found no place.
    assert_eq!(
        held.len() as u64 + watermarks.evicted + watermarks.turned_away + watermarks.skipped,
        count as u64
    );
    assert_eq!(watermarks.system().creates, count as u64);
    end(machine);
}
