//! The kernel's own structures that a debugger looks for first: `KDDEBUGGER_DATA64`, the list of modules, the processor,
//! the process and the thread.
//!
//! Their sources: `KDDEBUGGER_DATA64` is published in the SDK's wdbgexts.h. The others are opaque, and known from the type
//! information in the kernel's public symbols; here they have the layout of build 19041 (Windows 10, version 2004), which
//! is also the build that the dump's header names. Only fields that a reader of stacks needs are filled.
//!
//! Segments are chained as those symbols have it: `KTHREAD.InitialStack` leads to a `KSTACK_CONTROL` at the top of the
//! current segment, whose `Previous` says where the thread was before. Where within a segment's top Windows puts it is
//! not documented; here it takes the topmost 0x50 bytes, on the thread's first segment those that `nt!KiSystemServiceCopyEnd`'s
//! caller has below the base in the model (0x250).

use super::bytes::Structure;
use super::images::Image;
use super::space::{ROOT, Space};
use crate::thread::Thread;
use crate::wire::SegmentInfo;

/// What `KSTACK_CONTROL` takes.
pub(super) const STACK_CONTROL: usize = 0x50;
/// How far below its base a thread's first segment has it.
const FIRST_CONTROL: u64 = 0x250;

/// The build whose layouts these are.
pub(super) const BUILD: u32 = 19041;

/// Offsets of variables in the kernel's data.
pub(super) mod variable {
    pub(crate) const DEBUGGER_DATA: usize = 0;
    pub(crate) const MODULE_LIST: usize = 0x400;
    pub(crate) const PROCESS_LIST: usize = 0x410;
    pub(crate) const PROCESSOR_BLOCK: usize = 0x420;
    pub(crate) const BUG_CHECK_DATA: usize = 0x430;
    pub(crate) const BUILD_LAB: usize = 0x460;
    pub(crate) const BUILD_NUMBER: usize = 0x4A0;
    pub(crate) const MODULES: usize = 0x500;
    /// The names that a debugger knows them by.
    pub(crate) const NAMES: &[(&str, usize)] = &[
        ("KdDebuggerDataBlock", DEBUGGER_DATA),
        ("KiBugCheckData", BUG_CHECK_DATA),
        ("KiProcessorBlock", PROCESSOR_BLOCK),
        ("NtBuildLab", BUILD_LAB),
        ("NtBuildNumber", BUILD_NUMBER),
        ("PsActiveProcessHead", PROCESS_LIST),
        ("PsLoadedModuleList", MODULE_LIST),
    ];
}

mod kthread {
    pub(super) const INITIAL_STACK: u64 = 0x28;
    pub(super) const STACK_LIMIT: u64 = 0x30;
    pub(super) const STACK_BASE: u64 = 0x38;
    pub(super) const KERNEL_STACK: u64 = 0x58;
    pub(super) const APC_PROCESS: u64 = 0xB8;
    pub(super) const TEB: u64 = 0xF0;
    pub(super) const STATE: u64 = 0x184;
    pub(super) const NEXT_PROCESSOR: u64 = 0x218;
    pub(super) const PROCESS: u64 = 0x220;
    pub(super) const LIST_ENTRY: u64 = 0x2F8;
    pub(super) const CLIENT_ID: u64 = 0x478;
    pub(super) const THREAD_LIST_ENTRY: u64 = 0x4E8;
    /// `ETHREAD`.
    pub(super) const SIZE: u64 = 0x898;
    pub(super) const RUNNING: u8 = 2;
    pub(super) const WAITING: u8 = 5;
}

mod eprocess {
    pub(super) const DIRECTORY_TABLE_BASE: u64 = 0x28;
    pub(super) const KTHREADS: u64 = 0x30;
    pub(super) const ID: u64 = 0x440;
    pub(super) const LINKS: u64 = 0x448;
    pub(super) const PARENT: u64 = 0x540;
    pub(super) const PEB: u64 = 0x550;
    pub(super) const IMAGE_FILE_NAME: u64 = 0x5A8;
    pub(super) const THREADS: u64 = 0x5E0;
    pub(super) const SIZE: u64 = 0xA40;
}

