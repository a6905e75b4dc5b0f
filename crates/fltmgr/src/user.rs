//! Memory of another process's: the buffers of a message.
//!
//! Such a buffer is an address in the client's own memory, which another thread of the client can unmap or protect while
//! it is being read. An access to it therefore faults when it likes, and a fault in the kernel that nobody handles stops
//! the machine. Rust has no structured exception handling, so the one instruction that touches such memory stands in a
//! few lines of assembly with a scope table for `__C_specific_handler`: the table is what a C compiler makes of
//! `__try { memcpy } __except (EXCEPTION_EXECUTE_HANDLER)`. A C shim would need a C compiler on every machine that builds,
//! and a crate that brings its own trampolines would put a closure between the table and the one instruction that may
//! fault; what may fault here can be read off the two labels.
//!
//! The bytes are copied once, into memory of the kernel's, and judged only there: a client that changes its buffer
//! meanwhile has sent what was copied. Alignment does not matter to a copy of bytes.

use core::{arch::global_asm, marker::PhantomData};

use crate::NtStatus;

#[cfg(not(target_arch = "x86_64"))]
compile_error!("the guarded copy is written for x86-64");

global_asm!(
    ".globl fltmgr_guarded_copy",
    ".def fltmgr_guarded_copy",
    ".scl 2",
    ".type 32",
    ".endef",
    ".seh_proc fltmgr_guarded_copy",
    "fltmgr_guarded_copy:",
    "push rdi",
    ".seh_pushreg rdi",
    "push rsi",
    ".seh_pushreg rsi",
    "sub rsp, 8",
    ".seh_stackalloc 8",
    ".seh_endprologue",
    "mov rdi, rcx",
    "mov rsi, rdx",
    "mov rcx, r8",
    ".Lfltmgr_copy_begin:",
    "rep movsb",
    ".Lfltmgr_copy_end:",
    "xor eax, eax",
    // Where the unwind lands after a fault, with the exception's code in eax.
    ".Lfltmgr_copy_landing:",
    "add rsp, 8",
    "pop rsi",
    "pop rdi",
    "ret",
    ".seh_handler __C_specific_handler, @except",
    ".seh_handlerdata",
    ".long 1",
    ".long .Lfltmgr_copy_begin@IMGREL",
    ".long .Lfltmgr_copy_end@IMGREL",
    // EXCEPTION_EXECUTE_HANDLER: no filter, every exception is handled.
    ".long 1",
    ".long .Lfltmgr_copy_landing@IMGREL",
    ".text",
    ".seh_endproc",
);

unsafe extern "C" {
    /// Copies bytes; a fault on the way ends it, and its exception code, which is a status, is returned.
    fn fltmgr_guarded_copy(to: *mut u8, from: *const u8, length: usize) -> i32;
}

/// What a client sent.
#[derive(Clone, Copy)]
pub struct UserInput<'a> {
    start: *const u8,
    length: usize,
    call: PhantomData<&'a ()>,
}

/// Where a client wants its answer.
pub struct UserOutput<'a> {
    start: *mut u8,
    length: usize,
    call: PhantomData<&'a mut ()>,
}

impl UserInput<'_> {
    /// # Safety
    ///
    /// The range was probed to be user memory, or is the kernel's own, and the thread is the client's.
    pub(crate) const unsafe fn new(start: *const u8, length: u32) -> Self {
        Self {
            start,
            length: if start.is_null() { 0 } else { length as usize },
            call: PhantomData,
        }
    }

    /// Its length in bytes.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.length
    }

    /// Whether nothing was sent.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Copies all of it to the start of `to`, and returns that part. <= `APC_LEVEL`.
    ///
    /// # Errors
    ///
    /// `STATUS_INVALID_PARAMETER` where it is longer than `to`; else the exception's code, `STATUS_ACCESS_VIOLATION` for
    /// one.
    pub fn copy_to<'b>(&self, to: &'b mut [u8]) -> Result<&'b [u8], NtStatus> {
        let to = to
            .get_mut(..self.length)
            .ok_or(NtStatus::INVALID_PARAMETER)?;
        // SAFETY: `to` is so many bytes of the kernel's; what is read from was probed, and a fault is handled.
        let status = unsafe { fltmgr_guarded_copy(to.as_mut_ptr(), self.start, self.length) };
        NtStatus::check(status)?;
        Ok(to)
    }
}

impl UserOutput<'_> {
    /// # Safety
    ///
    /// As [`UserInput::new`].
    pub(crate) const unsafe fn new(start: *mut u8, length: u32) -> Self {
        Self {
            start,
            length: if start.is_null() { 0 } else { length as usize },
            call: PhantomData,
        }
    }

    /// Its length in bytes.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.length
    }

    /// Whether the client wants no answer.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Copies `from` there; the one chance to do so. Returns its length. <= `APC_LEVEL`.
    ///
    /// # Errors
    ///
    /// `STATUS_BUFFER_TOO_SMALL`; else the exception's code.
    pub fn copy_from(self, from: &[u8]) -> Result<usize, NtStatus> {
        if from.len() > self.length {
            return Err(NtStatus::BUFFER_TOO_SMALL);
        }
        // SAFETY: `from` is so many bytes of the kernel's; what is written to was probed, and a fault is handled.
        let status = unsafe { fltmgr_guarded_copy(self.start, from.as_ptr(), from.len()) };
        NtStatus::check(status)?;
        Ok(from.len())
    }
}
