//! `KeExpandKernelStackAndCalloutEx`: direct, grown in place, or on another segment.
//!
//! Documented order (ntddk.h and its reference page): where `Size` bytes are free on the current stack the callout runs
//! there; else the stack is grown; else a temporary segment is taken. "Free" is here: between the Child-SP of
//! `KeExpandKernelStackAndCalloutEx` itself and the lowest usable address of its segment.
//!
//! A switched call also costs the kernel's own frames on the old segment and on top of the new one. Their sizes are from
//! a newer Windows (`models/kernel-frames.csv`) than that of `KeExpandKernelStackAndCalloutEx` itself, whose frame was
//! larger when it did all of it alone; the sum errs on the strict side by some 0x50 bytes.

use std::cell::Cell;
use std::sync::LazyLock;

use super::segment::{self, KERNEL_LARGE_STACK_SIZE, KERNEL_STACK_SIZE, NoSegment, Segment};
use super::{Frame, Record, enter_segment, usage, with_frames, with_state_mut};
use crate::cpu::memory::PAGE;
use crate::cpu::pcr::{self, Block};
use crate::status::NtStatus;
use crate::{bugcheck, cost, faults, gate, thread, verifier};

/// `MAXIMUM_EXPANSION_SIZE`: KERNEL_LARGE_STACK_SIZE - PAGE_SIZE / 2.
const MAXIMUM_EXPANSION_SIZE: u64 = KERNEL_LARGE_STACK_SIZE as u64 - PAGE as u64 / 2;

/// Looked up once: this is the bench's hottest path.
static EXPAND: LazyLock<&[Frame]> = LazyLock::new(|| cost::chain("expand"));
static SWITCH: LazyLock<&[Frame]> = LazyLock::new(|| cost::chain("expand.switch"));
static SEGMENT: LazyLock<&[Frame]> = LazyLock::new(|| cost::chain("expand.segment"));

thread_local! {
    static CALLOUTS: Cell<u32> = const { Cell::new(0) };
}

/// Whether a driver's callout is running on this thread: no exception may leave it, and its thread may not end.
pub(crate) fn in_callout() -> bool {
    CALLOUTS.get() != 0
}

const NAME: &str = "KeExpandKernelStackAndCalloutEx";

/// Runs `callout` with `size` bytes of stack, in the frame of `KeExpandKernelStackAndCalloutEx`, which is charged here.
///
/// # Errors
/// The documented statuses; `callout` has not run then.
pub(crate) fn expand<R>(size: u64, wait: bool, callout: impl FnOnce() -> R) -> Result<R, NtStatus> {
    with_frames(*EXPAND, || reserved(size, wait, callout))
}

/// The export.
pub(super) fn export(
    callout: usize,
    parameter: u64,
    size: u64,
    wait: bool,
    context: u64,
) -> NtStatus {
    if context != 0 {
        verifier::finding(
            "expand-context",
            format!("KeExpandKernelStackAndCalloutEx: Context is reserved and was {context:#x}"),
        );
    }
    if thread::irql() > thread::DISPATCH_LEVEL {
        let text = format!(
            "KeExpandKernelStackAndCalloutEx called at IRQL {}, documented <= 2",
            thread::irql()
        );
        let site = gate::call_site().map_or(0, |site| site.return_address as u64);
        bugcheck::raise(
            bugcheck::code::IRQL_NOT_LESS_OR_EQUAL,
            [0, u64::from(thread::irql()), 0, site],
            text,
        );
    }
    let run = || {
        let before = thread::irql();
        CALLOUTS.set(CALLOUTS.get() + 1);
        // SAFETY: the driver says that this is its callout; a wrong address faults as it does in Windows.
        unsafe { gate::call(callout, &[parameter]) };
        CALLOUTS.set(CALLOUTS.get() - 1);
        let after = thread::irql();
        if after != before {
            let text = format!("a callout was entered at IRQL {before} and returned at {after}");
            // A value above 1: it was no APC.
            let packed = u64::from(after) << 16 | u64::from(before) << 8 | 2;
            bugcheck::raise(
                bugcheck::code::IRQL_UNEXPECTED_VALUE,
                [packed, 0, 0, 0],
                text,
            );
        }
    };
    match expand(size, wait, run) {
        Ok(()) => NtStatus::SUCCESS,
        Err(status) => status,
    }
}

fn reserved<R>(size: u64, wait: bool, callout: impl FnOnce() -> R) -> Result<R, NtStatus> {
    if size > MAXIMUM_EXPANSION_SIZE {
        return Err(NtStatus::INVALID_PARAMETER_3);
    }
    if wait && thread::irql() >= thread::DISPATCH_LEVEL {
        return Err(NtStatus::INVALID_PARAMETER_4);
    }
    if let Some(status) = faults::check(NAME) {
        return Err(status);
    }
    let Ok(size) = usize::try_from(size) else {
        return Err(NtStatus::INVALID_PARAMETER_3);
    };
    let block = pcr::block();
    let sp = block.kernel_sp.get();
    if sp - block.low.get() >= size {
        return Ok(in_place(block, callout));
    }
    let grown = with_state_mut(|state| {
        let segment = state.segments.last_mut()?;
        let grown = sp >= size && matches!(segment.grow(sp - size), Ok(true));
        grown.then(|| block.low.set(segment.low()))
    });
    if grown.is_some() {
        return Ok(in_place(block, callout));
    }
    // A temporary segment is large; only what is asked for, and never less than an ordinary stack, is committed.
    let commit = (size + PAGE)
        .next_multiple_of(PAGE)
        .clamp(KERNEL_STACK_SIZE, KERNEL_LARGE_STACK_SIZE);
    let segment = segment::acquire(commit).map_err(|why| match why {
        NoSegment::Limit => NtStatus::STACK_OVERFLOW,
        NoSegment::Memory => NtStatus::NO_MEMORY,
    })?;
    // Should even these not fit, the machine ends as Windows would: with the segment in hand and no way to reach it.
    Ok(with_frames(*SWITCH, || switched(segment, callout)))
}

/// Runs `callout` where it is. What it uses was asked for, as on a segment of its own.
fn in_place<R>(block: &Block, callout: impl FnOnce() -> R) -> R {
    let sp = block.kernel_sp.get();
    let outer = usage::leave_segment(block);
    usage::enter_segment(block);
    let result = callout();
    let inner = usage::leave_segment(block);
    outer.and_below(&inner, sp).resume(block);
    result
}

/// Runs `callout` on `segment`.
fn switched<R>(segment: Segment, callout: impl FnOnce() -> R) -> R {
    let block = pcr::block();
    let old_sp = block.kernel_sp.get();
    let high = segment.high();
    let outer = usage::leave_segment(block);
    enter_segment(block, &segment);
    block.kernel_sp.set(high);
    usage::enter_segment(block);
    with_state_mut(|state| {
        state.segments.push(segment);
        state.records.push(Record::Switch);
    });
    let result = with_frames(*SEGMENT, callout);
    let inner = usage::leave_segment(block);
    let used = with_state_mut(|state| {
        state.records.pop();
        let used = state.segments.pop();
        if let Some(older) = state.segments.last() {
            enter_segment(block, older);
        }
        used
    });
    block.kernel_sp.set(old_sp);
    outer.and_elsewhere(&inner, high).resume(block);
    if let Some(used) = used {
        segment::release(used);
    }
    result
}
