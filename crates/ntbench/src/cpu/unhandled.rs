//! How the machine ends when nobody handles an exception, with the records that the bug check's parameters point to.
//!
//! 0x3B in a system call: code, instruction, context record. 0x7E in a system thread: code, instruction, exception record,
//! context record. 0x1E out of a callout of `KeExpandKernelStackAndCalloutEx` and out of a DPC, which have neither a system call
//! nor a system thread around them: code, instruction, and the exception's first two parameters. These two have the code with its
//! sign carried on, as dumps of Windows show it (`ffffffffc0000005`).

use super::fault::Fault;
use crate::bugcheck::{self, code, records};
use crate::gate::CallSite;
use crate::ntos::sync;
use crate::seh::{self, Exception, ExceptionRecord, Processor, passing};
use crate::stack::{self, Context};
use crate::status::NtStatus;
use crate::{gate, symbols, thread};

/// An exception of the driver's own code.
pub(super) fn fault(fault: &Fault, exception: &Exception, text: String) -> ! {
    let record = exception.record_at(fault.processor.rip);
    end(
        &record,
        &fault.processor,
        text,
        Context::Fault(fault.registers),
    )
}

/// An exception raised by an import that no handler took; `processor` as the driver would have gone on.
pub(crate) fn raised(record: &ExceptionRecord, processor: &Processor) -> ! {
    let (import, place) =
        gate::call_site().map_or(("nt", 0), |site| (site.import, site.return_address));
    let [operation, address] = [record.parameters[0], record.parameters[1]];
    let what = if record.status() == NtStatus::ACCESS_VIOLATION && record.parameter_count == 2 {
        let verb = if operation == 0 { "read" } else { "wrote" };
        format!("{verb} {address:#x}, which is not there or does not allow it")
    } else {
        format!("raised {:?}", record.status())
    };
    let text = format!(
        "{import}, called from {}, {what}, and no handler took the exception",
        symbols::describe_call(place),
    );
    end(record, processor, text, Context::Host)
}

/// An access violation in the kernel's own code, on the way of the driver's call of it.
pub(super) fn in_call(site: &CallSite, exception: &Exception, text: String) -> ! {
    let processor = at_call(site);
    let record = exception.record_at(processor.rip);
    end(&record, &processor, text, Context::Host)
}

/// The driver passed `address` for what is none, and the kernel stumbles over it.
pub(crate) fn no_such(address: usize, text: String) -> ! {
    let exception = Exception::access_violation(0, address as u64);
    let processor = gate::call_site().map_or_else(Processor::default, |site| at_call(&site));
    let record = exception.record_at(processor.rip);
    end(&record, &processor, text, Context::Host)
}

/// What is known of the registers behind a driver's call.
fn at_call(site: &CallSite) -> Processor {
    Processor::at(site.return_address, site.rsp, site.rbp)
}

fn end(record: &ExceptionRecord, processor: &Processor, mut text: String, context: Context) -> ! {
    let place = record.address as u64;
    let signed = bugcheck::signed(record.status());
    let left = if stack::in_callout() {
        Some("the callout of KeExpandKernelStackAndCalloutEx")
    } else {
        sync::in_dpc().then_some("a DPC routine")
    };
    if let Some(left) = left {
        let text = format!("{text}; an exception left {left}");
        // Of an access violation: what was tried, and where.
        let parameters = [signed, place, record.parameters[0], record.parameters[1]];
        bugcheck::end(code::KMODE_EXCEPTION_NOT_HANDLED, parameters, text, context);
    }
    if passing::ends_here() {
        text.push_str(
            "; what the driver has further up, beyond the kernel's frames, is not asked: a callback handles its own exceptions",
        );
    }
    let registers = records::keep(seh::Context::new(processor));
    if thread::current().is_system() {
        let parameters = [signed, place, records::keep(*record), registers];
        let code = code::SYSTEM_THREAD_EXCEPTION_NOT_HANDLED;
        bugcheck::end(code, parameters, text, context);
    }
    let parameters = [u64::from(record.code), place, registers, 0];
    bugcheck::end(code::SYSTEM_SERVICE_EXCEPTION, parameters, text, context)
}
