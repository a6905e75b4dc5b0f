//! Opens that a machine makes by itself, so that there is something to watch.

use std::path::Path;
use std::time::Duration;

use ntbench::Machine;
use ntbench::wire::{CreateFile, StackKind, ThreadSpec};

use super::start::{directories, share_root};

/// Who opens: the images of ordinary programs, one with a large kernel stack.
const OPENERS: [(&str, StackKind); 3] = [
    ("explorer.exe", StackKind::Large),
    ("backup.exe", StackKind::Ordinary),
    ("winword.exe", StackKind::Ordinary),
];

/// The most directories that the openers choose from.
const MOST: usize = 1000;

/// Starts the openers: together so many opens per second, each of a directory below the share, chosen without order.
pub(super) fn start(machine: &Machine, per_second: u32, share: &Path) {
    let paths: Vec<String> = directories(share, MOST);
    let pause = Duration::from_secs(OPENERS.len() as u64) / per_second.max(1);
    for (seed, (image, stack)) in (1..).zip(OPENERS) {
        let (machine, paths) = (machine.clone(), paths.clone());
        std::thread::spawn(move || open_all(&machine, (image, stack), &paths, pause, seed));
    }
}

/// Opens until the machine has ended.
fn open_all(
    machine: &Machine,
    (image, stack): (&str, StackKind),
    paths: &[String],
    pause: Duration,
    seed: u64,
) {
    let Ok(thread) = machine.thread(ThreadSpec {
        process_image: image.to_owned(),
        process: 0,
        stack,
    }) else {
        return;
    };
    let root = share_root();
    let root = format!(r"\??\UNC\{}", root.trim_start_matches('\\'));
    let mut state = seed;
    loop {
        // An xorshift generator: any order will do, and it is to be the same each time.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let path = usize::try_from(state)
            .ok()
            .and_then(|number| paths.get(number.checked_rem(paths.len())?));
        let create = CreateFile {
            name: format!("{root}{}", path.map_or("", String::as_str)),
            ..CreateFile::default()
        };
        let Ok(opened) = thread.create_file(&create) else {
            return;
        };
        if opened.handle != 0 && thread.close(opened.handle).is_err() {
            return;
        }
        std::thread::sleep(pause);
    }
}
