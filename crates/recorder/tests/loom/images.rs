//! The kept names of process images.

use loom::sync::Arc;
use loom::thread;
use recorder::images::{Place, Process};

use crate::explore;

/// A process and what its image is called.
fn named(number: u8) -> (Process, [u8; 16]) {
    let process = Process {
        object: number.into(),
        id: number.into(),
        created: number.into(),
    };
    (process, [number; 16])
}

fn find(place: &Place, number: u8) {
    let (process, name) = named(number);
    if let Some(found) = place.find(&process) {
        assert_eq!(found, name, "half of another name");
    }
}

pub(crate) fn a_kept_name_is_found_whole_and_for_its_process_alone() {
    explore(2, || {
        let place = Arc::new(Place::new());
        let other = place.clone();
        let writer = thread::spawn(move || {
            for number in [1, 2] {
                let (process, name) = named(number);
                other.keep(&process, &name);
            }
        });
        find(&place, 1);
        find(&place, 2);
        writer.join().unwrap();
        let (last, name) = named(2);
        assert_eq!(place.find(&last), Some(name));
    });
}

pub(crate) fn of_two_names_kept_at_once_none_is_mixed() {
    explore(2, || {
        let place = Arc::new(Place::new());
        let other = place.clone();
        let writer = thread::spawn(move || {
            let (process, name) = named(1);
            other.keep(&process, &name);
        });
        let (process, name) = named(2);
        place.keep(&process, &name);
        writer.join().unwrap();
        find(&place, 1);
        find(&place, 2);
    });
}
