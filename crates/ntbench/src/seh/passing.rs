//! Exceptions that leave a callback for the code that called the import which made the callback.
//!
//! The kernel's library functions (generic tables, cancel-safe queues, `IoCallDriver`) have no handlers, so in Windows an
//! exception in a routine that they call goes up through them to the driver that called them. Here the host's own frames lie
//! between. The search looks beyond them, in the caller's frames. If somebody there takes the exception, the callback's frames
//! are unwound; the callback is left as if it had returned 0; the import ends without calling the driver again; and the
//! unwinding goes on at the driver's call of it.

use std::cell::{Cell, RefCell};

use super::record::ExceptionRecord;
use super::unwinding::Target;
use super::{Pending, after_return};
use crate::cpu::pcr;
use crate::gate::{self, CallSite, Import};
use crate::stack;

/// A call into a driver that lets exceptions out.
struct Passing {
    /// How many calls into drivers there are, with it.
    calls: usize,
    /// The import that makes it.
    import: Import,
}

thread_local! {
    static PASSING: RefCell<Vec<Passing>> = const { RefCell::new(Vec::new()) };
    /// What goes on once the callback has been left: where to, and for what.
    static LEFT: Cell<Option<(Target, ExceptionRecord)>> = const { Cell::new(None) };
}

/// Forgets calls that are over, from that number on: those that were left by an exception inside of them have not said so.
fn over(calls: usize) {
    PASSING.with_borrow_mut(|list| list.retain(|passing| passing.calls < calls));
}

/// Runs `f`, which calls the driver on behalf of the running import; gives what the driver returned, or 0 where an exception
/// has left it, or was on its way already: then the driver is not called any more.
pub(crate) fn through(f: impl FnOnce() -> u64) -> u64 {
    let block = pcr::block();
    if block.raised.get() != 0 {
        return 0;
    }
    let (import, calls) = (block.import(), stack::calls() + 1);
    over(calls);
    PASSING.with_borrow_mut(|list| list.push(Passing { calls, import }));
    let answer = f();
    over(calls);
    match LEFT.take() {
        Some((target, record)) => {
            after_return(Pending::Unwinding(target, record));
            0
        }
        None => answer,
    }
}

/// Whether an exception is on its way through the running import.
pub(crate) fn is_leaving() -> bool {
    pcr::block().raised.get() != 0
}

/// Whether the code that runs now was called by an import that lets no exception out, for a driver.
pub(crate) fn ends_here() -> bool {
    let calls = stack::calls();
    calls > 1 && caller(calls).is_none() && !super::walk::is_handling()
}

/// Who called the import that made the call of that number into a driver, where that call lets exceptions out.
pub(super) fn caller(calls: usize) -> Option<CallSite> {
    PASSING.with_borrow(|list| {
        let passing = list.iter().find(|passing| passing.calls == calls)?;
        gate::site(passing.import)
    })
}

/// Leaves the call of that number; the unwinding goes on where the import was called.
pub(super) fn leave(calls: usize, target: Target, record: ExceptionRecord) -> ! {
    LEFT.set(Some((target, record)));
    super::walk::leave(calls)
}