mod prcb {
    pub(super) const CURRENT_THREAD: u64 = 8;
    pub(super) const NUMBER: u64 = 0x24;
    pub(super) const SPECIAL_REGISTERS: u64 = 0x100;
    pub(super) const CONTEXT_FRAME: u64 = 0x1F0;
    /// Not where 19041 has it: the debugger data say where it is.
    pub(super) const CONTEXT: u64 = 0x700;
    pub(super) const SIZE: u64 = 0x8B00;
}

/// Functions that the kernel exports to read its opaque structures, as code: a load and a return. Readers take the offsets
/// from there where they have no symbols.
pub(super) fn accessors() -> Vec<(&'static str, Vec<u8>)> {
    const RETURN: u8 = 0xC3;
    // mov rax, [rcx + offset]; lea rax, [rcx + offset]
    let with = |opcode: u8, offset: u64| {
        let mut code = vec![0x48, opcode, 0x81];
        code.extend((offset as u32).to_le_bytes());
        code.push(RETURN);
        code
    };
    // mov rax, gs:[188h]; mov rax, [rax + offset]
    let of_current = |offset: u64| {
        let mut code = vec![0x65, 0x48, 0x8B, 0x04, 0x25, 0x88, 0x01, 0, 0];
        code.extend([0x48, 0x8B, 0x40, offset as u8, RETURN]);
        code
    };
    vec![
        ("nt!PsGetThreadId", with(0x8B, kthread::CLIENT_ID + 8)),
        ("nt!PsGetThreadProcess", with(0x8B, kthread::PROCESS)),
        ("nt!PsGetProcessId", with(0x8B, eprocess::ID)),
        (
            "nt!PsGetProcessImageFileName",
            with(0x8D, eprocess::IMAGE_FILE_NAME),
        ),
        (
            "nt!PsGetCurrentThreadStackBase",
            of_current(kthread::STACK_BASE),
        ),
        (
            "nt!PsGetCurrentThreadStackLimit",
            of_current(kthread::STACK_LIMIT),
        ),
    ]
}

/// The processor's block in its control region.
pub(super) const PRCB: u64 = 0x180;

/// `LIST_ENTRY`s linked in a ring.
fn ring(space: &mut Space, entries: &[u64]) {
    for (index, &entry) in entries.iter().enumerate() {
        let next = entries[(index + 1) % entries.len()];
        let previous = entries[(index + entries.len() - 1) % entries.len()];
        space.put_word(entry, next);
        space.put_word(entry + 8, previous);
    }
}

/// A loaded module.
pub(super) struct Module {
    /// Its file's name.
    pub(super) file: String,
    pub(super) base: u64,
    pub(super) size: u64,
    pub(super) entry: u64,
    /// Address and length of the exception directory.
    pub(super) pdata: (u64, u32),
}

/// `PsLoadedModuleList` and its `KLDR_DATA_TABLE_ENTRY`s.
pub(super) fn module_list(space: &mut Space, kernel: &Image, modules: &[Module]) {
    const ENTRY: u64 = 0xA0;
    let data = kernel.base + u64::from(kernel.data.0);
    let mut at = data + variable::MODULES as u64;
    let mut entries = vec![data + variable::MODULE_LIST as u64];
    for module in modules {
        let folder = if module.base == kernel.base {
            ""
        } else {
            "drivers\\"
        };
        let full: Vec<u16> = format!("\\SystemRoot\\system32\\{folder}{}", module.file)
            .encode_utf16()
            .collect();
        let text: Vec<u8> = full.iter().flat_map(|unit| unit.to_le_bytes()).collect();
        let (full_bytes, base_bytes) = (
            text.len() as u16,
            module.file.encode_utf16().count() as u16 * 2,
        );
        let names = at + ENTRY;
        let entry = Structure::new(ENTRY as usize)
            .u64(0x10, module.pdata.0)
            .u32(0x18, module.pdata.1)
            .u64(0x30, module.base)
            .u64(0x38, module.entry)
            .u32(0x40, module.size as u32)
            .u16(0x48, full_bytes)
            .u16(0x4A, full_bytes + 2)
            .u64(0x50, names)
            .u16(0x58, base_bytes)
            .u16(0x5A, base_bytes + 2)
            .u64(0x60, names + u64::from(full_bytes - base_bytes))
            .u32(0x68, 0x0900_4000)
            .u16(0x6C, 1);
        space.put(at, &entry.done());
        space.put(names, &text);
        entries.push(at);
        at = (names + u64::from(full_bytes) + 2).next_multiple_of(0x10);
    }
    ring(space, &entries);
}

