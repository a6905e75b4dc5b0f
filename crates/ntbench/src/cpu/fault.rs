//! Processor exceptions: Linux signals turned into what Windows does about them.
//!
//! The handler runs on a stack of its own and decides only whose fault it is. What the bench can emulate is emulated on
//! the spot. Everything else is moved off the signal: the interrupted context is saved and the thread resumes in
//! [`landed`] on the host's stack, where it is safe to allocate, to unwind and to talk.

use std::cell::{Cell, UnsafeCell};
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::memory::{Mapping, PAGE};
use super::page_fault::{FETCH, WRITE};
use super::pcr::{self, Block};
use super::{emulate, guarded, shared_data, verdict};
use crate::ntos::special;
use crate::seh::Processor;
use crate::stack::Context;
use crate::wire::Message;
use crate::{machine, stack, thread, user};

/// The registers of an interrupted driver.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Registers {
    /// RIP.
    pub(crate) rip: usize,
    /// RSP.
    pub(crate) rsp: usize,
    /// RBP.
    pub(crate) rbp: usize,
    /// RCX, which `__fastfail` passes its code in.
    pub(crate) rcx: usize,
    /// RBX, RSI, RDI, R12 to R15: what may be a frame register.
    pub(crate) saved: [usize; 7],
}

/// A processor exception in the machine.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Fault {
    /// Which: 0 divide error, 3 breakpoint, 6 invalid opcode, 13 general protection, 14 page fault, ….
    pub(crate) trap: u8,
    /// The processor's error code.
    pub(crate) error: u64,
    /// The address of a page fault.
    pub(crate) address: usize,
    /// Where.
    pub(crate) registers: Registers,
    /// All registers, for an exception that is continued from.
    pub(crate) processor: Processor,
    /// Whether the bench's own code was running, on the driver's behalf.
    pub(crate) in_host: bool,
}

thread_local! {
    static FAULT: UnsafeCell<Fault> = const { UnsafeCell::new(Fault {
        trap: 0,
        error: 0,
        address: 0,
        registers: Registers { rip: 0, rsp: 0, rbp: 0, rcx: 0, saved: [0; 7] },
        processor: Processor { general: [0; 16], rip: 0, flags: 0, mxcsr: 0, xmm: [0; 16] },
        in_host: false,
    }) };
    static LANDED: Cell<bool> = const { Cell::new(false) };
    /// Of a system thread: where it stands counts while it runs a driver's routine.
    static DRIVERS_ALONE: Cell<bool> = const { Cell::new(false) };
}

const SIGNALS: [libc::c_int; 6] = [
    libc::SIGSEGV,
    libc::SIGBUS,
    libc::SIGILL,
    libc::SIGFPE,
    libc::SIGTRAP,
    libc::SIGABRT,
];
/// Sent by the main loop to a thread that has not come back in time.
pub(crate) const SIGNAL_STUCK: libc::c_int = libc::SIGUSR2;
/// How many threads have said where they are stuck.
pub(crate) static STUCK_TOLD: AtomicUsize = AtomicUsize::new(0);
const HANDLER_STACK: usize = 16 * PAGE;

