//! The samples: limits from the kernel, the stack pointer from the processor.

use core::arch::asm;

use wdk_sys::{ULONG_PTR, ntddk::IoGetStackLimits};

use crate::Limits;

/// The limits of the segment that the caller runs on.
///
/// Any IRQL. The low end of a segment need not be backed by memory yet: the limits are for arithmetic, never scan or
/// paint what lies between them.
#[must_use]
#[inline]
pub fn limits() -> Limits {
    let (mut low, mut high): (ULONG_PTR, ULONG_PTR) = (0, 0);
    // SAFETY: both arguments point to writable, aligned locals of the right type. The function may be called at any
    // IRQL and has no further requirement.
    unsafe { IoGetStackLimits(&raw mut low, &raw mut high) };
    Limits {
        low: address(low),
        high: address(high),
    }
}

/// The stack pointer of the function this is inlined into.
#[must_use]
#[inline(always)]
#[expect(
    clippy::inline_always,
    reason = "in a frame of its own it would report that frame"
)]
pub fn stack_pointer() -> usize {
    let pointer: usize;
    #[cfg(target_arch = "x86_64")]
    // SAFETY: copies a register into another; touches no memory and no flags.
    unsafe {
        asm!("mov {}, rsp", out(reg) pointer, options(nomem, nostack, preserves_flags));
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: copies a register into another; touches no memory and no flags.
    unsafe {
        asm!("mov {}, sp", out(reg) pointer, options(nomem, nostack, preserves_flags));
    }
    pointer
}

/// The bytes of kernel stack left below the caller, what `IoGetRemainingStackSize` gives to a C driver.
///
/// That one is an inline function in the headers, not an export: the export behind it is `IoGetStackLimits`. This is
/// inlined too, so that the number is the caller's own and does not lack a frame. Any IRQL.
#[must_use]
#[inline(always)]
#[expect(
    clippy::inline_always,
    reason = "in a frame of its own it would report that frame"
)]
pub fn remaining() -> usize {
    limits().remaining_below(stack_pointer())
}

/// `ULONG_PTR` is 64 bits wide on the 64-bit systems that this crate knows, and so is `usize`.
#[expect(
    clippy::cast_possible_truncation,
    reason = "both are as wide as a pointer"
)]
const fn address(value: ULONG_PTR) -> usize {
    value as usize
}

const _: () = assert!(size_of::<ULONG_PTR>() == size_of::<usize>());
