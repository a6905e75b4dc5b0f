//! Bug check codes, their names and what their parameters mean, after Microsoft's bug check reference.

/// `IRQL_NOT_LESS_OR_EQUAL`
pub(crate) const IRQL_NOT_LESS_OR_EQUAL: u32 = 0x0A;
/// `KMODE_EXCEPTION_NOT_HANDLED`
pub(crate) const KMODE_EXCEPTION_NOT_HANDLED: u32 = 0x1E;
/// `SYSTEM_SERVICE_EXCEPTION`
pub(crate) const SYSTEM_SERVICE_EXCEPTION: u32 = 0x3B;
/// `PAGE_FAULT_IN_NONPAGED_AREA`
pub(crate) const PAGE_FAULT_IN_NONPAGED_AREA: u32 = 0x50;
/// `SYSTEM_THREAD_EXCEPTION_NOT_HANDLED`
pub(crate) const SYSTEM_THREAD_EXCEPTION_NOT_HANDLED: u32 = 0x7E;
/// `UNEXPECTED_KERNEL_MODE_TRAP`
pub(crate) const UNEXPECTED_KERNEL_MODE_TRAP: u32 = 0x7F;
/// `ATTEMPTED_WRITE_TO_READONLY_MEMORY`
pub(crate) const ATTEMPTED_WRITE_TO_READONLY_MEMORY: u32 = 0xBE;
/// `IRQL_UNEXPECTED_VALUE`
pub(crate) const IRQL_UNEXPECTED_VALUE: u32 = 0xC8;
/// `DRIVER_UNLOADED_WITHOUT_CANCELLING_PENDING_OPERATIONS`
pub(crate) const DRIVER_UNLOADED_WITHOUT_CANCELLING_PENDING_OPERATIONS: u32 = 0xCE;
/// `DRIVER_IRQL_NOT_LESS_OR_EQUAL`
pub(crate) const DRIVER_IRQL_NOT_LESS_OR_EQUAL: u32 = 0xD1;
/// `DRIVER_PAGE_FAULT_IN_FREED_SPECIAL_POOL`
pub(crate) const DRIVER_PAGE_FAULT_IN_FREED_SPECIAL_POOL: u32 = 0xD5;
/// `DRIVER_PAGE_FAULT_BEYOND_END_OF_ALLOCATION`
pub(crate) const DRIVER_PAGE_FAULT_BEYOND_END_OF_ALLOCATION: u32 = 0xD6;
/// `ATTEMPTED_EXECUTE_OF_NOEXECUTE_MEMORY`
pub(crate) const ATTEMPTED_EXECUTE_OF_NOEXECUTE_MEMORY: u32 = 0xFC;
/// `KERNEL_SECURITY_CHECK_FAILURE`
pub(crate) const KERNEL_SECURITY_CHECK_FAILURE: u32 = 0x139;

type Row = (u32, &'static str, [&'static str; 4]);

