//! I/O that a filter sends to another volume's stack, or keeps from going past the stack altogether, and what is known by name alone.

use super::objects::{self, Instance};
use crate::abi::base::UnicodeString;
use crate::abi::flt::{CallbackData, RelatedObjects};
use crate::abi::io::{DeviceObject, IRP_MJ_FILE_SYSTEM_CONTROL};
use crate::abi::ob::ObjectAttributes;
use crate::abi::params::Control;
use crate::ntos::irql;
use crate::ntos::memory::{Guest, wide};
use crate::status::NtStatus;
use crate::thread::{APC_LEVEL, DISPATCH_LEVEL, PASSIVE_LEVEL};
use crate::verifier;

/// How many stack locations a packet for an instance's volume has.
fn depth(instance: &Instance) -> i8 {
    let offset = std::mem::offset_of!(DeviceObject, stack_size);
    Guest::at(instance.volume.device_object + offset).read()
}

/// Whether what was made for one volume's stack is long enough for another's.
fn fits(source: &Instance, target: &Instance) -> bool {
    depth(target) <= depth(source)
}

const MANAGE_BYPASS_IO: u32 = 0x0009_0448;
/// `FS_BPIO_INPUT`, and `FS_BPIO_OUTPUT` with its `FS_BPIO_RESULTS`.
const INPUT: u32 = 24;
const OUTPUT: u32 = 352;
/// Where those begin, and how many units their two texts have room for.
const RESULTS: usize = 24;
const NAME_UNITS: usize = 32;
const REASON_UNITS: usize = 128;

/// Writes the results of a request for BypassIO that a filter refuses.
fn veto(data: usize, filter: &str, status: NtStatus, reason: &[u16]) -> NtStatus {
    let block = Guest::<CallbackData>::at(data).iopb().read();
    let control: Control = block.parameters.get();
    if block.major_function != IRP_MJ_FILE_SYSTEM_CONTROL || control.code != MANAGE_BYPASS_IO {
        return NtStatus::INVALID_PARAMETER_1;
    }
    if control.input_length < INPUT {
        return NtStatus::INVALID_BUFFER_SIZE;
    }
    if control.output_length < OUTPUT {
        return NtStatus::BUFFER_TOO_SMALL;
    }
    if status.is_success() {
        return NtStatus::INVALID_PARAMETER_3;
    }
    if reason.is_empty() {
        return NtStatus::INVALID_PARAMETER_4;
    }
    let mut at = control.input + RESULTS;
    Guest::<NtStatus>::at(at).write(status);
    at += 4;
    for (text, room) in [
        (wide(&format!("{filter}.sys")), NAME_UNITS),
        (reason.to_vec(), REASON_UNITS),
    ] {
        let text = &text[..text.len().min(room)];
        Guest::<u16>::at(at).write(u16::try_from(2 * text.len()).unwrap_or(0));
        Guest::<u16>::at(at + 2).write_many(text);
        at += 2 + 2 * room;
    }
    NtStatus::SUCCESS
}

fn refuse(function: &str, why: &str) -> NtStatus {
    verifier::finding("refused", format!("{function}: {why}"));
    NtStatus::NOT_SUPPORTED
}

const NO_PIPES: &str = "no volume here is the named pipe or the mailslot file system's";
const UNDOCUMENTED: &str = "no document says what a zeroing offset is to a filter";

