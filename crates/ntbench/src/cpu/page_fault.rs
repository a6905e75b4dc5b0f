//! Which bug check a page fault of the driver's code ends in, and which one is an exception.

use super::fault::Fault;
use super::pcr;
use super::verdict::{at, exception};
use crate::bugcheck::{self, code, dump};
use crate::ntos::pool::tag_text;
use crate::ntos::special;
use crate::seh::Exception;
use crate::stack::Context;
use crate::{machine, symbols, thread, user, verifier};

/// Page-fault error code bits.
const PRESENT: u64 = 1;
pub(super) const WRITE: u64 = 2;
pub(super) const FETCH: u64 = 16;

/// Below it lies what Windows gives no process: a null pointer and its fields.
const NULL_REGION: usize = 0x1_0000;
/// Where the host kernel's half begins.
const LINUX: usize = 1 << 47;
/// Of bug check 0x50, the kind of fault: `NONPAGED_BUGCHECK_NOT_PRESENT_PAGE_TABLE`.
pub(super) const NO_PAGE_TABLE: u64 = 2;

/// Ends the machine for this page fault, or offers it to the driver's handlers.
pub(super) fn give(fault: &Fault) -> ! {
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
        let stranger = user::foreign(fault.address);
        if let Some(owner) = stranger {
            let what = format!("{}: {verb} {address:#x}", at(fault));
            foreign(&what, owner, fault.registers.rip + 1);
        }
        let what = || {
            let near = if fault.address < NULL_REGION {
                "a null pointer or next to one"
            } else if stranger.is_some() {
                "a user address of another process"
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
            [address, dump::page_table_entry(address), 0, 0],
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
            [address, dump::page_table_entry(address), 0, 0],
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

/// A user address is used in another process than its own: in Windows it leads to nothing there, or to something else.
pub(super) fn foreign(what: &str, owner: u64, site: usize) {
    verifier::finding_at(
        "user-address-in-wrong-process",
        site,
        format!(
            "{what}, a user address of process {owner:#x}, in a thread that is in process {:#x}; attach to it \
             (KeStackAttachProcess), or lock the buffer while its own thread runs",
            thread::current().context()
        ),
    );
}

/// Ends the machine if the address is one of special pool, or of a pageable section.
pub(super) fn pool(fault: &Fault, place: &str, rip: u64, context: Context) {
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
    // Windows tells who touched it: 0xD1 a driver's code, 0x0A the kernel's own.
    let raised = if fault.in_host {
        code::IRQL_NOT_LESS_OR_EQUAL
    } else {
        code::DRIVER_IRQL_NOT_LESS_OR_EQUAL
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
            raised,
            format!(
                "{place}: {verb} {address:#x} in {}, which is paged pool, at IRQL {irql}",
                described(block)
            ),
        ),
        None if irql >= thread::DISPATCH_LEVEL && special::in_section(fault.address) => (
            raised,
            format!(
                "{place}: touched {}, which is in a pageable section, at IRQL {irql}",
                symbols::describe(fault.address)
            ),
        ),
        _ => return,
    };
    let parameters = if code == raised {
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
