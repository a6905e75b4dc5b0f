//! The kernel stacks of simulated threads.
//!
//! A thread's stack is a list of segments; the driver's real frames and the frames charged from the cost model lie on
//! it in the order in which they would lie there in Windows. Beside the stack itself a list of records says what was
//! put there by whom, from which a listing is made.

mod chain;
mod charge;
mod expand;
mod listing;
mod segment;
#[cfg(test)]
mod tests;
mod usage;

use std::cell::RefCell;
use std::io;
use std::mem::ManuallyDrop;

pub(crate) use crate::cost::Frame;
use crate::cpu::fault::Registers;
use crate::cpu::pcr::{self, Block};
use crate::ntos::memory::Guest;
use crate::wire::{MachineConfig, StackKind};
use crate::{cost, gate};

pub(crate) use chain::{Chain, Link, chain};
use charge::overflow;
pub(crate) use charge::with_frames;
pub(crate) use expand::{expand, in_callout};
pub(crate) use listing::{Context, callers, listing};
use segment::{KERNEL_LARGE_STACK_SIZE, KERNEL_STACK_SIZE, Segment};
pub(crate) use usage::{Deepest, Measure, Used};

/// Below a thread's stack base: what the kernel keeps there, and the trap frame of a system call. The first frame of
/// a system call, `nt!KiSystemServiceCopyEnd`, has its Child-SP this far below the stack's end in the listing of
/// `models/server2008-dfs.csv`: 0x250 bytes and a KTRAP_FRAME of 0x190.
const SYSTEM_CALL_TOP: u32 = 0x3E0;
/// What `IoGetStackLimits` tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    /// The lowest usable address of the current segment.
    pub(crate) low: u64,
    /// One past its highest.
    pub(crate) high: u64,
}

/// What was put on the stack.
#[derive(Clone, Debug)]
enum Record {
    /// A frame charged from the model.
    Frame {
        symbol: &'static str,
        child_sp: usize,
        /// Where it begins: the stack pointer that its caller called it with.
        top: usize,
    },
    /// A call into the driver at that stack pointer, and the import that the host was in.
    Call { import: gate::Import, sp: usize },
    /// The driver's own code was interrupted. Seldom, and large.
    Interrupted(Box<Registers>),
    /// What follows lies on the next segment.
    Switch,
}

struct State {
    segments: Vec<Segment>,
    records: Vec<Record>,
}

impl State {
    const EMPTY: Self = Self {
        segments: Vec::new(),
        records: Vec::new(),
    };
}

thread_local! {
    /// Looked at several times in each call of a driver, so there must be nothing to ask first: no value to make, and none to
    /// drop.
    static STATE: ManuallyDrop<RefCell<State>> =
        const { ManuallyDrop::new(RefCell::new(State::EMPTY)) };
    static OWNER: Owner = const { Owner };
}

/// Gives a thread's stack back when the thread ends.
struct Owner;

impl Drop for Owner {
    fn drop(&mut self) {
        STATE.with(|state| drop(state.replace(State::EMPTY)));
    }
}

#[inline]
fn with_state<R>(look: impl FnOnce(&State) -> R) -> R {
    STATE.with(|state| look(&state.borrow()))
}

#[inline]
fn with_state_mut<R>(change: impl FnOnce(&mut State) -> R) -> R {
    STATE.with(|state| change(&mut state.borrow_mut()))
}

/// Sets limits and the frames at which a listing is taken.
pub(crate) fn configure(config: &MachineConfig) {
    segment::configure(&config.stack);
    usage::configure(config.verifier.stack_use);
    charge::configure(&config.snapshot_at);
}

/// Gives the current thread its kernel stack.
pub(crate) fn install(kind: StackKind) -> io::Result<()> {
    let reserve = match kind {
        StackKind::Ordinary => KERNEL_STACK_SIZE,
        StackKind::Large => KERNEL_LARGE_STACK_SIZE,
    };
    let segment = Segment::new(reserve, KERNEL_STACK_SIZE)?;
    let block = pcr::block();
    enter_segment(block, &segment);
    block.kernel_sp.set(segment.high());
    with_state_mut(|state| state.segments.push(segment));
    OWNER.with(|_| ());
    Ok(())
}

fn enter_segment(block: &Block, segment: &Segment) {
    block.low.set(segment.low());
    block.high.set(segment.high());
    block.guard.set(segment.guard());
}

/// The current segment's limits.
pub(crate) fn limits() -> Limits {
    let block = pcr::block();
    Limits {
        low: block.low.get() as u64,
        high: block.high.get() as u64,
    }
}

/// Bytes between the newest frame's Child-SP and the current segment's low limit.
pub(crate) fn remaining() -> u64 {
    let block = pcr::block();
    block.kernel_sp.get().saturating_sub(block.low.get()) as u64
}

/// Runs `f` as a system call does: from the top of the thread's stack, in `nt!KiSystemServiceCopyEnd`'s frame.
pub(crate) fn system_call<R>(f: impl FnOnce() -> R) -> R {
    with_frames(
        &[Frame {
            symbol: "nt!KiSystemServiceCopyEnd+0x13",
            bytes: SYSTEM_CALL_TOP,
        }],
        f,
    )
}

