//! Files in views of sections, and transfers by memory descriptor lists.
//!
//! A program that maps a file has the memory manager ask the file system first whether it may
//! (`IRP_MJ_ACQUIRE_FOR_SECTION_SYNCHRONIZATION`); what it reads through the view is paged in, and what it writes there is
//! paged out by the modified page writer, which holds the file meanwhile (`IRP_MJ_ACQUIRE_FOR_MOD_WRITE`). There is no cache
//! that the pages could be in already, or stay in.

use std::sync::Arc;

use super::super::file::File;
use super::super::memory::Guest;
use super::io::{Done, transfer};
use crate::abi::io::{
    IRP_MJ_ACQUIRE_FOR_MOD_WRITE, IRP_MJ_ACQUIRE_FOR_SECTION_SYNCHRONIZATION, IRP_MJ_MDL_READ,
    IRP_MJ_MDL_READ_COMPLETE, IRP_MJ_MDL_WRITE_COMPLETE, IRP_MJ_PREPARE_MDL_WRITE,
    IRP_MJ_RELEASE_FOR_MOD_WRITE, IRP_MJ_RELEASE_FOR_SECTION_SYNCHRONIZATION, IoStatusBlock,
};
use crate::abi::params::{
    AcquireForModWrite, AcquireForSection, MdlComplete, MdlTransfer, MdlWriteComplete, Parameters,
};
use crate::fltmgr::{self, Request};
use crate::ntos::mdl;
use crate::ntos::section::{PAGE_READONLY, PAGE_READWRITE};
use crate::status::NtStatus;

/// `SyncTypeCreateSection`.
const CREATE_SECTION: u32 = 1;

/// Asks the filters and the file system for a file, does something with it, and gives it back.
fn holding(
    file: &Arc<File>,
    [acquire, release]: [u8; 2],
    parameters: Parameters,
    work: impl FnOnce() -> Done,
) -> Done {
    let asked = fltmgr::send_callback(file, &Request::new(acquire, parameters));
    if !asked.status.is_success() {
        return Err(asked.status);
    }
    let done = work();
    fltmgr::send_callback(file, &Request::new(release, Parameters::default()));
    done
}

/// Makes a section over the file, as far as the file system is asked.
pub(crate) fn section(file: &Arc<File>, protection: u32, end: i64) -> Result<(), NtStatus> {
    let length = file.opened().map_or(0, |open| open.size().0);
    let parameters = Parameters::of(AcquireForSection {
        kind: CREATE_SECTION,
        pad0: 0,
        protection,
        pad1: 0,
        output: 0,
        pad2: [0; 3],
    });
    let majors = [
        IRP_MJ_ACQUIRE_FOR_SECTION_SYNCHRONIZATION,
        IRP_MJ_RELEASE_FOR_SECTION_SYNCHRONIZATION,
    ];
    let nothing = || Ok((IoStatusBlock::new(NtStatus::SUCCESS, 0), Vec::new()));
    holding(file, majors, parameters, nothing)?;
    // A section is as long as its file, and nobody sees behind its end.
    if end > length {
        return Err(NtStatus::INVALID_VIEW_SIZE);
    }
    Ok(())
}

/// Maps a part of a file and reads it.
pub(super) fn read(file: &Arc<File>, offset: i64, length: u32) -> Done {
    section(file, PAGE_READONLY, offset + i64::from(length))?;
    transfer(file, Some(offset), length, None, true)
}

/// Maps a part of a file, changes it, and has the pages written.
pub(super) fn write(file: &Arc<File>, offset: i64, data: &[u8]) -> Done {
    let length = u32::try_from(data.len()).map_err(|_| NtStatus::INVALID_PARAMETER)?;
    let end = offset + i64::from(length);
    section(file, PAGE_READWRITE, end)?;
    // The page is read before it is changed.
    let (block, _) = transfer(file, Some(offset), length, None, true)?;
    if !block.status.is_success() {
        return Err(block.status);
    }
    let until = Box::new(end);
    let resource = Box::new(0_usize);
    let parameters = Parameters::of(AcquireForModWrite {
        ending: std::ptr::from_ref(&*until).expose_provenance(),
        resource: std::ptr::from_ref(&*resource).expose_provenance(),
        pad0: [0; 4],
    });
    let majors = [IRP_MJ_ACQUIRE_FOR_MOD_WRITE, IRP_MJ_RELEASE_FOR_MOD_WRITE];
    holding(file, majors, parameters, || {
        transfer(file, Some(offset), length, Some(data), true)
    })
}

/// Reads or writes as a file server does: by pages that the file system lends. It may refuse, and then does for good.
pub(super) fn by_list(file: &Arc<File>, offset: i64, length: u32, data: Option<&[u8]>) -> Done {
    let chain = Box::new(0_usize);
    let parameters = Parameters::of(MdlTransfer {
        offset,
        length,
        pad0: 0,
        key: 0,
        pad1: 0,
        chain: std::ptr::from_ref(&*chain).expose_provenance(),
        pad2: [0; 2],
    });
    let fast = |major, parameters| {
        let done = fltmgr::send_fast(file, &Request::new(major, parameters));
        // What fast I/O cannot do a server does by reading and writing.
        done.ok_or(NtStatus::NOT_SUPPORTED)
    };
    let begin = if data.is_some() {
        IRP_MJ_PREPARE_MDL_WRITE
    } else {
        IRP_MJ_MDL_READ
    };
    let block = fast(begin, parameters)?;
    if !block.status.is_success() {
        return Ok((block, Vec::new()));
    }
    let list = Guest::<usize>::at(std::ptr::from_ref(&*chain).expose_provenance()).read();
    let pages = mdl::system_address(list).ok_or(NtStatus::INSUFFICIENT_RESOURCES)?;
    let pages = Guest::<u8>::at(pages);
    if let Some(data) = data {
        pages.write_many(data);
        let complete = Parameters::of(MdlWriteComplete {
            offset,
            chain: list,
            pad0: [0; 4],
        });
        let done = fast(IRP_MJ_MDL_WRITE_COMPLETE, complete)?;
        let written = IoStatusBlock::new(done.status, data.len());
        return Ok((written, Vec::new()));
    }
    let read = pages.read_many(block.information.min(length as usize));
    let complete = Parameters::of(MdlComplete {
        chain: list,
        pad0: [0; 5],
    });
    fast(IRP_MJ_MDL_READ_COMPLETE, complete)?;
    Ok((block, read))
}