/// The kernel's variables.
pub(super) fn variables(
    space: &mut Space,
    kernel: &Image,
    processor: u64,
    code: u32,
    parameters: [u64; 4],
) {
    let data = kernel.base + u64::from(kernel.data.0);
    let at = |variable: usize| data + variable as u64;
    let block = Structure::new(0x380)
        .u64(0x00, at(variable::DEBUGGER_DATA))
        .u64(0x08, at(variable::DEBUGGER_DATA))
        .bytes(0x10, b"KDBG")
        .u32(0x14, 0x380)
        .u64(0x18, kernel.base)
        .u64(0x28, processor + PRCB + prcb::CONTEXT_FRAME)
        .u64(0x48, at(variable::MODULE_LIST))
        .u64(0x50, at(variable::PROCESS_LIST))
        .u64(0x88, at(variable::BUG_CHECK_DATA))
        .u64(0x138, super::space::PAGE)
        .u64(0x208, at(variable::BUILD_LAB))
        .u64(0x218, at(variable::PROCESSOR_BLOCK))
        .done();
    let mut block = block;
    for (offset, value) in OFFSETS {
        block[*offset..offset + 2].copy_from_slice(&(*value as u16).to_le_bytes());
    }
    space.put(at(variable::DEBUGGER_DATA), &block);
    space.put_word(at(variable::PROCESSOR_BLOCK), processor + PRCB);
    for (index, word) in [u64::from(code)].into_iter().chain(parameters).enumerate() {
        space.put_word(at(variable::BUG_CHECK_DATA) + 8 * index as u64, word);
    }
    space.put(
        at(variable::BUILD_LAB),
        b"19041.ntbench (a simulated machine)\0",
    );
    space.put_word(at(variable::BUILD_NUMBER), u64::from(0xF000_0000 | BUILD));
}

/// `KUSER_SHARED_DATA` (ntddk.h), the page that Windows has at a fixed address: which Windows this is.
pub(super) fn shared_data(space: &mut Space) {
    const ADDRESS: u64 = 0xFFFF_F780_0000_0000;
    let root: Vec<u8> = "C:\\Windows"
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .collect();
    let page = Structure::new(0x1000)
        .bytes(0x30, &root)
        .u32(0x260, BUILD)
        .u32(0x264, 1) // a workstation
        .u32(0x26C, 10)
        .u32(0x270, 0);
    space.put(ADDRESS, &page.done());
    space.protect(ADDRESS, ADDRESS + super::space::PAGE, false, false);
}

/// `KDDEBUGGER_DATA64`'s own offsets of the offsets that it tells.
const OFFSETS: &[(usize, u64)] = &[
    (0x298, kthread::NEXT_PROCESSOR),
    (0x29A, kthread::TEB),
    (0x29C, kthread::KERNEL_STACK),
    (0x29E, kthread::INITIAL_STACK),
    (0x2A0, kthread::APC_PROCESS),
    (0x2A2, kthread::STATE),
    (0x2A8, eprocess::SIZE),
    (0x2AA, eprocess::PEB),
    (0x2AC, eprocess::PARENT),
    (0x2AE, eprocess::DIRECTORY_TABLE_BASE),
    (0x2B0, prcb::SIZE),
    (0x2B4, prcb::CURRENT_THREAD),
    (0x2BC, prcb::CONTEXT_FRAME),
    (0x2BE, prcb::NUMBER),
    (0x2C0, kthread::SIZE),
    (0x2E0, 0xC000), // KPCR's size
    (0x2E2, 0x18),   // KPCR.Self
    (0x2E4, 0x20),   // KPCR.CurrentPrcb
    (0x2E6, PRCB),
    (0x2F2, prcb::SPECIAL_REGISTERS),
    (0x2F4, 0x10), // kernel code and data selectors
    (0x2F6, 0x18),
    (0x2FA, 0x33), // user code, data and TEB selectors
    (0x2FC, 0x2B),
    (0x2FE, 0x53),
    (0x302, 0x40), // TSS
    (0x338, prcb::CONTEXT),
];