const TABLE: &[Row] = &[
    (
        0x01,
        "APC_INDEX_MISMATCH",
        [
            "address of the call",
            "ApcStateIndex, previous",
            "CombinedApcDisable",
            "0: a system call",
        ],
    ),
    (
        0x05,
        "INVALID_PROCESS_ATTACH_ATTEMPT",
        [
            "process to attach to",
            "current process",
            "how deep the thread is attached",
            "1: a DPC is running",
        ],
    ),
    (
        0x06,
        "INVALID_PROCESS_DETACH_ATTEMPT",
        ["see the text", "see the text", "0", "0"],
    ),
    (
        IRQL_NOT_LESS_OR_EQUAL,
        "IRQL_NOT_LESS_OR_EQUAL",
        [
            "address referenced",
            "IRQL",
            "operation: 0 read, 1 write, 8 execute",
            "address of the instruction",
        ],
    ),
    (
        0x18,
        "REFERENCE_BY_POINTER",
        [
            "object type (0: there never was an object)",
            "object",
            "reserved",
            "reserved",
        ],
    ),
    (
        0x19,
        "BAD_POOL_HEADER",
        [
            "what was wrong",
            "pool entry",
            "see the reference",
            "see the reference",
        ],
    ),
    (
        0x1A,
        "MEMORY_MANAGEMENT",
        [
            "0x1234: a pageable section that there is not is locked",
            "address",
            "0",
            "0",
        ],
    ),
    (
        KMODE_EXCEPTION_NOT_HANDLED,
        "KMODE_EXCEPTION_NOT_HANDLED",
        [
            "exception code",
            "address of the instruction",
            "exception parameter 0",
            "exception parameter 1",
        ],
    ),
    (
        SYSTEM_SERVICE_EXCEPTION,
        "SYSTEM_SERVICE_EXCEPTION",
        [
            "exception code",
            "address of the instruction",
            "address of the context record",
            "0",
        ],
    ),
    (
        PAGE_FAULT_IN_NONPAGED_AREA,
        "PAGE_FAULT_IN_NONPAGED_AREA",
        [
            "address referenced",
            "operation: 0 read, 2 write, 0x10 execute",
            "address of the instruction",
            "kind of fault: 2, no page table entry",
        ],
    ),
    (
        SYSTEM_THREAD_EXCEPTION_NOT_HANDLED,
        "SYSTEM_THREAD_EXCEPTION_NOT_HANDLED",
        [
            "exception code",
            "address of the instruction",
            "address of the exception record",
            "address of the context record",
        ],
    ),
    (
        UNEXPECTED_KERNEL_MODE_TRAP,
        "UNEXPECTED_KERNEL_MODE_TRAP",
        [
            "trap number: 8, double fault",
            "stack pointer (undocumented in Windows)",
            "the stack segment's limit (undocumented in Windows)",
            "0",
        ],
    ),
    (
        ATTEMPTED_WRITE_TO_READONLY_MEMORY,
        "ATTEMPTED_WRITE_TO_READONLY_MEMORY",
        [
            "address written",
            "contents of the page table entry",
            "reserved",
            "reserved",
        ],
    ),
    (
        0xC1,
        "SPECIAL_POOL_DETECTED_MEMORY_CORRUPTION",
        [
            "address that is freed",
            "address of the first bits that are wrong",
            "reserved",
            "0x23: bits before the block; 0x24: behind it, on its last page",
        ],
    ),
    (
        0xC2,
        "BAD_POOL_CALLER",
        [
            "kind of violation",
            "0xA: pool address; other kinds: see the reference",
            "0xA: the tag it was allocated with",
            "0xA: the tag it is freed with; other kinds: pool address",
        ],
    ),
    (
        0xC4,
        "DRIVER_VERIFIER_DETECTED_VIOLATION",
        [
            "kind of violation",
            "see the reference",
            "see the reference",
            "see the reference",
        ],
    ),
    (
        0xC5,
        "DRIVER_CORRUPTED_EXPOOL",
        [
            "address referenced",
            "IRQL",
            "operation",
            "address of the instruction",
        ],
    ),
    (
        IRQL_UNEXPECTED_VALUE,
        "IRQL_UNEXPECTED_VALUE",
        [
            "current IRQL << 16 | expected IRQL << 8 | 2: no APC",
            "0",
            "0",
            "0",
        ],
    ),
    (
        DRIVER_UNLOADED_WITHOUT_CANCELLING_PENDING_OPERATIONS,
        "DRIVER_UNLOADED_WITHOUT_CANCELLING_PENDING_OPERATIONS",
        [
            "address referenced",
            "operation: 0 read, 1 write",
            "address of the instruction",
            "0",
        ],
    ),
    (
        0xC7,
        "TIMER_OR_DPC_INVALID",
        [
            "0: a timer, 1: a DPC, where none may be",
            "its address",
            "start of the memory",
            "end of the memory",
        ],
    ),
    (
        DRIVER_PAGE_FAULT_IN_FREED_SPECIAL_POOL,
        "DRIVER_PAGE_FAULT_IN_FREED_SPECIAL_POOL",
        [
            "address referenced",
            "0 read, 1 write",
            "address of the instruction",
            "0",
        ],
    ),
    (
        DRIVER_PAGE_FAULT_BEYOND_END_OF_ALLOCATION,
        "DRIVER_PAGE_FAULT_BEYOND_END_OF_ALLOCATION",
        [
            "address referenced",
            "0 read, 1 write",
            "address of the instruction",
            "0",
        ],
    ),
    (
        0xE3,
        "RESOURCE_NOT_OWNED",
        ["address of the resource", "the thread", "0", "0"],
    ),
    (
        DRIVER_IRQL_NOT_LESS_OR_EQUAL,
        "DRIVER_IRQL_NOT_LESS_OR_EQUAL",
        [
            "address referenced",
            "IRQL",
            "operation: 0 read, 1 write, 8 execute",
            "address of the instruction",
        ],
    ),
    (
        0xE2,
        "MANUALLY_INITIATED_CRASH",
        ["reserved", "reserved", "reserved", "reserved"],
    ),
    (
        0xF5,
        "FLTMGR_FILE_SYSTEM",
        [
            "reason",
            "see the reference",
            "see the reference",
            "see the reference",
        ],
    ),
    (
        0xF7,
        "DRIVER_OVERRAN_STACK_BUFFER",
        [
            "the cookie on the stack",
            "the cookie that was expected",
            "the expected one's complement",
            "0",
        ],
    ),
    (
        ATTEMPTED_EXECUTE_OF_NOEXECUTE_MEMORY,
        "ATTEMPTED_EXECUTE_OF_NOEXECUTE_MEMORY",
        [
            "address run",
            "contents of the page table entry",
            "reserved",
            "reserved",
        ],
    ),
    (
        0x107,
        "KERNEL_EXPAND_STACK_ACTIVE",
        ["thread", "reserved", "reserved", "reserved"],
    ),
    (
        KERNEL_SECURITY_CHECK_FAILURE,
        "KERNEL_SECURITY_CHECK_FAILURE",
        [
            "__fastfail code",
            "address of the trap frame",
            "address of the exception record",
            "reserved",
        ],
    ),
    (0x0C, "MAXIMUM_WAIT_OBJECTS_EXCEEDED", ["0", "0", "0", "0"]),
    (
        0x10,
        "SPIN_LOCK_NOT_OWNED",
        ["address of the lock", "0", "0", "0"],
    ),
    (
        0x12,
        "TRAP_CAUSE_UNKNOWN",
        ["kind of the exception", "see the text", "see the text", "0"],
    ),
    (
        0x35,
        "NO_MORE_IRP_STACK_LOCATIONS",
        ["address of the IRP", "reserved", "reserved", "reserved"],
    ),
    (
        0x44,
        "MULTIPLE_IRP_COMPLETE_REQUESTS",
        ["address of the IRP", "reserved", "reserved", "reserved"],
    ),
    (
        0x48,
        "CANCEL_STATE_IN_COMPLETED_IRP",
        [
            "address of the IRP",
            "address of the cancel routine",
            "reserved",
            "reserved",
        ],
    ),
    (
        0xC9,
        "DRIVER_VERIFIER_IOMANAGER_VIOLATION",
        [
            "1, 2: a wrong IRP is freed; 3: a wrong IRP is sent; 4: a wrong device",
            "address of the IRP or device",
            "0",
            "0",
        ],
    ),
    (
        0x93,
        "INVALID_KERNEL_HANDLE",
        [
            "the handle",
            "0: a protected handle, 1: no open handle",
            "reserved",
            "reserved",
        ],
    ),
    (
        0xB8,
        "ATTEMPTED_SWITCH_FROM_DPC",
        [
            "the thread",
            "new thread (there is none: 0)",
            "the thread's stack pointer",
            "reserved",
        ],
    ),
    (
        0xE4,
        "WORKER_INVALID",
        [
            "what was wrong",
            "address of the work item",
            "start of the pool block",
            "end of the pool block",
        ],
    ),
    (
        0x4000_008A,
        "THREAD_TERMINATE_HELD_MUTEX",
        ["thread", "address of the mutex", "reserved", "reserved"],
    ),
];

