//! The kernel stack of the thread that stopped the machine: its segments, and whose frames fill them.
//!
//! A thread that is inside `KeExpandKernelStackAndCalloutEx` has more than one segment. `KTHREAD` knows only the newest;
//! at the top of each, where `KTHREAD.InitialStack` points, lies a `KSTACK_CONTROL` whose `Previous` tells the older one's
//! bounds and InitialStack. (Public symbols of the kernel have these types; `StackBase`, `ActualLimit`, then `Previous`
//! with `StackBase`, `StackLimit`, `KernelStack`, `InitialStack` are the same in every version that has them.)

use crate::kernel::{CurrentSegment, Thread};
use crate::memory::{Dump, PAGE};
use crate::module::{self, Module};
use crate::symbols::Symbols;
use crate::unwind::{self, Left, Registers};

/// More segments than Windows gives a thread.
const MOST_SEGMENTS: usize = 64;
const MOST_FRAMES: usize = 4096;
/// A kernel stack is never larger.
const LARGEST: u64 = 0x2_0000;
/// A frame that did not fit ends below its segment's limit, by as much as its function wanted.
const OVERRUN: u64 = 0x1_0000;

/// A thread's first frame ends no further below its stack's base: what Windows keeps there, and a trap frame.
const BEGINNING: u64 = 0x400;

/// A stack segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// One past its highest address.
    pub base: u64,
    /// The lowest address that may be used.
    pub limit: u64,
    /// The lowest address that a frame uses.
    pub lowest: u64,
    /// Bytes by module, most first; what is in frames of no known module has an empty name.
    pub by_module: Vec<(String, u64)>,
    /// Whether its bounds are the thread's own; else they are those of the pages around the stack pointer.
    pub told: bool,
}

impl Segment {
    /// How long it is.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.base - self.limit
    }

    /// How much of it frames take.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.base - self.lowest.clamp(self.limit, self.base)
    }
}

/// How a frame was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// By the registers in the dump's header.
    Context,
    /// By the unwind data of the newer one.
    Unwound,
    /// By a search of the stack for return addresses: it may be left over from an earlier call.
    Searched,
}

/// A frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// RSP in the function's body, as WinDbg's Child-SP column has it.
    pub child_sp: u64,
    /// The distance to the next older frame on the same segment.
    pub bytes: Option<u64>,
    /// The address of the call or instruction.
    pub address: u64,
    /// `module!function+0x12`, as much of it as is known.
    pub symbol: String,
    /// Its module.
    pub module: Option<String>,
    /// `file:line`.
    pub source: Option<String>,
    /// Index of its segment; `None`: on none of the thread's, as a double fault's own stack is.
    pub segment: Option<usize>,
    /// How it was found.
    pub how: How,
    /// Whether the processor left it by an exception, not by a call: what is newer handled that.
    pub interrupted: bool,
}

fn bare(base: u64, limit: u64, told: bool) -> Segment {
    Segment {
        base,
        limit,
        lowest: base,
        by_module: Vec::new(),
        told,
    }
}

/// A thread's bounds that no stack has are a damaged thread's: searched, they would take for ever.
fn sound(base: u64, limit: u64) -> bool {
    limit < base && base - limit <= LARGEST && base.is_multiple_of(PAGE)
}

/// The thread's segments, newest first; without a thread, the pages around the stack pointer.
pub(crate) fn segments(
    dump: &Dump,
    thread: Option<&Thread>,
    rsp: u64,
    notes: &mut Vec<String>,
) -> Vec<Segment> {
    let mut segments: Vec<Segment> = Vec::new();
    let told = thread.and_then(|thread| thread.current);
    let Some(current) = told.filter(|told| sound(told.base, told.limit)) else {
        if let Some(told) = told {
            notes.push(format!(
                "the thread says that its stack is {:#x} to {:#x}, which no kernel stack is",
                told.limit, told.base
            ));
        }
        segments.extend(around(dump, rsp));
        if !segments.is_empty() {
            notes.push("the stack's bounds are those of the pages around the stack pointer, not the thread's own".to_owned());
        }
        return segments;
    };
    segments.push(bare(current.base, current.limit, true));
    let mut initial = current.initial;
    while let Some(older) = older(dump, initial, &segments, notes) {
        segments.push(bare(older.base, older.limit, true));
        initial = older.initial;
    }
    segments
}

