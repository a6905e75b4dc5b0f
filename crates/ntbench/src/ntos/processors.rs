//! The one processor, and threads' priorities on it.
//!
//! "Processor Groups", `KeSetSystemAffinityThreadEx`, `KeSetPriorityThread`. Affinities are kept and change nothing, and so
//! do priorities: the host's scheduler decides who runs.

use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use super::memory::Guest;
use super::{irql, ps};
use crate::bugcheck;
use crate::maps::HashMap;
use crate::status::NtStatus;
use crate::thread::{self, APC_LEVEL, DISPATCH_LEVEL};

/// What threads start with: `THREAD_PRIORITY_NORMAL` in a process of the normal class.
const NORMAL: i32 = 8;
/// `HIGH_PRIORITY`: those above 0, which is the zero-page thread's alone, up to this.
const HIGHEST: i32 = 31;
/// Every processor there is.
const ALL: u64 = 1;

#[derive(Clone, Copy)]
struct Scheduling {
    priority: i32,
    increment: i32,
    affinity: u64,
}

const FRESH: Scheduling = Scheduling {
    priority: NORMAL,
    increment: 0,
    affinity: 0,
};

/// What drivers have set, by threads' objects.
static THREADS: LazyLock<Mutex<HashMap<usize, Scheduling>>> = LazyLock::new(Mutex::default);

fn lock() -> MutexGuard<'static, HashMap<usize, Scheduling>> {
    THREADS.lock().unwrap_or_else(PoisonError::into_inner)
}

fn known(call: &str, thread: usize) {
    if ps::thread_at(thread).is_none() {
        bugcheck::raise(
            0x3B,
            [0xC000_0005, 0, thread as u64, 0],
            format!("{call} was given {thread:#x}, which is no thread that runs"),
        );
    }
}

fn change<R>(thread: usize, change: impl FnOnce(&mut Scheduling) -> R) -> R {
    change(lock().entry(thread).or_insert(FRESH))
}

/// Keeps a thread on some processors; gives those of the last such call, 0: there was none.
fn keep(call: &str, affinity: u64) -> u64 {
    irql::at_most(call, DISPATCH_LEVEL);
    if affinity & ALL == 0 {
        // Nothing is done for processors that there are not.
        return 0;
    }
    let current = thread::current().object;
    change(current, |thread| {
        std::mem::replace(&mut thread.affinity, affinity & ALL)
    })
}

fn free(call: &str, affinity: u64) {
    irql::at_most(call, DISPATCH_LEVEL);
    change(thread::current().object, |thread| {
        thread.affinity = affinity;
    });
}

/// `GROUP_AFFINITY`: the mask, then the group.
type Group = [u64; 2];

