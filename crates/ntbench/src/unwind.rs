//! One step up a driver's frames by its image's unwind data.
//!
//! The procedure is Microsoft's ("x64 exception handling", unwind procedure), over the codes as `pe-unwind-info` reads
//! them. Its loop is here because its callers need more than the crate's own gives: an interrupted instruction told from
//! a return address, where a handler applies, and which frame it establishes.
//!
//! Registers are whatever a driver left in them and unwind data is whatever its file says: sums of them wrap, as the
//! processor's do, and an address that comes out of one is only ever read where it is readable.

use std::ops::ControlFlow;

use iced_x86::FlowControl;
use pe_unwind_info::x86_64::{
    FunctionEpilogInstruction, FunctionTableEntries, Register, RuntimeFunction, StackFrameOffset,
    UnwindInfo, UnwindInfoFlags, UnwindOperation, UnwindState, XmmRegister,
};

use crate::cpu::emulate::decode;
use crate::loader::Image;

/// Functions chained to functions chained to …: the longest row followed.
const LONGEST_CHAIN: usize = 32;

/// A function's language handler.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Handler {
    /// Where it is.
    pub(crate) routine: usize,
    /// The data behind it in the unwind information.
    pub(crate) data: usize,
    /// Called while a handler is looked for.
    pub(crate) on_exception: bool,
    /// Called while frames are unwound.
    pub(crate) on_unwind: bool,
}

/// A frame of a function that has unwind data.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Frame {
    /// The address of its `RUNTIME_FUNCTION` in the image.
    pub(crate) entry: usize,
    /// What handlers know the frame by: the stack pointer of its fixed allocation.
    pub(crate) establisher: u64,
    /// Its handler, where one applies: not in prologs and epilogs.
    pub(crate) handler: Option<Handler>,
}

/// The image's function table.
fn table(image: &Image) -> Option<FunctionTableEntries<'_>> {
    let (start, length) = (image.pdata.0 as usize, image.pdata.1 as usize);
    let data = image.snapshot.get(start..start.checked_add(length)?)?;
    Some(FunctionTableEntries::parse(data))
}

fn info(image: &Image, rva: u32) -> Option<UnwindInfo<'_>> {
    UnwindInfo::parse(image.snapshot.get(rva as usize..)?)
}

/// All functions that have unwind data.
pub(crate) fn functions(image: &Image) -> Option<&[RuntimeFunction]> {
    table(image)?.functions()
}

/// A function's unwind information, and that of what it is chained to, to the last.
pub(crate) fn chain<'a>(image: &'a Image, function: &RuntimeFunction) -> Vec<UnwindInfo<'a>> {
    let mut infos = Vec::new();
    let mut at = Some(function.unwind_info_address.get());
    while let Some(info) = at.and_then(|at| info(image, at)) {
        let next = at.and_then(|at| trailer(image, at, &info));
        infos.push(info);
        at = match next {
            Some((true, chained)) if infos.len() < LONGEST_CHAIN => word(image, chained + 8),
            _ => None,
        };
    }
    infos
}

/// The caller of the function at `rip`; the registers in `state` become its. `exact`: `rip` was interrupted, it is not
/// where a call returns to.
pub(crate) fn step(
    image: &Image,
    state: &mut impl UnwindState,
    rip: usize,
    exact: bool,
) -> Option<u64> {
    let rva = u32::try_from(rip - image.base).ok()?;
    let Some(function) = table(image)?.lookup(rva) else {
        return leaf(state);
    };
    let offset = rva - function.begin_address.get();
    let mut at = function.unwind_info_address.get();
    // A call returns into no epilog.
    if exact && let Some(rest) = epilog(image, function, rip) {
        finish(state, info(image, at)?.frame_register(), &rest)?;
        return leaf(state);
    }
    for link in 0..LONGEST_CHAIN {
        let info = info(image, at)?;
        let done = |(code, _): &(u8, UnwindOperation)| link > 0 || u32::from(*code) <= offset;
        for (_, operation) in info.unwind_operations().filter(done) {
            if let ControlFlow::Break(rip) = undo(&info, state, &operation)? {
                return Some(rip);
            }
        }
        match trailer(image, at, &info)? {
            (true, chained) => at = word(image, chained + 8)?,
            (false, _) => return leaf(state),
        }
    }
    None
}

