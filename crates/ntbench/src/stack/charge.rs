//! Frames of the kernel's that a simulated stack is charged with, and what happens when one no longer fits.

use std::sync::{OnceLock, PoisonError, RwLock};

use super::{Context, Frame, Record, listing, with_state, with_state_mut};
use crate::cpu::pcr::{self, Block};
use crate::wire::TraceEvent;
use crate::{bugcheck, trace};

static SNAPSHOT_AT: OnceLock<RwLock<Vec<String>>> = OnceLock::new();

/// Sets the frames at which a listing is taken.
pub(super) fn configure(snapshot_at: &[String]) {
    if !snapshot_at.is_empty() {
        let names = SNAPSHOT_AT.get_or_init(RwLock::default);
        *names.write().unwrap_or_else(PoisonError::into_inner) = snapshot_at.to_vec();
    }
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
pub(super) fn touch(child_sp: usize) {
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
pub(super) fn overflow(block: &Block, frame: Frame, child_sp: usize) -> ! {
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
