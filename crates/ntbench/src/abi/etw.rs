//! Event Tracing for Windows, a provider's side.

use super::layout;

/// `EVENT_DESCRIPTOR`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Descriptor {
    pub(crate) id: u16,
    pub(crate) version: u8,
    pub(crate) channel: u8,
    pub(crate) level: u8,
    pub(crate) opcode: u8,
    pub(crate) task: u16,
    pub(crate) keyword: u64,
}
layout!(Descriptor, 16, level @ 4, opcode @ 5, task @ 6, keyword @ 8);

/// `EVENT_DATA_DESCRIPTOR`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Data {
    pub(crate) address: u64,
    pub(crate) size: u32,
    pub(crate) kind: u8,
    pub(crate) reserved: [u8; 3],
}
layout!(Data, 16, size @ 8, kind @ 12);