exports! { "fltmgr.sys";
    /// Whether operations may be sent to another instance's volume by changing their target.
    fn FltIsIoRedirectionAllowed(source: usize, target: usize, allowed: Guest<u8>) -> NtStatus {
        const NAME: &str = "FltIsIoRedirectionAllowed";
        irql::at_most(NAME, DISPATCH_LEVEL);
        let [source, target] = [source, target].map(|at| objects::instance(at, NAME));
        allowed.write(u8::from(fits(&source, &target)));
        NtStatus::SUCCESS
    }

    /// The same for one operation, and for all of its volume's.
    fn FltIsIoRedirectionAllowedForOperation(data: usize, target: usize, this: Guest<u8>, all: Guest<u8>) -> NtStatus {
        const NAME: &str = "FltIsIoRedirectionAllowedForOperation";
        irql::at_most(NAME, DISPATCH_LEVEL);
        let source = Guest::<CallbackData>::at(data).iopb().read().target_instance.expose_provenance();
        let [source, target] = [source, target].map(|at| objects::instance(at, NAME));
        let allowed = u8::from(fits(&source, &target));
        this.write(allowed);
        all.write_opt(allowed);
        NtStatus::SUCCESS
    }

    /// Makes the packets of a volume long enough for another's stack: here all are as long.
    fn FltAdjustDeviceStackSizeForIoRedirection(source: usize, target: usize, modified: Guest<u8>) -> NtStatus {
        const NAME: &str = "FltAdjustDeviceStackSizeForIoRedirection";
        irql::at_most(NAME, DISPATCH_LEVEL);
        let [source, target] = [source, target].map(|at| objects::instance(at, NAME));
        modified.write_opt(0);
        if fits(&source, &target) { NtStatus::SUCCESS } else { NtStatus::NOT_SUPPORTED }
    }

    /// Says in a trace that an operation stands for another file's.
    partial "nothing is traced"
    fn FltpTraceRedirectedFileIo(_file: usize, _data: usize) -> NtStatus {
        NtStatus::SUCCESS
    }

    /// Says why a filter does not let a file's I/O go past the stack.
    fn FltVetoBypassIo(data: usize, related: Guest<RelatedObjects>, status: NtStatus, reason: Guest<UnicodeString>) -> NtStatus {
        irql::at_most("FltVetoBypassIo", APC_LEVEL);
        let filter = related.read().filter.expose_provenance();
        let filter = objects::filter(filter, "FltVetoBypassIo");
        veto(data, &filter.service, status, &reason.units())
    }

    /// For whom an operation's I/O is charged: nobody's is.
    partial "NULL always: no I/O is attributed to anybody"
    fn FltGetIoAttributionHandleFromCallbackData(_data: usize) -> usize {
        irql::at_most("FltGetIoAttributionHandleFromCallbackData", DISPATCH_LEVEL);
        0
    }

    /// Makes or opens a named pipe: there is no file system for them.
    refused "STATUS_NOT_SUPPORTED: no volume here is the named pipe file system's"
    fn FltCreateNamedPipeFile(
        filter: usize, _instance: usize, handle: Guest<u64>, file: Guest<usize>, _access: u32, _attributes: Guest<ObjectAttributes>,
        _status: usize, _share: u32, _disposition: u32, _options: u32, _kind: u32, _read: u32, _completion: u32, _most: u32,
        _inbound: u32, _outbound: u32, _timeout: usize, _context: usize,
    ) -> NtStatus {
        irql::at_most("FltCreateNamedPipeFile", PASSIVE_LEVEL);
        let _ = objects::filter(filter, "FltCreateNamedPipeFile");
        handle.write(0);
        file.write_opt(0);
        refuse("FltCreateNamedPipeFile", NO_PIPES)
    }

    /// Makes a mailslot: there is no file system for them.
    refused "STATUS_NOT_SUPPORTED: no volume here is the mailslot file system's"
    fn FltCreateMailslotFile(
        filter: usize, _instance: usize, handle: Guest<u64>, file: Guest<usize>, _access: u32, _attributes: Guest<ObjectAttributes>,
        _status: usize, _options: u32, _quota: u32, _most: u32, _timeout: usize, _context: usize,
    ) -> NtStatus {
        irql::at_most("FltCreateMailslotFile", PASSIVE_LEVEL);
        let _ = objects::filter(filter, "FltCreateMailslotFile");
        handle.write(0);
        file.write_opt(0);
        refuse("FltCreateMailslotFile", NO_PIPES)
    }

    /// From where on a file system is to write zeroes.
    refused "STATUS_NOT_SUPPORTED: no document says what it does for a filter"
    fn FltGetFsZeroingOffset(_data: usize, offset: Guest<u32>) -> NtStatus {
        offset.write(0);
        refuse("FltGetFsZeroingOffset", UNDOCUMENTED)
    }

    /// Sets it.
    refused "STATUS_NOT_SUPPORTED: no document says what it does for a filter"
    fn FltSetFsZeroingOffset(_data: usize, _offset: u32) -> NtStatus {
        refuse("FltSetFsZeroingOffset", UNDOCUMENTED)
    }

    /// Asks for it.
    refused "STATUS_NOT_SUPPORTED: no document says what it does for a filter"
    fn FltSetFsZeroingOffsetRequired(_data: usize) -> NtStatus {
        refuse("FltSetFsZeroingOffsetRequired", UNDOCUMENTED)
    }
}