/// Undoes what one unwind code stands for; `Break`: a machine frame, with the address that was interrupted.
///
/// Here and not by the crate, whose sums take registers for sensible: a driver that has overwritten its frame pointer is just what a
/// report is read for.
fn undo(
    info: &UnwindInfo<'_>,
    state: &mut impl UnwindState,
    operation: &UnwindOperation,
) -> Option<ControlFlow<u64>> {
    let rsp = state.read_register(Register::RSP);
    let offset = u64::from(info.frame_register_offset());
    let frame = |state: &mut _| match info.frame_register() {
        Some(register) => UnwindState::read_register(state, register).wrapping_sub(offset),
        None => rsp,
    };
    // The crate tells the offset only as a sum: of nothing, then.
    let nothing = info.frame_register().map_or(0, |_| offset);
    let place = |at: StackFrameOffset| info.resolve_offset(|_| nothing, at);
    match operation {
        UnwindOperation::PopNonVolatile(register) => {
            let value = state.read_stack(rsp)?;
            state.write_register(*register, value);
            state.write_register(Register::RSP, rsp.wrapping_add(8));
        }
        UnwindOperation::UnStackAlloc(bytes) => {
            state.write_register(Register::RSP, rsp.wrapping_add(u64::from(*bytes)));
        }
        UnwindOperation::RestoreSPFromFP => {
            let value = frame(state);
            state.write_register(Register::RSP, value);
        }
        UnwindOperation::ReadNonVolatile(register, at) => {
            let address = frame(state).wrapping_add(place(*at));
            let value = state.read_stack(address)?;
            state.write_register(*register, value);
        }
        UnwindOperation::ReadXMM(register, at) => {
            let address = frame(state).wrapping_add(place(*at));
            let low = state.read_stack(address)?;
            let high = state.read_stack(address.wrapping_add(8))?;
            state.write_xmm_register(*register, u128::from(low) | u128::from(high) << 64);
        }
        UnwindOperation::PopMachineFrame { error_code } => {
            let at = rsp.wrapping_add(if *error_code { 8 } else { 0 });
            let rip = state.read_stack(at)?;
            let rsp = state.read_stack(at.wrapping_add(24))?;
            state.write_register(Register::RSP, rsp);
            return Some(ControlFlow::Break(rip));
        }
        // Of epilogs, which are read from the code.
        UnwindOperation::EpilogInformation(_) => {}
    }
    Some(ControlFlow::Continue(()))
}

/// The caller of a function without a frame.
pub(crate) fn leaf(state: &mut impl UnwindState) -> Option<u64> {
    let rsp = state.read_register(Register::RSP);
    let rip = state.read_stack(rsp)?;
    state.write_register(Register::RSP, rsp.wrapping_add(8));
    Some(rip)
}

/// What is left of the epilog that `rip` is in, if it is in one.
fn epilog(
    image: &Image,
    function: &RuntimeFunction,
    rip: usize,
) -> Option<Vec<FunctionEpilogInstruction>> {
    // Any jump looks like the end of an epilog; one to its own function ends none.
    if jumps_within(rip, image.base, function) {
        return None;
    }
    let code = image
        .snapshot
        .get(rip - image.base..function.end_address.get() as usize)?;
    let register = info(image, function.unwind_info_address.get())?.frame_register();
    let rest = FunctionEpilogInstruction::parse_sequence(code, register).ok()?;
    Some(rest.iter().copied().collect())
}

/// Does what is left of an epilog.
fn finish(
    state: &mut impl UnwindState,
    frame_register: Option<Register>,
    rest: &[FunctionEpilogInstruction],
) -> Option<()> {
    for instruction in rest {
        let rsp = state.read_register(Register::RSP);
        match *instruction {
            FunctionEpilogInstruction::AddSP(bytes) => {
                state.write_register(Register::RSP, rsp.wrapping_add(u64::from(bytes)));
            }
            FunctionEpilogInstruction::AddSPFromFP(bytes) => {
                let frame = state.read_register(frame_register?);
                state.write_register(Register::RSP, frame.wrapping_add(u64::from(bytes)));
            }
            FunctionEpilogInstruction::Pop(register) => {
                let value = state.read_stack(rsp)?;
                state.write_register(register, value);
                state.write_register(Register::RSP, rsp.wrapping_add(8));
            }
        }
    }
    Some(())
}

