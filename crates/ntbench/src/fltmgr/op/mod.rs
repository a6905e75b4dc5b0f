//! What the file systems do with operations other than creates: one module for each family.
//!
//! The pages followed are those of the IFS reference ("IRP_MJ_READ", "IRP_MJ_DIRECTORY_CONTROL", …) for what arrives, of
//! the system calls (`NtReadFile`, `NtQueryDirectoryFile`, …) for how it ends, and MS-FSCC and MS-FSA for the structures.
//! Neither file system of the bench asks for buffered or direct I/O: reads, writes, directory queries and security
//! queries come with the caller's own buffer, as at NTFS and the redirector; what the system call copies into a system
//! buffer (information, volume information, buffered controls) says so by `FLTFL_CALLBACK_DATA_SYSTEM_BUFFER`.

mod cached;
mod control;
mod directory;
mod ea;
mod lock;
mod memory;
pub(crate) mod mount;
mod network;
mod notify;
pub(super) mod oplock;
mod query;
mod reparse;
mod security;
mod set;
mod transfer;
mod volume;

pub(crate) use directory::fixed as directory_entry;
pub(super) use memory::copy;
pub(crate) use query::{ACCESS, ALIGNMENT, ALL, FULL_EA, MODE, POSITION, mode, name_now, stat};
pub(crate) use set::{deletes, names_target, resizes, target as rename_target};
pub(crate) use volume::BYTES_PER_SECTOR;

use std::sync::Arc;

use super::below;
use super::flight::Flight;
use super::section;
use crate::abi::flt::IoParameterBlock;
use crate::abi::io::{
    FO_CLEANUP_COMPLETE, IRP_MJ_CLEANUP, IRP_MJ_CLOSE, IRP_MJ_CREATE, IRP_MJ_DEVICE_CONTROL,
    IRP_MJ_DIRECTORY_CONTROL, IRP_MJ_FILE_SYSTEM_CONTROL, IRP_MJ_FLUSH_BUFFERS,
    IRP_MJ_LOCK_CONTROL, IRP_MJ_MDL_READ, IRP_MJ_MDL_READ_COMPLETE, IRP_MJ_MDL_WRITE_COMPLETE,
    IRP_MJ_NETWORK_QUERY_OPEN, IRP_MJ_PREPARE_MDL_WRITE, IRP_MJ_QUERY_EA, IRP_MJ_QUERY_INFORMATION,
    IRP_MJ_QUERY_SECURITY, IRP_MJ_QUERY_VOLUME_INFORMATION, IRP_MJ_READ, IRP_MJ_SET_EA,
    IRP_MJ_SET_INFORMATION, IRP_MJ_SET_SECURITY, IRP_MJ_SET_VOLUME_INFORMATION, IRP_MJ_WRITE,
    IRP_PAGING_IO, IoStatusBlock,
};
use crate::abi::params::Arm;
use crate::namespace::open::OpenFile;
use crate::ntos::file::{self, File};
use crate::ntos::object;
use crate::status::NtStatus;
use crate::verifier;

/// How an operation ended: its status and its information. Either may be an error's.
type Answer = Result<(NtStatus, usize), NtStatus>;

/// An operation as a file system sees it.
struct Context<'a> {
    flight: &'a Flight,
    block: IoParameterBlock,
    file: Arc<File>,
    open: Arc<OpenFile>,
}

impl Context<'_> {
    /// The parameters as that arm.
    fn arm<A: Arm>(&self) -> A {
        self.block.parameters.get()
    }

    /// Before the file is cut to `end` bytes: whoever has a view of what is to go keeps it as it is.
    fn shorten(&self, end: i64) -> Result<(), NtStatus> {
        let (now, _) = self.open.size();
        match self.open.id() {
            Some(id) if (0..now).contains(&end) => section::make_way(self.flight, id, end),
            _ => Ok(()),
        }
    }

    /// Whether it is paging I/O.
    fn is_paging(&self) -> bool {
        self.block.irp_flags & IRP_PAGING_IO != 0
    }
}

