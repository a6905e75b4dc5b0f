//! Reads and writes of kernel code's own: by a handle from the top of the stack, or below an instance; waited for, or not.

use super::operation::Request;
use super::requests::Caller;
use crate::abi::io::{
    FO_NO_INTERMEDIATE_BUFFERING, FO_SYNCHRONOUS_IO, IRP_MJ_READ, IRP_NOCACHE, IRP_PAGING_IO,
    IRP_READ_OPERATION, IRP_WRITE_OPERATION, IoStatusBlock,
};
use crate::abi::params::{Parameters, Transfer};
use crate::ntos::file::File;
use crate::ntos::mdl;
use crate::status::NtStatus;
use crate::user;

/// `FLTFL_IO_OPERATION_NON_CACHED`, `_PAGING`, `_DO_NOT_UPDATE_BYTE_OFFSET`, `_SYNCHRONOUS_PAGING`.
const NON_CACHED: u32 = 1;
const PAGING: u32 = 2;
const KEEP_BYTE_OFFSET: u32 = 4;
const SYNCHRONOUS_PAGING: u32 = 8;

/// A read or write.
pub(crate) struct TransferCall {
    /// Who asks.
    pub(crate) caller: Caller,
    /// `IRP_MJ_READ` or `IRP_MJ_WRITE`.
    pub(crate) major: u8,
    /// From where; `None`: from where the file is.
    pub(crate) offset: Option<i64>,
    /// How many bytes.
    pub(crate) length: u32,
    /// Where they are.
    pub(crate) buffer: usize,
    /// `FLTFL_IO_OPERATION_…`.
    pub(crate) flags: u32,
    /// The key of the byte-range locks that it may pass.
    pub(crate) key: u32,
    /// What describes the buffer, where the caller has it; 0: nothing.
    pub(crate) mdl: usize,
}

/// What is to be put right when a transfer is over.
struct Settling {
    /// The list that describes the buffer; 0: none of this function's.
    list: usize,
    /// Where the file was, if it is to stay there.
    position: Option<i64>,
}

impl Settling {
    fn settle(&self, file: &File) {
        if self.list != 0 {
            mdl::free(self.list);
        }
        if let Some(position) = self.position {
            file.object(|object| object.current_byte_offset = position);
        }
    }
}

impl TransferCall {
    /// Makes it, and waits.
    pub(crate) fn run(&self) -> IoStatusBlock {
        match self.prepare() {
            Ok((request, settling)) => {
                let done = self.caller.send(request);
                settling.settle(&self.caller.file);
                done
            }
            Err(status) => IoStatusBlock::new(status, 0),
        }
    }

    /// Makes it; `told` is called at its end, wherever that is. An error: it was not made, and nobody is told.
    pub(crate) fn start(
        self,
        told: impl FnOnce(&Self, IoStatusBlock) + Send + 'static,
    ) -> Result<NtStatus, NtStatus> {
        let (request, settling) = self.prepare()?;
        let caller = self.caller.clone();
        Ok(caller.start(&request, move |done| {
            settling.settle(&self.caller.file);
            told(&self, done);
        }))
    }

    fn prepare(&self) -> Result<(Request<'static>, Settling), NtStatus> {
        let file = &self.caller.file;
        let synchronous = file.object(|object| object.flags & FO_SYNCHRONOUS_IO != 0);
        let before = file.object(|object| object.current_byte_offset);
        let offset = match self.offset {
            Some(offset) => offset,
            None if synchronous => before,
            None => return Err(NtStatus::INVALID_PARAMETER),
        };
        let paging = self.flags & (PAGING | SYNCHRONOUS_PAGING) != 0;
        // The Filter Manager describes a buffer in system space for what works without its caller.
        let list = if paging && self.mdl == 0 && !user::is_user(self.buffer) {
            let list = mdl::allocate(self.buffer, self.length, None);
            if mdl::lock_pages(list, self.major == IRP_MJ_READ).is_err() {
                mdl::free(list);
                return Err(NtStatus::INSUFFICIENT_RESOURCES);
            }
            list
        } else {
            0
        };
        let kind = if self.major == IRP_MJ_READ {
            IRP_READ_OPERATION
        } else {
            IRP_WRITE_OPERATION
        };
        let parameters = Parameters::of(Transfer {
            length: self.length,
            pad0: 0,
            key: self.key,
            pad1: 0,
            offset,
            buffer: self.buffer,
            mdl: if list == 0 { self.mdl } else { list },
            pad2: 0,
        });
        // "FltReadFile": past the cache, too, where the file was opened for that.
        let opened_raw = file.object(|object| object.flags & FO_NO_INTERMEDIATE_BUFFERING != 0);
        let raw = self.flags & NON_CACHED != 0 || paging || opened_raw;
        let irp_flags =
            kind | if raw { IRP_NOCACHE } else { 0 } | if paging { IRP_PAGING_IO } else { 0 };
        let request = Request {
            irp_flags,
            ..Request::new(self.major, parameters)
        };
        let position = (self.flags & KEEP_BYTE_OFFSET != 0).then_some(before);
        Ok((request, Settling { list, position }))
    }
}
