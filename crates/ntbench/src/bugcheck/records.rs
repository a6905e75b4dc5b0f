//! Exception, context and trap records that bug check parameters point to.
//!
//! Each lies in memory of the machine's own that is never given back, and crash dumps hold it: what a debugger's `.exr`,
//! `.cxr` and `.trap` are given. Windows keeps them on the stack that failed, which here may have no room for them.

use std::sync::{Mutex, PoisonError};

use crate::abi::layout;
use crate::seh::Processor;

/// Where such records lie, and how long they are.
static KEPT: Mutex<Vec<(usize, usize)>> = Mutex::new(Vec::new());

/// Keeps a record; gives its address.
pub(crate) fn keep<T>(record: T) -> u64 {
    let address = std::ptr::from_mut(Box::leak(Box::new(record))).expose_provenance();
    let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
    kept.push((address, size_of::<T>()));
    address as u64
}

/// All of them, for a dump.
pub(super) fn kept() -> Vec<(usize, usize)> {
    KEPT.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

/// `KTRAP_FRAME` as the kernel's public symbols have it; what an exception fills in has names.
#[repr(C, align(16))]
#[derive(Clone, Copy)]
pub(crate) struct TrapFrame {
    home: [u64; 5],
    previous_mode: u8,
    reserved: [u8; 2],
    exception_active: u8,
    mxcsr: u32,
    /// RAX, RCX, RDX, R8 to R11.
    volatile: [u64; 7],
    gs_base: u64,
    /// XMM0 to XMM5.
    xmm: [u128; 6],
    fault_address: u64,
    debug: [u64; 11],
    segments: [u16; 4],
    trap_frame: u64,
    /// RBX, RDI, RSI: of system calls.
    preserved: [u64; 3],
    rbp: u64,
    error: u64,
    rip: u64,
    cs: u64,
    flags: u64,
    rsp: u64,
    ss: u64,
}
layout!(TrapFrame, 0x190, mxcsr @ 0x2C, volatile @ 0x30, xmm @ 0x70, fault_address @ 0xD0, segments @ 0x130,
    rbp @ 0x158, error @ 0x160, rip @ 0x168, flags @ 0x178, rsp @ 0x180, ss @ 0x188);

impl TrapFrame {
    /// Of an exception in kernel mode.
    pub(crate) fn new(processor: &Processor) -> Self {
        let [rax, rcx, rdx, _, rsp, rbp, _, _, r8, r9, r10, r11, ..] = processor.general;
        let mut xmm = [0; 6];
        xmm.copy_from_slice(&processor.xmm[..6]);
        Self {
            home: [0; 5],
            previous_mode: 0,
            reserved: [0; 2],
            exception_active: 1,
            mxcsr: processor.mxcsr,
            volatile: [rax, rcx, rdx, r8, r9, r10, r11],
            gs_base: 0,
            xmm,
            fault_address: 0,
            debug: [0; 11],
            segments: [0x2B, 0x2B, 0x53, 0x2B],
            trap_frame: 0,
            preserved: [0; 3],
            rbp,
            error: 0,
            rip: processor.rip,
            cs: 0x10,
            flags: processor.flags.into(),
            rsp,
            ss: 0x18,
        }
    }
}
