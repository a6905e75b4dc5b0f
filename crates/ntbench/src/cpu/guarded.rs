//! Memory operations that the kernel does on a driver's behalf and that may meet an address that is not there.
//!
//! `memcpy` and its kin are leaf functions of the kernel: a fault in one is an exception that the driver's `__try` sees.
//! Each of these loops is one instruction that the fault handler knows, so a fault on a user address ends the loop, and
//! the export raises the exception when it returns. A fault on a system address stays what it is: a bug check.

use std::cell::Cell;

use crate::cpu::fault::Fault;
use crate::cpu::page_fault;
use crate::seh::{self, Exception};
use crate::{gate, thread, user};

std::arch::global_asm!(
    ".globl ntbench_guarded_forward, ntbench_guarded_forward_end",
    ".globl ntbench_guarded_backward, ntbench_guarded_backward_end",
    ".globl ntbench_guarded_fill, ntbench_guarded_fill_end",
    ".globl ntbench_guarded_compare, ntbench_guarded_compare_end",
    "ntbench_copy_forward:",
    "mov rcx, rdx",
    "ntbench_guarded_forward: rep movsb",
    "ntbench_guarded_forward_end: mov rax, rcx",
    "ret",
    "ntbench_copy_backward:",
    "mov rcx, rdx",
    "lea rdi, [rdi + rdx - 1]",
    "lea rsi, [rsi + rdx - 1]",
    "std",
    "ntbench_guarded_backward: rep movsb",
    "ntbench_guarded_backward_end: cld",
    "mov rax, rcx",
    "ret",
    "ntbench_fill:",
    "mov rcx, rdx",
    "mov eax, esi",
    "ntbench_guarded_fill: rep stosb",
    "ntbench_guarded_fill_end: mov rax, rcx",
    "ret",
    // Bytes left after the first pair that differs; all of them counted when none does.
    "ntbench_compare:",
    "mov rcx, rdx",
    "cmp rcx, rcx",
    "ntbench_guarded_compare: repe cmpsb",
    "ntbench_guarded_compare_end: setne al",
    "movzx eax, al",
    "add rax, rcx",
    "ret",
);

unsafe extern "sysv64" {
    #[link_name = "ntbench_copy_forward"]
    fn copy_forward(to: usize, from: usize, count: usize) -> usize;
    #[link_name = "ntbench_copy_backward"]
    fn copy_backward(to: usize, from: usize, count: usize) -> usize;
    #[link_name = "ntbench_fill"]
    fn fill_bytes(to: usize, byte: u32, count: usize) -> usize;
    #[link_name = "ntbench_compare"]
    fn compare_bytes(left: usize, right: usize, count: usize) -> usize;

    #[link_name = "ntbench_guarded_forward"]
    static FORWARD: u8;
    #[link_name = "ntbench_guarded_forward_end"]
    static FORWARD_END: u8;
    #[link_name = "ntbench_guarded_backward"]
    static BACKWARD: u8;
    #[link_name = "ntbench_guarded_backward_end"]
    static BACKWARD_END: u8;
    #[link_name = "ntbench_guarded_fill"]
    static FILL: u8;
    #[link_name = "ntbench_guarded_fill_end"]
    static FILL_END: u8;
    #[link_name = "ntbench_guarded_compare"]
    static COMPARE: u8;
    #[link_name = "ntbench_guarded_compare_end"]
    static COMPARE_END: u8;
}

thread_local! {
    /// The fault that ended a loop: operation and address.
    static ENDED: Cell<Option<(u64, usize)>> = const { Cell::new(None) };
}

/// Bit of a page fault's error code: a write.
const WRITE: u64 = 2;

/// The fault handler's question: where the bench goes on after a fault in one of the loops.
pub(super) fn recover(fault: &Fault) -> Option<usize> {
    let loops = [
        (&raw const FORWARD, &raw const FORWARD_END),
        (&raw const BACKWARD, &raw const BACKWARD_END),
        (&raw const FILL, &raw const FILL_END),
        (&raw const COMPARE, &raw const COMPARE_END),
    ];
    let (_, end) = loops
        .iter()
        .find(|(at, _)| at.addr() == fault.registers.rip)?;
    if !user::is_user(fault.address) || thread::irql() >= thread::DISPATCH_LEVEL {
        return None;
    }
    ENDED.set(Some((u64::from(fault.error & WRITE != 0), fault.address)));
    Some(end.addr())
}

