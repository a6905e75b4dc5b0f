//! Lists of who watches directories, as a filter keeps them that answers for a file system: `FltNotifyFilterChangeDirectory`, and the
//! file system run-time library's functions that report changes to such a list and take watchers away.
//!
//! A list's head and its synchronization object are the driver's memory; what they hold is kept here, by the list's address.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use super::op::copy;
use super::pending::Held;
use super::{flight, mdls};
use crate::abi::base::AnsiString;
use crate::abi::flt::CallbackData;
use crate::abi::io::{FO_CLEANUP_COMPLETE, IoStatusBlock};
use crate::abi::params::NotifyDirectory;
use crate::gate;
use crate::maps::HashMap;
use crate::namespace::names::BACKSLASH;
use crate::ntos::memory::Guest;
use crate::ntos::{irql, mdl, pool};
use crate::status::NtStatus;
use crate::thread::APC_LEVEL;

const TAG: u32 = u32::from_le_bytes(*b"FSrN");
/// How long a `NOTIFY_SYNC` is; nothing in it is for drivers.
const SYNC_BYTES: usize = 0x80;
/// `FILE_NOTIFY_INFORMATION` before its name.
const RECORD: usize = 12;

/// A question that waits.
struct Asked {
    number: usize,
    data: usize,
    buffer: usize,
    room: usize,
    held: Held,
}

/// Who watches, and what has happened that nobody was told.
struct Watcher {
    context: usize,
    directory: Vec<u16>,
    tree: bool,
    /// The directory is to be listed anew after each change: nothing is told of it.
    ignore: bool,
    filter: u32,
    /// `TraverseCallback`, what it is given, and `FilterCallback`.
    routines: [usize; 3],
    room: usize,
    asked: VecDeque<Asked>,
    kept: Vec<(u32, Vec<u16>)>,
    lost: bool,
}

static LISTS: LazyLock<Mutex<HashMap<usize, Vec<Watcher>>>> = LazyLock::new(Mutex::default);

fn lock() -> MutexGuard<'static, HashMap<usize, Vec<Watcher>>> {
    LISTS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A name that is ANSI or Unicode: a path's first character is a backslash, and its second byte tells.
fn name(from: Guest<AnsiString>) -> Vec<u16> {
    let Some(string) = from.read_opt() else {
        return Vec::new();
    };
    let bytes = Guest(string.buffer).read_many(usize::from(string.length));
    if bytes.len() >= 2 && bytes[1] == 0 {
        let pairs = bytes.chunks_exact(2);
        pairs
            .map(|pair| u16::from_le_bytes([pair[0], pair[1]]))
            .collect()
    } else {
        bytes.into_iter().map(u16::from).collect()
    }
}

/// `FILE_NOTIFY_INFORMATION` records, one after the other.
fn records(changes: &[(u32, Vec<u16>)]) -> Vec<u8> {
    let mut all: Vec<u8> = Vec::new();
    let mut last = 0;
    for (action, name) in changes {
        let at = all.len().next_multiple_of(4);
        if at != 0 {
            let distance = u32::try_from(at - last).unwrap_or(0);
            all[last..last + 4].copy_from_slice(&distance.to_le_bytes());
        }
        all.resize(at, 0);
        let length = u32::try_from(2 * name.len()).unwrap_or(u32::MAX);
        for word in [0, *action, length] {
            all.extend(word.to_le_bytes());
        }
        all.extend(name.iter().flat_map(|unit| unit.to_le_bytes()));
        last = at;
    }
    all
}

fn put(data: usize, done: IoStatusBlock) {
    Guest::at(data + std::mem::offset_of!(CallbackData, io_status)).write(done);
}

impl Asked {
    /// Ends it with what has happened, or without.
    fn end(self, status: NtStatus, bytes: &[u8]) {
        let mut done = IoStatusBlock::new(status, bytes.len());
        if !bytes.is_empty()
            && let Err(wrong) = copy(self.buffer, bytes.as_ptr().expose_provenance(), bytes.len())
        {
            done = IoStatusBlock::new(wrong, 0);
        }
        put(self.data, done);
        self.held.complete_for_filter();
    }
}

impl Watcher {
    /// What is to be told now, if anything is.
    fn take(&mut self, room: usize) -> Option<(NtStatus, Vec<u8>)> {
        let changes = std::mem::take(&mut self.kept);
        let lost = std::mem::take(&mut self.lost);
        if changes.is_empty() && !lost {
            return None;
        }
        let bytes = records(&changes);
        if lost || self.ignore || bytes.len() > room {
            return Some((NtStatus::NOTIFY_ENUM_DIR, Vec::new()));
        }
        Some((NtStatus::SUCCESS, bytes))
    }

