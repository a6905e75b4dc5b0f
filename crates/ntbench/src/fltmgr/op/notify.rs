//! `IRP_MN_NOTIFY_CHANGE_DIRECTORY` and `_EX`: what changed in a directory, once something has
//! (`FsRtlNotifyFullChangeDirectory`, `FsRtlNotifyFilterChangeDirectoryLite`).

use super::memory::copy;
use super::{Answer, Context};
use crate::abi::io::{IoStatusBlock, SL_WATCH_TREE};
use crate::abi::params::{NotifyDirectory, NotifyDirectoryEx};
use crate::fltmgr::pending::Held;
use crate::namespace::watch::Question;
use crate::status::NtStatus;
use std::sync::Arc;

/// `DirectoryNotifyInformation` and `DirectoryNotifyExtendedInformation`.
const INFORMATION: u32 = 1;
const EXTENDED_INFORMATION: u32 = 2;

struct Asked {
    filter: u32,
    extended: bool,
    buffer: usize,
    mdl: usize,
    length: u32,
}

pub(super) fn plain(context: &Context<'_>) -> Answer {
    let arm: NotifyDirectory = context.arm();
    ask(
        context,
        &Asked {
            filter: arm.filter,
            extended: false,
            buffer: arm.buffer,
            mdl: arm.mdl,
            length: arm.length,
        },
    )
}

pub(super) fn extended(context: &Context<'_>) -> Answer {
    let arm: NotifyDirectoryEx = context.arm();
    if !matches!(arm.class, INFORMATION | EXTENDED_INFORMATION) {
        return Err(NtStatus::INVALID_INFO_CLASS);
    }
    ask(
        context,
        &Asked {
            filter: arm.filter,
            extended: arm.class == EXTENDED_INFORMATION,
            buffer: arm.buffer,
            mdl: arm.mdl,
            length: arm.length,
        },
    )
}

fn ask(context: &Context<'_>, asked: &Asked) -> Answer {
    let Some(tree) = context.open.tree().filter(|_| context.open.is_directory()) else {
        return Err(NtStatus::INVALID_PARAMETER);
    };
    if context.open.delete_pending() {
        return Err(NtStatus::DELETE_PENDING);
    }
    // Whoever completes it does so in another process, perhaps: the buffer is reached, and held, here.
    let room = asked.length as usize;
    let to = match room {
        0 => 0,
        _ => context.reach(asked.buffer, asked.mdl, room)?,
    };
    let question = Question {
        file: context.file.address(),
        directory: &context.open,
        filter: asked.filter,
        tree: context.block.operation_flags & SL_WATCH_TREE != 0,
        extended: asked.extended,
        room,
    };
    let now = tree.watches.ask(&question, |number| {
        let watching = Arc::clone(tree);
        let held = Held::new(&context.flight.operation, move || {
            watching.watches.cancel(number);
        })?;
        Ok(Box::new(move |status, records| {
            held.complete(answered(status, &records, to));
        }))
    })?;
    Ok(match now {
        Some((status, records)) => {
            let done = answered(status, &records, to);
            (done.status, done.information)
        }
        None => (NtStatus::PENDING, 0),
    })
}

/// Puts records where they are wanted.
fn answered(status: NtStatus, records: &[u8], to: usize) -> IoStatusBlock {
    if records.is_empty() {
        return IoStatusBlock::new(status, 0);
    }
    match copy(to, records.as_ptr().expose_provenance(), records.len()) {
        Ok(()) => IoStatusBlock::new(status, records.len()),
        Err(wrong) => IoStatusBlock::new(wrong, 0),
    }
}