/// The processor that stopped.
pub(super) fn processor(space: &mut Space, region: u64, thread: u64, context: &[u8]) {
    let block = region + PRCB;
    space.put_word(region + 0x18, region);
    space.put_word(region + 0x20, block);
    space.put_word(block + prcb::CURRENT_THREAD, thread);
    // CR0, CR2, CR3, CR4.
    space.put_word(block + prcb::SPECIAL_REGISTERS, 0x8005_0033);
    space.put_word(block + prcb::SPECIAL_REGISTERS + 0x10, ROOT);
    space.put_word(block + prcb::SPECIAL_REGISTERS + 0x18, 0x6F8);
    space.put(block + prcb::CONTEXT_FRAME, context);
    space.put_word(block + prcb::CONTEXT, block + prcb::CONTEXT_FRAME);
}

/// A thread as the dump has it.
pub(super) struct Stopped {
    /// The thread.
    pub(super) thread: &'static Thread,
    /// Its segments, oldest first, and its stack pointer on each where it left it; on the last, where it is.
    pub(super) segments: Vec<(SegmentInfo, u64)>,
    /// Whether it is the one that stopped the machine.
    pub(super) running: bool,
}

/// Threads and their processes.
pub(super) fn threads(space: &mut Space, kernel: &Image, threads: &[Stopped]) {
    let mut processes: Vec<(u64, Vec<u64>)> = Vec::new();
    for stopped in threads {
        let (object, process) = (
            stopped.thread.object as u64,
            stopped.thread.process.object as u64,
        );
        self::thread(space, stopped);
        match processes.iter_mut().find(|(known, _)| *known == process) {
            Some((_, members)) => members.push(object),
            None => {
                processes.push((process, vec![object]));
                self::process(space, process, stopped.thread);
            }
        }
    }
    for (process, members) in &processes {
        let listed = |head: u64, entry: u64| {
            let mut entries = vec![process + head];
            entries.extend(members.iter().map(|thread| thread + entry));
            entries
        };
        let (kernel_list, executive_list) = (
            listed(eprocess::KTHREADS, kthread::LIST_ENTRY),
            listed(eprocess::THREADS, kthread::THREAD_LIST_ENTRY),
        );
        ring(space, &kernel_list);
        ring(space, &executive_list);
    }
    let mut entries = vec![kernel.base + u64::from(kernel.data.0) + variable::PROCESS_LIST as u64];
    entries.extend(
        processes
            .iter()
            .map(|(process, _)| process + eprocess::LINKS),
    );
    ring(space, &entries);
}

fn process(space: &mut Space, object: u64, member: &Thread) {
    // DISPATCHER_HEADER.Type: a process.
    space.put(object, &[3]);
    space.put_word(object + eprocess::DIRECTORY_TABLE_BASE, ROOT);
    space.put_word(object + eprocess::ID, member.process.pid);
    let name = Structure::new(15).text(0, 15, &member.process.image).done();
    space.put(object + eprocess::IMAGE_FILE_NAME, &name);
}

fn thread(space: &mut Space, stopped: &Stopped) {
    let object = stopped.thread.object as u64;
    let process = stopped.thread.process.object as u64;
    // DISPATCHER_HEADER.Type: a thread.
    space.put(object, &[6]);
    space.put_word(object + kthread::PROCESS, process);
    space.put_word(object + kthread::APC_PROCESS, process);
    let state = if stopped.running {
        kthread::RUNNING
    } else {
        kthread::WAITING
    };
    space.put(object + kthread::STATE, &[state]);
    space.put_word(object + kthread::CLIENT_ID, stopped.thread.pid());
    space.put_word(object + kthread::CLIENT_ID + 8, stopped.thread.tid);
    let mut previous = [0; 4];
    for (index, (segment, sp)) in stopped.segments.iter().enumerate() {
        let below = if index == 0 {
            FIRST_CONTROL
        } else {
            STACK_CONTROL as u64
        };
        let initial = segment.high - below;
        // KSTACK_CONTROL: StackBase, ActualLimit, Previous.
        let control = [segment.high, segment.low];
        for (word, value) in control.into_iter().chain(previous).enumerate() {
            space.put_word(initial + 8 * word as u64, value);
        }
        previous = [segment.high, segment.low, *sp, initial];
    }
    let [base, limit, sp, initial] = previous;
    space.put_word(object + kthread::INITIAL_STACK, initial);
    space.put_word(object + kthread::STACK_LIMIT, limit);
    space.put_word(object + kthread::STACK_BASE, base);
    space.put_word(object + kthread::KERNEL_STACK, sp);
}
