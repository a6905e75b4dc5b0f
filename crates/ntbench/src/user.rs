//! User address space: the buffers that a program hands to a driver by their addresses.
//!
//! Everything below [`END`] is user space to drivers under test (`MmHighestUserAddress` and its kin say so too), and none
//! of the host's own memory lies there. The bench divides the processor's addresses lower than Windows does because
//! Linux gives this process the lower half only. Pages are handed out of one arena whose state is a table, so that a
//! probe needs no touch. One address space serves all simulated processes, no two of which are given the same address: a driver
//! that keeps a user address and uses it in another process finds that it is not there ([`owners`]).

mod arena;
mod owners;
mod trap;

use crate::status::NtStatus;
use crate::thread;

pub(crate) use arena::{Alias, Pages, State};
pub(crate) use owners::owner;
pub(crate) use trap::{Trap, stepped, touched};

/// One past the highest user address.
pub(crate) const END: usize = 0x1000_0000_0000;
/// Windows gives no program the first 64 KB, nor the last.
const UNUSED: usize = 0x1_0000;

/// A buffer as a program describes it: nothing says that it is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct UserBuffer {
    /// Its address.
    pub(crate) address: u64,
    /// How long the program says it is.
    pub(crate) length: u32,
}

/// Whether an address is one of user space: null pointers are.
pub(crate) fn is_user(address: usize) -> bool {
    address < END
}

/// The process that the current thread is in; 0: it is no thread of the machine's.
pub(crate) fn current() -> u64 {
    thread::try_current().map_or(0, thread::Thread::context)
}

/// The current thread is about to run driver code, or to run on in it after a wait: other processes' addresses are not there.
#[inline]
pub(crate) fn enter_process() {
    owners::enter(|| thread::try_current().map(thread::Thread::context));
}

/// A fault of the current thread's: whether the page had only been taken away from other processes, and is there again.
/// Safe in a signal handler.
pub(crate) fn give_back(address: usize, write: bool, in_host: bool) -> bool {
    owners::give_back(address, write, (!in_host).then(current))
}

/// The process whose page is at an address, where that is another one than the current thread's.
pub(crate) fn foreign(address: usize) -> Option<u64> {
    let owner = owner(address);
    (owner != 0 && owner != current()).then_some(owner)
}

/// What `ProbeForRead` checks: the range's alignment, and that it is no system memory. Not that it is there.
///
/// # Errors
/// `STATUS_DATATYPE_MISALIGNMENT`, `STATUS_ACCESS_VIOLATION`.
pub(crate) fn probe_for_read(
    address: usize,
    length: usize,
    alignment: usize,
) -> Result<(), NtStatus> {
    if length == 0 {
        return Ok(());
    }
    if alignment > 1 && !address.is_multiple_of(alignment) {
        return Err(NtStatus::DATATYPE_MISALIGNMENT);
    }
    match address.checked_add(length) {
        Some(end) if end <= END - UNUSED => Ok(()),
        _ => Err(NtStatus::ACCESS_VIOLATION),
    }
}

/// What `ProbeForWrite` checks: as [`probe_for_read`], and each page is there and may be written now. A moment later it
/// may be gone.
///
/// # Errors
/// `STATUS_DATATYPE_MISALIGNMENT`, `STATUS_ACCESS_VIOLATION`.
pub(crate) fn probe_for_write(
    address: usize,
    length: usize,
    alignment: usize,
) -> Result<(), NtStatus> {
    probe_for_read(address, length, alignment)?;
    lockable(address, length, true, current())
}

/// Whether each page of a range is there in that process, and may be written: what locking it finds out.
///
/// # Errors
/// `STATUS_ACCESS_VIOLATION`.
pub(crate) fn lockable(
    address: usize,
    length: usize,
    write: bool,
    pid: u64,
) -> Result<(), NtStatus> {
    probe_for_read(address, length, 1)?;
    let there = if write {
        |address, length| arena::all(address, length, State::ReadWrite)
    } else {
        arena::there
    };
    if length == 0 || there(address, length) && owners::all(address, length, pid) {
        Ok(())
    } else {
        Err(NtStatus::ACCESS_VIOLATION)
    }
}

static HIGHEST: usize = END - UNUSED - 1;
static PROBE: usize = END - UNUSED;
static SYSTEM: usize = END;

/// Where `MmSystemRangeStart` says that drivers' memory begins.
pub(crate) fn system_range_start() -> u64 {
    SYSTEM as u64
}

fn at(value: &'static usize) -> usize {
    std::ptr::from_ref(value).expose_provenance()
}

exports! { "ntoskrnl.exe";
    partial "lower than on Windows: drivers and programs share the half that Linux gives a process"
    data MmHighestUserAddress = || at(&HIGHEST);
    partial "lower than on Windows: drivers and programs share the half that Linux gives a process"
    data MmUserProbeAddress = || at(&PROBE);
    partial "lower than on Windows: drivers and programs share the half that Linux gives a process"
    data MmSystemRangeStart = || at(&SYSTEM);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probe_for_reading_looks_at_the_range_alone() {
        assert_eq!(probe_for_read(0x2_0001, 16, 1), Ok(()));
        assert_eq!(
            probe_for_read(0x2_0001, 16, 4),
            Err(NtStatus::DATATYPE_MISALIGNMENT)
        );
        assert_eq!(
            probe_for_read(END - UNUSED, 1, 1),
            Err(NtStatus::ACCESS_VIOLATION)
        );
        assert_eq!(probe_for_read(END - UNUSED - 1, 1, 1), Ok(()));
        assert_eq!(
            probe_for_read(usize::MAX, 16, 1),
            Err(NtStatus::ACCESS_VIOLATION)
        );
        assert_eq!(
            probe_for_read(usize::MAX, 0, 1),
            Ok(()),
            "an empty range is anywhere"
        );
    }

    #[test]
    fn a_probe_for_writing_wants_each_page() {
        let pages = Pages::new(2).expect("pages");
        let base = pages.base();
        assert_eq!(probe_for_write(base, 0x2000, 8), Ok(()));
        assert_eq!(
            probe_for_write(base + 1, 0x2000, 1),
            Err(NtStatus::ACCESS_VIOLATION)
        );
        pages.set(1, 1, State::ReadOnly).expect("set");
        assert_eq!(probe_for_write(base, 0x1000, 8), Ok(()));
        assert_eq!(
            probe_for_write(base, 0x1001, 8),
            Err(NtStatus::ACCESS_VIOLATION)
        );
        drop(pages);
        assert_eq!(probe_for_write(base, 1, 1), Err(NtStatus::ACCESS_VIOLATION));
    }
}
