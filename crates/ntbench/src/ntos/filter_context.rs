//! Contexts that filters hang on streams, files and file objects without the Filter Manager.
//!
//! `FsRtlInsertPerStreamContext`, `FsRtlInsertPerFileContext`, `FsRtlInsertPerFileObjectContext` and their kin. The lists lie in
//! drivers' memory, since the inline functions look whether they are empty; the three kinds of context begin alike:
//! links, owner, instance, and the routine that frees it.

use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use super::fcb::{FILTER_CONTEXTS, FLAGS2, SUPPORTS_CONTEXTS};
use super::memory::Guest;
use super::{driver, irql, object};
use crate::maps::{HashMap, Sparse};
use crate::status::NtStatus;
use crate::thread::APC_LEVEL;
use crate::{gate, verifier};

const OWNER: usize = 16;
const INSTANCE: usize = 24;
const FREE: usize = 32;

/// Who inserted each context, and where.
static KNOWN: LazyLock<Mutex<HashMap<usize, (String, usize)>>> = LazyLock::new(Mutex::default);
/// The lists of file objects, by these; of files, a list's head by the variable that leads to it.
static FILE_OBJECTS: Sparse<usize> = Sparse::new();

/// One lock for all lists: what is in them is looked at for moments.
fn lock() -> MutexGuard<'static, HashMap<usize, (String, usize)>> {
    KNOWN.lock().unwrap_or_else(PoisonError::into_inner)
}

fn read(at: usize) -> usize {
    Guest::<usize>::at(at).read()
}

/// A new list.
fn head() -> usize {
    let head = object::allocate(16);
    Guest::at(head).write([head, head]);
    head
}

/// The contexts in a list; the lock is held.
fn contexts(head: usize) -> Vec<usize> {
    let mut all = Vec::new();
    let mut at = read(head);
    while at != head && at != 0 {
        all.push(at);
        at = read(at);
    }
    all
}

fn insert(head: usize, context: usize) {
    let mut known = lock();
    let first = read(head);
    Guest::at(context).write([first, head]);
    Guest::at(first + 8).write(context);
    Guest::at(head).write(context);
    let service = driver::calling().map_or_else(String::new, |driver| driver.service.clone());
    known.insert(context, (service, verifier::here()));
}

fn unlink(known: &mut HashMap<usize, (String, usize)>, context: usize) {
    let [next, before] = Guest::<[usize; 2]>::at(context).read();
    Guest::at(before).write(next);
    Guest::at(next + 8).write(before);
    Guest::at(context).write([context, context]);
    known.remove(&context);
}

/// The first context of an owner; of one instance where that is given. The lock is held.
fn find(head: usize, owner: usize, instance: usize) -> usize {
    contexts(head)
        .into_iter()
        .find(|context| {
            read(context + OWNER) == owner
                && (instance == 0 || read(context + INSTANCE) == instance)
        })
        .unwrap_or(0)
}

fn look_up(head: usize, owner: usize, instance: usize) -> usize {
    let known = lock();
    let found = find(head, owner, instance);
    drop(known);
    found
}

/// As the documentation of the removals has it, either may be left out: the first that fits goes.
fn remove(head: usize, owner: usize, instance: usize) -> usize {
    let mut known = lock();
    let found = if owner == 0 {
        contexts(head)
            .into_iter()
            .find(|context| instance == 0 || read(context + INSTANCE) == instance)
            .unwrap_or(0)
    } else {
        find(head, owner, instance)
    };
    if found != 0 {
        unlink(&mut known, found);
    }
    found
}

/// Takes each context out and has its owner free it.
fn tear_down(head: usize) {
    loop {
        let mut known = lock();
        let Some(context) = contexts(head).first().copied() else {
            return;
        };
        unlink(&mut known, context);
        drop(known);
        let routine = read(context + FREE);
        if routine != 0 {
            // SAFETY: the context's owner gave that routine for this; it takes the context.
            unsafe { gate::call(routine, &[context as u64]) };
        }
    }
}

/// Whether a stream's header takes contexts.
fn supports(header: usize) -> bool {
    header != 0 && Guest::<u8>::at(header + FLAGS2).read() & SUPPORTS_CONTEXTS != 0
}

/// A stream goes.
pub(super) fn tear_down_stream(header: usize) {
    tear_down(header + FILTER_CONTEXTS);
}

/// A file goes.
pub(super) fn tear_down_file(variable: usize) {
    match read(variable) {
        0 => {}
        head => tear_down(head),
    }
}

/// A file object goes: who hung something on it had to take it away.
pub(super) fn file_object_gone(file: usize) {
    FILE_OBJECTS.remove(file);
}