/// Every code with its name.
pub(crate) fn all() -> impl Iterator<Item = (u32, &'static str)> {
    TABLE.iter().map(|row| (row.0, row.1))
}

/// A code's name.
pub(crate) fn name(code: u32) -> &'static str {
    TABLE
        .iter()
        .find(|row| row.0 == code)
        .map_or("(a code of the driver's own)", |row| row.1)
}

/// What a code's parameters mean.
pub(crate) fn meaning(code: u32) -> [&'static str; 4] {
    TABLE
        .iter()
        .find(|row| row.0 == code)
        .map_or([""; 4], |row| row.2)
}

/// The address whose page table entry a bug check's parameters tell.
pub(super) fn page(code: u32, parameters: [u64; 4]) -> Option<u64> {
    let told = [
        ATTEMPTED_WRITE_TO_READONLY_MEMORY,
        ATTEMPTED_EXECUTE_OF_NOEXECUTE_MEMORY,
    ];
    told.contains(&code).then_some(parameters[0])
}

/// The `FAST_FAIL_` names of winnt.h that drivers meet.
pub(crate) fn fast_fail(reason: u64) -> &'static str {
    match reason {
        0 => "FAST_FAIL_LEGACY_GS_VIOLATION",
        1 => "FAST_FAIL_VTGUARD_CHECK_FAILURE",
        2 => "FAST_FAIL_STACK_COOKIE_CHECK_FAILURE",
        3 => "FAST_FAIL_CORRUPT_LIST_ENTRY",
        4 => "FAST_FAIL_INCORRECT_STACK",
        5 => "FAST_FAIL_INVALID_ARG",
        6 => "FAST_FAIL_GS_COOKIE_INIT",
        7 => "FAST_FAIL_FATAL_APP_EXIT",
        8 => "FAST_FAIL_RANGE_CHECK_FAILURE",
        10 => "FAST_FAIL_GUARD_ICALL_CHECK_FAILURE",
        14 => "FAST_FAIL_INVALID_REFERENCE_COUNT",
        _ => "a code of the driver's own",
    }
}
