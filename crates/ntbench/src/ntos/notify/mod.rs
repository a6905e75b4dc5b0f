//! Routines that drivers register to be told of what others do: processes and threads that start and end, images that are
//! loaded.
//!
//! The kernel calls them one after the other at `PASSIVE_LEVEL`, inside a critical region. A routine that its driver leaves
//! behind stays registered, as on Windows: the next event calls it where no code is any more.

mod callback_object;
mod image;
mod object;
mod process;
mod shutdown;
mod system;
mod thread;

use std::cell::RefCell;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Entered, driver, registry};
use crate::export::Export;
use crate::status::NtStatus;
use crate::thread::{Process, current};
use crate::wire::CallbackEvent;
use crate::{gate, schedule, symbols, trace, verifier};

pub(crate) use image::driver_loaded;
pub(crate) use object::{
    CREATE as HANDLE_CREATE, DUPLICATE as HANDLE_DUPLICATE, Wanted, filtered as handle_filtered,
};
pub(crate) use shutdown::tell as tell_of_shutdown;

/// What this module lets drivers import.
pub(super) fn tables() -> [&'static [Export]; 7] {
    [
        callback_object::exports(),
        image::exports(),
        object::exports(),
        process::exports(),
        shutdown::exports(),
        system::exports(),
        thread::exports(),
    ]
}

/// A routine that a driver has registered.
pub(super) struct Routine {
    /// Where it is.
    address: usize,
    /// Which of the forms of its kind it has.
    form: Form,
    service: String,
    site: usize,
    /// How many threads are in it.
    running: AtomicUsize,
}

/// The forms in which routines of one kind are registered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Form {
    /// By the first function of that name.
    Plain,
    /// By its `Ex` forms.
    Extended,
}

/// The routines of one kind, the oldest first.
struct Registry {
    /// What they are told of, for findings and the trace.
    what: &'static str,
    /// The function that takes one away.
    remover: &'static str,
    routines: Mutex<Vec<Arc<Routine>>>,
}

/// How many routines of a kind the system takes (since an update of Windows 8.1).
const MOST: usize = 64;

thread_local! {
    /// The routines that this thread is in.
    static INSIDE: RefCell<Vec<usize>> = const { RefCell::new(Vec::new()) };
}

