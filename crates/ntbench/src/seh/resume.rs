//! All of a processor's registers, and how a driver goes on with them.

use std::arch::naked_asm;
use std::mem::offset_of;

use pe_unwind_info::x86_64::{Register, UnwindState, XmmRegister};

use crate::cpu::pcr::{self, offset};

/// The registers of a driver at an instruction.
#[repr(C, align(16))]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Processor {
    /// RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8 to R15: in the order of their numbers.
    pub(crate) general: [u64; 16],
    /// RIP.
    pub(crate) rip: u64,
    /// EFLAGS.
    pub(crate) flags: u32,
    /// MXCSR.
    pub(crate) mxcsr: u32,
    /// XMM0 to XMM15.
    pub(crate) xmm: [u128; 16],
}

impl Processor {
    /// What is known behind a call: where it returns to, RSP and RBP.
    pub(crate) fn at(rip: usize, rsp: usize, rbp: usize) -> Self {
        let mut processor = Self {
            rip: rip as u64,
            ..Self::default()
        };
        processor.general[Register::RSP as usize] = rsp as u64;
        processor.general[Register::RBP as usize] = rbp as u64;
        processor
    }

    /// RSP.
    pub(crate) fn rsp(&self) -> u64 {
        self.general[Register::RSP as usize]
    }
}

impl UnwindState for Processor {
    fn read_register(&mut self, register: Register) -> u64 {
        self.general[register as usize]
    }

    /// A walk that leaves the current stack segment is over: nothing of the driver's called function lies elsewhere.
    fn read_stack(&mut self, address: u64) -> Option<u64> {
        let address = usize::try_from(address).ok()?;
        let block = pcr::block();
        let inside = (block.low.get()..block.high.get().saturating_sub(7)).contains(&address);
        let slot = std::ptr::with_exposed_provenance::<u64>(address);
        // SAFETY: the word lies in the committed part of this thread's own stack segment.
        inside.then(|| unsafe { slot.read_unaligned() })
    }

    fn write_register(&mut self, register: Register, value: u64) {
        self.general[register as usize] = value;
    }

    fn write_xmm_register(&mut self, register: XmmRegister, value: u128) {
        self.xmm[register as usize] = value;
    }
}

const RIP: usize = offset_of!(Processor, rip);
const FLAGS: usize = offset_of!(Processor, flags);
const MXCSR: usize = offset_of!(Processor, mxcsr);
const XMM: usize = offset_of!(Processor, xmm);
const BYTES: usize = size_of::<Processor>();
/// Arithmetic and direction flags: what a driver may set. The rest is the host's.
const DRIVER_FLAGS: u32 = 0xCD5;

/// Goes on in the driver with these registers. The host's stack is given up to where it was when the driver was called.
///
/// # Safety
/// The registers are a driver's on its kernel stack, called from the innermost gate, and nothing between here and that
/// gate on the host's stack is owed a destructor.
pub(super) unsafe fn resume(mut processor: Processor) -> ! {
    // Bit 1 is always set, and bit 9 is the host's interrupt flag.
    processor.flags = processor.flags & DRIVER_FLAGS | 0x202;
    // SAFETY: the caller's promise.
    unsafe { go(&raw const processor) }
}

