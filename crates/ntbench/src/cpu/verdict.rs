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
//! * 0x1E: an exception that left a callout of `KeExpandKernelStackAndCalloutEx`; with 0x80000003, a breakpoint without
//!   a debugger.
//! * 0xCE: a driver that was unloaded while somebody still had its address.
//! * 0x139: `int 29h`, `__fastfail`, whose code is the first parameter.

use iced_x86::{Formatter as _, IntelFormatter, Mnemonic};

use super::emulate::decode;
use super::fault::{Fault, offering};
use super::pcr::{self, Block};
use super::unhandled;
use crate::bugcheck::{self, code, records};
use crate::ntos::pool::tag_text;
use crate::ntos::special;
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

/// Page-fault error code bits.
const PRESENT: u64 = 1;
const WRITE: u64 = 2;
const FETCH: u64 = 16;

/// What the processor pushes for an exception without a change of privilege (SS, RSP, flags, CS, RIP, error code), and
/// the kernel's trap frame above which its handler works.
const TRAP_FRAME: usize = 0x30 + 0x190;
/// Below it lies what Windows gives no process: a null pointer and its fields.
const NULL_REGION: usize = 0x1_0000;
/// Of bug check 0x50, the kind of fault: `NONPAGED_BUGCHECK_NOT_PRESENT_PAGE_TABLE`.
const NO_PAGE_TABLE: u64 = 2;
/// Where the host kernel's half begins.
const LINUX: usize = 1 << 47;

