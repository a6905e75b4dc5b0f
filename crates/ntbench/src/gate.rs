//! Where the host and the driver's code call each other, each on a stack of its own.
//!
//! ```text
//!   host stack                         kernel stack
//!   call()                             modelled frames
//!     enter  ── entry(args) ────────►    DriverEntry
//!                                          its callees
//!     import ◄──── stub ────────────────   call [IoGetStackLimits]
//!       the export, maybe call() again …
//! ```
//!
//! Only the driver's own frames, and those charged on purpose, lie on the kernel stack. A nested call saves the outer
//! one's three words (host RSP, kernel SP, import) on the host's stack and puts them back, so depth costs nothing.

use std::arch::naked_asm;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{LazyLock, Mutex, PoisonError};

use crate::cpu::pcr::{self, offset};
use crate::export::{Export, ExportKind};
use crate::{faults, schedule, stack, user};

/// Where the driver called from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CallSite {
    /// The address after the driver's call.
    pub(crate) return_address: usize,
    /// The driver's RSP at that place.
    pub(crate) rsp: usize,
    /// The driver's RBP at that place.
    pub(crate) rbp: usize,
    /// The import it called, as `nt!Name` or `fltmgr!Name`.
    pub(crate) import: &'static str,
}

/// What a stub tells the import gate. The gate knows the first two fields by their offsets.
#[repr(C)]
pub(crate) struct Descriptor {
    function: *const (),
    stack_arguments: u64,
    symbol: &'static str,
    export: &'static Export,
}

/// Whether imports that are bound from now on go by [`before`] and [`after`].
static HOOKED: AtomicBool = AtomicBool::new(false);

/// Has every call out of drivers looked at, before a driver is loaded: for schedules, and for calls that fail where they are made.
pub(crate) fn hook() {
    HOOKED.store(true, Ordering::Release);
}

// SAFETY: the function pointer is an address of code, which nobody writes.
unsafe impl Sync for Descriptor {}

/// Calls code of a driver on the current kernel stack, with the Windows ABI, and gives RAX.
///
/// The newest frame on the kernel stack plays the caller, so its size must leave room for the arguments' home area.
/// Inside an import for which no frame was charged, that import's own frame is charged at its smallest.
///
/// # Safety
/// `entry` is a function of a mapped image that takes these arguments, each one slot.
pub(crate) unsafe fn call(entry: usize, arguments: &[u64]) -> u64 {
    let home: [u64; 4];
    let arguments = if arguments.len() < 4 {
        // One by one: a copy of unknown length is a call of its own.
        home = std::array::from_fn(|at| arguments.get(at).copied().unwrap_or(0));
        &home
    } else {
        arguments
    };
    schedule::point("");
    user::enter_process();
    let entered = |kernel_sp| {
        // SAFETY: `in_call` gives an aligned SP with room above it for the arguments' home area, on a kernel stack that
        // nobody else runs on; the rest is the caller's promise.
        unsafe { enter(entry, arguments.as_ptr(), arguments.len(), kernel_sp) }
    };
    crate::seh::aside(|| stack::in_call(arguments.len(), entered))
}

/// As [`call`], on behalf of the running import, for a routine that may raise an exception for the import's caller: see
/// [`passing`](crate::seh::passing).
///
/// # Safety
/// As for [`call`].
pub(crate) unsafe fn call_within(entry: usize, arguments: &[u64]) -> u64 {
    // SAFETY: the caller's promise.
    crate::seh::passing::through(|| unsafe { call(entry, arguments) })
}

/// The driver's call of the import that is running now on this thread; `None` outside of one.
pub(crate) fn call_site() -> Option<CallSite> {
    let block = pcr::try_block()?;
    site(block.import())
}

/// The import that the host is in: what the import gate wrote down.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Import {
    /// The driver's RSP at entry; 0: none.
    pub(crate) sp: usize,
    /// Its RBP.
    pub(crate) rbp: usize,
    /// The import's [`Descriptor`].
    pub(crate) descriptor: usize,
}

