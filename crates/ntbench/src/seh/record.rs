//! The structures of structured exception handling on x64, as `winnt.h` and `ntddk.h` publish them.

use crate::abi::layout;
use crate::bugcheck::records;
use crate::status::NtStatus;

/// Parameters of an exception record.
pub(crate) const MOST_PARAMETERS: usize = 15;

/// `EXCEPTION_NONCONTINUABLE`
pub(super) const NONCONTINUABLE: u32 = 1;
/// `EXCEPTION_UNWINDING`
pub(super) const UNWINDING: u32 = 2;
/// `EXCEPTION_EXIT_UNWIND`
pub(super) const EXIT_UNWIND: u32 = 4;
/// `EXCEPTION_NESTED_CALL`
pub(super) const NESTED_CALL: u32 = 0x10;
/// `EXCEPTION_COLLIDED_UNWIND`
pub(super) const COLLIDED_UNWIND: u32 = 0x40;
/// `EXCEPTION_TARGET_UNWIND`
pub(super) const TARGET_UNWIND: u32 = 0x20;

/// `EXCEPTION_RECORD`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(crate) struct ExceptionRecord {
    pub(crate) code: u32,
    pub(crate) flags: u32,
    pub(crate) nested: usize,
    pub(crate) address: usize,
    pub(crate) parameter_count: u32,
    pub(crate) parameters: [u64; MOST_PARAMETERS],
}
impl ExceptionRecord {
    /// The exception's code as a status.
    pub(crate) fn status(&self) -> NtStatus {
        NtStatus(self.code.cast_signed())
    }

    /// What is raised in turn where a filter answers `EXCEPTION_CONTINUE_EXECUTION` to this one, which cannot be continued
    /// ("EXCEPTION_RECORD", `EXCEPTION_NONCONTINUABLE`): handlers are asked about that, too.
    pub(super) fn cannot_continue(&self) -> Self {
        Self {
            code: NtStatus::NONCONTINUABLE_EXCEPTION.0.cast_unsigned(),
            flags: NONCONTINUABLE,
            nested: usize::try_from(records::keep(*self)).unwrap_or(0),
            address: self.address,
            parameter_count: 0,
            parameters: [0; MOST_PARAMETERS],
        }
    }
}

layout!(ExceptionRecord, 0x98, nested @ 8, address @ 0x10, parameter_count @ 0x18, parameters @ 0x20);

/// `CONTEXT`: the parts that the bench fills in have names.
#[repr(C, align(16))]
#[derive(Clone, Copy)]
pub(crate) struct Context {
    home: [u64; 6],
    pub(super) context_flags: u32,
    pub(super) mxcsr: u32,
    segments: [u16; 6],
    pub(super) eflags: u32,
    debug: [u64; 6],
    /// RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8 to R15.
    pub(super) general: [u64; 16],
    pub(super) rip: u64,
    legacy: [u64; 20],
    pub(super) xmm: [u128; 16],
    rest: [u64; 70],
}
layout!(Context, 0x4D0, context_flags @ 0x30, mxcsr @ 0x34, eflags @ 0x44, general @ 0x78, rip @ 0xF8, xmm @ 0x1A0);

/// `CONTEXT_AMD64 | CONTEXT_CONTROL | CONTEXT_INTEGER | CONTEXT_FLOATING_POINT`
const CONTEXT_FLAGS: u32 = 0x10_000B;
/// The kernel's code and stack segments.
const SEGMENTS: [u16; 6] = [0x10, 0x2B, 0x2B, 0x53, 0x2B, 0x18];

impl Context {
    /// The context of these registers.
    pub(crate) fn new(registers: &super::resume::Processor) -> Self {
        Self {
            home: [0; 6],
            context_flags: CONTEXT_FLAGS,
            mxcsr: registers.mxcsr,
            segments: SEGMENTS,
            eflags: registers.flags,
            debug: [0; 6],
            general: registers.general,
            rip: registers.rip,
            legacy: [0; 20],
            xmm: registers.xmm,
            rest: [0; 70],
        }
    }

    /// Changes its registers.
    pub(super) fn set(&mut self, registers: &super::resume::Processor) {
        self.mxcsr = registers.mxcsr;
        self.eflags = registers.flags;
        self.general = registers.general;
        self.rip = registers.rip;
        self.xmm = registers.xmm;
    }

    /// Its registers.
    pub(super) fn registers(&self) -> super::resume::Processor {
        super::resume::Processor {
            general: self.general,
            rip: self.rip,
            flags: self.eflags,
            mxcsr: self.mxcsr,
            xmm: self.xmm,
        }
    }
}

/// `EXCEPTION_POINTERS`.
#[repr(C)]
pub(super) struct ExceptionPointers {
    pub(super) record: usize,
    pub(super) context: usize,
}

/// `DISPATCHER_CONTEXT`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(super) struct DispatcherContext {
    pub(super) control_pc: usize,
    pub(super) image_base: usize,
    pub(super) function_entry: usize,
    pub(super) establisher_frame: u64,
    pub(super) target_ip: usize,
    pub(super) context_record: usize,
    pub(super) language_handler: usize,
    pub(super) handler_data: usize,
    pub(super) history_table: usize,
    pub(super) scope_index: u32,
    pub(super) fill: u32,
}
layout!(DispatcherContext, 0x50, target_ip @ 0x20, handler_data @ 0x38, scope_index @ 0x48);
