//! What all file objects of one stream share: `FileObject->FsContext` and `->SectionObjectPointer`.
//!
//! A file system's stream context begins with an `FSRTL_ADVANCED_FCB_HEADER`, of which filters read whether it takes contexts of
//! theirs, and compare the address to tell streams apart ("FSRTL_ADVANCED_FCB_HEADER", "Tracking Per-Stream Context in a
//! Legacy File System Filter Driver"). It lives as long as the stream is open.

use std::collections::VecDeque;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use super::memory::Guest;
use super::{filter_context, object};
use crate::maps::HashMap;
use crate::namespace::open::OpenFile;
use crate::namespace::sharing::FileId;

/// `FSRTL_ADVANCED_FCB_HEADER`: where its parts are.
pub(super) const FLAGS2: usize = 6;
const ALLOCATION: usize = 24;
pub(super) const FILTER_CONTEXTS: usize = 56;
const FILE_CONTEXTS: usize = 80;
/// Behind it: `SECTION_OBJECT_POINTERS`, and the variable that per-file contexts hang on.
const SECTIONS: usize = 0x80;
const FILE_VARIABLE: usize = 0xA0;
const BYTES: usize = 0xC0;

/// `FSRTL_FLAG_ADVANCED_HEADER`; `FSRTL_FLAG2_SUPPORTS_FILTER_CONTEXTS`; version 1 in the upper half of the last byte.
const ADVANCED: u8 = 0x40;
pub(super) const SUPPORTS_CONTEXTS: u8 = 0x2;
const VERSION: u8 = 0x10;
/// What this file system calls its streams' contexts.
const NODE_TYPE: u16 = 0x0702;

/// Which stream, or which volume itself.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Of {
    Stream(FileId),
    Volume(usize),
}

/// Gone ones come into use again only when many have gathered: a pointer that a driver kept leads to nothing for a while.
const GONE_KEPT: usize = 4096;

#[derive(Default)]
struct Table {
    headers: HashMap<Of, usize>,
    streams: HashMap<usize, FileId>,
    gone: VecDeque<usize>,
}

static TABLE: LazyLock<Mutex<Table>> = LazyLock::new(Mutex::default);

fn lock() -> MutexGuard<'static, Table> {
    TABLE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn initialise(at: usize) {
    Guest::<u8>::at(at).write_many(&[0; BYTES]);
    Guest::at(at).write([NODE_TYPE, u16::try_from(BYTES).unwrap_or(0)]);
    // Flags, IsFastIoPossible (not without a cache), Flags2, version.
    Guest::at(at + 4).write([ADVANCED, 0, SUPPORTS_CONTEXTS, VERSION]);
    let list = at + FILTER_CONTEXTS;
    Guest::at(list).write([list, list]);
    Guest::at(at + FILE_CONTEXTS).write(at + FILE_VARIABLE);
}

/// The header and section pointers for what was opened on a volume just now, with its lengths.
pub(super) fn of(open: &OpenFile, volume: usize) -> (usize, usize) {
    let of = open.id().map_or(Of::Volume(volume), Of::Stream);
    let mut table = lock();
    let known = table.headers.get(&of).copied();
    let header = known.unwrap_or_else(|| {
        let at = if table.gone.len() > GONE_KEPT {
            table.gone.pop_front()
        } else {
            None
        };
        let at = at.unwrap_or_else(|| object::allocate(BYTES));
        initialise(at);
        table.headers.insert(of, at);
        if let Of::Stream(id) = of {
            table.streams.insert(at, id);
        }
        at
    });
    drop(table);
    if !open.is_directory() {
        let (end, allocation) = open.size_when_opened();
        Guest::at(header + ALLOCATION).write([allocation, end, end]);
    }
    (header, header + SECTIONS)
}

/// The stream whose section pointers are at an address; `None`: they are no stream's.
pub(super) fn stream_of_sections(pointers: usize) -> Option<FileId> {
    lock()
        .streams
        .get(&pointers.wrapping_sub(SECTIONS))
        .copied()
}

/// A stream was closed for the last time: filters' contexts with it go, each by its own routine.
pub(super) fn gone(id: FileId) {
    let header = lock().headers.remove(&Of::Stream(id));
    let Some(header) = header else { return };
    filter_context::tear_down_stream(header);
    filter_context::tear_down_file(header + FILE_VARIABLE);
    let mut table = lock();
    table.streams.remove(&header);
    table.gone.push_back(header);
}