/// Installs the handlers for the whole process.
pub(crate) fn install() -> io::Result<()> {
    for signal in SIGNALS.into_iter().chain([SIGNAL_STUCK]) {
        // SAFETY: sigaction is plain data; all zeroes is its default.
        let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
        action.sa_sigaction = (handler as *const ()).expose_provenance();
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_NODEFER;
        // SAFETY: the handler has the signature that SA_SIGINFO asks for.
        if unsafe { libc::sigaction(signal, &raw const action, std::ptr::null_mut()) } != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// Gives this host thread a stack for its handlers.
pub(crate) fn install_thread() -> io::Result<()> {
    let mapping = Mapping::read_write(HANDLER_STACK)?;
    let stack = libc::stack_t {
        ss_sp: std::ptr::with_exposed_provenance_mut(mapping.base()),
        ss_flags: 0,
        ss_size: HANDLER_STACK,
    };
    mapping.leak();
    // SAFETY: the mapping lives for ever and is used for nothing else.
    if unsafe { libc::sigaltstack(&raw const stack, std::ptr::null_mut()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

#[allow(clippy::cast_sign_loss, reason = "registers are bit patterns")]
fn register(context: &libc::ucontext_t, index: libc::c_int) -> usize {
    context.uc_mcontext.gregs[index as usize] as usize
}

#[allow(clippy::cast_possible_wrap, reason = "registers are bit patterns")]
fn set_register(context: &mut libc::ucontext_t, index: libc::c_int, value: usize) {
    context.uc_mcontext.gregs[index as usize] = value as i64;
}

fn registers(context: &libc::ucontext_t) -> Registers {
    let saved = [
        libc::REG_RBX,
        libc::REG_RSI,
        libc::REG_RDI,
        libc::REG_R12,
        libc::REG_R13,
        libc::REG_R14,
        libc::REG_R15,
    ];
    Registers {
        rip: register(context, libc::REG_RIP),
        rsp: register(context, libc::REG_RSP),
        rbp: register(context, libc::REG_RBP),
        rcx: register(context, libc::REG_RCX),
        saved: saved.map(|index| register(context, index)),
    }
}

/// In the order of their numbers.
const GENERAL: [libc::c_int; 16] = [
    libc::REG_RAX,
    libc::REG_RCX,
    libc::REG_RDX,
    libc::REG_RBX,
    libc::REG_RSP,
    libc::REG_RBP,
    libc::REG_RSI,
    libc::REG_RDI,
    libc::REG_R8,
    libc::REG_R9,
    libc::REG_R10,
    libc::REG_R11,
    libc::REG_R12,
    libc::REG_R13,
    libc::REG_R14,
    libc::REG_R15,
];

/// Everything that a driver can go on with.
#[allow(
    clippy::cast_possible_truncation,
    reason = "the upper half of RFLAGS is empty"
)]
fn processor(context: &libc::ucontext_t) -> Processor {
    let mut processor = Processor {
        general: GENERAL.map(|index| register(context, index) as u64),
        rip: register(context, libc::REG_RIP) as u64,
        flags: register(context, libc::REG_EFL) as u32,
        ..Processor::default()
    };
    let floating = context.uc_mcontext.fpregs;
    if !floating.is_null() {
        // SAFETY: the kernel saved the floating-point state there, for as long as the handler runs.
        let floating = unsafe { &*floating };
        processor.mxcsr = floating.mxcsr;
        for (to, from) in processor.xmm.iter_mut().zip(&floating._xmm) {
            let word = |index: usize| u128::from(from.element[index]) << (32 * index);
            *to = word(0) | word(1) | word(2) | word(3);
        }
    }
    processor
}

/// EFLAGS: the processor stops after one instruction.
const SINGLE_STEP: usize = 0x100;
/// The same, as the kernel hands the flags over.
pub(super) const EFLAGS_TRAP: libc::greg_t = 0x100;

/// What the bench arranges on the spot: emulated instructions, buffers that count their touches, and its own guarded
/// loops.
fn arranged(signal: libc::c_int, fault: &Fault, context: &mut libc::ucontext_t) -> bool {
    let flags = register(context, libc::REG_EFL);
    if fault.trap == verdict::DEBUG && user::stepped() {
        set_register(context, libc::REG_EFL, flags & !SINGLE_STEP);
        return true;
    }
    if fault.trap == verdict::DEBUG && shared_data::stepped(context) {
        return true;
    }
    if !fault.in_host && (emulate::step(fault, context) || shared_data::load(fault, context)) {
        return true;
    }
    if fault.trap != verdict::PAGE_FAULT {
        return false;
    }
    if !user::is_user(fault.address) {
        return thread::try_current().is_some_and(|thread| thread.irql() < thread::DISPATCH_LEVEL)
            && special::page_in(fault.address);
    }
    if thread::irql() < thread::DISPATCH_LEVEL && user::touched(fault.address) {
        set_register(context, libc::REG_EFL, flags | SINGLE_STEP);
        return true;
    }
    // A bus error is a view's that is longer than its file; nothing of a program's may be run.
    if signal == libc::SIGSEGV
        && fault.error & FETCH == 0
        && user::give_back(fault.address, fault.error & WRITE != 0, fault.in_host)
    {
        return true;
    }
    if let Some(rip) = guarded::recover(fault).filter(|_| fault.in_host) {
        set_register(context, libc::REG_RIP, rip);
        set_register(context, libc::REG_EFL, flags & !SINGLE_STEP);
        return true;
    }
    false
}

/// The signal handler.
///
/// # Safety
/// Called by the kernel alone.
unsafe extern "C" fn handler(
    signal: libc::c_int,
    _info: *mut libc::siginfo_t,
    context: *mut libc::c_void,
) {
    // SAFETY: with SA_SIGINFO the third argument is the interrupted thread's ucontext_t, ours while we run.
    let context = unsafe { &mut *context.cast::<libc::ucontext_t>() };
    let registers = registers(context);
    let Some(block) = pcr::try_block() else {
        host_fault(signal, registers.rip)
    };
    if signal == libc::SIGABRT {
        machine::host_fault(
            "the host's C library gave up, most likely on a heap that the driver had written over",
        );
    }
    let in_driver = block.in_driver.get() != 0;
    #[allow(clippy::cast_possible_truncation, reason = "trap numbers are below 32")]
    let trap = register(context, libc::REG_TRAPNO) as u8;
    let fault = Fault {
        trap,
        error: register(context, libc::REG_ERR) as u64,
        address: register(context, libc::REG_CR2),
        registers,
        processor: processor(context),
        in_host: !in_driver,
    };
    if signal == SIGNAL_STUCK {
        if DRIVERS_ALONE.get() && !in_driver && block.import_sp.get() == 0 {
            STUCK_TOLD.fetch_add(1, Ordering::AcqRel);
            return;
        }
        store(fault);
        land(
            context,
            landing_stack(in_driver, block, &registers),
            stuck as *const (),
        );
        return;
    }
    if arranged(signal, &fault, context) {
        return;
    }
    let in_import = block.import_sp.get() != 0;
    // A fault inside the report of a fault, or in the bench's code when no driver has called it, is the bench's own.
    if LANDED.get() || !(in_driver || in_import) {
        host_fault(signal, registers.rip);
    }
    LANDED.set(true);
    store(fault);
    land(
        context,
        landing_stack(in_driver, block, &registers),
        landed as *const (),
    );
}

/// Where on the host's stack an interrupted thread can go on. In the host's own code the red zone below its stack
/// pointer may be in use.
fn landing_stack(in_driver: bool, block: &Block, registers: &Registers) -> usize {
    if in_driver {
        // What the gate wrote down is the last import, which has returned: the driver itself was running.
        block.import_sp.set(0);
        block.in_driver.set(0);
        block.host_rsp.get()
    } else {
        registers.rsp - 256
    }
}

fn store(fault: Fault) {
    FAULT.with(|slot| {
        // SAFETY: only the handler writes it, on its own thread, and nobody reads it before the handler has returned.
        unsafe { *slot.get() = fault };
    });
}

fn load() -> Fault {
    FAULT.with(|slot| {
        // SAFETY: written by the handler that sent this thread here; it does not run again meanwhile.
        unsafe { *slot.get() }
    })
}

/// All registers of the driver that was interrupted last on this thread.
pub(crate) fn processor_at_fault() -> Processor {
    load().processor
}

/// What the driver that was interrupted last on this thread tried (0 read, 1 write, 8 execute) and where, if that was a
/// page fault.
pub(crate) fn page_fault() -> Option<[u64; 2]> {
    let fault = load();
    let operation = match fault.error {
        error if error & 16 != 0 => 8,
        error => error >> 1 & 1,
    };
    (fault.trap == verdict::PAGE_FAULT).then_some([operation, fault.address as u64])
}

/// Makes the interrupted thread resume in `function` on the host's stack.
fn land(context: &mut libc::ucontext_t, stack: usize, function: *const ()) {
    set_register(context, libc::REG_RSP, (stack & !15) - 8);
    set_register(context, libc::REG_RIP, function.addr());
    // Direction and alignment-check flags as the host's ABI wants them.
    let flags = register(context, libc::REG_EFL);
    set_register(context, libc::REG_EFL, flags & !0x4_0400);
}

extern "C" fn landed() -> ! {
    verdict::give(&load())
}

/// A fault's exception is offered to the driver, whose handlers may fault as well.
pub(super) fn offering<R>(f: impl FnOnce() -> R) -> R {
    LANDED.set(false);
    let result = f();
    LANDED.set(true);
    result
}

/// The current thread says where it is stuck only if it runs a driver's routine.
pub(crate) fn tell_of_drivers_alone() {
    DRIVERS_ALONE.set(true);
}

/// A thread that did not come back in time says where it is, and goes no further.
extern "C" fn stuck() -> ! {
    let fault = load();
    let context = if fault.in_host {
        Context::Host
    } else {
        Context::Fault(fault.registers)
    };
    machine::send(&Message::Stuck(Box::new(stack::listing(
        "the time limit",
        context,
    ))));
    STUCK_TOLD.fetch_add(1, Ordering::AcqRel);
    loop {
        std::thread::park();
    }
}

fn host_fault(signal: libc::c_int, rip: usize) -> ! {
    machine::host_fault(&format!(
        "signal {signal} at {rip:#x} in the bench's own code"
    ))
}
