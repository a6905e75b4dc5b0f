//! Which bug check a processor exception ends in.
//!
//! Sources: Microsoft's bug check reference (learn.microsoft.com, "Bug Check Code Reference"), by number:
//!
//! * 0x7F with 8, a double fault: the processor could not push a trap frame for the first one because the stack pointer
//!   was at the guard page.
//! * 0x50: a page fault on a system address that is not there; 0xD1: the same at DISPATCH_LEVEL or above.
//! * 0xBE, 0xFC: a write to read-only memory, an instruction fetch from memory that is not code.
//! * 0x3B / 0x7E: an exception that nobody handled, in a system call / in a system thread. An access violation at a
//!   user address is such an exception: the driver's handlers are asked first ([`seh`]).
//! * 0x1E: an exception that left a callout of `KeExpandKernelStackAndCalloutEx`.
//! * 0xCE: a driver that was unloaded while somebody still had its address.
//! * 0x139: `int 29h`, `__fastfail`, whose code is the first parameter.

use iced_x86::{Formatter as _, IntelFormatter, Mnemonic, OpKind, Register};

use super::emulate::decode;
use super::fault::{Fault, offering};
use super::memory;
use super::page_fault::{self, NO_PAGE_TABLE, WRITE, pool};
use super::pcr::{self, Block};
use super::unhandled;
use crate::bugcheck::{self, code, records};
use crate::seh::{self, Exception};
use crate::stack::Context;
use crate::status::NtStatus;
use crate::{gate, machine, symbols, thread, user};

const DIVIDE_ERROR: u8 = 0;
pub(super) const DEBUG: u8 = 1;
const BREAKPOINT: u8 = 3;
const INVALID_OPCODE: u8 = 6;
const STACK_SEGMENT: u8 = 12;
const GENERAL_PROTECTION: u8 = 13;
pub(super) const PAGE_FAULT: u8 = 14;

/// What the processor pushes for an exception without a change of privilege (SS, RSP, flags, CS, RIP, error code), and
/// the kernel's trap frame above which its handler works.
const TRAP_FRAME: usize = 0x30 + 0x190;

/// Ends the machine for this fault.
pub(super) fn give(fault: &Fault) -> ! {
    if fault.in_host {
        in_host(fault)
    }
    double_fault(fault, pcr::block());
    match fault.trap {
        PAGE_FAULT => page_fault::give(fault),
        DIVIDE_ERROR if overflowed(fault) => {
            plain(fault, NtStatus::INTEGER_OVERFLOW, "the quotient overflowed")
        }
        DIVIDE_ERROR => plain(fault, NtStatus::INTEGER_DIVIDE_BY_ZERO, "divided by zero"),
        DEBUG => plain(
            fault,
            NtStatus::SINGLE_STEP,
            "a debug exception, and no debugger is there",
        ),
        BREAKPOINT => breakpoint(fault),
        INVALID_OPCODE => plain(
            fault,
            NtStatus::ILLEGAL_INSTRUCTION,
            "no instruction of this processor",
        ),
        GENERAL_PROTECTION | STACK_SEGMENT => general_protection(fault),
        other => machine::host_fault(&format!(
            "{}: processor exception {other} is not modelled",
            at(fault)
        )),
    }
}

/// Without a debugger a breakpoint is an exception as others are ("DbgBreakPoint"), and its address that of the `int 3`, which the
/// processor has already left.
fn breakpoint(fault: &Fault) -> ! {
    let mut fault = *fault;
    fault.registers.rip -= 1;
    fault.processor.rip -= 1;
    plain(
        &fault,
        NtStatus::BREAKPOINT,
        "a breakpoint, and no debugger is there",
    )
}

/// Whether a division failed though it was not by zero: the processor tells both alike, Windows does not.
fn overflowed(fault: &Fault) -> bool {
    let Some(instruction) = decode(fault.registers.rip) else {
        return false;
    };
    let general = |register: Register| {
        // Segments begin at 0 in a 64-bit kernel.
        if register.is_segment_register() {
            return Some(0);
        }
        let number = register.full_register() as usize - Register::RAX as usize;
        let value = fault.processor.general.get(number)?;
        let high_byte =
            (Register::AH as usize..=Register::BH as usize).contains(&(register as usize));
        Some(if high_byte { value >> 8 } else { *value })
    };
    let (value, size) = match instruction.op0_kind() {
        OpKind::Register => {
            let register = instruction.op0_register();
            (general(register), register.size())
        }
        OpKind::Memory => {
            let place = instruction.virtual_address(0, 0, |register, _, _| general(register));
            let size = instruction.memory_size().size();
            let mut bytes = [0; 8];
            let read = place
                .and_then(|place| usize::try_from(place).ok())
                .is_some_and(|place| memory::read_checked(place, &mut bytes[..size]));
            (read.then(|| u64::from_le_bytes(bytes)), size)
        }
        _ => return false,
    };
    value.is_some_and(|value| value << (64 - 8 * size) != 0)
}

/// `driver!function+0x12: mov eax,[rcx]`.
pub(super) fn at(fault: &Fault) -> String {
    let place = symbols::describe(fault.registers.rip);
    match decode(fault.registers.rip) {
        Some(instruction) => {
            let mut text = String::new();
            IntelFormatter::new().format(&instruction, &mut text);
            format!("{place}: {text}")
        }
        None => place,
    }
}

