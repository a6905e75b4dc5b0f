//! The kept names of process images.
#![cfg(not(feature = "loom"))]

use recorder::images::{ImageNames, Process};

fn process(object: u64, id: u64, created: u64) -> Process {
    Process {
        object,
        id,
        created,
    }
}

#[test]
fn a_name_is_kept_for_its_process_alone() {
    let names = ImageNames::new();
    let first = process(0xFFFF_8000_1234_5080, 4, 100);
    assert_eq!(names.find(&first), None);
    names.keep(&first, b"first.exe\0\0\0\0\0\0\0");
    assert_eq!(
        names.find(&first).as_ref(),
        Some(b"first.exe\0\0\0\0\0\0\0")
    );
    // The same address, and the same identifier, given again.
    for other in [
        process(first.object, 4, 101),
        process(first.object, 8, 100),
        process(first.object + 0x1000, 4, 100),
    ] {
        assert_eq!(names.find(&other), None, "{other:?}");
    }
}

#[test]
fn a_later_process_takes_the_place_of_an_earlier_one() {
    let names = ImageNames::new();
    let (first, second) = (process(0x1000, 4, 100), process(0x1000, 8, 200));
    names.keep(&first, b"first.exe\0\0\0\0\0\0\0");
    names.keep(&second, b"second.exe\0\0\0\0\0\0");
    assert_eq!(names.find(&first), None);
    assert_eq!(
        names.find(&second).as_ref(),
        Some(b"second.exe\0\0\0\0\0\0")
    );
}

#[test]
fn names_of_many_processes_do_not_mix() {
    const EACH: u64 = if cfg!(miri) { 300 } else { 20_000 };
    let names = ImageNames::new();
    std::thread::scope(|scope| {
        for thread in 0..4_u64 {
            let names = &names;
            scope.spawn(move || {
                for round in 0..EACH {
                    let number = (thread * 7 + round) % 300;
                    let process = process(0x1_0000 + number * 0x80, number, number * 3);
                    let mut name = [0; 16];
                    name[..8].copy_from_slice(&number.to_le_bytes());
                    name[8..].copy_from_slice(&number.to_le_bytes());
                    if let Some(found) = names.find(&process) {
                        assert_eq!(found, name);
                    }
                    names.keep(&process, &name);
                }
            });
        }
    });
}
