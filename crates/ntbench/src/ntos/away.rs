//! What kernel code begins by a handle that was opened for asynchronous I/O: it goes down in the caller's thread, and where it is pended
//! the caller has `STATUS_PENDING`, its event and the file object's are signalled at the end, and its status block is filled then.

use std::sync::Arc;

use super::file::File;
use super::memory::Guest;
use super::object::Counted;
use super::sync::{by_handle, event};
use super::worker;
use crate::abi::io::{FO_SYNCHRONOUS_IO, FileObject, IoStatusBlock};
use crate::fltmgr::requests::Caller;
use crate::status::NtStatus;
use crate::thread::{self, PASSIVE_LEVEL};

/// Whether what is asked of a file by its handles is waited for.
pub(super) fn is_synchronous(file: &File) -> bool {
    file.on_device() || file.object(|object| object.flags & FO_SYNCHRONOUS_IO != 0)
}

/// Gives back a reference, elsewhere where the file object's end could not be gone through here.
pub(crate) fn release(file: Arc<File>) {
    if thread::irql() == PASSIVE_LEVEL {
        file.dereference();
    } else {
        worker::queue(move || {
            file.dereference();
        });
    }
}

/// The event in a file object, which is signalled where its user gave none.
fn event_of(file: &File) -> usize {
    file.address() + std::mem::offset_of!(FileObject, event)
}

/// The same, once it is one.
pub(super) fn event(file: &File) -> Option<usize> {
    let used = file.object(|object| object.event.header.size != 0);
    used.then(|| event_of(file))
}

/// What is done at the end of something that was begun by a handle.
struct End {
    file: Arc<File>,
    event: Option<Arc<Counted>>,
    block: usize,
}

impl End {
    fn reached(self, done: IoStatusBlock) {
        Guest::<IoStatusBlock>::at(self.block).write_opt(done);
        match &self.event {
            Some(event) => by_handle::set(event),
            None => {
                event::KeSetEvent(Guest::at(event_of(&self.file)), 0, 0);
            }
        }
        release(self.file);
    }
}

/// Begins something; `start` is given what is to be told of its end. An error: it has not begun.
pub(super) fn begin(
    caller: &Caller,
    event: u64,
    block: Guest<IoStatusBlock>,
    start: impl FnOnce(Box<dyn FnOnce(IoStatusBlock) + Send>) -> Result<NtStatus, NtStatus>,
) -> NtStatus {
    let event = match by_handle::event_to_set(event) {
        Ok(event) => event,
        Err(status) => return status,
    };
    if event.is_none() {
        event::KeInitializeEvent(Guest::at(event_of(&caller.file)), 0, 0);
    }
    caller.file.reference();
    let end = End {
        file: Arc::clone(&caller.file),
        event,
        block: block.address(),
    };
    match start(Box::new(move |done| end.reached(done))) {
        Ok(status) => status,
        Err(status) => {
            release(Arc::clone(&caller.file));
            status
        }
    }
}