/// The segment before the oldest of these, as the control block at the oldest one's top tells it. Why a chain is broken off is
/// noted: what lies on the segments beyond is missing then.
fn older(
    dump: &Dump,
    initial: u64,
    segments: &[Segment],
    notes: &mut Vec<String>,
) -> Option<CurrentSegment> {
    let word = |offset: u64| dump.word(initial.checked_add(0x10 + offset)?);
    let (Some(base), Some(limit), Some(older)) = (word(0), word(8), word(24)) else {
        notes.push(format!(
            "the control block at {initial:#x}, which tells of older stack segments, is not in the dump"
        ));
        return None;
    };
    if base == 0 {
        // The first segment has none before it.
        return None;
    }
    let why = if !sound(base, limit) || !(limit..base).contains(&older) {
        "which no kernel stack is"
    } else if segments.iter().any(|known| known.base == base) {
        "which is one of the newer ones"
    } else if segments.len() >= MOST_SEGMENTS {
        "and no thread has so many"
    } else {
        return Some(CurrentSegment {
            base,
            limit,
            initial: older,
        });
    };
    notes.push(format!(
        "the control block at {initial:#x} names {limit:#x} to {base:#x} as the older stack segment, {why}: it and those \
         before it are left out"
    ));
    None
}

/// The pages around an address.
fn around(dump: &Dump, address: u64) -> Option<Segment> {
    let page = address & !(PAGE - 1);
    // A stack pointer that overran stands below its stack.
    let start = (0..=OVERRUN / PAGE)
        .map(|pages| page.wrapping_add(pages * PAGE))
        .find(|page| dump.holds(*page))?;
    let limit = (0..LARGEST / PAGE)
        .map(|pages| start.wrapping_sub(pages * PAGE))
        .take_while(|page| dump.holds(*page))
        .last()?;
    let top = (0..LARGEST / PAGE)
        .map(|pages| start.wrapping_add(pages * PAGE))
        .take_while(|page| dump.holds(*page))
        .last()?;
    Some(bare(top.checked_add(PAGE)?, limit, false))
}

/// The segment that a stack pointer is on, or has overrun.
fn segment_of(segments: &[Segment], sp: u64) -> Option<usize> {
    let inside = |segment: &Segment| (segment.limit..segment.base).contains(&sp);
    segments.iter().position(inside).or_else(|| {
        let overrun = |segment: &Segment| {
            (segment.limit.saturating_sub(OVERRUN)..segment.limit).contains(&sp)
        };
        segments.iter().position(overrun)
    })
}

/// The frames from these registers on.
pub(crate) fn walk(
    dump: &Dump,
    modules: &[Module],
    symbols: &Symbols<'_>,
    context: &Registers,
    segments: &[Segment],
    notes: &mut Vec<String>,
) -> Vec<Frame> {
    let mut frames: Vec<Frame> = Vec::new();
    let mut registers = *context;
    let (mut how, mut exact) = (How::Context, true);
    let mut entered = false;
    while registers.rip != 0 && frames.len() < MOST_FRAMES {
        let module = module::at(modules, registers.rip);
        let sp = registers.rsp();
        let place = module.map(|module| symbols.place(module, registers.rip, exact));
        let (symbol, source) = place.map_or_else(
            || (format!("{:#x}", registers.rip), None),
            |place| (place.symbol, place.source),
        );
        frames.push(Frame {
            child_sp: sp,
            bytes: None,
            address: registers.rip,
            symbol,
            module: module.map(|module| module.name.clone()),
            source,
            segment: segment_of(segments, sp),
            how,
            interrupted: false,
        });
        if let [.., newer, this] = frames.as_mut_slice() {
            // From segment to segment the kernel switches by itself.
            this.interrupted =
                entered && (newer.segment.is_none() || newer.segment == this.segment);
        }
        let left = module.and_then(|module| unwind::step(dump, module, &mut registers, exact));
        entered = left == Some(Left::MachineFrame);
        (how, exact) = match left {
            Some(Left::Returned)
                if registers.rsp() > sp && leads_on(modules, segments, &registers) =>
            {
                (How::Unwound, false)
            }
            // The other stack may lie anywhere; going round in circles is what the bound is for.
            Some(Left::MachineFrame) if registers.rsp() != sp => (How::Unwound, true),
            _ => match search(dump, modules, segments, sp) {
                Some(found) => {
                    registers.rip = found.1;
                    registers.set_rsp(found.0.wrapping_add(8));
                    (How::Searched, false)
                }
                None => break,
            },
        };
    }
    let searched = frames
        .iter()
        .filter(|frame| frame.how == How::Searched)
        .count();
    if searched > 0 {
        notes.push(format!(
            "{searched} of {} frames were found by searching the stack, since unwinding led nowhere there: they may be \
             left over from earlier calls",
            frames.len()
        ));
    }
    for index in 1..frames.len() {
        let (newer, older) = frames.split_at_mut(index);
        if let (Some(newer), Some(older)) = (newer.last_mut(), older.first())
            && newer.segment == older.segment
        {
            newer.bytes = older.child_sp.checked_sub(newer.child_sp);
        }
    }
    frames
}