/// Whatever happened: without room on its stack for what it pushes, the processor cannot even say so.
fn double_fault(fault: &Fault, block: &Block) {
    let (low, high, rsp) = (block.low.get(), block.high.get(), fault.registers.rsp);
    let text = if (block.guard.get()..low + TRAP_FRAME).contains(&rsp) {
        format!(
            "kernel stack overflow: {} at RSP {rsp:#x}, the segment's limit is {low:#x}: no room for a trap frame",
            at(fault),
        )
    } else if !(low..=high).contains(&rsp) {
        format!(
            "{}: RSP is {rsp:#x}, and the thread's kernel stack {low:#x} to {high:#x}",
            at(fault)
        )
    } else {
        return;
    };
    let parameters = [8, rsp as u64, low as u64, 0];
    bugcheck::end(
        code::UNEXPECTED_KERNEL_MODE_TRAP,
        parameters,
        text,
        Context::Fault(fault.registers),
    )
}

/// Offers an exception to the driver's handlers, and ends the machine if none takes it.
pub(super) fn exception(fault: &Fault, exception: &Exception, what: impl FnOnce() -> String) -> ! {
    offering(|| seh::dispatch(exception, fault.processor, Some(fault.registers)));
    unhandled::fault(fault, exception, format!("{}: {}", at(fault), what()))
}

/// An exception without parameters.
fn plain(fault: &Fault, status: NtStatus, what: &str) -> ! {
    exception(fault, &Exception::new(status), || what.to_owned())
}

/// What a general protection fault becomes: the processor says no address, and Windows puts -1.
fn not_canonical(fault: &Fault, what: &str) -> ! {
    let violation = Exception::access_violation(0, u64::MAX);
    exception(fault, &violation, || what.to_owned())
}

fn general_protection(fault: &Fault) -> ! {
    let context = Context::Fault(fault.registers);
    let Some(instruction) = decode(fault.registers.rip) else {
        not_canonical(fault, "ran memory that cannot be read")
    };
    let vector = (instruction.mnemonic() == Mnemonic::Int).then(|| instruction.immediate8());
    match vector {
        Some(0x29) => {
            let reason = fault.registers.rcx as u64 & 0xFFFF_FFFF;
            // The checks that the loader gives an image lie outside of it: whoever called one is meant.
            let caller = memory::read_word(fault.registers.rsp)
                .filter(|_| machine::module_at(fault.registers.rip).is_none());
            let place = caller.map_or_else(|| at(fault), symbols::describe_call);
            let text = format!("{place}: __fastfail({reason}): {}", code::fast_fail(reason));
            let exception = Exception {
                parameters: [reason, 0],
                count: 1,
                continuable: false,
                ..Exception::new(NtStatus::STACK_BUFFER_OVERRUN)
            };
            let trap = records::keep(records::TrapFrame::new(&fault.processor));
            let record = records::keep(exception.record_at(fault.processor.rip));
            bugcheck::end(
                code::KERNEL_SECURITY_CHECK_FAILURE,
                [reason, trap, record, 0],
                text,
                context,
            )
        }
        Some(0x2C) => plain(fault, NtStatus::ASSERTION_FAILURE, "an assertion failed"),
        _ if instruction.is_privileged() => {
            // A kernel may run it, the bench cannot: say so instead of blaming the driver.
            machine::host_fault(&format!(
                "{}: a privileged instruction that the bench does not model",
                at(fault)
            ))
        }
        _ => not_canonical(
            fault,
            "used an address that is not canonical, or misaligned",
        ),
    }
}

/// The bench's implementation of an import touched memory that is not there: in Windows the real one would have.
fn in_host(fault: &Fault) -> ! {
    let Some(site) = gate::call_site() else {
        machine::host_fault("a fault in the bench's own code")
    };
    if ![PAGE_FAULT, GENERAL_PROTECTION, STACK_SEGMENT].contains(&fault.trap) {
        machine::host_fault(&format!(
            "processor exception {} inside {}",
            fault.trap, site.import
        ));
    }
    if fault.trap != PAGE_FAULT {
        let place = symbols::describe_call(site.return_address);
        let text = format!(
            "{}, called from {place}, was given an address that is not canonical",
            site.import
        );
        let exception = Exception::access_violation(0, u64::MAX);
        unhandled::in_call(&site, &exception, text);
    }
    let address = fault.address as u64;
    let verb = if fault.error & WRITE != 0 {
        "wrote"
    } else {
        "read"
    };
    let text = format!(
        "{}, called from {}, {verb} {address:#x}, which is not there: a bad argument (if all of them are good, this is a \
         defect of the bench)",
        site.import,
        symbols::describe_call(site.return_address),
    );
    let context = Context::Host;
    let rip = site.return_address as u64;
    let place = format!(
        "{}, called from {}",
        site.import,
        symbols::describe_call(site.return_address)
    );
    pool(fault, &place, rip, context);
    let irql = thread::irql();
    if irql >= thread::DISPATCH_LEVEL {
        let operation = u64::from(fault.error & WRITE != 0);
        let parameters = [address, u64::from(irql), operation, rip];
        bugcheck::end(code::IRQL_NOT_LESS_OR_EQUAL, parameters, text, context);
    }
    if user::is_user(fault.address) {
        // In Windows a handler might take it; here the bench's own frames lie between, which cannot be unwound.
        let exception = Exception::access_violation(u64::from(fault.error & WRITE != 0), address);
        unhandled::in_call(&site, &exception, text);
    }
    let operation = if fault.error & WRITE != 0 { 2 } else { 0 };
    bugcheck::end(
        code::PAGE_FAULT_IN_NONPAGED_AREA,
        [address, operation, rip, NO_PAGE_TABLE],
        text,
        context,
    )
}