/// Does what the parameters now say, on the file that they now name.
pub(super) fn dispatch(flight: &Flight) -> IoStatusBlock {
    let block = flight.parameters();
    let target = block.target_file_object.expose_provenance();
    let file = if target == flight.operation.file.address() {
        Arc::clone(&flight.operation.file)
    } else {
        object::file(target, "an operation's TargetFileObject")
    };
    if block.major_function == IRP_MJ_CLOSE {
        return IoStatusBlock::new(NtStatus::SUCCESS, 0);
    }
    below::dispatch(&file, || {
        let (status, information) = match answer(flight, block, &file) {
            Ok(done) => done,
            Err(status) => (status, 0),
        };
        IoStatusBlock::new(status, information)
    })
}

fn answer(flight: &Flight, block: IoParameterBlock, file: &Arc<File>) -> Answer {
    if block.major_function == IRP_MJ_NETWORK_QUERY_OPEN {
        return network::query(flight, &block);
    }
    if block.major_function == IRP_MJ_CLEANUP {
        mount::cleaned_up(file);
        return Ok((file::clean_up_below(file), 0));
    }
    // Without an open of its own below the filters the file system does not know the file object.
    let open = file.opened().ok_or(NtStatus::INVALID_PARAMETER)?;
    let context = Context {
        flight,
        block,
        file: Arc::clone(file),
        open,
    };
    if mount::is_dismounted(file) {
        return Err(NtStatus::VOLUME_DISMOUNTED);
    }
    let cleaned = file.object(|object| object.flags & FO_CLEANUP_COMPLETE != 0);
    let after_cleanup = matches!(
        block.major_function,
        IRP_MJ_QUERY_INFORMATION | IRP_MJ_QUERY_VOLUME_INFORMATION | IRP_MJ_FLUSH_BUFFERS
    );
    if control::asks_for_object_id(&context) {
        return control::object_id(&context);
    }
    if cleaned && !after_cleanup && !context.is_paging() {
        return Err(NtStatus::FILE_CLOSED);
    }
    if cleaned && context.open.is_deleted() {
        // NTFS knows nothing any more of what the clean-up deleted.
        return Err(NtStatus::FILE_DELETED);
    }
    context.break_oplocks()?;
    match block.major_function {
        IRP_MJ_READ => transfer::read(&context),
        IRP_MJ_WRITE => transfer::write(&context),
        IRP_MJ_QUERY_INFORMATION => query::query(&context),
        IRP_MJ_SET_INFORMATION => set::set(&context),
        IRP_MJ_DIRECTORY_CONTROL => directory::control(&context),
        IRP_MJ_FILE_SYSTEM_CONTROL => control::file_system(&context),
        IRP_MJ_DEVICE_CONTROL => control::device(&context),
        IRP_MJ_QUERY_VOLUME_INFORMATION => volume::query(&context),
        IRP_MJ_SET_VOLUME_INFORMATION => volume::set(&context),
        IRP_MJ_FLUSH_BUFFERS => context.open.flush().map(|()| (NtStatus::SUCCESS, 0)),
        IRP_MJ_LOCK_CONTROL => lock::control(&context),
        IRP_MJ_QUERY_SECURITY => security::query(&context),
        IRP_MJ_SET_SECURITY => security::set(&context),
        IRP_MJ_QUERY_EA => ea::query(&context),
        IRP_MJ_SET_EA => ea::set(&context),
        IRP_MJ_MDL_READ => cached::read(&context),
        IRP_MJ_MDL_READ_COMPLETE => cached::read_complete(&context),
        IRP_MJ_PREPARE_MDL_WRITE => cached::prepare_write(&context),
        IRP_MJ_MDL_WRITE_COMPLETE => cached::write_complete(&context),
        IRP_MJ_CREATE => {
            verifier::finding(
                "refused",
                "a create is sent with FltPerformSynchronousIo; the bench opens files for filters with FltCreateFile alone",
            );
            Err(NtStatus::NOT_SUPPORTED)
        }
        _ => Err(NtStatus::INVALID_DEVICE_REQUEST),
    }
}