/// Whether a walk can go on from there, or ends as it should: at 0, near the top of a segment, where a thread begins.
fn leads_on(modules: &[Module], segments: &[Segment], registers: &Registers) -> bool {
    let begins = |segment: &Segment| {
        (segment.base.saturating_sub(BEGINNING)..=segment.base).contains(&registers.rsp())
    };
    match registers.rip {
        0 => segments.is_empty() || segments.iter().any(begins),
        rip => module::at(modules, rip).is_some(),
    }
}

/// The first word above `sp` on its segment that looks like a return address, and where it lies.
fn search(dump: &Dump, modules: &[Module], segments: &[Segment], sp: u64) -> Option<(u64, u64)> {
    let segment = segments.get(segment_of(segments, sp)?)?;
    let from = sp.max(segment.limit).next_multiple_of(8);
    let mut at = from;
    while at < segment.base {
        if let Some(word) = dump.word(at)
            && let Some(module) = module::at(modules, word)
            && follows_call(dump, module, word)
        {
            return Some((at, word));
        }
        at = at.checked_add(8)?;
    }
    None
}

/// Whether an address lies in a function with a frame, right behind a call.
fn follows_call(dump: &Dump, module: &Module, address: u64) -> bool {
    let within = module
        .rva(address)
        .and_then(|rva| unwind::function(dump, module, rva));
    if within.is_none() {
        return false;
    }
    let mut code = [0; 7];
    if dump.read_into(address.wrapping_sub(7), &mut code) != 7 {
        return false;
    }
    // call rel32; call r/m64 (FF /2) of two, three, six and seven bytes.
    let indirect = |at: usize| code[at] == 0xFF && code[at + 1] >> 3 & 7 == 2;
    code[2] == 0xE8 || indirect(5) || indirect(4) || indirect(1) || indirect(0)
}

/// Adds up what the frames take of each segment.
pub(crate) fn charge(segments: &mut [Segment], frames: &[Frame]) {
    for (index, segment) in segments.iter_mut().enumerate() {
        let mut on: Vec<&Frame> = frames
            .iter()
            .filter(|frame| frame.segment == Some(index))
            .collect();
        on.sort_by_key(|frame| frame.child_sp);
        segment.lowest = on.first().map_or(segment.base, |frame| frame.child_sp);
        let mut by_module: Vec<(String, u64)> = Vec::new();
        for (position, frame) in on.iter().enumerate() {
            let end = on
                .get(position + 1)
                .map_or(segment.base, |older| older.child_sp);
            // Of a frame that overran only what is inside.
            let bytes = end.saturating_sub(frame.child_sp.max(segment.limit));
            let name = frame.module.clone().unwrap_or_default();
            match by_module.iter_mut().find(|(known, _)| *known == name) {
                Some((_, sum)) => *sum += bytes,
                None => by_module.push((name, bytes)),
            }
        }
        by_module.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        segment.by_module = by_module;
    }
}