/// Runs `f` with no more than so many bytes left of the current segment, as if whoever called had used the others.
pub(crate) fn with_left<R>(left: Option<u32>, f: impl FnOnce() -> R) -> R {
    let spare = left.map_or(0, |left| remaining().saturating_sub(left.into()) & !15);
    match u32::try_from(spare) {
        Ok(bytes) if bytes > 0 => with_frames(
            &[Frame {
                symbol: "(stack that was used before)",
                bytes,
            }],
            f,
        ),
        _ => f(),
    }
}

/// Runs `f` as a system thread runs its start routine.
pub(crate) fn system_thread<R>(f: impl FnOnce() -> R) -> R {
    with_frames(cost::chain("system_thread"), f)
}

/// How many calls into drivers are under way on this thread.
pub(crate) fn calls() -> usize {
    let call = |record: &&Record| matches!(record, Record::Call { .. });
    with_state(|state| state.records.iter().filter(call).count())
}

/// Prepares a call of `arguments` slots into the driver and runs it at the stack pointer given to `enter`.
pub(crate) fn in_call(arguments: usize, enter: impl FnOnce(usize) -> u64) -> u64 {
    let block = pcr::block();
    let import = block.import();
    let old_sp = block.kernel_sp.get();
    // Above the frame's Child-SP: the home area and stack arguments, then whatever it likes, then its return address.
    let needed = 8 + arguments * 8;
    let begun = with_state_mut(|state| {
        let Some(Record::Frame { .. }) = state.records.last() else {
            return Err(Not::Charged);
        };
        let older = older_sp(state).unwrap_or(block.high.get());
        let kernel_sp = old_sp.min(older.saturating_sub(needed)) & !15;
        if kernel_sp < block.low.get() {
            return Err(Not::Room(kernel_sp));
        }
        state.records.push(Record::Call {
            import,
            sp: kernel_sp,
        });
        Ok(kernel_sp)
    });
    let kernel_sp = match begun {
        Ok(kernel_sp) => kernel_sp,
        Err(Not::Charged) => {
            // The newest thing on the stack is the driver itself, calling the import that we are in; that function's frame
            // must be there to be returned to and to hold the home area.
            let symbol = gate::site(import).map_or("nt", |site| site.import);
            let bytes = needed.next_multiple_of(16).max(0x30);
            let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
            return with_frames(&[Frame { symbol, bytes }], || in_call(arguments, enter));
        }
        Err(Not::Room(kernel_sp)) => {
            let bytes = u32::try_from(old_sp - kernel_sp).unwrap_or(u32::MAX);
            let symbol = "the arguments of a callback";
            overflow(block, Frame { symbol, bytes }, kernel_sp)
        }
    };
    block.kernel_sp.set(kernel_sp);
    let result = enter(kernel_sp);
    with_state_mut(|state| state.records.pop());
    block.kernel_sp.set(old_sp);
    result
}

/// Why a call cannot begin.
enum Not {
    /// No frame of the caller's is on the stack.
    Charged,
    /// Its arguments have no room above that stack pointer.
    Room(usize),
}

/// Runs `f` on the stack below a driver that was interrupted, or that called an import, with that stack pointer.
pub(crate) fn interrupted<R>(rsp: usize, registers: Option<Registers>, f: impl FnOnce() -> R) -> R {
    let block = pcr::block();
    let old_sp = block.kernel_sp.replace(rsp & !15);
    let mark = with_state_mut(|state| {
        let mark = state.records.len();
        state
            .records
            .extend(registers.map(|at| Record::Interrupted(Box::new(at))));
        mark
    });
    let result = f();
    with_state_mut(|state| state.records.truncate(mark));
    block.kernel_sp.set(old_sp);
    result
}

/// Where a thread's stack stands while driver code runs: what it takes to go on in that code from deeper down.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mark {
    records: usize,
    kernel_sp: usize,
    host_rsp: usize,
}

/// Marks the code that was interrupted, or called the running import.
pub(crate) fn mark() -> Mark {
    let block = pcr::block();
    Mark {
        records: with_state(|state| state.records.len()),
        kernel_sp: block.kernel_sp.get(),
        host_rsp: block.host_rsp.get(),
    }
}

/// Gives up what was called since then, on the same segment.
pub(crate) fn go_back(mark: Mark) {
    let block = pcr::block();
    with_state_mut(|state| state.records.truncate(mark.records));
    block.kernel_sp.set(mark.kernel_sp);
    block.host_rsp.set(mark.host_rsp);
}

/// Child-SP of the frame below the newest one, where that is another modelled frame; else the import's caller.
fn older_sp(state: &State) -> Option<usize> {
    let mut records = state.records.iter().rev();
    records.next();
    match records.next() {
        Some(Record::Frame { child_sp, .. }) => Some(*child_sp),
        Some(Record::Call { .. }) => Some(pcr::block().import_sp.get() + 8),
        Some(Record::Interrupted(registers)) => Some(registers.rsp),
        Some(Record::Switch) | None => None,
    }
}

exports! { "ntoskrnl.exe";
    /// The current segment's limits.
    fn IoGetStackLimits(low: Guest<u64>, high: Guest<u64>) {
        let limits = limits();
        low.write(limits.low);
        high.write(limits.high);
    }

    /// Documented in ntddk.h; the order of its decisions is [`expand`]'s.
    fn KeExpandKernelStackAndCalloutEx(callout: usize, parameter: u64, size: u64, wait: u8, context: u64) -> i32 {
        expand::export(callout, parameter, size, wait != 0, context).0
    }
}