/// The call site that this stands for.
pub(crate) fn site(import: Import) -> Option<CallSite> {
    if import.sp == 0 || import.descriptor == 0 {
        return None;
    }
    let return_address = return_address_at(import.sp)?;
    let descriptor = std::ptr::with_exposed_provenance::<Descriptor>(import.descriptor);
    // SAFETY: only the import gate writes that word, with the address of a descriptor, and descriptors live for ever.
    let symbol = unsafe { (*descriptor).symbol };
    Some(CallSite {
        return_address,
        rsp: import.sp + 8,
        rbp: import.rbp,
        import: symbol,
    })
}

/// The word that the driver's call pushed. On the segment that the thread is on now it is there: the call put it there, and
/// the gate will return by it. Elsewhere it is looked for with care.
#[inline]
fn return_address_at(sp: usize) -> Option<usize> {
    let here = pcr::try_block().is_some_and(|block| {
        sp.is_multiple_of(8) && sp >= block.low.get() && sp < block.high.get()
    });
    if !here {
        return crate::cpu::memory::read_word(sp);
    }
    let word = std::ptr::with_exposed_provenance::<usize>(sp);
    // SAFETY: aligned, and within this thread's own segment, whose pages from the low limit to the high one are readable.
    Some(unsafe { word.read_volatile() })
}

/// The address to which drivers' functions called by [`call`] return: the end of every walk over their frames.
pub(crate) fn return_address() -> usize {
    (return_point as unsafe extern "sysv64" fn() as *const ()).addr()
}

/// The driver's routine that was entered last and is under way, while an import that it has called runs.
pub(crate) fn routine_under_way() -> Option<usize> {
    let saved = pcr::try_block()?.host_rsp.get();
    // Above the eleven words that `enter` saves and takes back.
    (saved != 0)
        .then(|| crate::cpu::memory::read_word(saved + 11 * size_of::<usize>()))
        .flatten()
}

/// Bytes of machine code of one stub.
pub(crate) const STUB_BYTES: usize = 24;

/// The code to which an import of `export` is bound: `mov r11, descriptor; mov rax, gate; jmp rax`. `None` for what is
/// bound directly.
pub(crate) fn stub(export: &'static Export) -> Option<[u8; STUB_BYTES]> {
    let hooked = HOOKED.load(Ordering::Acquire);
    let own_gate = if hooked {
        hooked_gate as *const ()
    } else {
        import_gate as *const ()
    };
    let (function, arguments, gate) = match export.kind {
        ExportKind::Function {
            address, arguments, ..
        } => (address, arguments, own_gate),
        ExportKind::Variadic { address } if hooked => {
            (address, 0, hooked_variadic_gate as *const ())
        }
        ExportKind::Variadic { address } => (address, 0, variadic_gate as *const ()),
        ExportKind::Raw { .. } | ExportKind::Data(_) | ExportKind::Cookie(_) => return None,
    };
    let descriptor = descriptor(export, function, arguments);
    let descriptor = std::ptr::from_ref(descriptor).expose_provenance() as u64;
    let mut code = [0xCC; STUB_BYTES];
    code[..2].copy_from_slice(&[0x49, 0xBB]);
    code[2..10].copy_from_slice(&descriptor.to_le_bytes());
    code[10..12].copy_from_slice(&[0x48, 0xB8]);
    code[12..20].copy_from_slice(&(gate.addr() as u64).to_le_bytes());
    code[20..22].copy_from_slice(&[0xFF, 0xE0]);
    Some(code)
}

/// The export's descriptor, made once: images come and go.
fn descriptor(
    export: &'static Export,
    function: *const (),
    arguments: usize,
) -> &'static Descriptor {
    static MADE: LazyLock<Mutex<HashMap<usize, &'static Descriptor>>> =
        LazyLock::new(Mutex::default);
    let key = std::ptr::from_ref(export).addr();
    MADE.lock()
        .unwrap_or_else(PoisonError::into_inner)
        .entry(key)
        .or_insert_with(|| {
            Box::leak(Box::new(Descriptor {
                function,
                stack_arguments: arguments.saturating_sub(4) as u64,
                symbol: symbol(export),
                export,
            }))
        })
}