    /// The name of a target from the directory on; `None`: it is not watched. True: it is in a directory further down.
    fn sees(&self, parent: &[u16], target: &[u16]) -> Option<(Vec<u16>, bool)> {
        let own = match self.directory.as_slice() {
            [rest @ .., last] if *last == BACKSLASH => rest,
            all => all,
        };
        let below = parent.strip_prefix(own)?;
        match below.first() {
            None => {}
            Some(&BACKSLASH) if self.tree => {}
            _ => return None,
        }
        let name = target.get(own.len() + 1..)?.to_vec();
        Some((name, !below.is_empty()))
    }

    /// Asks the driver's routines whether it may be told.
    fn lets(routines: [usize; 3], contexts: [usize; 3], further: bool) -> bool {
        let [traverse, subject, filter] = routines;
        let [own, target, of_filter] = contexts.map(|context| context as u64);
        if further && traverse != 0 {
            // SAFETY: the driver gave the routine, which takes the two contexts and the subject's.
            let status = unsafe { gate::call(traverse, &[own, target, subject as u64]) };
            if !crate::ntos::driver::status_of(status).is_success() {
                return false;
            }
        }
        if filter != 0 {
            // SAFETY: the driver gave the routine, which takes the watcher's context and the report's.
            let wanted = unsafe { gate::call(filter, &[own, of_filter]) };
            return wanted & 0xFF != 0;
        }
        true
    }
}

/// A question is cancelled.
fn cancel(list: usize, number: usize) {
    let asked = {
        let mut lists = lock();
        let watchers = lists.get_mut(&list).map_or(&mut [][..], Vec::as_mut_slice);
        watchers.iter_mut().find_map(|watcher| {
            let at = watcher
                .asked
                .iter()
                .position(|asked| asked.number == number);
            at.and_then(|at| watcher.asked.remove(at))
        })
    };
    if let Some(asked) = asked {
        asked.end(NtStatus::CANCELLED, &[]);
    }
}

/// A watcher goes, with what it waits for.
fn clean_up(list: usize, context: Option<usize>) {
    let gone: Vec<Asked> = {
        let mut lists = lock();
        let Some(watchers) = lists.get_mut(&list) else {
            return;
        };
        let theirs =
            |watcher: &mut Watcher| context.is_none_or(|context| watcher.context == context);
        let gone = watchers.extract_if(.., theirs);
        let gone = gone.flat_map(|watcher| watcher.asked).collect();
        if watchers.is_empty() {
            lists.remove(&list);
        }
        gone
    };
    for asked in gone {
        asked.end(NtStatus::NOTIFY_CLEANUP, &[]);
    }
}

/// What a report is of.
struct Report {
    target: Vec<u16>,
    /// Where the target's own name begins, in units.
    offset: usize,
    stream: Vec<u16>,
    matches: u32,
    action: u32,
    contexts: [usize; 2],
}

fn report(list: usize, report: &Report) {
    let parent = report.target.get(..report.offset).unwrap_or_default();
    let parent = parent.strip_suffix(&[BACKSLASH]).unwrap_or(parent);
    // The routines are the driver's, so they are asked while nothing is locked.
    let candidates: Vec<_> = {
        let lists = lock();
        let watchers = lists.get(&list).map_or(&[][..], Vec::as_slice);
        let seen = watchers
            .iter()
            .filter(|watcher| watcher.filter & report.matches != 0);
        seen.filter_map(|watcher| {
            let (name, further) = watcher.sees(parent, &report.target)?;
            Some((watcher.context, watcher.routines, name, further))
        })
        .collect()
    };
    for (context, routines, mut name, further) in candidates {
        let [target, of_filter] = report.contexts;
        if !Watcher::lets(routines, [context, target, of_filter], further) {
            continue;
        }
        if !report.stream.is_empty() {
            name.push(u16::from(b':'));
            name.extend(&report.stream);
        }
        let due = {
            let mut lists = lock();
            let watchers = lists.get_mut(&list).map_or(&mut [][..], Vec::as_mut_slice);
            let Some(watcher) = watchers
                .iter_mut()
                .find(|watcher| watcher.context == context)
            else {
                continue;
            };
            watcher.kept.push((report.action, name));
            if records(&watcher.kept).len() > watcher.room {
                watcher.kept.clear();
                watcher.lost = true;
            }
            let Some(asked) = watcher.asked.pop_front() else {
                continue;
            };
            watcher.take(asked.room).map(|told| (asked, told))
        };
        if let Some((asked, (status, bytes))) = due {
            asked.end(status, &bytes);
        }
    }
}

/// What a filter says of who watches.
struct New {
    context: usize,
    directory: Vec<u16>,
    tree: bool,
    ignore: bool,
    filter: u32,
    routines: [usize; 3],
}

