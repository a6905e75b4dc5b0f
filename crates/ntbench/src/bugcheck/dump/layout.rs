//! Where fields stand in the kernel's structures.
//!
//! `KDDEBUGGER_DATA64` is published in the SDK's wdbgexts.h. The others are opaque, and known from the type information in
//! the kernel's public symbols; here they have the layout of build 19041 (Windows 10, version 2004), which is also the build
//! that the dump's header names.

/// What `KSTACK_CONTROL` takes.
pub(super) const STACK_CONTROL: usize = 0x50;
/// How far below its base a thread's first segment has it.
pub(super) const FIRST_CONTROL: u64 = 0x250;

/// The build whose layouts these are.
pub(super) const BUILD: u32 = 19041;

/// Offsets of variables in the kernel's data.
pub(super) mod variable {
    pub(in crate::bugcheck::dump) const DEBUGGER_DATA: usize = 0;
    pub(in crate::bugcheck::dump) const MODULE_LIST: usize = 0x400;
    pub(in crate::bugcheck::dump) const PROCESS_LIST: usize = 0x410;
    pub(in crate::bugcheck::dump) const PROCESSOR_BLOCK: usize = 0x420;
    pub(in crate::bugcheck::dump) const BUG_CHECK_DATA: usize = 0x430;
    pub(in crate::bugcheck::dump) const BUILD_LAB: usize = 0x460;
    pub(in crate::bugcheck::dump) const BUILD_NUMBER: usize = 0x4A0;
    pub(in crate::bugcheck::dump) const MODULES: usize = 0x500;
    /// The names that a debugger knows them by.
    pub(in crate::bugcheck::dump) const NAMES: &[(&str, usize)] = &[
        ("KdDebuggerDataBlock", DEBUGGER_DATA),
        ("KiBugCheckData", BUG_CHECK_DATA),
        ("KiProcessorBlock", PROCESSOR_BLOCK),
        ("NtBuildLab", BUILD_LAB),
        ("NtBuildNumber", BUILD_NUMBER),
        ("PsActiveProcessHead", PROCESS_LIST),
        ("PsLoadedModuleList", MODULE_LIST),
    ];
}

pub(super) mod kthread {
    pub(in crate::bugcheck::dump) const INITIAL_STACK: u64 = 0x28;
    pub(in crate::bugcheck::dump) const STACK_LIMIT: u64 = 0x30;
    pub(in crate::bugcheck::dump) const STACK_BASE: u64 = 0x38;
    pub(in crate::bugcheck::dump) const KERNEL_STACK: u64 = 0x58;
    pub(in crate::bugcheck::dump) const APC_PROCESS: u64 = 0xB8;
    pub(in crate::bugcheck::dump) const TEB: u64 = 0xF0;
    pub(in crate::bugcheck::dump) const STATE: u64 = 0x184;
    pub(in crate::bugcheck::dump) const NEXT_PROCESSOR: u64 = 0x218;
    pub(in crate::bugcheck::dump) const PROCESS: u64 = 0x220;
    pub(in crate::bugcheck::dump) const LIST_ENTRY: u64 = 0x2F8;
    pub(in crate::bugcheck::dump) const CLIENT_ID: u64 = 0x478;
    pub(in crate::bugcheck::dump) const THREAD_LIST_ENTRY: u64 = 0x4E8;
    /// `ETHREAD`.
    pub(in crate::bugcheck::dump) const SIZE: u64 = 0x898;
    pub(in crate::bugcheck::dump) const RUNNING: u8 = 2;
    pub(in crate::bugcheck::dump) const WAITING: u8 = 5;
}

pub(super) mod eprocess {
    pub(in crate::bugcheck::dump) const DIRECTORY_TABLE_BASE: u64 = 0x28;
    pub(in crate::bugcheck::dump) const KTHREADS: u64 = 0x30;
    pub(in crate::bugcheck::dump) const ID: u64 = 0x440;
    pub(in crate::bugcheck::dump) const LINKS: u64 = 0x448;
    pub(in crate::bugcheck::dump) const PARENT: u64 = 0x540;
    pub(in crate::bugcheck::dump) const PEB: u64 = 0x550;
    pub(in crate::bugcheck::dump) const IMAGE_FILE_NAME: u64 = 0x5A8;
    pub(in crate::bugcheck::dump) const THREADS: u64 = 0x5E0;
    pub(in crate::bugcheck::dump) const SIZE: u64 = 0xA40;
}

pub(super) mod prcb {
    pub(in crate::bugcheck::dump) const CURRENT_THREAD: u64 = 8;
    pub(in crate::bugcheck::dump) const NUMBER: u64 = 0x24;
    pub(in crate::bugcheck::dump) const SPECIAL_REGISTERS: u64 = 0x100;
    pub(in crate::bugcheck::dump) const CONTEXT_FRAME: u64 = 0x1F0;
    /// Not where 19041 has it: the debugger data say where it is.
    pub(in crate::bugcheck::dump) const CONTEXT: u64 = 0x700;
    pub(in crate::bugcheck::dump) const SIZE: u64 = 0x8B00;
}

/// The processor's block in its control region.
pub(super) const PRCB: u64 = 0x180;

/// `KDDEBUGGER_DATA64`'s own offsets of the offsets that it tells.
pub(super) const OFFSETS: &[(usize, u64)] = &[
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