/// What follows the codes of the unwind information at `at`: whether it is a chained function, and where it lies.
///
/// Counted here and not by the crate: the codes' number is rounded up to an even one, which it leaves out.
fn trailer(image: &Image, at: u32, info: &UnwindInfo<'_>) -> Option<(bool, u32)> {
    let codes = u32::from(info.unwind_codes_len).next_multiple_of(2);
    let trailer = at.checked_add(4 + 2 * codes)?;
    let chained = info.flags().contains(UnwindInfoFlags::CHAININFO);
    (!chained || (trailer as usize + 12) <= image.snapshot.len()).then_some((chained, trailer))
}

fn word(image: &Image, rva: u32) -> Option<u32> {
    let bytes = image.snapshot.get(rva as usize..rva as usize + 4)?;
    Some(u32::from_le_bytes(bytes.try_into().ok()?))
}

/// The address of the `RUNTIME_FUNCTION` of the function at `rip`; `None`: a leaf, which has none.
pub(crate) fn entry(image: &Image, rip: usize) -> Option<usize> {
    let rva = u32::try_from(rip.checked_sub(image.base)?).ok()?;
    Some(image.base + place(image, table(image)?.lookup(rva)?))
}

/// Where the function at `rip` begins; `None`: nothing tells.
pub(crate) fn start(image: &Image, rip: usize) -> Option<usize> {
    let rva = u32::try_from(rip.checked_sub(image.base)?).ok()?;
    let function = table(image)?.lookup(rva)?;
    Some(image.base + function.begin_address.get() as usize)
}

/// Where a table's entry lies in the image.
fn place(image: &Image, function: &RuntimeFunction) -> usize {
    image
        .snapshot
        .as_ptr()
        .addr()
        .abs_diff(std::ptr::from_ref(function).addr())
}

/// The frame of the function at `rip`, whose registers `state` has; `None`: a leaf, which has none. `exact`: see [`step`].
pub(crate) fn frame(
    image: &Image,
    state: &mut impl UnwindState,
    rip: usize,
    exact: bool,
) -> Option<Frame> {
    let rva = u32::try_from(rip - image.base).ok()?;
    let function = table(image)?.lookup(rva)?;
    let first = info(image, function.unwind_info_address.get())?;
    let offset = rva - function.begin_address.get();
    let in_prolog = offset < u32::from(first.prolog_size);
    let establisher = match first.frame_register() {
        Some(register) if !in_prolog => {
            let frame = state.read_register(register);
            frame.wrapping_sub(u64::from(first.frame_register_offset()))
        }
        _ => state.read_register(Register::RSP),
    };
    Some(Frame {
        entry: image.base + place(image, function),
        establisher,
        handler: if in_prolog || exact && epilog(image, function, rip).is_some() {
            None
        } else {
            handler(image, function)
        },
    })
}

/// The handler of a function: of the first of those that it is chained to.
fn handler(image: &Image, function: &RuntimeFunction) -> Option<Handler> {
    let mut at = function.unwind_info_address.get();
    for _ in 0..LONGEST_CHAIN {
        let info = info(image, at)?;
        let (chained, trailer) = trailer(image, at, &info)?;
        if chained {
            at = word(image, trailer + 8)?;
            continue;
        }
        let flags = info.flags();
        if !flags.intersects(UnwindInfoFlags::EHANDLER | UnwindInfoFlags::UHANDLER) {
            return None;
        }
        return Some(Handler {
            routine: image.base + word(image, trailer)? as usize,
            data: image.base + trailer as usize + 4,
            on_exception: flags.contains(UnwindInfoFlags::EHANDLER),
            on_unwind: flags.contains(UnwindInfoFlags::UHANDLER),
        });
    }
    None
}

fn jumps_within(rip: usize, base: usize, function: &RuntimeFunction) -> bool {
    let Some(instruction) = decode(rip) else {
        return false;
    };
    let target = instruction.near_branch_target().wrapping_sub(base as u64);
    let range = function.begin_address.get()..function.end_address.get();
    instruction.flow_control() == FlowControl::UnconditionalBranch
        && u32::try_from(target).is_ok_and(|target| range.contains(&target))
}

