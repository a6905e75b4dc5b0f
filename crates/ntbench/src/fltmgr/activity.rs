//! Activity ids: what ties the traces of one request together, in the IRP and in the thread that works on it.

use std::cell::Cell;

use super::extension::{self, Extension};
use crate::abi::base::Guid;
use crate::ntos::irql;
use crate::ntos::memory::Guest;
use crate::status::NtStatus;
use crate::thread::DISPATCH_LEVEL;

thread_local! {
    /// The current thread's activity id: where it lies, as whoever set it keeps the memory; 0: none.
    static THREAD: Cell<usize> = const { Cell::new(0) };
}

/// An operation's id, of those that are IRPs.
fn of(data: usize) -> Result<Guid, NtStatus> {
    if !extension::is_irp(data) {
        return Err(NtStatus::NOT_SUPPORTED);
    }
    let Extension { activity, .. } = extension::of(data);
    activity.ok_or(NtStatus::NOT_FOUND)
}

exports! { "fltmgr.sys";
    /// An operation's activity id.
    fn FltGetActivityIdCallbackData(data: usize, id: Guest<Guid>) -> NtStatus {
        irql::at_most("FltGetActivityIdCallbackData", DISPATCH_LEVEL);
        match of(data) {
            Ok(found) => {
                id.write(found);
                NtStatus::SUCCESS
            }
            Err(status) => status,
        }
    }

    /// Sets it: where none is given, the one that the current thread has.
    fn FltSetActivityIdCallbackData(data: usize, id: Guest<Guid>) -> NtStatus {
        irql::at_most("FltSetActivityIdCallbackData", DISPATCH_LEVEL);
        let given = id.read_opt().or_else(|| Guest::at(THREAD.get()).read_opt());
        match given.filter(|_| extension::is_irp(data)) {
            Some(id) => {
                extension::change(data, |extension| extension.activity = Some(id));
                NtStatus::SUCCESS
            }
            None => NtStatus::NOT_SUPPORTED,
        }
    }

    /// Gives the current thread an operation's id, until `IoClearActivityIdThread`.
    fn FltPropagateActivityIdToThread(data: usize, kept: Guest<Guid>, original: Guest<usize>) -> NtStatus {
        irql::at_most("FltPropagateActivityIdToThread", DISPATCH_LEVEL);
        match of(data) {
            Ok(id) => {
                kept.write(id);
                original.write(THREAD.replace(kept.address()));
                NtStatus::SUCCESS
            }
            Err(status) => status,
        }
    }
}

/// The kernel's own part.
pub(super) mod kernel {
    use super::{DISPATCH_LEVEL, Guest, Guid, THREAD, irql};

    exports! { "ntoskrnl.exe";
        /// The current thread's activity id; NULL: it has none.
        fn IoGetActivityIdThread() -> usize {
            irql::at_most("IoGetActivityIdThread", DISPATCH_LEVEL);
            THREAD.get()
        }

        /// Sets it, and gives the one before.
        fn IoSetActivityIdThread(id: Guest<Guid>) -> usize {
            irql::at_most("IoSetActivityIdThread", DISPATCH_LEVEL);
            THREAD.replace(id.address())
        }

        /// Takes it away: the thread has the one again that it had before.
        fn IoClearActivityIdThread(original: usize) {
            irql::at_most("IoClearActivityIdThread", DISPATCH_LEVEL);
            THREAD.set(original);
        }
    }
}
