//! What the kernel says of itself: the header, the debugger's data block, the thread that was running.

use crate::bytes;
use crate::memory::Dump;
use crate::module::Module;
use crate::unwind::Registers;

/// What stopped the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BugCheck {
    /// Its code.
    pub code: u32,
    /// Its parameters.
    pub parameters: [u64; 4],
}

impl BugCheck {
    /// Its name in Microsoft's bug check reference, where it is one that drivers and stacks meet.
    #[must_use]
    pub const fn name(&self) -> Option<&'static str> {
        Some(match self.code {
            0x01 => "APC_INDEX_MISMATCH",
            0x05 => "INVALID_PROCESS_ATTACH_ATTEMPT",
            0x06 => "INVALID_PROCESS_DETACH_ATTEMPT",
            0x0A => "IRQL_NOT_LESS_OR_EQUAL",
            0x0C => "MAXIMUM_WAIT_OBJECTS_EXCEEDED",
            0x10 => "SPIN_LOCK_NOT_OWNED",
            0x12 => "TRAP_CAUSE_UNKNOWN",
            0x18 => "REFERENCE_BY_POINTER",
            0x19 => "BAD_POOL_HEADER",
            0x1A => "MEMORY_MANAGEMENT",
            0x1E => "KMODE_EXCEPTION_NOT_HANDLED",
            0x2B => "PANIC_STACK_SWITCH",
            0x35 => "NO_MORE_IRP_STACK_LOCATIONS",
            0x3B => "SYSTEM_SERVICE_EXCEPTION",
            0x44 => "MULTIPLE_IRP_COMPLETE_REQUESTS",
            0x48 => "CANCEL_STATE_IN_COMPLETED_IRP",
            0x50 => "PAGE_FAULT_IN_NONPAGED_AREA",
            0x77 => "KERNEL_STACK_INPAGE_ERROR",
            0x7E => "SYSTEM_THREAD_EXCEPTION_NOT_HANDLED",
            0x7F => "UNEXPECTED_KERNEL_MODE_TRAP",
            0x93 => "INVALID_KERNEL_HANDLE",
            0xB8 => "ATTEMPTED_SWITCH_FROM_DPC",
            0xBE => "ATTEMPTED_WRITE_TO_READONLY_MEMORY",
            0xC1 => "SPECIAL_POOL_DETECTED_MEMORY_CORRUPTION",
            0xC2 => "BAD_POOL_CALLER",
            0xC4 => "DRIVER_VERIFIER_DETECTED_VIOLATION",
            0xC5 => "DRIVER_CORRUPTED_EXPOOL",
            0xC7 => "TIMER_OR_DPC_INVALID",
            0xC8 => "IRQL_UNEXPECTED_VALUE",
            0xC9 => "DRIVER_VERIFIER_IOMANAGER_VIOLATION",
            0xCE => "DRIVER_UNLOADED_WITHOUT_CANCELLING_PENDING_OPERATIONS",
            0xD1 => "DRIVER_IRQL_NOT_LESS_OR_EQUAL",
            0xD5 => "DRIVER_PAGE_FAULT_IN_FREED_SPECIAL_POOL",
            0xD6 => "DRIVER_PAGE_FAULT_BEYOND_END_OF_ALLOCATION",
            0xE2 => "MANUALLY_INITIATED_CRASH",
            0xE3 => "RESOURCE_NOT_OWNED",
            0xE4 => "WORKER_INVALID",
            0xF5 => "FLTMGR_FILE_SYSTEM",
            0xF7 => "DRIVER_OVERRAN_STACK_BUFFER",
            0xFC => "ATTEMPTED_EXECUTE_OF_NOEXECUTE_MEMORY",
            0x107 => "KERNEL_EXPAND_STACK_ACTIVE",
            0x139 => "KERNEL_SECURITY_CHECK_FAILURE",
            _ => return None,
        })
    }

    /// A double fault: how the processor ends on a kernel stack that is full.
    #[must_use]
    pub const fn is_double_fault(&self) -> bool {
        self.code == 0x7F && self.parameters[0] == 8
    }
}

/// What the header says.
#[derive(Debug)]
pub(crate) struct Header {
    pub(crate) kind: &'static str,
    pub(crate) build: u32,
    pub(crate) directory_table: u64,
    pub(crate) module_list: u64,
    pub(crate) processors: u32,
    pub(crate) bug_check: BugCheck,
    pub(crate) debugger_data: u64,
    pub(crate) context: Registers,
    pub(crate) system_time: u64,
    pub(crate) comment: String,
}

