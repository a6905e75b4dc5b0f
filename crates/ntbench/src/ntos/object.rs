//! Objects that drivers hold by pointer: what they are, and who holds how many references.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

use super::driver;
use super::file::File;
use crate::maps::HashMap;
use crate::{bugcheck, thread, verifier};

/// What an object is.
#[derive(Clone)]
pub(crate) enum Kind {
    /// A file object.
    File(Arc<File>),
    /// A section or transaction, which goes with its last reference.
    Counted(Arc<Counted>),
    /// A process or thread, which the bench never deletes.
    Lasting(&'static str),
}

/// What is the same of every object whose body is nobody's business and that lives by its references.
pub(crate) struct Counted {
    /// What it is, for findings.
    pub(crate) what: &'static str,
    /// Its object type, as drivers name it.
    pub(crate) object_type: usize,
    address: usize,
    references: AtomicI64,
    handles: AtomicI64,
    gone: fn(usize),
}

/// How long such a body is.
const BODY: usize = 0x100;

impl Counted {
    /// Makes one with one reference; `gone` is called with its address when the last is given back.
    pub(crate) fn make(what: &'static str, object_type: usize, gone: fn(usize)) -> Arc<Self> {
        let address = allocate(BODY);
        let made = Arc::new(Self {
            what,
            object_type,
            address,
            references: AtomicI64::new(1),
            handles: AtomicI64::new(0),
            gone,
        });
        insert(address, Kind::Counted(Arc::clone(&made)));
        made
    }

    /// Where its body is.
    pub(crate) fn address(&self) -> usize {
        self.address
    }

    /// Takes a reference; gives the new count.
    pub(crate) fn reference(&self) -> i64 {
        self.references.fetch_add(1, Ordering::AcqRel) + 1
    }

    /// Gives one back; gives the new count.
    pub(crate) fn dereference(&self) -> i64 {
        let left = self.references.fetch_sub(1, Ordering::AcqRel) - 1;
        if left < 0 || left < self.handles.load(Ordering::Acquire) {
            bugcheck::raise(
                0x18,
                [0, self.address as u64, 2, left.cast_unsigned()],
                format!("too many references to the {} were given back", self.what),
            );
        }
        if left == 0 {
            remove(self.address);
            (self.gone)(self.address);
        }
        left
    }

    /// A handle to it was made; it holds a reference.
    pub(crate) fn add_handle(&self) {
        self.reference();
        self.handles.fetch_add(1, Ordering::AcqRel);
    }

