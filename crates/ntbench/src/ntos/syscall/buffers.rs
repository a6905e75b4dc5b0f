//! The buffers of system calls: a program's own memory, and system buffers.

use super::super::memory::Guest;
use super::super::pool;
use crate::abi::io::IoStatusBlock;
use crate::status::NtStatus;
use crate::user::Pages;

const PAGE: usize = 0x1000;
const TAG: u32 = u32::from_le_bytes(*b"Io  ");

/// A buffer of the calling program.
pub(super) fn user(length: usize) -> Result<Option<Pages>, NtStatus> {
    if length == 0 {
        return Ok(None);
    }
    Pages::new(length.div_ceil(PAGE))
        .map(Some)
        .map_err(|_| NtStatus::INSUFFICIENT_RESOURCES)
}

pub(super) fn address(pages: Option<&Pages>) -> usize {
    pages.map_or(0, Pages::base)
}

/// What an operation left in a buffer, where it says that it left something.
pub(super) fn taken(pages: Option<&Pages>, block: IoStatusBlock, length: u32) -> Vec<u8> {
    let whole = block.status.0.cast_unsigned() >> 30 != 3;
    let count = block.information.min(length as usize);
    match pages {
        Some(pages) if whole => pages.read(0, count),
        _ => Vec::new(),
    }
}

/// A system buffer, given back at the end.
pub(crate) struct SystemBuffer {
    address: usize,
    length: usize,
}

impl SystemBuffer {
    /// One of that length, holding `input`.
    pub(crate) fn new(length: usize, input: &[u8]) -> Result<Self, NtStatus> {
        let length = length.max(input.len());
        let address = if length == 0 {
            0
        } else {
            pool::lend(length, TAG, true).ok_or(NtStatus::INSUFFICIENT_RESOURCES)?
        };
        Guest::<u8>::at(address).write_many(input);
        Ok(Self { address, length })
    }

    /// Its address; 0 where it is empty.
    pub(crate) fn address(&self) -> usize {
        self.address
    }

    /// What an operation left in it.
    pub(crate) fn taken(&self, block: IoStatusBlock, length: u32) -> Vec<u8> {
        let whole = block.status.0.cast_unsigned() >> 30 != 3;
        let count = block.information.min(length as usize).min(self.length);
        if whole {
            Guest::<u8>::at(self.address).read_many(count)
        } else {
            Vec::new()
        }
    }
}

impl Drop for SystemBuffer {
    fn drop(&mut self) {
        if self.address != 0 {
            pool::free(self.address, None);
        }
    }
}
