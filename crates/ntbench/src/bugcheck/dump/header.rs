//! The dump's header: `DUMP_HEADER64` of a complete memory dump, and the `CONTEXT` in it.
//!
//! The layouts are published: `DUMP_HEADER64` in the Win32 metadata (Windows.Win32.System.Diagnostics.Debug), `CONTEXT` in
//! winnt.h. The older of the two complete formats is written (type 1: runs of physical pages, then the pages), because
//! more readers know it than the one with a bitmap.

use std::time::{SystemTime, UNIX_EPOCH};

use super::bytes::Structure;
use super::layout::BUILD;
use super::space::{FIRST, PAGE, ROOT};
use crate::seh::Processor;

/// The header's length; pages follow.
pub(super) const BYTES: u64 = 0x2000;
/// `CONTEXT`'s length.
const CONTEXT: usize = 0x4D0;

/// What stopped the machine.
pub(super) struct Crash<'a> {
    pub(super) code: u32,
    pub(super) parameters: [u64; 4],
    /// `STATUS_BREAKPOINT` where the bench stopped it, as Windows has it there; else the exception and its parameters.
    pub(super) exception: (u32, &'a [u64]),
    /// Where.
    pub(super) address: u64,
    /// A `CONTEXT`.
    pub(super) context: &'a [u8],
    /// Read by people.
    pub(super) comment: &'a str,
}

/// Addresses in the dumped memory.
pub(super) struct Places {
    pub(super) debugger_data: u64,
    pub(super) module_list: u64,
    pub(super) process_list: u64,
}

/// The header of a dump of `pages` pages.
pub(super) fn header(crash: &Crash<'_>, places: &Places, pages: u64) -> Vec<u8> {
    const COMPLETE: u32 = 1;
    const AMD64: u32 = 0x8664;
    const EXCEPTION: usize = 0xF00;
    let (status, parameters) = crash.exception;
    let mut header = Structure::filled(BYTES as usize, *b"PAGE")
        .bytes(4, b"DU64")
        .u32(0x08, 15) // a free build
        .u32(0x0C, BUILD)
        .u64(0x10, ROOT)
        .u64(0x18, 0)
        .u64(0x20, places.module_list)
        .u64(0x28, places.process_list)
        .u32(0x30, AMD64)
        .u32(0x34, 1)
        .u32(0x38, crash.code)
        .bytes(0x60, &[0; 32])
        .u64(0x80, places.debugger_data)
        .u32(0x88, 1)
        .u64(0x90, pages)
        .u64(0x98, FIRST)
        .u64(0xA0, pages)
        .bytes(0x348, crash.context)
        .bytes(EXCEPTION, &[0; 0x98])
        .u32(EXCEPTION, status)
        .u64(EXCEPTION + 0x10, crash.address)
        .u32(EXCEPTION + 0x18, parameters.len() as u32)
        .u32(0xF98, COMPLETE)
        .u64(0xFA0, BYTES + pages * PAGE)
        .u64(0xFA8, system_time())
        .text(0xFB0, 128, crash.comment)
        .u64(0x1030, 0)
        .bytes(0x1038, &[0; 0x20]);
    for (index, parameter) in crash.parameters.into_iter().enumerate() {
        header = header.u64(0x40 + 8 * index, parameter);
    }
    for (index, parameter) in parameters.iter().take(15).enumerate() {
        header = header.u64(EXCEPTION + 0x20 + 8 * index, *parameter);
    }
    header.done()
}

/// Now, in 100 ns since 1601.
fn system_time() -> u64 {
    const UNIX_EPOCH_IN_1601: u64 = 116_444_736_000_000_000;
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    UNIX_EPOCH_IN_1601 + (since.as_nanos() / 100) as u64
}

/// A `CONTEXT` with these registers, in kernel mode.
pub(super) fn context(processor: &Processor, rip: u64, rsp: u64, rbp: u64) -> Vec<u8> {
    /// Control, integer, segments and floating point, on AMD64.
    const FLAGS: u32 = 0x0010_000F;
    let mut context = Structure::new(CONTEXT)
        .u32(0x30, FLAGS)
        .u32(0x34, processor.mxcsr)
        .u16(0x38, 0x10)
        .u16(0x3A, 0x2B)
        .u16(0x3C, 0x2B)
        .u16(0x3E, 0x53)
        .u16(0x40, 0x2B)
        .u16(0x42, 0x18)
        .u32(0x44, processor.flags | 0x2);
    for (index, register) in processor.general.into_iter().enumerate() {
        context = context.u64(0x78 + 8 * index, register);
    }
    for (index, register) in processor.xmm.into_iter().enumerate() {
        context = context.bytes(0x1A0 + 16 * index, &register.to_le_bytes());
    }
    context
        .u64(0x98, rsp)
        .u64(0xA0, rbp)
        .u64(0xF8, rip)
        .u32(0x118, processor.mxcsr)
        .done()
}
