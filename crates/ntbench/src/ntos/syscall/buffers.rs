//! The buffers of system calls: a program's own memory, and system buffers.

use super::super::file::File;
use super::super::memory::Guest;
use super::super::{MACHINE, mdl, pool};
use crate::abi::flt::FLTFL_CALLBACK_DATA_SYSTEM_BUFFER;
use crate::abi::io::{IRP_BUFFERED_IO, IRP_DEALLOCATE_BUFFER, IRP_INPUT_OPERATION, IoStatusBlock};
use crate::fltmgr::Request;
use crate::status::NtStatus;
use crate::user::Pages;
use crate::wire::Buffers;

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

/// A program's buffer as a file system's device wants it in reads, writes and directory queries ("Methods for Accessing Data
/// Buffers").
pub(super) struct Lent {
    /// The address that the operation carries.
    pub(super) buffer: usize,
    /// Its list; 0: none.
    pub(super) mdl: usize,
    system: Option<SystemBuffer>,
    length: u32,
    read: bool,
}

impl Lent {
    /// How the machine's file systems want it. `read`: whether they write into it.
    pub(super) fn of(
        file: &File,
        pages: Option<&Pages>,
        length: u32,
        read: bool,
    ) -> Result<Self, NtStatus> {
        let mut lent = Self {
            buffer: address(pages),
            mdl: 0,
            system: None,
            length,
            read,
        };
        // A driver's own device says it by its own flags.
        let (Some(pages), false) = (pages, file.on_device()) else {
            return Ok(lent);
        };
        match MACHINE
            .get()
            .map_or(Buffers::Neither, |machine| machine.buffers)
        {
            Buffers::Neither => {}
            Buffers::Buffered => {
                let bytes = if read {
                    Vec::new()
                } else {
                    pages.read(0, length as usize)
                };
                let system = SystemBuffer::new(length as usize, &bytes)?;
                lent.buffer = system.address();
                lent.system = Some(system);
            }
            Buffers::Direct => {
                lent.mdl = mdl::allocate(lent.buffer, length, None);
                mdl::lock_pages(lent.mdl, read)?;
            }
        }
        Ok(lent)
    }

    /// A request with the flags that say so.
    pub(super) fn request(&self, request: Request<'static>) -> Request<'static> {
        if self.system.is_none() {
            return request;
        }
        let input = if self.read { IRP_INPUT_OPERATION } else { 0 };
        Request {
            irp_flags: request.irp_flags | IRP_BUFFERED_IO | IRP_DEALLOCATE_BUFFER | input,
            data_flags: request.data_flags | FLTFL_CALLBACK_DATA_SYSTEM_BUFFER,
            ..request
        }
    }

    /// Copies what was read to the program.
    pub(super) fn settle(&self, block: IoStatusBlock, pages: Option<&Pages>) {
        if let (Some(system), Some(pages), true) = (&self.system, pages, self.read) {
            pages.write(0, &system.taken(block, self.length));
        }
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if self.mdl != 0 {
            mdl::free(self.mdl);
        }
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
