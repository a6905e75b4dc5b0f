//! Instructions that a kernel may run and a process may not.

use iced_x86::{Code, Decoder, DecoderOptions, Instruction, Register};

use super::fault::Fault;
use crate::cpu::memory;
use crate::ntos::irql;
use crate::thread;

const GENERAL_PROTECTION: u8 = 13;
const LONGEST_INSTRUCTION: usize = 15;

/// The instruction at an address, if its bytes can be read.
pub(crate) fn decode(rip: usize) -> Option<Instruction> {
    let mut bytes = [0; LONGEST_INSTRUCTION];
    // The last instruction of a page: fewer bytes are there.
    let readable = (1..=LONGEST_INSTRUCTION)
        .rev()
        .find(|length| memory::read_checked(rip, &mut bytes[..*length]))?;
    let mut decoder = Decoder::with_ip(64, &bytes[..readable], rip as u64, DecoderOptions::NONE);
    let instruction = decoder.decode();
    (!instruction.is_invalid()).then_some(instruction)
}

/// Emulates the instruction that faulted, if it is one that the bench knows: CR8, which holds the IRQL.
pub(super) fn step(fault: &Fault, context: &mut libc::ucontext_t) -> bool {
    if fault.trap != GENERAL_PROTECTION {
        return false;
    }
    let Some(thread) = thread::try_current() else {
        return false;
    };
    let Some(instruction) = decode(fault.registers.rip) else {
        return false;
    };
    match instruction.code() {
        Code::Mov_r64_cr if instruction.op1_register() == Register::CR8 => {
            set(
                context,
                instruction.op0_register(),
                i64::from(thread.irql()),
            );
        }
        Code::Mov_cr_r64 if instruction.op0_register() == Register::CR8 => {
            let Some(value) = get(context, instruction.op1_register()) else {
                return false;
            };
            let Ok(level @ 0..=15) = u8::try_from(value) else {
                return false;
            };
            if level > thread.irql() {
                irql::raised_by_cr8(usize::try_from(instruction.next_ip()).unwrap_or(0));
            }
            thread.set_irql(level);
        }
        _ => return false,
    }
    context.uc_mcontext.gregs[libc::REG_RIP as usize] = instruction.next_ip().cast_signed();
    true
}

fn index(register: Register) -> Option<usize> {
    let index = match register {
        Register::RAX => libc::REG_RAX,
        Register::RBX => libc::REG_RBX,
        Register::RCX => libc::REG_RCX,
        Register::RDX => libc::REG_RDX,
        Register::RSI => libc::REG_RSI,
        Register::RDI => libc::REG_RDI,
        Register::RBP => libc::REG_RBP,
        Register::RSP => libc::REG_RSP,
        Register::R8 => libc::REG_R8,
        Register::R9 => libc::REG_R9,
        Register::R10 => libc::REG_R10,
        Register::R11 => libc::REG_R11,
        Register::R12 => libc::REG_R12,
        Register::R13 => libc::REG_R13,
        Register::R14 => libc::REG_R14,
        Register::R15 => libc::REG_R15,
        _ => return None,
    };
    usize::try_from(index).ok()
}

pub(super) fn get(context: &libc::ucontext_t, register: Register) -> Option<i64> {
    context.uc_mcontext.gregs.get(index(register)?).copied()
}

pub(super) fn set(context: &mut libc::ucontext_t, register: Register, value: i64) {
    if let Some(slot) = index(register).and_then(|index| context.uc_mcontext.gregs.get_mut(index)) {
        *slot = value;
    }
}
