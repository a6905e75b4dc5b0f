//! The oplock keys that a file was opened with, where drivers ask for them: `IoGetOplockKeyContext`, `IoGetOplockKeyContextEx`.
//!
//! They lie in memory of the kernel's for as long as the file object is there.

use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use crate::abi::base::Guid;
use crate::maps::HashMap;
use crate::ntos::file::File;
use crate::ntos::memory::Guest;
use crate::ntos::{irql, object, pool};
use crate::thread::DISPATCH_LEVEL;

const TAG: u32 = u32::from_le_bytes(*b"IoOk");
/// `OPLOCK_KEY_ECP_CONTEXT`: the key and a reserved word, in whole eights. Behind it `OPLOCK_KEY_CONTEXT`: version, flags, the two keys,
/// a reserved word.
const OLD_BYTES: usize = 24;
const BYTES: usize = OLD_BYTES + 40;
/// `OPLOCK_KEY_VERSION_WIN8`, `OPLOCK_KEY_FLAG_PARENT_KEY`, `OPLOCK_KEY_FLAG_TARGET_KEY`.
const VERSION: u16 = 2;
const PARENT: u16 = 1;
const TARGET: u16 = 2;

/// By the file object's address.
static KEPT: LazyLock<Mutex<HashMap<usize, usize>>> = LazyLock::new(Mutex::default);

fn lock() -> MutexGuard<'static, HashMap<usize, usize>> {
    KEPT.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Keeps the keys of a file that is opened.
pub(super) fn keep(file: &File, parent: Option<Guid>, target: Option<Guid>) {
    let Some(block) = pool::lend(BYTES, TAG, true) else {
        return;
    };
    let context = block + OLD_BYTES;
    let flag = |key: Option<Guid>, flag: u16| if key.is_some() { flag } else { 0 };
    Guest::at(context).write([VERSION, flag(parent, PARENT) | flag(target, TARGET)]);
    for (key, places) in [
        (parent, [Some(context + 4), None]),
        (target, [Some(context + 20), Some(block)]),
    ] {
        for place in places.into_iter().flatten() {
            if let Some(key) = key {
                Guest::at(place).write(key);
            }
        }
    }
    let old = lock().insert(file.address(), block);
    if let Some(old) = old {
        pool::free(old, None);
    }
}

/// The file object goes.
pub(crate) fn forget(file: usize) {
    let block = lock().remove(&file);
    if let Some(block) = block {
        pool::free(block, None);
    }
}

fn kept(file: usize, function: &str) -> Option<usize> {
    irql::at_most(function, DISPATCH_LEVEL);
    let file = object::file(file, function);
    lock().get(&file.address()).copied()
}

exports! { "ntoskrnl.exe";
    /// The key that a file was opened with; NULL: none.
    fn IoGetOplockKeyContext(file: usize) -> usize {
        let block = kept(file, "IoGetOplockKeyContext");
        let has = |block: &usize| Guest::<u16>::at(block + OLD_BYTES + 2).read() & TARGET != 0;
        block.filter(has).unwrap_or(0)
    }

    /// The keys that a file was opened with, its parent's among them; NULL: none.
    fn IoGetOplockKeyContextEx(file: usize) -> usize {
        kept(file, "IoGetOplockKeyContextEx").map_or(0, |block| block + OLD_BYTES)
    }
}