/// An export as a debugger names it.
pub(crate) fn symbol(export: &Export) -> &'static str {
    let module = match export.dll {
        "ntoskrnl.exe" => "nt",
        other => other.split('.').next().unwrap_or(other),
    };
    Box::leak(format!("{module}!{}", export.name).into_boxed_str())
}

/// Host to driver: `entry(arguments…)` with RSP = `kernel_sp` at the call.
///
/// # Safety
/// See [`call`]; `count` is at least 4 and `arguments` has that many.
#[unsafe(naked)]
unsafe extern "sysv64" fn enter(
    entry: usize,
    arguments: *const u64,
    count: usize,
    kernel_sp: usize,
) -> u64 {
    naked_asm!(
        // To debuggers, a driver's stack begins here: the caller lies on another one.
        ".cfi_startproc",
        ".cfi_undefined rip",
        "push rdi", // for `routine_under_way`
        "push rdi",
        "push rbp",
        "push rbx",
        "push r12",
        "push r13",
        "push r14",
        "push r15",
        // In this order gdb/ntbench.gdb looks for them.
        "push qword ptr gs:[{host_rsp}]",
        "push qword ptr gs:[{kernel_sp}]",
        "push qword ptr gs:[{import_sp}]",
        "push qword ptr gs:[{import}]",
        "push qword ptr gs:[{import_rbp}]", // and so RSP is aligned for the imports that start from here
        "mov gs:[{host_rsp}], rsp",
        "mov rax, rdi",
        "mov r10, rsi",
        "mov rsp, rcx",
        "mov ecx, 4",
        "2: cmp rcx, rdx",
        "jae 3f",
        "mov r11, [r10 + rcx * 8]",
        "mov [rsp + rcx * 8], r11",
        "inc rcx",
        "jmp 2b",
        "3: mov rcx, [r10]",
        "mov rdx, [r10 + 8]",
        "mov r8, [r10 + 16]",
        "mov r9, [r10 + 24]",
        "cld",
        "mov qword ptr gs:[{in_driver}], 1",
        "call rax", // a real one: processors foresee where its return goes
        ".globl ntbench_return_point",
        "ntbench_return_point:",
        "mov qword ptr gs:[{in_driver}], 0",
        "mov rsp, gs:[{host_rsp}]",
        "pop qword ptr gs:[{import_rbp}]",
        "pop qword ptr gs:[{import}]",
        "pop qword ptr gs:[{import_sp}]",
        "pop qword ptr gs:[{kernel_sp}]",
        "pop qword ptr gs:[{host_rsp}]",
        "pop r15",
        "pop r14",
        "pop r13",
        "pop r12",
        "pop rbx",
        "pop rbp",
        "add rsp, 16",
        "ret",
        ".cfi_endproc",
        host_rsp = const offset::HOST_RSP,
        kernel_sp = const offset::KERNEL_SP,
        import_sp = const offset::IMPORT_SP,
        import = const offset::IMPORT,
        import_rbp = const offset::IMPORT_RBP,
        in_driver = const offset::IN_DRIVER,
    )
}

unsafe extern "sysv64" {
    /// Where the driver's function comes back to, inside [`enter`].
    #[link_name = "ntbench_return_point"]
    fn return_point();
}

/// Leaves the innermost driver routine as if it had returned, with all that it called.
///
/// # Safety
/// A driver's routine is under way on this thread, and no frame of the host's between it and here has anything to drop.
pub(crate) unsafe fn leave() -> ! {
    // SAFETY: `return_point` needs the words that `enter` saved, which are there while a routine is under way; it reloads RSP.
    unsafe { std::arch::asm!("jmp {}", sym return_point, options(noreturn)) }
}

