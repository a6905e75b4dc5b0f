//! What drivers raise, unwind and look frames up with.

use super::record::{Context, ExceptionRecord, MOST_PARAMETERS};
use super::unwinding::Target;
use super::{Exception, Pending, Processor, after_return, raise};
use crate::ntos::memory::Guest;
use crate::status::NtStatus;
use crate::{machine, stack, unwind, user};

fn address(value: u64) -> usize {
    usize::try_from(value).unwrap_or(usize::MAX)
}

exports! { "ntoskrnl.exe";
    /// Raises an exception that cannot be continued.
    fn ExRaiseStatus(status: NtStatus) {
        raise(Exception { continuable: false, ..Exception::new(status) });
    }

    /// As [`ExRaiseStatus`] with `STATUS_ACCESS_VIOLATION`.
    fn ExRaiseAccessViolation() {
        raise(Exception { continuable: false, ..Exception::new(NtStatus::ACCESS_VIOLATION) });
    }

    /// As [`ExRaiseStatus`] with `STATUS_DATATYPE_MISALIGNMENT`.
    fn ExRaiseDatatypeMisalignment() {
        raise(Exception { continuable: false, ..Exception::new(NtStatus::DATATYPE_MISALIGNMENT) });
    }

    /// Raises the exception that a record describes.
    fn RtlRaiseException(record: Guest<ExceptionRecord>) {
        let mut record = record.read();
        record.parameter_count = record.parameter_count.min(u32::try_from(MOST_PARAMETERS).unwrap_or(0));
        after_return(Pending::Raise(record));
    }

    /// Another name of [`RtlRaiseException`].
    fn ExRaiseException(record: Guest<ExceptionRecord>) {
        RtlRaiseException(record);
    }

    /// Raises an exception where a range does not lie in user space or is misaligned; whether it is there is not looked at.
    fn ProbeForRead(address: usize, length: usize, alignment: u32) {
        if let Err(status) = user::probe_for_read(address, length, alignment as usize) {
            raise(Exception { continuable: false, ..Exception::new(status) });
        }
    }

    /// As [`ProbeForRead`]; each page is tried as well.
    fn ProbeForWrite(address: usize, length: usize, alignment: u32) {
        if let Err(status) = user::probe_for_write(address, length, alignment as usize) {
            raise(Exception { continuable: false, ..Exception::new(status) });
        }
    }

    /// Leaves the frames up to `frame`, whose function goes on at `ip` with `value` in RAX.
    partial "the history table is not used; records of STATUS_UNWIND_CONSOLIDATE are as others"
    fn RtlUnwindEx(frame: u64, ip: usize, record: usize, value: u64, _context: usize, _history: usize) {
        after_return(Pending::Unwind(Target { frame, ip, value }, record));
    }

    /// The same.
    partial "records of STATUS_UNWIND_CONSOLIDATE are as others"
    fn RtlUnwind(frame: u64, ip: usize, record: usize, value: u64) {
        after_return(Pending::Unwind(Target { frame, ip, value }, record));
    }

    /// What a compiler calls for a jump out of a `__try` with a `__finally`.
    fn _local_unwind(frame: u64, ip: usize) {
        after_return(Pending::Unwind(Target { frame, ip, value: 0 }, 0));
    }

    /// The registers of the caller.
    partial "registers that a call need not preserve are 0"
    fn RtlCaptureContext(context: usize) {
        after_return(Pending::Capture(context));
    }

    /// Goes on with these registers.
    partial "records of STATUS_UNWIND_CONSOLIDATE are as none"
    fn RtlRestoreContext(context: Guest<Context>, record: Guest<ExceptionRecord>) {
        let record = record.read_opt().filter(|record| record.status() == NtStatus::LONGJUMP);
        after_return(match record {
            Some(record) => Pending::Jump(record, context.read().registers().general[0]),
            None => Pending::Restore(context.address()),
        });
    }

    /// The entry of a function in its image's table, and the image's base; NULL for a leaf function and for what is no image.
    partial "the history table is not used; the kernel's own functions have no entries"
    fn RtlLookupFunctionEntry(pc: u64, base: Guest<u64>, _history: usize) -> usize {
        let pc = address(pc);
        let Some(module) = machine::module_at(pc) else {
            return 0;
        };
        base.write(module.image.base as u64);
        unwind::entry(&module.image, pc).unwrap_or(0)
    }

    /// One step up: the caller's registers, the frame, and the language handler if there is one of that kind.
    partial "the function is the one at the address, whatever entry is given; places of registers are not told"
    fn RtlVirtualUnwind(
        kind: u32,
        _base: u64,
        pc: u64,
        _function: usize,
        context: Guest<Context>,
        data: Guest<usize>,
        establisher: Guest<u64>,
        _pointers: usize,
    ) -> usize {
        let pc = address(pc);
        let mut whole = context.read();
        let mut processor: Processor = whole.registers();
        let Some(module) = machine::module_at(pc) else {
            return 0;
        };
        let frame = unwind::frame(&module.image, &mut processor, pc, true);
        establisher.write(frame.map_or(processor.rsp(), |frame| frame.establisher));
        let Some(caller) = unwind::step(&module.image, &mut processor, pc, true) else {
            return 0;
        };
        processor.rip = caller;
        whole.set(&processor);
        context.write(whole);
        // UNW_FLAG_EHANDLER is 1, UNW_FLAG_UHANDLER 2.
        let handler = frame.and_then(|frame| frame.handler).filter(|handler| {
            handler.on_exception && kind & 1 != 0 || handler.on_unwind && kind & 2 != 0
        });
        handler.map_or(0, |handler| {
            data.write_opt(handler.data);
            handler.routine
        })
    }

    /// The image that an address lies in; NULL: none.
    partial "the kernel's own image is none"
    fn RtlPcToFileHeader(pc: usize, base: Guest<usize>) -> usize {
        let found = machine::module_at(pc).map_or(0, |module| module.image.base);
        base.write(found);
        found
    }

    /// Return addresses of the calls that led here.
    partial "the driver's own frames, up to where the kernel called it"
    fn RtlCaptureStackBackTrace(skip: u32, count: u32, trace: Guest<usize>, hash: Guest<u32>) -> u16 {
        let callers: Vec<usize> = stack::callers().into_iter().skip(skip as usize).take(count as usize).collect();
        trace.write_many(&callers);
        let sum = callers.iter().fold(0_usize, |sum, address| sum.wrapping_add(*address));
        hash.write_opt(u32::try_from(sum & 0xFFFF_FFFF).unwrap_or(0));
        u16::try_from(callers.len()).unwrap_or(u16::MAX)
    }

    /// The same.
    partial "the driver's own frames, up to where the kernel called it; flags change nothing"
    fn RtlWalkFrameChain(callers: Guest<usize>, count: u32, _flags: u32) -> u32 {
        let found: Vec<usize> = stack::callers().into_iter().take(count as usize).collect();
        callers.write_many(&found);
        u32::try_from(found.len()).unwrap_or(0)
    }
}