/// Unwinds out of some of an image's functions, from a stack that holds nothing sensible: for fuzzers.
pub(crate) fn probe(image: &Image) {
    /// Registers that point anywhere, and a stack whose words are its addresses.
    struct Anything([u64; 16]);

    impl UnwindState for Anything {
        fn read_register(&mut self, register: Register) -> u64 {
            self.0[register as usize % 16]
        }

        fn read_stack(&mut self, address: u64) -> Option<u64> {
            (!address.is_multiple_of(16)).then_some(address)
        }

        fn write_register(&mut self, register: Register, value: u64) {
            self.0[register as usize % 16] = value;
        }

        fn write_xmm_register(&mut self, _register: XmmRegister, _value: u128) {}
    }

    /// As many functions as are looked at.
    const LOOKED_AT: u32 = 8;
    let functions = image.pdata.1 / 12;
    for index in (0..functions).step_by((functions / LOOKED_AT).max(1) as usize) {
        let at = image.pdata.0 + index * 12;
        let (Some(begin), Some(end)) = (word(image, at), word(image, at + 4)) else {
            continue;
        };
        for rva in [begin, begin + (end - begin) / 2, end - 1] {
            for registers in [[0x8; 16], [u64::MAX; 16]] {
                let rip = image.base + rva as usize;
                let mut state = Anything(registers);
                let _ = frame(image, &mut state, rip, rva == begin);
                let _ = step(image, &mut state, rip, rva == begin);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: usize = 0x10_0000;

    struct State {
        registers: [u64; 16],
        stack: Vec<u64>,
    }

    impl UnwindState for State {
        fn read_register(&mut self, register: Register) -> u64 {
            self.registers[register as usize]
        }

        fn read_stack(&mut self, address: u64) -> Option<u64> {
            self.stack.get(usize::try_from(address / 8).ok()?).copied()
        }

        fn write_register(&mut self, register: Register, value: u64) {
            self.registers[register as usize] = value;
        }

        fn write_xmm_register(&mut self, _register: XmmRegister, _value: u128) {}
    }

    /// Two functions: the first (0x80) takes 8 bytes and has a handler; the second (0x100), which pushes RBX, is chained
    /// to it. Both have one unwind code, so both have padding behind it.
    fn image() -> Image {
        let mut bytes = vec![0xCC; 0x200];
        let mut put = |at: usize, what: &[u8]| bytes[at..at + what.len()].copy_from_slice(what);
        let function =
            |begin: u32, end: u32, info: u32| [begin, end, info].map(u32::to_le_bytes).concat();
        put(0, &function(0x80, 0x100, 0x60));
        put(12, &function(0x100, 0x180, 0x40));
        put(0x40, &[0x21, 1, 1, 0, 1, 0x30, 0xEE, 0xEE]);
        put(0x48, &function(0x80, 0x100, 0x60));
        put(0x60, &[0x09, 4, 1, 0, 4, 0x02, 0xEE, 0xEE]);
        put(0x68, &0x90_u32.to_le_bytes());
        Image::of(&bytes, BASE, (0, 24))
    }

    #[test]
    fn a_chained_function_is_unwound_through_what_it_is_chained_to() {
        // RBX, 8 bytes, the return address.
        let mut state = State {
            registers: [0; 16],
            stack: vec![7, 0, 0x1234],
        };
        let caller = step(&image(), &mut state, BASE + 0x120, true);
        assert_eq!(caller, Some(0x1234));
        assert_eq!(state.registers[Register::RBX as usize], 7);
        assert_eq!(state.registers[Register::RSP as usize], 24);
    }

    #[test]
    fn a_chained_function_has_the_handler_of_what_it_is_chained_to() {
        let mut state = State {
            registers: [0; 16],
            stack: Vec::new(),
        };
        let image = image();
        let frame = |state: &mut State, rva: usize| {
            frame(&image, state, BASE + rva, false).expect("a frame")
        };
        let handler = frame(&mut state, 0x120).handler.expect("a handler");
        assert_eq!((handler.routine, handler.data), (BASE + 0x90, BASE + 0x6C));
        assert!(handler.on_exception && !handler.on_unwind);
        assert!(
            frame(&mut state, 0x82).handler.is_none(),
            "none applies in a prolog"
        );
        assert!(frame(&mut state, 0x84).handler.is_some());
    }
}