impl Header {
    pub(crate) fn parse(header: &[u8], kind: &'static str) -> Self {
        let word = |at| bytes::u32(header, at).unwrap_or_default();
        let long = |at| bytes::u64(header, at).unwrap_or_default();
        let comment = header.get(0xFB0..0xFB0 + 128).unwrap_or_default();
        let used = comment.iter().take_while(|byte| **byte != 0).count();
        let comment = String::from_utf8_lossy(comment.get(..used).unwrap_or_default()).into_owned();
        Self {
            kind,
            build: word(0x0C),
            directory_table: long(0x10),
            module_list: long(0x20),
            processors: word(0x34),
            bug_check: BugCheck {
                code: word(0x38),
                parameters: [long(0x40), long(0x48), long(0x50), long(0x58)],
            },
            debugger_data: long(0x80),
            context: Registers::of_context(header.get(0x348..).unwrap_or_default()),
            system_time: long(0xFA8),
            // What nobody wrote is filled with the signature.
            comment: if comment.starts_with("PAGEPAGE") {
                String::new()
            } else {
                comment
            },
        }
    }
}

/// What is needed of `KDDEBUGGER_DATA64` (wdbgexts.h).
#[derive(Debug)]
pub(crate) struct DebuggerData {
    processor_block: u64,
    initial_stack: u64,
    current_thread: u64,
    context: u64,
}

impl DebuggerData {
    pub(crate) fn read(dump: &Dump, notes: &mut Vec<String>) -> Option<Self> {
        let at = dump.header().debugger_data;
        let Some(block) = dump.bytes(at, 0x340) else {
            notes.push(format!("the debugger's data block at {at:#x} is not in the dump, so the thread is not known"));
            return None;
        };
        if block.get(0x10..0x14) != Some(b"KDBG") {
            notes.push(
                "the debugger's data block is encoded or damaged, so the thread is not known"
                    .to_owned(),
            );
            return None;
        }
        let long = |at| bytes::u64(&block, at).unwrap_or_default();
        let short = |at| u64::from(bytes::u16(&block, at).unwrap_or_default());
        Some(Self {
            processor_block: long(0x218),
            initial_stack: short(0x29E),
            current_thread: short(0x2B4),
            context: short(0x338),
        })
    }

    /// The thread that was running on the processor whose context the header has.
    fn current_thread(&self, dump: &Dump) -> Option<u64> {
        let processors = dump.header().processors.clamp(1, 256);
        let mut threads = Vec::new();
        for number in 0..u64::from(processors) {
            let block = dump.word(self.processor_block.checked_add(8 * number)?)?;
            let Some(thread) = dump.word(block.wrapping_add(self.current_thread)) else {
                continue;
            };
            let context = dump
                .word(block.wrapping_add(self.context))
                .unwrap_or_default();
            // CONTEXT.Rsp.
            if dump.word(context.wrapping_add(0x98)) == Some(dump.header().context.rsp()) {
                return Some(thread);
            }
            threads.push(thread);
        }
        // With one processor there is no question.
        threads.first().copied().filter(|_| processors == 1)
    }
}

/// Offsets of opaque structures, out of the code of functions that the kernel exports to read them.
///
/// `PsGetThreadId` and its like are a load and a return in every version; the offset in the load is that version's own. So
/// no table of versions is needed, and no symbols.
#[derive(Debug, Default)]
pub(crate) struct Accessors {
    thread_id: Option<u64>,
    thread_process: Option<u64>,
    process_id: Option<u64>,
    image_file_name: Option<u64>,
    stack_base: Option<u64>,
    stack_limit: Option<u64>,
}

impl Accessors {
    pub(crate) fn find(dump: &Dump, modules: &[Module]) -> Self {
        let Some(kernel) = modules.first() else {
            return Self::default();
        };
        let load = |name: &str| {
            let code = dump.bytes(kernel.export(dump, name)?, 16)?;
            displacement(&code)
        };
        Self {
            thread_id: load("PsGetThreadId"),
            thread_process: load("PsGetThreadProcess"),
            process_id: load("PsGetProcessId"),
            image_file_name: load("PsGetProcessImageFileName"),
            stack_base: load("PsGetCurrentThreadStackBase"),
            stack_limit: load("PsGetCurrentThreadStackLimit"),
        }
    }
}

