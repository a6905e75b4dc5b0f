//! The kernel's own variables that a debugger looks for first: `KDDEBUGGER_DATA64`, the list of modules, the shared page; and
//! the functions by which others read its structures.
//!
//! Only fields that a reader of stacks needs are filled.

use super::bytes::Structure;
use super::images::Image;
use super::layout::{BUILD, OFFSETS, PRCB, eprocess, kthread, prcb, variable};
use super::space::Space;

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

/// `LIST_ENTRY`s linked in a ring.
pub(super) fn ring(space: &mut Space, entries: &[u64]) {
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