fn ask(list: usize, data: usize, new: New) {
    static NUMBERS: AtomicUsize = AtomicUsize::new(0);
    let number = NUMBERS.fetch_add(1, Ordering::Relaxed);
    let Some(operation) = flight::at(data) else {
        return;
    };
    // Whoever reports a change does so in another process, perhaps: the buffer is reached by a list.
    let locked = mdls::lock_user_buffer(data);
    let block = Guest::<CallbackData>::at(data).iopb().read();
    let arm: NotifyDirectory = block.parameters.get();
    let buffer = match arm.mdl {
        0 => Some(arm.buffer),
        list => mdl::system_address(list),
    };
    let held = match Held::new(&operation, move || cancel(list, number)) {
        Ok(held) => held,
        Err(status) => {
            put(data, IoStatusBlock::new(status, 0));
            return Held::of(&operation).complete_for_filter();
        }
    };
    let asked = Asked {
        number,
        data,
        buffer: buffer.unwrap_or(0),
        room: arm.length as usize,
        held,
    };
    let cleaned = operation
        .file
        .object(|object| object.flags & FO_CLEANUP_COMPLETE != 0);
    if cleaned {
        return asked.end(NtStatus::NOTIFY_CLEANUP, &[]);
    }
    if !locked.is_success() || buffer.is_none() {
        return asked.end(NtStatus::INSUFFICIENT_RESOURCES, &[]);
    }
    let due = {
        let mut lists = lock();
        let watchers = lists.entry(list).or_default();
        let known = watchers
            .iter()
            .position(|watcher| watcher.context == new.context);
        let at = known.unwrap_or_else(|| {
            watchers.push(Watcher {
                context: new.context,
                directory: new.directory,
                tree: new.tree,
                ignore: new.ignore,
                filter: new.filter,
                routines: new.routines,
                room: asked.room.max(RECORD),
                asked: VecDeque::new(),
                kept: Vec::new(),
                lost: false,
            });
            watchers.len() - 1
        });
        let watcher = &mut watchers[at];
        match watcher.take(asked.room) {
            Some(told) => Some((asked, told)),
            None => {
                watcher.asked.push_back(asked);
                None
            }
        }
    };
    if let Some((asked, (status, bytes))) = due {
        asked.end(status, &bytes);
    }
}

exports! { "fltmgr.sys";
    /// Has an operation wait in a list until something changes in its directory.
    fn FltNotifyFilterChangeDirectory(
        _sync: usize, list: usize, context: usize, directory: Guest<AnsiString>, tree: u8, ignore: u8, filter: u32, data: usize,
        traverse: usize, subject: usize, callback: usize,
    ) {
        irql::at_most("FltNotifyFilterChangeDirectory", APC_LEVEL);
        let directory = name(directory);
        let routines = [traverse, subject, callback];
        ask(list, data, New { context, directory, tree: tree != 0, ignore: ignore != 0, filter, routines });
    }
}

/// The run-time library's part.
pub(super) mod kernel {
    use super::{
        APC_LEVEL, AnsiString, Guest, Report, SYNC_BYTES, TAG, clean_up, irql, name, pool, report,
    };

    exports! { "ntoskrnl.exe";
        /// Makes what lists are synchronized by.
        fn FsRtlNotifyInitializeSync(sync: Guest<usize>) {
            irql::at_most("FsRtlNotifyInitializeSync", APC_LEVEL);
            sync.write(pool::lend(SYNC_BYTES, TAG, true).unwrap_or(0));
        }

        /// Frees it.
        fn FsRtlNotifyUninitializeSync(sync: Guest<usize>) {
            irql::at_most("FsRtlNotifyUninitializeSync", APC_LEVEL);
            let block = sync.read();
            if block != 0 {
                pool::free(block, None);
                sync.write(0);
            }
        }

        /// Tells a list's watchers of a change.
        fn FsRtlNotifyFilterReportChange(
            _sync: usize, list: usize, target: Guest<AnsiString>, offset: u16, stream: Guest<AnsiString>, _parent: usize,
            matches: u32, action: u32, context: usize, of_filter: usize,
        ) {
            irql::at_most("FsRtlNotifyFilterReportChange", APC_LEVEL);
            let units = name(target);
            let wide = units.len() * 2 == usize::from(target.read().length);
            let offset = usize::from(offset) / if wide { 2 } else { 1 };
            let contexts = [context, of_filter];
            report(list, &Report { target: units, offset, stream: name(stream), matches, action, contexts });
        }

        /// The same without a context for the watchers' filter routines.
        fn FsRtlNotifyFullReportChange(
            sync: usize, list: usize, target: Guest<AnsiString>, offset: u16, stream: Guest<AnsiString>, parent: usize,
            matches: u32, action: u32, context: usize,
        ) {
            FsRtlNotifyFilterReportChange(sync, list, target, offset, stream, parent, matches, action, context, 0);
        }

        /// Takes a watcher away: its handle is closed.
        fn FsRtlNotifyCleanup(_sync: usize, list: usize, context: usize) {
            irql::at_most("FsRtlNotifyCleanup", APC_LEVEL);
            clean_up(list, Some(context));
        }

        /// Takes all of them away.
        fn FsRtlNotifyCleanupAll(_sync: usize, list: usize) {
            irql::at_most("FsRtlNotifyCleanupAll", APC_LEVEL);
            clean_up(list, None);
        }
    }
}