/// The displacement of `mov rax, [rcx + d]` or `lea rax, [rcx + d]`, or of `mov rax, [rax + d]` behind
/// `mov rax, gs:[188h]`, up to a return.
fn displacement(code: &[u8]) -> Option<u64> {
    const CURRENT_THREAD: [u8; 9] = [0x65, 0x48, 0x8B, 0x04, 0x25, 0x88, 0x01, 0, 0];
    let (code, register) = match code.strip_prefix(&CURRENT_THREAD) {
        Some(rest) => (rest, 0),
        None => (code, 1),
    };
    let &[0x48, 0x8B | 0x8D, mode, ref rest @ ..] = code else {
        return None;
    };
    let (displacement, rest) = match mode {
        _ if mode == 0x80 | register => (u64::from(bytes::u32(rest, 0)?), rest.get(4..)?),
        _ if mode == 0x40 | register => (u64::from(*rest.first()?), rest.get(1..)?),
        _ => return None,
    };
    (rest.first() == Some(&0xC3) && displacement < 0x4000).then_some(displacement)
}

/// The thread that stopped the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Thread {
    /// Its `KTHREAD`.
    pub address: u64,
    /// Its id.
    pub id: Option<u64>,
    /// Its process's id.
    pub process_id: Option<u64>,
    /// Its process's image, cut to 14 characters by Windows.
    pub process: Option<String>,
    /// Its current segment: base, limit, and where the chain of older ones begins.
    pub(crate) current: Option<CurrentSegment>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CurrentSegment {
    pub(crate) base: u64,
    pub(crate) limit: u64,
    pub(crate) initial: u64,
}

pub(crate) fn thread(
    dump: &Dump,
    block: Option<&DebuggerData>,
    accessors: &Accessors,
    notes: &mut Vec<String>,
) -> Option<Thread> {
    let block = block?;
    let Some(address) = block.current_thread(dump) else {
        notes
            .push("the thread that was running could not be found among the processors".to_owned());
        return None;
    };
    let field = |offset: Option<u64>| dump.word(address.checked_add(offset?)?);
    let process = field(accessors.thread_process);
    let of_process = |offset: Option<u64>| process?.checked_add(offset?);
    let name = of_process(accessors.image_file_name)
        .and_then(|at| dump.bytes(at, 15))
        .map(|name| {
            name.into_iter()
                .take_while(|byte| *byte != 0)
                .collect::<Vec<u8>>()
        })
        .map(|name| String::from_utf8_lossy(&name).into_owned());
    // Public symbols have StackLimit and StackBase behind InitialStack since Windows 8.
    let (limit, base) = (
        accessors.stack_limit.unwrap_or(block.initial_stack + 8),
        accessors.stack_base.unwrap_or(block.initial_stack + 16),
    );
    let current = (|| {
        let current = CurrentSegment {
            base: field(Some(base))?,
            limit: field(Some(limit))?,
            initial: field(Some(block.initial_stack))?,
        };
        let sound = current.limit < current.base
            && (current.limit..=current.base).contains(&current.initial);
        sound.then_some(current)
    })();
    if current.is_none() {
        notes.push(format!(
            "the stack's bounds in the thread at {address:#x} make no sense"
        ));
    }
    Some(Thread {
        address,
        id: field(accessors.thread_id),
        process_id: of_process(accessors.process_id).and_then(|at| dump.word(at)),
        process: name.filter(|name| !name.is_empty()),
        current,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_are_read_from_accessors_and_from_nothing_else() {
        // PsGetThreadId, PsGetProcessImageFileName and PsGetCurrentThreadStackBase of build 19041.
        let thread_id = [0x48, 0x8B, 0x81, 0x80, 0x04, 0, 0, 0xC3, 0xCC];
        let file_name = [0x48, 0x8D, 0x81, 0xA8, 0x05, 0, 0, 0xC3, 0xCC];
        let stack_base = [
            0x65, 0x48, 0x8B, 0x04, 0x25, 0x88, 0x01, 0, 0, 0x48, 0x8B, 0x40, 0x38, 0xC3,
        ];
        assert_eq!(displacement(&thread_id), Some(0x480));
        assert_eq!(displacement(&file_name), Some(0x5A8));
        assert_eq!(displacement(&stack_base), Some(0x38));
        // No return behind it; another register; a jump; cut short.
        assert_eq!(
            displacement(&[0x48, 0x8B, 0x81, 0x80, 0x04, 0, 0, 0x90]),
            None
        );
        assert_eq!(
            displacement(&[0x48, 0x8B, 0x82, 0x80, 0x04, 0, 0, 0xC3]),
            None
        );
        assert_eq!(displacement(&[0xE9, 0, 0, 0, 0, 0xCC, 0xCC, 0xCC]), None);
        assert_eq!(displacement(&[0x48, 0x8B, 0x81, 0x80]), None);
    }
}