    /// A handle to it was closed.
    pub(crate) fn close_handle(&self) {
        if self.handles.fetch_sub(1, Ordering::AcqRel) == 1 {
            super::transaction::handles_closed(self);
        }
        self.dereference();
    }
}

struct Entry {
    kind: Kind,
    /// References that drivers took, by service.
    driver_references: HashMap<String, i64>,
}

static OBJECTS: LazyLock<Mutex<HashMap<usize, Entry>>> = LazyLock::new(Mutex::default);

fn lock() -> MutexGuard<'static, HashMap<usize, Entry>> {
    OBJECTS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Zeroed memory for an object's body. It is never given back: a driver that keeps a pointer too long must read
/// something that is not another object.
pub(crate) fn allocate(bytes: usize) -> usize {
    let block: &'static mut [u128] =
        Box::leak(vec![0_u128; bytes.div_ceil(16) + 1].into_boxed_slice());
    block.as_mut_ptr().expose_provenance()
}

/// Makes an object known.
pub(crate) fn insert(address: usize, kind: Kind) {
    lock().insert(
        address,
        Entry {
            kind,
            driver_references: HashMap::default(),
        },
    );
}

/// Forgets an object that is being deleted.
pub(crate) fn remove(address: usize) {
    lock().remove(&address);
}

/// Whether drivers hold references to an object.
pub(crate) fn has_references(address: usize) -> bool {
    lock()
        .get(&address)
        .is_some_and(|entry| entry.driver_references.values().sum::<i64>() > 0)
}

/// What is at that address.
pub(crate) fn at(address: usize) -> Option<Kind> {
    lock().get(&address).map(|entry| entry.kind.clone())
}

/// Every file object.
pub(crate) fn files() -> Vec<Arc<File>> {
    let file = |entry: &Entry| match &entry.kind {
        Kind::File(file) => Some(Arc::clone(file)),
        _ => None,
    };
    lock().values().filter_map(file).collect()
}

/// The file object at that address; a pointer to anything else that a driver passed is a bug check.
pub(crate) fn file(address: usize, function: &str) -> Arc<File> {
    match at(address) {
        Some(Kind::File(file)) => file,
        _ => bugcheck::raise(
            0x18,
            [0, address as u64, 0, 0],
            format!("{function} was given {address:#x}, which is no file object (any more)"),
        ),
    }
}

/// Notes that the calling driver took (or gave back) a reference.
pub(crate) fn account(address: usize, change: i64) {
    let service = driver::calling().map_or_else(|| "?".to_owned(), |driver| driver.service.clone());
    if let Some(entry) = lock().get_mut(&address) {
        *entry.driver_references.entry(service).or_default() += change;
    }
}

/// Gives the calling driver a reference to a device object.
pub(crate) fn lend_device(address: usize) {
    lend(address, "device object");
}

/// Gives the calling driver a reference to an object that lasts.
pub(crate) fn lend(address: usize, what: &'static str) {
    lock().entry(address).or_insert_with(|| Entry {
        kind: Kind::Lasting(what),
        driver_references: HashMap::default(),
    });
    account(address, 1);
}

/// Reports references that a driver that goes away still holds.
pub(crate) fn report_leaks(service: &str) {
    let mut leaks = Vec::new();
    for (address, entry) in lock().iter_mut() {
        let Some(count) = entry.driver_references.remove(service) else {
            continue;
        };
        if count > 0 {
            let what = match &entry.kind {
                Kind::File(file) => format!("file object {}", file.full_name()),
                Kind::Counted(counted) => counted.what.to_owned(),
                Kind::Lasting(what) => (*what).to_owned(),
            };
            leaks.push((*address, count, what));
        }
    }
    leaks.sort_unstable();
    for (address, count, what) in leaks {
        verifier::finding(
            "object-reference-leak",
            format!(
                "{service} went away holding {count} reference(s) to the {what} at {address:#x}; \
                 each ObReferenceObject and each file object from FltCreateFileEx needs its ObDereferenceObject"
            ),
        );
    }
}

fn unknown(address: usize, function: &str) -> ! {
    bugcheck::raise(
        0x18,
        [0, address as u64, 0, 0],
        format!("{function} on {address:#x}, which is no object (any more)"),
    )
}

/// A process or thread object may be referenced without having been asked about before.
fn lasting(address: usize) -> bool {
    let thread = thread::current();
    let what = if address == thread.object {
        "thread object"
    } else if super::ps::process_at(address).is_some() {
        "process object"
    } else {
        return false;
    };
    lock().entry(address).or_insert_with(|| Entry {
        kind: Kind::Lasting(what),
        driver_references: HashMap::default(),
    });
    true
}

exports! { "ntoskrnl.exe";
    /// Takes a reference; gives the new count.
    partial "the count of processes, threads and devices is not told: 1"
    fn ObfReferenceObject(object: usize) -> i64 {
        super::irql::at_most("ObfReferenceObject", thread::DISPATCH_LEVEL);
        match at(object) {
            Some(Kind::File(file)) => {
                account(object, 1);
                file.reference()
            }
            Some(Kind::Counted(counted)) => {
                account(object, 1);
                counted.reference()
            }
            Some(Kind::Lasting(_)) => {
                account(object, 1);
                1
            }
            None if lasting(object) => {
                account(object, 1);
                1
            }
            None => unknown(object, "ObfReferenceObject"),
        }
    }

    /// Gives a reference back; gives the new count.
    partial "the count of processes, threads and devices is not told: 1"
    fn ObfDereferenceObject(object: usize) -> i64 {
        super::irql::at_most("ObfDereferenceObject", thread::DISPATCH_LEVEL);
        match at(object) {
            Some(Kind::File(file)) => {
                account(object, -1);
                file.dereference()
            }
            Some(Kind::Counted(counted)) => {
                account(object, -1);
                counted.dereference()
            }
            Some(Kind::Lasting(_)) => {
                account(object, -1);
                1
            }
            None => unknown(object, "ObfDereferenceObject"),
        }
    }
}