/// Copies forward as far as it goes, for the bench's own sake: no exception is raised.
pub(crate) fn try_copy(to: usize, from: usize, count: usize) {
    // SAFETY: as in `copy`.
    unsafe { copy_forward(to, from, count) };
    ENDED.set(None);
}

/// Copies forward; false: it met a user address that is not there. No exception is raised.
pub(crate) fn copied(to: usize, from: usize, count: usize) -> bool {
    // SAFETY: as in `copy`.
    unsafe { copy_forward(to, from, count) };
    ENDED.take().is_none()
}

/// Whether a loop has ended early; the exception is raised then.
fn ended() -> bool {
    let Some((operation, address)) = ENDED.take() else {
        return false;
    };
    seh::raise(Exception::access_violation(operation, address as u64));
    true
}

/// Whether what a driver wants done touches another process's memory, to write it (1) or to read it (0); the exception is
/// raised then.
fn is_foreign(places: &[(u64, usize)], count: usize) -> bool {
    let found = places.iter().find_map(|(operation, address)| {
        let owner = user::foreign(*address).filter(|_| count != 0)?;
        Some((*operation, *address, owner))
    });
    let Some((operation, address, owner)) = found else {
        return false;
    };
    if let Some(site) = gate::call_site() {
        let verb = if operation == 0 { "reads" } else { "writes" };
        let what = format!("{} {verb} {address:#x}", site.import);
        page_fault::foreign(&what, owner, site.return_address);
    }
    seh::raise(Exception::access_violation(operation, address as u64));
    true
}

/// `memmove`. Raises the exception in the driver when a user address is not there; the bytes before it are copied.
pub(crate) fn copy(to: usize, from: usize, count: usize) {
    if is_foreign(&[(1, to), (0, from)], count) {
        return;
    }
    if to.wrapping_sub(from) >= count {
        // SAFETY: on the driver's word; a fault is dealt with above, or is the bug check that it would be in Windows.
        unsafe { copy_forward(to, from, count) };
    } else {
        // SAFETY: as above.
        unsafe { copy_backward(to, from, count) };
    }
    ended();
}

/// `memset`. As [`copy`].
pub(crate) fn fill(to: usize, byte: u8, count: usize) {
    if is_foreign(&[(1, to)], count) {
        return;
    }
    // SAFETY: as in `copy`.
    unsafe { fill_bytes(to, u32::from(byte), count) };
    ended();
}

/// How many bytes are equal before the first that are not; `None`: the exception is raised.
pub(crate) fn compare(left: usize, right: usize, count: usize) -> Option<usize> {
    if is_foreign(&[(0, left), (0, right)], count) {
        return None;
    }
    // SAFETY: as in `copy`.
    let rest = unsafe { compare_bytes(left, right, count) };
    (!ended()).then(|| count.saturating_sub(rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loops_do_what_they_say() {
        let address = |bytes: &[u8]| bytes.as_ptr().expose_provenance();
        let mut bytes = *b"0123456789";
        let base = bytes.as_mut_ptr().expose_provenance();
        copy(base + 2, base, 5);
        assert_eq!(&bytes, b"0101234789");
        copy(base, base + 3, 6);
        assert_eq!(&bytes, b"1234784789");
        fill(base + 1, b'x', 3);
        assert_eq!(&bytes, b"1xxx784789");
        assert_eq!(compare(address(b"abcd"), address(b"abxd"), 4), Some(2));
        assert_eq!(compare(address(b"abcd"), address(b"abcd"), 4), Some(4));
        assert_eq!(compare(address(b"abcd"), address(b"xbcd"), 4), Some(0));
        assert_eq!(compare(address(b"abcd"), address(b"abcx"), 4), Some(3));
        assert_eq!(compare(base, base, 0), Some(0));
    }
}