/// Of the gates to the host: notes where the driver is, and takes the host's stack. R10 is left at the driver's arguments.
macro_rules! leave_driver {
    () => {
        concat!(
            "mov qword ptr gs:[{in_driver}], 0\n",
            "mov gs:[{import_sp}], rsp\n",
            "mov gs:[{import}], r11\n",
            "mov gs:[{import_rbp}], rbp\n",
            "lea r10, [rsp + 8]\n",
            "mov gs:[{kernel_sp}], r10\n",
            "cmp rsp, gs:[{own_lowest}]\n",
            "jae 9f\n",
            "mov gs:[{own_lowest}], rsp\n",
            "mov rax, [rsp]\n",
            "mov gs:[{deepest}], rax\n",
            "9:\n",
            "mov rsp, gs:[{host_rsp}]\n",
        )
    };
}

/// Of the gates to the host: copies the stack arguments behind R10 and calls the export of R11.
macro_rules! call_export {
    () => {
        concat!(
            "mov rax, [r11 + 8]\n",
            "test al, 1\n",
            "jz 2f\n",
            "push 0\n", // an odd number of stack arguments would misalign the call
            "2: test rax, rax\n",
            "jz 3f\n",
            "push qword ptr [r10 + rax * 8 + 0x18]\n",
            "dec rax\n",
            "jmp 2b\n",
            "3: sub rsp, 0x20\n",
            "call [r11]\n",
        )
    };
}

/// Of the gates to the host: the driver's stack again, and an exception where the export raised one.
macro_rules! back_to_driver {
    () => {
        concat!(
            "mov rsp, gs:[{import_sp}]\n",
            "cmp qword ptr gs:[{raised}], 0\n",
            "jne {raise}\n",
            "mov qword ptr gs:[{in_driver}], 1\n",
            "ret\n",
        )
    };
}

/// Of the variadic gates: the register arguments in their home slots, and RCX at the row.
macro_rules! spill_arguments {
    () => {
        concat!(
            "mov [rsp + 0x08], rcx\n",
            "mov [rsp + 0x10], rdx\n",
            "mov [rsp + 0x18], r8\n",
            "mov [rsp + 0x20], r9\n",
            "lea rcx, [rsp + 8]\n",
        )
    };
}

/// Driver to host. R11 holds the [`Descriptor`]; RAX and R10 are free by the Windows ABI.
///
/// The export preserves what that ABI says it must, and whatever it called in the driver meanwhile has put the import
/// words back, so the way home is the word at `import_sp`.
#[unsafe(naked)]
unsafe extern "win64" fn import_gate() {
    naked_asm!(
        leave_driver!(),
        call_export!(),
        back_to_driver!(),
        raised = const offset::RAISED,
        raise = sym crate::seh::raised_in_import,
        in_driver = const offset::IN_DRIVER,
        host_rsp = const offset::HOST_RSP,
        kernel_sp = const offset::KERNEL_SP,
        import_sp = const offset::IMPORT_SP,
        import = const offset::IMPORT,
        import_rbp = const offset::IMPORT_RBP,
        own_lowest = const offset::OWN_LOWEST,
        deepest = const offset::DEEPEST,
    )
}

/// As [`import_gate`], with a look at the call before and after it.
#[unsafe(naked)]
unsafe extern "win64" fn hooked_gate() {
    naked_asm!(
        leave_driver!(),
        "push rcx",
        "push rdx",
        "push r8",
        "push r9",
        "push r10",
        "push r11", // and so RSP is aligned
        "sub rsp, 0x20",
        "mov rcx, r11",
        "call {before}",
        "add rsp, 0x20",
        "pop r11",
        "pop r10",
        "pop r9",
        "pop r8",
        "pop rdx",
        "pop rcx",
        "bt rax, 32", // answered: the status is in EAX
        "jc 4f",
        call_export!(),
        "mov rsp, gs:[{host_rsp}]",
        "push rax",
        "sub rsp, 0x28",
        "mov rcx, gs:[{import}]",
        "call {after}",
        "add rsp, 0x28",
        "pop rax",
        back_to_driver!(),
        "4: mov eax, eax",
        "mov rsp, gs:[{import_sp}]",
        "mov qword ptr gs:[{in_driver}], 1",
        "ret",
        before = sym before,
        after = sym after,
        raised = const offset::RAISED,
        raise = sym crate::seh::raised_in_import,
        in_driver = const offset::IN_DRIVER,
        host_rsp = const offset::HOST_RSP,
        kernel_sp = const offset::KERNEL_SP,
        import_sp = const offset::IMPORT_SP,
        import = const offset::IMPORT,
        import_rbp = const offset::IMPORT_RBP,
        own_lowest = const offset::OWN_LOWEST,
        deepest = const offset::DEEPEST,
    )
}

