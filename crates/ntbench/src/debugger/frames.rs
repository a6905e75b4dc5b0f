//! How frames are walked: the exception directory's unwind codes, said again as DWARF's call frame information.
//!
//! Windows finds the stack of a caller from where a function's prolog has left it, and DWARF counts from the caller's. The
//! canonical frame address is what RSP was before the call: 8 above the return address.

use gimli::write::{
    Address, CallFrameInstruction as Cfi, CommonInformationEntry, DebugFrame, EndianVec,
    FrameDescriptionEntry, FrameTable,
};
use gimli::{Encoding, Format, LittleEndian, Register as Dwarf, X86_64};
use pe_unwind_info::x86_64::{Register, UnwindInfo, UnwindOperation};

use crate::loader::Image;
use crate::unwind;

/// The registers in the order of Windows's numbers.
const GENERAL: [Dwarf; 16] = [
    X86_64::RAX,
    X86_64::RCX,
    X86_64::RDX,
    X86_64::RBX,
    X86_64::RSP,
    X86_64::RBP,
    X86_64::RSI,
    X86_64::RDI,
    X86_64::R8,
    X86_64::R9,
    X86_64::R10,
    X86_64::R11,
    X86_64::R12,
    X86_64::R13,
    X86_64::R14,
    X86_64::R15,
];

fn dwarf(register: Register) -> Dwarf {
    GENERAL[register as usize]
}

/// `.debug_frame` of an image's functions; `None`: it has no exception directory.
pub(super) fn section(image: &Image) -> Option<(&'static str, Vec<u8>)> {
    let encoding = Encoding {
        format: Format::Dwarf32,
        version: 4,
        address_size: 8,
    };
    let mut table = FrameTable::default();
    let mut common = CommonInformationEntry::new(encoding, 1, -8, X86_64::RA);
    common.add_instruction(Cfi::Cfa(X86_64::RSP, 8));
    common.add_instruction(Cfi::Offset(X86_64::RA, -8));
    let common = table.add_cie(common);
    for function in unwind::functions(image)? {
        let (begin, end) = (function.begin_address.get(), function.end_address.get());
        let start = Address::Constant(image.base as u64 + u64::from(begin));
        let mut entry = FrameDescriptionEntry::new(start, end.checked_sub(begin)?);
        let mut frame = Frame {
            depth: 8,
            register: None,
        };
        let infos = unwind::chain(image, function);
        // What a function is chained to has been done before it begins.
        for (index, info) in infos.iter().enumerate().rev() {
            frame.describe(&mut entry, info, index != 0);
        }
        table.add_fde(common, entry);
    }
    let mut section = DebugFrame::from(EndianVec::new(LittleEndian));
    table.write_debug_frame(&mut section).ok()?;
    Some((".debug_frame", section.slice().to_vec()))
}

/// A frame while a prolog makes it.
struct Frame {
    /// How far RSP is below the canonical frame address.
    depth: i32,
    /// The frame register, and how far it is below that address.
    register: Option<(Dwarf, i32)>,
}

impl Frame {
    fn describe(&mut self, entry: &mut FrameDescriptionEntry, info: &UnwindInfo<'_>, done: bool) {
        let mut operations: Vec<(u8, UnwindOperation)> = info.unwind_operations().collect();
        // As the prolog does them; they are listed the other way round.
        operations.reverse();
        // Registers are saved at places above the fixed allocation, all of which they may be stored before.
        let fixed = self.depth + operations.iter().map(|(_, done)| pushed(done)).sum::<i32>();
        for (offset, operation) in &operations {
            let at = if done { 0 } else { u32::from(*offset) };
            let mut say = |instruction| entry.add_instruction(at, instruction);
            self.depth += pushed(operation);
            match operation {
                UnwindOperation::PopNonVolatile(register) => {
                    if self.register.is_none() {
                        say(Cfi::CfaOffset(self.depth));
                    }
                    say(Cfi::Offset(dwarf(*register), -self.depth));
                }
                UnwindOperation::UnStackAlloc(_) if self.register.is_none() => {
                    say(Cfi::CfaOffset(self.depth));
                }
                UnwindOperation::RestoreSPFromFP => {
                    if let Some(register) = info.frame_register() {
                        let below = self.depth - i32::from(info.frame_register_offset());
                        self.register = Some((dwarf(register), below));
                        say(Cfi::Cfa(dwarf(register), below));
                    }
                }
                UnwindOperation::ReadNonVolatile(register, place) => {
                    // Counted from RSP after the fixed allocation, whatever register that is found by.
                    let found = info.resolve_offset(
                        |asked| {
                            let frame = info
                                .frame_register()
                                .is_some_and(|own| own as usize == asked as usize);
                            if frame {
                                info.frame_register_offset().into()
                            } else {
                                0
                            }
                        },
                        *place,
                    );
                    let above = i32::try_from(found).unwrap_or(0);
                    say(Cfi::Offset(dwarf(*register), above - fixed));
                }
                _ => {}
            }
        }
    }
}

/// By how much an operation of the prolog has lowered RSP.
fn pushed(operation: &UnwindOperation) -> i32 {
    match operation {
        UnwindOperation::PopNonVolatile(_) => 8,
        UnwindOperation::UnStackAlloc(bytes) => i32::try_from(*bytes).unwrap_or(0),
        _ => 0,
    }
}