exports! { "ntoskrnl.exe";
    /// Sets a thread's priority; gives the former one.
    partial "kept and told; it changes nothing about who runs"
    fn KeSetPriorityThread(thread: usize, priority: i32) -> i32 {
        irql::at_most("KeSetPriorityThread", DISPATCH_LEVEL);
        known("KeSetPriorityThread", thread);
        let priority = priority.clamp(1, HIGHEST);
        change(thread, |thread| std::mem::replace(&mut thread.priority, priority))
    }

    /// A thread's priority.
    fn KeQueryPriorityThread(thread: usize) -> i32 {
        irql::at_most("KeQueryPriorityThread", DISPATCH_LEVEL);
        known("KeQueryPriorityThread", thread);
        change(thread, |thread| thread.priority)
    }

    /// Sets a thread's priority relative to its process's; gives the former increment.
    partial "kept and told; it changes nothing about who runs"
    fn KeSetBasePriorityThread(thread: usize, increment: i32) -> i32 {
        irql::at_most("KeSetBasePriorityThread", DISPATCH_LEVEL);
        known("KeSetBasePriorityThread", thread);
        change(thread, |thread| {
            thread.priority = (NORMAL + increment).clamp(1, HIGHEST);
            std::mem::replace(&mut thread.increment, increment)
        })
    }

    /// On which processor the caller runs.
    fn KeGetCurrentProcessorNumberEx(number: Guest<u32>) -> u32 {
        number.write_opt(0);
        0
    }

    /// Which processors there are.
    partial "1: drivers' threads run at the same time as if on more"
    fn KeQueryActiveProcessors() -> u64 {
        ALL
    }

    /// How many groups of processors.
    fn KeQueryActiveGroupCount() -> u16 {
        1
    }

    /// How many groups at most.
    fn KeQueryMaximumGroupCount() -> u16 {
        1
    }

    /// How many processors at most.
    partial "1: drivers' threads run at the same time as if on more"
    fn KeQueryMaximumProcessorCount() -> u32 {
        1
    }

    /// Which processors a group has.
    partial "1: drivers' threads run at the same time as if on more"
    fn KeQueryGroupAffinity(group: u16) -> u64 {
        if group == 0 { ALL } else { 0 }
    }

    /// The highest node's number.
    fn KeQueryHighestNodeNumber() -> u16 {
        0
    }

    /// On which node the caller runs.
    fn KeGetCurrentNodeNumber() -> u16 {
        0
    }

    /// A processor's number in its group, by its number in the system.
    fn KeGetProcessorNumberFromIndex(index: u32, number: Guest<u32>) -> NtStatus {
        if index != 0 {
            return NtStatus::INVALID_PARAMETER;
        }
        number.write(0);
        NtStatus::SUCCESS
    }

    /// The other way round.
    fn KeGetProcessorIndexFromNumber(number: Guest<[u8; 4]>) -> u32 {
        if number.read() == [0; 4] { 0 } else { u32::MAX }
    }

    /// Keeps the current thread on some processors.
    partial "kept, and changes nothing: there is one processor"
    fn KeSetSystemAffinityThread(affinity: u64) {
        keep("KeSetSystemAffinityThread", affinity);
    }

    /// The same; gives what it was kept on before.
    partial "kept, and changes nothing: there is one processor"
    fn KeSetSystemAffinityThreadEx(affinity: u64) -> u64 {
        keep("KeSetSystemAffinityThreadEx", affinity)
    }

    /// Ends that.
    fn KeRevertToUserAffinityThread() {
        free("KeRevertToUserAffinityThread", 0);
    }

    /// Goes back to what it was before.
    fn KeRevertToUserAffinityThreadEx(affinity: u64) {
        free("KeRevertToUserAffinityThreadEx", affinity);
    }

    /// Keeps the current thread on some processors of a group.
    partial "kept, and changes nothing: there is one processor"
    fn KeSetSystemGroupAffinityThread(affinity: Guest<Group>, before: Guest<Group>) {
        let [mask, _] = affinity.read();
        before.write_opt([keep("KeSetSystemGroupAffinityThread", mask), 0]);
    }

    /// Goes back to what it was before.
    fn KeRevertToUserGroupAffinityThread(before: Guest<Group>) {
        let [mask, _] = before.read();
        free("KeRevertToUserGroupAffinityThread", mask);
    }

    /// Saves the wide registers, so that the driver may use them.
    fn KeSaveExtendedProcessorState(_features: u64, state: Guest<[u64; 2]>) -> NtStatus {
        irql::at_most("KeSaveExtendedProcessorState", DISPATCH_LEVEL);
        // The host keeps each thread's registers; what is written is for the check that the restore makes.
        state.write([thread::current().object as u64, SAVED]);
        NtStatus::SUCCESS
    }

    /// Puts them back.
    fn KeRestoreExtendedProcessorState(state: Guest<[u64; 2]>) {
        let [saver, mark] = state.read();
        if mark != SAVED || saver != thread::current().object as u64 {
            bugcheck::raise(
                0x3B,
                [0xC000_0005, 0, state.address() as u64, 0],
                "KeRestoreExtendedProcessorState was given a state that this thread has not saved",
            );
        }
        state.write([0; 2]);
    }

    /// How many ticks a thread ran in the kernel and outside.
    partial "0: the host does not tell kernel time from the bench's own"
    fn KeQueryRuntimeThread(thread: usize, user: Guest<u32>) -> u32 {
        irql::at_most("KeQueryRuntimeThread", APC_LEVEL);
        known("KeQueryRuntimeThread", thread);
        user.write(0);
        0
    }
}

/// What an `XSTATE_SAVE` in use says here.
const SAVED: u64 = u64::from_le_bytes(*b"XState  ");