/// Ends the machine for this fault.
pub(super) fn give(fault: &Fault) -> ! {
    if fault.in_host {
        in_host(fault)
    }
    double_fault(fault, pcr::block());
    let context = Context::Fault(fault.registers);
    let rip = fault.registers.rip as u64;
    match fault.trap {
        PAGE_FAULT => page_fault(fault),
        DIVIDE_ERROR => plain(
            fault,
            NtStatus::INTEGER_DIVIDE_BY_ZERO,
            "divided by zero, or the quotient overflowed",
        ),
        DEBUG => plain(
            fault,
            NtStatus::SINGLE_STEP,
            "a debug exception, and no debugger is there",
        ),
        BREAKPOINT => {
            let status = u64::from(NtStatus::BREAKPOINT.0.cast_unsigned());
            let text = format!("{}: a breakpoint, and no debugger is there", at(fault));
            bugcheck::end(
                code::KMODE_EXCEPTION_NOT_HANDLED,
                [status, rip, 0, 0],
                text,
                context,
            )
        }
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

/// `driver!function+0x12: mov eax,[rcx]`.
fn at(fault: &Fault) -> String {
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

fn page_fault(fault: &Fault) -> ! {
    let block = pcr::block();
    let context = Context::Fault(fault.registers);
    let (address, rip) = (fault.address as u64, fault.registers.rip as u64);
    let (verb, operation) = match fault.error {
        error if error & FETCH != 0 => ("ran", 8),
        error if error & WRITE != 0 => ("wrote", 1),
        _ => ("read", 0),
    };
    let irql = thread::irql();
    // Linux says of every address in its own half that it is there.
    let present = fault.error & PRESENT != 0 && fault.address < LINUX;
    let no_execute = present && fault.error & FETCH != 0;
    if user::is_user(fault.address) && irql < thread::DISPATCH_LEVEL && !no_execute {
        let what = || {
            let near = if fault.address < NULL_REGION {
                "a null pointer or next to one"
            } else {
                "a user address that is not there or does not allow it"
            };
            format!("{verb} {address:#x}, {near}")
        };
        exception(
            fault,
            &Exception::access_violation(operation, address),
            what,
        );
    }
    if (block.guard.get()..block.low.get()).contains(&fault.address) {
        guard_touched(fault, verb);
    }
    if let Some(driver) = machine::unloaded_at(fault.address) {
        unloaded(fault, &driver.name, verb, context);
    }
    pool(fault, &at(fault), rip, context);
    if no_execute {
        let text = format!(
            "{}: tried to run memory at {address:#x} that is not code",
            at(fault)
        );
        bugcheck::end(
            code::ATTEMPTED_EXECUTE_OF_NOEXECUTE_MEMORY,
            [address, 0, 0, 0],
            text,
            context,
        );
    }
    if present && fault.error & WRITE != 0 && machine::in_image(fault.address) {
        let text = format!(
            "{}: wrote read-only memory at {}",
            at(fault),
            symbols::describe(fault.address)
        );
        bugcheck::end(
            code::ATTEMPTED_WRITE_TO_READONLY_MEMORY,
            [address, 0, 0, 0],
            text,
            context,
        );
    }
    if irql >= thread::DISPATCH_LEVEL {
        let text = format!(
            "{}: {verb} {address:#x}, which is not there, at IRQL {irql}",
            at(fault)
        );
        let parameters = [address, u64::from(irql), operation, rip];
        bugcheck::end(
            code::DRIVER_IRQL_NOT_LESS_OR_EQUAL,
            parameters,
            text,
            context,
        );
    }
    let text = format!("{}: {verb} {address:#x}, which is not mapped", at(fault));
    let operation = match operation {
        1 => 2,
        8 => 0x10,
        other => other,
    };
    bugcheck::end(
        code::PAGE_FAULT_IN_NONPAGED_AREA,
        [address, operation, rip, NO_PAGE_TABLE],
        text,
        context,
    )
}

/// Ends the machine if the address is one of special pool, or of a pageable section.
fn pool(fault: &Fault, place: &str, rip: u64, context: Context) {
    let (address, irql) = (fault.address as u64, thread::irql());
    let write = u64::from(fault.error & WRITE != 0);
    let verb = if write != 0 { "wrote" } else { "read" };
    let found = special::place(fault.address);
    let described = |(start, size, tag): (usize, usize, u32)| {
        format!(
            "a block of {size} bytes at {start:#x}, tag {}",
            tag_text(tag)
        )
    };
    let (code, text) = match found {
        Some(special::Place::Beyond { block }) => (
            code::DRIVER_PAGE_FAULT_BEYOND_END_OF_ALLOCATION,
            format!(
                "{place}: {verb} {address:#x}, beyond the end of {}",
                described(block)
            ),
        ),
        Some(special::Place::Freed { block }) => (
            code::DRIVER_PAGE_FAULT_IN_FREED_SPECIAL_POOL,
            format!(
                "{place}: {verb} {address:#x} in {}, which has been freed",
                described(block)
            ),
        ),
        Some(special::Place::Paged { block }) if irql >= thread::DISPATCH_LEVEL => (
            code::DRIVER_IRQL_NOT_LESS_OR_EQUAL,
            format!(
                "{place}: {verb} {address:#x} in {}, which is paged pool, at IRQL {irql}",
                described(block)
            ),
        ),
        None if irql >= thread::DISPATCH_LEVEL && special::in_section(fault.address) => (
            code::DRIVER_IRQL_NOT_LESS_OR_EQUAL,
            format!(
                "{place}: touched {}, which is in a pageable section, at IRQL {irql}",
                symbols::describe(fault.address)
            ),
        ),
        _ => return,
    };
    let parameters = if code == code::DRIVER_IRQL_NOT_LESS_OR_EQUAL {
        let operation = if fault.error & FETCH != 0 { 8 } else { write };
        [address, u64::from(irql), operation, rip]
    } else {
        [address, write, rip, 0]
    };
    bugcheck::end(code, parameters, text, context)
}

fn unloaded(fault: &Fault, driver: &str, verb: &str, context: Context) -> ! {
    let text = format!(
        "{}: {verb} memory of {driver}, which has been unloaded",
        at(fault)
    );
    let parameters = [
        fault.address as u64,
        u64::from(fault.error & WRITE != 0),
        fault.registers.rip as u64,
        0,
    ];
    bugcheck::end(
        code::DRIVER_UNLOADED_WITHOUT_CANCELLING_PENDING_OPERATIONS,
        parameters,
        text,
        context,
    )
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

/// The guard page was touched with a good stack pointer: a stray pointer, or a stack probe.
fn guard_touched(fault: &Fault, verb: &str) -> ! {
    let (address, rsp) = (fault.address as u64, fault.registers.rsp);
    let text = format!(
        "{}: {verb} the kernel stack's guard page at {address:#x}, RSP {rsp:#x}",
        at(fault)
    );
    let operation = if fault.error & WRITE != 0 { 2 } else { 0 };
    let parameters = [
        address,
        operation,
        fault.registers.rip as u64,
        NO_PAGE_TABLE,
    ];
    bugcheck::end(
        code::PAGE_FAULT_IN_NONPAGED_AREA,
        parameters,
        text,
        Context::Fault(fault.registers),
    )
}

/// Offers an exception to the driver's handlers, and ends the machine if none takes it.
fn exception(fault: &Fault, exception: &Exception, what: impl FnOnce() -> String) -> ! {
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
            let caller = crate::cpu::memory::read_word(fault.registers.rsp)
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
        bugcheck::end(
            code::DRIVER_IRQL_NOT_LESS_OR_EQUAL,
            parameters,
            text,
            context,
        );
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