/// Reports what a driver that goes away has left in lists: it would be freed by code that is not there.
pub(super) fn report_leaks(service: &str) {
    let left: Vec<(usize, usize)> = {
        let mut known = lock();
        let theirs = known.iter().filter(|(_, (owner, _))| owner == service);
        let left: Vec<(usize, usize)> = theirs
            .map(|(context, (_, site))| (*context, *site))
            .collect();
        for (context, _) in &left {
            unlink(&mut known, *context);
        }
        left
    };
    for (context, site) in left {
        verifier::finding_at(
            "stream-context-left",
            site,
            format!(
                "{service} went away with a context at {context:#x} on a stream, file or file object that is open"
            ),
        );
    }
}

exports! { "ntoskrnl.exe";
    /// Hangs a context on a stream.
    fn FsRtlInsertPerStreamContext(header: usize, context: usize) -> NtStatus {
        irql::at_most("FsRtlInsertPerStreamContext", APC_LEVEL);
        if !supports(header) {
            return NtStatus::INVALID_DEVICE_REQUEST;
        }
        insert(header + FILTER_CONTEXTS, context);
        NtStatus::SUCCESS
    }

    /// Finds one.
    fn FsRtlLookupPerStreamContextInternal(header: usize, owner: usize, instance: usize) -> usize {
        irql::at_most("FsRtlLookupPerStreamContextInternal", APC_LEVEL);
        if supports(header) { look_up(header + FILTER_CONTEXTS, owner, instance) } else { 0 }
    }

    /// Takes one away, which the caller frees.
    fn FsRtlRemovePerStreamContext(header: usize, owner: usize, instance: usize) -> usize {
        irql::at_most("FsRtlRemovePerStreamContext", APC_LEVEL);
        if supports(header) { remove(header + FILTER_CONTEXTS, owner, instance) } else { 0 }
    }

    /// Has all of them freed: a file system's, when a stream goes.
    fn FsRtlTeardownPerStreamContexts(header: usize) {
        irql::at_most("FsRtlTeardownPerStreamContexts", APC_LEVEL);
        if supports(header) {
            tear_down(header + FILTER_CONTEXTS);
        }
    }

    /// Hangs a context on a file, by the variable that its streams' headers lead to.
    fn FsRtlInsertPerFileContext(variable: Guest<usize>, context: usize) -> NtStatus {
        irql::at_most("FsRtlInsertPerFileContext", APC_LEVEL);
        if variable.is_null() {
            return NtStatus::INVALID_DEVICE_REQUEST;
        }
        let head = match variable.read() {
            0 => {
                let made = head();
                variable.write(made);
                made
            }
            head => head,
        };
        insert(head, context);
        NtStatus::SUCCESS
    }

    /// Finds one.
    fn FsRtlLookupPerFileContext(variable: Guest<usize>, owner: usize, instance: usize) -> usize {
        irql::at_most("FsRtlLookupPerFileContext", APC_LEVEL);
        match variable.read_opt() {
            None | Some(0) => 0,
            Some(head) => look_up(head, owner, instance),
        }
    }

    /// Takes one away, which the caller frees.
    fn FsRtlRemovePerFileContext(variable: Guest<usize>, owner: usize, instance: usize) -> usize {
        irql::at_most("FsRtlRemovePerFileContext", APC_LEVEL);
        match variable.read_opt() {
            None | Some(0) => 0,
            Some(head) => remove(head, owner, instance),
        }
    }

    /// Has all of them freed: a file system's, when a file goes.
    fn FsRtlTeardownPerFileContexts(variable: Guest<usize>) {
        irql::at_most("FsRtlTeardownPerFileContexts", APC_LEVEL);
        tear_down_file(variable.address());
    }

    /// Hangs a context on a file object, whose owner takes it away before the file object goes.
    fn FsRtlInsertPerFileObjectContext(file: usize, context: usize) -> NtStatus {
        irql::at_most("FsRtlInsertPerFileObjectContext", APC_LEVEL);
        if file == 0 {
            return NtStatus::INVALID_PARAMETER;
        }
        object::file(file, "FsRtlInsertPerFileObjectContext");
        let head = FILE_OBJECTS.with(|heads| *heads.entry(file).or_insert_with(head));
        insert(head, context);
        NtStatus::SUCCESS
    }

    /// Finds one.
    fn FsRtlLookupPerFileObjectContext(file: usize, owner: usize, instance: usize) -> usize {
        irql::at_most("FsRtlLookupPerFileObjectContext", APC_LEVEL);
        let head = FILE_OBJECTS.get(file);
        head.map_or(0, |head| look_up(head, owner, instance))
    }

    /// Takes one away, which the caller frees.
    fn FsRtlRemovePerFileObjectContext(file: usize, owner: usize, instance: usize) -> usize {
        irql::at_most("FsRtlRemovePerFileObjectContext", APC_LEVEL);
        let head = FILE_OBJECTS.get(file);
        head.map_or(0, |head| remove(head, owner, instance))
    }
}
