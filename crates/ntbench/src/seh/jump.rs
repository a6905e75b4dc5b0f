//! `setjmp` and `longjmp`: a function is returned to a second time, from further down.
//!
//! As setjmp.h and "RtlUnwindEx" publish it: `_setjmpex` notes the registers and the frame of its caller, and `longjmp` unwinds up
//! to that frame for a record of `STATUS_LONGJUMP`, which leads to the registers. `_setjmp` notes no frame: nothing is
//! unwound then.

use std::arch::naked_asm;

use super::record::{ExceptionRecord, MOST_PARAMETERS};
use super::unwinding::Target;
use super::{Pending, Processor, after_return};
use crate::abi::layout;
use crate::ntos::memory::Guest;
use crate::status::NtStatus;

/// `_JUMP_BUFFER` (setjmp.h).
#[repr(C, align(16))]
#[derive(Clone, Copy)]
pub(crate) struct JumpBuffer {
    frame: u64,
    rbx: u64,
    rsp: u64,
    rbp: u64,
    rsi: u64,
    rdi: u64,
    /// R12 to R15.
    high: [u64; 4],
    rip: u64,
    mxcsr: u32,
    fpcsr: u16,
    spare: u16,
    /// XMM6 to XMM15.
    xmm: [u128; 10],
}
layout!(JumpBuffer, 0x100, rsp @ 0x10, high @ 0x30, rip @ 0x50, mxcsr @ 0x58, xmm @ 0x60);

/// Notes the registers behind this call at RCX, with RDX as the frame.
#[unsafe(naked)]
unsafe extern "win64" fn setjmpex() {
    naked_asm!(
        "mov [rcx], rdx",
        "mov [rcx + 0x08], rbx",
        "lea rax, [rsp + 8]",
        "mov [rcx + 0x10], rax",
        "mov [rcx + 0x18], rbp",
        "mov [rcx + 0x20], rsi",
        "mov [rcx + 0x28], rdi",
        "mov [rcx + 0x30], r12",
        "mov [rcx + 0x38], r13",
        "mov [rcx + 0x40], r14",
        "mov [rcx + 0x48], r15",
        "mov rax, [rsp]",
        "mov [rcx + 0x50], rax",
        "stmxcsr [rcx + 0x58]",
        "fnstcw [rcx + 0x5C]",
        "movaps [rcx + 0x60], xmm6",
        "movaps [rcx + 0x70], xmm7",
        "movaps [rcx + 0x80], xmm8",
        "movaps [rcx + 0x90], xmm9",
        "movaps [rcx + 0xA0], xmm10",
        "movaps [rcx + 0xB0], xmm11",
        "movaps [rcx + 0xC0], xmm12",
        "movaps [rcx + 0xD0], xmm13",
        "movaps [rcx + 0xE0], xmm14",
        "movaps [rcx + 0xF0], xmm15",
        "xor eax, eax",
        "ret",
    )
}

/// As [`setjmpex`] without a frame.
#[unsafe(naked)]
unsafe extern "win64" fn setjmp() {
    naked_asm!("xor edx, edx", "jmp {to}", to = sym setjmpex)
}

impl JumpBuffer {
    /// The registers that it holds, with RAX at `value`.
    fn registers(&self, value: u64) -> Processor {
        let [r12, r13, r14, r15] = self.high;
        let mut xmm = [0; 16];
        xmm[6..].copy_from_slice(&self.xmm);
        Processor {
            general: [
                value, 0, 0, self.rbx, self.rsp, self.rbp, self.rsi, self.rdi, 0, 0, 0, 0, r12,
                r13, r14, r15,
            ],
            rip: self.rip,
            flags: 0,
            mxcsr: self.mxcsr,
            xmm,
        }
    }
}

/// The registers to go on with at the end of an unwinding for that record, where it is one of `STATUS_LONGJUMP`.
pub(super) fn landing(record: &ExceptionRecord, value: u64) -> Option<Processor> {
    if record.status() != NtStatus::LONGJUMP || record.parameter_count == 0 {
        return None;
    }
    let buffer = usize::try_from(record.parameters[0]).ok()?;
    Some(Guest::<JumpBuffer>::at(buffer).read().registers(value))
}

exports! { "ntoskrnl.exe";
    raw fn _setjmp = setjmp;
    raw fn _setjmpex = setjmpex;

    /// Returns `value`, or 1 for 0, where the buffer was filled.
    fn longjmp(buffer: Guest<JumpBuffer>, value: i32) {
        let target = buffer.read();
        let mut parameters = [0; MOST_PARAMETERS];
        parameters[0] = buffer.address() as u64;
        let record = ExceptionRecord {
            code: NtStatus::LONGJUMP.0.cast_unsigned(),
            flags: 0,
            nested: 0,
            address: 0,
            parameter_count: 1,
            parameters,
        };
        let value = if value == 0 { 1 } else { u64::from(value.cast_unsigned()) };
        after_return(if target.frame == 0 {
            Pending::Jump(record, value)
        } else {
            let ip = usize::try_from(target.rip).unwrap_or(usize::MAX);
            Pending::Unwinding(Target { frame: target.frame, ip, value }, record)
        });
    }
}
