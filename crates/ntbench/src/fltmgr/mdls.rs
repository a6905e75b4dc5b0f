//! Buffers of operations and their memory descriptor lists: which parameter is which (`FltDecodeParameters`), locking
//! a program's buffer (`FltLockUserBuffer`), and lists that filters put in the place of others ("Swapping buffers").

use std::collections::HashSet;
use std::sync::{LazyLock, Mutex, PoisonError};

use super::flight;
use crate::abi::flt::{CallbackData, IoParameterBlock};
use crate::abi::io::{
    IRP_MJ_DEVICE_CONTROL, IRP_MJ_DIRECTORY_CONTROL, IRP_MJ_FILE_SYSTEM_CONTROL,
    IRP_MJ_INTERNAL_DEVICE_CONTROL, IRP_MJ_QUERY_EA, IRP_MJ_QUERY_INFORMATION, IRP_MJ_QUERY_QUOTA,
    IRP_MJ_QUERY_SECURITY, IRP_MJ_QUERY_VOLUME_INFORMATION, IRP_MJ_READ, IRP_MJ_SET_EA,
    IRP_MJ_SET_INFORMATION, IRP_MJ_SET_QUOTA, IRP_MJ_SET_VOLUME_INFORMATION, IRP_MJ_WRITE,
};
use crate::abi::params::Control;
use crate::ntos::memory::Guest;
use crate::ntos::{irql, mdl, ps};
use crate::status::NtStatus;
use crate::thread::APC_LEVEL;
use crate::verifier;
use crate::{faults, user};

/// `METHOD_BUFFERED`.
pub(super) const METHOD_BUFFERED: u32 = 0;

/// Where an operation's parameters have its buffer: indexes of their quadwords.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slots {
    /// The buffer's length.
    pub(crate) length: usize,
    /// The buffer.
    pub(crate) buffer: usize,
    /// Its list; `None`: operations of this kind have none.
    pub(crate) mdl: Option<usize>,
    /// Whether the file system writes into the buffer.
    pub(crate) write: bool,
}

/// Where an operation has its buffer; `None`: it has none that could be swapped or locked.
pub(crate) fn slots(block: &IoParameterBlock) -> Option<Slots> {
    let slots = |length, buffer, mdl, write| {
        Some(Slots {
            length,
            buffer,
            mdl,
            write,
        })
    };
    match block.major_function {
        IRP_MJ_READ => slots(0, 3, Some(4), true),
        IRP_MJ_WRITE => slots(0, 3, Some(4), false),
        IRP_MJ_QUERY_INFORMATION | IRP_MJ_QUERY_VOLUME_INFORMATION => slots(0, 2, None, true),
        IRP_MJ_SET_VOLUME_INFORMATION => slots(0, 2, None, false),
        IRP_MJ_SET_INFORMATION => slots(0, 4, None, false),
        IRP_MJ_DIRECTORY_CONTROL | IRP_MJ_QUERY_EA => slots(0, 4, Some(5), true),
        IRP_MJ_QUERY_QUOTA => slots(0, 4, Some(5), true),
        IRP_MJ_SET_EA | IRP_MJ_SET_QUOTA => slots(0, 1, Some(2), false),
        IRP_MJ_QUERY_SECURITY => slots(1, 2, Some(3), true),
        IRP_MJ_FILE_SYSTEM_CONTROL | IRP_MJ_DEVICE_CONTROL | IRP_MJ_INTERNAL_DEVICE_CONTROL => {
            match block.parameters.get::<Control>().code & 3 {
                METHOD_BUFFERED => slots(1, 3, None, false),
                // METHOD_IN_DIRECT reads what the list describes.
                method => slots(0, 4, Some(5), method != 1),
            }
        }
        _ => None,
    }
}

/// Lists that a filter keeps though it put them into an operation.
static RETAINED: LazyLock<Mutex<HashSet<usize>>> = LazyLock::new(Mutex::default);

/// The list that a filter put in the place of another; it is the Filter Manager's from now on.
pub(super) fn swapped(before: &IoParameterBlock, after: &IoParameterBlock) -> Option<usize> {
    let slot = slots(after)?.mdl?;
    let (old, new) = (before.parameters.0[slot], after.parameters.0[slot]);
    let new = usize::try_from(new).ok()?;
    let swapped = new != 0 && old != new as u64 && mdl::is_mdl(new);
    swapped.then(|| {
        mdl::set_swapped(new, true);
        new
    })
}

/// A filter put another buffer in the place of one that is described by a list, and left the list: whoever comes next uses
/// that one.
pub(super) fn check_swap(filter: &str, before: &IoParameterBlock, after: &IoParameterBlock) {
    let Some(slots) = slots(after) else { return };
    let Some(list) = slots.mdl else { return };
    let at = |block: &IoParameterBlock, slot: usize| block.parameters.0[slot];
    let swapped = at(before, slots.buffer) != at(after, slots.buffer);
    let described = at(before, list) != 0 && at(before, list) == at(after, list);
    if swapped && described && before.major_function == after.major_function {
        verifier::finding(
            "swapped-without-mdl",
            format!(
                "{filter} put another buffer into an operation and left the old one's MdlAddress, which is what the file \
                 system uses"
            ),
        );
    }
}

