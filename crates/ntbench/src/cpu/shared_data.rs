//! `KUSER_SHARED_DATA` at 0xFFFFF780`00000000: where compilers inline the clocks from (`KeQuerySystemTime`,
//! `KeQueryTickCount`, `KeQueryInterruptTime`) and drivers read the system's version.
//!
//! Linux gives a process no page there. A load of it faults; the instruction is run again, alone, with its base register
//! moved to a page of the bench's that has the same layout and the time of that moment. Stores are not helped: the
//! page is read-only on Windows, too. Offsets are those of `ntddk.h`.

use std::cell::Cell;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use iced_x86::{Code, Register};

use super::emulate::{decode, get, set};
use super::fault::{EFLAGS_TRAP, Fault};
use super::memory::{Mapping, PAGE};
use super::verdict::PAGE_FAULT;
use crate::ntos::time;

/// Where Windows has it.
const ADDRESS: usize = 0xFFFF_F780_0000_0000;
/// The page-fault error code's bit for a store.
const WRITE: u64 = 2;

const TICK_COUNT_MULTIPLIER: usize = 0x4;
const INTERRUPT_TIME: usize = 0x8;
const SYSTEM_TIME: usize = 0x14;
const SYSTEM_ROOT: usize = 0x30;
const BUILD_NUMBER: usize = 0x260;
const PRODUCT_TYPE: usize = 0x264;
const PRODUCT_TYPE_IS_VALID: usize = 0x268;
const MAJOR_VERSION: usize = 0x26C;
const MINOR_VERSION: usize = 0x270;
const PHYSICAL_PAGES: usize = 0x2E8;
const QPC_FREQUENCY: usize = 0x300;
const TICK_COUNT: usize = 0x320;
const ACTIVE_PROCESSORS: usize = 0x3C0;

static SHADOW: OnceLock<usize> = OnceLock::new();

thread_local! {
    /// The register that was moved for the instruction under way, and what it held.
    static MOVED: Cell<Option<(Register, i64)>> = const { Cell::new(None) };
}

/// Makes the page; before any driver is loaded.
pub(crate) fn install() -> std::io::Result<()> {
    let mapping = Mapping::read_write(PAGE)?;
    let page = mapping.base();
    mapping.leak();
    // 100 ns units a tick, as a fraction of 2^24 milliseconds.
    put32(page + TICK_COUNT_MULTIPLIER, 0x0FA0_0000);
    for (index, unit) in "C:\\Windows".encode_utf16().enumerate() {
        let at = page + SYSTEM_ROOT + index * 2;
        let pointer: *mut u16 = std::ptr::with_exposed_provenance_mut(at);
        // SAFETY: within the page, which nobody knows of yet.
        unsafe { pointer.write(unit) };
    }
    // NtProductWinNt: a workstation.
    for (offset, value) in [
        (PRODUCT_TYPE, 1),
        (PRODUCT_TYPE_IS_VALID, 1),
        (MAJOR_VERSION, 10),
        (MINOR_VERSION, 0),
        (PHYSICAL_PAGES, 0x10_0000),
        (ACTIVE_PROCESSORS, 2),
    ] {
        put32(page + offset, value);
    }
    put64(page + QPC_FREQUENCY, time::FREQUENCY.cast_unsigned());
    let _ = SHADOW.set(page);
    Ok(())
}

/// Says which build of Windows it is; before any driver is loaded.
pub(crate) fn set_build(build: u32) {
    if let Some(page) = SHADOW.get() {
        put32(page + BUILD_NUMBER, build);
    }
}

fn put32(address: usize, value: u32) {
    let pointer: *mut u32 = std::ptr::with_exposed_provenance_mut(address);
    // SAFETY: aligned, within the page that `install` made and that lives for ever.
    unsafe { AtomicU32::from_ptr(pointer) }.store(value, Ordering::Release);
}

fn put64(address: usize, value: u64) {
    let pointer: *mut u64 = std::ptr::with_exposed_provenance_mut(address);
    // SAFETY: as in `put32`.
    unsafe { AtomicU64::from_ptr(pointer) }.store(value, Ordering::Release);
}

/// A `KSYSTEM_TIME`: the high half is there twice, so that a reader of 32 bits sees a change.
fn put_time(address: usize, value: i64) {
    let (low, high) = (
        value.cast_unsigned() as u32,
        (value.cast_unsigned() >> 32) as u32,
    );
    put32(address + 8, high);
    put32(address, low);
    put32(address + 4, high);
}

fn refresh(page: usize) {
    let interrupt = time::interrupt_time();
    put_time(page + INTERRUPT_TIME, interrupt);
    put_time(page + SYSTEM_TIME, time::system_time());
    put_time(page + TICK_COUNT, interrupt / i64::from(time::TICK));
}

/// Helps a driver's load from the page; `false`: it was none.
pub(super) fn load(fault: &Fault, context: &mut libc::ucontext_t) -> bool {
    if fault.trap != PAGE_FAULT
        || fault.error & WRITE != 0
        || fault.address & !(PAGE - 1) != ADDRESS
    {
        return false;
    }
    let (Some(&page), Some(instruction)) = (SHADOW.get(), decode(fault.registers.rip)) else {
        return false;
    };
    refresh(page);
    let from = page + (fault.address - ADDRESS);
    if let Some(size) = absolute(instruction.code()) {
        // `mov rax, [absolute]` has no register to move.
        let Some(value) = read(from, size, context) else {
            return false;
        };
        set(context, Register::RAX, value);
        context.uc_mcontext.gregs[libc::REG_RIP as usize] = instruction.next_ip().cast_signed();
        return true;
    }
    let base = instruction.memory_base();
    let Some(held) = get(context, base) else {
        return false;
    };
    let shift = (page as i64).wrapping_sub(ADDRESS as i64);
    set(context, base, held.wrapping_add(shift));
    context.uc_mcontext.gregs[libc::REG_EFL as usize] |= EFLAGS_TRAP;
    MOVED.set(Some((base, held)));
    true
}

/// The bytes that a load from an absolute address takes.
fn absolute(code: Code) -> Option<usize> {
    match code {
        Code::Mov_AL_moffs8 => Some(1),
        Code::Mov_AX_moffs16 => Some(2),
        Code::Mov_EAX_moffs32 => Some(4),
        Code::Mov_RAX_moffs64 => Some(8),
        _ => None,
    }
}

/// What such a load leaves in RAX: the upper half is kept by the two short ones.
fn read(from: usize, size: usize, context: &libc::ucontext_t) -> Option<i64> {
    let mut bytes = if size < 4 {
        get(context, Register::RAX)?.to_le_bytes()
    } else {
        [0; 8]
    };
    for (index, byte) in bytes.iter_mut().take(size).enumerate() {
        let pointer: *const u8 = std::ptr::with_exposed_provenance(from + index);
        if index + (from & (PAGE - 1)) >= PAGE {
            return None;
        }
        // SAFETY: within the page.
        *byte = unsafe { pointer.read_volatile() };
    }
    Some(i64::from_le_bytes(bytes))
}

/// Puts the moved register back after its instruction, unless the instruction loaded it; `false`: nothing was moved.
pub(super) fn stepped(context: &mut libc::ucontext_t) -> bool {
    let Some((register, held)) = MOVED.take() else {
        return false;
    };
    context.uc_mcontext.gregs[libc::REG_EFL as usize] &= !EFLAGS_TRAP;
    let shift = SHADOW
        .get()
        .map_or(0, |page| (*page as i64).wrapping_sub(ADDRESS as i64));
    if get(context, register) == Some(held.wrapping_add(shift)) {
        set(context, register, held);
    }
    true
}