/// Bit 32 of [`before`]'s answer: the call fails here, with the status in the low half.
const ANSWERED: u64 = 1 << 32;

/// A driver calls an import: another thread may run first, and the call may fail.
extern "win64" fn before(descriptor: *const Descriptor) -> u64 {
    // SAFETY: the gate passes what the stub gave it: a descriptor, which lives for ever.
    let descriptor = unsafe { &*descriptor };
    schedule::point(descriptor.symbol);
    if !descriptor.export.returns_status() {
        return 0;
    }
    faults::at_gate(descriptor.export.name)
        .map_or(0, |status| ANSWERED | u64::from(status.0.cast_unsigned()))
}

/// An import is about to return to the driver.
extern "win64" fn after(descriptor: *const Descriptor) {
    // SAFETY: as in `before`; what the import called meanwhile has put the word back.
    let descriptor = unsafe { &*descriptor };
    schedule::point(descriptor.symbol);
}

/// As [`variadic_gate`], to the gate that looks.
#[unsafe(naked)]
unsafe extern "win64" fn hooked_variadic_gate() {
    naked_asm!(
        spill_arguments!(),
        "jmp {gate}",
        gate = sym hooked_gate,
    )
}

/// As [`import_gate`], for variadic functions: spills the register arguments into their home slots, so that all lie in
/// a row, and passes that row.
#[unsafe(naked)]
unsafe extern "win64" fn variadic_gate() {
    naked_asm!(
        spill_arguments!(),
        "jmp {gate}",
        gate = sym import_gate,
    )
}

/// `__chkstk`: touches each page of the RAX bytes below the caller's frame, as code with a large frame asks before it
/// takes it. Preserves all but R10 and R11.
#[unsafe(naked)]
pub(crate) unsafe extern "win64" fn chkstk() {
    naked_asm!(
        "lea r10, [rsp + 8]",
        "xor r11d, r11d",
        "sub r10, rax",
        "cmovb r10, r11", // more than there is address space: page 0 will refuse it
        "and r10, -0x1000",
        "mov r11, rsp",
        "and r11, -0x1000",
        "2: cmp r11, r10",
        "jbe 3f",
        "sub r11, 0x1000",
        "or byte ptr [r11], 0",
        "jmp 2b",
        "3: ret",
    )
}

/// `__security_check_cookie` for the image whose cookie lies there: RCX is to be equal to it, and nothing else is changed.
fn check_cookie(cookie: usize) -> [u8; STUB_BYTES] {
    let mut code = [0xCC; STUB_BYTES];
    // push rax; mov rax, cookie; cmp rcx, [rax]; pop rax; jne 1f; ret; 1: push 2; pop rcx; int 0x29
    code[..3].copy_from_slice(&[0x50, 0x48, 0xB8]);
    code[3..11].copy_from_slice(&(cookie as u64).to_le_bytes());
    code[11..].copy_from_slice(&[
        0x48, 0x3B, 0x08, 0x58, 0x75, 0x01, 0xC3, 0x6A, 0x02, 0x59, 0xCD, 0x29, 0xCC,
    ]);
    code
}

exports! { "ntoskrnl.exe";
    raw fn __chkstk = chkstk;
    partial "on Windows a part of each image, from BufferOverflowFastFailK.lib; here for images that import it"
    cookie fn __security_check_cookie = check_cookie;
}
