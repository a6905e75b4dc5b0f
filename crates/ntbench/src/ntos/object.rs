//! Objects that drivers hold by pointer: what they are, and who holds how many references.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

use super::driver;
use super::file::File;
use super::memory::Guest;
use crate::cpu::memory::read_word;
use crate::maps::HashMap;
use crate::verifier::{self, Taken};
use crate::{bugcheck, thread};

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
        let address = allocate_typed(BODY, object_type);
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
            too_few(self.address, left, self.what);
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
            super::named::handles_closed(self);
        }
        self.dereference();
    }
}

struct Entry {
    kind: Kind,
    /// References that drivers took, by service.
    driver_references: HashMap<String, Taken>,
}

static OBJECTS: LazyLock<Mutex<HashMap<usize, Entry>>> = LazyLock::new(Mutex::default);

fn lock() -> MutexGuard<'static, HashMap<usize, Entry>> {
    OBJECTS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What stands before a body that has a type.
const HEADER: usize = 16;

/// As [`allocate`], of an object of that type: what the body begins with tells it even when the object is gone.
pub(super) fn allocate_typed(bytes: usize, object_type: usize) -> usize {
    let header = allocate(HEADER + bytes);
    Guest::at(header).write(object_type);
    header + HEADER
}

/// The type of what is or was an object at that address; 0: there never was one.
fn type_of(address: usize) -> u64 {
    let told = || {
        let header = address.checked_sub(HEADER)?;
        read_word(header).filter(|word| super::is_object_type(*word))
    };
    let found = if super::ps::process_at(address).is_some() {
        super::process_type()
    } else if super::ps::thread_at(address).is_some() {
        super::thread_type()
    } else {
        told().unwrap_or(0)
    };
    found as u64
}

/// `REFERENCE_BY_POINTER` for an object with more references given back than taken.
pub(super) fn too_few(address: usize, left: i64, what: &str) -> ! {
    bugcheck::raise(
        0x18,
        [type_of(address), address as u64, 2, left.cast_unsigned()],
        format!("too many references to the {what} were given back"),
    )
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
    lock().get(&address).is_some_and(|entry| {
        entry
            .driver_references
            .values()
            .map(Taken::left)
            .sum::<i64>()
            > 0
    })
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
            [type_of(address), address as u64, 0, 0],
            format!("{function} was given {address:#x}, which is no file object (any more)"),
        ),
    }
}

/// Notes that the calling driver took a reference.
pub(crate) fn taken(address: usize) {
    account(address, Taken::take);
}

/// Notes that it gave one back.
fn given_back(address: usize) {
    account(address, Taken::give_back);
}

fn account(address: usize, change: fn(&mut Taken)) {
    let service = driver::calling().map_or_else(|| "?".to_owned(), |driver| driver.service.clone());
    if let Some(entry) = lock().get_mut(&address) {
        change(entry.driver_references.entry(service).or_default());
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
    taken(address);
}

/// Reports references that a driver that goes away still holds.
pub(crate) fn report_leaks(service: &str) {
    let mut leaks = Vec::new();
    for (address, entry) in lock().iter_mut() {
        let Some(taken) = entry.driver_references.remove(service) else {
            continue;
        };
        let what = match &entry.kind {
            Kind::File(file) => format!("file object {}", file.full_name()),
            Kind::Counted(counted) => counted.what.to_owned(),
            Kind::Lasting(what) => (*what).to_owned(),
        };
        let count = taken.left();
        let text = format!(
            "{service} went away holding {count} reference(s) to the {what} at {address:#x}"
        );
        leaks.extend(taken.leak(&text).map(|leak| (*address, leak)));
    }
    leaks.sort_by_key(|(address, _)| *address);
    for (_, leak) in leaks {
        verifier::finding_at("object-reference-leak", leak.site, leak.text);
    }
}

fn unknown(address: usize, function: &str) -> ! {
    bugcheck::raise(
        0x18,
        [type_of(address), address as u64, 0, 0],
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
                taken(object);
                file.reference()
            }
            Some(Kind::Counted(counted)) => {
                taken(object);
                counted.reference()
            }
            Some(Kind::Lasting(_)) => {
                taken(object);
                1
            }
            None if lasting(object) => {
                taken(object);
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
                given_back(object);
                file.dereference()
            }
            Some(Kind::Counted(counted)) => {
                given_back(object);
                counted.dereference()
            }
            Some(Kind::Lasting(_)) => {
                given_back(object);
                1
            }
            None => unknown(object, "ObfDereferenceObject"),
        }
    }
}