/// The two words below the new stack pointer are used on the way: Windows guarantees nobody anything there.
#[unsafe(naked)]
unsafe extern "sysv64" fn go(processor: *const Processor) -> ! {
    naked_asm!(
        "movaps xmm0, [rdi + {xmm}]",
        "movaps xmm1, [rdi + {xmm} + 0x10]",
        "movaps xmm2, [rdi + {xmm} + 0x20]",
        "movaps xmm3, [rdi + {xmm} + 0x30]",
        "movaps xmm4, [rdi + {xmm} + 0x40]",
        "movaps xmm5, [rdi + {xmm} + 0x50]",
        "movaps xmm6, [rdi + {xmm} + 0x60]",
        "movaps xmm7, [rdi + {xmm} + 0x70]",
        "movaps xmm8, [rdi + {xmm} + 0x80]",
        "movaps xmm9, [rdi + {xmm} + 0x90]",
        "movaps xmm10, [rdi + {xmm} + 0xA0]",
        "movaps xmm11, [rdi + {xmm} + 0xB0]",
        "movaps xmm12, [rdi + {xmm} + 0xC0]",
        "movaps xmm13, [rdi + {xmm} + 0xD0]",
        "movaps xmm14, [rdi + {xmm} + 0xE0]",
        "movaps xmm15, [rdi + {xmm} + 0xF0]",
        "ldmxcsr [rdi + {mxcsr}]",
        "mov rsp, [rdi + 0x20]",
        "mov qword ptr gs:[{in_driver}], 1",
        "push qword ptr [rdi + {rip}]",
        "mov eax, [rdi + {flags}]",
        "push rax",
        "mov rax, [rdi]",
        "mov rcx, [rdi + 0x08]",
        "mov rdx, [rdi + 0x10]",
        "mov rbx, [rdi + 0x18]",
        "mov rbp, [rdi + 0x28]",
        "mov rsi, [rdi + 0x30]",
        "mov r8, [rdi + 0x40]",
        "mov r9, [rdi + 0x48]",
        "mov r10, [rdi + 0x50]",
        "mov r11, [rdi + 0x58]",
        "mov r12, [rdi + 0x60]",
        "mov r13, [rdi + 0x68]",
        "mov r14, [rdi + 0x70]",
        "mov r15, [rdi + 0x78]",
        "mov rdi, [rdi + 0x38]",
        "popfq",
        "ret",
        xmm = const XMM,
        mxcsr = const MXCSR,
        rip = const RIP,
        flags = const FLAGS,
        in_driver = const offset::IN_DRIVER,
    )
}

/// Where the import gate goes instead of returning when the export has raised an exception: RSP is the driver's, at its
/// return address, and so are the registers that a function preserves.
#[unsafe(naked)]
pub(crate) unsafe extern "win64" fn raised_in_import() {
    naked_asm!(
        "mov rax, rsp",
        "mov rsp, gs:[{host_rsp}]",
        "sub rsp, {bytes}",
        "mov [rsp + 0x18], rbx",
        "lea rcx, [rax + 8]",
        "mov [rsp + 0x20], rcx",
        "mov [rsp + 0x28], rbp",
        "mov [rsp + 0x30], rsi",
        "mov [rsp + 0x38], rdi",
        "mov [rsp + 0x60], r12",
        "mov [rsp + 0x68], r13",
        "mov [rsp + 0x70], r14",
        "mov [rsp + 0x78], r15",
        "mov rcx, [rax]",
        "mov [rsp + {rip}], rcx",
        "pushfq",
        "pop rcx",
        "mov [rsp + {flags}], ecx",
        "stmxcsr [rsp + {mxcsr}]",
        "movaps [rsp + {xmm} + 0x60], xmm6",
        "movaps [rsp + {xmm} + 0x70], xmm7",
        "movaps [rsp + {xmm} + 0x80], xmm8",
        "movaps [rsp + {xmm} + 0x90], xmm9",
        "movaps [rsp + {xmm} + 0xA0], xmm10",
        "movaps [rsp + {xmm} + 0xB0], xmm11",
        "movaps [rsp + {xmm} + 0xC0], xmm12",
        "movaps [rsp + {xmm} + 0xD0], xmm13",
        "movaps [rsp + {xmm} + 0xE0], xmm14",
        "movaps [rsp + {xmm} + 0xF0], xmm15",
        // What a function need not preserve has no value after a call.
        "xor eax, eax",
        "mov [rsp], rax",
        "mov [rsp + 0x08], rax",
        "mov [rsp + 0x10], rax",
        "mov [rsp + 0x40], rax",
        "mov [rsp + 0x48], rax",
        "mov [rsp + 0x50], rax",
        "mov [rsp + 0x58], rax",
        "xorps xmm0, xmm0",
        "movaps [rsp + {xmm}], xmm0",
        "movaps [rsp + {xmm} + 0x10], xmm0",
        "movaps [rsp + {xmm} + 0x20], xmm0",
        "movaps [rsp + {xmm} + 0x30], xmm0",
        "movaps [rsp + {xmm} + 0x40], xmm0",
        "movaps [rsp + {xmm} + 0x50], xmm0",
        "mov rdi, rsp",
        "call {raised}",
        "ud2",
        host_rsp = const offset::HOST_RSP,
        bytes = const BYTES,
        rip = const RIP,
        flags = const FLAGS,
        mxcsr = const MXCSR,
        xmm = const XMM,
        raised = sym super::raised,
    )
}
