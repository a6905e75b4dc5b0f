//! The kernel stacks of simulated threads.
//!
//! A thread's stack is a list of segments; the driver's real frames and the frames charged from the cost model lie on
//! it in the order in which they would lie there in Windows. Beside the stack itself a list of records says what was
//! put there by whom, from which a listing is made.

mod chain;
mod expand;
mod listing;
mod segment;
mod usage;

use std::cell::RefCell;
use std::io;
use std::mem::ManuallyDrop;
use std::sync::{OnceLock, PoisonError, RwLock};

pub(crate) use crate::cost::Frame;
use crate::cpu::fault::Registers;
use crate::cpu::pcr::{self, Block};
use crate::ntos::memory::Guest;
use crate::wire::{MachineConfig, StackKind, TraceEvent};
use crate::{bugcheck, cost, gate, trace};

pub(crate) use chain::{Chain, Link, chain};
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

static SNAPSHOT_AT: OnceLock<RwLock<Vec<String>>> = OnceLock::new();

/// Sets limits and the frames at which a listing is taken.
pub(crate) fn configure(config: &MachineConfig) {
    segment::configure(&config.stack);
    usage::configure(config.verifier.stack_use);
    if !config.snapshot_at.is_empty() {
        let names = SNAPSHOT_AT.get_or_init(RwLock::default);
        *names.write().unwrap_or_else(PoisonError::into_inner) = config.snapshot_at.clone();
    }
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

/// Runs `f` with these frames, oldest first, charged to the current kernel stack. Where they do not fit the machine
/// ends with bug check 0x7F (8).
pub(crate) fn with_frames<R>(frames: &[Frame], f: impl FnOnce() -> R) -> R {
    let block = pcr::block();
    let old_sp = block.kernel_sp.get();
    let mark = charge_all(block, frames);
    let result = f();
    with_state_mut(|state| state.records.truncate(mark));
    block.kernel_sp.set(old_sp);
    result
}

/// Charges them, and returns how many records there were before.
fn charge_all(block: &Block, frames: &[Frame]) -> usize {
    let mut sp = block.kernel_sp.get();
    let bytes: usize = frames.iter().map(|frame| frame.bytes as usize).sum();
    let fit = sp <= block.high.get() && sp.saturating_sub(bytes) >= block.low.get();
    if !fit || SNAPSHOT_AT.get().is_some() {
        let mark = with_state(|state| state.records.len());
        for frame in frames {
            charge(block, *frame);
        }
        return mark;
    }
    let mark = with_state_mut(|state| {
        let mark = state.records.len();
        state.records.extend(frames.iter().map(|frame| {
            let top = sp;
            sp -= frame.bytes as usize;
            touch(sp);
            Record::Frame {
                symbol: frame.symbol,
                child_sp: sp,
                top,
            }
        }));
        mark
    });
    block.kernel_sp.set(sp);
    block.lowest.set(block.lowest.get().min(sp));
    mark
}

/// Makes a page of the stack one that was used.
#[inline]
fn touch(child_sp: usize) {
    let lowest = std::ptr::with_exposed_provenance_mut::<u64>(child_sp & !7);
    // SAFETY: the address lies in the committed part of this thread's segment, as callers have checked, below every frame
    // that is in use.
    unsafe { lowest.write_volatile(0) };
}

/// Charges one, which may be the one that no longer fits.
fn charge(block: &Block, frame: Frame) {
    let top = block.kernel_sp.get();
    let child_sp = top.wrapping_sub(frame.bytes as usize);
    if child_sp < block.low.get() || child_sp >= block.high.get() {
        overflow(block, frame, child_sp);
    }
    touch(child_sp);
    block.kernel_sp.set(child_sp);
    block.lowest.set(block.lowest.get().min(child_sp));
    with_state_mut(|state| {
        state.records.push(Record::Frame {
            symbol: frame.symbol,
            child_sp,
            top,
        });
    });
    if let Some(names) = SNAPSHOT_AT.get() {
        snapshot(names, frame.symbol);
    }
}

fn snapshot(names: &RwLock<Vec<String>>, symbol: &str) {
    let function = symbol.split('+').next().unwrap_or(symbol);
    if names
        .read()
        .unwrap_or_else(PoisonError::into_inner)
        .iter()
        .any(|name| name == function || name == symbol)
    {
        trace::push(TraceEvent::Snapshot(Box::new(listing(
            symbol,
            Context::Host,
        ))));
    }
}

/// A frame that no longer fits is a function whose prologue runs into the guard page with a stack pointer too low for
/// the processor to push a trap frame: a double fault.
fn overflow(block: &Block, frame: Frame, child_sp: usize) -> ! {
    let (low, sp) = (block.low.get(), block.kernel_sp.get());
    let text = format!(
        "kernel stack overflow: {} needs {:#x} bytes, {:#x} were left above the segment's limit {low:#x}",
        frame.symbol,
        frame.bytes,
        sp.saturating_sub(low),
    );
    bugcheck::end(
        bugcheck::code::UNEXPECTED_KERNEL_MODE_TRAP,
        [8, child_sp as u64, low as u64, 0],
        text,
        Context::Overflow {
            symbol: frame.symbol,
            child_sp,
        },
    )
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::cost::{chain, server2008_dfs};
    use crate::thread::{self, Process};
    use crate::wire::FrameKind;

    /// Runs `f` on a host thread made a simulated one.
    fn simulated<R: Send>(kind: StackKind, f: impl FnOnce() -> R + Send) -> R {
        std::thread::scope(|scope| {
            let run = || {
                let process = Process::new(8, "test.exe", true);
                let thread = thread::adopt(12, Arc::new(process));
                pcr::install(thread.object).expect("a processor region");
                install(kind).expect("a stack");
                f()
            };
            scope.spawn(run).join().expect("the thread's result")
        })
    }

    #[test]
    fn a_system_call_begins_where_the_listing_has_it() {
        let child_sp = simulated(StackKind::Ordinary, || {
            system_call(|| pcr::block().kernel_sp.get())
        });
        let listed = server2008_dfs().last().expect("the oldest row").child_sp;
        assert_eq!(child_sp as u64 & 0xFFF, listed & 0xFFF);
    }

    #[test]
    fn charged_frames_lie_as_far_apart_as_in_the_listing() {
        let listing = simulated(StackKind::Large, || {
            system_call(|| {
                with_frames(chain("query_attributes"), || {
                    with_frames(chain("mup.dfs"), || listing("now", Context::Host))
                })
            })
        });
        assert!(
            listing
                .frames
                .iter()
                .all(|frame| frame.kind == FrameKind::Modelled)
        );
        let outer: Vec<_> = server2008_dfs()
            .iter()
            .filter(|row| row.create == "outer")
            .collect();
        let mut compared = 0;
        for pair in listing.frames.windows(2) {
            let rows = outer.windows(2).find(|rows| {
                rows[0].frame.symbol == pair[0].symbol && rows[1].frame.symbol == pair[1].symbol
            });
            let Some(rows) = rows else { continue };
            assert_eq!(
                pair[0].bytes_to_older,
                Some(rows[1].child_sp - rows[0].child_sp),
                "{}",
                pair[0].symbol
            );
            compared += 1;
        }
        assert!(compared > 15, "{compared} pairs compared");
    }

    #[test]
    fn an_expansion_is_direct_then_grown_then_switched() {
        let (before, direct, grown, switched, after) = simulated(StackKind::Large, || {
            system_call(|| {
                let before = limits();
                let direct = expand(0x1000, false, limits).expect("runs");
                let grown = expand(0x6000, false, limits).expect("runs");
                let deep = || expand(0x1_1800, false, || (limits(), remaining())).expect("runs");
                let switched = with_frames(chain("mup.dfs"), deep);
                (before, direct, grown, switched, limits())
            })
        });
        assert_eq!(direct, before);
        assert_eq!((grown.high, grown.low < before.low), (before.high, true));
        assert_ne!(switched.0.high, before.high);
        assert!(switched.1 >= 0x1_1800, "{:#x}", switched.1);
        assert_eq!(after, grown, "what was grown stays");
    }

    #[test]
    fn a_reused_segment_is_like_a_new_one() {
        let (first, second) = simulated(StackKind::Ordinary, || {
            system_call(|| {
                let inner = || expand(0x8000, false, limits).expect("runs");
                let first = expand(0x6000, false, || (limits(), inner())).expect("runs");
                let second = expand(0x6000, false, limits).expect("runs");
                (first, second)
            })
        });
        assert!(first.1.low < first.0.low, "the inner one grew it");
        assert_eq!(second, first.0, "and it is small again");
    }

    #[test]
    fn what_lies_on_another_segment_is_told_apart() {
        let (inner, outer) = simulated(StackKind::Ordinary, || {
            system_call(|| {
                let outer = Measure::begin();
                let inner = Measure::begin();
                let deep = || with_frames(chain("mup.provider"), || ());
                expand(0x6000, false, deep).expect("runs");
                let inner = inner.end();
                (inner, outer.end())
            })
        });
        let provider: u64 = chain("mup.provider")
            .iter()
            .map(|frame| u64::from(frame.bytes))
            .sum();
        assert!(inner.elsewhere > provider, "{inner:#x?}");
        assert_eq!(
            outer.elsewhere, inner.elsewhere,
            "the outer callback was there as well"
        );
    }

    #[test]
    fn the_lowest_stack_pointer_nests() {
        let (inner, outer, bottom) = simulated(StackKind::Ordinary, || {
            system_call(|| {
                let outer = Measure::begin();
                let (inner, bottom) = with_frames(chain("create"), || {
                    let inner = Measure::begin();
                    let bottom = with_frames(chain("mup.provider"), || {
                        pcr::block().kernel_sp.get() as u64
                    });
                    (inner.end(), bottom)
                });
                (inner, outer.end(), bottom)
            })
        });
        assert_eq!(inner.lowest, Some(bottom));
        assert_eq!(outer.lowest, Some(bottom));
        assert_eq!((inner.own, outer.own), (0, 0), "all of it was the kernel's");
    }

    #[test]
    fn what_is_written_between_two_calls_is_seen() {
        usage::configure(true);
        let (inner, outer) = simulated(StackKind::Ordinary, || {
            system_call(|| {
                let outer = Measure::begin();
                let inner = with_frames(chain("create"), || {
                    let inner = Measure::begin();
                    let sp = pcr::block().kernel_sp.get();
                    touch(sp - 0x1000);
                    inner.end()
                });
                (inner, outer.end())
            })
        });
        usage::configure(false);
        assert_eq!((inner.own, inner.whole), (0x1000, 0x1000));
        assert_eq!(inner.deepest, Deepest::Unknown);
        assert_eq!(outer.own, 0, "the inner one's is not the outer one's own");
        assert!(outer.whole > 0x1000);
    }
}