/// Frees such a list, unless its filter keeps it.
pub(super) fn free_swapped(mdl: usize) {
    let kept = RETAINED
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .remove(&mdl);
    if kept {
        return;
    }
    // If it is there no more, its filter has freed it and was told so.
    if mdl::is_mdl(mdl) {
        mdl::free(mdl);
    }
}

fn block_of(data: usize) -> Guest<IoParameterBlock> {
    Guest::<CallbackData>::at(data).iopb()
}

impl Guest<CallbackData> {
    /// Its parameter block.
    pub(super) fn iopb(self) -> Guest<IoParameterBlock> {
        let at = self.address() + std::mem::offset_of!(CallbackData, iopb);
        Guest::at(Guest::<usize>::at(at).read())
    }

    /// The thread that asked for it.
    pub(super) fn thread(self) -> usize {
        Guest::at(self.address() + std::mem::offset_of!(CallbackData, thread)).read()
    }

    /// Its flags.
    pub(super) fn flags(self) -> u32 {
        Guest::at(self.address()).read()
    }
}

/// The address of a parameter's quadword.
fn slot_address(block: Guest<IoParameterBlock>, slot: usize) -> usize {
    block.address() + std::mem::offset_of!(IoParameterBlock, parameters) + 8 * slot
}

pub(super) fn lock_user_buffer(data: usize) -> NtStatus {
    let Some(operation) = flight::at(data) else {
        return NtStatus::INVALID_PARAMETER;
    };
    let at = block_of(data);
    let block = at.read();
    let Some(slots) = slots(&block) else {
        return NtStatus::INVALID_PARAMETER;
    };
    let Some(slot) = slots.mdl else {
        return NtStatus::INVALID_PARAMETER;
    };
    let length = u32::try_from(block.parameters.0[slots.length] & 0xFFFF_FFFF).unwrap_or(0);
    let buffer = usize::try_from(block.parameters.0[slots.buffer]).unwrap_or(0);
    if block.parameters.0[slot] != 0 || length == 0 {
        // It is described already, or there is nothing to describe.
        return NtStatus::SUCCESS;
    }
    let made = mdl::allocate(buffer, length, None);
    if made == 0 {
        return NtStatus::INSUFFICIENT_RESOURCES;
    }
    // In the process that the operation is of, whatever thread asks: a safe post-operation routine runs in one of the system's.
    let pid = ps::process_at(operation.process).map_or_else(user::current, |process| process.pid);
    if let Err(status) = mdl::lock_pages_in(pid, made, slots.write) {
        mdl::free(made);
        return status;
    }
    // The list is the Filter Manager's and goes with the operation; that it was put there needs no FltSetCallbackDataDirty.
    Guest::at(slot_address(at, slot)).write(made as u64);
    operation.locked(slot, made);
    NtStatus::SUCCESS
}

exports! { "fltmgr.sys";
    /// Locks the program's buffer of an operation, and describes it there.
    fn FltLockUserBuffer(data: usize) -> NtStatus {
        irql::at_most("FltLockUserBuffer", APC_LEVEL);
        faults::check("FltLockUserBuffer").unwrap_or_else(|| lock_user_buffer(data))
    }

    /// Where an operation's parameters have its buffer, the buffer's list and length, and what is done with it.
    fn FltDecodeParameters(
        data: Guest<CallbackData>, mdl: Guest<usize>, buffer: Guest<usize>, length: Guest<usize>, access: Guest<u32>,
    ) -> NtStatus {
        let block = data.iopb();
        mdl.write_opt(0);
        buffer.write_opt(0);
        length.write_opt(0);
        let Some(slots) = slots(&block.read()) else { return NtStatus::INVALID_PARAMETER };
        mdl.write_opt(slots.mdl.map_or(0, |slot| slot_address(block, slot)));
        buffer.write_opt(slot_address(block, slots.buffer));
        length.write_opt(slot_address(block, slots.length));
        // IoReadAccess, IoWriteAccess, IoModifyAccess: what is done to the memory.
        access.write_opt(u32::from(slots.write));
        NtStatus::SUCCESS
    }

    /// The list that a filter put into the operation whose post-operation callback is running.
    fn FltGetSwappedBufferMdlAddress(data: usize) -> usize {
        flight::at(data).and_then(|operation| operation.swapped_now()).unwrap_or(0)
    }

    /// Keeps it from being freed by the Filter Manager.
    fn FltRetainSwappedBufferMdlAddress(data: usize) {
        if let Some(mdl) = flight::at(data).and_then(|operation| operation.swapped_now()) {
            mdl::set_swapped(mdl, false);
            RETAINED.lock().unwrap_or_else(PoisonError::into_inner).insert(mdl);
        }
    }
}