impl Registry {
    const fn new(what: &'static str, remover: &'static str) -> Self {
        Self {
            what,
            remover,
            routines: Mutex::new(Vec::new()),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Routine>>> {
        self.routines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    /// Adds a routine. Err: it is there already where `once`, or there are too many.
    fn add(&self, address: usize, form: Form, once: bool) -> Result<(), ()> {
        let service = driver::calling().map_or_else(String::new, |driver| driver.service.clone());
        let site = gate::call_site().map_or(0, |site| site.return_address);
        let mut routines = self.lock();
        let known = routines.iter().any(|known| known.address == address);
        if known && !once {
            drop(routines);
            verifier::finding(
                "notify-registered-twice",
                format!(
                    "the {} routine at {} is registered a second time, and is called twice for each event",
                    self.what,
                    symbols::describe(address)
                ),
            );
            routines = self.lock();
        }
        if routines.len() >= MOST || (known && once) {
            return Err(());
        }
        routines.push(Arc::new(Routine {
            address,
            form,
            service,
            site,
            running: AtomicUsize::new(0),
        }));
        Ok(())
    }

    /// Takes a routine away once nobody is in it; false: it is not registered.
    fn remove(&self, address: usize) -> bool {
        let removed = {
            let mut routines = self.lock();
            let Some(at) = routines.iter().position(|known| known.address == address) else {
                return false;
            };
            routines.remove(at)
        };
        let place = Place {
            service: &removed.service,
            what: self.what,
            routine: address,
            running: &removed.running,
        };
        place.wait(self.remover);
        true
    }

    /// Calls each routine of `form` with the arguments that it is to have.
    fn call(&self, form: Option<Form>, about: &str, mut arguments: impl FnMut(Form) -> Vec<u64>) {
        let routines = self.lock().clone();
        for routine in routines {
            if form.is_none_or(|form| form == routine.form) {
                routine.call(self.what, about, &arguments(routine.form));
            }
        }
    }

    /// Reports the routines that a driver leaves behind.
    fn report_left(&self, service: &str) {
        let sites: Vec<usize> = self
            .lock()
            .iter()
            .filter(|routine| routine.service == service)
            .map(|routine| routine.site)
            .collect();
        for site in sites {
            left(service, self.what, site, self.remover);
        }
    }
}

impl Routine {
    fn call(&self, what: &str, about: &str, arguments: &[u64]) {
        let apcs = &current().kernel_apc_disable;
        apcs.fetch_add(1, Ordering::Relaxed);
        let place = Place {
            service: &self.service,
            what,
            routine: self.address,
            running: &self.running,
        };
        place.call(about, arguments);
        apcs.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A registered routine, wherever it is registered.
pub(super) struct Place<'a> {
    /// The driver's service.
    pub(super) service: &'a str,
    /// What it is, for the trace and for findings.
    pub(super) what: &'a str,
    /// Where it is.
    pub(super) routine: usize,
    /// How many threads are in it.
    pub(super) running: &'a AtomicUsize,
}

impl Place<'_> {
    /// Calls it, seen by the trace and held to leave as it came; gives what it returned.
    pub(super) fn call(&self, about: &str, arguments: &[u64]) -> u64 {
        self.running.fetch_add(1, Ordering::AcqRel);
        INSIDE.with_borrow_mut(|inside| inside.push(self.routine));
        let returned = call(self.service, self.what, about, self.routine, arguments);
        INSIDE.with_borrow_mut(Vec::pop);
        self.running.fetch_sub(1, Ordering::AcqRel);
        schedule::progressed();
        returned
    }

    /// It was taken away by `remover`: waits until no thread is in it.
    pub(super) fn wait(&self, remover: &str) {
        if INSIDE.with_borrow(|inside| inside.contains(&self.routine)) {
            verifier::finding(
                "notify-removed-inside",
                format!(
                    "{remover} is called from the {} routine that it takes away, and waits for it: for ever, on Windows",
                    self.what
                ),
            );
            return;
        }
        while self.running.load(Ordering::Acquire) != 0 {
            schedule::poll(std::ptr::from_ref(self.running).addr());
        }
    }
}

/// Reports a routine that a driver leaves behind.
pub(super) fn left(service: &str, what: &str, site: usize, remover: &str) {
    verifier::finding_at(
        "notify-left",
        site,
        format!(
            "{service} went away with the {what} routine that it registered here, and that {remover} takes away: the next event calls it \
             where no code is"
        ),
    );
}

fn call(service: &str, what: &str, about: &str, routine: usize, arguments: &[u64]) -> u64 {
    let entered = Entered::now();
    let event = trace::callback(CallbackEvent {
        filter: service.to_owned(),
        phase: what.to_owned(),
        path: about.to_owned(),
        ..CallbackEvent::default()
    });
    // SAFETY: the driver registered that routine for calls with these arguments.
    let returned = unsafe { gate::call(routine, arguments) };
    event.returned(returned & 0xFFFF_FFFF);
    entered.check(&format!("the {what} routine"), service);
    returned
}

/// Whether anybody wants to be told of processes, threads and images: without, none of it costs anything.
pub(crate) fn listening() -> bool {
    !(process::ROUTINES.is_empty() && thread::ROUTINES.is_empty() && image::ROUTINES.is_empty())
}

/// In the creator's thread: a thread was made and has not run yet, `first`: the first one of a new process. A failure is the
/// answer of a driver that does not want the process.
pub(crate) fn created(process: &Process, tid: u64, first: bool) -> Result<(), NtStatus> {
    if first {
        process::created(process)?;
    }
    thread::created(process.pid, tid);
    Ok(())
}

/// In a new thread, before it does anything else.
pub(crate) fn begins(first: bool) {
    thread::begins();
    if first {
        image::process_begins(&current().process);
    }
}

/// In a thread that ends, `last`: and its process with it.
pub(crate) fn ends(last: bool) {
    thread::ends();
    if last {
        process::ends(&current().process);
    }
}

/// In the creator's thread: a process does not come to be after all.
pub(crate) fn discarded(process: &Process) {
    process::ends(process);
}

/// Reports what a driver that goes away has left registered.
pub(super) fn report_left(service: &str) {
    system::report_leaks(service);
    for routines in [&process::ROUTINES, &thread::ROUTINES, &image::ROUTINES] {
        routines.report_left(service);
    }
    callback_object::report_left(service);
    object::report_left(service);
    shutdown::report_left(service);
    registry::report_left(service);
}

/// Whether the image that holds a routine was linked with `/INTEGRITYCHECK`, as those are whose routines may forbid things.
fn is_integrity_checked(routine: usize) -> bool {
    driver::at(routine).is_some_and(|driver| driver.forces_integrity())
}
